//! Tags without a single labelled picture, where a model has one space for pictures and words: each value is asked for in several
//! sentences, whose mean direction is compared with the picture (prompt ensembles: Radford et al. 2021).

use std::collections::BTreeMap;

use thiserror::Error;

use crate::report::{self, Answer, NEVER};
use crate::teacher::{dot, greatest, normalise, softmax};
use crate::vocabulary::Vocabulary;

/// Sentences of a value, and of a vocabulary, at most.
const VALUE_PROMPTS_MAX: usize = 32;
const PROMPTS_MAX: usize = 1 << 14;
/// Numbers of an embedding, at most.
const DIMENSIONS_MAX: usize = 8192;
/// What asks where an attribute names no patterns.
const PATTERNS: [&str; 3] = ["a photo of a {} product", "a product photo of something {}", "{}"];
/// What cosines are divided by until labelled pictures tell better: CLIP's own scale is 1 / 100.
const TEMPERATURE: f32 = 0.01;
/// Temperatures that are tried, ascending.
const TEMPERATURES: [f32; 12] = [0.003, 0.005, 0.007, 0.01, 0.014, 0.02, 0.028, 0.04, 0.056, 0.08, 0.11, 0.16];

/// A sentence to embed with the text model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The attribute's name.
    pub attribute: String,
    /// The value's name.
    pub value: String,
    /// What to embed.
    pub text: String,
}

/// Why there are no directions.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ZeroShotError {
    /// Not one vector for each prompt.
    #[error("{vectors} vectors for {prompts} prompts")]
    Count {
        /// That many were asked for.
        prompts: usize,
        /// That many came.
        vectors: usize,
    },
    /// A vector that is none, or of another size than the others.
    #[error("the vector of `{0}`")]
    Vector(String),
}

/// The directions of all values.
#[derive(Clone, Debug, PartialEq)]
pub struct ZeroShot {
    pub(crate) dimensions: usize,
    pub(crate) attributes: BTreeMap<String, Directions>,
}

/// What asks of one attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Directions {
    pub(crate) values: Vec<String>,
    /// `[values, dimensions]`, length 1.
    pub(crate) directions: Vec<f32>,
    pub(crate) temperature: f32,
    pub(crate) threshold: f32,
    /// Share of right answers among those that it was calibrated on; 0 before.
    pub(crate) accuracy: f32,
}

/// What zero-shot says of one attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Heard<'a> {
    pub(crate) shares: Vec<(&'a str, f32)>,
    pub(crate) threshold: f32,
    pub(crate) accuracy: f32,
}

impl ZeroShot {
    /// The sentences that a vocabulary asks with: every value of attributes with at least two, in every pattern of its attribute, up to 32 of
    /// a value and 16,384 in all.
    pub fn prompts(vocabulary: &Vocabulary) -> Vec<Prompt> {
        let mut prompts = Vec::new();
        for attribute in vocabulary.attributes().iter().filter(|attribute| attribute.values.len() >= 2) {
            let own: Vec<&str> = attribute.prompts.iter().map(String::as_str).collect();
            let patterns = if own.is_empty() { &PATTERNS[..] } else { &own[..] };
            for value in &attribute.values {
                let names = if value.prompts.is_empty() { std::slice::from_ref(&value.name) } else { &value.prompts[..] };
                let sentences = names.iter().flat_map(|name| patterns.iter().map(move |pattern| (name, pattern)));
                for (name, pattern) in sentences.take(VALUE_PROMPTS_MAX) {
                    let text = pattern.replace("{}", &name.to_lowercase());
                    prompts.push(Prompt { attribute: attribute.name.clone(), value: value.name.clone(), text });
                }
            }
        }
        prompts.truncate(PROMPTS_MAX);
        prompts
    }

    /// The directions, from the text model's vector of each prompt.
    ///
    /// # Errors
    /// Vectors that are missing, none, or of different sizes.
    pub fn new(prompts: &[Prompt], vectors: &[Vec<f32>]) -> Result<Self, ZeroShotError> {
        if prompts.len() != vectors.len() {
            return Err(ZeroShotError::Count { prompts: prompts.len(), vectors: vectors.len() });
        }
        let dimensions = vectors.first().map_or(0, Vec::len);
        let mut attributes: BTreeMap<String, Directions> = BTreeMap::new();
        for (prompt, vector) in prompts.iter().zip(vectors) {
            let mut unit = vector.clone();
            normalise(&mut unit);
            let is_one = (dot(&unit, &unit) - 1.0).abs() < 1e-3;
            if vector.len() != dimensions || dimensions == 0 || dimensions > DIMENSIONS_MAX || !is_one {
                return Err(ZeroShotError::Vector(prompt.text.clone()));
            }
            let own = attributes.entry(prompt.attribute.clone()).or_insert_with(Directions::none);
            let place = own.values.iter().position(|value| *value == prompt.value).unwrap_or_else(|| {
                own.values.push(prompt.value.clone());
                own.directions.resize(own.values.len() * dimensions, 0.0);
                own.values.len() - 1
            });
            own.directions[place * dimensions..][..dimensions].iter_mut().zip(&unit).for_each(|(sum, value)| *sum += value);
        }
        attributes.values_mut().for_each(|own| own.directions.chunks_exact_mut(dimensions).for_each(normalise));
        Ok(Self { dimensions, attributes })
    }

    /// Numbers of an embedding.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Learns how far an attribute's confidences can be trusted from pictures whose value is known: a temperature, and the threshold for a
    /// precision. Until then nothing that it says is a fact. Of a picture whose value it does not know whatever it says is wrong; embeddings
    /// of another size are passed over.
    pub fn calibrate(&mut self, attribute: &str, rows: &[(&[f32], &str)], precision: f64) {
        let dimensions = self.dimensions;
        let Some(own) = self.attributes.get_mut(attribute) else { return };
        let known: Vec<(Vec<f32>, Option<usize>)> = rows
            .iter()
            .filter(|(embedding, _)| embedding.len() == dimensions)
            .map(|(embedding, value)| (own.cosines(embedding), own.values.iter().position(|other| other == value)))
            .filter(|(cosines, _)| cosines.iter().all(|cosine| cosine.is_finite()))
            .collect();
        (own.temperature, own.threshold, own.accuracy) = (TEMPERATURE, NEVER, 0.0);
        if known.iter().all(|(_, truth)| truth.is_none()) {
            return;
        }
        let answers = |temperature: f32| {
            let mut loss = 0f64;
            let answers: Vec<Answer> = known
                .iter()
                .map(|(cosines, truth)| {
                    let mut shares = cosines.clone();
                    softmax(&mut shares, temperature);
                    loss -= truth.map_or(0.0, |truth| f64::from(shares[truth].max(1e-9)).ln());
                    let (said, confidence) = greatest(&shares);
                    Answer { confidence, is_right: Some(said) == *truth }
                })
                .collect();
            (loss, answers)
        };
        let tried = TEMPERATURES.map(|temperature| (temperature, answers(temperature)));
        if let Some((temperature, (_, answers))) = tried.into_iter().min_by(|a, b| a.1.0.total_cmp(&b.1.0)) {
            own.temperature = temperature;
            own.threshold = report::threshold(&answers, precision);
            own.accuracy = report::quality(&answers, own.threshold).accuracy as f32;
        }
    }

    /// What it says of an attribute as shares of `classes`, together 1; what it gives to other values is spread over all of them. `None`
    /// where it knows the attribute not, or the embedding is of another size.
    pub(crate) fn shares(&self, attribute: &str, embedding: &[f32], classes: &[String]) -> Option<Vec<f32>> {
        let heard = self.hear(attribute, embedding)?;
        let known: BTreeMap<&str, f32> = heard.shares.into_iter().collect();
        let mut shares: Vec<f32> = classes.iter().map(|class| known.get(class.as_str()).copied().unwrap_or(0.0)).collect();
        let rest = (1.0 - shares.iter().sum::<f32>()).max(0.0) / classes.len().max(1) as f32;
        shares.iter_mut().for_each(|share| *share += rest);
        Some(shares)
    }

    /// What it says of an attribute; `None` where it knows it not, or the embedding is of another size.
    pub(crate) fn hear(&self, attribute: &str, embedding: &[f32]) -> Option<Heard<'_>> {
        let own = self.attributes.get(attribute).filter(|_| embedding.len() == self.dimensions)?;
        let mut shares = own.cosines(embedding);
        if !shares.iter().all(|cosine| cosine.is_finite()) {
            return None;
        }
        softmax(&mut shares, own.temperature);
        let mut shares: Vec<(&str, f32)> = own.values.iter().map(String::as_str).zip(shares).collect();
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
        Some(Heard { shares, threshold: own.threshold, accuracy: own.accuracy })
    }
}

impl Directions {
    fn none() -> Self {
        Self { values: Vec::new(), directions: Vec::new(), temperature: TEMPERATURE, threshold: NEVER, accuracy: 0.0 }
    }

    fn cosines(&self, embedding: &[f32]) -> Vec<f32> {
        let mut unit = embedding.to_vec();
        normalise(&mut unit);
        self.directions.chunks_exact(unit.len().max(1)).map(|direction| dot(direction, &unit) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        let text = "[[attribute]]\nname = \"sleeve\"\nprompts = [\"{} sleeves\", \"a shirt with {} sleeves\"]\n[[attribute.value]]\nname = \
                    \"Long\"\n[[attribute.value]]\nname = \"short\"\nprompts = [\"short\", \"half\"]\n[[attribute]]\nname = \"one\"\n\
                    [[attribute.value]]\nname = \"only\"\n";
        Vocabulary::parse(text, "test").expect("a vocabulary")
    }

    fn vectors(prompts: &[Prompt]) -> Vec<Vec<f32>> {
        prompts.iter().map(|prompt| if prompt.value == "Long" { vec![2.0, 0.0, 0.1] } else { vec![0.0, 3.0, 0.1] }).collect()
    }

    #[test]
    fn every_value_is_asked_for_in_every_pattern() {
        let texts: Vec<String> = ZeroShot::prompts(&vocabulary()).into_iter().map(|prompt| prompt.text).collect();
        let expected = [
            "long sleeves",
            "a shirt with long sleeves",
            "short sleeves",
            "a shirt with short sleeves",
            "half sleeves",
            "a shirt with half sleeves",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn the_nearest_direction_wins_and_is_a_fact_only_once_calibrated() {
        let prompts = ZeroShot::prompts(&vocabulary());
        let mut zero_shot = ZeroShot::new(&prompts, &vectors(&prompts)).expect("directions");
        let embedding = [0.9, 0.5, 0.0];
        let heard = zero_shot.hear("sleeve", &embedding).expect("known");
        assert_eq!((heard.shares[0].0, heard.threshold, heard.accuracy), ("Long", NEVER, 0.0));
        let rows: Vec<(&[f32], &str)> = (0..40).map(|_| (&embedding[..], "Long")).collect();
        zero_shot.calibrate("sleeve", &rows, 0.95);
        let heard = zero_shot.hear("sleeve", &embedding).expect("known");
        assert!(heard.threshold <= heard.shares[0].1 && heard.accuracy == 1.0, "{heard:?}");
        let shares = zero_shot.shares("sleeve", &embedding, &["Long".to_owned(), "none".to_owned()]).expect("known");
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5 && shares[0] > shares[1], "{shares:?}");
        assert_eq!(zero_shot.hear("sleeve", &[1.0]), None);
        assert_eq!(zero_shot.hear("colour", &embedding), None);
    }

    #[test]
    fn of_values_that_it_does_not_know_it_is_wrong() {
        let prompts = ZeroShot::prompts(&vocabulary());
        let mut zero_shot = ZeroShot::new(&prompts, &vectors(&prompts)).expect("directions");
        let embedding = [0.9, 0.5, 0.0];
        let rows: Vec<(&[f32], &str)> = (0..80).map(|row| (&embedding[..], if row % 2 == 0 { "Long" } else { "cap" })).collect();
        zero_shot.calibrate("sleeve", &rows, 0.95);
        let heard = zero_shot.hear("sleeve", &embedding).expect("known");
        assert_eq!((heard.accuracy, heard.threshold), (0.5, NEVER));
        zero_shot.calibrate("sleeve", &rows[1..2], 0.95);
        assert_eq!(zero_shot.hear("sleeve", &embedding).expect("known").accuracy, 0.0, "nothing vouches for it any more");
    }

    #[test]
    fn what_is_saved_comes_back_and_damage_is_found() {
        let prompts = ZeroShot::prompts(&vocabulary());
        let mut zero_shot = ZeroShot::new(&prompts, &vectors(&prompts)).expect("directions");
        zero_shot.calibrate("sleeve", &[(&[0.9, 0.5, 0.0][..], "Long")], 0.95);
        let saved = zero_shot.save();
        assert_eq!(ZeroShot::load(&saved).as_ref(), Ok(&zero_shot));
        for at in (0..saved.len()).step_by(7) {
            let mut damaged = saved.clone();
            damaged[at] ^= 0x20;
            assert!(ZeroShot::load(&damaged).is_err() && ZeroShot::load(&saved[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn vectors_that_do_not_fit_are_refused() {
        let prompts = ZeroShot::prompts(&vocabulary());
        assert_eq!(ZeroShot::new(&prompts, &[]), Err(ZeroShotError::Count { prompts: 6, vectors: 0 }));
        for bad in [vec![], vec![0.0, 0.0, 0.0], vec![f32::NAN, 1.0, 0.0], vec![1.0]] {
            let mut vectors = vectors(&prompts);
            vectors[3] = bad;
            assert_eq!(ZeroShot::new(&prompts, &vectors), Err(ZeroShotError::Vector(prompts[3].text.clone())));
        }
    }
}
