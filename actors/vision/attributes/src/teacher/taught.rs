//! What was learned, ready to answer.

use super::CLASSES_MAX;
use super::features::{self, Block};
use super::mix::{Mix, greatest};
use super::neighbours::{self, Near};
use super::probe::Probe;
use super::projection::Projection;
use crate::pixels::Measurements;
use crate::vocabulary::Measure;
use crate::zero_shot::ZeroShot;

/// Neighbours named as evidence, at most.
const EVIDENCE: usize = 3;
/// Neighbours looked at: those with a label of the attribute vote.
const FOUND: usize = 4;

/// A learned state: belongs to one model and one vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub struct Taught {
    pub(crate) model: String,
    pub(crate) vocabulary: String,
    pub(crate) neighbours: usize,
    /// What a person's label counts.
    pub(crate) human_weight: f32,
    pub(crate) projection: Projection,
    /// Of each row the product.
    pub(crate) products: Vec<String>,
    /// Of each row the code, at length 1: `[rows, components]`.
    pub(crate) codes: Vec<f32>,
    pub(crate) attributes: Vec<TaughtAttribute>,
}

/// What was learned of one attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct TaughtAttribute {
    pub(crate) name: String,
    pub(crate) measure: Option<Measure>,
    /// Ascending.
    pub(crate) classes: Vec<String>,
    pub(crate) frequency: Vec<f32>,
    pub(crate) block: Block,
    pub(crate) probe: Probe,
    pub(crate) mix: Mix,
    pub(crate) threshold: f32,
    /// Share of right answers in the checks.
    pub(crate) accuracy: f32,
    /// Of each row what [`packed`] makes of its label.
    pub(crate) class_of: Vec<u16>,
}

/// What is guessed of one attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Guess<'a> {
    /// The attribute's name.
    pub attribute: &'a str,
    /// Every value that was learned and its share, the greatest first; together 1.
    pub shares: Vec<(&'a str, f32)>,
    /// From this share on the first value is a fact.
    pub threshold: f32,
    /// Share of right first values in the checks.
    pub accuracy: f32,
    /// Nearest labelled products that bear the first value, the nearest first.
    pub evidence: Vec<&'a str>,
}

impl Taught {
    pub(crate) fn new(
        model: String,
        vocabulary: String,
        (neighbours, human_weight): (usize, f32),
        projection: Projection,
        products: Vec<String>,
        codes: Vec<f32>,
        attributes: Vec<TaughtAttribute>,
    ) -> Self {
        Self { model, vocabulary, neighbours, human_weight, projection, products, codes, attributes }
    }

    /// Fingerprint of the model whose embeddings it knows.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Fingerprint of the vocabulary that it was taught with.
    pub fn vocabulary(&self) -> &str {
        &self.vocabulary
    }

    /// Numbers of an embedding.
    pub fn dimensions(&self) -> usize {
        self.projection.dimensions
    }

    /// Rows that were learned from.
    pub fn rows(&self) -> usize {
        self.products.len()
    }

    /// Learned attributes by name, with the threshold from which on a tag is a fact.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, f32)> {
        self.attributes.iter().map(|attribute| (attribute.name.as_str(), attribute.threshold))
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        let of = |attribute: &TaughtAttribute| 4 * attribute.probe.weights.len() + 2 * attribute.class_of.len();
        let products: usize = self.products.iter().map(|product| product.len() + size_of::<String>()).sum();
        4 * (self.codes.len() + self.projection.basis.len()) + products + self.attributes.iter().map(of).sum::<usize>()
    }

    /// Guesses every learned attribute of a picture. None where the embedding has another size or a number that is none.
    pub fn guess(&self, embedding: &[f32], measurements: Option<&Measurements>) -> Vec<Guess<'_>> {
        self.guess_with(None, embedding, measurements)
    }

    /// [`Taught::guess`] with the directions of words that it was taught with.
    pub fn guess_with(&self, zero_shot: Option<&ZeroShot>, embedding: &[f32], measurements: Option<&Measurements>) -> Vec<Guess<'_>> {
        if embedding.len() != self.projection.dimensions || !embedding.iter().all(|value| value.is_finite()) {
            return Vec::new();
        }
        let components = self.projection.components();
        let code = self.projection.codes(&[embedding]);
        let unit = neighbours::unit(code.clone(), components);
        let found = neighbours::nearest(&unit, &self.codes, components, FOUND * self.neighbours, |_, _| true);
        let near = found.into_iter().next().unwrap_or_default();
        let heard = |attribute: &TaughtAttribute| zero_shot.and_then(|words| words.shares(&attribute.name, embedding, &attribute.classes));
        self.attributes.iter().map(|attribute| attribute.guess(self, &code, &near, measurements, heard(attribute).as_deref())).collect()
    }
}

impl TaughtAttribute {
    /// The class of a row, and whether a person said it.
    fn class_at(&self, row: usize) -> Option<(usize, bool)> {
        unpacked(*self.class_of.get(row)?)
    }

    fn guess<'a>(
        &'a self,
        taught: &'a Taught,
        code: &[f32],
        near: &[Near],
        measurements: Option<&Measurements>,
        heard: Option<&[f32]>,
    ) -> Guess<'a> {
        let mut features = code.to_vec();
        self.block.append(measurements, &mut features);
        let scores = self.probe.scores(&features, 1);
        let voted = neighbours::shares(near, taught.neighbours, &self.frequency, |row| {
            self.class_at(row).map(|(class, human)| (class, if human { taught.human_weight } else { 1.0 }))
        });
        let measured = self.measure.zip(measurements).and_then(|(measure, found)| features::shares(measure, found, &self.classes));
        let shares = self.mix.shares(scores, &voted, measured.as_deref(), heard);
        let (first, _) = greatest(&shares);
        let bears = near.iter().filter(|near| self.class_at(near.row).is_some_and(|(class, _)| class == first));
        let evidence = bears.take(EVIDENCE).filter_map(|near| taught.products.get(near.row)).map(String::as_str).collect();
        let mut shares: Vec<(&str, f32)> = self.classes.iter().map(String::as_str).zip(shares).collect();
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
        Guess { attribute: &self.name, shares, threshold: self.threshold, accuracy: self.accuracy, evidence }
    }
}

/// No label.
const NONE: u16 = u16::MAX;
/// A person said it.
const HUMAN: u16 = 1 << 15;

const _: () = assert!(CLASSES_MAX < HUMAN as usize - 1);

/// A row's class and who said it in two bytes.
pub(crate) fn packed(label: Option<(usize, bool)>) -> u16 {
    label.map_or(NONE, |(class, human)| class as u16 | if human { HUMAN } else { 0 })
}

/// What was packed.
pub(crate) fn unpacked(packed: u16) -> Option<(usize, bool)> {
    (packed != NONE).then_some((usize::from(packed & !HUMAN), packed & HUMAN != 0))
}
