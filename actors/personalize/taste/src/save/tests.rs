//! The stream: it comes back as it was, and is the same however events were batched; whatever else is in it is an error.

use proptest::prelude::*;

use super::*;
use crate::{Action, Event, Facts, Id, Lists, Origin, Page, Profile, Shown};

const T0: i64 = 1_700_000_000_000;

/// Some events of some shoppers, each with a list that is shown before; in batches of a size, which must not matter.
fn run(events: &[(Id, Id, i64)], batch: usize) -> (Saved, Vec<Profile>) {
    let (mut saved, mut lists) = (Saved::default(), Lists::default());
    let mut profiles = vec![Profile::default(); 4];
    for (n, part) in events.chunks(batch.max(1)).enumerate() {
        for (shopper, item, minute) in part {
            let facts = Facts { kind: Some(item % 2), brand: Some(item % 3), price: Some(*item as f32), ..Facts::default() };
            let at_ms = T0 + minute * 60_000;
            let event = Event { action: Action::Purchase, item: *item, at_ms, store: Some(item % 2), facts };
            let candidates: Vec<crate::Candidate> = (0..8).map(|item| crate::Candidate { item, score: None }).collect();
            let profile = &mut profiles[*shopper as usize];
            let ask = crate::Ask { at_ms, store: None, candidates: &candidates };
            let page = Page::new(profile, &saved.shop, &ask, |_| Facts::default());
            lists.show(Shown { token: 1, shopper: *shopper, session: None, surface: 1, at_ms }, &page, 0..8);
            let step = profile.apply(&event, &saved.shop);
            saved.shop.apply(&event, &step);
            lists.learn(&event, &Origin { shopper: *shopper, ..Origin::default() }, &mut saved.learner);
            saved.bandit.shown(1, *item);
        }
        assert!(n < events.len());
    }
    (saved, profiles)
}

fn bytes(saved: &Saved) -> Vec<u8> {
    let mut bytes = Vec::new();
    let digest = saved.save(&mut bytes).expect("writes");
    assert_eq!(bytes[bytes.len() - DIGEST_BYTES..], digest);
    bytes
}

fn some() -> Vec<(Id, Id, i64)> {
    (0..300).map(|n| (n % 4, n * 7 % 200, n as i64 * 500)).collect()
}

#[test]
fn what_was_saved_comes_back() {
    let (saved, _) = run(&some(), 10);
    let bytes = bytes(&saved);
    let loaded = Saved::load(&mut bytes.as_slice()).expect("reads");
    assert_eq!(loaded, saved);
    assert_eq!(self::bytes(&loaded), bytes);
    assert_eq!(Saved::load(&mut self::bytes(&Saved::default()).as_slice()).expect("reads"), Saved::default());
}

#[test]
fn a_shop_goes_on_from_its_stream_as_if_it_had_not_stopped() {
    let (events, half) = (some(), 150);
    let (whole, _) = run(&events, 1);
    let (saved, mut profiles) = run(&events[..half], 1);
    let mut shop = Saved::load(&mut bytes(&saved).as_slice()).expect("reads").shop;
    for (shopper, item, minute) in &events[half..] {
        let facts = Facts { kind: Some(item % 2), brand: Some(item % 3), price: Some(*item as f32), ..Facts::default() };
        let event = Event { action: Action::Purchase, item: *item, at_ms: T0 + minute * 60_000, store: Some(item % 2), facts };
        let step = profiles[*shopper as usize].apply(&event, &shop);
        shop.apply(&event, &step);
    }
    assert_eq!(shop, whole.shop);
}

#[test]
fn a_stream_that_is_cut_or_changed_is_an_error() {
    let bytes = bytes(&run(&some()[..40], 1).0);
    for length in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        assert!(Saved::load(&mut &bytes[..length]).is_err(), "cut at {length}");
    }
    for at in (0..bytes.len()).step_by(5) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x20;
        assert!(Saved::load(&mut changed.as_slice()).is_err(), "changed at {at}");
    }
    assert!(matches!(Saved::load(&mut &b"another thing"[..]), Err(SaveError::Magic)));
    let mut long = bytes[..MAGIC.len()].to_vec();
    long.extend(u32::MAX.to_le_bytes());
    assert!(matches!(Saved::load(&mut long.as_slice()), Err(SaveError::Damaged(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn events_in_any_batches_give_the_same_state_bit_for_bit(
        events in proptest::collection::vec((0_u64..4, 0_u64..12, 0_i64..500_000), 1..60),
        batch in 1_usize..60,
    ) {
        let (one, one_profiles) = run(&events, 1);
        let (other, other_profiles) = run(&events, batch);
        prop_assert_eq!(bytes(&one), bytes(&other));
        prop_assert_eq!(one_profiles, other_profiles);
    }

    #[test]
    fn hostile_streams_are_errors(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut stream = MAGIC.to_vec();
        stream.extend(noise);
        prop_assert!(Saved::load(&mut stream.as_slice()).is_err());
    }
}
