//! Features: each says what its name says, and none is ever no number.

use proptest::prelude::*;

use super::*;
use crate::clock::DAY_MS;
use crate::{Action, Event};

const T0: i64 = 1_700_000_000_000;

#[derive(Default)]
struct World {
    profile: Profile,
    others: Profile,
    shop: Shop,
}

impl World {
    /// The shopper, or somebody else, does something.
    fn happen(&mut self, mine: bool, action: Action, item: Id, day: i64, facts: Facts) {
        let event = Event { action, item, at_ms: T0 + day * DAY_MS, store: None, facts };
        let profile = if mine { &mut self.profile } else { &mut self.others };
        let step = profile.apply(&event, &self.shop);
        self.shop.apply(&event, &step);
    }

    fn page<'f>(&self, items: &[Id], day: i64, facts: impl Fn(usize) -> Facts<'f>) -> Page {
        let candidates: Vec<Candidate> = items.iter().map(|item| Candidate { item: *item, score: None }).collect();
        Page::new(&self.profile, &self.shop, &Ask { at_ms: T0 + day * DAY_MS, store: None, candidates: &candidates }, facts)
    }
}

fn value(page: &Page, at: usize, feature: Feature) -> f32 {
    page.rows[at][feature as usize]
}

fn facts(kind: Id, brand: Id) -> Facts<'static> {
    Facts { kind: Some(kind), brand: Some(brand), price: Some(2.0 + brand as f32), private_label: Some(brand == 1), ..Facts::default() }
}

#[test]
fn the_shoppers_brand_price_and_label_count_more() {
    let mut world = World::default();
    for day in 0..20 {
        // The shopper buys brand 1, the others as much of each.
        world.happen(true, Action::Purchase, 100, day, facts(7, 1));
        world.happen(false, Action::Purchase, 100 + day as Id % 2, day, facts(7, 1 + day as Id % 2));
        world.happen(false, Action::Purchase, 102, day, facts(7, 2));
    }
    // Two new items, of brand 1 and of brand 2.
    let page = world.page(&[201, 202], 20, |at| facts(7, 1 + at as Id));
    for feature in [Feature::Brand, Feature::NewOfBrand, Feature::PrivateLabel, Feature::PriceFit] {
        assert!(value(&page, 0, feature) > value(&page, 1, feature), "{}", feature.name());
    }
    assert!(value(&page, 0, Feature::Brand) > 0.0 && value(&page, 1, Feature::Brand) < 0.0);
}

#[test]
fn own_purchases_are_told_apart_from_those_of_others() {
    let mut world = World::default();
    for (mine, item, day) in [(true, 1, 0), (true, 1, 7), (true, 2, 8), (false, 3, 8), (false, 3, 9)] {
        world.happen(mine, Action::Purchase, item, day, facts(7, 1));
    }
    let page = world.page(&[1, 2, 3], 14, |_| facts(7, 1));
    let bought: Vec<f32> = (0..3).map(|at| value(&page, at, Feature::Bought)).collect();
    assert_eq!(bought, [1.0, 1.0, 0.0]);
    assert!(value(&page, 0, Feature::OwnCount) > value(&page, 1, Feature::OwnCount));
    assert!(value(&page, 0, Feature::OwnShare) > value(&page, 1, Feature::OwnShare));
    assert!(value(&page, 0, Feature::Recency) < value(&page, 1, Feature::Recency));
    assert!((value(&page, 0, Feature::Due) - 1.0).abs() < 0.02, "a week after a weekly purchase");
    assert!((value(&page, 0, Feature::OwnVisits) - 2.0_f32.ln()).abs() < 1e-6);
    assert!(value(&page, 2, Feature::Popularity) > value(&page, 1, Feature::Popularity));
}

#[test]
fn what_follows_the_last_item_is_expected() {
    let mut world = World::default();
    for pair in 0..10 {
        // Others always buy 2 after 1, and as often 3 on its own.
        let mut somebody = World { shop: std::mem::take(&mut world.shop), ..World::default() };
        somebody.happen(true, Action::Purchase, 1, pair, facts(7, 1));
        somebody.happen(true, Action::Purchase, 2, pair + 1, facts(7, 1));
        world.shop = somebody.shop;
        let mut somebody = World { shop: std::mem::take(&mut world.shop), ..World::default() };
        somebody.happen(true, Action::Purchase, 3, pair, facts(7, 1));
        world.shop = somebody.shop;
    }
    world.happen(true, Action::Purchase, 1, 20, facts(7, 1));
    let page = world.page(&[2, 3], 21, |_| facts(7, 1));
    assert!(value(&page, 0, Feature::AfterLast) > 0.0 && value(&page, 1, Feature::AfterLast) < 0.0);
}

#[test]
fn sizes_colours_and_pictures_speak_for_new_items() {
    let mut world = World::default();
    let (red, blue) = ([(1, 11)], [(1, 12)]);
    let (round, long) = ([1.0, 0.1, 0.0], [0.0, 0.1, 1.0]);
    let dress = |size, attributes, image| Facts { kind: Some(7), size: Some(size), attributes, image, text: image, ..Facts::default() };
    for day in 0..8 {
        world.happen(true, Action::Purchase, 1, day, dress(38, &red, &round));
        world.happen(false, Action::Purchase, 1, day, dress(38, &red, &round));
        world.happen(false, Action::Purchase, 2, day, dress(42, &blue, &long));
    }
    let page = world.page(&[10, 20], 8, |at| if at == 0 { dress(38, &red, &round) } else { dress(42, &blue, &long) });
    for feature in [Feature::Size, Feature::Attributes, Feature::LookTaste, Feature::TextTaste] {
        assert!(value(&page, 0, feature) > value(&page, 1, feature) + 0.1, "{}", feature.name());
    }
    world.happen(true, Action::View, 20, 8, dress(42, &blue, &long));
    let page = world.page(&[10, 20], 8, |at| if at == 0 { dress(38, &red, &round) } else { dress(42, &blue, &long) });
    assert!(value(&page, 1, Feature::LookNow) > value(&page, 0, Feature::LookNow), "this visit is about the other");
    assert!(value(&page, 1, Feature::Seen) > 0.0);
}

#[test]
fn candidate_scores_are_compared_within_the_list() {
    let world = World::default();
    for (scores, expected) in [
        (vec![Some(5.0), Some(15.0), Some(10.0), None], vec![0.0, 1.0, 0.5, 0.0]),
        (vec![Some(3.0), Some(3.0)], vec![0.0, 0.0]),
        (vec![Some(f32::NAN), Some(1.0), Some(2.0), Some(f32::INFINITY)], vec![0.0, 0.0, 1.0, 0.0]),
        (vec![None, None], vec![0.0, 0.0]),
    ] {
        let candidates: Vec<Candidate> = scores.iter().map(|score| Candidate { item: 1, score: *score }).collect();
        let ask = Ask { at_ms: T0, store: None, candidates: &candidates };
        let page = Page::new(&world.profile, &world.shop, &ask, |_| Facts::default());
        let got: Vec<f32> = (0..scores.len()).map(|at| value(&page, at, Feature::CandidateScore)).collect();
        assert_eq!(got, expected, "{scores:?}");
    }
}

#[test]
fn a_stranger_has_no_personal_features_and_a_long_list_is_cut() {
    let mut world = World::default();
    world.happen(false, Action::Purchase, 1, 0, facts(7, 1));
    let items: Vec<Id> = (0..2 * CANDIDATES_MAX as Id).collect();
    let page = world.page(&items, 1, |_| facts(7, 1));
    assert_eq!((page.items.len(), page.rows.len()), (CANDIDATES_MAX, CANDIDATES_MAX));
    let personal = [Feature::Bought, Feature::OwnCount, Feature::OwnShare, Feature::LookTaste, Feature::Seen, Feature::Refused];
    assert!(page.rows.iter().all(|row| personal.iter().all(|feature| row[*feature as usize] == 0.0)));
    assert!(world.page(&[], 1, |_| facts(7, 1)).rows.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_feature_is_ever_no_number(
        events in proptest::collection::vec((any::<bool>(), 0_u64..12, -400_i64..400, any::<f32>(), any::<f32>()), 0..60),
        asked in proptest::collection::vec((0_u64..14, any::<f32>(), any::<f32>()), 0..20),
        at_ms: i64,
    ) {
        let mut world = World::default();
        let actions = [Action::Purchase, Action::View, Action::Refund, Action::Dismiss, Action::Cart, Action::Uncart];
        for (mine, item, day, price, element) in events {
            let (image, attributes) = ([element, 1.0], [(item, item)]);
            let facts = Facts {
                kind: Some(item % 3),
                brand: Some(item % 4),
                size: Some(item % 2),
                price: Some(price),
                private_label: Some(item.is_multiple_of(2)),
                attributes: &attributes,
                image: &image,
                image_model: item % 2,
                text: &image,
                text_model: 1,
            };
            world.happen(mine, actions[item as usize % actions.len()], item, day, facts);
        }
        let embeddings: Vec<[f32; 2]> = asked.iter().map(|asked| [asked.1, asked.2]).collect();
        let candidates: Vec<Candidate> = asked.iter().map(|asked| Candidate { item: asked.0, score: Some(asked.1) }).collect();
        let ask = Ask { at_ms, store: Some(1), candidates: &candidates };
        let page = Page::new(&world.profile, &world.shop, &ask, |at| {
            Facts { price: Some(asked[at].2), image: &embeddings[at], text: &embeddings[at], ..facts(asked[at].0 % 3, asked[at].0 % 4) }
        });
        prop_assert!(page.rows.iter().flatten().all(|value| value.is_finite() && value.abs() <= 20.0));
    }
}
