//! Profiles: what they remember, how they become one, what they never exceed.

use proptest::prelude::*;

use super::*;
use crate::{Action, Event, Facts, Shop};

const T0: i64 = 1_700_000_000_000;
const CONFIG: bincode::config::Configuration<bincode::config::LittleEndian, bincode::config::Fixint, bincode::config::Limit<65_536>> =
    bincode::config::legacy().with_limit::<65_536>();

fn event(action: Action, item: Id, day: i64) -> Event<'static> {
    let facts = Facts {
        kind: Some(item % 3),
        brand: Some(item % 5),
        price: Some(2.0),
        private_label: Some(item.is_multiple_of(2)),
        ..Facts::default()
    };
    Event { action, item, at_ms: T0 + day * DAY_MS, store: None, facts }
}

fn profile(events: &[(Action, Id, i64)]) -> Profile {
    let (mut profile, shop) = (Profile::default(), Shop::default());
    for (action, item, day) in events {
        profile.apply(&event(*action, *item, *day), &shop);
    }
    profile
}

fn bytes(profile: &Profile) -> Vec<u8> {
    bincode::encode_to_vec(profile, CONFIG).expect("encodes")
}

#[test]
fn a_step_tells_what_the_purchase_was() {
    let (mut profile, shop) = (Profile::default(), Shop::default());
    for (item, day, repeat, gap_days, before) in [
        (3, 0, false, None, [None, None]),
        (6, 2, false, None, [Some(3), None]),
        (3, 5, true, Some(5.0), [Some(6), Some(3)]),
        // The same visit once more, another item of the visit, and another type.
        (3, 5, false, None, [Some(6), None]),
        (9, 5, false, None, [Some(6), None]),
        (4, 6, false, None, [None, None]),
        (6, 7, true, Some(5.0), [Some(3), Some(9)]),
    ] {
        let step = profile.apply(&event(Action::Purchase, item, day), &shop);
        assert_eq!(step, Step { repeat, gap_days, before }, "item {item} on day {day}");
    }
}

#[test]
fn counts_fade_by_half_in_two_months_and_late_events_count_as_if_on_time() {
    let on_time = profile(&[(Action::Purchase, 1, 0), (Action::Purchase, 2, 60)]);
    let late = profile(&[(Action::Purchase, 2, 60), (Action::Purchase, 1, 0)]);
    for known in [&on_time, &late] {
        let counts: Vec<f32> = known.bought(T0 + 60 * DAY_MS).map(|bought| bought.1).collect();
        assert!((counts[0] - 0.5).abs() < 1e-4 && (counts[1] - 1.0).abs() < 1e-4, "{counts:?}");
    }
}

#[test]
fn refusals_are_remembered_until_the_item_is_bought() {
    let refused = |events: &[_]| profile(events).refused(T0 + DAY_MS).map(|refused| refused.0).collect::<Vec<_>>();
    assert_eq!(refused(&[(Action::Dismiss, 1, 0), (Action::Uncart, 2, 0), (Action::Refund, 3, 0)]), [1, 2, 3]);
    assert_eq!(refused(&[(Action::Dismiss, 1, 0), (Action::Purchase, 1, 1)]), []);
}

#[test]
fn a_refund_takes_a_purchase_back() {
    let refunded = profile(&[(Action::Purchase, 1, 0), (Action::Purchase, 1, 0), (Action::Refund, 1, 0)]);
    let count = refunded.bought(T0).next().map(|bought| bought.1);
    assert!((count.expect("an item") - 1.0).abs() < 1e-4);
    assert!((refunded.purchases(T0) - 1.0).abs() < 1e-4);
}

#[test]
fn what_was_looked_at_is_seen_until_it_is_bought() {
    let seen = |events: &[_]| profile(events).seen(T0).map(|seen| seen.0).collect::<Vec<_>>();
    assert_eq!(seen(&[(Action::View, 1, 0), (Action::Cart, 2, 0)]), [1, 2]);
    assert_eq!(seen(&[(Action::View, 1, 0), (Action::Cart, 2, 0), (Action::Purchase, 2, 0)]), [1]);
}

#[test]
fn the_largest_profile_is_within_its_bound_and_the_usual_one_small() {
    let (mut profile, shop) = (Profile::default(), Shop::default());
    let embedding = vec![0.5; crate::EMBEDDING_LENGTH_MAX];
    for n in 0..5_000_u64 {
        let other: Vec<f32> = embedding.iter().enumerate().map(|(at, x)| if at as u64 % 2 == n % 2 { *x } else { 0.0 }).collect();
        let attributes = [(1, n), (2, n)];
        let facts = Facts { kind: Some(n), brand: Some(n), attributes: &attributes, image: &other, text: &other, ..Facts::default() };
        let action = [Action::Purchase, Action::View, Action::Dismiss][n as usize % 3];
        profile.apply(&Event { action, item: n, at_ms: T0 + n as i64, store: None, facts }, &shop);
    }
    let largest = bytes(&profile);
    assert!(largest.len() <= PROFILE_BYTES_MAX, "{}", largest.len());
    assert!(largest.len() > PROFILE_BYTES_MAX * 9 / 10, "the bound is not wasted: {}", largest.len());
    let read: (Profile, usize) = bincode::decode_from_slice(&largest, CONFIG).expect("decodes");
    assert_eq!(read, (profile, largest.len()));
    assert!(bytes(&self::profile(&[(Action::Purchase, 1, 0); 30])).len() < 400);
}

#[test]
fn a_full_profile_forgets_what_is_bought_least() {
    let mut events: Vec<_> = (0..ITEMS_MAX as u64).map(|item| (Action::Purchase, item, 10)).collect();
    events.extend([(Action::Purchase, 7, 11), (Action::Purchase, 100_000, 12)]);
    events[3].2 = 0;
    let full = profile(&events);
    assert_eq!(full.items.len(), ITEMS_MAX);
    assert!(full.owned(3).is_none() && full.owned(7).is_some() && full.owned(100_000).is_some());
}

#[test]
fn bytes_that_no_profile_encodes_to_are_errors() {
    let good = bytes(&profile(&[(Action::Purchase, 1, 0), (Action::View, 2, 0)]));
    for length in 0..good.len() {
        assert!(bincode::decode_from_slice::<Profile, _>(&good[..length], CONFIG).is_err(), "cut at {length}");
    }
    let mut nan = good.clone();
    nan[24..28].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(bincode::decode_from_slice::<Profile, _>(&nan, CONFIG).is_err(), "a count that is no number");
    let mut clock = good;
    clock[8] ^= 1;
    assert!(bincode::decode_from_slice::<Profile, _>(&clock, CONFIG).is_err(), "another half-life");
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::View),
        Just(Action::Click),
        Just(Action::Wishlist),
        Just(Action::Cart),
        Just(Action::Uncart),
        Just(Action::Purchase),
        Just(Action::Refund),
        Just(Action::Dismiss),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn two_profiles_become_one_by_sums(
        mine in proptest::collection::vec((Just(Action::Purchase), 0_u64..12, 0_i64..400), 0..40),
        theirs in proptest::collection::vec((Just(Action::Purchase), 0_u64..12, 0_i64..400), 0..40),
    ) {
        let (a, b, now_ms) = (profile(&mine), profile(&theirs), T0 + 400 * DAY_MS);
        let mut merged = a.clone();
        merged.merge(&b);
        let count = |profile: &Profile, item| profile.owned(item).map_or(0.0, |owned| owned.count * profile.clock.down(now_ms));
        for item in 0..12 {
            let (sum, got) = (count(&a, item) + count(&b, item), count(&merged, item));
            prop_assert!((sum - got).abs() <= 1e-4 * (1.0 + sum), "item {item}: {got} instead of {sum}");
        }
        let sum = a.purchases(now_ms) + b.purchases(now_ms);
        prop_assert!((merged.purchases(now_ms) - sum).abs() <= 1e-4 * (1.0 + sum));
        prop_assert_eq!(merged.updated_ms(), a.updated_ms().max(b.updated_ms()));
        let last = |profile: &Profile, item| profile.owned(item).map_or(0, |owned| owned.last_s);
        prop_assert!((0..12).all(|item| last(&merged, item) == last(&a, item).max(last(&b, item))));
    }

    #[test]
    fn any_events_leave_a_profile_that_decodes_to_itself(
        events in proptest::collection::vec((action(), 0_u64..40, any::<i64>(), any::<f32>(), any::<f32>()), 0..60),
    ) {
        let (mut profile, mut shop) = (Profile::default(), Shop::default());
        for (action, item, at_ms, price, element) in events {
            let embedding = [element, price, 1.0];
            let facts = Facts { kind: Some(item % 3), brand: Some(item), price: Some(price), image: &embedding, ..Facts::default() };
            let event = Event { action, item, at_ms, store: Some(item), facts };
            let step = profile.apply(&event, &shop);
            shop.apply(&event, &step);
        }
        let encoded = bytes(&profile);
        let (read, length): (Profile, usize) = bincode::decode_from_slice(&encoded, CONFIG).expect("decodes");
        prop_assert_eq!(length, encoded.len());
        prop_assert_eq!(&read, &profile);
        let mut twice = profile.clone();
        twice.merge(&profile);
        prop_assert!(twice.is_sound());
    }

    #[test]
    fn hostile_bytes_are_errors_or_sound_profiles(mut flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8)) {
        let mut encoded = bytes(&profile(&[(Action::Purchase, 1, 0), (Action::View, 2, 0), (Action::Dismiss, 3, 0)]));
        for (at, byte) in flips.drain(..) {
            let at = at % encoded.len();
            encoded[at] = byte;
        }
        if let Ok((read, _)) = bincode::decode_from_slice::<Profile, _>(&encoded, CONFIG) {
            prop_assert!(read.is_sound());
        }
    }
}
