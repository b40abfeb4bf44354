//! All sources together: what is told of a picture.

use std::collections::{BTreeMap, BTreeSet};

use crate::pixels::Measurements;
use crate::report::NEVER;
use crate::teacher::{Guess, Label, Taught};
use crate::vocabulary::{Attribute, Measure, Vocabulary};
use crate::zero_shot::{Heard, ZeroShot};

/// Where a tag comes from. Earlier ones win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A person looked and said so.
    Human,
    /// The catalog says so.
    Stated,
    /// Learned from the shop's own labelled products.
    Learned,
    /// A model with one space for pictures and words says so.
    ZeroShot,
    /// Measured from the pixels.
    Measured,
}

impl Source {
    /// Stable, snake_case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Stated => "stated",
            Self::Learned => "learned",
            Self::ZeroShot => "zero_shot",
            Self::Measured => "measured",
        }
    }
}

/// One tag.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag {
    /// The attribute's name.
    pub attribute: String,
    /// The value's name.
    pub value: String,
    /// 0 to 1; of learned tags, how often such a tag was right in the checks.
    pub confidence: f32,
    /// The source that spoke loudest for it.
    pub source: Source,
    /// From this confidence on the first value of its attribute is a fact; `None` where it is stated.
    pub threshold: Option<f32>,
    /// At or above the attribute's threshold, or stated. Anything else is a suggestion.
    pub is_fact: bool,
    /// Nearest labelled products that bear it, the nearest first.
    pub evidence: Vec<String>,
}

/// What is known of a picture.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look<'a> {
    /// Of the model that the taught state belongs to; empty where there is none.
    pub embedding: &'a [f32],
    /// What was measured from its pixels.
    pub measurements: Option<&'a Measurements>,
    /// Directions of words, and the picture in their space.
    pub zero_shot: Option<(&'a ZeroShot, &'a [f32])>,
    /// What the catalog or a person says of its product.
    pub stated: &'a [Label],
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TagSettings {
    /// Suggestions of one attribute, at most.
    pub suggestions_max: usize,
    /// Less sure suggestions are not told.
    pub suggestion_min: f32,
    /// From this confidence on what was measured is a fact where nothing learned says how far it can be trusted.
    pub measured_fact_min: f32,
}

impl Default for TagSettings {
    fn default() -> Self {
        Self { suggestions_max: 3, suggestion_min: 0.1, measured_fact_min: 0.95 }
    }
}

/// The tags of a picture, attribute by attribute in the vocabulary's order: facts first, then suggestions, the surest first.
pub fn tag(vocabulary: &Vocabulary, taught: Option<&Taught>, look: &Look<'_>, settings: &TagSettings) -> Vec<Tag> {
    let guesses: BTreeMap<&str, Guess<'_>> = taught
        .map(|taught| taught.guess_with(look.zero_shot.map(|(zero_shot, _)| zero_shot), look.embedding, look.measurements))
        .unwrap_or_default()
        .into_iter()
        .map(|guess| (guess.attribute, guess))
        .collect();
    let mut tags = Vec::new();
    for attribute in vocabulary.attributes() {
        let heard = look.zero_shot.and_then(|(zero_shot, embedding)| zero_shot.hear(&attribute.name, embedding));
        let judged = judge(attribute, guesses.get(attribute.name.as_str()), heard, look.measurements, settings);
        tags.extend(told(attribute, judged, look.stated, settings));
    }
    tags
}

/// One value as the sources judge it.
#[derive(Default)]
struct Judged {
    share: f32,
    /// The loudest source and what it added.
    loudest: Option<(f32, Source)>,
    evidence: Vec<String>,
}

struct Judgement {
    values: Vec<(String, Judged)>,
    threshold: f32,
}

/// A source, its odds of being right, its threshold, and its shares by value.
type Voice<'a> = (Source, f32, f32, Vec<(&'a str, f32)>);

/// What was learned speaks for everything that it was taught with: pixels, and words where there were some. What words say of values that
/// no labelled picture bears stands beside it, by the odds of its being right, and is never a fact. Where nothing was learned, shares of
/// all sources are weighted by these odds; the first value is as sure as all of them or the weightiest source say, and the threshold is that
/// source's.
fn judge(
    attribute: &Attribute,
    guess: Option<&Guess<'_>>,
    heard: Option<Heard<'_>>,
    measurements: Option<&Measurements>,
    settings: &TagSettings,
) -> Judgement {
    let odds = |accuracy: f32| accuracy.clamp(0.05, 0.99) / (1.0 - accuracy.clamp(0.05, 0.99));
    let mut sources: Vec<Voice<'_>> = Vec::new();
    if let Some(guess) = guess {
        sources.push((Source::Learned, odds(guess.accuracy), guess.threshold, guess.shares.clone()));
    }
    if let Some(mut heard) = heard {
        // Nothing tells yet how good it is: as good as a toss.
        let accuracy = if heard.accuracy > 0.0 { heard.accuracy } else { 0.5 };
        let learned: BTreeSet<&str> = guess.iter().flat_map(|guess| &guess.shares).map(|(value, _)| *value).collect();
        heard.shares.retain(|(value, _)| !learned.contains(value));
        sources.push((Source::ZeroShot, odds(accuracy), heard.threshold, heard.shares));
    }
    if let (None, Some(measure), Some(found)) = (guess, attribute.measured, measurements) {
        let shares: Vec<(&str, f32)> = match measure {
            Measure::Palette => found.names.iter().map(|named| (named.name.as_str(), named.share)).collect(),
            Measure::Pattern => found.pattern.kinds().to_vec(),
        };
        let known: Vec<(&str, f32)> =
            shares.into_iter().filter(|(name, _)| attribute.values.iter().any(|value| value.name == *name)).collect();
        if !known.is_empty() {
            sources.push((Source::Measured, odds(0.5), settings.measured_fact_min, known));
        }
    }
    let all: f32 = sources.iter().map(|(_, weight, _, _)| weight).sum();
    let mut values: BTreeMap<String, Judged> = BTreeMap::new();
    for (source, weight, _, shares) in &sources {
        for (value, share) in shares {
            let judged = values.entry((*value).to_owned()).or_default();
            // Calibrated already.
            let part = if *source == Source::Learned { *share } else { share * weight / all };
            judged.share += part;
            if judged.loudest.is_none_or(|(loudest, _)| part > loudest) {
                judged.loudest = Some((part, *source));
            }
        }
    }
    if let Some((guess, judged)) = guess.and_then(|guess| Some((guess, values.get_mut(guess.shares.first()?.0)?))) {
        judged.evidence = guess.evidence.iter().map(|product| (*product).to_owned()).collect();
    }
    let weightiest = if guess.is_some() { sources.first() } else { sources.iter().max_by(|a, b| a.1.total_cmp(&b.1)) };
    let mut values: Vec<(String, Judged)> = values.into_iter().collect();
    values.sort_by(|a, b| b.1.share.total_cmp(&a.1.share));
    let mut threshold = NEVER;
    if let (Some((_, _, own, shares)), Some((value, judged))) = (weightiest, values.first_mut()) {
        // Another source's word against it leaves a suggestion.
        let first = shares.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((_, share)) = first.filter(|(first, _)| first == value) {
            (threshold, judged.share) = (*own, judged.share.max(*share));
        }
    }
    Judgement { values, threshold }
}

/// What is told of one attribute.
fn told(attribute: &Attribute, judgement: Judgement, stated: &[Label], settings: &TagSettings) -> Vec<Tag> {
    let own: Vec<&Label> = stated.iter().filter(|label| label.attribute == attribute.name).collect();
    let has_human = own.iter().any(|label| label.human);
    let threshold = judgement.threshold;
    let tag = |value: String, confidence: f32, source: Source, is_fact: bool, evidence: Vec<String>| Tag {
        attribute: attribute.name.clone(),
        value,
        confidence,
        source,
        threshold: (source > Source::Stated).then_some(threshold),
        is_fact,
        evidence,
    };
    let source = if has_human { Source::Human } else { Source::Stated };
    let mut tags: Vec<Tag> = Vec::new();
    for label in own.into_iter().filter(|label| label.human == has_human) {
        if tags.iter().all(|tag| tag.value != label.value) {
            tags.push(tag(label.value.clone(), 1.0, source, true, Vec::new()));
        }
    }
    let is_stated = !tags.is_empty();
    let mut suggestions = 0;
    for (place, (value, judged)) in judgement.values.into_iter().enumerate() {
        if let Some(stated) = tags.iter_mut().find(|tag| tag.value == value) {
            stated.evidence = judged.evidence;
            continue;
        }
        let Some((_, source)) = judged.loudest else { continue };
        let is_sure = place == 0 && judged.share >= judgement.threshold;
        // Beside what is stated only a sure contradiction is worth a look, and a person's word ends the matter.
        if is_stated && (has_human || !is_sure) {
            continue;
        }
        let is_fact = is_sure && !is_stated;
        if !is_fact && (suggestions == settings.suggestions_max || judged.share < settings.suggestion_min) {
            continue;
        }
        suggestions += usize::from(!is_fact);
        tags.push(tag(value, judged.share.min(1.0), source, is_fact, judged.evidence));
    }
    tags
}

#[cfg(test)]
#[path = "tagger_tests.rs"]
mod tests;
