//! Small plans with every kernel, on a software device, against the CPU.

use crate::gpu::device::Device;
use crate::gpu::executor::FEATURES;
use crate::gpu::source::Precision;
use crate::gpu::{AdapterChoice, Budget, GpuError, GpuExecutor, GpuOptions, report_device, report_plan, tune};
use crate::synthetic::{numbers, small_image, small_text, small_texts};
use crate::{Activation, CpuExecutor, Executor, Input, Isa, Normalisation, Plan, Program, RunError, Shape, Window};
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
    assert_eq!(image.run(Input::Pixels(&[])), Ok(vec![vec![]; 6]));
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

#[test]
fn large_inputs_take_the_staging_buffer_again_and_again() {
    let Some(executor) = software(Precision::F32, Budget::default()) else { return };
    let (mut plan, pixels) = Plan::new("large", Shape::Pixels { height: 256, width: 400 }).expect("valid");
    let weight = plan.constant("weight", &[1, 1, 3, 1], vec![1.0, 10.0, 100.0]).expect("valid");
    let bias = plan.constant("bias", &[1], vec![0.0]).expect("valid");
    let sums = plan.stem(pixels, weight, bias, Window::same(1, 1), Normalisation::grey(0.0, 1.0), Activation::None).expect("valid");
    let mean = plan.mean(sums).expect("valid");
    plan.output(mean).expect("valid");
    let program = executor.prepare(plan).expect("fits");
    for value in 0..4u8 {
        let picture = vec![value; 256 * 400 * 3];
        let means = program.run(Input::Pixels(&picture)).expect("runs").remove(0);
        assert_close("mean", &means, &[f32::from(value) * 111.0], 1e-5);
    }
}

#[test]
fn variants_are_measured_most_used_first_and_then_chosen() {
    let Some(executor) = software(Precision::F32, Budget { pictures_max: 1, ..Budget::default() }) else { return };
    let program = executor.program(small_image().expect("valid")).expect("fits");
    assert_eq!(tune::measure(&program, 0.0), Ok(false));
    assert_eq!(tune::measure(&program, 60.0), Ok(true));
    let measured = executor.engine.choices().measured.clone();
    let (class, best) = measured.iter().next().expect("products were measured");
    assert!(best.seconds > 0.0);
    assert_eq!(executor.engine.variant(1 << class.rows_power, class.depth, class.columns), best.variant);
    assert_eq!(tune::measure(&program, 60.0), Ok(false), "what is known is not measured again");
}

#[test]
fn a_report_tells_the_device_and_the_plan() {
    let Some(executor) = software(Precision::F32, Budget::default()) else { return };
    let device = report_device(&executor).expect("it works");
    assert!(device.peaks.len() >= 2 && device.peaks.iter().all(|peak| peak.per_second > 0.0), "{device}");
    let steps = small_text().expect("valid").steps().len();
    let report = report_plan(&executor, small_text().expect("valid"), &[1, 3], 0.01).expect("it works");
    assert_eq!((report.rates.len(), report.kernels.len(), report.kernels[0].1.len()), (4, 2, steps));
    assert!(report.rates.iter().all(|rate| rate.items_per_second > 0.0) && report.memory_bytes > 0);
    assert!(report.text(true).contains("attention") && !report.choices.is_empty());
}

#[test]
fn a_table_too_large_for_a_binding_is_read_on_the_cpu() {
    for precision in [Precision::F32, Precision::F16] {
        let Some(mut executor) = software(precision, Budget { tokens_max: 256, ..Budget::default() }) else { return };
        Arc::get_mut(&mut executor.engine).expect("not shared yet").binding_bytes_max = 32 << 10;
        let (mut plan, tokens) = Plan::new("table", Shape::Tokens { length_max: 9 }).expect("valid");
        let words = plan.constant("words", &[4000, 12], numbers(1, 48_000)).expect("valid");
        let places = plan.constant("places", &[9, 12], numbers(2, 108)).expect("valid");
        let x = plan.embed(tokens, words, places).expect("fits");
        let mean = plan.mean(x).expect("fits");
        plan.output(mean).expect("a vector");
        let program = executor.program(plan.clone()).expect("fits");
        assert!(program.gathered.is_some() && program.dispatches.len() == 1);
        let texts: Vec<Vec<u32>> = (1..40).map(|text| (0..1 + text % 9).map(|place| text * 101 % 4000 + place).collect()).collect();
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let want = cpu(plan).run(Input::Tokens(&texts)).expect("fits").remove(0);
        assert_close("means", &program.run(Input::Tokens(&texts)).expect("runs")[0], &want, tolerance(precision));
    }
}
