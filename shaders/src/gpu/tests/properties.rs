//! Random sizes, on a software device, against the twins on the CPU: few cases, since such a device is slow.

use super::plans::{assert_close, software, tolerance};
use crate::gpu::source::Precision;
use crate::gpu::{Budget, GpuExecutor};
use crate::synthetic::{numbers, products};
use crate::{Activation, CpuExecutor, Executor, Input, Isa, Normalisation, Padding, Plan, Position, Shape, Window};
use proptest::prelude::*;
use std::rc::Rc;

thread_local! {
    static EXECUTORS: Vec<Rc<GpuExecutor>> =
        [Precision::F32, Precision::F16].into_iter().filter_map(|precision| software(precision, Budget::default())).map(Rc::new).collect();
}

fn executors() -> Vec<Rc<GpuExecutor>> {
    EXECUTORS.with(|executors| executors.iter().map(Rc::clone).collect())
}

/// Runs a plan on both sides.
fn compare(what: &str, executor: &GpuExecutor, plan: &Plan, input: Input<'_>) {
    let want = CpuExecutor::with_isa(Isa::SCALAR, 1).prepare(plan.clone()).expect("has outputs").run(input).expect("fits");
    let got = executor.prepare(plan.clone()).expect("fits the device").run(input).expect("runs");
    let what = format!("{what}, {}", executor.precision().name());
    assert_eq!(got.len(), want.len(), "{what}");
    got.iter().zip(&want).for_each(|(got, want)| assert_close(&what, got, want, tolerance(executor.precision())));
}

fn scaled(seed: u64, count: usize, fan_in: usize) -> Vec<f32> {
    let scale = (3.0 / fan_in as f32).sqrt();
    numbers(seed, count).into_iter().map(|value| value * scale).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn every_variant_of_the_product(depth in 1usize..150, wide in 1usize..260, rows in 1usize..140) {
        let plan = products(depth, wide).expect("valid");
        let tokens: Vec<[u32; 1]> = (0..rows).map(|row| [(row * 31 % 97) as u32]).collect();
        let texts: Vec<&[u32]> = tokens.iter().map(<[u32; 1]>::as_slice).collect();
        for executor in executors() {
            let all = executor.engine.choices().variants.clone();
            for variant in &all {
                executor.engine.choices().variants = vec![*variant];
                compare(&format!("{} of {rows} x {depth} x {wide}", variant.name()), &executor, &plan, Input::Tokens(&texts));
            }
            executor.engine.choices().variants = all;
        }
    }

    #[test]
    fn windows_of_any_kind(
        height in 1usize..14, width in 1usize..18, channels in 1usize..40, columns in 1usize..30,
        kernel in 1usize..8, stride in 1usize..4, around in prop::option::of(0usize..4),
        activation in prop::sample::select(Activation::ALL.to_vec()),
    ) {
        let window = Window { kernel, stride, padding: around.map_or(Padding::Same, Padding::Around) };
        prop_assume!(window.is_valid() && window.output(height) > 0 && window.output(width) > 0);
        let taps = kernel * kernel;
        let (mut plan, pixels) = Plan::new("windows", Shape::Pixels { height, width }).expect("valid");
        let constant = |plan: &mut Plan, seed, shape: &[usize], fan_in| {
            plan.constant(format!("{seed}"), shape, scaled(seed, shape.iter().product(), fan_in)).expect("fills its shape")
        };
        let normalisation = Normalisation { mean: [120.0, 110.0, 100.0], deviation: [60.0, 70.0, 80.0] };
        let (weight, bias) = (constant(&mut plan, 1, &[1, 1, 3, channels], 3), constant(&mut plan, 2, &[channels], 3));
        let map = plan.stem(pixels, weight, bias, Window::same(1, 1), normalisation, Activation::None).expect("fits");
        let (weight, bias) = (constant(&mut plan, 3, &[kernel, kernel, 3, columns], 3 * taps), constant(&mut plan, 4, &[columns], 3));
        let stem = plan.stem(pixels, weight, bias, window, normalisation, activation).expect("fits");
        let (weight, bias) = (constant(&mut plan, 5, &[kernel, kernel, channels], taps), constant(&mut plan, 6, &[channels], 3));
        let deep = plan.depthwise(map, weight, bias, window, activation).expect("fits");
        let weight = constant(&mut plan, 7, &[kernel, kernel, channels, columns], taps * channels);
        let bias = constant(&mut plan, 8, &[columns], 3);
        let dense = plan.conv(map, weight, bias, window, activation).expect("fits");
        for output in [stem, deep, dense] {
            plan.output(output).expect("a map");
        }
        let bytes: Vec<u8> = (0..2 * height * width * 3).map(|index| (index * 89 % 256) as u8).collect();
        for executor in executors() {
            compare(&format!("{window:?} {activation:?} of {height} x {width} x {channels}"), &executor, &plan, Input::Pixels(&bytes));
        }
    }

    #[test]
    fn attention_of_any_length_and_head(
        heads in 1usize..4, head_width in prop::sample::select(vec![1usize, 8, 21, 32, 72]), lengths in prop::collection::vec(1usize..100, 1..5), causal: bool,
    ) {
        let width = heads * head_width;
        let (mut plan, tokens) = Plan::new("attention", Shape::Tokens { length_max: 100 }).expect("valid");
        let words = plan.constant("words", &[50, 3 * width], numbers(1, 150 * width)).expect("valid");
        let places = plan.constant("places", &[100, 3 * width], numbers(2, 300 * width)).expect("valid");
        let all = plan.embed(tokens, words, places).expect("fits");
        let mixed = plan.attention(all, heads, causal).expect("fits");
        let query = plan.constant("query", &[width], numbers(3, width)).expect("valid");
        let weight = plan.constant("weight", &[width, 2 * width], scaled(4, 2 * width * width, width)).expect("valid");
        let bias = plan.constant("bias", &[2 * width], numbers(5, 2 * width)).expect("valid");
        let both = plan.gemm(mixed, weight, bias, Activation::None, None).expect("fits");
        let pooled = plan.attend(both, query, heads).expect("fits");
        for output in [plan.mean(mixed), plan.take(mixed, Position::First), plan.take(mixed, Position::Last), Ok(pooled)] {
            plan.output(output.expect("fits")).expect("a vector");
        }
        let texts: Vec<Vec<u32>> = lengths.iter().map(|length| (0..*length).map(|place| (place * 7 % 50) as u32).collect()).collect();
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        for executor in executors() {
            compare(&format!("{heads} heads of {head_width}, {lengths:?}, causal: {causal}"), &executor, &plan, Input::Tokens(&texts));
        }
    }
}
