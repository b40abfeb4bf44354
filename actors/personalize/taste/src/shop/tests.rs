//! The shop's counts: what they say, that they are bounded, that batches do not matter.

use super::*;
use crate::clock::DAY_MS;
use crate::profile::Profile;

const T0: i64 = 1_700_000_000_000;

fn event(item: Id, day: i64) -> Event<'static> {
    let facts = Facts { kind: Some(1), brand: Some(item % 2), price: Some(1.0 + item as f32), ..Facts::default() };
    Event { action: Action::Purchase, item, at_ms: T0 + day * DAY_MS, store: Some(item % 2), facts }
}

fn buy(shop: &mut Shop, profile: &mut Profile, item: Id, day: i64) {
    let step = profile.apply(&event(item, day), shop);
    shop.apply(&event(item, day), &step);
}

#[test]
fn popularity_fades_and_refunds_take_it_back() {
    let mut shop = Shop::default();
    buy(&mut shop, &mut Profile::default(), 1, 0);
    buy(&mut shop, &mut Profile::default(), 1, 0);
    for (days, expected) in [(0, 2.0), (28, 1.0), (56, 0.5)] {
        assert!((shop.popularity(1, T0 + days * DAY_MS) - expected).abs() < 1e-4, "{days}");
    }
    shop.apply(&Event { action: Action::Refund, ..event(1, 0) }, &Step::default());
    assert!((shop.popularity(1, T0) - 1.0).abs() < 1e-4);
    assert_eq!(shop.popularity(2, T0), 0.0);
}

#[test]
fn a_price_is_told_beside_the_mean_of_its_type() {
    let mut shop = Shop::default();
    let price = |price| Facts { kind: Some(1), price: Some(price), ..Facts::default() };
    assert_eq!(shop.relative_price(&price(2.0)), None, "nothing is known of the type");
    for item in [0, 7] {
        buy(&mut shop, &mut Profile::default(), item, 0);
    }
    // The geometric mean of 1 and 8.
    let relative = shop.relative_price(&price(8.0_f32.sqrt())).expect("known");
    assert!(relative.abs() < 1e-4, "{relative}");
    for (odd, expected) in [(f32::NAN, None), (-1.0, None), (0.0, None), (f32::INFINITY, None), (f32::MAX, Some(3.0))] {
        assert_eq!(shop.relative_price(&price(odd)), expected, "{odd}");
    }
}

#[test]
fn repeats_and_transitions_are_those_of_one_shopper() {
    let mut shop = Shop::default();
    let (mut one, mut other) = (Profile::default(), Profile::default());
    buy(&mut shop, &mut one, 1, 0);
    buy(&mut shop, &mut other, 5, 1);
    buy(&mut shop, &mut one, 2, 2);
    buy(&mut shop, &mut one, 1, 4);
    let (first, down) = (shop.find(1).expect("known"), shop.slow.down(T0 + 4 * DAY_MS));
    assert!(first.followed_by(0, 2).0 > 0.0 && first.followed_by(0, 5).0 == 0.0);
    assert!((first.repeat_rate(down) - 3.0 / 10.0).abs() < 0.01, "{}", first.repeat_rate(down));
    assert_eq!(first.mean_gap_days(), Some(4.0));
    assert!(first.followed_by(1, 1).0 > 0.0, "bought again after two");
}

#[test]
fn a_full_shop_forgets_the_least_popular() {
    let mut shop = Shop::with_items_max(64);
    for item in 0..64 {
        for _ in 0..=item {
            buy(&mut shop, &mut Profile::default(), item, 0);
        }
    }
    buy(&mut shop, &mut Profile::default(), 1_000, 0);
    assert_eq!(shop.items(), 57);
    assert!(shop.popularity(1_000, T0) > 0.0 && shop.popularity(63, T0) > 0.0 && shop.popularity(0, T0) == 0.0);
    assert!(shop.find(63).is_some_and(|sold| sold.item == 63), "the index follows");
}

#[test]
fn a_new_epoch_changes_no_count() {
    let mut shop = Shop::default();
    let mut profile = Profile::default();
    buy(&mut shop, &mut profile, 1, 0);
    let late = 24 * HABIT_HALF_LIFE_DAYS + 1;
    let before = shop.popularity(1, T0 + late * DAY_MS);
    buy(&mut shop, &mut profile, 2, late);
    let after = shop.popularity(1, T0 + late * DAY_MS);
    assert!((before - after).abs() <= before * 1e-3, "{before} {after}");
    assert!(shop.find(1).is_some_and(|sold| sold.is_sound()));
}
