//! A detector as it is published for browsers: `model.onnx` with `pixel_values` and, for each of its queries, `logits` and `pred_boxes`
//! (Carion et al. 2020, "End-to-End Object Detection with Transformers"; Fang et al. 2021, "You Only Look at One Sequence").

use super::folder::missing;
use super::onnx::{self, Heads};
use super::{ModelError, ModelFiles, preprocessor};
use crate::logic::picture::Pixels;
use crate::logic::preprocessing::Preprocessing;
use shaders::{Executor, Input, Program};
use std::sync::Arc;

/// A model that finds objects in 8-bit RGB pictures.
pub struct ObjectModel {
    program: Arc<dyn Program>,
    preprocessing: Preprocessing,
    heads: Heads,
}

/// What a detector says of one picture, query by query.
#[derive(Clone, Debug, PartialEq)]
pub struct Detections {
    /// `[queries, classes + 1]`, the last one for no object.
    pub logits: Vec<f32>,
    /// `[queries, 4]`: centre, width and height in shares of the input square.
    pub boxes: Vec<f32>,
}

impl ObjectModel {
    /// How pictures are prepared.
    #[must_use]
    pub fn preprocessing(&self) -> Preprocessing {
        self.preprocessing
    }

    /// Runs it on one picture.
    ///
    /// # Errors
    /// When the bytes are no picture of its size, or the device fails.
    pub fn detect(&self, pixels: &Pixels) -> Result<Detections, ModelError> {
        let mut outputs = self.program.run(Input::Pixels(&pixels.0))?.into_iter();
        let mut head = |at: usize| {
            let (rows, channels) = (&self.heads.rows[at], self.heads.channels[at]);
            let numbers = outputs.next().unwrap_or_default();
            numbers.get(rows.start * channels..rows.end * channels).map(<[f32]>::to_vec).unwrap_or_default()
        };
        Ok(Detections { logits: head(0), boxes: head(1) })
    }
}

/// Loads the detector that the files make; `None` where their graph gives no boxes.
///
/// # Errors
/// When files are missing, or make a detector that no kernel can run.
pub fn load_detector(files: &ModelFiles, executor: &dyn Executor) -> Result<Option<ObjectModel>, ModelError> {
    let Some(graph) = files.graph("model")?.filter(|graph| graph.with(onnx::is_detector)) else { return Ok(None) };
    let processor = files.json("preprocessor_config.json")?.ok_or_else(|| missing("preprocessor_config.json"))?;
    let (preprocessing, normalisation) = preprocessor::from_detector(&processor)?;
    let (plan, heads) = graph.with(|source| onnx::detector_plan(source, preprocessing.side, normalisation))?;
    let config = files.json("config.json")?.unwrap_or_default();
    let labels = config["id2label"].as_object().map(serde_json::Map::len);
    if let Some(labels) = labels.filter(|labels| labels + 1 != heads.channels[0]) {
        let reason = format!("{labels} labels and {} logits: one more is needed, for no object", heads.channels[0]);
        return Err(ModelError::File { name: "config.json".to_owned(), reason });
    }
    Ok(Some(ObjectModel { program: executor.prepare(plan)?, preprocessing, heads }))
}

#[cfg(test)]
mod tests {
    use super::super::parity::{floats, json, pictures};
    use super::*;
    use shaders::CpuExecutor;
    use std::path::{Path, PathBuf};

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("models").join("yolos")
    }

    /// Against what onnxruntime makes of the same graph, whose tables of places are resized in it.
    #[test]
    fn a_random_detector_gives_the_reference_boxes() {
        let model = load_detector(&ModelFiles::new(&folder()), &CpuExecutor::new(1)).expect("loads").expect("a detector");
        let cases = json(&folder().join("detections.json"));
        let side = model.preprocessing().side;
        for (case, pixels) in cases.as_array().expect("a list").iter().zip(pictures(side, 2).chunks_exact(side * side * 3)) {
            let got = model.detect(&Pixels(pixels.to_vec())).expect("runs");
            for (name, got, want) in [("logits", got.logits, floats(&case["logits"])), ("boxes", got.boxes, floats(&case["boxes"]))] {
                assert_eq!(got.len(), want.len(), "{name}");
                let worst = got.iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
                eprintln!("{name}: greatest difference {worst:.1e}");
                assert!(worst < 1e-4, "{name}: {worst}");
            }
        }
    }

    /// A copy of the test model with one of its files changed.
    fn refusal(file: &str, change: impl Fn(&mut Vec<u8>)) -> String {
        let copy = tempfile::tempdir().expect("a folder");
        for name in ["model.onnx", "config.json", "preprocessor_config.json"] {
            let mut bytes = std::fs::read(folder().join(name)).expect("a file");
            if name == file {
                change(&mut bytes);
            }
            std::fs::write(copy.path().join(name), bytes).expect("written");
        }
        match load_detector(&ModelFiles::new(copy.path()), &CpuExecutor::new(1)) {
            Ok(found) => format!("{}", found.is_some()),
            Err(error) => error.to_string(),
        }
    }

    fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
        assert_eq!(from.len(), to.len());
        let places: Vec<usize> = (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
        assert!(!places.is_empty());
        places.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to));
    }

    #[test]
    fn what_is_no_detector_is_named() {
        let logits = refusal("model.onnx", |bytes| replace(bytes, b"logits", b"scores"));
        assert_eq!(logits, "node logits (input): the graph has no such output");
        assert_eq!(refusal("model.onnx", |bytes| replace(bytes, b"pred_boxes", b"some_boxes")), "false");
        let labels = refusal("config.json", |bytes| *bytes = br#"{"id2label":{"0":"a"}}"#.to_vec());
        assert!(labels.contains("1 labels and 5 logits"), "{labels}");
        let size = refusal("preprocessor_config.json", |bytes| *bytes = br#"{"size":{"height":3,"width":4}}"#.to_vec());
        assert!(size.contains("no square"), "{size}");
    }
}
