//! The configuration of the whole house: each actor's own section, merged from its layers and validated as a whole before
//! anything opens. The compiled-in default is committed as `data/gotham.toml`.

use std::fmt;
use std::path::{Path, PathBuf};

use protocol::releases::Settings;
use registry::{Layers, Loaded, Problem};
use serde::{Deserialize, Serialize};

/// Everything that can be set. One section for each actor, in the words of its own crate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Memory of the storage engine, segment sizes.
    pub storage: Storage,
    /// Robin: the port and its limits.
    pub gateway: gateway::Config,
    /// Joker: feeds.
    pub ingest: ingest::Config,
    /// Nightwing: pictures and models.
    pub vision: vision::Config,
    /// Batman: indexes.
    pub search: search::Config,
    /// Gordon: queues.
    pub queue: queue::Config,
    /// Flash: how closely it follows, and how much of sessions it keeps in memory.
    pub session: session::Config,
    /// The event log and its Parquet files.
    pub events: events::Config,
    /// Superman: recommendations.
    pub recommend: recommend::Config,
    /// Two Face: shoppers' profiles.
    pub personalize: personalize::Config,
    /// Mocha: reports.
    pub reports: reports::Config,
    /// GCPD: finished answers.
    pub cache: cache::Config,
    /// Alfred: the event log's order.
    pub archive: archive::Config,
    /// Watchtower: the catalog and the journal's length.
    pub catalog: catalog::Config,
    /// Wayne: which release is to be live.
    pub releases: registry::Config,
}

/// Bounds of the storage engine and the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Memory that the storage engine uses as a cache, in MiB.
    pub cache_mib: u64,
    /// A journal segment is closed when it is larger than this, in MiB.
    pub journal_segment_mib: u64,
    /// Seconds that any actor, worker thread or the storage may be silent before the service manager is no longer told that
    /// all is well.
    pub watchdog_silence_seconds_max: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Self { cache_mib: 128, journal_segment_mib: 64, watchdog_silence_seconds_max: 20 }
    }
}

impl Storage {
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut check = |field, value: u64, min: u64, max: u64| {
            if !(min..=max).contains(&value) {
                problems.push((field, format!("{value} is not between {min} and {max}")));
            }
        };
        check("cache_mib", self.cache_mib, 16, 65_536);
        check("journal_segment_mib", self.journal_segment_mib, 1, 1_024);
        check("watchdog_silence_seconds_max", self.watchdog_silence_seconds_max, 5, 600);
        problems
    }
}

/// Why there is no configuration to start with: every problem, one a line.
#[derive(Debug)]
pub struct ConfigError(pub Vec<Problem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// What a new installation's first release is besides its models; `vocabulary` is the fingerprint of the configured one.
    pub fn release_settings(&self, vocabulary: &str) -> Settings {
        let (index, rules) = (self.search.index(), self.search.rules(self.vision.tags.fact_precision));
        Settings { index, rules, vocabulary: vocabulary.to_owned() }
    }

    /// What is wrong with the values, as `section.field` and reason.
    pub fn problems(&self) -> Vec<(String, String)> {
        let sections = [
            ("storage", self.storage.problems()),
            ("gateway", self.gateway.problems()),
            ("ingest", self.ingest.problems()),
            ("vision", self.vision.problems()),
            ("search", self.search.problems()),
            ("queue", self.queue.problems()),
            ("session", self.session.problems()),
            ("events", self.events.problems()),
            ("recommend", self.recommend.problems()),
            ("personalize", self.personalize.problems()),
            ("reports", self.reports.problems()),
            ("cache", self.cache.problems()),
            ("archive", self.archive.problems()),
            ("catalog", self.catalog.problems()),
            ("releases", self.releases.problems()),
        ];
        sections
            .into_iter()
            .flat_map(|(section, problems)| problems.into_iter().map(move |(field, detail)| (format!("{section}.{field}"), detail)))
            .collect()
    }
}

/// Loads the configuration: compiled-in default < `file` < environment < `command_line` (key and value), and checks it as a
/// whole. Without a `file` only the other layers count.
pub fn load(
    file: Option<&Path>,
    environment: Vec<(String, String)>,
    command_line: Vec<(String, String)>,
) -> Result<Loaded<Config>, ConfigError> {
    let file = file.map(read).transpose()?;
    let loaded = Layers { file, environment, command_line }.load::<Config>().map_err(ConfigError)?;
    let problems = loaded.config.problems();
    if problems.is_empty() {
        return Ok(loaded);
    }
    let origin = |key: &str| {
        let setting = loaded.settings.iter().find(|setting| setting.key == *key);
        setting.map_or_else(|| "configuration".to_owned(), |setting| format!("{:?}", setting.source).to_lowercase())
    };
    Err(ConfigError(problems.into_iter().map(|(key, detail)| Problem { origin: origin(&key), key, detail }).collect()))
}

fn read(path: &Path) -> Result<(String, String), ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path);
    text.map(|text| (name.clone(), text))
        .map_err(|error| ConfigError(vec![Problem { origin: name, key: String::new(), detail: error.to_string() }]))
}

/// Where state is kept when nobody says otherwise: beside the user's other data.
pub fn default_data_dir() -> PathBuf {
    let home = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share")));
    home.unwrap_or_else(|| PathBuf::from(".")).join("gotham")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_default_is_the_one_compiled_in() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/gotham.toml");
        let committed = std::fs::read_to_string(&path).expect("data/gotham.toml is readable");
        let compiled = toml::to_string(&Config::default()).expect("TOML");
        let committed: Config = toml::from_str(&committed).expect("the file fits the types");
        assert_eq!(committed, Config::default(), "data/gotham.toml must say:\n{compiled}");
    }

    #[test]
    fn the_default_is_valid() {
        assert_eq!(Config::default().problems(), []);
    }

    #[test]
    fn problems_of_values_name_key_and_layer() {
        let environment = vec![("GOTHAM__STORAGE__CACHE_MIB".to_owned(), "1".to_owned())];
        let error = load(None, environment, Vec::new()).expect_err("out of bounds");
        assert_eq!(error.to_string(), "environment: storage.cache_mib: 1 is not between 16 and 65536");
    }
}
