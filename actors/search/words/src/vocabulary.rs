//! All words of one segment of the index, in memory: how often each stands in it and where its postings are, found by the word,
//! its stem, its beginning, the end of a compound, or what it nearly is.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use tantivy::postings::TermInfo;
use tantivy::termdict::TermDictionary;

use crate::language::Language;

/// Stands between a word and the code of the language it is in, in the terms of the index.
pub(crate) const LANGUAGE_MARK: char = '\u{1}';
/// The least length of a word that may be a compound, in characters.
const COMPOUND_CHARS_MIN: usize = 7;
/// Words that one ending finds.
const ENDINGS_MAX: usize = 256;

/// The words, by number: in the order of the bytes of the words, then of the codes of their languages.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    text: String,
    /// Where each word begins in `text`, and the end of the last.
    starts: Vec<u32>,
    languages: Vec<Language>,
    freqs: Vec<u32>,
    postings: Vec<Range<usize>>,
    shapes: Vec<Shape>,
    /// Hash of language and stem, word.
    stems: Vec<(u64, u32)>,
    /// The stem of a possible compound from its end to its beginning, word.
    endings: Vec<(String, u32)>,
}

/// What rules most words out before they are compared letter by letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// A bit for each letter that occurs.
    pub(crate) letters: u64,
    pub(crate) first: char,
    pub(crate) chars: u8,
    /// Whether it is made of letters only.
    pub(crate) is_alphabetic: bool,
}

impl Shape {
    pub(crate) fn of(word: &str) -> Self {
        let letters = word.chars().fold(0, |letters, c| letters | 1_u64 << (u32::from(c) % 64));
        let is_alphabetic = word.chars().all(char::is_alphabetic);
        let first = word.chars().next().unwrap_or_default();
        Self { letters, first, chars: word.chars().count().min(255) as u8, is_alphabetic }
    }
}

impl Vocabulary {
    /// Reads the terms of the word field.
    pub(crate) fn read(terms: &TermDictionary) -> std::io::Result<Self> {
        let mut new = Self::default();
        new.starts.push(0);
        let mut stream = terms.stream()?;
        while stream.advance() {
            let term = std::str::from_utf8(stream.key()).unwrap_or_default();
            let (word, code) = term.split_once(LANGUAGE_MARK).unwrap_or((term, ""));
            new.push(word, Language::from_locale(code), stream.value());
        }
        new.stems.sort_unstable();
        new.endings.sort_unstable();
        Ok(new)
    }

    fn push(&mut self, word: &str, language: Language, info: &TermInfo) {
        let number = self.languages.len() as u32;
        let shape = Shape::of(word);
        self.text.push_str(word);
        self.starts.push(self.text.len() as u32);
        self.languages.push(language);
        self.freqs.push(info.doc_freq);
        self.postings.push(info.postings_range.clone());
        self.shapes.push(shape);
        if language.has_stems() && shape.is_alphabetic {
            let stem = language.stem(word);
            self.stems.push((stem_hash(language, &stem), number));
            if language.is_compounding() && usize::from(shape.chars) >= COMPOUND_CHARS_MIN {
                self.endings.push((stem.chars().rev().collect(), number));
            }
        }
    }

    /// How many words there are.
    pub(crate) fn len(&self) -> usize {
        self.languages.len()
    }

    /// The word of a number.
    pub(crate) fn word(&self, number: u32) -> &str {
        let number = number as usize;
        &self.text[self.starts[number] as usize..self.starts[number + 1] as usize]
    }

    /// In how many documents of the segment it stands, deleted ones too.
    pub(crate) fn freq(&self, number: u32) -> u32 {
        self.freqs[number as usize]
    }

    pub(crate) fn language(&self, number: u32) -> Language {
        self.languages[number as usize]
    }

    pub(crate) fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Where its postings are.
    pub(crate) fn term_info(&self, number: u32) -> TermInfo {
        let number = number as usize;
        TermInfo { doc_freq: self.freqs[number], postings_range: self.postings[number].clone(), positions_range: 0..0 }
    }

    /// The word as it is, once for each language it is in.
    pub(crate) fn exact(&self, word: &str) -> Range<u32> {
        let start = self.lower_bound(word);
        let mut end = start;
        while (end as usize) < self.len() && self.word(end) == word {
            end += 1;
        }
        start..end
    }

    /// All words that begin so.
    pub(crate) fn beginning(&self, beginning: &str) -> Range<u32> {
        let start = self.lower_bound(beginning);
        let (mut low, mut high) = (start, self.len() as u32);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.word(middle).starts_with(beginning) { low = middle + 1 } else { high = middle }
        }
        start..low
    }

    /// The words of a language with this stem.
    pub(crate) fn with_stem(&self, language: Language, stem: &str) -> impl Iterator<Item = u32> + '_ {
        let hash = stem_hash(language, stem);
        let start = self.stems.partition_point(|(other, _)| *other < hash);
        self.stems[start..].iter().take_while(move |(other, _)| *other == hash).map(|(_, number)| *number)
    }

    /// Possible compounds whose stem ends so, without being it: word, and what stands before the ending.
    pub(crate) fn ending(&self, ending: &str) -> impl Iterator<Item = (u32, String)> + '_ {
        let reversed: String = ending.chars().rev().collect();
        let start = self.endings.partition_point(|(other, _)| *other < reversed);
        let found = self.endings[start..].iter().take(ENDINGS_MAX).map_while(move |(other, number)| {
            let rest = other.strip_prefix(&reversed)?;
            Some((*number, rest.chars().rev().collect::<String>()))
        });
        found.filter(|(_, rest)| !rest.is_empty())
    }

    /// Whether any word is in a language that writes compounds.
    pub(crate) fn has_compounds(&self) -> bool {
        !self.endings.is_empty()
    }

    /// Bytes of memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        let endings: usize = self.endings.iter().map(|(stem, _)| stem.capacity() + size_of::<(String, u32)>()).sum();
        self.text.capacity() + self.len() * (4 + 1 + 4 + size_of::<Range<usize>>() + size_of::<Shape>()) + self.stems.len() * 16 + endings
    }

    fn lower_bound(&self, word: &str) -> u32 {
        let (mut low, mut high) = (0, self.len() as u32);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.word(middle) < word { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// 64 bits stand for language and stem: two stems that share them by chance would find one another's words.
fn stem_hash(language: Language, stem: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (language, stem).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A vocabulary without an index.
    pub(crate) fn vocabulary(words: &[(&str, Language, u32)]) -> Vocabulary {
        let mut words = words.to_vec();
        words.sort_by_key(|(word, language, _)| (*word, language.code()));
        let mut new = Vocabulary::default();
        new.starts.push(0);
        for (word, language, freq) in words {
            new.push(word, language, &TermInfo { doc_freq: freq, postings_range: 0..0, positions_range: 0..0 });
        }
        new.stems.sort_unstable();
        new.endings.sort_unstable();
        new
    }

    #[test]
    fn words_are_found_by_all_their_sides() {
        use Language::*;
        let words = vocabulary(&[
            ("shoe", English, 3),
            ("shoes", English, 5),
            ("shoe", French, 1),
            ("shoehorn", English, 1),
            ("herrenhemden", German, 2),
            ("herrenhemd", German, 4),
            ("hemd", German, 9),
            ("3.5", Neutral, 1),
            ("靴下", Japanese, 2),
        ]);
        let names = |numbers: Vec<u32>| numbers.into_iter().map(|number| words.word(number)).collect::<Vec<_>>();
        assert_eq!(names(words.exact("shoe").collect()), ["shoe", "shoe"]);
        assert_eq!(names(words.beginning("shoe").collect()), ["shoe", "shoe", "shoehorn", "shoes"]);
        assert_eq!(names(words.beginning("靴").collect()), ["靴下"]);
        assert!(words.exact("sho").is_empty() && words.beginning("zz").is_empty() && words.exact("").is_empty());
        assert_eq!(names(words.with_stem(English, "shoe").collect()), ["shoe", "shoes"]);
        let compounds: Vec<_> = words.ending("hemd").collect();
        assert_eq!(compounds.len(), 2);
        assert!(compounds.iter().all(|(_, rest)| rest == "herren"));
    }
}
