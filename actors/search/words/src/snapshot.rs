//! One committed state of the index, for any number of readers: search, and what it made of the query.

use std::sync::Arc;

use crate::WordsError;
use crate::evaluate::{Candidate, Lengths, Match, all_words, any_words, finish, idf, matches};
use crate::language::Language;
use crate::plan::{Plan, Planner};
use crate::segment::{NO_SLOT, Segment};
use crate::synonyms::Synonyms;

/// An identifier asked for goes before everything else, and its beginning behind it.
const CODE_SCORE: f32 = 1_000.0;
const CODE_BEGINNING_SCORE: f32 = 500.0;
/// Where no product has all words: how much of the information of the best one's words another's must have.
const MASS_SHARE_MIN: f32 = 0.7;
/// An optional word that stands in more of the products than this share is not looked for.
const OPTIONAL_SHARE_MAX: u64 = 10;
/// Languages of which the catalog has less than this share are not asked about, unless the query names them.
const LANGUAGE_SHARE_MIN: f64 = 0.002;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// Plain words: no character has a meaning of its own. The first 1,000 characters and 32 words count.
    pub text: &'a str,
    /// The language of the words (BCP 47); without one they are read in every language of the catalog.
    pub language: Option<&'a str>,
    /// The most hits that are wanted; 0 for totals alone.
    pub limit: usize,
    /// The slots that may be found, a bit each (absent words are 0); `None` for all.
    pub allow: Option<&'a [u64]>,
    /// Slots that may not.
    pub exclude: &'a [u32],
}

/// A word that was taken for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// As asked for, folded.
    pub from: String,
    /// The word of the catalog, or two of them.
    pub to: String,
}

/// What was made of the words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interpretation {
    /// Words that the catalog does not have, and what they were taken for.
    pub corrections: Vec<Correction>,
    /// Words that no hit needs to have, because no product has all.
    pub dropped: Vec<String>,
    /// Whether the whole query is the identifier of a product.
    pub is_code: bool,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Slot and score, best first; equal ones by product id.
    pub hits: Vec<(u32, f32)>,
    /// Every slot that matches the words, whether or not `allow` and `exclude` let it through: a bit each, for facets.
    pub matched: Vec<u64>,
    /// How many slots match the words and are let through.
    pub total: u64,
    /// What was made of the words.
    pub interpretation: Interpretation,
}

/// One committed state of the index. Cheap to clone.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) state: Arc<State>,
}

pub(crate) struct State {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) synonyms: Arc<Synonyms>,
    pub(crate) languages: Vec<(Language, u64)>,
    pub(crate) docs: u64,
    pub(crate) lengths: Lengths,
}

/// A candidate of one of the segments.
#[derive(Clone, Copy)]
struct Ranked<'a> {
    score: f32,
    slot: u32,
    id: &'a str,
}

impl Snapshot {
    pub(crate) fn new(segments: Vec<Arc<Segment>>, synonyms: Arc<Synonyms>, languages: Vec<(Language, u64)>, docs: u64) -> Self {
        let tokens: u64 = segments.iter().map(|segment| segment.tokens()).sum();
        let all: u64 = segments.iter().map(|segment| u64::from(segment.fixed.docs())).sum();
        let lengths = Lengths::new(tokens as f32 / all.max(1) as f32);
        Self { state: Arc::new(State { segments, synonyms, languages, docs, lengths }) }
    }

    /// The products of the index.
    pub fn products(&self) -> u64 {
        self.state.docs
    }

    /// The languages of the catalog, each with its products, most first.
    pub fn languages(&self) -> &[(Language, u64)] {
        &self.state.languages
    }

    /// Bytes of memory that it holds beside the mapped files.
    pub fn memory_bytes(&self) -> usize {
        self.state.segments.iter().map(|segment| segment.fixed.memory_bytes() + 4 * segment.slots.len()).sum()
    }

    /// Products that have all words, best first by BM25F; where none has, those that have most of what the words say. An
    /// identifier goes before everything.
    ///
    /// # Errors
    /// Only what the files of the index fail by; never for the words.
    pub fn search(&self, request: &Request<'_>) -> Result<Found, WordsError> {
        let planner = self.planner(request.language);
        let mut plan = planner.plan(request.text);
        let codes = self.codes(&plan)?;
        let is_code = codes.iter().any(|(_, _, score)| *score >= CODE_SCORE);
        let begins_last = request.text.chars().next_back().is_some_and(char::is_alphanumeric);
        if !is_code {
            planner.correct(&mut plan, begins_last, false);
        }
        let mut evaluated = Evaluated::new(self.state.segments.len(), plan.words.len());
        self.evaluate(&planner, &plan, u32::MAX, &mut evaluated)?;
        let mut candidates = evaluated.all(&plan);
        let passes =
            |slot: u32| slot != NO_SLOT && request.allow.is_none_or(|allow| has_bit(allow, slot)) && !request.exclude.contains(&slot);
        let is_any = |candidates: &[Vec<Candidate>]| {
            let mut segments = self.state.segments.iter().zip(candidates);
            segments.any(|(segment, found)| found.iter().any(|candidate| passes(segment.slots[candidate.doc as usize])))
        };
        if codes.is_empty() && !is_any(&candidates) {
            let changed = planner.correct(&mut plan, begins_last, true);
            if changed != 0 {
                self.evaluate(&planner, &plan, changed, &mut evaluated)?;
                candidates = evaluated.all(&plan);
            }
            if !is_any(&candidates) {
                candidates = self.relaxed(&plan, &evaluated, passes);
            }
        }
        for ((segment, candidates), lists) in self.state.segments.iter().zip(&mut candidates).zip(&evaluated.lists) {
            debug_assert_eq!(lists.len(), plan.words.len());
            finish(candidates, &plan, segment, &evaluated.idfs)?;
        }
        let interpretation = self.interpretation(&plan, &candidates, is_code)?;
        self.add_codes(&mut candidates, &codes);
        Ok(self.found(&candidates, passes, request.limit, interpretation))
    }

    pub(crate) fn planner(&self, language: Option<&str>) -> Planner<'_> {
        let least = self.state.docs as f64 * LANGUAGE_SHARE_MIN;
        let named = language.map(Language::from_locale).filter(|language| *language != Language::Neutral);
        let languages = match named {
            Some(language) => vec![language],
            None => self.state.languages.iter().filter(|(_, products)| *products as f64 >= least).map(|(language, _)| *language).collect(),
        };
        Planner::new(&self.state.segments, languages, &self.state.synonyms)
    }

    /// Documents called by the query as a code: segment, document, score.
    fn codes(&self, plan: &Plan) -> Result<Vec<(usize, u32, f32)>, WordsError> {
        let mut found = Vec::new();
        for (index, segment) in self.state.segments.iter().enumerate() {
            if let Some(code) = &plan.code {
                found.extend(segment.code(code)?.into_iter().map(|doc| (index, doc, CODE_SCORE)));
            }
        }
        if found.is_empty()
            && let Some(beginning) = &plan.code_beginning
        {
            for (index, segment) in self.state.segments.iter().enumerate() {
                found.extend(segment.code_beginning(beginning)?.into_iter().map(|doc| (index, doc, CODE_BEGINNING_SCORE)));
            }
        }
        Ok(found)
    }

    /// Reads the lists of the words of a mask, a bit each.
    fn evaluate(&self, planner: &Planner<'_>, plan: &Plan, words: u32, into: &mut Evaluated) -> Result<(), WordsError> {
        for (segment, lists) in self.state.segments.iter().zip(&mut into.lists) {
            for (index, word) in plan.words.iter().enumerate().filter(|(index, _)| words & (1 << index) != 0) {
                let is_looked_for = word.is_required || word.freq <= self.state.docs / OPTIONAL_SHARE_MAX;
                lists[index] = if is_looked_for { matches(planner, segment, word, &self.state.lengths)? } else { Vec::new() };
            }
        }
        let count = |word: usize| into.lists.iter().map(|lists| lists[word].len() as u64).sum();
        into.idfs = (0..plan.words.len()).map(|word| idf(self.state.docs, count(word))).collect();
        Ok(())
    }

    /// How many documents have all words, none taken for another.
    pub(crate) fn strict_total(&self, text: &str, language: Option<&str>) -> Result<u64, WordsError> {
        let planner = self.planner(language);
        let plan = planner.plan(text);
        if plan.words.iter().any(|word| !word.corrections.is_empty() || (word.is_required && word.freq == 0)) {
            return Ok(0);
        }
        let mut evaluated = Evaluated::new(self.state.segments.len(), plan.words.len());
        self.evaluate(&planner, &plan, u32::MAX, &mut evaluated)?;
        Ok(evaluated.all(&plan).iter().map(|candidates| candidates.len() as u64).sum())
    }

    /// Documents that have most of what the words say: as many of them as the one that has most, and not much less information.
    fn relaxed(&self, plan: &Plan, evaluated: &Evaluated, passes: impl Fn(u32) -> bool) -> Vec<Vec<Candidate>> {
        let mut any: Vec<_> = evaluated.lists.iter().map(|lists| any_words(plan, lists, &evaluated.idfs)).collect();
        let mass = |words: u32| -> f32 {
            let of = evaluated.idfs.iter().enumerate().filter(|(word, _)| words & (1 << word) != 0);
            of.map(|(_, idf)| *idf).sum()
        };
        let passing = self.state.segments.iter().zip(&any).flat_map(|(segment, candidates)| {
            candidates.iter().filter(|candidate| passes(segment.slots[candidate.doc as usize])).map(|candidate| candidate.words)
        });
        let best = passing.max_by(|a, b| mass(*a).total_cmp(&mass(*b)).then_with(|| a.count_ones().cmp(&b.count_ones())));
        let best = best.or_else(|| any.iter().flatten().map(|candidate| candidate.words).max_by(|a, b| mass(*a).total_cmp(&mass(*b))));
        let Some(best) = best else { return any };
        let least = mass(best) * MASS_SHARE_MIN;
        for candidates in &mut any {
            candidates.retain(|candidate| candidate.words.count_ones() >= best.count_ones() && mass(candidate.words) >= least);
        }
        any
    }

    fn interpretation(&self, plan: &Plan, candidates: &[Vec<Candidate>], is_code: bool) -> Result<Interpretation, WordsError> {
        let mut interpretation = Interpretation { is_code, ..Interpretation::default() };
        let all = self.state.segments.iter().zip(candidates).flat_map(|(segment, found)| found.iter().map(move |found| (segment, found)));
        let Some((segment, best)) = all.max_by(|a, b| a.1.score.total_cmp(&b.1.score)) else { return Ok(interpretation) };
        for (index, word) in plan.words.iter().enumerate().filter(|(_, word)| word.is_required) {
            if best.words & (1 << index) == 0 {
                interpretation.dropped.push(word.text.clone());
                continue;
            }
            let Some((mut to, others)) = word.corrections.split_first() else { continue };
            // Of several words that may be meant the one that the best hit has.
            for other in others {
                if segment.has_word(best.doc, to)? {
                    break;
                }
                if segment.has_word(best.doc, other)? {
                    to = other;
                    break;
                }
            }
            interpretation.corrections.push(Correction { from: word.text.clone(), to: to.clone() });
        }
        Ok(interpretation)
    }

    fn add_codes(&self, candidates: &mut [Vec<Candidate>], codes: &[(usize, u32, f32)]) {
        for (segment, doc, score) in codes {
            let list = &mut candidates[*segment];
            match list.iter_mut().find(|candidate| candidate.doc == *doc) {
                Some(candidate) => candidate.score += score,
                None => list.push(Candidate { doc: *doc, score: *score, words: 0, is_corrected: false }),
            }
        }
    }

    fn found(&self, candidates: &[Vec<Candidate>], passes: impl Fn(u32) -> bool, limit: usize, interpretation: Interpretation) -> Found {
        let mut found = Found { interpretation, ..Found::default() };
        let mut ranked: Vec<Ranked<'_>> = Vec::new();
        for (segment, candidates) in self.state.segments.iter().zip(candidates) {
            for candidate in candidates {
                let slot = segment.slots[candidate.doc as usize];
                if slot == NO_SLOT {
                    continue;
                }
                set_bit(&mut found.matched, slot);
                if passes(slot) {
                    ranked.push(Ranked { score: candidate.score, slot, id: segment.fixed.id(candidate.doc) });
                }
            }
        }
        found.total = ranked.len() as u64;
        let order = |a: &Ranked<'_>, b: &Ranked<'_>| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(b.id));
        if ranked.len() > limit {
            if limit > 0 {
                ranked.select_nth_unstable_by(limit - 1, order);
            }
            ranked.truncate(limit);
        }
        ranked.sort_unstable_by(order);
        found.hits = ranked.into_iter().map(|ranked| (ranked.slot, ranked.score)).collect();
        found
    }
}

/// The lists of a plan.
struct Evaluated {
    /// By segment, by word.
    lists: Vec<Vec<Vec<Match>>>,
    /// By word.
    idfs: Vec<f32>,
}

impl Evaluated {
    fn new(segments: usize, words: usize) -> Self {
        Self { lists: (0..segments).map(|_| vec![Vec::new(); words]).collect(), idfs: Vec::new() }
    }

    fn all(&self, plan: &Plan) -> Vec<Vec<Candidate>> {
        self.lists.iter().map(|lists| all_words(plan, lists, &self.idfs)).collect()
    }
}

fn has_bit(bits: &[u64], slot: u32) -> bool {
    bits.get((slot / 64) as usize).is_some_and(|word| word & (1 << (slot % 64)) != 0)
}

fn set_bit(bits: &mut Vec<u64>, slot: u32) {
    let word = (slot / 64) as usize;
    if bits.len() <= word {
        bits.resize(word + 1, 0);
    }
    bits[word] |= 1 << (slot % 64);
}
