//! Small plans with every kernel, on a software device, against the CPU.

use crate::gpu::device::Device;
use crate::gpu::executor::FEATURES;
use crate::gpu::source::Precision;
use crate::gpu::{AdapterChoice, Budget, GpuError, GpuExecutor, GpuOptions};
use crate::synthetic::{small_image, small_text, small_texts};
use crate::{CpuExecutor, Executor, Input, Isa, Plan, Program, RunError};
use std::sync::Arc;

/// An executor of the software driver; `None`, said aloud, where there is none and the environment does not demand it.
pub(super) fn software(precision: Precision, budget: Budget) -> Option<GpuExecutor> {
    let options =
        GpuOptions { adapter: AdapterChoice::Software, precision: Some(precision), cache_dir: None, measure_seconds_max: 0.0, budget };
    match Device::open(AdapterChoice::Software, FEATURES) {
        Ok(device) => Some(GpuExecutor::untested(Arc::new(device), precision, options).expect("it has both precisions")),
        Err(GpuError::NoAdapter) if std::env::var_os("GOTHAM_REQUIRE_GPU_TESTS").is_none() => {
            eprintln!("SKIPPED: no software Vulkan driver");
            None
        }
        Err(error) => panic!("the software driver is needed: {error}"),
    }
}

/// Whether results agree: relative above 1 and absolute below.
pub(super) fn assert_close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let limit = tolerance * want.abs().max(1.0);
        assert!((got - want).abs() <= limit, "{what} at {index}: {got}, the CPU has {want}");
    }
}

pub(super) fn tolerance(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 2e-4,
        Precision::F16 => 2e-2,
    }
}

fn cpu(plan: Plan) -> Arc<dyn Program> {
    CpuExecutor::with_isa(Isa::SCALAR, 1).prepare(plan).expect("has outputs")
}

#[test]
fn pictures_as_on_the_cpu() {
    let pixels: Vec<u8> = (0..5 * 9 * 13 * 3).map(|i| (i * 31 % 251) as u8).collect();
    let want = cpu(small_image().expect("valid")).run(Input::Pixels(&pixels)).expect("fits");
    for precision in [Precision::F32, Precision::F16] {
        for pictures_max in [2, 64] {
            let Some(executor) = software(precision, Budget { pictures_max, ..Budget::default() }) else { return };
            let program = executor.prepare(small_image().expect("valid")).expect("fits the device");
            for _ in 0..2 {
                let got = program.run(Input::Pixels(&pixels)).expect("runs");
                assert_eq!(got.len(), want.len());
                got.iter().zip(&want).for_each(|(got, want)| assert_close("pictures", got, want, tolerance(precision)));
            }
        }
    }
}

#[test]
fn texts_as_on_the_cpu() {
    let texts = small_texts(20);
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let want = cpu(small_text().expect("valid")).run(Input::Tokens(&texts)).expect("fits");
    for precision in [Precision::F32, Precision::F16] {
        for tokens_max in [128, 4096] {
            let Some(executor) = software(precision, Budget { tokens_max, ..Budget::default() }) else { return };
            let program = executor.prepare(small_text().expect("valid")).expect("fits the device");
            assert_close("texts", &program.run(Input::Tokens(&texts)).expect("runs")[0], &want[0], tolerance(precision));
            assert_close(
                "one text",
                &program.run(Input::Tokens(&texts[3..4])).expect("runs")[0],
                &want[0][3 * 24..4 * 24],
                tolerance(precision),
            );
        }
    }
}

#[test]
fn wrong_inputs_are_refused_and_empty_ones_give_nothing() {
    let Some(executor) = software(Precision::F32, Budget::default()) else { return };
    let (text, image) =
        (executor.prepare(small_text().expect("valid")).expect("fits"), executor.prepare(small_image().expect("valid")).expect("fits"));
    assert_eq!(text.run(Input::Tokens(&[])), Ok(vec![vec![]; 4]));
    assert_eq!(image.run(Input::Pixels(&[])), Ok(vec![vec![]; 5]));
    assert_eq!(text.run(Input::Pixels(&[])), Err(RunError::Kind));
    assert_eq!(image.run(Input::Tokens(&[])), Err(RunError::Kind));
    assert_eq!(image.run(Input::Pixels(&[0; 100])), Err(RunError::Pixels { bytes: 100, picture: 351 }));
    assert_eq!(text.run(Input::Tokens(&[&[1], &[]])), Err(RunError::Length { item: 1, length: 0, length_max: 70 }));
    assert_eq!(text.run(Input::Tokens(&[&[49, 50]])), Err(RunError::Token { item: 0, token: 50, vocabulary: 50 }));
}

#[test]
fn threads_share_a_program() {
    let Some(executor) = software(Precision::F32, Budget { pictures_max: 1, ..Budget::default() }) else { return };
    let program = executor.prepare(small_image().expect("valid")).expect("fits");
    let pixels = vec![9u8; 3 * 351];
    let want = program.run(Input::Pixels(&pixels)).expect("runs");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(program.run(Input::Pixels(&pixels)).expect("runs"), want));
        }
    });
}
