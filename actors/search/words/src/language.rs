//! The languages that words are analysed in: stems, stop words, and where the head of a name stands.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use tantivy::tokenizer::{Language as Snowball, RawTokenizer, Stemmer, TextAnalyzer, TokenStream};

use crate::czech;

/// One line a language: its code, then its stop words, folded.
const STOP_WORDS: &str = include_str!("data/stopwords.txt");
/// Words shorter than this have no stem but themselves.
const STEM_CHARS_MIN: usize = 3;
/// English plurals that no rule makes, folded.
const IRREGULAR: [(&str, &str); 17] = [
    ("men", "man"),
    ("women", "woman"),
    ("children", "child"),
    ("feet", "foot"),
    ("teeth", "tooth"),
    ("mice", "mouse"),
    ("geese", "goose"),
    ("knives", "knife"),
    ("wives", "wife"),
    ("scarves", "scarf"),
    ("shelves", "shelf"),
    ("leaves", "leaf"),
    ("loaves", "loaf"),
    ("halves", "half"),
    ("calves", "calf"),
    ("wolves", "wolf"),
    ("people", "person"),
];

/// A language that words are analysed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Language {
    /// Any other: words are compared as they are.
    Neutral,
    Czech,
    Danish,
    Dutch,
    English,
    Finnish,
    French,
    German,
    Hungarian,
    Italian,
    Japanese,
    Norwegian,
    Portuguese,
    Romanian,
    Russian,
    Spanish,
    Swedish,
    Turkish,
}

impl Language {
    /// All of them, with the code (ISO 639-1) that locales begin with.
    pub const ALL: [(Self, &'static str); 18] = [
        (Self::Neutral, ""),
        (Self::Czech, "cs"),
        (Self::Danish, "da"),
        (Self::Dutch, "nl"),
        (Self::English, "en"),
        (Self::Finnish, "fi"),
        (Self::French, "fr"),
        (Self::German, "de"),
        (Self::Hungarian, "hu"),
        (Self::Italian, "it"),
        (Self::Japanese, "ja"),
        (Self::Norwegian, "no"),
        (Self::Portuguese, "pt"),
        (Self::Romanian, "ro"),
        (Self::Russian, "ru"),
        (Self::Spanish, "es"),
        (Self::Swedish, "sv"),
        (Self::Turkish, "tr"),
    ];

    /// The language of a locale (BCP 47: `de-AT`, `cs_CZ`); [`Language::Neutral`] for one that is not known here.
    pub fn from_locale(locale: &str) -> Self {
        let code = locale.split(['-', '_']).next().unwrap_or_default().trim().to_ascii_lowercase();
        let code = if matches!(code.as_str(), "nb" | "nn") { "no" } else { &code };
        Self::ALL.into_iter().find(|(_, known)| *known == code).map_or(Self::Neutral, |(language, _)| language)
    }

    /// Its code; empty for [`Language::Neutral`].
    pub fn code(self) -> &'static str {
        Self::ALL.into_iter().find(|(language, _)| *language == self).map_or("", |(_, code)| code)
    }

    /// What the forms of a folded word have in common; the word itself where the language has no stemmer or the word has a digit.
    pub(crate) fn stem(self, word: &str) -> String {
        if word.chars().nth(STEM_CHARS_MIN - 1).is_none() || word.bytes().any(|byte| byte.is_ascii_digit()) {
            return word.to_owned();
        }
        match self {
            Self::Czech => czech::stem(word),
            // `mens` is `men` first, then `man`.
            Self::English => singular(&snowball(Snowball::English, singular(word))).to_owned(),
            // Without its accent the ending of `plaquée` is one vowel more; plurals in -oux are the singular and an x.
            Self::French => {
                let singular = word.strip_suffix('s').unwrap_or(word);
                let bare = singular.strip_suffix('e').filter(|bare| bare.ends_with('e'));
                let bare = bare.or_else(|| word.strip_suffix('x').filter(|bare| bare.ends_with("ou")));
                snowball(Snowball::French, bare.unwrap_or(word))
            }
            Self::Russian => fleeting(snowball(Snowball::Russian, word)),
            other => other.snowball_language().map_or_else(|| word.to_owned(), |language| snowball(language, word)),
        }
    }

    /// Whether words of the language have stems of their own.
    pub(crate) fn has_stems(self) -> bool {
        self == Self::Czech || self.snowball_language().is_some()
    }

    /// Whether a folded word says nothing about what is wanted.
    pub(crate) fn is_stop_word(self, word: &str) -> bool {
        stop_words().get(self.code()).is_some_and(|words| words.contains(word))
    }

    /// How many of the words are stop words.
    pub(crate) fn stop_words_among<'a>(self, words: impl Iterator<Item = &'a str>) -> usize {
        let Some(known) = stop_words().get(self.code()) else { return 0 };
        words.filter(|word| known.contains(word)).count()
    }

    /// Whether words are written together to name a thing: `Herrenhemd`.
    pub(crate) fn is_compounding(self) -> bool {
        matches!(self, Self::German | Self::Dutch | Self::Swedish | Self::Danish | Self::Norwegian | Self::Finnish | Self::Hungarian)
    }

    /// Whether the noun comes before what describes it: `Collier en argent`.
    pub(crate) fn is_head_first(self) -> bool {
        matches!(self, Self::French | Self::Spanish | Self::Italian | Self::Portuguese | Self::Romanian)
    }

    fn snowball_language(self) -> Option<Snowball> {
        Some(match self {
            Self::Danish => Snowball::Danish,
            Self::Dutch => Snowball::Dutch,
            Self::English => Snowball::English,
            Self::Finnish => Snowball::Finnish,
            Self::French => Snowball::French,
            Self::German => Snowball::German,
            Self::Hungarian => Snowball::Hungarian,
            Self::Italian => Snowball::Italian,
            Self::Norwegian => Snowball::Norwegian,
            Self::Portuguese => Snowball::Portuguese,
            Self::Romanian => Snowball::Romanian,
            Self::Russian => Snowball::Russian,
            Self::Spanish => Snowball::Spanish,
            Self::Swedish => Snowball::Swedish,
            Self::Turkish => Snowball::Turkish,
            Self::Neutral | Self::Czech | Self::Japanese => return None,
        })
    }
}

fn singular(word: &str) -> &str {
    IRREGULAR.iter().find(|(plural, _)| *plural == word).map_or(word, |(_, singular)| singular)
}

fn snowball(language: Snowball, word: &str) -> String {
    let mut analyzer = TextAnalyzer::builder(RawTokenizer::default()).filter(Stemmer::new(language)).build();
    let mut stream = analyzer.token_stream(word);
    if stream.advance() { std::mem::take(&mut stream.token_mut().text) } else { word.to_owned() }
}

/// The vowel that comes and goes before the last consonant: `игрушек` and `игрушки`, `подарок` and `подарки`.
fn fleeting(stem: String) -> String {
    let letters: Vec<char> = stem.chars().collect();
    match letters.as_slice() {
        [start @ .., 'е' | 'о', 'к'] if start.len() >= 3 => start.iter().chain(&['к']).collect(),
        _ => stem,
    }
}

fn stop_words() -> &'static HashMap<&'static str, HashSet<&'static str>> {
    static WORDS: OnceLock<HashMap<&'static str, HashSet<&'static str>>> = OnceLock::new();
    WORDS.get_or_init(|| {
        let lines = STOP_WORDS.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(code, words)| (code, words.split_whitespace().collect())).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fold;

    #[test]
    fn forms_of_one_word_share_a_stem() {
        use Language::*;
        let families: [(Language, &[&str]); 24] = [
            (English, &["shoe", "shoes"]),
            (English, &["running", "run", "runs"]),
            (English, &["watch", "watches"]),
            (English, &["women", "woman"]),
            (English, &["scarf", "scarves"]),
            (English, &["mens", "men"]),
            (German, &["Hemd", "Hemden", "Hemdes"]),
            (German, &["Schuh", "Schuhe", "Schuhen"]),
            (German, &["Tuch", "Tücher"]),
            (German, &["Stuhl", "Stühle"]),
            (French, &["chaussure", "chaussures"]),
            (French, &["bijou", "bijoux"]),
            (French, &["plaqué", "plaquée", "plaquées"]),
            (French, &["chapeau", "chapeaux"]),
            (Czech, &["vrtačka", "vrtačky", "vrtaček"]),
            (Czech, &["nabíječka", "nabíječky"]),
            (Russian, &["игрушка", "игрушки", "игрушек"]),
            (Russian, &["ботинок", "ботинки"]),
            (Russian, &["синий", "синяя", "синие"]),
            (Spanish, &["camiseta", "camisetas"]),
            (Spanish, &["pantalón", "pantalones"]),
            (Italian, &["scarpa", "scarpe"]),
            (Japanese, &["靴下"]),
            (Neutral, &["buty"]),
        ];
        for (language, family) in families {
            let stems: Vec<_> = family.iter().map(|word| language.stem(&fold(word))).collect();
            assert!(stems.iter().all(|stem| *stem == stems[0]), "{family:?}: {stems:?}");
        }
        assert_eq!(English.stem("is"), "is");
        assert_eq!(English.stem("501s"), "501s");
    }

    #[test]
    fn locales_by_table() {
        let cases = [("de-AT", "de"), ("cs_CZ", "cs"), ("EN", "en"), ("nb-NO", "no"), ("zh-Hans", ""), ("", ""), ("x", "")];
        for (locale, code) in cases {
            assert_eq!(Language::from_locale(locale).code(), code, "{locale:?}");
        }
        for (language, code) in Language::ALL {
            assert_eq!((Language::from_locale(code), language.code()), (language, code));
        }
    }

    #[test]
    fn stop_words_are_folded_and_belong_to_known_languages() {
        for (code, words) in stop_words() {
            assert_ne!(Language::from_locale(code), Language::Neutral, "{code}");
            assert!(words.iter().all(|word| fold(word) == **word), "{code}: {words:?}");
        }
        assert!(Language::German.is_stop_word("fur") && !Language::English.is_stop_word("fur"));
    }
}
