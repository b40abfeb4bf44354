//! Different ways to say the same: words in lower case, light stems, and trigrams for the slips of fingers.

use std::collections::{BTreeMap, BTreeSet};

/// Two wishes with at least this share of common trigrams (Dice) are one.
const DICE_MIN: f64 = 0.6;
/// Wishes that are compared with one another; the rarest are left out.
pub(crate) const WISHES_MAX: usize = 600;
/// Ways to say a wish that are named.
const EXAMPLES_MAX: usize = 5;
/// A stem keeps at least so many characters.
const STEM_CHARS_MIN: usize = 4;
/// Endings of plurals and cases in the languages that shops here are asked in; the longest first.
const ENDINGS: [&str; 7] = ["en", "er", "es", "s", "n", "e", "x"];

/// A wish in all its forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub(crate) count: u64,
    /// Those that may be shown, most frequent first; at least one.
    pub(crate) examples: Vec<String>,
}

/// Lower case, letters and digits alone, single blanks.
pub(crate) fn plain(query: &str) -> String {
    let lower = query.to_lowercase();
    lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Merges wishes (plain text, count, whether the text may be shown) that mean the same. Most frequent first; what has no text that may
/// be shown is left out.
pub(crate) fn clusters(mut wishes: Vec<(String, u64, bool)>) -> Vec<Cluster> {
    wishes.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    wishes.truncate(WISHES_MAX);
    let mut found: Vec<(BTreeSet<[char; 3]>, Cluster)> = Vec::new();
    let mut by_stems: BTreeMap<String, usize> = BTreeMap::new();
    for (text, count, is_shown) in wishes {
        let stems = stems(&text);
        let trigrams = trigrams(&stems);
        let known = by_stems.get(&stems).copied().or_else(|| found.iter().position(|(of, _)| dice(of, &trigrams) >= DICE_MIN));
        let at = known.unwrap_or_else(|| {
            found.push((trigrams, Cluster { count: 0, examples: Vec::new() }));
            found.len() - 1
        });
        by_stems.insert(stems, at);
        let cluster = &mut found[at].1;
        cluster.count += count;
        if is_shown && cluster.examples.len() < EXAMPLES_MAX {
            cluster.examples.push(text);
        }
    }
    let mut clusters: Vec<Cluster> = found.into_iter().map(|(_, cluster)| cluster).filter(|cluster| !cluster.examples.is_empty()).collect();
    clusters.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.examples.cmp(&other.examples)));
    clusters
}

/// Stems of the words, sorted: word order says nothing.
fn stems(text: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').map(stem).collect();
    words.sort_unstable();
    words.dedup();
    words.join(" ")
}

fn stem(word: &str) -> &str {
    let is_long_enough = |stem: &&str| stem.chars().count() >= STEM_CHARS_MIN;
    ENDINGS.iter().find_map(|ending| word.strip_suffix(ending).filter(is_long_enough)).unwrap_or(word)
}

fn trigrams(text: &str) -> BTreeSet<[char; 3]> {
    let padded: Vec<char> = "  ".chars().chain(text.chars()).chain(" ".chars()).collect();
    padded.windows(3).filter_map(|window| <[char; 3]>::try_from(window).ok()).collect()
}

fn dice(one: &BTreeSet<[char; 3]>, other: &BTreeSet<[char; 3]>) -> f64 {
    2.0 * one.intersection(other).count() as f64 / (one.len() + other.len()).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(wishes: &[(&str, u64)]) -> Vec<(u64, Vec<String>)> {
        let wishes = wishes.iter().map(|(text, count)| (plain(text), *count, true)).collect();
        clusters(wishes).into_iter().map(|cluster| (cluster.count, cluster.examples)).collect()
    }

    #[test]
    fn wishes_that_mean_the_same_are_one() {
        let found = examples(&[
            ("Red Shoes!", 5),
            ("shoe, red", 3),
            ("garden hose", 4),
            ("gardn hose", 2),
            ("red dress", 1),
            ("blaue Jacken", 2),
            ("blaue Jacke", 9),
        ]);
        let expected: [(u64, &[&str]); 4] = [
            (11, &["blaue jacke", "blaue jacken"]),
            (8, &["red shoes", "shoe red"]),
            (6, &["garden hose", "gardn hose"]),
            (1, &["red dress"]),
        ];
        let expected: Vec<(u64, Vec<String>)> =
            expected.iter().map(|(count, texts)| (*count, texts.iter().map(|text| (*text).to_owned()).collect())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn strange_texts_are_no_trouble() {
        for text in ["", "  ", "!!!", "ß", "靴", "\u{1F45F}", "a b c d e f"] {
            clusters(vec![(plain(text), 1, true), (plain(text), 2, false)]);
        }
        assert_eq!(plain("  Größe-42 / BLAU "), "größe 42 blau");
    }
}
