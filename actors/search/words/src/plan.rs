//! What to look for: the words of a query, each with everything that may stand for it.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::language::Language;
use crate::segment::Segment;
use crate::spelling;
use crate::synonyms::Synonyms;
use crate::text::{QueryText, QueryWord, code, cut, query_text};
use crate::vocabulary::Vocabulary;

/// Words of a query that count; the rest is ignored.
pub(crate) const QUERY_WORDS_MAX: usize = 32;
/// Characters of a query that are read.
pub(crate) const QUERY_CHARS_MAX: usize = 1_000;
/// The least characters that a beginning is searched by (one is enough where a character is a word).
const BEGINNING_CHARS_MIN: usize = 2;
/// Words that one beginning finds in a segment, the most frequent ones.
const BEGINNING_WORDS_MAX: usize = 128;
/// The least characters of a part of a compound.
const PART_CHARS_MIN: usize = 4;
/// The least characters of what is left of a compound.
const REST_CHARS_MIN: usize = 3;
/// Compounds that are looked at for one part.
const COMPOUNDS_MAX: usize = 64;
/// What may stand between the parts of a compound.
const LINKS: [&str; 7] = ["", "s", "n", "en", "es", "er", "e"];
/// The least characters of a code whose beginning is enough.
const CODE_CHARS_MIN: usize = 4;
/// Words that are looked up as synonyms of the words of one query.
const SYNONYMS_MAX: usize = 64;
/// Words that are tried together: `t` and `shirt`, `20` and `x` and `30`.
const JOINED_WORDS_MAX: usize = 3;
/// What a word must be less frequent than, for what it may be misspelt of to count beside it.
const RARE_FREQ_MAX: u64 = 3;
/// How many times more frequent than a rare word another must be to be what is meant.
const RARE_FACTOR_MIN: u64 = 10;

/// What each way of matching counts beside the word itself.
pub(crate) mod weight {
    pub(crate) const EXACT: f32 = 1.0;
    pub(crate) const STEM: f32 = 0.65;
    pub(crate) const JOINED: f32 = 0.9;
    pub(crate) const SPLIT: f32 = 0.8;
    pub(crate) const SYNONYM: f32 = 0.6;
    pub(crate) const HEAD_OF_COMPOUND: f32 = 0.6;
    pub(crate) const REST_OF_COMPOUND: f32 = 0.4;
    pub(crate) const BEGINNING: f32 = 0.5;
}

/// One way in which a word of the index stands for a word of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Exact(String),
    Stem(Language, String),
    Beginning(String),
    /// Compounds whose head has this stem.
    Head(String),
    /// Compounds that begin with this word.
    Rest(String),
}

/// Any of the forms, each with what it counts.
pub(crate) type Part = Vec<(Form, f32)>;

/// All of the parts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alternative {
    pub(crate) parts: Vec<Part>,
    pub(crate) weight: f32,
    /// Whether it is something else than what was asked for.
    pub(crate) is_corrected: bool,
}

/// A word of the query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedWord {
    pub(crate) text: String,
    /// Any of them.
    pub(crate) alternatives: Vec<Alternative>,
    /// Whether a product should have it.
    pub(crate) is_required: bool,
    /// The documents that the alternatives find in sum, deleted ones too: an upper bound.
    pub(crate) freq: u64,
    /// What it was taken for, likeliest first.
    pub(crate) corrections: Vec<String>,
    /// Whether words that it may be misspelt of have been looked for.
    pub(crate) is_checked: bool,
}

/// What to look for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) words: Vec<PlannedWord>,
    /// Neighbours of the query, to look for in titles, with the number of the first word.
    pub(crate) sequences: Vec<(usize, String)>,
    /// The query as an identifier.
    pub(crate) code: Option<String>,
    /// The query as the beginning of an identifier, where it looks like one.
    pub(crate) code_beginning: Option<String>,
}

/// What a plan is made from.
pub(crate) struct Planner<'a> {
    pub(crate) segments: &'a [Arc<Segment>],
    /// The languages whose forms count.
    pub(crate) languages: Vec<Language>,
    pub(crate) synonyms: &'a Synonyms,
    has_compounds: bool,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(segments: &'a [Arc<Segment>], languages: Vec<Language>, synonyms: &'a Synonyms) -> Self {
        let has_compounds = languages.iter().any(|language| language.is_compounding())
            && segments.iter().any(|segment| segment.vocabulary().has_compounds());
        Self { segments, languages, synonyms, has_compounds }
    }

    /// The plan for a text. Words that the index does not know at all are taken for others that it knows.
    pub(crate) fn plan(&self, text: &str) -> Plan {
        let text = text.char_indices().nth(QUERY_CHARS_MAX).map_or(text, |(end, _)| &text[..end]);
        let query = query_text(text, QUERY_WORDS_MAX);
        let is_open = text.chars().next_back().is_some_and(char::is_alphanumeric);
        let mut plan = Plan { code: code(text), ..Plan::default() };
        plan.code_beginning = plan.code.clone().filter(|code| is_like_a_code(code) && query.joined.len() <= 4);
        let last = query.words.len().wrapping_sub(1);
        let spelt_out = query.words.iter().any(|word| !word.is_optional && !self.is_stop_word(&word.text));
        for (index, word) in query.words.iter().enumerate() {
            let alternative = Alternative { parts: vec![self.forms(word, is_open && index == last)], weight: 1.0, is_corrected: false };
            plan.words.push(PlannedWord {
                text: word.text.clone(),
                alternatives: vec![alternative],
                is_required: !spelt_out || !(word.is_optional || self.is_stop_word(&word.text)),
                freq: 0,
                corrections: Vec::new(),
                is_checked: false,
            });
        }
        self.add_joined(&mut plan, &query, is_open);
        self.add_numbers(&mut plan, &query);
        self.add_synonyms(&mut plan);
        for word in &mut plan.words {
            word.freq = self.freq(&word.alternatives);
        }
        ease_pairs(&mut plan, &query);
        self.add_splits(&mut plan, &query, is_open);
        self.add_sequences(&mut plan, &query);
        plan
    }

    /// Words that are not known are taken for known ones; rare ones too, with `also_rare`. A bit for each word
    /// that anything was added to.
    pub(crate) fn correct(&self, plan: &mut Plan, begins_last: bool, also_rare: bool) -> u32 {
        let mut changed = 0;
        let last = plan.words.len().wrapping_sub(1);
        for (index, word) in plan.words.iter_mut().enumerate() {
            let is_rare = also_rare && word.freq <= RARE_FREQ_MAX;
            if !(word.freq == 0 || is_rare) || word.is_checked || !word.is_required {
                continue;
            }
            word.is_checked = true;
            let begins = begins_last && index == last;
            let least = if word.freq == 0 { 1 } else { RARE_FACTOR_MIN * word.freq };
            let vocabularies = self.segments.iter().map(|segment| segment.vocabulary());
            let found = spelling::candidates(vocabularies, &word.text, begins);
            let found: Vec<_> = found.into_iter().filter(|found| found.word != word.text && u64::from(found.freq) >= least).collect();
            let Some(least_cost) = found.iter().map(|found| found.cost).reduce(f32::min) else { continue };
            for found in found.into_iter().filter(|found| found.cost < least_cost + 1.0) {
                let mut forms = self.forms_of(&found.word);
                forms.retain(|(form, _)| matches!(form, Form::Exact(_) | Form::Stem(..)));
                word.alternatives.push(Alternative { parts: vec![forms], weight: 1.0 / (1.0 + found.cost), is_corrected: true });
                word.corrections.push(found.word);
                changed |= 1 << index;
            }
        }
        changed
    }

    /// The documents that hold a word as it is or in another form, deleted ones too: an upper bound.
    pub(crate) fn word_freq(&self, word: &str) -> u64 {
        self.segments.iter().map(|segment| exact_freq(segment.vocabulary(), word)).sum()
    }

    fn freq(&self, alternatives: &[Alternative]) -> u64 {
        let least = |alternative: &Alternative| alternative.parts.iter().map(|part| self.part_freq(part)).min().unwrap_or(0);
        alternatives.iter().map(least).sum()
    }

    fn part_freq(&self, part: &Part) -> u64 {
        let freq = |segment: &Arc<Segment>| {
            let vocabulary = segment.vocabulary();
            self.resolve(part, vocabulary).into_iter().map(|(number, _)| u64::from(vocabulary.freq(number))).sum::<u64>()
        };
        self.segments.iter().map(freq).sum()
    }

    /// The words of a vocabulary that the forms stand for, each with the most that it counts.
    pub(crate) fn resolve(&self, part: &Part, vocabulary: &Vocabulary) -> Vec<(u32, f32)> {
        let mut found: Vec<(u32, f32)> = Vec::new();
        for (form, weight) in part {
            let add = |number| (number, *weight);
            match form {
                Form::Exact(word) => found.extend(vocabulary.exact(word).map(add)),
                Form::Stem(language, stem) => found.extend(vocabulary.with_stem(*language, stem).map(add)),
                Form::Beginning(beginning) => found.extend(most_frequent(vocabulary, vocabulary.beginning(beginning)).into_iter().map(add)),
                Form::Head(stem) => {
                    let compounds = vocabulary.ending(stem).take(COMPOUNDS_MAX);
                    found.extend(compounds.filter(|(_, rest)| self.is_rest(rest, true)).map(|(number, _)| add(number)));
                }
                Form::Rest(word) => {
                    let range = vocabulary.beginning(word);
                    let compounds = range.filter(|number| vocabulary.language(*number).is_compounding()).take(COMPOUNDS_MAX);
                    found.extend(compounds.filter(|number| self.is_rest(&vocabulary.word(*number)[word.len()..], false)).map(add));
                }
            }
        }
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        found.dedup_by_key(|(number, _)| *number);
        found
    }

    /// Whether what is left of a compound is a word, but for what links it to the other part. Behind a long enough rest a known
    /// word is the head even if the rest is not known.
    fn is_rest(&self, rest: &str, is_before: bool) -> bool {
        if is_before && rest.chars().nth(PART_CHARS_MIN - 1).is_some() {
            return true;
        }
        let without = |link: &&str| if is_before { rest.strip_suffix(*link) } else { rest.strip_prefix(*link) };
        LINKS.iter().filter_map(without).any(|word| word.chars().count() >= REST_CHARS_MIN && self.is_known(word))
    }

    fn is_known(&self, word: &str) -> bool {
        self.segments.iter().any(|segment| !segment.vocabulary().exact(word).is_empty())
    }

    fn is_stop_word(&self, word: &str) -> bool {
        self.languages.iter().any(|language| language.is_stop_word(word))
    }

    fn forms(&self, word: &QueryWord, begins: bool) -> Part {
        let mut forms = self.forms_of(&word.text);
        let is_alone = word.is_paired && word.text.chars().nth(1).is_none();
        let is_long_enough = word.text.chars().nth(BEGINNING_CHARS_MIN - 1).is_some() || !word.text.is_ascii();
        if is_alone || (begins && is_long_enough) {
            forms.push((Form::Beginning(word.text.clone()), weight::BEGINNING));
        }
        forms
    }

    fn forms_of(&self, word: &str) -> Part {
        let mut forms = vec![(Form::Exact(word.to_owned()), weight::EXACT)];
        let mut stems: Vec<String> = Vec::new();
        for language in self.languages.iter().filter(|language| language.has_stems()) {
            let stem = language.stem(word);
            if self.has_compounds && language.is_compounding() && !stems.contains(&stem) && stem.chars().count() >= PART_CHARS_MIN {
                forms.push((Form::Head(stem.clone()), weight::HEAD_OF_COMPOUND));
                stems.push(stem.clone());
            }
            forms.push((Form::Stem(*language, stem), weight::STEM));
        }
        if !stems.is_empty() && word.chars().count() >= PART_CHARS_MIN {
            forms.push((Form::Rest(word.to_owned()), weight::REST_OF_COMPOUND));
        }
        forms
    }

    /// Neighbours written together: `t-shirt` and `t shirt` find `tshirt`.
    fn add_joined(&self, plan: &mut Plan, query: &QueryText, is_open: bool) {
        let mut spans: Vec<(Range<usize>, String)> = Vec::new();
        for (group, joined) in query.joined.iter().enumerate() {
            let span = query.words.iter().position(|word| word.group == group);
            if let (Some(start), Some(joined)) = (span, joined) {
                let end = query.words.iter().rposition(|word| word.group == group).map_or(start, |end| end + 1);
                spans.push((start..end, joined.clone()));
            }
        }
        for length in 2..=JOINED_WORDS_MAX.min(query.words.len()) {
            for (start, words) in query.words.windows(length).enumerate() {
                if words.iter().all(|word| !word.is_paired) {
                    let joined: String = words.iter().map(|word| word.text.as_str()).collect();
                    spans.push((start..start + length, cut(&joined).to_owned()));
                }
            }
        }
        let mut known = HashSet::new();
        for (span, joined) in spans {
            let begins = is_open && span.end == query.words.len();
            let mut forms = vec![];
            if self.is_known(&joined) {
                forms = self.forms_of(&joined);
            }
            let is_long = joined.chars().count() > 3;
            if begins && is_long && self.segments.iter().any(|segment| !segment.vocabulary().beginning(&joined).is_empty()) {
                forms.push((Form::Beginning(joined.clone()), weight::BEGINNING));
            }
            if !forms.is_empty() && known.insert((span.clone(), joined)) {
                add_to(plan, span, vec![forms], weight::JOINED);
            }
        }
    }

    /// `18v` finds `18` and `v`.
    fn add_numbers(&self, plan: &mut Plan, query: &QueryText) {
        for (index, word) in query.words.iter().enumerate() {
            let Some(digits) = word.text.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|at| *at > 0) else { continue };
            let rest = &word.text[digits..];
            let is_unit = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_alphabetic());
            if is_unit && !rest.is_empty() {
                let parts = [&word.text[..digits], rest].map(|part| vec![(Form::Exact(part.to_owned()), weight::EXACT)]);
                add_to(plan, index..index + 1, parts.into(), weight::SPLIT);
            }
        }
    }

    fn add_synonyms(&self, plan: &mut Plan) {
        let words: Vec<String> = plan.words.iter().map(|word| word.text.clone()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        for (span, phrase) in self.synonyms.find(&words, &self.languages).into_iter().take(SYNONYMS_MAX) {
            let parts = phrase.iter().map(|word| {
                let mut forms = self.forms_of(word);
                forms.retain(|(form, _)| matches!(form, Form::Exact(_) | Form::Stem(..)));
                forms
            });
            add_to(plan, span, parts.collect(), weight::SYNONYM);
        }
    }

    /// A word that is not known, or may be a compound, as two that are: `runningshoes`.
    fn add_splits(&self, plan: &mut Plan, query: &QueryText, is_open: bool) {
        let last = query.words.len().wrapping_sub(1);
        for (index, word) in query.words.iter().enumerate() {
            let is_unknown = plan.words[index].freq == 0;
            let is_letters = !word.is_paired && word.text.chars().all(char::is_alphabetic);
            if !is_letters || !(is_unknown || self.has_compounds) {
                continue;
            }
            let Some((first, second)) = self.split(&word.text, is_open && index == last && is_unknown) else { continue };
            let parts: Vec<Part> = vec![self.forms_of(&first), {
                let mut forms = self.forms_of(&second);
                if is_open && index == last && is_unknown {
                    forms.push((Form::Beginning(second.clone()), weight::BEGINNING));
                }
                forms
            }];
            let freq = parts.iter().map(|part| self.part_freq(part)).min().unwrap_or(0);
            add_to(plan, index..index + 1, parts, weight::SPLIT);
            plan.words[index].freq += freq;
            if is_unknown {
                plan.words[index].corrections.push(format!("{first} {second}"));
            }
        }
    }

    /// The two words that a word is most likely made of.
    fn split(&self, word: &str, begins: bool) -> Option<(String, String)> {
        let mut best: Option<(u64, String, String)> = None;
        for (at, _) in word.char_indices().skip(1) {
            let (first, second) = word.split_at(at);
            let second_freq = match self.word_freq(second) {
                0 if begins && second.chars().count() >= REST_CHARS_MIN => u64::from(self.begins_any(second)),
                freq => freq,
            };
            if second_freq == 0 || second.chars().nth(1).is_none() {
                continue;
            }
            for link in LINKS.iter().filter(|link| self.has_compounds || link.is_empty()) {
                let Some(bare) = first.strip_suffix(link).filter(|bare| !bare.is_empty()) else { continue };
                let short = bare.chars().count() < REST_CHARS_MIN || second.chars().count() < REST_CHARS_MIN;
                let freq = self.word_freq(bare).min(second_freq);
                // Short words stand everywhere; together with another they are seldom one word.
                let freq = if short { freq / 8 } else { freq };
                if freq > 0 && best.as_ref().is_none_or(|(most, ..)| freq > *most) {
                    best = Some((freq, bare.to_owned(), second.to_owned()));
                }
            }
        }
        best.map(|(_, first, second)| (first, second))
    }

    fn begins_any(&self, beginning: &str) -> bool {
        self.segments.iter().any(|segment| !segment.vocabulary().beginning(beginning).is_empty())
    }

    fn add_sequences(&self, plan: &mut Plan, query: &QueryText) {
        for (index, pair) in query.words.windows(2).enumerate() {
            if pair.iter().all(|word| !word.is_paired) {
                plan.sequences.push((index, format!("{} {}", pair[0].text, pair[1].text)));
            }
        }
    }
}

/// A pair of characters that is nowhere, beside one that is somewhere, lies where two words meet: `スバ` in `レディースバッグ`.
fn ease_pairs(plan: &mut Plan, query: &QueryText) {
    let is_known: Vec<bool> = plan.words.iter().map(|word| word.freq > 0).collect();
    for (index, _) in query.words.iter().enumerate().filter(|(_, word)| word.is_paired) {
        let is_beside = |other: usize| query.words.get(other).is_some_and(|word| word.is_paired) && is_known[other];
        if !is_known[index] && (is_beside(index + 1) || index.checked_sub(1).is_some_and(is_beside)) {
            plan.words[index].is_required = false;
        }
    }
}

/// Adds what stands for some words together to each of them.
fn add_to(plan: &mut Plan, span: Range<usize>, parts: Vec<Part>, weight: f32) {
    for word in plan.words.get_mut(span).into_iter().flatten() {
        word.alternatives.push(Alternative { parts: parts.clone(), weight, is_corrected: false });
    }
}

fn exact_freq(vocabulary: &Vocabulary, word: &str) -> u64 {
    vocabulary.exact(word).map(|number| u64::from(vocabulary.freq(number))).sum()
}

fn most_frequent(vocabulary: &Vocabulary, range: Range<u32>) -> Vec<u32> {
    let mut numbers: Vec<u32> = range.collect();
    if numbers.len() > BEGINNING_WORDS_MAX {
        numbers.select_nth_unstable_by_key(BEGINNING_WORDS_MAX, |number| (std::cmp::Reverse(vocabulary.freq(*number)), *number));
        numbers.truncate(BEGINNING_WORDS_MAX);
    }
    numbers
}

/// Letters alone would make a code of the beginning of every word, wherever ids are made of titles.
fn is_like_a_code(code: &str) -> bool {
    code.chars().nth(CODE_CHARS_MIN - 1).is_some() && code.bytes().any(|byte| byte.is_ascii_digit())
}
