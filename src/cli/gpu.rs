//! `gotham gpu`: what the graphics device is, which kernels it runs and how fast, with plans of the default models' shapes.
//!
//! The weights are pseudo-random: they cost what a model's own cost, and no model needs to be installed.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use shaders::gpu::{AdapterChoice, Choice, DeviceReport, GpuExecutor, GpuOptions, KernelTime, PlanReport, Precision};
use shaders::synthetic;

use super::{Common, Failure, Outcome};

#[derive(Args)]
pub(super) struct GpuArgs {
    /// Take a software driver for a GPU: says nothing about speed
    #[arg(long)]
    software: bool,
    /// How numbers are kept [default: half precision where the device has it]
    #[arg(long, value_enum)]
    precision: Option<PrecisionChoice>,
    /// Sizes of batch
    #[arg(long, value_name = "ITEMS", value_delimiter = ',', default_values_t = [1, 8, 32, 128], value_parser = clap::value_parser!(u32).range(1..=4_096))]
    batches: Vec<u32>,
    /// Seconds for each size of batch
    #[arg(long, default_value_t = 1.0, value_parser = parse_seconds)]
    seconds: f64,
    /// Print each dispatch, not each kind of kernel
    #[arg(long)]
    detail: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum PrecisionChoice {
    F32,
    F16,
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if seconds > 0.0 && seconds <= 600.0 { Ok(seconds) } else { Err(format!("{seconds} is not above 0 and at most 600")) }
}

pub(super) fn gpu(common: &Common, args: &GpuArgs) -> Outcome {
    let output = common.output();
    let precision = args.precision.map(|choice| match choice {
        PrecisionChoice::F32 => Precision::F32,
        PrecisionChoice::F16 => Precision::F16,
    });
    let options = GpuOptions {
        adapter: if args.software { AdapterChoice::Software } else { AdapterChoice::Hardware },
        precision,
        // What is measured here is what the service will use; without a data folder nothing is kept.
        cache_dir: Some(common.data_dir()).filter(|folder| folder.is_dir()).map(|folder| folder.join("gpu")),
        ..GpuOptions::default()
    };
    let executor = GpuExecutor::open(options).map_err(|error| {
        let found: Vec<String> =
            shaders::gpu::adapters().iter().map(|adapter| format!("{} ({})", adapter.name, adapter.device_type)).collect();
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        Failure::new(Failure::FAILED, format!("{error}; adapters: {found}"))
    })?;
    let device = shaders::gpu::report_device(&executor)?;
    output.result(&device_json(&device), || device.to_string());
    let batches: Vec<usize> = args.batches.iter().map(|items| *items as usize).collect();
    for plan in [synthetic::lite0()?, synthetic::minilm()?] {
        let report = shaders::gpu::report_plan(&executor, plan, &batches, args.seconds)?;
        output.result(&plan_json(&report), || report.text(args.detail));
    }
    Ok(())
}

fn device_json(report: &DeviceReport) -> Value {
    let adapter = &report.adapter;
    let findings = report.findings.iter().map(|finding| json!({"name": finding.name, "error": finding.error, "passed": finding.passed}));
    let peaks = report.peaks.iter().map(|peak| (peak.name.to_owned(), json!(peak.per_second)));
    let limits = report.limits.iter().map(|(name, limit)| ((*name).to_owned(), json!(limit)));
    json!({
        "adapter": adapter.name, "driver": adapter.driver, "device_type": adapter.device_type, "hardware": adapter.hardware,
        "precision": report.precision.name(), "features": report.features,
        "limits": limits.collect::<serde_json::Map<_, _>>(), "self_test": findings.collect::<Vec<_>>(),
        "peaks_per_second": peaks.collect::<serde_json::Map<_, _>>(),
    })
}

fn plan_json(report: &PlanReport) -> Value {
    let choice = |choice: &Choice| {
        let [rows, depth, columns] = choice.size;
        json!({"rows": rows, "depth": depth, "columns": columns, "variant": choice.variant, "measured": choice.measured})
    };
    let kernel = |kernel: &KernelTime| {
        json!({
            "kernel": kernel.name, "detail": kernel.detail, "seconds": kernel.seconds,
            "flop_per_second": kernel.operations / kernel.seconds, "bytes_per_second": kernel.bytes / kernel.seconds,
        })
    };
    let batch =
        |(items, kernels): &(usize, Vec<KernelTime>)| json!({"items": items, "dispatches": kernels.iter().map(kernel).collect::<Vec<_>>()});
    let rates = report.rates.iter().map(
        |rate| json!({"items": rate.items, "threads": rate.threads, "seconds": rate.seconds, "items_per_second": rate.items_per_second}),
    );
    json!({
        "plan": report.name, "prepare_seconds": report.prepare_seconds, "memory_bytes": report.memory_bytes, "batch_max": report.batch_max,
        "choices": report.choices.iter().map(choice).collect::<Vec<_>>(), "batches": report.kernels.iter().map(batch).collect::<Vec<_>>(),
        "rates": rates.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(parse_seconds("0.5"), Ok(0.5));
        assert!(["0", "-1", "601", "NaN", "soon"].iter().all(|text| parse_seconds(text).is_err()));
    }

    #[test]
    fn a_report_is_json_with_rates_and_kernels() {
        let kernel = KernelTime { name: "gemm", detail: "8 x 8 x 8, few 1".into(), seconds: 0.5, operations: 2.0, bytes: 4.0 };
        let report = PlanReport {
            name: "plan".into(),
            prepare_seconds: 1.0,
            memory_bytes: 5,
            batch_max: 128,
            choices: vec![Choice { size: [1, 2, 3], variant: "few 1".into(), measured: true }],
            kernels: vec![(1, vec![kernel])],
            rates: vec![shaders::gpu::Rate { items: 8, threads: 1, seconds: 0.25, items_per_second: 32.0 }],
        };
        let json = plan_json(&report);
        assert_eq!(json["batches"][0]["dispatches"][0]["flop_per_second"], 4.0);
        assert_eq!(json["rates"][0]["items_per_second"], 32.0);
        assert_eq!(json["choices"][0]["variant"], "few 1");
    }
}
