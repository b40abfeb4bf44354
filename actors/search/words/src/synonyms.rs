//! Words that mean the same, as a list that a shop can edit (TOML), looked up while a query is read: the index knows nothing of
//! them, so a changed list counts from the next query on.
//!
//! ```toml
//! [[synonyms]]
//! language = "en"                      # left out: in every language
//! words = ["sneakers", "trainers"]     # each stands for all others
//!
//! [[synonyms]]
//! from = ["telly"]                     # finds what is in `to`, not the other way round
//! to = ["television", "tv set"]
//! ```

use std::collections::HashMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use crate::language::Language;
use crate::text::query_text;

/// Words of one phrase, as in `t shirt`; of scripts without blanks pairs of characters.
pub(crate) const PHRASE_WORDS_MAX: usize = 8;
/// Phrases of one entry.
pub(crate) const PHRASES_MAX: usize = 32;
/// Entries of one list.
pub(crate) const ENTRIES_MAX: usize = 20_000;
/// The small list that is built in.
const BUILT_IN: &str = include_str!("data/synonyms.toml");

/// Why a list is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SynonymError {
    /// No TOML, or fields that are not known.
    #[error("synonyms, line {line}: {message}")]
    Syntax {
        /// From 1.
        line: usize,
        /// What the reader says.
        message: String,
    },
    /// One entry says nothing that can be used.
    #[error("synonyms, entry {entry} (line {line}): {reason}")]
    Entry {
        /// From 1.
        line: usize,
        /// From 1.
        entry: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Too long.
    #[error("synonyms: at most {ENTRIES_MAX} entries, these are {0}")]
    TooMany(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    synonyms: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    language: Option<String>,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    from: Vec<String>,
    #[serde(default)]
    to: Vec<String>,
}

/// Folded words that belong together.
pub(crate) type Phrase = Vec<String>;

/// A list that has been read.
#[derive(Clone, Debug, Default)]
pub struct Synonyms {
    /// By language and the stems of a phrase: what stands for it.
    phrases: HashMap<(Language, String), Vec<Phrase>>,
}

impl Synonyms {
    /// Reads a list.
    pub fn parse(text: &str) -> Result<Self, SynonymError> {
        let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let list: List = toml::from_str(text).map_err(|error| SynonymError::Syntax {
            line: line(error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        if list.synonyms.len() > ENTRIES_MAX {
            return Err(SynonymError::TooMany(list.synonyms.len()));
        }
        let mut new = Self::default();
        for (index, entry) in list.synonyms.iter().enumerate() {
            let refuse = |reason| SynonymError::Entry { line: line(entry.span().start), entry: index + 1, reason };
            new.add(entry.get_ref()).map_err(refuse)?;
        }
        Ok(new)
    }

    /// The small list that comes with the program.
    pub fn built_in() -> Self {
        // A test reads the same file, so nothing is lost here that could be said.
        Self::parse(BUILT_IN).unwrap_or_default()
    }

    /// Both lists.
    pub fn with(mut self, other: Self) -> Self {
        for (key, phrases) in other.phrases {
            let own = self.phrases.entry(key).or_default();
            own.extend(phrases);
            own.sort_unstable();
            own.dedup();
        }
        self
    }

    /// How many phrases have others that stand for them.
    pub fn len(&self) -> usize {
        self.phrases.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.phrases.is_empty()
    }

    /// What stands for any phrase among the words, and which words the phrase is.
    pub(crate) fn find(&self, words: &[&str], languages: &[Language]) -> Vec<(Range<usize>, Phrase)> {
        let mut found = Vec::new();
        if self.phrases.is_empty() {
            return found;
        }
        for language in languages.iter().copied().filter(|language| *language != Language::Neutral).chain([Language::Neutral]) {
            let stems: Vec<_> = words.iter().map(|word| language.stem(word)).collect();
            for start in 0..words.len() {
                for end in start + 1..=words.len().min(start + PHRASE_WORDS_MAX) {
                    let others = self.phrases.get(&(language, stems[start..end].join(" ")));
                    found.extend(others.into_iter().flatten().map(|phrase| (start..end, phrase.clone())));
                }
            }
        }
        found.sort_unstable_by(|a, b| (a.0.start, a.0.end, &a.1).cmp(&(b.0.start, b.0.end, &b.1)));
        found.dedup();
        found
    }

    fn add(&mut self, entry: &Entry) -> Result<(), String> {
        let language = match &entry.language {
            None => Language::Neutral,
            Some(code) => match Language::from_locale(code) {
                Language::Neutral => {
                    return Err(format!("the language {code:?} is not known; left out, the entry counts in every language"));
                }
                language => language,
            },
        };
        let both_ways = !entry.words.is_empty();
        let one_way = !entry.from.is_empty() || !entry.to.is_empty();
        match (both_ways, one_way) {
            (true, false) if entry.words.len() >= 2 => self.connect(language, &phrases(&entry.words)?, None),
            (false, true) if !entry.from.is_empty() && !entry.to.is_empty() => {
                self.connect(language, &phrases(&entry.from)?, Some(&phrases(&entry.to)?));
            }
            (true, false) => return Err("`words` needs two or more".into()),
            (false, true) => return Err("`from` and `to` belong together".into()),
            (true, true) => return Err("either `words`, or `from` and `to`".into()),
            (false, false) => return Err("neither `words` nor `from` and `to`".into()),
        }
        Ok(())
    }

    fn connect(&mut self, language: Language, from: &[Phrase], to: Option<&[Phrase]>) {
        for phrase in from {
            let stems: Vec<_> = phrase.iter().map(|word| language.stem(word)).collect();
            let others = to.unwrap_or(from).iter().filter(|other| *other != phrase).cloned();
            let known = self.phrases.entry((language, stems.join(" "))).or_default();
            known.extend(others);
            known.sort_unstable();
            known.dedup();
        }
    }
}

fn phrases(texts: &[String]) -> Result<Vec<Phrase>, String> {
    if texts.len() > PHRASES_MAX {
        return Err(format!("at most {PHRASES_MAX} phrases, these are {}", texts.len()));
    }
    texts.iter().map(|text| phrase(text)).collect()
}

fn phrase(text: &str) -> Result<Phrase, String> {
    let words: Vec<_> = query_text(text, PHRASE_WORDS_MAX + 1).words.into_iter().map(|word| word.text).collect();
    match words.len() {
        0 => Err(format!("{text:?} has no letter or digit")),
        1..=PHRASE_WORDS_MAX => Ok(words),
        _ => Err(format!("{text:?} has more than {PHRASE_WORDS_MAX} words")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(list: &Synonyms, text: &str, languages: &[Language]) -> Vec<(Range<usize>, String)> {
        let words: Vec<&str> = text.split(' ').collect();
        list.find(&words, languages).into_iter().map(|(range, phrase)| (range, phrase.join(" "))).collect()
    }

    #[test]
    fn the_built_in_list_is_sound() {
        let list = Synonyms::parse(BUILT_IN).expect("a list");
        assert!(list.len() > 100, "{}", list.len());
        assert!(!list.is_empty());
        assert!(found(&list, "sneakers", &[Language::English]).iter().any(|(_, phrase)| phrase == "trainers"));
    }

    #[test]
    fn phrases_are_found_in_their_languages_by_any_form() {
        let list = Synonyms::parse(
            "[[synonyms]]\nlanguage = 'en'\nwords = ['sofa', 'couch']\n[[synonyms]]\nfrom = ['telly']\nto = ['TV set']\n\
             [[synonyms]]\nlanguage = 'en'\nwords = ['t-shirt', 'tee']",
        )
        .expect("a list");
        let english = [Language::English];
        assert_eq!(found(&list, "red sofas", &english), [(1..2, "couch".into())]);
        assert_eq!(found(&list, "red sofas", &[Language::German]), []);
        assert_eq!(found(&list, "telly", &[]), [(0..1, "tv set".into())]);
        assert_eq!(found(&list, "tv set", &english), []);
        assert_eq!(found(&list, "black t shirts", &english), [(1..3, "tee".into())]);
        let both = list.with(Synonyms::parse("[[synonyms]]\nlanguage='en'\nwords = ['couch', 'settee', 'sofa']").expect("a list"));
        assert_eq!(found(&both, "sofa", &english), [(0..1, "couch".into()), (0..1, "settee".into())]);
    }

    #[test]
    fn errors_name_line_and_entry() {
        let cases = [
            ("[[synonyms]]\nwords = ['a', 'b']\n\n[[synonyms]]\nwords = ['a']", "synonyms, entry 2 (line 4): `words` needs two or more"),
            ("[[synonyms]]\nwords = ['a', '--']", "synonyms, entry 1 (line 1): \"--\" has no letter or digit"),
            ("[[synonyms]]\nwords = ['a', 'b c d e f g h i j']", "synonyms, entry 1 (line 1): \"b c d e f g h i j\" has more than 8 words"),
            ("[[synonyms]]\nfrom = ['a']", "synonyms, entry 1 (line 1): `from` and `to` belong together"),
            (
                "[[synonyms]]\nfrom = ['a']\nto = ['b']\nwords = ['c', 'd']",
                "synonyms, entry 1 (line 1): either `words`, or `from` and `to`",
            ),
            ("[[synonyms]]", "synonyms, entry 1 (line 1): neither `words` nor `from` and `to`"),
            (
                "[[synonyms]]\nlanguage = 'xx'\nwords = ['c', 'd']",
                "synonyms, entry 1 (line 1): the language \"xx\" is not known; left out, the entry counts in every language",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Synonyms::parse(text).expect_err(text).to_string(), expected);
        }
        for (text, line) in [("\n\nwords = [", 3), ("[[synonyms]]\nword = ['a', 'b']", 2), ("[[synonyms]]\n\nwords = 7", 3)] {
            let error = Synonyms::parse(text).expect_err(text);
            assert!(matches!(error, SynonymError::Syntax { line: found, .. } if found == line), "{text:?}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_text_is_a_list_or_an_error(text in "\\PC{0,80}|\\[\\[synonyms\\]\\]\n(words|from|to|language) = \\PC{0,20}") {
            let _ = Synonyms::parse(&text).map_err(|error| error.to_string());
        }
    }
}
