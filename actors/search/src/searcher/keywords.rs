//! Search by words in one committed state of the keyword index. Words are plain: no character of a query has a meaning of its
//! own, so no query is an error.

use std::collections::HashSet;

use domain::{Product, ProductId};
use protocol::search::SearchError;
use tantivy::query::{BooleanQuery, BoostQuery, DisjunctionMaxQuery, FuzzyTermQuery, Occur, Query, TermQuery};
use tantivy::schema::{FAST, Field, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions};
use tantivy::{TantivyDocument, Term};

use super::collector::BestById;
use crate::logic::words::{Word, code, query_words};

/// The name of the tokenizer in the schema.
pub(crate) const TOKENIZER: &str = "words";
/// Words of a query that count; the rest is ignored.
const QUERY_WORDS_MAX: usize = 32;
/// Characters of a query that are read.
const QUERY_CHARS_MAX: usize = 1_000;
/// How much a match in a field counts.
const WEIGHTS: [(&str, f32); 4] = [("title", 3.0), ("brand", 2.0), ("category", 1.5), ("attributes", 1.0)];
/// An identifier asked for goes before everything else.
const CODE_WEIGHT: f32 = 100.0;
/// A word that only begins like the last one of the query, beside one that is equal.
const BEGINNING_WEIGHT: f32 = 0.5;
/// What matches in further fields add to the best one.
const FURTHER_FIELDS_WEIGHT: f32 = 0.1;
/// The least characters that a beginning is searched by (one is enough where a character is a word).
const BEGINNING_CHARS_MIN: usize = 2;

/// The fields of the keyword index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    pub(crate) id: Field,
    code: Field,
    texts: [Field; WEIGHTS.len()],
}

/// The schema of the keyword index.
pub(crate) fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let words = TextFieldIndexing::default().set_tokenizer(TOKENIZER).set_index_option(IndexRecordOption::WithFreqs);
    let words = TextOptions::default().set_indexing_options(words);
    let id = schema.add_text_field("id", STRING | FAST);
    let code = schema.add_text_field("code", STRING);
    let texts = WEIGHTS.map(|(name, _)| schema.add_text_field(name, words.clone()));
    (schema.build(), Fields { id, code, texts })
}

impl Fields {
    /// What the index keeps of a product.
    pub(crate) fn document(&self, product: &Product) -> TantivyDocument {
        let [title, brand, category, attributes] = self.texts;
        let mut document = TantivyDocument::default();
        document.add_text(self.id, product.id.as_str());
        document.add_text(title, &product.title);
        product.brand.iter().for_each(|text| document.add_text(brand, text));
        let names = product.categories.iter().flat_map(|path| &path.0).collect::<HashSet<_>>();
        names.into_iter().for_each(|text| document.add_text(category, text));
        product.attributes.values().flatten().for_each(|value| document.add_text(attributes, &value.value));
        let mut options: HashSet<&str> = product.variants.iter().flat_map(|variant| variant.options.values().map(String::as_str)).collect();
        options.extend(product.variants.iter().filter_map(|variant| variant.title.as_deref()));
        options.into_iter().for_each(|text| document.add_text(attributes, text));
        codes(product).into_iter().for_each(|text| document.add_text(self.code, text));
        document
    }
}

/// Everything that names the product or one of its variants exactly.
fn codes(product: &Product) -> HashSet<String> {
    let own = [Some(product.id.as_str()), product.sku.as_deref(), product.gtin.as_deref(), product.mpn.as_deref()];
    let variants = product.variants.iter().flat_map(|variant| [Some(variant.id.as_str()), variant.sku.as_deref(), variant.gtin.as_deref()]);
    own.into_iter().chain(variants).flatten().filter_map(code).collect()
}

/// One committed state of the keyword index.
pub(crate) struct KeywordSnapshot {
    pub(crate) searcher: tantivy::Searcher,
    pub(crate) fields: Fields,
    /// Whether it holds the whole catalog; not while it is made anew.
    pub(crate) is_complete: bool,
}

impl KeywordSnapshot {
    /// Products that hold all words, best first with their BM25 score, equal ones by id; where none does, those that hold any.
    pub(crate) fn search(&self, words: &str, limit: usize, exclude: &HashSet<&str>) -> Result<Vec<(ProductId, f32)>, SearchError> {
        let words = words.char_indices().nth(QUERY_CHARS_MAX).map_or(words, |(end, _)| &words[..end]);
        let parsed = query_words(words, QUERY_WORDS_MAX);
        if parsed.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let found = self.find(&self.query(words, &parsed, Occur::Must), limit, exclude)?;
        let is_one_term = parsed.len() == 1 && parsed[0].parts.len() == 1;
        if !found.is_empty() || is_one_term {
            return Ok(found);
        }
        self.find(&self.query(words, &parsed, Occur::Should), limit, exclude)
    }

    fn find(&self, query: &dyn Query, limit: usize, exclude: &HashSet<&str>) -> Result<Vec<(ProductId, f32)>, SearchError> {
        let collector = BestById { id_field: "id", limit: limit + exclude.len() };
        let found = self.searcher.search(query, &collector).map_err(|error| SearchError::Index(error.to_string()))?;
        let wanted = found.into_iter().filter(|(id, _)| !exclude.contains(id.as_str())).take(limit);
        Ok(wanted.filter_map(|(id, score)| Some((id.parse().ok()?, score))).collect())
    }

    /// The whole query as an identifier, or each (`Must`) or any (`Should`) of its words.
    fn query(&self, text: &str, words: &[Word], occur: Occur) -> BooleanQuery {
        let last = words.len() - 1;
        let each = words.iter().enumerate().map(|(index, word)| (occur, self.word(word, occur, index == last))).collect();
        let mut either: Vec<(Occur, Box<dyn Query>)> = vec![(Occur::Should, Box::new(BooleanQuery::new(each)))];
        either.extend(self.code(text).map(|query| (Occur::Should, query)));
        BooleanQuery::new(either)
    }

    fn word(&self, word: &Word, occur: Occur, is_last: bool) -> Box<dyn Query> {
        let last = word.parts.len() - 1;
        let parts = word.parts.iter().enumerate().map(|(index, part)| (occur, self.term(part, is_last && index == last)));
        let mut either: Vec<Box<dyn Query>> = vec![Box::new(BooleanQuery::new(parts.collect()))];
        if let Some(joined) = &word.joined {
            either.push(self.term(joined, is_last));
            either.extend(self.code(joined));
        }
        Box::new(DisjunctionMaxQuery::new(either))
    }

    /// One term in any field, the best field counting; `begins` also finds what only begins like it.
    fn term(&self, text: &str, begins: bool) -> Box<dyn Query> {
        let begins = begins && (text.chars().count() >= BEGINNING_CHARS_MIN || !text.is_ascii());
        let mut fields: Vec<Box<dyn Query>> = Vec::with_capacity(2 * WEIGHTS.len() + 1);
        for (field, (_, weight)) in self.fields.texts.into_iter().zip(WEIGHTS) {
            let term = Term::from_field_text(field, text);
            if begins {
                let beginning = Box::new(FuzzyTermQuery::new_prefix(term.clone(), 0, false));
                fields.push(Box::new(BoostQuery::new(beginning, weight * BEGINNING_WEIGHT)));
            }
            let equal = Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs));
            fields.push(Box::new(BoostQuery::new(equal, weight)));
        }
        fields.extend(self.code(text));
        Box::new(DisjunctionMaxQuery::with_tie_breaker(fields, FURTHER_FIELDS_WEIGHT))
    }

    fn code(&self, text: &str) -> Option<Box<dyn Query>> {
        let term = Term::from_field_text(self.fields.code, &code(text)?);
        let equal = Box::new(TermQuery::new(term, IndexRecordOption::Basic));
        Some(Box::new(BoostQuery::new(equal, CODE_WEIGHT)))
    }
}
