//! Small plans through the whole executor: every kernel kind, every instruction set, any grouping.

use super::*;
use crate::kernels::compare::{assert_close, numbers, variants};
use crate::kernels::depthwise::Window;
use crate::kernels::elementwise::Pairwise;
use crate::kernels::gemm::Activation;
use crate::kernels::stem::Normalisation;

fn image_plan() -> Plan {
    let (mut plan, pixels) = Plan::new("image", Shape::Pixels { height: 9, width: 13 }).expect("valid");
    let mut seed = 0;
    let mut constant = |plan: &mut Plan, shape: &[usize]| {
        seed += 1;
        plan.constant(format!("constant {seed}"), shape, numbers(seed, shape.iter().product())).expect("valid")
    };
    let (weight, bias) = (constant(&mut plan, &[3, 3, 3, 20]), constant(&mut plan, &[20]));
    let normalisation = Normalisation { mean: 127.0, deviation: 128.0 };
    let stem = plan.stem(pixels, weight, bias, Window { kernel: 3, stride: 2 }, normalisation, Activation::Relu6).expect("valid");
    let (weight, bias) = (constant(&mut plan, &[5, 5, 20]), constant(&mut plan, &[20]));
    let deep = plan.depthwise(stem, weight, bias, Window { kernel: 5, stride: 1 }, Activation::Relu6).expect("valid");
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
    let mixed = plan.attention(all, 3).expect("valid");
    let (weight, bias) = (constant(&mut plan, &[24, 24]), constant(&mut plan, &[24]));
    let mixed = plan.gemm(mixed, weight, bias, Activation::Gelu, Some(x)).expect("valid");
    let (gain, shift) = (constant(&mut plan, &[24]), constant(&mut plan, &[24]));
    let normal = plan.layernorm(mixed, gain, shift, 1e-12).expect("valid");
    let mean = plan.mean(normal).expect("valid");
    plan.output(mean).expect("valid");
    plan
}

fn prepare(isa: Isa, threads: usize, plan: Plan) -> Arc<dyn Program> {
    CpuExecutor::with_isa(isa, threads).prepare(plan).expect("has outputs")
}

#[test]
fn pictures_give_the_same_on_every_instruction_set_and_thread_count() {
    let pixels: Vec<u8> = (0..5 * 9 * 13 * 3).map(|i| (i * 31 % 251) as u8).collect();
    let want = prepare(Isa::SCALAR, 1, image_plan()).run(Input::Pixels(&pixels)).expect("fits");
    assert_eq!((want.len(), want[0].len(), want[1].len()), (2, 5 * 20, 5 * 20));
    assert_ne!(want[0][..20], want[0][20..40]);
    for isa in variants() {
        for threads in [1, 3] {
            let program = prepare(isa, threads, image_plan());
            for _ in 0..2 {
                let got = program.run(Input::Pixels(&pixels)).expect("fits");
                assert_close(isa, &got[0], &want[0], 1e-4);
                assert_close(isa, &got[1], &want[1], 1e-4);
            }
        }
    }
}

#[test]
fn texts_give_the_same_alone_and_in_groups() {
    let texts: Vec<Vec<u32>> = (0..40).map(|text| (0..1 + text * 7 % 30).map(|i| (text * 13 + i * 5) as u32 % 50).collect()).collect();
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let reference = prepare(Isa::SCALAR, 1, text_plan());
    let alone: Vec<f32> = texts.iter().flat_map(|text| reference.run(Input::Tokens(&[text])).expect("fits").remove(0)).collect();
    for isa in Isa::available() {
        for threads in [1, 2] {
            let program = prepare(isa, threads, text_plan());
            assert_close(isa, &program.run(Input::Tokens(&texts)).expect("fits")[0], &alone, 1e-4);
        }
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
