//! A folder of files as a model: which files there are says which builder makes it.

use super::onnx::{self, Ending, Source};
use super::sight::with_sight;
use super::tensors::{self, Tensors};
use super::tokenizer::{Rules, TextTokenizer};
use super::weights::WeightFile;
use super::{ImageModel, ModelError, Pooling, TextModel, bert, efficientnet_lite, mobilenet, output_width, pickle, preprocessor, towers};
use crate::logic::preprocessing::Preprocessing;
use protocol::vision::Space;
use serde_json::Value;
use shaders::{Executor, Normalisation, Plan};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Bytes of a file of weights or of a graph.
const WEIGHTS_BYTES_MAX: u64 = 8 << 30;
/// Bytes of a tokenizer or a configuration.
const TEXT_BYTES_MAX: u64 = 64 << 20;
/// Tokens of a text where the files name no length, or a greater one.
const LENGTH_MAX: u64 = 512;
/// Folders in which publishers put graphs and weights, below the model's own.
const FOLDERS: [&str; 2] = ["", "onnx/"];
/// What publishers append to the name of a graph, the most exact first.
const PRECISIONS: [&str; 3] = ["", "_fp16", "_quantized"];
/// Names of files of weights.
const WEIGHTS: [&str; 5] =
    ["model.safetensors", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin", "model.pth"];

/// What the files of a folder make: pictures, texts, or both into one space.
pub struct LoadedModel {
    /// Pictures to vectors.
    pub image: Option<ImageModel>,
    /// Texts to vectors; where there are pictures too, into their space.
    pub text: Option<TextModel>,
}

impl LoadedModel {
    /// Numbers in each vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        let image = self.image.as_ref().map(ImageModel::dimensions);
        image.or(self.text.as_ref().map(TextModel::dimensions)).unwrap_or(0)
    }

    /// What it fills with vectors: texts stand beside pictures where it embeds both.
    #[must_use]
    pub fn space(&self) -> Space {
        if self.image.is_some() { Space::Image } else { Space::Text }
    }

    /// Whether texts are among its inputs.
    #[must_use]
    pub fn reads_texts(&self) -> bool {
        self.text.is_some()
    }
}

/// The files of a model, and which of them were read.
pub struct ModelFiles {
    folder: PathBuf,
    read: RefCell<BTreeSet<String>>,
}

impl ModelFiles {
    /// Those below a folder.
    #[must_use]
    pub fn new(folder: &Path) -> ModelFiles {
        ModelFiles { folder: folder.to_owned(), read: RefCell::default() }
    }

    /// The names of the files that were read, from the folder on.
    #[must_use]
    pub fn read(&self) -> Vec<String> {
        self.read.borrow().iter().cloned().collect()
    }

    /// Opens a file of at most so many bytes.
    fn open(&self, name: &str, bytes_max: u64) -> Result<Option<File>, ModelError> {
        let refused = |reason: String| ModelError::File { name: name.to_owned(), reason };
        let path = self.folder.join(name);
        let file = match File::open(&path) {
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => return Ok(None),
            other => other.map_err(|error| refused(error.to_string()))?,
        };
        let metadata = file.metadata().map_err(|error| refused(error.to_string()))?;
        if !metadata.is_file() || metadata.len() > bytes_max {
            return Err(refused(format!("it is no file of at most {bytes_max} bytes")));
        }
        self.read.borrow_mut().insert(name.to_owned());
        Ok(Some(file))
    }

    fn bytes(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, ModelError> {
        let Some(file) = self.open(name, bytes_max)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.take(bytes_max).read_to_end(&mut bytes);
        read.map_err(|error| ModelError::File { name: name.to_owned(), reason: error.to_string() })?;
        Ok(Some(bytes))
    }

    /// A file that is mapped.
    fn mapped(&self, name: &str) -> Result<Option<WeightFile>, ModelError> {
        let Some(file) = self.open(name, WEIGHTS_BYTES_MAX)? else { return Ok(None) };
        let mapped = WeightFile::of(&file);
        mapped.map(Some).map_err(|error| ModelError::File { name: name.to_owned(), reason: error.to_string() })
    }

    /// A file, in the folder itself or in one where publishers put it.
    fn weights(&self, name: &str) -> Result<Option<(String, WeightFile)>, ModelError> {
        for folder in FOLDERS {
            let name = format!("{folder}{name}");
            if let Some(file) = self.mapped(&name)? {
                return Ok(Some((name, file)));
            }
        }
        Ok(None)
    }

    pub(super) fn json(&self, name: &str) -> Result<Option<Value>, ModelError> {
        let Some(bytes) = self.bytes(name, TEXT_BYTES_MAX)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| ModelError::File { name: name.to_owned(), reason: error.to_string() })
    }

    /// The graph of a model with the files of numbers beside it: the most exact one that there is.
    pub(super) fn graph(&self, name: &str) -> Result<Option<Graph>, ModelError> {
        for precision in PRECISIONS {
            if let Some(graph) = self.graph_of(&format!("{name}{precision}.onnx"))? {
                return Ok(Some(graph));
            }
        }
        Ok(None)
    }

    fn graph_of(&self, name: &str) -> Result<Option<Graph>, ModelError> {
        let Some((name, file)) = self.weights(name)? else { return Ok(None) };
        let mut beside = BTreeMap::new();
        for ending in ["_data", ".data"] {
            let data = format!("{name}{ending}");
            if let Some(file) = self.mapped(&data)? {
                beside.insert(data.rsplit('/').next().unwrap_or_default().to_owned(), file);
            }
        }
        Ok(Some(Graph { name, file, beside }))
    }
}

/// An ONNX file.
pub(super) struct Graph {
    name: String,
    file: WeightFile,
    beside: BTreeMap<String, WeightFile>,
}

impl Graph {
    pub(super) fn with<R>(&self, use_it: impl FnOnce(&Source<'_>) -> R) -> R {
        let external = |name: &str| self.beside.get(name).map(WeightFile::bytes);
        let result = use_it(&Source { name: &self.name, bytes: self.file.bytes(), external: &external });
        self.beside.values().chain([&self.file]).for_each(WeightFile::forget_all);
        result
    }
}

/// Loads what the files make.
///
/// # Errors
/// When files are missing, are not what they are called, or make a model that no kernel can run.
pub fn load(files: &ModelFiles, executor: &dyn Executor) -> Result<LoadedModel, ModelError> {
    let config = files.json("config.json")?;
    let kind = config.as_ref().and_then(|config| config["model_type"].as_str()).unwrap_or_default();
    let is_native =
        matches!(kind, "bert" | "roberta" | "xlm-roberta" | "camembert" | "distilbert" | "mpnet" | "clip" | "siglip" | "mobilenet_v2");
    let open_clip = files.json("open_clip_config.json")?;
    if is_native || open_clip.is_some() || config.is_none() {
        for name in WEIGHTS {
            if let Some((name, file)) = files.weights(name)? {
                return from_weights(files, executor, config.as_ref(), open_clip.as_ref(), read_tensors(&name, &file)?);
            }
        }
    }
    if is_timm(config.as_ref()) {
        for name in WEIGHTS {
            let Some((name, file)) = files.weights(name)? else { continue };
            let tensors = read_tensors(&name, &file)?;
            if efficientnet_lite::recognise(&tensors).is_some() || mobilenet::recognise(&tensors, config.as_ref()).is_some() {
                return from_weights(files, executor, config.as_ref(), None, tensors);
            }
            // The graph beside them is the model.
            files.read.borrow_mut().remove(&name);
        }
    }
    from_graphs(files, executor, config.as_ref())
}

/// Reads a file of tensors by its ending.
pub(super) fn read_tensors(name: &str, file: &WeightFile) -> Result<Tensors, ModelError> {
    if name.ends_with(".safetensors") { tensors::from_safetensors(file) } else { pickle::read(file) }
}

fn from_weights(
    files: &ModelFiles,
    executor: &dyn Executor,
    config: Option<&Value>,
    open_clip: Option<&Value>,
    tensors: Tensors,
) -> Result<LoadedModel, ModelError> {
    if let Some(member) = efficientnet_lite::recognise(&tensors) {
        let image = image_model(executor, efficientnet_lite::plan(member, member.preprocessing().side, tensors)?, member.preprocessing())?;
        return Ok(LoadedModel { image: Some(image), text: None });
    }
    if let Some(member) = mobilenet::recognise(&tensors, config) {
        let (preprocessing, normalisation) = given_processing(files, config)?.unwrap_or_else(|| member.preprocessing());
        let plan = mobilenet::plan(&member, tensors, preprocessing.side, normalisation)?;
        return Ok(LoadedModel { image: Some(image_model(executor, plan, preprocessing)?), text: None });
    }
    if let Some(open_clip) = open_clip {
        return from_towers(files, executor, &towers::Contract::from_open_clip(open_clip), config, Some(open_clip), tensors);
    }
    let config = config.ok_or_else(|| missing("config.json"))?;
    if matches!(config["model_type"].as_str(), Some("clip" | "siglip")) {
        return from_towers(files, executor, &towers::Contract::from_config(config)?, Some(config), None, tensors);
    }
    let contract = TextContract::read(files, Some(config))?;
    let architecture = bert::Architecture::from_config(config, contract.pooling)?;
    let (plan, length_max) = bert::plan(&architecture, tensors, contract.length_max)?;
    Ok(LoadedModel { image: None, text: Some(text_model(files, executor, plan, contract.rules(length_max, None))?) })
}

fn from_towers(
    files: &ModelFiles,
    executor: &dyn Executor,
    contract: &towers::Contract,
    config: Option<&Value>,
    open_clip: Option<&Value>,
    tensors: Tensors,
) -> Result<LoadedModel, ModelError> {
    let tensors = towers::named_as_usual(tensors);
    let processed = match (files.json("preprocessor_config.json")?, open_clip) {
        (Some(processor), _) => preprocessor::from_processor(&processor)?,
        (None, Some(open_clip)) => {
            let side = open_clip["model_cfg"]["vision_cfg"]["image_size"].as_u64().unwrap_or(224);
            preprocessor::from_open_clip(open_clip, side as usize)?
        }
        (None, None) => return Err(missing("preprocessor_config.json")),
    };
    let (plan, tensors) = towers::picture_plan(contract, tensors, processed.0.side, processed.1)?;
    let image = image_model(executor, plan, processed.0)?;
    let (plan, length_max) = towers::text_plan(contract, tensors)?;
    let text_contract = TextContract::read(files, config)?;
    let fixed = contract.fills_texts().then_some(length_max);
    let text = text_model(files, executor, plan, text_contract.rules(length_max, fixed))?;
    together(image, text)
}

fn from_graphs(files: &ModelFiles, executor: &dyn Executor, config: Option<&Value>) -> Result<LoadedModel, ModelError> {
    let (vision, text) = (files.graph("vision_model")?, files.graph("text_model")?);
    let is_pair = vision.is_some() && text.is_some();
    let (vision, text) = if vision.is_some() || text.is_some() {
        (vision, text)
    } else {
        let graph = files.graph("model")?.ok_or_else(|| missing("model.onnx, vision_model.onnx or a file of weights"))?;
        // A model of both has both towers in one graph.
        let has = |name: &str| files.folder.join(name).is_file();
        match (has("preprocessor_config.json") || is_timm(config), has("tokenizer.json")) {
            (true, true) => return from_graph_of_both(files, executor, config, &graph),
            (false, true) => (None, Some(graph)),
            _ => (Some(graph), None),
        }
    };
    let image = vision.map(|graph| image_graph(files, executor, config, &graph, is_pair)).transpose()?;
    let text = text.map(|graph| text_graph(files, executor, config, &graph, is_pair)).transpose()?;
    match (image, text) {
        (Some(image), Some(text)) => together(image, text),
        (image, text) => Ok(LoadedModel { image, text }),
    }
}

fn from_graph_of_both(
    files: &ModelFiles,
    executor: &dyn Executor,
    config: Option<&Value>,
    graph: &Graph,
) -> Result<LoadedModel, ModelError> {
    let image = image_graph(files, executor, config, graph, true)?;
    let text = text_graph(files, executor, config, graph, true)?;
    together(image, text)
}

fn together(image: ImageModel, text: TextModel) -> Result<LoadedModel, ModelError> {
    if image.dimensions() != text.dimensions() {
        let reason = format!("pictures have {} numbers, texts {}: they share no space", image.dimensions(), text.dimensions());
        return Err(ModelError::File { name: "config.json".to_owned(), reason });
    }
    Ok(LoadedModel { image: Some(image), text: Some(text) })
}

fn is_timm(config: Option<&Value>) -> bool {
    config.is_some_and(|config| config["pretrained_cfg"].is_object())
}

fn image_graph(
    files: &ModelFiles,
    executor: &dyn Executor,
    config: Option<&Value>,
    graph: &Graph,
    is_pair: bool,
) -> Result<ImageModel, ModelError> {
    let (preprocessing, normalisation) = processing(files, config)?;
    let ending = Ending { pooling: Pooling::First, normalizes: false, prefers_pooled: is_pair };
    let plan = graph.with(|source| onnx::picture_plan(source, preprocessing.side, normalisation, ending))?;
    image_model(executor, plan, preprocessing)
}

/// How pictures are prepared, by the files.
fn processing(files: &ModelFiles, config: Option<&Value>) -> Result<(Preprocessing, Normalisation), ModelError> {
    given_processing(files, config)?.ok_or_else(|| missing("preprocessor_config.json"))
}

/// The same, if the files say it.
fn given_processing(files: &ModelFiles, config: Option<&Value>) -> Result<Option<(Preprocessing, Normalisation)>, ModelError> {
    match (files.json("preprocessor_config.json")?, config) {
        (Some(processor), _) => preprocessor::from_processor(&processor).map(Some),
        (None, Some(config)) if is_timm(Some(config)) => preprocessor::from_timm(&config["pretrained_cfg"]).map(Some),
        _ => Ok(None),
    }
}

fn text_graph(
    files: &ModelFiles,
    executor: &dyn Executor,
    config: Option<&Value>,
    graph: &Graph,
    is_pair: bool,
) -> Result<TextModel, ModelError> {
    let contract = TextContract::read(files, config)?;
    let ending = Ending { pooling: contract.pooling, normalizes: true, prefers_pooled: is_pair };
    let (plan, fixed) = graph.with(|source| onnx::text_plan(source, contract.length_max, ending))?;
    let siglip = config.is_some_and(|config| config["model_type"].as_str() == Some("siglip"));
    let fixed = fixed.or(siglip.then_some(contract.length_max));
    let length_max = fixed.unwrap_or(contract.length_max);
    text_model(files, executor, plan, contract.rules(length_max, fixed))
}

pub(super) fn image_model(executor: &dyn Executor, plan: Plan, preprocessing: Preprocessing) -> Result<ImageModel, ModelError> {
    let dimensions = output_width(&plan);
    let (plan, sight) = with_sight(plan)?;
    Ok(ImageModel { program: executor.prepare(plan)?, preprocessing, dimensions, is_rooted: false, sight })
}

fn text_model(files: &ModelFiles, executor: &dyn Executor, plan: Plan, rules: Rules) -> Result<TextModel, ModelError> {
    let json = files.bytes("tokenizer.json", TEXT_BYTES_MAX)?.ok_or_else(|| missing("tokenizer.json"))?;
    let (dimensions, length_max) = (output_width(&plan), rules.length_max);
    let tokenizer = TextTokenizer::new(&json, rules)?;
    Ok(TextModel { program: executor.prepare(plan)?, tokenizer, dimensions, length_max })
}

/// What the files beside a text model say of it.
#[derive(Debug)]
struct TextContract {
    length_max: usize,
    pooling: Pooling,
    pad_token: String,
    lowercases: bool,
    strips: bool,
}

impl TextContract {
    fn read(files: &ModelFiles, config: Option<&Value>) -> Result<TextContract, ModelError> {
        let sentence = files.json("sentence_bert_config.json")?.unwrap_or_default();
        let tokenizer = files.json("tokenizer_config.json")?.unwrap_or_default();
        let pooling = files.json("1_Pooling/config.json")?.unwrap_or_default();
        let config = config.unwrap_or(&Value::Null);
        let text = if config["text_config"].is_object() { &config["text_config"] } else { config };
        let kind = config["model_type"].as_str().unwrap_or_default();
        let places = text["max_position_embeddings"].as_u64().or(match kind {
            "clip" => Some(77),
            "siglip" => Some(64),
            _ => None,
        });
        let first_place =
            if kind.contains("roberta") || kind == "camembert" { config["pad_token_id"].as_u64().unwrap_or(1) + 1 } else { 0 };
        let limits = [
            sentence["max_seq_length"].as_u64(),
            // Files without a limit write a number beyond all measure here.
            tokenizer["model_max_length"].as_u64(),
            places.map(|places| places.saturating_sub(first_place)),
        ];
        let length = limits.into_iter().flatten().fold(LENGTH_MAX, u64::min).max(2) as usize;
        let has = |name: &str| pooling[name].as_bool() == Some(true);
        let named = [
            ("pooling_mode_cls_token", Pooling::First),
            ("pooling_mode_lasttoken", Pooling::Last),
            ("pooling_mode_mean_tokens", Pooling::Mean),
        ];
        let chosen: Vec<Pooling> = named.into_iter().filter(|(name, _)| has(name)).map(|(_, pooling)| pooling).collect();
        let pooling = match (&chosen[..], pooling.is_null()) {
            ([one], _) => *one,
            ([], true) => Pooling::Mean,
            _ => {
                return Err(ModelError::File {
                    name: "1_Pooling/config.json".to_owned(),
                    reason: "only one of mean, first and last token is known".to_owned(),
                });
            }
        };
        let siglip = kind == "siglip" || tokenizer["tokenizer_class"].as_str() == Some("SiglipTokenizer");
        let pad = tokenizer["pad_token"].as_str().or_else(|| tokenizer["pad_token"]["content"].as_str());
        Ok(TextContract {
            length_max: length,
            pooling,
            pad_token: pad.unwrap_or(if siglip { "</s>" } else { "<pad>" }).to_owned(),
            lowercases: siglip && tokenizer["do_lower_case"].as_bool() != Some(false),
            strips: siglip,
        })
    }

    /// `fixed` is the length that every text is filled up to.
    fn rules(&self, length_max: usize, fixed: Option<usize>) -> Rules {
        Rules {
            length_max,
            filled_with: fixed.map(|length| (length, self.pad_token.clone())),
            lowercases: self.lowercases,
            strips: self.strips,
        }
    }
}

pub(super) fn missing(name: &str) -> ModelError {
    ModelError::File { name: name.to_owned(), reason: "is missing".to_owned() }
}
