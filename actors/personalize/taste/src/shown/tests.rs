//! Lists: which one a choice is from, what is forgotten, what is never exceeded.

use super::*;
use crate::event::{Action, Facts};

const T0: i64 = 1_700_000_000_000;
const MINUTE: i64 = 60_000;

fn page(items: &[Id]) -> Page {
    let row = |at: usize| std::array::from_fn(|feature| if feature == at % FEATURES { 1.0 } else { 0.0 });
    Page { items: items.to_vec(), rows: (0..items.len()).map(row).collect() }
}

fn shown(token: Id, shopper: Id, session: Option<Id>, minute: i64) -> Shown {
    Shown { token, shopper, session, surface: token % 2, at_ms: T0 + minute * MINUTE }
}

fn choice(action: Action, item: Id, minute: i64) -> Event<'static> {
    Event { action, item, at_ms: T0 + minute * MINUTE, store: None, facts: Facts::default() }
}

/// Two lists of shopper 1 (one in session 9), one of shopper 2.
fn lists() -> Lists {
    let mut lists = Lists::default();
    lists.show(shown(101, 1, Some(9), 0), &page(&[1, 2, 3]), [2, 0, 1]);
    lists.show(shown(102, 1, None, 30), &page(&[3, 4]), 0..2);
    lists.show(shown(103, 2, None, 40), &page(&[1, 4]), 0..2);
    lists
}

#[test]
fn a_choice_joins_its_list_by_table() {
    let origin = |shopper, session, token| Origin { shopper, session, token };
    for (case, event, origin, expected) in [
        ("by token", choice(Action::Click, 3, 50), origin(1, None, Some(101)), Some((101, 0))),
        ("the newest that holds it", choice(Action::Purchase, 3, 50), origin(1, None, None), Some((102, 0))),
        ("the only one that holds it", choice(Action::Cart, 2, 50), origin(1, None, None), Some((101, 2))),
        ("too late", choice(Action::Cart, 2, 61), origin(1, None, None), None),
        ("late, but the same session", choice(Action::Purchase, 2, 300), origin(1, Some(9), None), Some((101, 2))),
        ("a day late in the same session", choice(Action::Purchase, 2, 1_441), origin(1, Some(9), None), None),
        ("a clock that is slow", choice(Action::Click, 4, 28), origin(1, None, None), Some((102, 1))),
        ("before the list", choice(Action::Click, 4, 20), origin(1, None, None), None),
        ("somebody else's list", choice(Action::Click, 2, 50), origin(2, None, None), None),
        ("somebody else's token", choice(Action::Click, 1, 50), origin(2, None, Some(101)), None),
        ("an unknown token", choice(Action::Click, 1, 50), origin(1, None, Some(999)), None),
        ("an item that was not on it", choice(Action::Click, 7, 50), origin(1, None, Some(101)), None),
        ("no choice", choice(Action::View, 3, 50), origin(1, None, Some(101)), None),
        ("no choice either", choice(Action::Dismiss, 3, 50), origin(1, None, Some(101)), None),
    ] {
        let (mut lists, mut learner) = (lists(), Learner::default());
        let joined = lists.learn(&event, &origin, &mut learner);
        assert_eq!(joined.map(|joined| (joined.token, joined.position)), expected, "{case}");
        assert_eq!(learner.choices(), u64::from(expected.is_some()), "{case}");
    }
}

#[test]
fn one_item_of_a_list_teaches_once() {
    let (mut lists, mut learner) = (lists(), Learner::default());
    let origin = Origin { shopper: 1, session: None, token: Some(101) };
    for action in [Action::Click, Action::Cart, Action::Purchase] {
        assert!(lists.learn(&choice(action, 1, 1), &origin, &mut learner).is_some());
    }
    assert_eq!(learner.choices(), 1);
    lists.learn(&choice(Action::Click, 2, 1), &origin, &mut learner);
    assert_eq!(learner.choices(), 2);
}

#[test]
fn a_list_that_was_not_shown_in_full_teaches_what_was_seen() {
    let (mut lists, mut learner) = (Lists::default(), Learner::default());
    lists.show(shown(1, 1, None, 0), &page(&[1, 2, 3, 4]), [3, 1]);
    let origin = Origin { shopper: 1, session: None, token: None };
    assert!(lists.learn(&choice(Action::Click, 1, 0), &origin, &mut learner).is_none());
    assert_eq!(lists.learn(&choice(Action::Click, 2, 0), &origin, &mut learner).map(|joined| joined.position), Some(1));
    lists.show(shown(2, 1, None, 0), &page(&[1, 2]), [0]);
    assert_eq!(lists.len(), 1, "of one item there is nothing to learn");
}

#[test]
fn erasing_a_shopper_leaves_no_trace() {
    let mut lists = lists();
    lists.erase(1);
    assert_eq!(lists.len(), 1);
    lists.erase(2);
    assert!(lists.is_empty() && lists.of_shopper.is_empty() && lists.oldest_first.is_empty() && lists.bytes() == 0);
}

#[test]
fn a_visitor_who_turns_out_to_be_known_brings_the_lists_along() {
    let (mut lists, mut learner) = (lists(), Learner::default());
    lists.rename(1, 2);
    lists.rename(2, 2);
    let origin = Origin { shopper: 2, session: None, token: Some(101) };
    assert!(lists.learn(&choice(Action::Click, 1, 1), &origin, &mut learner).is_some());
    lists.erase(1);
    assert_eq!(lists.len(), 3);
}

#[test]
fn lists_are_bounded_by_shopper_and_in_bytes() {
    let mut lists = Lists::default();
    for token in 0..3 * LISTS_OF_SHOPPER_MAX as Id {
        lists.show(shown(token, 1, None, 0), &page(&[1, 2]), 0..2);
    }
    assert_eq!(lists.len(), LISTS_OF_SHOPPER_MAX);
    for _ in 0..4 * GONE_MAX {
        lists.show(shown(7_777, 2, None, 0), &page(&[1, 2]), 0..2);
    }
    assert_eq!(lists.len(), LISTS_OF_SHOPPER_MAX + 1, "one token is one list");
    assert!(lists.oldest_first.len() <= 2 * lists.len() + GONE_MAX);
    let (items, mut token): (Vec<Id>, Id) = ((0..400).collect(), 10_000);
    let long = page(&items);
    for _ in 0..SHOWN_BYTES_MAX / (400 * (FEATURES * 2 + 10)) + 50 {
        token += 1;
        lists.show(shown(token, token, None, 0), &long, 0..400);
        assert!(lists.bytes() <= SHOWN_BYTES_MAX);
    }
    assert!(lists.by_token.contains_key(&token) && !lists.by_token.contains_key(&10_001));
    assert!(lists.of_shopper.len() <= lists.len());
}
