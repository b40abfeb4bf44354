//! What a query may become: completions from the catalog's own words and from past queries, and "did you mean".

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::WordsError;
use crate::names::{Name, key};
use crate::query_log::QueryLog;
use crate::snapshot::Snapshot;
use crate::spelling;

/// Characters of a beginning that are read.
const CHARS_MAX: usize = 100;
/// Words of a beginning that are read.
const WORDS_MAX: usize = 8;
/// Names of a segment that are looked at for one beginning.
const SCANNED_MAX: usize = 20_000;
/// Names of a segment that may be among the best.
const KEPT_MAX: usize = 32;
/// The most suggestions.
const SUGGESTIONS_MAX: usize = 50;
/// Completions of a last word that are tried as a query.
const TRIED_MAX: usize = 3;
/// How many times more a corrected query must find to be offered.
const CLEARLY_MORE: u64 = 10;

/// Where a suggestion comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SuggestionKind {
    /// Asked before, by others.
    Query,
    /// A brand of the catalog.
    Brand,
    /// A category of the catalog.
    Category,
    /// Words of titles.
    Words,
}

/// A query that may be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// The whole query.
    pub text: String,
    /// Where it comes from.
    pub kind: SuggestionKind,
    /// Of a past query how often it is asked (decayed); else the most products that it finds, deleted ones too.
    pub count: u64,
}

/// By folded text: the best source of it.
#[derive(Default)]
struct Gathered(HashMap<String, (Suggestion, f64)>);

impl Gathered {
    fn add(&mut self, key: &str, text: String, kind: SuggestionKind, count: f64) {
        let rank = match kind {
            // People say best what people ask.
            SuggestionKind::Query => 2.0 + 1.5 * count.ln_1p(),
            SuggestionKind::Brand | SuggestionKind::Category => 1.0 + count.ln_1p(),
            SuggestionKind::Words => count.ln_1p(),
        };
        let suggestion = Suggestion { text, kind, count: count.round() as u64 };
        let known = self.0.entry(key.to_owned()).or_insert_with(|| (suggestion.clone(), rank));
        if rank > known.1 {
            *known = (suggestion, rank);
        }
    }

    fn best(self, limit: usize) -> Vec<Suggestion> {
        let mut found: Vec<_> = self.0.into_values().collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.text.cmp(&b.0.text)));
        found.into_iter().take(limit).map(|(suggestion, _)| suggestion).collect()
    }
}

impl Snapshot {
    /// What begins like `text`, best first: past queries of `log`, brands, categories, words of titles and their neighbours. Where
    /// nothing begins so, what begins nearly so.
    ///
    /// # Errors
    /// Only what the files of the index fail by.
    pub fn suggest(&self, log: &QueryLog, text: &str, limit: usize, now_seconds: u64) -> Result<Vec<Suggestion>, WordsError> {
        let limit = limit.min(SUGGESTIONS_MAX);
        let text = text.char_indices().nth(CHARS_MAX).map_or(text, |(end, _)| &text[..end]);
        let is_open = text.chars().next_back().is_some_and(char::is_alphanumeric);
        let key = key(text);
        let words: Vec<&str> = key.split(' ').filter(|word| !word.is_empty()).take(WORDS_MAX).collect();
        let found = self.gather(log, &words, is_open, limit, now_seconds)?;
        if !found.0.is_empty() || words.is_empty() {
            return Ok(found.best(limit));
        }
        let corrected = self.corrected(&words, is_open);
        let words: Vec<&str> = corrected.iter().map(String::as_str).collect();
        Ok(self.gather(log, &words, is_open, limit, now_seconds)?.best(limit))
    }

    /// The query in other words, where those find clearly more.
    ///
    /// # Errors
    /// Only what the files of the index fail by.
    pub fn did_you_mean(&self, text: &str, language: Option<&str>) -> Result<Option<String>, WordsError> {
        let planner = self.planner(language);
        let plan = planner.plan(text);
        let mut words: Vec<String> = plan.words.iter().map(|word| word.text.clone()).collect();
        let own = self.strict_total(&words.join(" "), language)?;
        let mut best = own;
        for (index, planned) in plan.words.iter().enumerate().filter(|(_, word)| word.is_required) {
            let vocabularies = self.state.segments.iter().map(|segment| segment.vocabulary());
            let candidates = spelling::candidates(vocabularies, &planned.text, false);
            let frequent = |found: &spelling::Candidate| found.word != planned.text && u64::from(found.freq) > CLEARLY_MORE * planned.freq;
            let others = candidates.into_iter().filter(frequent).map(|found| found.word);
            let before = words[index].clone();
            for other in planned.corrections.iter().cloned().chain(others) {
                words[index] = other;
                let total = self.strict_total(&words.join(" "), language)?;
                // Where other words are wrong too nothing is found yet.
                let is_open = own == 0 && best == 0 && planned.freq == 0;
                if total > best.saturating_mul(CLEARLY_MORE) || is_open {
                    best = best.max(total);
                    break;
                }
                words[index].clone_from(&before);
            }
        }
        let is_better = best > own.saturating_mul(CLEARLY_MORE) && best > 0;
        Ok(is_better.then(|| words.iter().map(|word| self.written(word)).collect::<Vec<_>>().join(" ")))
    }

    fn gather(&self, log: &QueryLog, words: &[&str], is_open: bool, limit: usize, now_seconds: u64) -> Result<Gathered, WordsError> {
        let mut found = Gathered::default();
        let typed = words.join(" ");
        let beginning = if is_open || typed.is_empty() { typed.clone() } else { format!("{typed} ") };
        for (key, text, heat) in log.complete(&beginning, limit, now_seconds) {
            found.add(key, text.to_owned(), SuggestionKind::Query, heat);
        }
        if words.is_empty() {
            return Ok(found);
        }
        self.add_names(&mut found, &beginning);
        let (head, tail) = match words {
            [] | [_] => (&[][..], beginning.as_str()),
            [head @ .., _, _] if is_open => (head, &beginning[beginning.len() - last_two(words).len()..]),
            [head @ .., last] => (head, &beginning[beginning.len() - last.len() - usize::from(!is_open)..]),
        };
        self.add_sequences(&mut found, head, tail);
        if found.0.is_empty() && is_open && words.len() > 1 {
            self.add_tried(&mut found, words)?;
        }
        Ok(found)
    }

    fn add_names(&self, found: &mut Gathered, beginning: &str) {
        let is_one_word = !beginning.contains(' ');
        let segments = &self.state.segments;
        for (kind, names) in [
            (SuggestionKind::Brand, segments.iter().map(|segment| &segment.fixed.names.brands).collect::<Vec<_>>()),
            (SuggestionKind::Category, segments.iter().map(|segment| &segment.fixed.names.categories).collect()),
            (SuggestionKind::Words, segments.iter().map(|segment| &segment.fixed.names.words).filter(|_| is_one_word).collect()),
        ] {
            for (name, products) in most(&names, beginning) {
                let text = name.written.as_ref().map_or_else(|| self.written(&name.key), |text| text.to_string());
                found.add(&name.key, text, kind, products as f64);
            }
        }
    }

    /// Neighbours in titles that begin with `tail`, behind the words before it.
    fn add_sequences(&self, found: &mut Gathered, head: &[&str], tail: &str) {
        let names: Vec<_> = self.state.segments.iter().map(|segment| &segment.fixed.names.sequences).collect();
        let mut most_products = u64::MAX;
        let tail_first = tail.split(' ').next().unwrap_or_default();
        for pair in head.iter().copied().chain([tail_first]).collect::<Vec<_>>().windows(2) {
            let products = count(&names, &pair.join(" "));
            if products == 0 {
                return;
            }
            most_products = most_products.min(products);
        }
        for (name, products) in most(&names, tail) {
            let key = head.iter().copied().chain([&*name.key]).collect::<Vec<_>>().join(" ");
            let text = key.split(' ').map(|word| self.written(word)).collect::<Vec<_>>().join(" ");
            found.add(&key, text, SuggestionKind::Words, products.min(most_products) as f64);
        }
    }

    /// The last word completed, where that finds something together with the words before.
    fn add_tried(&self, found: &mut Gathered, words: &[&str]) -> Result<(), WordsError> {
        let Some((last, head)) = words.split_last() else { return Ok(()) };
        let names: Vec<_> = self.state.segments.iter().map(|segment| &segment.fixed.names.words).collect();
        for (name, _) in most(&names, last).into_iter().take(TRIED_MAX) {
            let key = head.iter().copied().chain([&*name.key]).collect::<Vec<_>>().join(" ");
            let total = self.strict_total(&key, None)?;
            if total > 0 {
                let text = key.split(' ').map(|word| self.written(word)).collect::<Vec<_>>().join(" ");
                found.add(&key, text, SuggestionKind::Words, total as f64);
            }
        }
        Ok(())
    }

    /// Words that are not known as the likeliest known ones.
    fn corrected(&self, words: &[&str], is_open: bool) -> Vec<String> {
        let planner = self.planner(None);
        let last = words.len() - 1;
        let corrected = words.iter().enumerate().map(|(index, word)| {
            let begins = is_open && index == last;
            let is_known = planner.word_freq(word) > 0 && !begins;
            let vocabularies = self.state.segments.iter().map(|segment| segment.vocabulary());
            let found = if is_known { None } else { spelling::candidates(vocabularies, word, begins).into_iter().next() };
            found.map_or_else(|| (*word).to_owned(), |found| found.word)
        });
        corrected.collect()
    }

    /// A folded word as the catalog mostly writes it.
    fn written(&self, word: &str) -> String {
        let mut spellings: HashMap<&str, u32> = HashMap::new();
        for segment in &self.state.segments {
            if let Some((written, products)) = segment.fixed.names.spellings.get(word) {
                *spellings.entry(written).or_default() += products;
            }
        }
        let most = spellings.into_iter().max_by_key(|(written, products)| (*products, Reverse(*written)));
        let Some((written, products)) = most else { return word.to_owned() };
        let names: Vec<_> = self.state.segments.iter().map(|segment| &segment.fixed.names.words).collect();
        let all = count(&names, word);
        if 2 * u64::from(products) >= all { written.to_owned() } else { word.to_owned() }
    }
}

fn last_two(words: &[&str]) -> String {
    words[words.len() - 2..].join(" ")
}

/// The names of all segments that begin so and have most products, with all their products.
fn most<'a>(segments: &[&'a Vec<Name>], beginning: &str) -> Vec<(&'a Name, u64)> {
    let mut known: HashMap<(&str, Option<&str>), &Name> = HashMap::new();
    for names in segments {
        let start = names.partition_point(|name| &*name.key < beginning);
        let scanned = &names[start..names.len().min(start + SCANNED_MAX)];
        let end = scanned.partition_point(|name| name.key.starts_with(beginning));
        let mut begun: Vec<&Name> = scanned[..end].iter().collect();
        if begun.len() > KEPT_MAX {
            begun.select_nth_unstable_by_key(KEPT_MAX, |name| (Reverse(name.products), &name.key));
            begun.truncate(KEPT_MAX);
        }
        known.extend(begun.into_iter().map(|name| ((&*name.key, name.written.as_deref()), name)));
    }
    let mut found: Vec<_> = known.into_values().map(|name| (name, count(segments, &name.key))).collect();
    found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| (&a.0.key, &a.0.written).cmp(&(&b.0.key, &b.0.written))));
    found.truncate(KEPT_MAX);
    found
}

/// The products of all names with this key.
fn count(segments: &[&Vec<Name>], key: &str) -> u64 {
    let of = |names: &&Vec<Name>| {
        let start = names.partition_point(|name| &*name.key < key);
        names[start..].iter().take_while(|name| &*name.key == key).map(|name| u64::from(name.products)).sum::<u64>()
    };
    segments.iter().map(of).sum()
}
