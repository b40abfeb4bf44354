//! What plans accept and refuse.

use super::*;

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
    let (window, normalisation) = (Window { kernel: 3, stride: 2 }, Normalisation { mean: 0.0, deviation: 1.0 });
    let stem = |plan: &mut Plan, weight, window| plan.stem(pixels, weight, bias, window, normalisation, Activation::None);
    assert_eq!(reason(stem(&mut plan, bias, window)), "step 0 (stem): [4] is [4], not [3, 3, 3, 4]");
    assert!(reason(stem(&mut plan, weight, Window { kernel: 3, stride: 0 })).contains("out of range"));
    let map = stem(&mut plan, weight, window).expect("fits");
    assert_eq!(plan.tensors()[map.index()], Shape::Map { height: 4, width: 4, channels: 4 });

    let square = constant(&mut plan, &[4, 4]);
    assert!(reason(plan.gemm(pixels, square, bias, Activation::None, None)).starts_with("step 1 (gemm): cannot read Pixels"));
    assert!(reason(plan.gemm(map, square, bias, Activation::None, Some(map))).contains("the residual is the input"));
    let (narrow, one) = (constant(&mut plan, &[4, 1]), constant(&mut plan, &[1]));
    assert!(reason(plan.gemm(map, narrow, one, Activation::None, Some(map))).contains("the residual is not Map"));
    assert!(reason(plan.depthwise(map, square, bias, window, Activation::None)).contains("not [3, 3, 4]"));
    assert!(reason(plan.attention(map, 2)).contains("reads a sequence only"));
    assert!(reason(plan.pairwise(map, map, Pairwise::Add)).contains("two tensors of one shape"));
    assert!(reason(plan.output(map)).contains("only a vector"));
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
    assert!(plan.attention(x, 2).is_ok());
    assert!(reason(plan.attention(x, 4)).contains("6 channels are not queries, keys and values of 4 heads"));
    assert!(plan.attention(x, 0).is_err() && plan.attention(x, usize::MAX).is_err());
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
