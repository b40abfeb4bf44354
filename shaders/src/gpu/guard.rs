//! Half precision ends at 65,504: a model whose numbers go beyond gives infinities, and vectors that are none. The first batch that
//! shows it is run again in single precision, and the model stays there.

use super::executor::GpuExecutor;
use super::program::GpuProgram;
use crate::executor::{Input, Program, RunError};
use crate::plan::Plan;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The executor in single precision beside one in half precision: opened when the first model needs it.
#[derive(Default)]
pub(crate) struct Single(OnceLock<Result<Box<GpuExecutor>, String>>);

impl Single {
    /// Opens it with `open` where that has not been done.
    fn get(&self, open: impl FnOnce() -> Result<GpuExecutor, String>) -> Result<&GpuExecutor, RunError> {
        let opened = self.0.get_or_init(|| open().map(Box::new));
        opened.as_deref().map_err(|error| RunError::Unfit(format!("single precision: {error}")))
    }
}

/// A plan in half precision, as long as its numbers fit.
pub(crate) struct Guarded {
    plan: Plan,
    program: Mutex<Arc<GpuProgram>>,
    single: Arc<Single>,
    open: Box<dyn Fn() -> Result<GpuExecutor, String> + Send + Sync>,
    /// Set once the model has left half precision; held while it does.
    has_left: Mutex<bool>,
}

impl Guarded {
    /// `program` is `plan` in half precision; `open` opens an executor in single precision on the same device.
    pub(crate) fn new(
        plan: Plan,
        program: GpuProgram,
        single: Arc<Single>,
        open: impl Fn() -> Result<GpuExecutor, String> + Send + Sync + 'static,
    ) -> Guarded {
        Guarded { plan, program: Mutex::new(Arc::new(program)), single, open: Box::new(open), has_left: Mutex::new(false) }
    }

    fn program(&self) -> Arc<GpuProgram> {
        Arc::clone(&self.program.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Prepares the plan in single precision, once.
    fn leave(&self) -> Result<Arc<GpuProgram>, RunError> {
        let mut has_left = self.has_left.lock().unwrap_or_else(PoisonError::into_inner);
        if !*has_left {
            let single = self.single.get(|| (self.open)())?;
            let program = single.prepare_program(self.plan.clone()).map_err(|error| RunError::Unfit(error.to_string()))?;
            *self.program.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(program);
            *has_left = true;
        }
        Ok(self.program())
    }
}

fn are_finite(results: &[Vec<f32>]) -> bool {
    results.iter().flatten().all(|number| number.is_finite())
}

impl Program for Guarded {
    fn run(&self, input: Input<'_>) -> Result<Vec<Vec<f32>>, RunError> {
        let program = self.program();
        let results = program.run(input)?;
        if are_finite(&results) || program.engine.precision.bytes() > 2 {
            return Ok(results);
        }
        self.leave()?.run(input)
    }

    fn memory_bytes(&self) -> u64 {
        self.program().memory_bytes()
    }

    fn has_left_half_precision(&self) -> bool {
        *self.has_left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{AdapterChoice, GpuError, GpuOptions, Precision};
    use crate::{Activation, CpuExecutor, Executor, Shape};

    /// Words of size 2 to 4, times `factor`, and back: half precision holds the products up to a factor of some ten thousands.
    fn plan(factor: f32) -> Plan {
        let (mut plan, tokens) = Plan::new("factor", Shape::Tokens { length_max: 4 }).expect("valid");
        let square = |value: f32| (0..64).map(|at| if at % 9 == 0 { value } else { 0.0 }).collect::<Vec<f32>>();
        let table = plan.constant("table", &[8, 8], (0..64).map(|at| 1.0 + (at % 13) as f32 / 13.0).collect()).expect("valid");
        let (up, down) = (plan.constant("up", &[8, 8], square(factor)), plan.constant("down", &[8, 8], square(1.0 / factor)));
        let bias = plan.constant("bias", &[8], vec![0.0; 8]).expect("valid");
        let x = plan.embed(tokens, table, table).expect("valid");
        let large = plan.gemm(x, up.expect("valid"), bias, Activation::None, None).expect("valid");
        let back = plan.gemm(large, down.expect("valid"), bias, Activation::None, None).expect("valid");
        let mean = plan.mean(back).expect("valid");
        plan.output(mean).expect("valid");
        plan
    }

    #[test]
    fn a_model_beyond_half_precision_is_run_again_in_single_and_stays_there() {
        let adapter = AdapterChoice::Software;
        let options = GpuOptions { adapter, precision: Some(Precision::F16), measure_seconds_max: 0.0, ..GpuOptions::default() };
        let executor = match GpuExecutor::open(options) {
            Ok(executor) => executor,
            Err(GpuError::NoAdapter) if std::env::var_os("GOTHAM_REQUIRE_GPU_TESTS").is_none() => {
                eprintln!("SKIPPED: no software Vulkan driver");
                return;
            }
            Err(error) => panic!("the software driver is needed: {error}"),
        };
        let texts: [&[u32]; 2] = [&[1, 2, 7], &[3]];
        for (factor, leaves) in [(100.0, false), (60_000.0, true)] {
            let program = executor.prepare(plan(factor)).expect("fits the device");
            let want = CpuExecutor::new(1).prepare(plan(factor)).expect("has outputs").run(Input::Tokens(&texts)).expect("runs");
            for _ in 0..2 {
                let got = program.run(Input::Tokens(&texts)).expect("runs");
                assert_eq!(got[0].len(), want[0].len());
                assert!(got[0].iter().zip(&want[0]).all(|(got, want)| (got - want).abs() < 4e-3), "{factor}: {got:?} {want:?}");
                assert_eq!(program.has_left_half_precision(), leaves, "{factor}");
            }
        }
    }
}
