//! Reads the postings that a plan names and scores documents by them.
//!
//! Word after word, each into one list by document with the best of its alternatives; then the lists are joined. A list of tens of
//! thousands is read in some hundred microseconds, so nothing is skipped and nothing is estimated: the documents that match are
//! all known, for totals and facets.

use std::cell::RefCell;

use crate::plan::{Alternative, Part, Plan, PlannedWord, Planner};
use crate::segment::Segment;

/// How slowly a further mention of a word adds to the score, in the weights of `document`.
pub(crate) const SATURATION: f32 = 4.0;
/// How much the length of a product's texts counts against it: 0 not at all, 1 in full.
pub(crate) const LENGTH_SHARE: f32 = 0.3;
/// What two words that stand together in the title add, in idf of the lesser one.
pub(crate) const SEQUENCE_WEIGHT: f32 = 0.4;
/// What is left of the score of a product that is found by other words than those asked for. Scores of one query differ less than
/// that factor, so that such a product never goes before one that has the words.
const CORRECTED_WEIGHT: f32 = 0.05;

/// A document that holds a word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Match {
    pub(crate) doc: u32,
    /// From 0 to 1: how much it is about the word.
    pub(crate) score: f32,
    pub(crate) is_corrected: bool,
}

/// A document with all that it matches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) doc: u32,
    pub(crate) score: f32,
    /// A bit for each word of the plan.
    pub(crate) words: u32,
    pub(crate) is_corrected: bool,
}

/// The best score of each document, and which have one.
#[derive(Default)]
struct Scores {
    best: Vec<f32>,
    seen: Vec<u64>,
}

impl Scores {
    fn reserve(&mut self, docs: u32) {
        let docs = docs as usize;
        if self.best.len() < docs {
            self.best.resize(docs, 0.0);
            self.seen.resize(docs.div_ceil(64), 0);
        }
    }

    fn raise(&mut self, doc: u32, score: f32) {
        let (word, bit) = ((doc / 64) as usize, 1_u64 << (doc % 64));
        let best = &mut self.best[doc as usize];
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            *best = score;
        } else if score > *best {
            *best = score;
        }
    }

    /// Takes everything out, by document.
    fn drain(&mut self, mut each: impl FnMut(u32, f32)) {
        for (index, word) in self.seen.iter_mut().enumerate() {
            let mut bits = std::mem::take(word);
            while bits != 0 {
                let doc = index as u32 * 64 + bits.trailing_zeros();
                bits &= bits - 1;
                each(doc, self.best[doc as usize]);
            }
        }
    }
}

thread_local! {
    /// One for the word, one for a part of an alternative. Left empty after each use.
    static SCORES: RefCell<[Scores; 2]> = RefCell::default();
}

/// What the length of a text makes of the saturation, by tantivy's code of the length.
pub(crate) struct Lengths(Box<[f32; 256]>);

impl Lengths {
    pub(crate) fn new(average: f32) -> Self {
        let factor = |code: usize| {
            let length = tantivy::fieldnorm::FieldNormReader::id_to_fieldnorm(code as u8) as f32;
            SATURATION * (1.0 - LENGTH_SHARE + LENGTH_SHARE * length / average.max(1.0))
        };
        Self(Box::new(std::array::from_fn(factor)))
    }
}

/// The documents of a segment that hold a word, in order.
pub(crate) fn matches(planner: &Planner<'_>, segment: &Segment, word: &PlannedWord, lengths: &Lengths) -> tantivy::Result<Vec<Match>> {
    SCORES.with_borrow_mut(|[scores, part]| {
        scores.reserve(segment.fixed.docs());
        part.reserve(segment.fixed.docs());
        let mut found = Vec::new();
        // Nothing that fails may leave scores behind for the next one.
        let result = word_scores(planner, segment, word, lengths, scores, part, false);
        scores.drain(|doc, score| found.push(Match { doc, score, is_corrected: false }));
        part.drain(|_, _| ());
        result?;
        if word.alternatives.iter().any(|alternative| alternative.is_corrected) {
            let plain = found.len();
            let result = word_scores(planner, segment, word, lengths, scores, part, true);
            scores.drain(|doc, score| {
                if found[..plain].binary_search_by_key(&doc, |known| known.doc).is_err() {
                    found.push(Match { doc, score, is_corrected: true });
                }
            });
            part.drain(|_, _| ());
            result?;
            found.sort_unstable_by_key(|found| found.doc);
        }
        Ok(found)
    })
}

fn word_scores(
    planner: &Planner<'_>,
    segment: &Segment,
    word: &PlannedWord,
    lengths: &Lengths,
    scores: &mut Scores,
    part: &mut Scores,
    is_corrected: bool,
) -> tantivy::Result<()> {
    for alternative in word.alternatives.iter().filter(|alternative| alternative.is_corrected == is_corrected) {
        match alternative.parts.as_slice() {
            [only] => part_scores(planner, segment, only, alternative.weight, lengths, scores)?,
            _ => all_parts(planner, segment, alternative, lengths, scores, part)?,
        }
    }
    Ok(())
}

fn part_scores(
    planner: &Planner<'_>,
    segment: &Segment,
    part: &Part,
    weight: f32,
    lengths: &Lengths,
    into: &mut Scores,
) -> tantivy::Result<()> {
    for (number, form_weight) in planner.resolve(part, segment.vocabulary()) {
        let weight = weight * form_weight;
        let info = segment.vocabulary().term_info(number);
        segment.each_posting(&info, |doc, freq, length| {
            let freq = freq as f32;
            into.raise(doc, weight * freq / (freq + lengths.0[usize::from(length)]));
        })?;
    }
    Ok(())
}

/// Documents that hold every part, with the mean of the scores.
fn all_parts(
    planner: &Planner<'_>,
    segment: &Segment,
    alternative: &Alternative,
    lengths: &Lengths,
    into: &mut Scores,
    scratch: &mut Scores,
) -> tantivy::Result<()> {
    let share = alternative.weight / alternative.parts.len().max(1) as f32;
    let mut all: Option<Vec<(u32, f32)>> = None;
    for part in &alternative.parts {
        part_scores(planner, segment, part, share, lengths, scratch)?;
        let mut found = Vec::new();
        scratch.drain(|doc, score| found.push((doc, score)));
        all = Some(match all {
            None => found,
            Some(before) => {
                let both = |(doc, score): (u32, f32)| {
                    let at = found.binary_search_by_key(&doc, |(other, _)| *other).ok()?;
                    Some((doc, score + found[at].1))
                };
                before.into_iter().filter_map(both).collect()
            }
        });
        if all.as_ref().is_some_and(Vec::is_empty) {
            break;
        }
    }
    all.into_iter().flatten().for_each(|(doc, score)| into.raise(doc, score));
    Ok(())
}

/// Robertson and Sparck Jones, without negative values.
pub(crate) fn idf(docs: u64, matches: u64) -> f32 {
    let (docs, matches) = (docs as f64, matches.min(docs) as f64);
    (1.0 + (docs - matches + 0.5) / (matches + 0.5)).ln() as f32
}

/// Documents that have all required words, in order.
pub(crate) fn all_words(plan: &Plan, lists: &[Vec<Match>], idfs: &[f32]) -> Vec<Candidate> {
    let mut required: Vec<usize> = (0..lists.len()).filter(|word| plan.words[*word].is_required).collect();
    required.sort_by_key(|word| lists[*word].len());
    let Some((rarest, others)) = required.split_first() else { return Vec::new() };
    let candidate = |word: usize, found: &Match| Candidate {
        doc: found.doc,
        score: idfs[word] * found.score,
        words: 1 << word,
        is_corrected: found.is_corrected,
    };
    let mut all: Vec<Candidate> = lists[*rarest].iter().map(|found| candidate(*rarest, found)).collect();
    for word in others {
        keep_both(&mut all, &lists[*word], *word, idfs[*word], true);
    }
    for word in (0..lists.len()).filter(|word| !plan.words[*word].is_required) {
        keep_both(&mut all, &lists[word], word, idfs[word], false);
    }
    all
}

/// Adds a list to candidates; those that are not in it go, where it is required. Both are in the order of documents.
fn keep_both(all: &mut Vec<Candidate>, list: &[Match], word: usize, idf: f32, is_required: bool) {
    let mut rest = list;
    all.retain_mut(|candidate| {
        let found = skip_to(&mut rest, candidate.doc);
        if let Some(found) = found {
            candidate.score += idf * found.score;
            candidate.words |= 1 << word;
            candidate.is_corrected |= found.is_corrected;
        }
        found.is_some() || !is_required
    });
}

/// The match of a document; what comes before it is left behind. Steps double until they go too far.
fn skip_to<'a>(rest: &mut &'a [Match], doc: u32) -> Option<&'a Match> {
    let mut step = 1;
    while step < rest.len() && rest[step].doc < doc {
        step *= 2;
    }
    let window = &rest[step / 2..rest.len().min(step + 1)];
    let at = step / 2 + window.partition_point(|found| found.doc < doc);
    *rest = &rest[at..];
    rest.first().filter(|found| found.doc == doc)
}

/// Documents that have any required word, in order.
pub(crate) fn any_words(plan: &Plan, lists: &[Vec<Match>], idfs: &[f32]) -> Vec<Candidate> {
    let mut any: Vec<Candidate> = Vec::new();
    for (word, list) in lists.iter().enumerate().filter(|(word, _)| plan.words[*word].is_required) {
        let mut merged = Vec::with_capacity(any.len() + list.len());
        let mut known = any.into_iter().peekable();
        for found in list {
            while let Some(before) = known.next_if(|candidate| candidate.doc < found.doc) {
                merged.push(before);
            }
            let same = known.next_if(|candidate| candidate.doc == found.doc);
            let mut candidate = same.unwrap_or(Candidate { doc: found.doc, score: 0.0, words: 0, is_corrected: false });
            candidate.score += idfs[word] * found.score;
            candidate.words |= 1 << word;
            candidate.is_corrected |= found.is_corrected;
            merged.push(candidate);
        }
        merged.extend(known);
        any = merged;
    }
    any
}

/// Adds what stands together in titles, then takes from the score of what is found by other words.
pub(crate) fn finish(candidates: &mut [Candidate], plan: &Plan, segment: &Segment, idfs: &[f32]) -> tantivy::Result<()> {
    if candidates.is_empty() {
        return Ok(());
    }
    for (first, words) in &plan.sequences {
        let bonus = SEQUENCE_WEIGHT * idfs[*first].min(idfs[first + 1]);
        let docs = segment.sequence(words)?;
        let mut rest = docs.as_slice();
        for candidate in candidates.iter_mut() {
            let at = rest.partition_point(|doc| *doc < candidate.doc);
            rest = &rest[at..];
            if rest.first() == Some(&candidate.doc) {
                candidate.score += bonus;
            }
        }
    }
    for candidate in candidates.iter_mut().filter(|candidate| candidate.is_corrected) {
        candidate.score *= CORRECTED_WEIGHT;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(docs: &[u32]) -> Vec<Match> {
        docs.iter().map(|doc| Match { doc: *doc, score: 0.5, is_corrected: false }).collect()
    }

    fn plan(required: &[bool]) -> Plan {
        let words = required.iter().map(|is_required| PlannedWord {
            text: String::new(),
            alternatives: Vec::new(),
            is_required: *is_required,
            freq: 0,
            corrections: Vec::new(),
            is_checked: false,
        });
        Plan { words: words.collect(), ..Plan::default() }
    }

    #[test]
    fn rarer_words_count_more() {
        assert!(idf(100, 1) > idf(100, 50) && idf(100, 50) > idf(100, 100) && idf(100, 100) > 0.0);
        assert!(idf(5, 9) > 0.0, "an upper bound may be above the number of documents");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn joins_are_those_of_sets(
            sets in proptest::collection::vec(proptest::collection::btree_set(0_u32..60, 0..40), 1..5),
            optional in 0_usize..5,
        ) {
            let lists: Vec<_> = sets.iter().map(|set| list(&set.iter().copied().collect::<Vec<_>>())).collect();
            let required: Vec<bool> = (0..lists.len()).map(|word| word != optional).collect();
            let plan = plan(&required);
            let idfs = vec![1.0; lists.len()];
            let holds = |doc: u32, word: usize| sets[word].contains(&doc);
            let wanted: Vec<usize> = (0..lists.len()).filter(|word| required[*word]).collect();
            let all: Vec<u32> = (0..60).filter(|doc| !wanted.is_empty() && wanted.iter().all(|word| holds(*doc, *word))).collect();
            let any: Vec<u32> = (0..60).filter(|doc| wanted.iter().any(|word| holds(*doc, *word))).collect();
            let found = all_words(&plan, &lists, &idfs);
            prop_assert_eq!(found.iter().map(|candidate| candidate.doc).collect::<Vec<_>>(), all);
            for candidate in &found {
                let held = (0..lists.len()).filter(|word| holds(candidate.doc, *word)).count();
                prop_assert_eq!(candidate.words.count_ones() as usize, held);
                prop_assert!((candidate.score - held as f32 * 0.5).abs() < 1e-5);
            }
            let found = any_words(&plan, &lists, &idfs);
            prop_assert_eq!(found.iter().map(|candidate| candidate.doc).collect::<Vec<_>>(), any);
        }
    }
}
