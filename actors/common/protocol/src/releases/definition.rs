//! What a release is made of: models, and the settings that decide what their vectors are searched by and what is told of them.

use domain::ContentHash;
use serde::{Deserialize, Serialize};

use crate::vision::{ModelInfo, Space};

/// Hexadecimal digits of a release's fingerprint.
const FINGERPRINT_CHARS: usize = 16;
/// The most neighbours of a row of a vector index.
const GRAPH_DEGREE_MAX: u32 = 96;

/// How the vector indexes of a release are built and searched.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IndexSettings {
    /// The recall that approximate searches are set up for: 0.95, 0.99 or 0.999; from there to 1 every row is compared.
    pub recall_target: f32,
    /// Neighbours of a row in the graph of a large segment, 8 to 96.
    pub graph_degree: u32,
    /// Rows that are searched without a graph; when there are more they get one.
    pub graph_rows_min: u32,
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self { recall_target: 0.99, graph_degree: 48, graph_rows_min: 50_000 }
    }
}

impl IndexSettings {
    /// What an index is built by: two releases that differ in nothing of it share their model's index.
    pub fn shape(&self) -> [u32; 2] {
        [self.graph_degree, self.graph_rows_min]
    }

    /// Every field that does not make sense, and why.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let within = |name, value: u32, least: u32, most: u32| {
            (!(least..=most).contains(&value)).then(|| (name, format!("{value} is not between {least} and {most}")))
        };
        let recall = self.recall_target;
        let checks = [
            (!(0.5..=1.0).contains(&recall)).then(|| ("recall_target", format!("{recall} is not between 0.5 and 1"))),
            within("graph_degree", self.graph_degree, 8, GRAPH_DEGREE_MAX),
            within("graph_rows_min", self.graph_rows_min, 1_000, 100_000_000),
        ];
        checks.into_iter().flatten().collect()
    }
}

/// What an answer looks like, whatever the models are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// What keywords count beside other parts of a search where products have all of the words.
    pub words_weight: f32,
    /// The same where none has all of them.
    pub some_words_weight: f32,
    /// What likeness to pictures counts.
    pub image_weight: f32,
    /// What likeness to texts counts.
    pub text_weight: f32,
    /// A tag is told as a fact where it is right at least this often, 0.5 to 1.
    pub fact_precision: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { words_weight: 2.0, some_words_weight: 1.0, image_weight: 1.0, text_weight: 1.0, fact_precision: 0.95 }
    }
}

impl Rules {
    /// Every field that does not make sense, and why.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let weights = [
            ("words_weight", self.words_weight),
            ("some_words_weight", self.some_words_weight),
            ("image_weight", self.image_weight),
            ("text_weight", self.text_weight),
        ];
        let weights = weights.into_iter().filter(|(_, weight)| !(0.01..=100.0).contains(weight));
        let mut problems: Vec<_> = weights.map(|(name, weight)| (name, format!("{weight} is not between 0.01 and 100"))).collect();
        if !(0.5..1.0).contains(&self.fact_precision) {
            problems.push(("fact_precision", format!("{} is not between 0.5 and 1", self.fact_precision)));
        }
        problems
    }
}

/// What a release is besides its models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How its vectors are searched.
    pub index: IndexSettings,
    /// How answers and facts are made.
    pub rules: Rules,
    /// Fingerprint of the vocabulary of tags, which Nightwing keeps by it.
    pub vocabulary: String,
}

impl Settings {
    /// These, with everything that differs between `before` and `now` as it is now.
    pub(super) fn moved(&self, before: &Self, now: &Self) -> Self {
        fn pick<T: PartialEq + Clone>(own: &T, before: &T, now: &T) -> T {
            if before == now { own.clone() } else { now.clone() }
        }
        let (index, rules) = ((&self.index, &before.index, &now.index), (&self.rules, &before.rules, &now.rules));
        let of_index = |field: fn(&IndexSettings) -> u32| pick(&field(index.0), &field(index.1), &field(index.2));
        let weight = |field: fn(&Rules) -> f32| pick(&field(rules.0), &field(rules.1), &field(rules.2));
        Self {
            index: IndexSettings {
                recall_target: pick(&index.0.recall_target, &index.1.recall_target, &index.2.recall_target),
                graph_degree: of_index(|index| index.graph_degree),
                graph_rows_min: of_index(|index| index.graph_rows_min),
            },
            rules: Rules {
                words_weight: weight(|rules| rules.words_weight),
                some_words_weight: weight(|rules| rules.some_words_weight),
                image_weight: weight(|rules| rules.image_weight),
                text_weight: weight(|rules| rules.text_weight),
                fact_precision: pick(&rules.0.fact_precision, &rules.1.fact_precision, &rules.2.fact_precision),
            },
            vocabulary: pick(&self.vocabulary, &before.vocabulary, &now.vocabulary),
        }
    }
}

/// What a release is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Embeds pictures.
    pub image_model: Option<ModelInfo>,
    /// Embeds texts.
    pub text_model: Option<ModelInfo>,
    /// Everything else.
    pub settings: Settings,
}

impl Definition {
    /// The first model of each space.
    pub fn of_first(known: &[ModelInfo], settings: Settings) -> Self {
        let first = |space: Space| known.iter().find(|model| model.space == space).cloned();
        Self { image_model: first(Space::Image), text_model: first(Space::Text), settings }
    }

    /// The model of a space.
    pub fn model(&self, space: Space) -> Option<&ModelInfo> {
        match space {
            Space::Image => self.image_model.as_ref(),
            Space::Text => self.text_model.as_ref(),
        }
    }

    /// Its models.
    pub fn models(&self) -> impl Iterator<Item = &ModelInfo> {
        Space::ALL.into_iter().filter_map(|space| self.model(space))
    }

    /// Names everything that answers depend on: BLAKE3 over the spaces, the models' fingerprints and the settings.
    pub fn fingerprint(&self) -> String {
        let models: Vec<String> =
            self.models().map(|model| format!("{}:{}:{}\n", model.space.as_str(), model.fingerprint, model.dimensions)).collect();
        let Settings { index, rules, vocabulary } = &self.settings;
        let index = format!("index:{}:{}:{}\n", index.recall_target, index.graph_degree, index.graph_rows_min);
        let weights =
            [rules.words_weight, rules.some_words_weight, rules.image_weight, rules.text_weight].map(|weight| format!(":{weight}"));
        let settings = format!("{index}rules{}:{}\nvocabulary:{vocabulary}\n", weights.concat(), rules.fact_precision);
        let mut hex = ContentHash::of((models.concat() + &settings).as_bytes()).to_hex();
        hex.truncate(FINGERPRINT_CHARS);
        hex
    }

    /// The same with every model that is known under its name with another fingerprint in the place of the one that is no more.
    /// `None` when there is none.
    pub(super) fn renewed(&self, known: &[ModelInfo]) -> Option<Self> {
        let renew = |model: &Option<ModelInfo>| -> Option<ModelInfo> {
            let model = model.as_ref()?;
            let mut same_name = known.iter().filter(|known| known.space == model.space && known.name == model.name);
            if same_name.clone().any(|known| known == model) { Some(model.clone()) } else { same_name.next().or(Some(model)).cloned() }
        };
        let settings = self.settings.clone();
        let renewed = Self { image_model: renew(&self.image_model), text_model: renew(&self.text_model), settings };
        (renewed != *self).then_some(renewed)
    }
}
