//! Reads a vocabulary file over what is there already, and says everything that is wrong with it.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::{ATTRIBUTES_MAX, Attribute, FILE_BYTES_MAX, Measure, VALUES_MAX, Value, WORD_BYTES_MAX, WORDS_MAX, key};

/// Problems told at once, at most.
const PROBLEMS_MAX: usize = 50;

/// One thing that is wrong with a vocabulary file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub source: String,
    /// Counted from 1.
    pub line: usize,
    /// Where in the file: `colour.navy blue.anchors`.
    pub field: String,
    /// What is wrong.
    pub detail: String,
}

/// Everything that is wrong with a vocabulary file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Problem { source, line, field, detail }) in self.0.iter().enumerate() {
            let parting = if place == 0 { "" } else { "\n" };
            let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
            write!(formatter, "{parting}{source}:{line}: {field}{detail}")?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    attribute: Vec<AttributeEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AttributeEntry {
    name: Spanned<String>,
    title: Option<Spanned<String>>,
    #[serde(default)]
    taught_by: Vec<Spanned<String>>,
    measured: Option<Measure>,
    open: Option<bool>,
    by_title: Option<bool>,
    #[serde(default)]
    prompts: Vec<Spanned<String>>,
    #[serde(default)]
    value: Vec<ValueEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueEntry {
    name: Spanned<String>,
    #[serde(default)]
    labels: Vec<Spanned<String>>,
    #[serde(default)]
    anchors: Vec<Spanned<String>>,
    #[serde(default)]
    prompts: Vec<Spanned<String>>,
}

/// Lays a file over the attributes that are there.
pub(super) fn parse(attributes: Vec<Attribute>, text: &str, source: &str) -> Result<Vec<Attribute>, Problems> {
    let mut reader = Reader { text, source, problems: Vec::new(), attributes };
    if text.len() > FILE_BYTES_MAX {
        reader.problem(&(0..0), "", format!("more than {FILE_BYTES_MAX} bytes"));
        return Err(Problems(reader.problems));
    }
    match toml::from_str::<File>(text) {
        Ok(file) => file.attribute.into_iter().for_each(|entry| reader.attribute(entry)),
        Err(error) => reader.problem(&error.span().unwrap_or(0..0), "", error.message().to_owned()),
    }
    if reader.problems.is_empty() {
        reader.labels_are_of_one_value();
    }
    if reader.problems.is_empty() { Ok(reader.attributes) } else { Err(Problems(reader.problems)) }
}

struct Reader<'t> {
    text: &'t str,
    source: &'t str,
    problems: Vec<Problem>,
    attributes: Vec<Attribute>,
}

impl Reader<'_> {
    fn problem(&mut self, at: &Range<usize>, field: &str, detail: String) {
        if self.problems.len() < PROBLEMS_MAX {
            let before = self.text.as_bytes().iter().take(at.start);
            let line = 1 + before.filter(|byte| **byte == b'\n').count();
            self.problems.push(Problem { source: self.source.to_owned(), line, field: field.to_owned(), detail });
        }
    }

    fn attribute(&mut self, entry: AttributeEntry) {
        let (at, name) = (entry.name.span(), entry.name.into_inner());
        let is_name = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
        if name.is_empty() || name.len() > WORD_BYTES_MAX || !name.chars().all(is_name) {
            return self.problem(&at, "attribute.name", format!("`{name}`: lower-case letters, digits and `_`"));
        }
        let place = self.attributes.iter().position(|attribute| attribute.name == name);
        if place.is_none() && self.attributes.len() == ATTRIBUTES_MAX {
            return self.problem(&at, &name, format!("more than {ATTRIBUTES_MAX} attributes"));
        }
        let mut attribute = match place {
            Some(place) => self.attributes[place].clone(),
            None => Attribute { title: name.replace('_', " "), name: name.clone(), ..Attribute::default() },
        };
        if let Some(title) = entry.title {
            self.word(&title, &format!("{name}.title"));
            attribute.title = title.into_inner();
        }
        attribute.measured = entry.measured.or(attribute.measured);
        attribute.open = entry.open.unwrap_or(attribute.open);
        attribute.by_title = entry.by_title.unwrap_or(attribute.by_title);
        self.add(&mut attribute.taught_by, entry.taught_by, &format!("{name}.taught_by"));
        for prompt in entry.prompts.iter().filter(|prompt| prompt.get_ref().matches("{}").count() != 1) {
            self.problem(&prompt.span(), &format!("{name}.prompts"), "`{}` must stand in it once, for the value".to_owned());
        }
        self.add(&mut attribute.prompts, entry.prompts, &format!("{name}.prompts"));
        for value in entry.value {
            self.value(&mut attribute, value);
        }
        match place {
            Some(place) => self.attributes[place] = attribute,
            None => self.attributes.push(attribute),
        }
    }

    fn value(&mut self, attribute: &mut Attribute, entry: ValueEntry) {
        let (at, field) = (entry.name.span(), format!("{}.{}", attribute.name, entry.name.get_ref()));
        if !self.word(&entry.name, &format!("{}.value.name", attribute.name)) {
            return;
        }
        let name = entry.name.into_inner();
        let place = attribute.values.iter().position(|value| value.name == name);
        if place.is_none() && attribute.values.len() == VALUES_MAX {
            return self.problem(&at, &field, format!("more than {VALUES_MAX} values"));
        }
        let place = place.unwrap_or_else(|| {
            attribute.values.push(Value { name, ..Value::default() });
            attribute.values.len() - 1
        });
        let value = &mut attribute.values[place];
        self.add(&mut value.labels, entry.labels, &format!("{field}.labels"));
        self.add(&mut value.prompts, entry.prompts, &format!("{field}.prompts"));
        if !entry.anchors.is_empty() {
            value.anchors.clear();
        }
        for anchor in entry.anchors.into_iter().take(WORDS_MAX) {
            match colour(anchor.get_ref()) {
                Some(colour) => value.anchors.push(colour),
                None => self.problem(&anchor.span(), &format!("{field}.anchors"), format!("`{}`: not like #1a2b3c", anchor.get_ref())),
            }
        }
    }

    fn add(&mut self, to: &mut Vec<String>, words: Vec<Spanned<String>>, field: &str) {
        for word in words {
            if to.len() == WORDS_MAX {
                return self.problem(&word.span(), field, format!("more than {WORDS_MAX}"));
            }
            if self.word(&word, field) && !to.contains(word.get_ref()) {
                to.push(word.into_inner());
            }
        }
    }

    /// Whether it has something to compare, and is not too long.
    fn word(&mut self, word: &Spanned<String>, field: &str) -> bool {
        let text = word.get_ref();
        let is_sound = !key(text).is_empty() && text.len() <= WORD_BYTES_MAX;
        if !is_sound {
            self.problem(&word.span(), field, format!("`{text}`: between 1 and {WORD_BYTES_MAX} bytes, a letter or digit among them"));
        }
        is_sound
    }

    fn labels_are_of_one_value(&mut self) {
        let mut double = Vec::new();
        for attribute in &self.attributes {
            let mut owners: std::collections::BTreeMap<String, &str> = std::collections::BTreeMap::new();
            for value in &attribute.values {
                for label in std::iter::once(&value.name).chain(&value.labels) {
                    let owner = owners.entry(key(label)).or_insert(&value.name);
                    if *owner != value.name {
                        double.push((format!("{}.{}", attribute.name, value.name), format!("`{label}` is `{owner}` already")));
                    }
                }
            }
        }
        for (field, detail) in double {
            let at = self.text.find(field.split('.').next_back().unwrap_or_default()).unwrap_or(0);
            self.problem(&(at..at), &field, detail);
        }
    }
}

/// `#1a2b3c`.
fn colour(text: &str) -> Option<[u8; 3]> {
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    Some([(number >> 16) as u8, (number >> 8) as u8, number as u8])
}
