//! Small plans through the whole executor: every kernel kind, every instruction set, any grouping.

use super::*;
use crate::kernels::compare::{assert_close, numbers, variants};
use crate::plan::{Around, ConstantId};
use crate::{Activation, Normalisation, Pairwise, Position, Window};

fn image_plan() -> Plan {
    let (mut plan, pixels) = Plan::new("image", Shape::Pixels { height: 9, width: 13 }).expect("valid");
    let mut seed = 0;
    let mut constant = |plan: &mut Plan, shape: &[usize]| {
        seed += 1;
        plan.constant(format!("constant {seed}"), shape, numbers(seed, shape.iter().product())).expect("valid")
    };
    let (weight, bias) = (constant(&mut plan, &[3, 3, 3, 20]), constant(&mut plan, &[20]));
    let normalisation = Normalisation::grey(127.0, 128.0);
    let stem = plan.stem(pixels, weight, bias, Window::same(3, 2), normalisation, Activation::Relu6).expect("valid");
    let (weight, bias) = (constant(&mut plan, &[5, 5, 20]), constant(&mut plan, &[20]));
    let deep = plan.depthwise(stem, weight, bias, Window::same(5, 1), Activation::Relu6).expect("valid");
    let (weight, bias) = (constant(&mut plan, &[20, 20]), constant(&mut plan, &[20]));
    let added = plan.gemm(deep, weight, bias, Activation::None, Some(stem)).expect("valid");
    let product = plan.pairwise(added, stem, Pairwise::Multiply).expect("valid");
    let mean = plan.mean(product).expect("valid");
    let unit = plan.normalize(mean).expect("valid");
    plan.output(mean).expect("valid");
    plan.output(unit).expect("valid");
    plan
}

fn text_plan() -> Plan {
    let (mut plan, tokens) = Plan::new("text", Shape::Tokens { length_max: 30 }).expect("valid");
    let mut seed = 100;
    let mut constant = |plan: &mut Plan, shape: &[usize]| {
        seed += 1;
        plan.constant(format!("constant {seed}"), shape, numbers(seed, shape.iter().product())).expect("valid")
    };
    let (words, positions) = (constant(&mut plan, &[50, 24]), constant(&mut plan, &[30, 24]));
    let x = plan.embed(tokens, words, positions).expect("valid");
    let (weight, bias) = (constant(&mut plan, &[24, 72]), constant(&mut plan, &[72]));
    let all = plan.gemm(x, weight, bias, Activation::None, None).expect("valid");
    let mixed = plan.attention(all, 3, false).expect("valid");
    let (weight, bias) = (constant(&mut plan, &[24, 24]), constant(&mut plan, &[24]));
    let mixed = plan.gemm(mixed, weight, bias, Activation::Gelu, Some(x)).expect("valid");
    let (gain, shift) = (constant(&mut plan, &[24]), constant(&mut plan, &[24]));
    let normal = plan.layernorm(mixed, gain, shift, 1e-12).expect("valid");
    let mean = plan.mean(normal).expect("valid");
    plan.output(mean).expect("valid");
    plan
}

/// A constant of reproducible numbers, scaled so that long sums stay small.
fn constant(plan: &mut Plan, shape: &[usize]) -> ConstantId {
    let seed = plan.constants().len() as u64 + 1;
    let data = numbers(seed, shape.iter().product()).iter().map(|value| value * 0.4).collect();
    plan.constant(format!("constant {seed}"), shape, data).expect("valid")
}

/// A dense product with a fresh weight.
fn linear(plan: &mut Plan, input: TensorId, columns: usize, activation: Activation, residual: Option<TensorId>) -> TensorId {
    let depth = plan.tensors()[input.index()].channels();
    let (weight, bias) = (constant(plan, &[depth, columns]), constant(plan, &[columns]));
    plan.gemm(input, weight, bias, activation, residual).expect("valid")
}

/// What convolutional networks with squeeze-and-excitation use.
fn gated_plan() -> Plan {
    let (mut plan, pixels) = Plan::new("gated", Shape::Pixels { height: 9, width: 13 }).expect("valid");
    let (weight, bias) = (constant(&mut plan, &[3, 3, 3, 12]), constant(&mut plan, &[12]));
    let normalisation = Normalisation { mean: [120.0, 110.0, 100.0], deviation: [60.0, 61.0, 62.0] };
    let stem = plan.stem(pixels, weight, bias, Window::around(3, 2, 1), normalisation, Activation::HardSwish).expect("valid");
    let (weight, bias) = (constant(&mut plan, &[3, 3, 12]), constant(&mut plan, &[12]));
    let deep = plan.depthwise(stem, weight, bias, Window::around(3, 1, 1), Activation::Silu).expect("valid");
    let mean = plan.mean(deep).expect("valid");
    let narrow = linear(&mut plan, mean, 3, Activation::Relu, None);
    let gate = linear(&mut plan, narrow, 12, Activation::HardSigmoid, None);
    let gated = plan.scale(deep, gate).expect("valid");
    let (weight, bias) = (constant(&mut plan, &[3, 3, 12, 12]), constant(&mut plan, &[12]));
    let dense = plan.conv(gated, weight, bias, Window::around(3, 1, 1), Activation::Tanh).expect("valid");
    let sum = plan.pairwise(dense, stem, Pairwise::Add).expect("valid");
    let mean = plan.mean(sum).expect("valid");
    plan.output(sum).expect("valid");
    plan.output(mean).expect("valid");
    plan
}

/// What vision transformers use: patches, a class token, attention over a map, both kinds of pooling.
fn patch_plan() -> Plan {
    let (mut plan, pixels) = Plan::new("patches", Shape::Pixels { height: 9, width: 13 }).expect("valid");
    let (weight, bias) = (constant(&mut plan, &[4, 4, 3, 12]), constant(&mut plan, &[12]));
    let normalisation = Normalisation::grey(127.5, 127.5);
    let patches = plan.stem(pixels, weight, bias, Window::around(4, 4, 0), normalisation, Activation::None).expect("valid");
    let (rows, places) = (constant(&mut plan, &[3, 12]), constant(&mut plan, &[9, 12]));
    let x = plan.arrange(patches, Some(Around { rows, front: 1 }), Some(places)).expect("valid");
    let all = linear(&mut plan, x, 36, Activation::None, None);
    let mixed = plan.attention(all, 2, false).expect("valid");
    let x = linear(&mut plan, mixed, 12, Activation::QuickGelu, Some(x));
    let first = plan.take(x, Position::First).expect("valid");
    let both = linear(&mut plan, x, 24, Activation::GeluTanh, None);
    let query = constant(&mut plan, &[12]);
    let pooled = plan.attend(both, query, 3).expect("valid");
    [first, pooled].into_iter().for_each(|output| plan.output(output).expect("valid"));
    plan
}

/// What causal text towers use.
fn causal_plan() -> Plan {
    let (mut plan, tokens) = Plan::new("causal", Shape::Tokens { length_max: 30 }).expect("valid");
    let (words, positions) = (constant(&mut plan, &[50, 24]), constant(&mut plan, &[30, 24]));
    let x = plan.embed(tokens, words, positions).expect("valid");
    let x = plan.arrange(x, None, Some(positions)).expect("valid");
    let all = linear(&mut plan, x, 72, Activation::None, None);
    let mixed = plan.attention(all, 3, true).expect("valid");
    let last = plan.take(mixed, Position::Last).expect("valid");
    let both = linear(&mut plan, mixed, 48, Activation::Sigmoid, None);
    let query = constant(&mut plan, &[24]);
    let pooled = plan.attend(both, query, 2).expect("valid");
    [last, pooled].into_iter().for_each(|output| plan.output(output).expect("valid"));
    plan
}

fn prepare(isa: Isa, threads: usize, plan: Plan) -> Arc<dyn Program> {
    CpuExecutor::with_isa(isa, threads).prepare(plan).expect("has outputs")
}

#[test]
fn pictures_give_the_same_on_every_instruction_set_and_thread_count() {
    let pixels: Vec<u8> = (0..5 * 9 * 13 * 3).map(|i| (i * 31 % 251) as u8).collect();
    for (plan, widths) in [(image_plan(), [20, 20]), (gated_plan(), [5 * 7 * 12, 12]), (patch_plan(), [12, 12])] {
        let want = prepare(Isa::SCALAR, 1, plan.clone()).run(Input::Pixels(&pixels)).expect("fits");
        for (output, width) in want.iter().zip(widths) {
            assert_eq!(output.len(), 5 * width);
            assert_ne!(output[..width], output[width..2 * width]);
        }
        for isa in variants() {
            for threads in [1, 3] {
                let program = prepare(isa, threads, plan.clone());
                for _ in 0..2 {
                    let got = program.run(Input::Pixels(&pixels)).expect("fits");
                    got.iter().zip(&want).for_each(|(got, want)| assert_close(isa, got, want, 1e-4));
                }
                assert!(program.memory_bytes() > 0);
            }
        }
    }
}

#[test]
fn texts_give_the_same_alone_and_in_groups() {
    let texts: Vec<Vec<u32>> = (0..40).map(|text| (0..1 + text * 7 % 30).map(|i| (text * 13 + i * 5) as u32 % 50).collect()).collect();
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    for plan in [text_plan(), causal_plan()] {
        let reference = prepare(Isa::SCALAR, 1, plan.clone());
        let outputs = plan.outputs().len();
        let alone: Vec<Vec<Vec<f32>>> = texts.iter().map(|text| reference.run(Input::Tokens(&[text])).expect("fits")).collect();
        for isa in Isa::available() {
            for threads in [1, 2] {
                let together = prepare(isa, threads, plan.clone()).run(Input::Tokens(&texts)).expect("fits");
                for output in 0..outputs {
                    let want: Vec<f32> = alone.iter().flat_map(|text| text[output].clone()).collect();
                    assert_close(isa, &together[output], &want, 1e-4);
                }
            }
        }
    }
}

#[test]
fn what_a_causal_text_ends_with_changes_nothing_before() {
    let (mut plan, tokens) = Plan::new("causal", Shape::Tokens { length_max: 9 }).expect("valid");
    let table = constant(&mut plan, &[9, 6]);
    let x = plan.embed(tokens, table, table).expect("valid");
    let mixed = plan.attention(x, 1, true).expect("valid");
    let first = plan.take(mixed, Position::First).expect("valid");
    plan.output(first).expect("valid");
    for isa in Isa::available() {
        let program = prepare(isa, 1, plan.clone());
        let run = |text: &[u32]| program.run(Input::Tokens(&[text])).expect("fits");
        assert_eq!(run(&[3, 1, 4]), run(&[3, 8, 8, 8, 8]));
        assert_ne!(run(&[3, 1, 4]), run(&[5, 1, 4]));
    }
}

#[test]
fn steps_may_share_a_constant() {
    let (mut plan, tokens) = Plan::new("shared", Shape::Tokens { length_max: 4 }).expect("valid");
    let table = plan.constant("table", &[4, 4], (0..16).map(|i| i as f32 / 16.0).collect()).expect("valid");
    let bias = plan.constant("bias", &[4], vec![0.5; 4]).expect("valid");
    // The table is at once word rows, positions and the weights of two products.
    let x = plan.embed(tokens, table, table).expect("valid");
    let once = plan.gemm(x, table, bias, Activation::None, None).expect("valid");
    let twice = plan.gemm(once, table, bias, Activation::None, Some(x)).expect("valid");
    let mean = plan.mean(twice).expect("valid");
    plan.output(mean).expect("valid");
    let want = prepare(Isa::SCALAR, 1, plan.clone()).run(Input::Tokens(&[&[1, 3]])).expect("fits");
    assert!(want[0].iter().all(|value| *value > 0.5));
    variants()
        .for_each(|isa| assert_close(isa, &prepare(isa, 1, plan.clone()).run(Input::Tokens(&[&[1, 3]])).expect("fits")[0], &want[0], 1e-5));
}

#[test]
fn an_empty_batch_gives_nothing() {
    assert_eq!(prepare(Isa::best(), 2, text_plan()).run(Input::Tokens(&[])), Ok(vec![vec![]]));
    assert_eq!(prepare(Isa::best(), 2, image_plan()).run(Input::Pixels(&[])), Ok(vec![vec![], vec![]]));
}

#[test]
fn half_precision_weights_take_half_the_memory_and_stay_close() {
    for isa in Isa::available() {
        let exact = prepare(isa, 1, text_plan());
        let half = CpuExecutor::with_isa(isa, 1).with_storage(Storage::F16).prepare(text_plan()).expect("has outputs");
        assert!(half.memory_bytes() < exact.memory_bytes() * 3 / 4, "{} {}", half.memory_bytes(), exact.memory_bytes());
        let run = |program: &Arc<dyn Program>| program.run(Input::Tokens(&[&[1, 2, 3, 49], &[7]])).expect("fits").remove(0);
        assert_close(isa, &run(&half), &run(&exact), 5e-3);
        assert_ne!(run(&half), run(&exact));
    }
}

#[test]
fn wrong_inputs_are_refused() {
    let (text, image) = (prepare(Isa::best(), 1, text_plan()), prepare(Isa::best(), 1, image_plan()));
    assert_eq!(text.run(Input::Pixels(&[])), Err(RunError::Kind));
    assert_eq!(image.run(Input::Tokens(&[])), Err(RunError::Kind));
    assert_eq!(image.run(Input::Pixels(&[0; 100])), Err(RunError::Pixels { bytes: 100, picture: 351 }));
    assert_eq!(text.run(Input::Tokens(&[&[1], &[]])), Err(RunError::Length { item: 1, length: 0, length_max: 30 }));
    assert_eq!(text.run(Input::Tokens(&[&[0; 31]])), Err(RunError::Length { item: 0, length: 31, length_max: 30 }));
    assert_eq!(text.run(Input::Tokens(&[&[49, 50]])), Err(RunError::Token { item: 0, token: 50, vocabulary: 50 }));
}

#[test]
fn groups_are_bounded_and_feed_every_thread() {
    let text = [0u32; 10];
    let texts = vec![&text[..]; 100];
    assert_eq!(group_sizes(&texts, 1), [vec![19; 5], vec![5]].concat());
    assert_eq!(group_sizes(&texts[..2], 2), [1, 1]);
    let long = [0u32; 500];
    assert_eq!(group_sizes(&[&text, &long, &text], 1), [1, 1, 1]);
}

#[test]
fn threads_share_a_program() {
    let program = prepare(Isa::best(), 1, image_plan());
    let pixels = vec![9u8; 351];
    let want = program.run(Input::Pixels(&pixels)).expect("fits");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(program.run(Input::Pixels(&pixels)).expect("fits"), want));
        }
    });
}
