//! What plans accept and refuse.

use super::*;
use crate::{Activation, Normalisation, Padding, Pairwise, Position, Window};

fn constant(plan: &mut Plan, shape: &[usize]) -> ConstantId {
    plan.constant(format!("{shape:?}"), shape, vec![0.0; shape.iter().product()]).expect("fills its shape")
}

fn reason(result: Result<impl std::fmt::Debug, PlanError>) -> String {
    result.expect_err("refused").to_string()
}

#[test]
fn inputs_are_bounded() {
    for shape in [
        Shape::Pixels { height: 0, width: 1 },
        Shape::Pixels { height: 1, width: SIDE_MAX + 1 },
        Shape::Tokens { length_max: 0 },
        Shape::Tokens { length_max: LENGTH_MAX + 1 },
        Shape::Vector { channels: 3 },
    ] {
        assert!(reason(Plan::new("bad", shape)).starts_with("plan bad: the input cannot be"));
    }
}

#[test]
fn constants_fill_their_shape() {
    let (mut plan, _) = Plan::new("plan", Shape::Tokens { length_max: 1 }).expect("valid");
    assert_eq!(reason(plan.constant("w", &[2, 3], vec![0.0; 5])), "constant w: 5 numbers do not fill [2, 3]");
    assert!(plan.constant("w", &[usize::MAX, usize::MAX], vec![0.0]).is_err());
    assert!(plan.constant("w", &[0], vec![]).is_err());
}

#[test]
fn steps_that_do_not_fit_are_named() {
    let (mut plan, pixels) = Plan::new("image", Shape::Pixels { height: 8, width: 8 }).expect("valid");
    let (weight, bias) = (constant(&mut plan, &[3, 3, 3, 4]), constant(&mut plan, &[4]));
    let (window, normalisation) = (Window::same(3, 2), Normalisation::grey(0.0, 1.0));
    let stem = |plan: &mut Plan, weight, window| plan.stem(pixels, weight, bias, window, normalisation, Activation::None);
    assert_eq!(reason(stem(&mut plan, bias, window)), "step 0 (stem): [4] is [4], not [3, 3, 3, 4]");
    for bad in [Window::same(3, 0), Window::same(0, 1), Window::same(65, 1), Window::around(3, 1, 3), Window::around(3, 1, usize::MAX)] {
        assert!(reason(stem(&mut plan, weight, bad)).contains("out of range"), "{bad:?}");
    }
    let grey = |mean, deviation| plan.clone().stem(pixels, weight, bias, window, Normalisation::grey(mean, deviation), Activation::None);
    assert!(grey(f32::NAN, 1.0).is_err() && grey(0.0, 0.0).is_err() && grey(0.0, f32::INFINITY).is_err());
    let map = stem(&mut plan, weight, window).expect("fits");
    assert_eq!(plan.tensors()[map.index()], Shape::Map { height: 4, width: 4, channels: 4 });

    let square = constant(&mut plan, &[4, 4]);
    assert!(reason(plan.gemm(pixels, square, bias, Activation::None, None)).starts_with("step 1 (gemm): cannot read Pixels"));
    assert!(reason(plan.gemm(map, square, bias, Activation::None, Some(map))).contains("the residual is the input"));
    let (narrow, one) = (constant(&mut plan, &[4, 1]), constant(&mut plan, &[1]));
    assert!(reason(plan.gemm(map, narrow, one, Activation::None, Some(map))).contains("the residual is not Map"));
    assert!(reason(plan.depthwise(map, square, bias, window, Activation::None)).contains("not [3, 3, 4]"));
    assert!(reason(plan.attention(pixels, 2, false)).contains("reads a map or a sequence"));
    assert!(reason(plan.pairwise(map, map, Pairwise::Add)).contains("two tensors of one shape"));
    assert!(reason(plan.output(pixels)).contains("only a vector or a map"));
    assert!(reason(plan.layernorm(map, bias, bias, f32::NAN)).contains("epsilon"));
    let mean = plan.mean(map).expect("fits");
    assert!(reason(plan.mean(mean)).contains("no positions"));
    assert!(plan.output(mean).is_ok());
    assert_eq!((plan.steps().len(), plan.outputs()), (2, &[mean][..]));
}

#[test]
fn texts_need_a_position_for_every_token_and_whole_heads() {
    let (mut plan, tokens) = Plan::new("text", Shape::Tokens { length_max: 5 }).expect("valid");
    let (words, short) = (constant(&mut plan, &[9, 6]), constant(&mut plan, &[4, 6]));
    assert!(reason(plan.embed(tokens, words, short)).contains("4 positions for texts of up to 5 tokens"));
    let x = plan.embed(tokens, words, words).expect("fits");
    assert!(plan.attention(x, 2, true).is_ok());
    assert!(reason(plan.attention(x, 4, false)).contains("6 channels are not queries, keys and values of 4 heads"));
    assert!(plan.attention(x, 0, false).is_err() && plan.attention(x, usize::MAX, false).is_err());
}

#[test]
fn ids_of_another_plan_are_refused() {
    let (mut large, tokens) = Plan::new("large", Shape::Tokens { length_max: 2 }).expect("valid");
    let table = constant(&mut large, &[4, 3]);
    let x = large.embed(tokens, table, table).expect("fits");
    let (mut small, tokens) = Plan::new("small", Shape::Tokens { length_max: 2 }).expect("valid");
    assert!(reason(small.mean(x)).contains("another plan"));
    assert!(reason(small.embed(tokens, table, table)).contains("another plan"));
}

/// An image plan with a map of `[4, 4, 6]`.
fn small_map() -> (Plan, TensorId) {
    let (mut plan, pixels) = Plan::new("image", Shape::Pixels { height: 8, width: 8 }).expect("valid");
    let (weight, bias) = (constant(&mut plan, &[2, 2, 3, 6]), constant(&mut plan, &[6]));
    let patches = Window { kernel: 2, stride: 2, padding: Padding::Around(0) };
    let map = plan.stem(pixels, weight, bias, patches, Normalisation::grey(0.0, 1.0), Activation::None).expect("fits");
    assert_eq!(plan.tensors()[map.index()], Shape::Map { height: 4, width: 4, channels: 6 });
    (plan, map)
}

#[test]
fn convolutions_and_gates_that_do_not_fit_are_named() {
    let (mut plan, map) = small_map();
    let (weight, bias, large) = (constant(&mut plan, &[3, 3, 6, 5]), constant(&mut plan, &[5]), constant(&mut plan, &[5, 5, 6, 5]));
    assert!(reason(plan.conv(map, bias, bias, Window::around(3, 2, 1), Activation::Relu)).contains("not [3, 3, 6, 5]"));
    assert!(reason(plan.conv(map, large, bias, Window::around(5, 1, 0), Activation::Relu)).contains("larger than the map"));
    let half = plan.conv(map, weight, bias, Window::around(3, 2, 1), Activation::HardSwish).expect("fits");
    assert_eq!(plan.tensors()[half.index()], Shape::Map { height: 2, width: 2, channels: 5 });
    let (mean, other) = (plan.mean(half).expect("fits"), plan.mean(map).expect("fits"));
    assert!(reason(plan.conv(mean, weight, bias, Window::around(3, 2, 1), Activation::Relu)).contains("reads a map only"));
    assert!(reason(plan.scale(half, other)).contains("not 5 numbers"));
    assert!(reason(plan.scale(mean, mean)).contains("reads a map only"));
    assert!(reason(plan.scale(half, half)).contains("not 5 numbers"));
    let gated = plan.scale(half, mean).expect("fits");
    assert!(plan.output(gated).is_ok(), "a map can be given back");
}

#[test]
fn transformers_over_maps_that_do_not_fit_are_named() {
    let (mut plan, map) = small_map();
    let (class, narrow, places, short) =
        (constant(&mut plan, &[1, 6]), constant(&mut plan, &[1, 5]), constant(&mut plan, &[17, 6]), constant(&mut plan, &[16, 6]));
    let (class, narrow) = (Around { rows: class, front: 1 }, Around { rows: narrow, front: 1 });
    assert!(reason(plan.arrange(map, Some(narrow), None)).contains("not [1, 6]"));
    assert!(reason(plan.arrange(map, Some(Around { front: 2, ..class }), None)).contains("2 of 1 rows in front"));
    assert!(reason(plan.arrange(map, Some(class), Some(short))).contains("not [17, 6]"));
    let x = plan.arrange(map, Some(class), Some(places)).expect("fits");
    assert_eq!(plan.tensors()[x.index()], Shape::Map { height: 1, width: 17, channels: 6 });
    let both = plan.arrange(map, Some(Around { rows: places, front: 4 }), None).expect("fits");
    assert_eq!(plan.tensors()[both.index()], Shape::Map { height: 1, width: 33, channels: 6 });
    let mixed = plan.attention(x, 2, false).expect("fits");
    assert_eq!(plan.tensors()[mixed.index()], Shape::Map { height: 1, width: 17, channels: 2 });
    let (query, wide) = (constant(&mut plan, &[3]), constant(&mut plan, &[6]));
    assert!(reason(plan.attend(x, wide, 2)).contains("6 channels are not keys and values for a query of 6"));
    assert!(reason(plan.attend(x, query, 2)).contains("3 channels are not 2 heads"));
    assert!(plan.attend(x, query, 0).is_err());
    let pooled = plan.attend(x, query, 3).expect("fits");
    assert!(reason(plan.take(pooled, Position::First)).contains("reads a map or a sequence"));
    assert!(reason(plan.arrange(pooled, None, None)).contains("reads a map or a sequence"));
    let first = plan.take(x, Position::First).expect("fits");
    assert_eq!(plan.tensors()[first.index()], Shape::Vector { channels: 6 });
}

#[test]
fn positions_of_texts_are_arranged_in_place() {
    let (mut plan, tokens) = Plan::new("text", Shape::Tokens { length_max: 5 }).expect("valid");
    let (words, short, row) = (constant(&mut plan, &[9, 6]), constant(&mut plan, &[4, 6]), constant(&mut plan, &[1, 6]));
    let x = plan.embed(tokens, words, words).expect("fits");
    assert!(reason(plan.arrange(x, Some(Around { rows: row, front: 1 }), Some(words))).contains("cannot take rows around it"));
    assert!(reason(plan.arrange(x, None, None)).contains("needs positions"));
    assert!(reason(plan.arrange(x, None, Some(short))).contains("4 positions for texts of up to 5 tokens"));
    assert_eq!(plan.arrange(x, None, Some(words)).map(|at| plan.tensors()[at.index()]), Ok(Shape::Sequence { channels: 6 }));
}

#[test]
fn tensors_are_bounded() {
    let (mut plan, pixels) = Plan::new("large", Shape::Pixels { height: SIDE_MAX, width: SIDE_MAX }).expect("valid");
    let (weight, bias) = (constant(&mut plan, &[1, 1, 3, 17]), constant(&mut plan, &[17]));
    let stem = plan.stem(pixels, weight, bias, Window::same(1, 1), Normalisation::grey(0.0, 1.0), Activation::None);
    assert!(reason(stem).contains("too large"));
    let wide = constant(&mut plan, &[CHANNELS_MAX + 1]);
    let stem = plan.stem(pixels, weight, wide, Window::same(1, 1), Normalisation::grey(0.0, 1.0), Activation::None);
    assert!(reason(stem).contains("a bias cannot be"));
}
