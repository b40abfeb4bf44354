//! What the index keeps of a product, and the fields it keeps it in.
//!
//! All texts of a product go into one field, each word as often as the field it comes from weighs: term frequency and length are
//! then those of BM25F with integer weights (Robertson, Zaragoza and Taylor, "Simple BM25 extension to multiple weighted fields",
//! CIKM 2004), and one posting list a word is all that a search reads.

use std::collections::{BTreeMap, HashSet};

use domain::Product;
use tantivy::TantivyDocument;
use tantivy::schema::{FAST, Field, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use crate::language::Language;
use crate::text::{code, fold, index_words, runs};
use crate::vocabulary::LANGUAGE_MARK;

/// The name of the tokenizer in the schema.
pub(crate) const TOKENIZER: &str = "weighted";
/// Stands between a word and its weight in the texts that the tokenizer reads, and ends each.
const WEIGHT_MARK: char = '\u{2}';
const WORD_END: char = '\u{3}';

/// How much a word counts in each text of a product.
const TITLE_WEIGHT: u32 = 8;
/// What the noun of a title counts beside: `dress` in `summer dress`, not in `dress shirt`.
const HEAD_WEIGHT: u32 = 3;
const BRAND_WEIGHT: u32 = 5;
const CATEGORY_WEIGHT: u32 = 4;
const ATTRIBUTE_WEIGHT: u32 = 3;
const DESCRIPTION_WEIGHT: u32 = 1;
/// The most that a word of a product counts.
const WEIGHT_MAX: u32 = 24;

/// Words that are kept of the attributes, options and variants of a product.
const ATTRIBUTE_WORDS_MAX: usize = 400;
/// Characters of a description that are kept.
const DESCRIPTION_CHARS_MAX: usize = 600;
/// Characters of any other text that are kept.
const TEXT_CHARS_MAX: usize = 1_000;
/// Codes that are kept of a product.
const CODES_MAX: usize = 2_000;
/// Words of a title whose sequences are kept.
const SEQUENCE_WORDS_MAX: usize = 40;

/// The fields of the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    pub(crate) id: Field,
    pub(crate) code: Field,
    pub(crate) words: Field,
    /// Two words of a title that follow one another, a blank between.
    pub(crate) sequences: Field,
    /// A folded word and how it was written, where that is another.
    pub(crate) spellings: Field,
    /// Names as they were written.
    pub(crate) brands: Field,
    pub(crate) categories: Field,
    pub(crate) language: Field,
}

/// The schema of the index.
pub(crate) fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let words = TextFieldIndexing::default().set_tokenizer(TOKENIZER).set_index_option(IndexRecordOption::WithFreqs);
    let id = schema.add_text_field("id", STRING | FAST);
    let code = schema.add_text_field("code", STRING);
    let words = schema.add_text_field("words", TextOptions::default().set_indexing_options(words));
    let [sequences, spellings, brands, categories, language] =
        ["sequences", "spellings", "brands", "categories", "language"].map(|name| schema.add_text_field(name, STRING));
    (schema.build(), Fields { id, code, words, sequences, spellings, brands, categories, language })
}

impl Fields {
    /// What the index keeps of a product whose texts are in `language`.
    pub(crate) fn document(&self, product: &Product, language: Language) -> TantivyDocument {
        let mut document = TantivyDocument::default();
        document.add_text(self.id, product.id.as_str());
        document.add_text(self.language, language.code());
        document.add_text(self.words, weighted_words(product, language));
        codes(product).into_iter().for_each(|text| document.add_text(self.code, text));
        sequences(&product.title).into_iter().for_each(|text| document.add_text(self.sequences, text));
        spellings(product).into_iter().for_each(|text| document.add_text(self.spellings, text));
        product.brand.iter().for_each(|text| document.add_text(self.brands, bounded(text, TEXT_CHARS_MAX)));
        let categories: HashSet<_> = product.categories.iter().flat_map(|path| &path.0).collect();
        categories.into_iter().for_each(|text| document.add_text(self.categories, bounded(text, TEXT_CHARS_MAX)));
        document
    }
}

/// Every word with its weight, in the form that [`WeightedTokenizer`] reads.
fn weighted_words(product: &Product, language: Language) -> String {
    let mut weights: BTreeMap<String, u32> = BTreeMap::new();
    let mut add = |text: &str, weight: u32| {
        index_words(&fold(bounded(text, TEXT_CHARS_MAX)), |word| *weights.entry(word.to_owned()).or_default() += weight);
    };
    add(&product.title, TITLE_WEIGHT);
    if let Some(head) = head(&fold(bounded(&product.title, TEXT_CHARS_MAX)), language) {
        add(&head, HEAD_WEIGHT);
    }
    product.brand.iter().for_each(|brand| add(brand, BRAND_WEIGHT));
    let categories: HashSet<_> = product.categories.iter().flat_map(|path| &path.0).collect();
    categories.into_iter().for_each(|name| add(name, CATEGORY_WEIGHT));
    let values = product.attributes.values().flatten().map(|value| value.value.as_str());
    let options = product.variants.iter().flat_map(|variant| variant.options.values().map(String::as_str).chain(variant.title.as_deref()));
    let mut known = HashSet::new();
    values.chain(options).filter(|text| known.insert(*text)).take(ATTRIBUTE_WORDS_MAX).for_each(|text| add(text, ATTRIBUTE_WEIGHT));
    let mut described = HashSet::new();
    index_words(&fold(bounded(&product.description, DESCRIPTION_CHARS_MAX)), |word| {
        described.insert(word.to_owned());
    });
    for word in described.into_iter().filter(|word| !language.is_stop_word(word)) {
        weights.entry(word).or_insert(DESCRIPTION_WEIGHT);
    }
    let code = language.code();
    let mut text = String::with_capacity(weights.len() * 16);
    for (word, weight) in weights {
        text.push(char::from_u32(u32::from('0') + weight.min(WEIGHT_MAX)).unwrap_or('1'));
        text.push(WEIGHT_MARK);
        text.push_str(&word);
        text.push(LANGUAGE_MARK);
        text.push_str(code);
        text.push(WORD_END);
    }
    text
}

/// The word of a folded title that says what the thing is: the first one in languages that put it first, else the last one
/// before a preposition, a mark or a number.
fn head(title: &str, language: Language) -> Option<String> {
    let is_word = |word: &str| word.chars().nth(2).is_some() && word.chars().all(char::is_alphabetic);
    let phrase = title.split([',', '(', '[', '|', ';', ':', '/']).next().unwrap_or(title);
    let phrase = phrase.split(" - ").next().unwrap_or(phrase);
    let mut words = phrase.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
    if language.is_head_first() {
        return words.find(|word| is_word(word)).map(str::to_owned);
    }
    let mut before: Option<&str> = None;
    for word in words {
        if before.is_some() && language.is_stop_word(word) && word != "and" && word != "und" {
            break;
        }
        if word.split('-').all(is_word_part) {
            before = Some(word).filter(|word| is_word(word) || word.contains('-')).or(before);
        }
    }
    before.map(str::to_owned)
}

fn is_word_part(part: &str) -> bool {
    !part.is_empty() && part.chars().all(char::is_alphabetic)
}

/// Neighbours within a title, folded.
fn sequences(title: &str) -> HashSet<String> {
    let folded = fold(bounded(title, TEXT_CHARS_MAX));
    let words: Vec<_> = runs(&folded).take(SEQUENCE_WORDS_MAX).collect();
    let spaced = words.windows(2).filter(|pair| pair.iter().all(|run| !run.is_paired && run.text.len() <= 64));
    spaced.map(|pair| format!("{} {}", pair[0].text, pair[1].text)).collect()
}

/// Words of a title that are written otherwise than they are compared, small letters apart.
fn spellings(product: &Product) -> HashSet<String> {
    let lower = bounded(&product.title, TEXT_CHARS_MAX).to_lowercase();
    if lower.is_ascii() {
        return HashSet::new();
    }
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_ascii() && word.len() <= 128);
    words
        .map(|word| (fold(word), word))
        .filter(|(folded, word)| folded != word)
        .map(|(folded, word)| format!("{folded}{LANGUAGE_MARK}{word}"))
        .collect()
}

/// Everything that names the product or one of its variants exactly.
fn codes(product: &Product) -> HashSet<String> {
    let own = [Some(product.id.as_str()), product.sku.as_deref(), product.gtin.as_deref(), product.mpn.as_deref()];
    let variants = product.variants.iter().flat_map(|variant| [Some(variant.id.as_str()), variant.sku.as_deref(), variant.gtin.as_deref()]);
    own.into_iter().chain(variants).flatten().filter_map(code).take(CODES_MAX).collect()
}

fn bounded(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}

/// Reads the texts that [`Fields::document`] writes: each word as often as it weighs.
#[derive(Clone, Default)]
pub(crate) struct WeightedTokenizer;

pub(crate) struct WeightedStream<'a> {
    rest: &'a str,
    left: u32,
    token: Token,
}

impl Tokenizer for WeightedTokenizer {
    type TokenStream<'a> = WeightedStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WeightedStream<'a> {
        WeightedStream { rest: text, left: 0, token: Token::default() }
    }
}

impl TokenStream for WeightedStream<'_> {
    fn advance(&mut self) -> bool {
        if self.left == 0 {
            let Some((entry, rest)) = self.rest.split_once(WORD_END) else { return false };
            let Some((weight, word)) = entry.split_once(WEIGHT_MARK) else { return false };
            self.rest = rest;
            self.left = weight.chars().next().map_or(1, |c| u32::from(c).saturating_sub(u32::from('0'))).clamp(1, WEIGHT_MAX);
            self.token.text.clear();
            self.token.text.push_str(word);
        }
        self.left -= 1;
        self.token.position = self.token.position.wrapping_add(1);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_by_table() {
        for (title, language, expected) in [
            ("nike men running shoes", Language::English, Some("shoes")),
            ("bag for men", Language::English, Some("bag")),
            ("nike men town t-shirt", Language::English, Some("t-shirt")),
            ("camera 20 mp", Language::English, Some("camera")),
            ("camera, black", Language::English, Some("camera")),
            ("collier en argent", Language::French, Some("collier")),
            ("herrenhemd aus baumwolle", Language::German, Some("herrenhemd")),
            ("12 34", Language::English, None),
            ("", Language::English, None),
        ] {
            assert_eq!(head(title, language).as_deref(), expected, "{title}");
        }
    }

    #[test]
    fn words_weigh_what_their_texts_weigh() {
        let mut product = Product::new("p".parse().expect("an id"), "Red shoe");
        product.brand = Some("Shoe & Co".into());
        product.description = "A red, comfortable shoe".into();
        let text = weighted_words(&product, Language::English);
        let mut tokenizer = WeightedTokenizer;
        let mut stream = tokenizer.token_stream(&text);
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        while stream.advance() {
            *counts.entry(stream.token().text.clone()).or_default() += 1;
        }
        let expected = [
            ("co", BRAND_WEIGHT),
            ("comfortable", DESCRIPTION_WEIGHT),
            ("red", TITLE_WEIGHT),
            ("shoe", TITLE_WEIGHT + HEAD_WEIGHT + BRAND_WEIGHT),
        ];
        let expected: BTreeMap<_, _> = expected.into_iter().map(|(word, weight)| (format!("{word}\u{1}en"), weight)).collect();
        assert_eq!(counts, expected);
    }

    #[test]
    fn spellings_and_sequences_by_table() {
        let product = Product::new("p".parse().expect("an id"), "Příklepová Vrtačka Makita");
        let mut spellings: Vec<_> = spellings(&product).into_iter().collect();
        spellings.sort();
        assert_eq!(spellings, ["priklepova\u{1}příklepová", "vrtacka\u{1}vrtačka"]);
        let mut sequences: Vec<_> = sequences(&product.title).into_iter().collect();
        sequences.sort();
        assert_eq!(sequences, ["priklepova vrtacka", "vrtacka makita"]);
    }
}
