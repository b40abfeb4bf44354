//! Times exact search on a GPU and on the CPU: `scan [dim] [rows] [batch] [k] [threads] [software]`.

use shaders::scan::{AdapterChoice, GpuOptions, GpuScan, Load, ScanError, measure};

fn main() -> Result<(), ScanError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, otherwise: usize| arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (dim, threads) = (number(0, 512), number(4, 1));
    let load = Load { rows: number(1, 100_000), batch: number(2, 64), k: number(3, 10), repeats: 5 };
    let software = arguments.iter().any(|argument| argument == "software");
    let adapter = if software { AdapterChoice::Software } else { AdapterChoice::Hardware };
    for native_f16 in [true, false] {
        let mut scan = GpuScan::open(dim, &GpuOptions { adapter, native_f16, ..GpuOptions::default() })?;
        let measurement = measure(&mut scan, &load, threads)?;
        println!("{load:?}, {dim} numbers a row, {}, native f16: {}", scan.adapter().name, scan.native_f16());
        let rates = measurement.rows_per_second().into_iter().zip(measurement.bytes_per_second());
        for ((name, time), (rows, bytes)) in [("GPU", measurement.gpu), ("CPU", measurement.cpu)].into_iter().zip(rates) {
            let scores = rows * load.batch as f64;
            println!("  {name}: {time:.2?} a search, {:.1} k rows/s, {:.3} GB/s, {:.1} M scores/s", rows / 1e3, bytes / 1e9, scores / 1e6);
        }
    }
    Ok(())
}
