//! Typed configuration from layers: compiled-in default < file < environment < command line, checked as a whole.

use std::fmt;

use protocol::registry::{ConfigSource, Setting};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Environment variables that begin like this are settings: `GOTHAM__GATEWAY__LISTEN` sets `gateway.listen`.
pub const ENVIRONMENT_PREFIX: &str = "GOTHAM__";

/// Something wrong with the configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the value comes from: a file's name, `environment`, `command line`.
    pub origin: String,
    /// The setting: `search.threads`; empty when the whole file cannot be read.
    pub key: String,
    /// What is wrong with it.
    pub detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.origin, self.detail),
            key => write!(f, "{}: {key}: {}", self.origin, self.detail),
        }
    }
}

/// What lies above the compiled-in default.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The configuration file's name and text.
    pub file: Option<(String, String)>,
    /// Environment variables, all of them: those without the prefix are passed over.
    pub environment: Vec<(String, String)>,
    /// Settings from the command line: key and value.
    pub command_line: Vec<(String, String)>,
}

/// A configuration and where each setting of it comes from.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The typed configuration.
    pub config: T,
    /// Every setting in key order.
    pub settings: Vec<Setting>,
}

impl Layers {
    /// Merges the layers over `T`'s default. Reports every unknown or mistyped key at once; what values mean is for the
    /// caller to check.
    pub fn load<T: Serialize + DeserializeOwned + Default>(&self) -> Result<Loaded<T>, Vec<Problem>> {
        let default = Table::try_from(T::default()).map_err(|error| vec![problem("defaults", "", &error)])?;
        let mut merged = Merged { table: default, sources: Vec::new(), problems: Vec::new() };
        if let Some((name, text)) = &self.file {
            match text.parse::<Table>() {
                Ok(table) => merged.lay(name, ConfigSource::File, "", table),
                Err(error) => merged.problems.push(problem(name, "", &error)),
            }
        }
        for (name, value) in &self.environment {
            if let Some(path) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                let key = path.to_lowercase().replace("__", ".");
                merged.lay_text(&format!("environment variable {name}"), ConfigSource::Environment, &key, value);
            }
        }
        for (key, value) in &self.command_line {
            merged.lay_text("command line", ConfigSource::CommandLine, key, value);
        }
        merged.finish()
    }
}

struct Merged {
    table: Table,
    sources: Vec<(String, ConfigSource)>,
    problems: Vec<Problem>,
}

impl Merged {
    fn lay(&mut self, origin: &str, source: ConfigSource, prefix: &str, table: Table) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match (value, self.find(&key)) {
                (Value::Table(inner), Some(Value::Table(_))) => self.lay(origin, source, &key, inner),
                (value, _) => self.set(origin, source, &key, value),
            }
        }
    }

    /// A value given as text takes the type of the default; where there is no default it is read as TOML, else as text.
    fn lay_text(&mut self, origin: &str, source: ConfigSource, key: &str, text: &str) {
        let value = match self.find(key) {
            Some(Value::String(_)) => Value::String(text.to_owned()),
            _ => text_as_value(text),
        };
        self.set(origin, source, key, value);
    }

    fn find(&self, key: &str) -> Option<&Value> {
        let (sections, name) = split(key);
        let mut table = &self.table;
        for section in sections {
            table = table.get(section)?.as_table()?;
        }
        table.get(name)
    }

    fn set(&mut self, origin: &str, source: ConfigSource, key: &str, value: Value) {
        let known = self.find(key).map(Value::type_str);
        if let Some(expected) = known.filter(|expected| *expected != value.type_str() && !(*expected == "float" && value.is_integer())) {
            let detail = format!("{} given, {expected} expected", value.type_str());
            self.problems.push(Problem { origin: origin.to_owned(), key: key.to_owned(), detail });
            return;
        }
        let value = if known == Some("float") {
            Value::Float(value.as_float().or_else(|| value.as_integer().map(|number| number as f64)).unwrap_or_default())
        } else {
            value
        };
        if known.is_none() {
            let detail = self.unknown(key);
            self.problems.push(Problem { origin: origin.to_owned(), key: key.to_owned(), detail });
            return;
        }
        let (sections, name) = split(key);
        let mut table = &mut self.table;
        for section in sections {
            // A key that is known has its sections.
            let Some(Value::Table(inner)) = table.get_mut(section) else { return };
            table = inner;
        }
        table.insert(name.to_owned(), value);
        self.sources.retain(|(earlier, _)| earlier != key);
        self.sources.push((key.to_owned(), source));
    }

    /// Says which part of an unknown key is unknown, and what it may have been meant to be.
    fn unknown(&self, key: &str) -> String {
        let (sections, name) = split(key);
        let mut table = &self.table;
        for section in sections {
            match table.get(section).and_then(Value::as_table) {
                Some(inner) => table = inner,
                None => return format!("there is no section `{section}`{}", nearest(section, table.keys())),
            }
        }
        format!("there is no such setting{}", nearest(name, table.keys()))
    }

    fn finish<T: DeserializeOwned>(self) -> Result<Loaded<T>, Vec<Problem>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let mut settings = Vec::new();
        list(&self.table, "", &self.sources, &mut settings);
        let config = Value::Table(self.table).try_into().map_err(|error: toml::de::Error| vec![problem("configuration", "", &error)])?;
        Ok(Loaded { config, settings })
    }
}

fn problem(origin: &str, key: &str, error: &impl fmt::Display) -> Problem {
    Problem { origin: origin.to_owned(), key: key.to_owned(), detail: error.to_string().trim_end().to_owned() }
}

fn split(key: &str) -> (Vec<&str>, &str) {
    let mut parts: Vec<&str> = key.split('.').collect();
    let name = parts.pop().unwrap_or_default();
    (parts, name)
}

fn text_as_value(text: &str) -> Value {
    format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn list(table: &Table, prefix: &str, sources: &[(String, ConfigSource)], settings: &mut Vec<Setting>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) => list(inner, &key, sources, settings),
            value => {
                let source = sources.iter().find(|(set, _)| *set == key).map_or(ConfigSource::Default, |(_, source)| *source);
                settings.push(Setting { key, value: value.to_string(), source });
            }
        }
    }
}

/// The known name that differs least, if it is close enough to be a slip.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let closest = known.map(|known| (edit_distance(name, known), known)).min();
    match closest {
        Some((distance, known)) if distance <= 1 + name.len() / 4 => format!("; did you mean `{known}`?"),
        _ => String::new(),
    }
}

/// Levenshtein's distance, by bytes: keys are ASCII.
fn edit_distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.bytes().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Search {
        threads: u32,
        ratio: f64,
        name: String,
    }

    impl Default for Search {
        fn default() -> Self {
            Self { threads: 2, ratio: 0.5, name: "7".into() }
        }
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct House {
        search: Search,
    }

    fn layers(file: &str, environment: &[(&str, &str)], command_line: &[(&str, &str)]) -> Layers {
        let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Layers { file: Some(("gotham.toml".into(), file.into())), environment: owned(environment), command_line: owned(command_line) }
    }

    #[test]
    fn a_higher_layer_wins_and_every_setting_names_its_source() {
        let layers =
            layers("[search]\nthreads = 4\nratio = 1", &[("GOTHAM__SEARCH__THREADS", "8"), ("PATH", "/bin")], &[("search.name", "12")]);
        let loaded = layers.load::<House>().expect("valid");
        assert_eq!(loaded.config.search, Search { threads: 8, ratio: 1.0, name: "12".into() });
        let sources: Vec<_> = loaded.settings.iter().map(|setting| (setting.key.as_str(), setting.source)).collect();
        assert_eq!(
            sources,
            [
                ("search.name", ConfigSource::CommandLine),
                ("search.ratio", ConfigSource::File),
                ("search.threads", ConfigSource::Environment)
            ]
        );
    }

    #[test]
    fn every_problem_is_reported_at_once_with_its_place() {
        let layers = layers("[search]\nthread = 4\nratio = \"high\"\n[serch]\nx = 1", &[("GOTHAM__SEARCH__THREADS", "many")], &[]);
        let problems: Vec<String> = layers.load::<House>().expect_err("invalid").iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "gotham.toml: search.ratio: string given, float expected",
                "gotham.toml: search.thread: there is no such setting; did you mean `threads`?",
                "gotham.toml: serch: there is no such setting; did you mean `search`?",
                "environment variable GOTHAM__SEARCH__THREADS: search.threads: string given, integer expected",
            ]
        );
    }

    #[test]
    fn a_value_out_of_its_types_range_and_a_file_that_is_no_toml_are_problems() {
        assert!(layers("[search]\nthreads = -1", &[], &[]).load::<House>().is_err());
        let problems = layers("[search", &[], &[]).load::<House>().expect_err("invalid");
        assert_eq!((problems.len(), problems[0].origin.as_str()), (1, "gotham.toml"));
    }
}
