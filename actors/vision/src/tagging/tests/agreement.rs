//! An inspector beside the live release.

use protocol::releases::{Order, Rank, Rules, Settings};

use super::house::House;

#[test]
fn an_inspector_is_asked_about_a_sample_and_nothing_of_it_is_written() {
    let mut house = House::new();
    let settings = house.first_release(0.95);
    house.shop(40);
    house.put("unknown", 1, None);
    house.step();
    assert!(house.tagger().agreement().is_none(), "nobody to compare with");
    let before = house.records();
    // Another precision of the same model: the same guesses. Another model that sees the kinds the other way round.
    let precise = Settings { rules: Rules { fact_precision: 0.6, ..settings.rules }, ..settings.clone() };
    house.order("precise", Order::Create(house.definition("first", precise)));
    house.order("turned", Order::Create(house.definition("turned", settings)));
    let promote = || Order::Promote { to: Some(Rank::Inspector), share: None, is_complete: true, force: false };
    house.order("precise", promote());
    house.later(1_000);
    house.step();
    let found = house.tagger().agreement().expect("compared");
    assert_eq!((found.release.as_str(), found.compared_with.as_str(), found.products), ("precise", "first", 41));
    let colour = found.attributes.iter().find(|own| own.attribute == "colour").expect("a colour");
    assert_eq!((colour.both_guesses, colour.same_guesses), (41, 41));
    assert!(
        colour.live_facts > 0 && colour.both_facts <= colour.live_facts.min(colour.shadow_facts) && colour.same_facts == colour.both_facts
    );

    house.order("precise", Order::Hold);
    house.order("turned", promote());
    house.later(1_000);
    house.step();
    let found = house.tagger().agreement().expect("compared");
    let colour = found.attributes.iter().find(|own| own.attribute == "colour").expect("a colour");
    assert_eq!((found.release.as_str(), colour.same_guesses), ("turned", 41), "learned from its own vectors it says the same");
    assert_eq!(house.records(), before, "not a word of it is written");
    // It takes office with what was learned.
    house.order("turned", Order::Promote { to: Some(Rank::Commissioner), share: None, is_complete: true, force: false });
    house.model("turned");
    house.later(20_000);
    house.step();
    assert!(house.tagger().agreement().is_none());
    assert_eq!(house.tagger().vocabulary().taught_at_ms, Some(found.at_ms), "what was learned then is in force");
}

#[test]
fn an_inspector_without_vectors_is_asked_again_when_it_has_some() {
    let mut house = House::new();
    let settings = house.first_release(0.95);
    house.shop(40);
    house.step();
    house.hide_vectors("empty", true);
    house.order("empty", Order::Create(house.definition("empty", settings)));
    house.order("empty", Order::Promote { to: Some(Rank::Inspector), share: None, is_complete: true, force: false });
    house.later(1_000);
    house.step();
    assert!(house.tagger().agreement().is_none());
    house.hide_vectors("empty", false);
    house.later(1_000);
    house.step();
    assert!(house.tagger().agreement().is_none(), "not at once");
    house.later(60_000);
    house.step();
    assert_eq!(house.tagger().agreement().map(|found| found.products), Some(40));
}
