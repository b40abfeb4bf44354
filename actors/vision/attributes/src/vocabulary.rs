//! The vocabulary: attributes, their values, and what teaches them.

mod file;
#[cfg(test)]
mod tests;

pub use file::{Problem, Problems};

/// Attributes of a vocabulary, at most.
pub const ATTRIBUTES_MAX: usize = 64;
/// Values of an attribute, at most; further labels of an open attribute teach nothing.
pub const VALUES_MAX: usize = 512;
/// Labels, prompts or anchors of one value or attribute, at most.
pub const WORDS_MAX: usize = 256;
/// Bytes of a name, label or prompt, at most.
pub const WORD_BYTES_MAX: usize = 200;
/// Bytes of a vocabulary file, at most.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// What is compiled in: `data/attributes.toml`.
pub const COMPILED_IN: &str = include_str!("../../../../data/attributes.toml");

/// The attributes in the order of their files.
#[derive(Clone, Debug, PartialEq)]
pub struct Vocabulary {
    attributes: Vec<Attribute>,
    /// Lower-case hexadecimal.
    fingerprint: String,
}

/// One attribute: `colour`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attribute {
    /// Lower case, words joined by `_`: stable, for programs.
    pub name: String,
    /// For people.
    pub title: String,
    /// Names of the catalog's attributes whose labels teach this one; `baseColour`, `base_colour` and `Base Colour` are one name.
    pub taught_by: Vec<String>,
    /// What measures it, if anything does.
    pub measured: Option<Measure>,
    /// Labels that no value names become values of their own, in the catalog's spelling.
    pub open: bool,
    /// Words of a product's title teach it, too.
    pub by_title: bool,
    /// Patterns of a text model's questions; `{}` stands for the value.
    pub prompts: Vec<String>,
    /// The values in the order of their files.
    pub values: Vec<Value>,
}

/// What measures an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Shares of the named colours.
    Palette,
    /// How patterned the product is.
    Pattern,
}

/// One value of an attribute: `navy blue`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Value {
    /// As it is shown.
    pub name: String,
    /// What catalogs call it, besides its name.
    pub labels: Vec<String>,
    /// What the colour looks like, sRGB; the nearest anchor names a colour.
    pub anchors: Vec<[u8; 3]>,
    /// What it is called in prompts, instead of its name.
    pub prompts: Vec<String>,
}

/// A label read with the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stated {
    /// The attribute's name.
    pub attribute: String,
    /// The value's name.
    pub value: String,
}

impl Vocabulary {
    /// The vocabulary that belongs to this program.
    ///
    /// # Panics
    /// Never: a test reads it.
    pub fn compiled_in() -> Self {
        match Self::parse(COMPILED_IN, "attributes.toml") {
            Ok(vocabulary) => vocabulary,
            Err(problems) => panic!("{problems}"),
        }
    }

    /// Reads a vocabulary; `source` is the file's name in problems.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with line and field.
    pub fn parse(text: &str, source: &str) -> Result<Self, Problems> {
        file::parse(Vec::new(), text, source).map(Self::new)
    }

    /// This vocabulary with another file laid over it: an attribute or value of a known name is extended (labels and prompts are added,
    /// anchors and the title replaced), others are new.
    ///
    /// # Errors
    /// Everything that is wrong with the file, each with line and field.
    pub fn extended(&self, text: &str, source: &str) -> Result<Self, Problems> {
        file::parse(self.attributes.clone(), text, source).map(Self::new)
    }

    fn new(attributes: Vec<Attribute>) -> Self {
        let fingerprint = blake3::hash(format!("{attributes:?}").as_bytes()).to_hex().to_string();
        Self { attributes, fingerprint }
    }

    /// All attributes.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// Hash of everything in it, hexadecimal: belongs to what was learned with it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What a catalog's attributes (`name, label`) say in this vocabulary, once each, in order. Labels that mean nothing (`NA`, blanks)
    /// and labels that no value of a closed attribute bears are left out.
    pub fn read<'a>(&self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Stated> {
        let mut stated = Vec::new();
        for (name, label) in labels {
            let name = key(name);
            for attribute in self.attributes.iter().filter(|attribute| attribute.taught_by.iter().any(|taught| key(taught) == name)) {
                if let Some(value) = attribute.value_of(label) {
                    stated.push(Stated { attribute: attribute.name.clone(), value });
                }
            }
        }
        stated.sort_unstable();
        stated.dedup();
        stated
    }

    /// What the words of a product's title say of attributes that titles teach, in order: `Striped Full Sleeve Shirt`.
    pub fn read_title(&self, title: &str) -> Vec<Stated> {
        let text = spaced(title);
        let mut stated = Vec::new();
        for attribute in self.attributes.iter().filter(|attribute| attribute.by_title) {
            for value in &attribute.values {
                let bears = |words: &String| text.contains(&spaced(words));
                if bears(&value.name) || value.labels.iter().any(bears) {
                    stated.push(Stated { attribute: attribute.name.clone(), value: value.name.clone() });
                }
            }
        }
        stated
    }

    /// The anchors of every colour: of the first attribute that the palette measures, its values' names and sRGB colours.
    pub fn palette(&self) -> Vec<(&str, [u8; 3])> {
        let measured = self.attributes.iter().find(|attribute| attribute.measured == Some(Measure::Palette));
        let values = measured.map_or(&[][..], |attribute| &attribute.values);
        values.iter().flat_map(|value| value.anchors.iter().map(|anchor| (value.name.as_str(), *anchor))).collect()
    }
}

impl Attribute {
    /// The value that a label stands for.
    pub fn value_of(&self, label: &str) -> Option<String> {
        let wanted = key(label);
        if wanted.is_empty() || wanted == "na" || wanted == "none" || label.len() > WORD_BYTES_MAX {
            return None;
        }
        let bears = |value: &&Value| key(&value.name) == wanted || value.labels.iter().any(|other| key(other) == wanted);
        match self.values.iter().find(bears) {
            Some(value) => Some(value.name.clone()),
            None if self.open => Some(label.split_whitespace().collect::<Vec<_>>().join(" ")),
            None => None,
        }
    }
}

/// Words in lower case with one blank around each.
fn spaced(text: &str) -> String {
    let mut spaced = String::from(" ");
    for word in text.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty()) {
        spaced.extend(word.chars().flat_map(char::to_lowercase));
        spaced.push(' ');
    }
    spaced
}

/// Names and labels are compared by their letters and digits alone.
fn key(text: &str) -> String {
    text.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
