//! Which language a product's texts are in, where its feed does not say: by script, letters, stop words, trigrams (whatlang), and
//! by what the rest of the catalog is in.

use whatlang::{Detector, Lang};

use crate::language::Language;
use crate::text::fold;

/// Characters that are looked at.
const CHARS_MAX: usize = 400;
/// What each kind of evidence counts; a language needs no least sum.
const LETTER_WEIGHT: f64 = 3.0;
const STOP_WORD_WEIGHT: f64 = 1.0;
const TRIGRAM_WEIGHT: f64 = 3.0;
/// What the share of the catalog counts; below what a single letter of a language counts.
const PRIOR_WEIGHT: f64 = 2.5;

/// What English has from the start: names of things are English in all shops.
const ENGLISH_SCORE: f64 = 0.5;

/// The languages of Latin script, as whatlang names them.
const LATIN: [(Language, Lang); 15] = [
    (Language::English, Lang::Eng),
    (Language::German, Lang::Deu),
    (Language::French, Lang::Fra),
    (Language::Czech, Lang::Ces),
    (Language::Spanish, Lang::Spa),
    (Language::Italian, Lang::Ita),
    (Language::Dutch, Lang::Nld),
    (Language::Portuguese, Lang::Por),
    (Language::Swedish, Lang::Swe),
    (Language::Danish, Lang::Dan),
    (Language::Norwegian, Lang::Nob),
    (Language::Finnish, Lang::Fin),
    (Language::Hungarian, Lang::Hun),
    (Language::Romanian, Lang::Ron),
    (Language::Turkish, Lang::Tur),
];

/// How many products there are of each language.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prior(pub(crate) Vec<(Language, u64)>);

impl Prior {
    pub(crate) fn count(&mut self, language: Language, products: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == language) {
            Some((_, count)) => *count += products,
            None => self.0.push((language, products)),
        }
    }

    fn share(&self, language: Language) -> f64 {
        let all: u64 = self.0.iter().map(|(_, products)| products).sum();
        let own = self.0.iter().find(|(known, _)| *known == language).map_or(0, |(_, products)| *products);
        own as f64 / all.max(1) as f64
    }
}

/// The language of a text.
pub(crate) fn detect(title: &str, description: &str, prior: &Prior) -> Language {
    let text: String = title.chars().chain([' ']).chain(description.chars()).take(CHARS_MAX).collect();
    match main_script(&text) {
        Script::Japanese => Language::Japanese,
        Script::Cyrillic if !text.contains(['і', 'ї', 'є', 'ґ', 'ў', 'ђ', 'ћ', 'љ', 'њ']) => Language::Russian,
        Script::Latin => latin(&text, prior),
        Script::Cyrillic | Script::Other => Language::Neutral,
    }
}

enum Script {
    Latin,
    Cyrillic,
    Japanese,
    Other,
}

/// The script of most letters; kana makes a text Japanese even between Latin names.
fn main_script(text: &str) -> Script {
    let (mut latin, mut cyrillic, mut kana, mut other) = (0, 0, 0, 0);
    for c in text.chars().filter(|c| c.is_alphabetic()) {
        match c {
            '\u{41}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => latin += 1,
            '\u{400}'..='\u{52f}' => cyrillic += 1,
            '\u{3040}'..='\u{30ff}' => kana += 1,
            _ => other += 1,
        }
    }
    match () {
        () if kana > 0 => Script::Japanese,
        // Brands are written in Latin letters in all languages.
        () if 2 * cyrillic >= latin && cyrillic > 0 => Script::Cyrillic,
        () if latin >= other => Script::Latin,
        () => Script::Other,
    }
}

fn latin(text: &str, prior: &Prior) -> Language {
    let folded = fold(text);
    let words: Vec<&str> = folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let lower = text.to_lowercase();
    let guess = Detector::with_allowlist(LATIN.iter().map(|(_, lang)| *lang).collect()).detect(text);
    let mut best = (Language::English, f64::MIN);
    for (language, lang) in LATIN {
        let letters = lower.chars().filter(|c| own_letters(language).contains(*c)).count();
        let trigrams = guess.as_ref().filter(|guess| guess.lang() == lang).map_or(0.0, |guess| {
            // A short text in few trigrams: little trust.
            let trust = (words.len() as f64 / 12.0).min(1.0);
            guess.confidence() * trust * TRIGRAM_WEIGHT
        });
        let stop_words = language.stop_words_among(words.iter().copied().filter(|word| word.len() > 1));
        let score = LETTER_WEIGHT * (letters as f64).sqrt()
            + STOP_WORD_WEIGHT * stop_words as f64
            + trigrams
            + PRIOR_WEIGHT * prior.share(language)
            + if language == Language::English { ENGLISH_SCORE } else { 0.0 };
        if score > best.1 {
            best = (language, score);
        }
    }
    best.0
}

/// Letters that hardly another of these languages has.
fn own_letters(language: Language) -> &'static str {
    match language {
        Language::Czech => "ěřůčžšťďňý",
        Language::German => "ßäöü",
        Language::French => "çœèêâîùë",
        Language::Spanish => "ñ¿¡ó",
        Language::Portuguese => "ãõç",
        Language::Hungarian => "őűöü",
        Language::Turkish => "ğışİ",
        Language::Romanian => "ățșţ",
        Language::Swedish => "åäö",
        Language::Danish | Language::Norwegian => "æøå",
        Language::Finnish => "äö",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_by_table() {
        let cases = [
            ("Herrenhemd aus Öko-Baumwolle, weiß", "de"),
            ("Akkuschrauber mit Koffer für den Garten", "de"),
            ("Příklepová vrtačka Makita 18V", "cs"),
            ("Nabíječka Movano 19.5V 4.62A pro Dell", "cs"),
            ("Collier en argent plaqué œil-de-tigre", "fr"),
            ("Bague anti stress ajustable soleil rotatif. Bijoux en acier inoxydable, résistent à l'eau et au temps", "fr"),
            ("Ёлочная игрушка стеклянная", "ru"),
            ("Наушники Sony WH-1000XM4", "ru"),
            ("メンズ 靴下 3足セット", "ja"),
            ("Google壁画トート", "ja"),
            ("中文鞋子", ""),
            ("Camiseta de algodón para hombre con cuello redondo", "es"),
            ("Nike Men Town T-Shirt", "en"),
            ("Black and grey printed medium trolley bag, secured with a TSA lock", "en"),
            ("Зимові черевики для дітей її", ""),
            ("", "en"),
            ("12345", "en"),
        ];
        for (text, expected) in cases {
            assert_eq!(detect(text, "", &Prior::default()).code(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_name_that_says_nothing_is_in_the_language_of_the_catalog() {
        let mut prior = Prior::default();
        prior.count(Language::Czech, 90);
        prior.count(Language::English, 10);
        assert_eq!(detect("Dell Latitude 7490 i5 16GB", "", &prior), Language::Czech);
        assert_eq!(detect("The shirt with the stripes of the sea and a belt for the man", "", &prior), Language::English);
    }
}
