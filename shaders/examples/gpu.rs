//! Describes and measures a graphics device with plans of the default models' shapes: `gpu [software] [f32 | f16] [detail]
//! [quick]`.

use shaders::gpu::{AdapterChoice, GpuError, GpuExecutor, GpuOptions, Precision, report_device, report_plan};
use shaders::{CpuExecutor, Executor, Input, synthetic};
use std::time::Instant;

fn main() -> Result<(), GpuError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let adapter = if has("software") { AdapterChoice::Software } else { AdapterChoice::Hardware };
    let cache_dir = has("cache").then(|| std::env::temp_dir().join("gotham-gpu"));
    let only = [("f32", Precision::F32), ("f16", Precision::F16)].into_iter().find(|(name, _)| has(name)).map(|(_, precision)| precision);
    for adapter in shaders::gpu::adapters() {
        println!("adapter {adapter:?}");
    }
    for precision in only.map_or(vec![Some(Precision::F16), Some(Precision::F32)], |only| vec![Some(only)]) {
        let started = Instant::now();
        let options = GpuOptions {
            adapter,
            precision,
            cache_dir: cache_dir.clone(),
            measure_seconds_max: if has("quick") { 2.0 } else { 20.0 },
            ..GpuOptions::default()
        };
        let executor = match GpuExecutor::open(options) {
            Ok(executor) => executor,
            Err(error) => {
                println!("{precision:?}: {error}");
                continue;
            }
        };
        println!("opened and tested in {:.1} s", started.elapsed().as_secs_f64());
        print!("{}", report_device(&executor)?);
        let plans = [synthetic::lite0(), synthetic::minilm(), synthetic::vit_b32()];
        for plan in plans.into_iter().flatten() {
            compare(&executor, &plan)?;
            let (batches, seconds): (&[usize], f64) = if has("quick") { (&[1, 2], 0.1) } else { (&[1, 8, 32, 128, 512], 1.0) };
            print!("{}", report_plan(&executor, plan, batches, seconds)?.text(has("detail")));
        }
    }
    Ok(())
}

/// Says how far the device's results lie from the CPU's.
fn compare(executor: &GpuExecutor, plan: &shaders::Plan) -> Result<(), GpuError> {
    let failed = |error: &dyn std::fmt::Display| GpuError::Failed(error.to_string());
    let pixels: Vec<u8> = (0..2 * 224 * 224 * 3).map(|index: usize| (index * index / 7 % 251) as u8).collect();
    let texts: Vec<Vec<u32>> = (1..4).map(|text| (0..text * 9).map(|place| place * 31 % 1000).collect()).collect();
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let input = match plan.input() {
        shaders::Shape::Tokens { .. } => Input::Tokens(&texts),
        _ => Input::Pixels(&pixels),
    };
    let run = |executor: &dyn Executor| {
        let program = executor.prepare(plan.clone()).map_err(|error| failed(&error))?;
        program.run(input).map_err(|error| failed(&error))
    };
    let (want, got) = (run(&CpuExecutor::new(2))?, run(executor)?);
    for (want, got) in want.iter().zip(&got) {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let cosine = dot(want, got) / (dot(want, want) * dot(got, got)).sqrt();
        println!("{}: cosine to the CPU's results 1 - {:.1e}", plan.name(), 1.0 - cosine);
    }
    Ok(())
}
