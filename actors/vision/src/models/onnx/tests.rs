//! Hostile bytes, what is refused and how it is named, and the shared reference through its ONNX files.

use super::*;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

const GREY: Normalisation = Normalisation { mean: [127.5; 3], deviation: [127.5; 3] };
const ENDING: Ending = Ending { pooling: Pooling::Mean, normalizes: true, prefers_pooled: false };

fn test_model(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("models").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn source<'a>(bytes: &'a [u8]) -> Source<'a> {
    Source { name: "test", bytes, external: &|_| None }
}

/// Fields of a message: numbers below 2^7 and byte strings.
fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let length = |bytes: &[u8]| -> Vec<u8> {
        let (mut rest, mut out) = (bytes.len(), vec![]);
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
        out
    };
    fields.iter().flat_map(|(number, bytes)| [vec![number << 3 | 2], length(bytes), bytes.to_vec()].concat()).collect()
}

/// Operator, inputs, output.
type TestNode<'t> = (&'t str, &'t [&'t str], &'t str);

/// A graph over `input_ids` of nodes (operator, inputs, output), and its weights.
fn graph(nodes: &[TestNode<'_>], tensors: &[(&str, &[u8], &[f32])]) -> Vec<u8> {
    let mut fields: Vec<(u8, Vec<u8>)> = vec![];
    for (operator, inputs, output) in nodes {
        let mut node: Vec<(u8, &[u8])> = inputs.iter().map(|input| (1, input.as_bytes())).collect();
        node.extend([(2, output.as_bytes()), (3, output.as_bytes()), (4, operator.as_bytes())]);
        fields.push((1, message(&node)));
    }
    for (name, shape, numbers) in tensors {
        let raw: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        fields.push((5, [message(&[(1, shape), (8, name.as_bytes()), (9, &raw)]), vec![2 << 3, 1]].concat()));
    }
    let axes = message(&[(1, &[]), (1, &[])]);
    let kind = message(&[(1, &message(&[(2, &axes)]))]);
    fields.push((11, message(&[(1, b"input_ids"), (2, &kind)])));
    fields.push((12, message(&[(1, b"out")])));
    let fields: Vec<(u8, &[u8])> = fields.iter().map(|(number, bytes)| (*number, &bytes[..])).collect();
    message(&[(7, &message(&fields))])
}

fn reason(bytes: &[u8]) -> String {
    text_plan(&source(bytes), 8, ENDING).map(|_| ()).expect_err("refused").to_string()
}

#[test]
fn a_graph_of_one_table_is_a_model() {
    let bytes = graph(&[("Gather", &["words", "input_ids"], "out")], &[("words", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]);
    let (plan, fixed) = text_plan(&source(&bytes), 8, ENDING).expect("a plan");
    assert_eq!((plan.tensors()[plan.outputs()[0].index()], fixed), (Shape::Vector { channels: 3 }, None));
}

#[test]
fn what_no_kernel_can_do_is_named() {
    let words: (&str, &[u8], &[f32]) = ("words", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let table: TestNode<'_> = ("Gather", &["words", "input_ids"], "x");
    let cases: [(&str, &[TestNode<'_>], &str); 8] = [
        ("an unknown operator", &[table, ("Conjure", &["x"], "out")], "node out (Conjure): the operator is not known"),
        ("an unknown curve", &[table, ("Sin", &["x"], "out")], "node out (Sin): the operator is not known"),
        ("no known activation", &[table, ("Exp", &["x"], "out")], "node out (output): what is computed here is no known activation"),
        ("a name that nothing makes", &[("Add", &["x", "x"], "out")], "node out (Add): nothing makes its input \"x\""),
        ("softmax over states", &[table, ("Softmax", &["x"], "out")], "node out (Softmax): it is known only for attention"),
        (
            "ranges found beforehand",
            &[table, ("QuantizeLinear", &["x", "words"], "out")],
            "node out (QuantizeLinear): the operator is not known",
        ),
        (
            "an offset of values",
            &[table, ("MatMulInteger", &["x", "words", "words"], "out")],
            "node out (MatMulInteger): it reads values that were quantised with ranges found beforehand",
        ),
        ("nothing of the input", &[("Neg", &["words"], "out")], "node out (output): it is nothing that the model computes"),
    ];
    for (what, nodes, want) in cases {
        assert_eq!(reason(&graph(nodes, &[words])), want, "{what}");
    }
    assert!(reason(b"").contains("no graph") && reason(&[0x3a, 0xff]).contains("not a ONNX file"));
}

#[test]
fn a_bias_by_distance_is_refused_by_its_node() {
    let bytes = test_model("mpnet/model.onnx");
    let error = text_plan(&source(&bytes), 16, ENDING).map(|_| ()).expect_err("MPNet's bias").to_string();
    assert!(error.starts_with("node /") && error.contains("(Add)") && error.contains("bias"), "{error}");
}

/// Damage gives an error or another model, never a panic, and costs no more than a sound file.
fn try_all(bytes: &[u8]) {
    let _ = picture_plan(&source(bytes), 45, GREY, ENDING);
    let _ = detector_plan(&source(bytes), 40, GREY);
    let _ = text_plan(&source(bytes), 24, ENDING);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn damage_never_panics(
        which in 0usize..7,
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let names = ["mobilenet-v3/model.onnx", "clip/text_model.onnx", "bert/sentence_dynamo.onnx", "siglip/vision_model_dynamo.onnx", "convnext/model.onnx", "xlm-roberta/model.onnx", "yolos/model.onnx"];
        let mut bytes = test_model(names[which]);
        // The graph stands in front of most weights; damage there does most.
        for (place, byte) in places {
            let at = place.index(bytes.len().min(24_000));
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        try_all(&bytes);
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        try_all(&bytes);
    }
}

/// The reference's ONNX file of EfficientNet-Lite0 makes the plan that the native builder makes of the original weights.
#[test]
fn the_reference_graph_is_the_native_model() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("..");
    let shared = std::env::var_os("GOTHAM_SHARED").map_or_else(|| root.join("..").join("shared"), PathBuf::from).join("reference");
    let Ok(bytes) = std::fs::read(shared.join("efficientnet-lite0.onnx")) else {
        eprintln!("SKIPPED: no shared data");
        return;
    };
    let ending = Ending { normalizes: false, ..ENDING };
    let plan = picture_plan(&source(&bytes), 224, Normalisation::grey(127.0, 128.0), ending).expect("a plan");
    let program = shaders::Executor::prepare(&shaders::CpuExecutor::new(1), plan).expect("prepared");
    let reference: serde_json::Value =
        serde_json::from_slice(&std::fs::read(shared.join("image_reference.json")).expect("read")).expect("JSON");
    for image in reference["images"].as_array().expect("a list").iter().take(3) {
        let picture = std::fs::read(shared.join(image["input224"].as_str().expect("a path"))).expect("read");
        let pixels = image::load_from_memory(&picture).expect("a picture").into_rgb8().into_raw();
        let got = program.run(shaders::Input::Pixels(&pixels)).expect("runs").swap_remove(0);
        let want = image["features"].as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number") as f32);
        let worst = got.iter().zip(want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-3, "greatest difference {worst}");
    }
}
