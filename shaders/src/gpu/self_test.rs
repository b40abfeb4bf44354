//! What a device must compute before it is used: small plans with every kernel, and each variant of the product by itself,
//! against the CPU. A variant that is wrong is left out; where the rest is wrong the device is.

use super::device::GpuError;
use super::executor::GpuExecutor;
use super::gemm::Variant;
use super::source::Precision;
use crate::executor::{Executor, Input};
use crate::plan::{Plan, PlanError};
use crate::{CpuExecutor, synthetic};
use std::sync::PoisonError;

/// What the test of one variant or plan gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The variant or plan.
    pub name: String,
    /// Length of the difference to the CPU's results, as a part of their length.
    pub error: f64,
    /// Whether it is small enough.
    pub passed: bool,
}

/// Greatest relative difference that passes.
pub(crate) fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 2e-5,
        Precision::F16 => 4e-3,
    }
}

/// Tests everything; leaves out what failed.
pub(crate) fn run(executor: &GpuExecutor) -> Result<Vec<Finding>, GpuError> {
    let mut findings = Vec::new();
    let all = executor.engine.choices().variants.clone();
    let mut good: Vec<Variant> = Vec::new();
    for variant in all {
        executor.engine.choices().variants = vec![variant];
        let finding = products(executor, variant)?;
        if finding.passed {
            good.push(variant);
        }
        findings.push(finding);
    }
    if good.is_empty() {
        return Err(GpuError::SelfTest("no variant of the matrix product is right".to_owned()));
    }
    executor.engine.choices().variants = good;
    if executor.engine.subgroup().is_some() {
        let finding = plans(executor, "subgroup reductions")?;
        if !finding.passed {
            executor.engine.choices().subgroup = None;
        }
        findings.push(finding);
    }
    let finding = plans(executor, "all kernels")?;
    if !finding.passed {
        return Err(GpuError::SelfTest(format!("results differ from the CPU's by {:.1e} of their length", finding.error)));
    }
    findings.push(finding);
    Ok(findings)
}

impl super::engine::Engine {
    /// The choices, for a change.
    pub(crate) fn choices(&self) -> std::sync::MutexGuard<'_, super::choices::Choices> {
        self.choices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Products of few and of many rows.
fn products(executor: &GpuExecutor, variant: Variant) -> Result<Finding, GpuError> {
    let mut worst: f64 = 0.0;
    for (depth, wide, rows) in [(20, 76, 3), (100, 300, 150)] {
        let tokens: Vec<[u32; 1]> = (0..rows).map(|row| [(row * 31 % 97) as u32]).collect();
        let texts: Vec<&[u32]> = tokens.iter().map(<[u32; 1]>::as_slice).collect();
        worst = worst.max(difference(executor, synthetic::products(depth, wide), Input::Tokens(&texts))?);
    }
    Ok(Finding { name: variant.name(), error: worst, passed: worst <= tolerance(executor.engine.precision) })
}

/// The plans with every kernel.
fn plans(executor: &GpuExecutor, name: &str) -> Result<Finding, GpuError> {
    let pixels: Vec<u8> = (0..3 * 9 * 13 * 3).map(|index| (index * 31 % 251) as u8).collect();
    let texts = synthetic::small_texts(12);
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let image = difference(executor, synthetic::small_image(), Input::Pixels(&pixels))?;
    let text = difference(executor, synthetic::small_text(), Input::Tokens(&texts))?;
    let error = image.max(text);
    Ok(Finding { name: name.to_owned(), error, passed: error <= tolerance(executor.engine.precision) })
}

/// How far the device's results lie from the CPU's; infinite where one is not a number.
fn difference(executor: &GpuExecutor, plan: Result<Plan, PlanError>, input: Input<'_>) -> Result<f64, GpuError> {
    let failed = |error: &dyn std::fmt::Display| GpuError::SelfTest(error.to_string());
    let plan = plan.map_err(|error| failed(&error))?;
    let cpu = CpuExecutor::new(1).prepare(plan.clone()).map_err(|error| failed(&error))?;
    let want = cpu.run(input).map_err(|error| failed(&error))?;
    let program = executor.program(plan).map_err(|error| executor.engine.device.check().err().unwrap_or_else(|| failed(&error)))?;
    let got = program.run_on_device(input)?;
    let (mut differences, mut squares) = (0.0f64, 0.0f64);
    for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
        differences += f64::from(got - want).powi(2);
        squares += f64::from(*want).powi(2);
    }
    let same_shape = got.iter().map(Vec::len).eq(want.iter().map(Vec::len));
    let error = (differences / squares).sqrt();
    Ok(if same_shape && error.is_finite() { error } else { f64::INFINITY })
}
