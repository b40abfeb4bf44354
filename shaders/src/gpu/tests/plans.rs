//! Small plans with every kernel, on a software device, against the CPU.

use crate::gpu::source::Precision;
use crate::gpu::{AdapterChoice, Budget, GpuError, GpuExecutor, GpuOptions};
use crate::kernels::compare::numbers;
use crate::{Activation, ConstantId, CpuExecutor, Executor, Input, Isa, Normalisation, Pairwise, Plan, Program, RunError, Shape, Window};
use std::sync::Arc;

/// An executor of the software driver; `None`, said aloud, where there is none and the environment does not demand it.
pub(super) fn software(precision: Precision, budget: Budget) -> Option<GpuExecutor> {
    let options = GpuOptions { adapter: AdapterChoice::Software, precision: Some(precision), cache_dir: None, measure: false, budget };
    match GpuExecutor::open(options) {
        Ok(executor) => Some(executor),
        Err(GpuError::NoAdapter) if std::env::var_os("GOTHAM_REQUIRE_GPU_TESTS").is_none() => {
            eprintln!("SKIPPED: no software Vulkan driver");
            None
        }
        Err(error) => panic!("the software driver is needed: {error}"),
    }
}

struct Constants(u64);

impl Constants {
    fn next(&mut self, plan: &mut Plan, shape: &[usize]) -> ConstantId {
        self.0 += 1;
        let count = shape.iter().product();
        // Products of long rows stay as large as their factors.
        let scale = 1.0 / (shape[..shape.len() - 1].iter().product::<usize>() as f32).sqrt();
        let values = numbers(self.0, count).into_iter().map(|value| value * scale).collect();
        plan.constant(format!("constant {}", self.0), shape, values).expect("fills its shape")
    }
}

pub(super) fn image_plan() -> Plan {
    let (mut plan, pixels) = Plan::new("image", Shape::Pixels { height: 9, width: 13 }).expect("valid");
    let mut constants = Constants(0);
    let (weight, bias) = (constants.next(&mut plan, &[3, 3, 3, 20]), constants.next(&mut plan, &[20]));
    let normalisation = Normalisation { mean: 127.0, deviation: 128.0 };
    let stem = plan.stem(pixels, weight, bias, Window { kernel: 3, stride: 2 }, normalisation, Activation::Relu6).expect("valid");
    let (weight, bias) = (constants.next(&mut plan, &[5, 5, 20]), constants.next(&mut plan, &[20]));
    let deep = plan.depthwise(stem, weight, bias, Window { kernel: 5, stride: 1 }, Activation::Relu6).expect("valid");
    let (weight, bias) = (constants.next(&mut plan, &[20, 20]), constants.next(&mut plan, &[20]));
    let added = plan.gemm(deep, weight, bias, Activation::None, Some(stem)).expect("valid");
    let product = plan.pairwise(added, stem, Pairwise::Multiply).expect("valid");
    let (weight, bias) = (constants.next(&mut plan, &[3, 3, 20]), constants.next(&mut plan, &[20]));
    let small = plan.depthwise(product, weight, bias, Window { kernel: 3, stride: 2 }, Activation::None).expect("valid");
    let mean = plan.mean(small).expect("valid");
    let unit = plan.normalize(mean).expect("valid");
    plan.output(mean).expect("valid");
    plan.output(unit).expect("valid");
    plan
}

pub(super) fn text_plan() -> Plan {
    let (mut plan, tokens) = Plan::new("text", Shape::Tokens { length_max: 70 }).expect("valid");
    let mut constants = Constants(100);
    let (words, positions) = (constants.next(&mut plan, &[50, 24]), constants.next(&mut plan, &[70, 24]));
    let x = plan.embed(tokens, words, positions).expect("valid");
    let (weight, bias) = (constants.next(&mut plan, &[24, 72]), constants.next(&mut plan, &[72]));
    let all = plan.gemm(x, weight, bias, Activation::None, None).expect("valid");
    let mixed = plan.attention(all, 3).expect("valid");
    let (weight, bias) = (constants.next(&mut plan, &[24, 24]), constants.next(&mut plan, &[24]));
    let mixed = plan.gemm(mixed, weight, bias, Activation::Gelu, Some(x)).expect("valid");
    let (gain, shift) = (constants.next(&mut plan, &[24]), constants.next(&mut plan, &[24]));
    let normal = plan.layernorm(mixed, gain, shift, 1e-12).expect("valid");
    let mean = plan.mean(normal).expect("valid");
    plan.output(mean).expect("valid");
    plan
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
    let want = cpu(image_plan()).run(Input::Pixels(&pixels)).expect("fits");
    for precision in [Precision::F32, Precision::F16] {
        for pictures_max in [2, 64] {
            let Some(executor) = software(precision, Budget { pictures_max, ..Budget::default() }) else { return };
            let program = executor.prepare(image_plan()).expect("fits the device");
            for _ in 0..2 {
                let got = program.run(Input::Pixels(&pixels)).expect("runs");
                assert_eq!(got.len(), 2);
                assert_close("means", &got[0], &want[0], tolerance(precision));
                assert_close("units", &got[1], &want[1], tolerance(precision));
            }
        }
    }
}

#[test]
fn texts_as_on_the_cpu() {
    let texts: Vec<Vec<u32>> = (0..20).map(|text| (0..1 + text * 7 % 70).map(|i| (text * 13 + i * 5) as u32 % 50).collect()).collect();
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let want = cpu(text_plan()).run(Input::Tokens(&texts)).expect("fits");
    for precision in [Precision::F32, Precision::F16] {
        for tokens_max in [128, 4096] {
            let Some(executor) = software(precision, Budget { tokens_max, ..Budget::default() }) else { return };
            let program = executor.prepare(text_plan()).expect("fits the device");
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
    let (text, image) = (executor.prepare(text_plan()).expect("fits"), executor.prepare(image_plan()).expect("fits"));
    assert_eq!(text.run(Input::Tokens(&[])), Ok(vec![vec![]]));
    assert_eq!(image.run(Input::Pixels(&[])), Ok(vec![vec![], vec![]]));
    assert_eq!(text.run(Input::Pixels(&[])), Err(RunError::Kind));
    assert_eq!(image.run(Input::Tokens(&[])), Err(RunError::Kind));
    assert_eq!(image.run(Input::Pixels(&[0; 100])), Err(RunError::Pixels { bytes: 100, picture: 351 }));
    assert_eq!(text.run(Input::Tokens(&[&[1], &[]])), Err(RunError::Length { item: 1, length: 0, length_max: 70 }));
    assert_eq!(text.run(Input::Tokens(&[&[49, 50]])), Err(RunError::Token { item: 0, token: 50, vocabulary: 50 }));
}

#[test]
fn threads_share_a_program() {
    let Some(executor) = software(Precision::F32, Budget { pictures_max: 1, ..Budget::default() }) else { return };
    let program = executor.prepare(image_plan()).expect("fits");
    let pixels = vec![9u8; 3 * 351];
    let want = program.run(Input::Pixels(&pixels)).expect("runs");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(program.run(Input::Pixels(&pixels)).expect("runs"), want));
        }
    });
}
