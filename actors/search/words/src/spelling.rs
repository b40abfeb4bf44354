//! What a word that nothing is called may have been meant to be: words of the vocabulary that differ by few edits, the nearest
//! and among them the most frequent first. All words are looked at: their lengths and letters rule out nearly all of them. For two
//! edits that takes a fraction of the time in which an automaton walks through the dictionary, and no index of deletions is kept.

use std::collections::HashMap;

use crate::vocabulary::{Shape, Vocabulary};

/// Words that are offered for one.
pub(crate) const CANDIDATES_MAX: usize = 5;
/// Words shorter than this are never taken for another.
pub(crate) const CHARS_MIN: usize = 4;
/// From this length on two edits are allowed.
const TWO_EDITS_CHARS_MIN: usize = 8;
/// The longest word that is compared.
const CHARS_MAX: usize = 32;
/// What another first letter costs, in edits, beside the edit itself: it is rarely the wrong one.
const FIRST_LETTER_COST: f32 = 0.6;
/// What it costs, in edits, that only the beginning of the other word is like this one.
const BEGINNING_COST: f32 = 0.3;
/// How many times more frequent a word must be to make up for one edit more; as exponent of two.
const EDIT_DOUBLINGS: f32 = 7.0;

/// A word that may be meant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) word: String,
    /// In how many documents it stands.
    pub(crate) freq: u32,
    /// The edits, and what speaks against it otherwise.
    pub(crate) cost: f32,
}

/// How many edits may be between a word of so many characters and what is meant.
pub(crate) fn edits_max(chars: usize) -> usize {
    match chars {
        0..CHARS_MIN => 0,
        CHARS_MIN..TWO_EDITS_CHARS_MIN => 1,
        _ => 2,
    }
}

/// The likeliest words of all vocabularies; with `begins` also words whose beginning is nearly `word`.
pub(crate) fn candidates<'a>(vocabularies: impl Iterator<Item = &'a Vocabulary>, word: &str, begins: bool) -> Vec<Candidate> {
    let shape = Shape::of(word);
    let chars: Vec<char> = word.chars().collect();
    let edits_max = edits_max(chars.len());
    if edits_max == 0 || chars.len() > CHARS_MAX || !shape.is_alphabetic {
        return Vec::new();
    }
    let mut found: HashMap<&str, (u32, f32)> = HashMap::new();
    let mut other_chars = Vec::with_capacity(CHARS_MAX);
    for vocabulary in vocabularies {
        for (number, other) in vocabulary.shapes().iter().enumerate() {
            if !may_be_near(shape, *other, edits_max, begins) {
                continue;
            }
            let (text, freq) = (vocabulary.word(number as u32), vocabulary.freq(number as u32));
            if let Some((known, _)) = found.get_mut(text) {
                *known += freq;
                continue;
            }
            other_chars.clear();
            // A beginning that is near is not longer than that.
            let compared = if begins { chars.len() + edits_max + 1 } else { CHARS_MAX + 2 };
            other_chars.extend(text.chars().take(compared));
            if let Some(cost) = cost(&chars, &other_chars, edits_max, begins) {
                found.insert(text, (freq, cost));
            }
        }
    }
    let mut found: Vec<_> = found.into_iter().map(|(text, (freq, cost))| Candidate { word: text.to_owned(), freq, cost }).collect();
    found.sort_unstable_by(|a, b| rank(a).total_cmp(&rank(b)).then_with(|| a.word.cmp(&b.word)));
    found.truncate(CANDIDATES_MAX);
    found
}

/// Less is likelier.
fn rank(candidate: &Candidate) -> f32 {
    candidate.cost * EDIT_DOUBLINGS - (candidate.freq as f32 + 1.0).log2()
}

/// Each edit changes the length by one at most, and takes one letter at most away and brings one at most.
fn may_be_near(word: Shape, other: Shape, edits_max: usize, begins: bool) -> bool {
    let (chars, other_chars) = (usize::from(word.chars), usize::from(other.chars));
    let is_long_enough = other_chars + edits_max >= chars;
    let lacking = (word.letters & !other.letters).count_ones() as usize;
    let further = (other.letters & !word.letters).count_ones() as usize;
    let whole = other_chars <= chars + edits_max && further <= edits_max;
    is_long_enough && lacking <= edits_max && other.is_alphabetic && (whole || (begins && word.first == other.first))
}

/// The cost of taking one for the other, where it is allowed.
fn cost(word: &[char], other: &[char], edits_max: usize, begins: bool) -> Option<f32> {
    let (whole, beginning) = edits(word, other, edits_max);
    let first = match (word.first(), other.first()) {
        (Some(a), Some(b)) if a != b => {
            // Letters that changed places are no doubt about the first one.
            let is_swapped = word.get(1) == Some(b) && other.get(1) == Some(a);
            if is_swapped { 0.0 } else { FIRST_LETTER_COST }
        }
        _ => 0.0,
    };
    let cost = match (whole, beginning) {
        (whole, _) if whole <= edits_max => whole as f32,
        (_, beginning) if begins && beginning <= edits_max && first == 0.0 => beginning as f32 + BEGINNING_COST,
        _ => return None,
    };
    Some(cost + first)
}

/// The least insertions, deletions, substitutions and exchanges of neighbours (optimal string alignment) that make one word of
/// the other, and that make one word of a beginning of the other. Anything above `edits_max` is only known to be above it.
fn edits(word: &[char], other: &[char], edits_max: usize) -> (usize, usize) {
    const WIDTH: usize = CHARS_MAX + 1;
    let far = edits_max + 1;
    let mut rows = [[far; WIDTH]; 3];
    for (column, cell) in rows[0].iter_mut().enumerate().take(far) {
        *cell = column;
    }
    let mut beginning = word.len();
    for (index, b) in other.iter().enumerate() {
        let [before, current, next] = [(index + 2) % 3, index % 3, (index + 1) % 3];
        // Cells further from the diagonal than the edits that are allowed are far.
        let (start, end) = ((index + 1).saturating_sub(far), word.len().min(index + 1 + edits_max));
        rows[next] = [far; WIDTH];
        rows[next][0] = (index + 1).min(far);
        let mut least = rows[next][0];
        for column in start..end {
            let a = &word[column];
            let substituted = rows[current][column] + usize::from(a != b);
            let mut cell = substituted.min(rows[current][column + 1] + 1).min(rows[next][column] + 1);
            if index > 0 && column > 0 && *a == other[index - 1] && word[column - 1] == *b {
                cell = cell.min(rows[before][column - 1] + 1);
            }
            rows[next][column + 1] = cell.min(far);
            least = least.min(cell);
        }
        beginning = beginning.min(rows[next][word.len()]);
        // An exchange reaches two rows back: only two far rows together end it.
        if least >= far && rows[current].iter().all(|cell| *cell >= far) {
            return (far, beginning);
        }
    }
    (rows[other.len() % 3][word.len()], beginning)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::language::Language::English;
    use crate::vocabulary::tests::vocabulary;

    fn distance(a: &str, b: &str) -> usize {
        edits(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>(), 9).0
    }

    /// The same by the recursive definition, without rows.
    fn plain_distance(a: &[char], b: &[char]) -> usize {
        match (a, b) {
            ([], rest) | (rest, []) => rest.len(),
            ([.., x], [.., y]) => {
                let (a1, b1) = (&a[..a.len() - 1], &b[..b.len() - 1]);
                let mut least =
                    (plain_distance(a1, b1) + usize::from(x != y)).min(plain_distance(a1, b) + 1).min(plain_distance(a, b1) + 1);
                if let ([.., p, q], [.., r, s]) = (a, b)
                    && (p, q) == (s, r)
                {
                    least = least.min(plain_distance(&a[..a.len() - 2], &b[..b.len() - 2]) + 1);
                }
                least
            }
        }
    }

    #[test]
    fn distances_by_table() {
        for (a, b, expected) in
            [("adidas", "addidas", 1), ("camera", "camrea", 1), ("nike", "nike", 0), ("", "ab", 2), ("hsirt", "shirt", 1)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn candidates_by_table() {
        let words =
            [("adidas", 900), ("camera", 50), ("camel", 3), ("shirt", 800), ("skirt", 90), ("short", 70), ("sandals", 10), ("puma", 5)];
        let words: Vec<_> = words.into_iter().map(|(word, freq)| (word, English, freq)).collect();
        let vocabulary = vocabulary(&words);
        let first = |word: &str, begins| candidates([&vocabulary].into_iter(), word, begins).first().map(|found| found.word.clone());
        for (word, begins, expected) in [
            ("addidas", false, Some("adidas")),
            ("camrea", false, Some("camera")),
            ("shrit", false, Some("shirt")),
            ("ksirt", false, Some("skirt")),
            ("pum", false, None),
            ("sandls", false, Some("sandals")),
            ("snadlas", false, None),
            ("sanadlls", false, Some("sandals")),
            ("samd", true, Some("sandals")),
            ("samd", false, None),
            ("pu1a", false, None),
            ("", false, None),
        ] {
            assert_eq!(first(word, begins).as_deref(), expected, "{word} {begins}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn the_rows_are_the_definition(a in "[abc]{0,6}", b in "[abc]{0,6}") {
            let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            let expected = plain_distance(&a, &b);
            prop_assert_eq!(edits(&a, &b, 9).0, expected);
            for edits_max in 0..3 {
                let found = edits(&a, &b, edits_max).0;
                prop_assert_eq!(found <= edits_max, expected <= edits_max);
            }
        }

        #[test]
        fn nothing_near_is_ruled_out(a in "[a-dä]{4,9}", b in "[a-dä]{2,10}") {
            let (shape, other) = (Shape::of(&a), Shape::of(&b));
            let edits_max = edits_max(shape.chars.into());
            if distance(&a, &b) <= edits_max {
                prop_assert!(may_be_near(shape, other, edits_max, false));
            }
        }
    }
}
