//! Tags: what pictures show, as values of a vocabulary's attributes. Kept by Nightwing, written on a thread of its own, read by anybody.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use domain::ProductId;
use kit::Context;
use serde::Serialize;

use crate::catalog::CatalogReader;
use crate::vision::{Crop, PictureQuery, VisionError};

/// The most attributes corrected in one request.
pub const CORRECTIONS_MAX: usize = 64;
/// The most items of one page of the review list.
pub const REVIEW_MAX: usize = 100;
/// The longest name of somebody who corrects, in characters.
pub const CORRECTOR_CHARS_MAX: usize = 100;

/// Who says that a product has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TagSource {
    /// A person who looked: wins over everything.
    Human,
    /// The catalog's own attribute.
    Catalog,
    /// Learned from labelled products.
    Learned,
    /// Measured from the picture's pixels.
    Measured,
    /// Asked of a model that knows pictures and words.
    ZeroShot,
}

/// One value of one attribute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tag {
    /// The attribute's name in the vocabulary.
    pub attribute: String,
    /// The value's name.
    pub value: String,
    /// Who says so.
    pub source: TagSource,
    /// How often such a tag is right, 0 to 1, as measured on labelled products; 1 where it is stated.
    pub confidence: f32,
    /// At this confidence and above it is a fact; absent where it is stated, above 1 where nothing is sure enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Whether it is told as a fact. What is none is a suggestion.
    #[serde(skip)]
    pub is_fact: bool,
    /// The nearest labelled products that have the value.
    pub evidence: Vec<ProductId>,
}

/// One dominant colour of a product.
#[derive(Clone, Debug, PartialEq)]
pub struct Colour {
    /// sRGB.
    pub srgb: [u8; 3],
    /// Share of the product, 0 to 1.
    pub share: f32,
}

/// A colour's name and how much of the product bears it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NamedColour {
    /// From the vocabulary.
    pub name: String,
    /// Share of the product, 0 to 1.
    pub share: f32,
}

/// What a person said about one attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Correction {
    /// The attribute's name.
    pub attribute: String,
    /// The value; `None`: the product has no such attribute.
    pub value: Option<String>,
    /// Who, as they call themselves.
    pub by: String,
    /// When, in milliseconds since the Unix epoch.
    #[serde(skip)]
    pub at_ms: i64,
}

/// Everything that is known of a product.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProductTags {
    /// What made them: vocabulary, teacher and image model; empty while nothing has been made.
    pub model_version: String,
    /// In the order of the vocabulary's attributes, within one the surest first.
    pub tags: Vec<Tag>,
    /// Dominant colours, the greatest share first.
    pub colours: Vec<Colour>,
    /// Names of colours, the greatest share first.
    pub colour_names: Vec<NamedColour>,
    /// What people said, in the order of attributes.
    pub corrections: Vec<Correction>,
}

/// What one object of a picture is.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectTags {
    /// Where it is.
    pub region: Crop,
    /// How sure the detector is, 0 to 1.
    pub score: f32,
    /// As in [`ProductTags`].
    pub tags: Vec<Tag>,
    /// As in [`ProductTags`].
    pub colours: Vec<Colour>,
    /// As in [`ProductTags`].
    pub colour_names: Vec<NamedColour>,
}

/// What a picture shows.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureTags {
    /// What made them.
    pub model_version: String,
    /// The main object, or what the caller's rectangle holds: tagged.
    pub main: ObjectTags,
    /// Where objects are, the surest first, and how sure the detector is.
    pub found: Vec<(Crop, f32)>,
    /// Each of them tagged, where that was asked for.
    pub objects: Vec<ObjectTags>,
}

/// One attribute of the vocabulary and how well it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeReport {
    /// For programs.
    pub name: String,
    /// For people.
    pub title: String,
    /// Labels of the catalog become values of their own.
    pub is_open: bool,
    /// What measures it: `palette`, `pattern`.
    pub measured: Option<&'static str>,
    /// The catalog's attributes that teach it.
    pub taught_by: Vec<String>,
    /// Its values; of an open attribute those that were learned, too.
    pub values: Vec<String>,
    /// What was learned of it, where anything was.
    pub lesson: Option<LessonReport>,
}

/// What was learned of an attribute, checked on rows that had not been seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LessonReport {
    /// Labelled rows.
    pub rows: usize,
    /// Values among them.
    pub classes: usize,
    /// At this confidence and above a tag is a fact; above 1: never.
    pub threshold: f32,
    /// Share of right answers at full coverage.
    pub accuracy: f64,
    /// Share of answers at or above the threshold.
    pub coverage: f64,
    /// Share of right ones among those.
    pub precision: f64,
    /// Mean distance between confidence and accuracy.
    pub calibration_error: f64,
}

/// The vocabulary and how well it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VocabularyReport {
    /// What makes tags now.
    pub model_version: String,
    /// When the teacher last learned, in milliseconds since the Unix epoch.
    pub taught_at_ms: Option<i64>,
    /// Rows that it learned from.
    pub rows: usize,
    /// In order.
    pub attributes: Vec<AttributeReport>,
}

/// How far tagging is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TagProgress {
    /// Products with a picture.
    pub products: u64,
    /// Of these tagged by what makes tags now.
    pub tagged: u64,
    /// Pictures measured since the start.
    pub measured: u64,
    /// Pictures that could not be measured, of all products.
    pub failed: u64,
    /// Attributes that people corrected.
    pub corrections: u64,
}

/// How far two releases say the same of one attribute, over a sample of products.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeAgreement {
    /// The attribute's name.
    pub attribute: String,
    /// Products with a fact by the live release.
    pub live_facts: usize,
    /// By the other one.
    pub shadow_facts: usize,
    /// By both.
    pub both_facts: usize,
    /// By both the same.
    pub same_facts: usize,
    /// Products of which both say anything, fact or not.
    pub both_guesses: usize,
    /// Both the same first.
    pub same_guesses: usize,
}

impl AttributeAgreement {
    /// Counts a product: what the live release and the other one say first, and whether it is a fact.
    pub fn add(&mut self, [live, shadow]: [Option<(&str, bool)>; 2]) {
        let is_fact = |said: Option<(&str, bool)>| said.is_some_and(|(_, is_fact)| is_fact);
        self.live_facts += usize::from(is_fact(live));
        self.shadow_facts += usize::from(is_fact(shadow));
        let Some((live, shadow)) = live.zip(shadow) else { return };
        let is_same = live.0 == shadow.0;
        self.both_guesses += 1;
        self.same_guesses += usize::from(is_same);
        let are_facts = live.1 && shadow.1;
        self.both_facts += usize::from(are_facts);
        self.same_facts += usize::from(are_facts && is_same);
    }
}

/// What an inspector would say of pictures, beside the live release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagAgreement {
    /// The inspector.
    pub release: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// The live release.
    pub compared_with: String,
    /// When they were compared, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Products that both were asked about.
    pub products: usize,
    /// In the order of the vocabulary; what only one of both has is left out.
    pub attributes: Vec<AttributeAgreement>,
}

/// One suggestion that a person may confirm or correct.
#[derive(Clone, Debug, PartialEq)]
pub struct ReviewItem {
    /// Which product.
    pub product: ProductId,
    /// The suggestion.
    pub tag: Tag,
}

/// A page of the review list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Review {
    /// The least certain first.
    pub items: Vec<ReviewItem>,
    /// Whether there are more behind them.
    pub has_more: bool,
}

/// One part of a correction that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The attribute as it was given.
    pub attribute: String,
    /// Stable, snake_case: `unknown_attribute`, `unknown_value`, `invalid_value`.
    pub code: &'static str,
    /// For people, with the nearest names.
    pub detail: String,
}

/// Why a correction was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// No such product in the catalog.
    #[error("there is no such product")]
    UnknownProduct,
    /// Nothing of it was taken.
    #[error("{} of the corrections cannot be taken", .0.len())]
    Refused(Vec<Refusal>),
    /// More than [`CORRECTIONS_MAX`], or none.
    #[error("{0} corrections at once; 1 to {CORRECTIONS_MAX} are taken")]
    Count(usize),
    /// A vocabulary that cannot be read: everything that is wrong with it, a line each.
    #[error("{0}")]
    Vocabulary(String),
    /// Storage failed; nothing was acknowledged.
    #[error("storage: {0}")]
    Storage(String),
}

/// What a person says of one attribute of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has this value.
    Is(String),
    /// It has no such attribute.
    HasNone,
    /// What was said before is taken back.
    Withdrawn,
}

/// What is known for sure of products.
pub trait FactReader: Send + Sync {
    /// Facts of a product: attribute and value. Reads two records.
    fn facts(&self, product: &str) -> Vec<(String, String)>;
}

/// Whoever filters by facts.
pub trait FactIndex: Send + Sync {
    /// Facts of these products have changed; what the catalog no longer holds is passed over.
    fn refresh(&self, catalog: &dyn CatalogReader, products: &[ProductId]);
}

/// An answer on its way.
pub type Tagging<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Reads tags, takes corrections, tags pictures. Reading blocks for a disk read: call it off the async threads.
pub trait Tagger: Send + Sync {
    /// What is known of a product; `None` while it has not been tagged and nobody has said anything.
    fn product(&self, product: &str) -> Option<ProductTags>;
    /// The vocabulary and how well it is known.
    fn vocabulary(&self) -> VocabularyReport;
    /// Suggestions that nobody has judged, the least certain first; at most `limit`, itself at most [`REVIEW_MAX`].
    fn review(&self, attribute: Option<&str>, offset: usize, limit: usize) -> Review;
    /// How far tagging is.
    fn progress(&self) -> TagProgress;
    /// What the inspector on duty would say, where it makes tags in another way and was compared.
    fn agreement(&self) -> Option<Arc<TagAgreement>> {
        None
    }
    /// Takes a person's verdicts by attribute: durable when answered, and in force. All of them or none.
    fn correct<'a>(
        &'a self,
        product: &'a ProductId,
        verdicts: Vec<(String, Verdict)>,
        by: String,
    ) -> Tagging<'a, Result<ProductTags, TagError>>;
    /// Keeps the built-in vocabulary with a shop's own attributes (TOML, as `data/attributes.toml`) laid over it, for a release to be made
    /// with: durable when answered with its fingerprint.
    fn keep_vocabulary(&self, own: String) -> Tagging<'_, Result<String, TagError>>;
    /// Says what a picture shows, and with `each_object` what each object in it is. Done or given up by the context's deadline.
    fn picture<'a>(
        &'a self,
        context: &'a Context,
        picture: PictureQuery,
        each_object: bool,
    ) -> Tagging<'a, Result<PictureTags, VisionError>>;
}
