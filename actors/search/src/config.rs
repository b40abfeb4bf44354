//! What can be set about search.

use std::path::PathBuf;

use protocol::releases::{IndexSettings, Rules};
use serde::{Deserialize, Serialize};
use words::Synonyms;

/// Tantivy takes no less for one indexing thread.
const KEYWORD_MEMORY_BYTES_MIN: usize = 15_000_000;

/// Whether exact searches may use a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GpuUse {
    /// Where there is one that is faster than the CPU.
    Auto,
    /// Never.
    Off,
    /// A driver that runs on the CPU, however slow it is: for tests.
    Software,
}

/// Batman's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Threads that answer searches; 0 takes one for each processor.
    pub search_threads: usize,
    /// Searches that may wait for a thread; more are refused.
    pub search_queue_max: usize,
    /// Memory for words that are not on disk yet, in bytes.
    pub keyword_memory_bytes_max: usize,
    /// A changed text is searchable after this many milliseconds at the latest, once the index has caught up.
    pub commit_interval_ms_max: u64,
    /// While the index catches up, this many changes are committed together.
    pub commit_changes_max: usize,
    /// The part of deleted vector rows above which a segment is written anew.
    pub dead_ratio_max: f32,
    /// Whether exact searches may use a GPU: one that is faster than the CPU (`auto`), or none (`off`).
    pub gpu: GpuUse,
    /// Spaces of more vectors are not copied to the GPU.
    pub gpu_rows_max: usize,
    /// Threads that build vector segments in the background; 0 takes half of the processors.
    pub index_threads: usize,
    /// The recall that approximate vector searches are set up for: 0.95, 0.99 or 0.999; to 1 every row is compared.
    pub recall_target: f32,
    /// Neighbours of a row in the graph of a large vector segment, 8 to 96.
    pub graph_degree: u32,
    /// Vectors that are searched without a graph; when there are more they get one.
    pub graph_rows_min: u32,
    /// What keywords count beside other parts of a search where products have all of the words.
    pub words_weight: f32,
    /// The same where none has all of them.
    pub some_words_weight: f32,
    /// What likeness to pictures counts.
    pub image_weight: f32,
    /// What likeness to texts counts.
    pub text_weight: f32,
    /// One of so many vector searches is repeated exactly in the background, to publish the recall that is reached; 0 for none.
    pub recall_sample: u32,
    /// A file of the shop's own synonyms (TOML), beside the built-in ones; empty for none.
    pub synonyms_file: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        let (index, rules) = (IndexSettings::default(), Rules::default());
        Self {
            search_threads: 0,
            search_queue_max: 256,
            keyword_memory_bytes_max: 30_000_000,
            commit_interval_ms_max: 300,
            commit_changes_max: 20_000,
            dead_ratio_max: 0.125,
            gpu: GpuUse::Auto,
            gpu_rows_max: 1_000_000,
            index_threads: 0,
            recall_target: index.recall_target,
            graph_degree: index.graph_degree,
            graph_rows_min: index.graph_rows_min,
            words_weight: rules.words_weight,
            some_words_weight: rules.some_words_weight,
            image_weight: rules.image_weight,
            text_weight: rules.text_weight,
            recall_sample: 1_000,
            synonyms_file: PathBuf::new(),
        }
    }
}

impl Config {
    /// Every field that does not make sense, and why.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let within = |name, value: u64, least: u64, most: u64| {
            (value < least || value > most).then(|| (name, format!("{value} is not between {least} and {most}")))
        };
        let synonyms = || -> Option<String> {
            if self.synonyms_file.as_os_str().is_empty() {
                return None;
            }
            let text = std::fs::read_to_string(&self.synonyms_file).map_err(|error| format!("{}: {error}", self.synonyms_file.display()));
            text.and_then(|text| Synonyms::parse(&text).map_err(|error| error.to_string())).err()
        };
        let checks = [
            within("gpu_rows_max", self.gpu_rows_max as u64, 1, 100_000_000),
            within("index_threads", self.index_threads as u64, 0, 64),
            within("recall_sample", u64::from(self.recall_sample), 0, 1_000_000_000),
            synonyms().map(|problem| ("synonyms_file", problem)),
            within("search_threads", self.search_threads as u64, 0, 1_024),
            within("search_queue_max", self.search_queue_max as u64, 1, 100_000),
            within("keyword_memory_bytes_max", self.keyword_memory_bytes_max as u64, KEYWORD_MEMORY_BYTES_MIN as u64, 4_000_000_000),
            within("commit_interval_ms_max", self.commit_interval_ms_max, 0, 60_000),
            within("commit_changes_max", self.commit_changes_max as u64, 1, 10_000_000),
            (!(0.01..=0.9).contains(&self.dead_ratio_max))
                .then(|| ("dead_ratio_max", format!("{} is not between 0.01 and 0.9", self.dead_ratio_max))),
        ];
        let release = self.index().problems().into_iter().chain(self.rules(Rules::default().fact_precision).problems());
        checks.into_iter().flatten().chain(release).collect()
    }

    /// What a new installation's first release searches by.
    pub fn index(&self) -> IndexSettings {
        let Self { recall_target, graph_degree, graph_rows_min, .. } = *self;
        IndexSettings { recall_target, graph_degree, graph_rows_min }
    }

    /// What it ranks by, with the precision of facts that Nightwing is configured for.
    pub fn rules(&self, fact_precision: f64) -> Rules {
        let Self { words_weight, some_words_weight, image_weight, text_weight, .. } = *self;
        Rules { words_weight, some_words_weight, image_weight, text_weight, fact_precision }
    }

    pub(crate) fn index_threads(&self) -> usize {
        match self.index_threads {
            0 => std::thread::available_parallelism().map_or(1, |threads| usize::from(threads).div_ceil(2)),
            threads => threads,
        }
    }

    /// The built-in synonyms with the shop's own. A list that cannot be read is reported and left out: search works without.
    pub(crate) fn synonyms(&self) -> Synonyms {
        let built_in = Synonyms::built_in();
        if self.synonyms_file.as_os_str().is_empty() {
            return built_in;
        }
        let own = std::fs::read_to_string(&self.synonyms_file).map_err(|error| error.to_string());
        match own.and_then(|text| Synonyms::parse(&text).map_err(|error| error.to_string())) {
            Ok(own) => built_in.with(own),
            Err(error) => {
                tracing::error!(file = %self.synonyms_file.display(), error, "the shop's synonyms cannot be read and are left out");
                built_in
            }
        }
    }

    pub(crate) fn threads(&self) -> usize {
        match self.search_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound_and_each_nonsense_is_named() {
        assert_eq!(Config::default().problems(), []);
        let bad = Config {
            search_threads: 9_999,
            search_queue_max: 0,
            keyword_memory_bytes_max: 1,
            commit_interval_ms_max: 1 << 40,
            commit_changes_max: 0,
            dead_ratio_max: f32::NAN,
            gpu: GpuUse::Off,
            gpu_rows_max: 0,
            index_threads: 65,
            recall_target: 2.0,
            graph_degree: 0,
            graph_rows_min: 0,
            words_weight: 0.0,
            some_words_weight: f32::NAN,
            image_weight: -1.0,
            text_weight: f32::INFINITY,
            recall_sample: u32::MAX,
            synonyms_file: "no/such/file".into(),
        };
        let names: Vec<_> = bad.problems().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 17, "{names:?}");
    }
}
