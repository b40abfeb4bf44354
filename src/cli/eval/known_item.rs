//! Known-item queries: a shopper has a product in mind and types its name, not quite as the catalog has it. The product itself is
//! the one relevant answer, so only names that no other product bears are used.

use std::collections::BTreeMap;

use super::judgments::{Judged, Suite};
use super::random::Random;

/// Shorter names leave nothing to find them by once words are dropped.
const WORDS_MIN: usize = 3;
/// Shorter words are not misspelt: too little of them would be left.
const TYPO_CHARS_MIN: usize = 4;

/// What happens to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Nothing.
    Exact,
    /// One edit in one word.
    Typo,
    /// A third of the words, at least one, is left out.
    Dropped,
    /// The words stand in another order.
    Swapped,
    /// All of these at once.
    All,
}

const CHANGES: [(Change, &str); 5] = [
    (Change::Exact, "known_item_exact"),
    (Change::Typo, "known_item_typo"),
    (Change::Dropped, "known_item_dropped_words"),
    (Change::Swapped, "known_item_swapped_words"),
    (Change::All, "known_item_all_changes"),
];

/// One suite for each kind of change, each over the same at most `count` products.
pub(crate) fn suites(titles: &[(String, String)], count: usize, seed: u64) -> Vec<Suite> {
    let chosen = Random::new(seed).sample(unique(titles), count);
    let suite = |(change, name)| {
        // A generator of its own for each suite: one kind of change does not depend on how another one draws.
        let mut random = Random::new(seed ^ (change as u64 + 1));
        let query = |(id, title): &(&str, &str)| Judged {
            text: changed(title, change, &mut random),
            grades: std::iter::once(((*id).to_owned(), 1)).collect(),
        };
        Suite { name, queries: chosen.iter().map(query).collect() }
    };
    CHANGES.into_iter().map(suite).filter(|suite| !suite.queries.is_empty()).collect()
}

/// Ids and titles of enough words whose title, case and blanks aside, stands once in the catalog; in the catalog's order.
fn unique(titles: &[(String, String)]) -> Vec<(&str, &str)> {
    let key = |title: &str| title.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for (_, title) in titles {
        *times.entry(key(title)).or_default() += 1;
    }
    let is_fit = |title: &str| title.split_whitespace().count() >= WORDS_MIN && times.get(&key(title)) == Some(&1);
    titles.iter().filter(|(_, title)| is_fit(title)).map(|(id, title)| (id.as_str(), title.as_str())).collect()
}

fn changed(title: &str, change: Change, random: &mut Random) -> String {
    let mut words: Vec<String> = title.split_whitespace().map(str::to_owned).collect();
    if matches!(change, Change::Dropped | Change::All) {
        for _ in 0..(words.len() / 3).max(1) {
            words.remove(random.below(words.len()));
        }
    }
    if matches!(change, Change::Swapped | Change::All) {
        let before = words.clone();
        random.shuffle(&mut words);
        if words == before {
            words.rotate_left(1);
        }
    }
    if matches!(change, Change::Typo | Change::All) {
        misspell(&mut words, random);
    }
    words.join(" ")
}

/// One edit in one word of letters alone: two neighbours swapped, a letter left out, doubled, or replaced by another one of the
/// word. The first letter stays, as people mostly get it right (Pollock and Zamora, 1984).
fn misspell(words: &mut [String], random: &mut Random) {
    let is_fit = |word: &String| word.chars().count() >= TYPO_CHARS_MIN && word.chars().all(char::is_alphabetic);
    let fit: Vec<usize> = words.iter().enumerate().filter(|(_, word)| is_fit(word)).map(|(place, _)| place).collect();
    let Some(word) = fit.get(random.below(fit.len())).and_then(|place| words.get_mut(*place)) else { return };
    let mut chars: Vec<char> = word.chars().collect();
    let place = 1 + random.below(chars.len() - 1);
    match random.below(4) {
        0 if place + 1 < chars.len() && chars[place] != chars[place + 1] => chars.swap(place, place + 1),
        1 => {
            chars.remove(place);
        }
        2 => chars.insert(place, chars[place]),
        _ => chars[place] = another(&chars, place),
    }
    *word = chars.into_iter().collect();
}

/// A letter, in lower case, that differs from the one at `place`: of the word itself where it has one.
fn another(chars: &[char], place: usize) -> char {
    let lower = |char: char| char.to_lowercase().next().unwrap_or(char);
    let candidates = chars.iter().rev().copied().chain(['x', 'o']);
    candidates.map(lower).find(|char| *char != lower(chars[place])).unwrap_or('x')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn titles(names: &[&str]) -> Vec<(String, String)> {
        names.iter().enumerate().map(|(number, name)| (number.to_string(), (*name).to_owned())).collect()
    }

    #[test]
    fn only_names_that_stand_once_and_have_words_enough_are_asked() {
        let titles = titles(&["Red Shoe Men", "red  shoe men", "Blue Shoe", "Blue Leather Shoe"]);
        assert_eq!(unique(&titles), [("3", "Blue Leather Shoe")]);
        let suites = suites(&titles, 10, 1);
        assert_eq!(suites.len(), CHANGES.len());
        for suite in &suites {
            assert_eq!(suite.queries.len(), 1, "{}", suite.name);
            assert_eq!(suite.queries[0].grades, std::iter::once(("3".to_owned(), 1)).collect());
        }
        assert_eq!(suites[0].queries[0].text, "Blue Leather Shoe");
        assert_eq!(self::suites(&titles[..2], 10, 1), []);
    }

    #[test]
    fn a_seed_gives_the_same_queries_again_and_another_seed_others() {
        let names: Vec<String> = (0..50).map(|n| format!("Leather shoe number{n} brown")).collect();
        let titles = titles(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(suites(&titles, 20, 7), suites(&titles, 20, 7));
        assert_ne!(suites(&titles, 20, 7), suites(&titles, 20, 8));
    }

    #[test]
    fn words_without_enough_letters_are_not_misspelt() {
        let mut words = vec!["4.62A".to_owned(), "USB".to_owned()];
        misspell(&mut words, &mut Random::new(3));
        assert_eq!(words, ["4.62A", "USB"]);
    }

    proptest! {
        #[test]
        fn changes_do_what_they_say(words in proptest::collection::vec("[A-Za-zü]{4,9}", 3..9), seed: u64) {
            let title = words.join(" ");
            let made = |change| changed(&title, change, &mut Random::new(seed));
            let sorted = |text: &str| { let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect(); words.sort(); words };
            prop_assert_eq!(made(Change::Exact), title.clone());
            prop_assert_eq!(sorted(&made(Change::Swapped)), sorted(&title));
            let dropped = made(Change::Dropped);
            prop_assert_eq!(dropped.split(' ').count(), words.len() - (words.len() / 3).max(1));
            prop_assert!(dropped.split(' ').all(|word| words.iter().any(|known| known == word)));
            let typo = made(Change::Typo);
            let differing: Vec<(&str, &String)> = typo.split(' ').zip(&words).filter(|(new, old)| new != old).collect();
            prop_assert_eq!(differing.len(), 1, "{} -> {}", title, typo);
            let (new, old) = differing[0];
            prop_assert_eq!(new.chars().next(), old.chars().next());
            prop_assert!(new.chars().count().abs_diff(old.chars().count()) <= 1);
        }
    }
}
