//! What a segment offers to complete a query with: brands, categories, words of titles and their neighbours, with the number of
//! products of each, and how folded words are written.

use std::collections::{HashMap, HashSet};

use tantivy::SegmentReader;
use tantivy::schema::Field;

use crate::document::Fields;
use crate::text::fold;
use crate::vocabulary::{LANGUAGE_MARK, Vocabulary};

/// From so many documents on what stands in one title alone is not kept.
const RARE_DOCS_MIN: u32 = 2_000;

/// A text that may complete a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// Folded; compared with the query.
    pub(crate) key: Box<str>,
    /// As written, where that is known; else it is put together from the words.
    pub(crate) written: Option<Box<str>>,
    /// Products, deleted ones too.
    pub(crate) products: u32,
}

/// Each in the order of the keys.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) brands: Vec<Name>,
    pub(crate) categories: Vec<Name>,
    pub(crate) words: Vec<Name>,
    pub(crate) sequences: Vec<Name>,
    /// By folded word: how it is mostly written, and in how many products.
    pub(crate) spellings: HashMap<Box<str>, (Box<str>, u32)>,
}

impl Names {
    pub(crate) fn read(reader: &SegmentReader, fields: &Fields, vocabulary: &Vocabulary) -> tantivy::Result<Self> {
        let least = if reader.max_doc() >= RARE_DOCS_MIN { 2 } else { 1 };
        let mut new = Self::default();
        let mut words: HashSet<String> = HashSet::new();
        each_term(reader, fields.sequences, |term, products| {
            words.extend(term.split(' ').filter(|word| word.chars().nth(1).is_some()).map(str::to_owned));
            if products >= least {
                new.sequences.push(Name { key: term.into(), written: None, products });
            }
        })?;
        for word in words {
            let products = vocabulary.exact(&word).map(|number| vocabulary.freq(number)).sum();
            if products >= least && word.chars().any(char::is_alphabetic) {
                new.words.push(Name { key: word.into(), written: None, products });
            }
        }
        for (field, names) in [(fields.brands, &mut new.brands), (fields.categories, &mut new.categories)] {
            each_term(reader, field, |term, products| names.push(Name { key: key(term).into(), written: Some(term.into()), products }))?;
            names.retain(|name| !name.key.is_empty());
        }
        for names in [&mut new.brands, &mut new.categories, &mut new.words, &mut new.sequences] {
            names.sort_unstable_by(|a, b| a.key.cmp(&b.key).then_with(|| a.written.cmp(&b.written)));
        }
        each_term(reader, fields.spellings, |term, products| {
            let Some((folded, written)) = term.split_once(LANGUAGE_MARK) else { return };
            let best = new.spellings.entry(folded.into()).or_insert_with(|| (written.into(), 0));
            if products > best.1 {
                *best = (written.into(), products);
            }
        })?;
        Ok(new)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let names = [&self.brands, &self.categories, &self.words, &self.sequences];
        let of = |name: &Name| size_of::<Name>() + name.key.len() + name.written.as_ref().map_or(0, |text| text.len());
        let spellings: usize = self.spellings.iter().map(|(folded, (written, _))| 48 + folded.len() + written.len()).sum();
        names.into_iter().flatten().map(of).sum::<usize>() + spellings
    }
}

/// The words of a text, folded, a blank between each two.
pub(crate) fn key(text: &str) -> String {
    let folded = fold(text);
    let words: Vec<_> = folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn each_term(reader: &SegmentReader, field: Field, mut each: impl FnMut(&str, u32)) -> tantivy::Result<()> {
    let index = reader.inverted_index(field)?;
    let mut stream = index.terms().stream()?;
    while stream.advance() {
        if let Ok(term) = std::str::from_utf8(stream.key()) {
            each(term, stream.value().doc_freq);
        }
    }
    Ok(())
}
