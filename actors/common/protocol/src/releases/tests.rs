//! The rules of ranks by table, and what holds after any orders.

use super::*;

fn model(space: Space, name: &str, version: u8) -> ModelInfo {
    ModelInfo { name: name.into(), space, dimensions: 4, fingerprint: format!("{name}{version}"), reads_texts: space == Space::Text }
}

fn definition(version: u8) -> Definition {
    Definition { image_model: Some(model(Space::Image, "pictures", version)), text_model: Some(model(Space::Text, "words", 1)) }
}

fn promote(to: Option<Rank>) -> Order {
    Order::Promote { to, share: None, is_complete: true, force: false }
}

fn give(ledger: &Ledger, name: &str, order: Order) -> Result<Ledger, Refusal> {
    let now_ms = ledger.revision as i64;
    ledger.after(&Command { name: name.into(), order, by: "ops".into(), reason: "because".into() }, now_ms)
}

fn code(result: Result<Ledger, Refusal>) -> &'static str {
    result.map_or_else(|refusal| refusal.code, |_| "fine")
}

fn ranks(ledger: &Ledger) -> Vec<(&str, Rank, bool)> {
    ledger.releases.iter().map(|release| (release.name.as_str(), release.rank, release.is_held)).collect()
}

fn with_second() -> Ledger {
    give(&Ledger::first(definition(1), 0), "second", Order::Create(definition(2))).expect("a second release")
}

#[test]
fn a_release_rises_step_by_step_and_the_old_one_stays_ready() {
    let mut ledger = with_second();
    for rank in [Rank::Inspector, Rank::AssistantCommissioner] {
        ledger = give(&ledger, "second", promote(None)).expect("up");
        assert_eq!(ranks(&ledger), [("first", Rank::Commissioner, false), ("second", rank, false)]);
    }
    assert_eq!(ledger.get("second").map(|release| release.share), Some(SHARE_DEFAULT));
    ledger = give(&ledger, "second", promote(None)).expect("live");
    assert_eq!(ranks(&ledger), [("first", Rank::AssistantCommissioner, true), ("second", Rank::Commissioner, false)]);
    assert_eq!(ledger.on_duty(Rank::AssistantCommissioner), None);
    ledger = give(&ledger, "second", Order::Rollback).expect("back");
    assert_eq!(ranks(&ledger), [("first", Rank::Commissioner, false), ("second", Rank::AssistantCommissioner, true)]);
    assert_eq!(code(give(&ledger, "first", Order::Rollback)), "nothing_before", "a release that was taken back does not return by itself");
    let last = ledger.history.last().expect("a change");
    assert_eq!((last.release.as_str(), last.from, last.to), ("first", Some(Rank::AssistantCommissioner), Some(Rank::Commissioner)));
    assert_eq!((last.by.as_str(), last.reason.as_str()), ("ops", "because"));
}

#[test]
fn what_is_refused_by_table() {
    let ledger = with_second();
    let unbuilt = |force| Order::Promote { to: Some(Rank::Commissioner), share: None, is_complete: false, force };
    let shared = |share| Order::Promote { to: Some(Rank::AssistantCommissioner), share: Some(share), is_complete: true, force: false };
    let cases = [
        ("third", promote(None), "unknown_release"),
        ("first", promote(None), "already_there"),
        ("first", promote(Some(Rank::Inspector)), "not_up"),
        ("first", Order::Hold, "must_serve"),
        ("first", Order::Retire, "must_serve"),
        ("first", Order::Rollback, "nothing_before"),
        ("second", Order::Rollback, "already_there"),
        ("second", promote(Some(Rank::Constable)), "already_there"),
        ("second", unbuilt(false), "not_built"),
        ("second", unbuilt(true), "fine"),
        ("second", shared(0.0), "invalid_share"),
        ("second", shared(1.1), "invalid_share"),
        ("second", shared(f32::NAN), "invalid_share"),
        ("second", shared(1.0), "fine"),
        ("second", promote(Some(Rank::Commissioner)), "fine"),
        ("second", Order::Create(definition(2)), "fine"),
        ("second", Order::Create(definition(3)), "other_definition"),
        ("third", Order::Create(definition(2)), "same_definition"),
        ("third", Order::Create(Definition::default()), "no_models"),
        ("", Order::Create(definition(3)), "invalid_name"),
        (".third", Order::Create(definition(3)), "invalid_name"),
        ("a b", Order::Create(definition(3)), "invalid_name"),
        ("third", Order::Create(definition(3)), "fine"),
    ];
    for (name, order, expected) in cases {
        assert_eq!(code(give(&ledger, name, order.clone())), expected, "{name}: {order:?}");
    }
    let long = Command { name: "second".into(), order: Order::Hold, by: "x".repeat(49), reason: String::new() };
    assert_eq!(code(ledger.after(&long, 0)), "too_long");
    assert_eq!(give(&ledger, "second", Order::Create(definition(2))).expect("the same again").revision, ledger.revision);
}

#[test]
fn a_rank_on_duty_is_taken_until_it_is_held() {
    let mut ledger = give(&with_second(), "third", Order::Create(definition(3))).expect("a third");
    ledger = give(&ledger, "second", promote(None)).expect("an inspector");
    assert_eq!(code(give(&ledger, "third", promote(None))), "rank_taken");
    ledger = give(&ledger, "second", Order::Hold).expect("held");
    assert_eq!(code(give(&ledger, "second", Order::Hold)), "already_there");
    ledger = give(&ledger, "third", promote(None)).expect("the rank is free");
    assert_eq!(code(give(&ledger, "second", promote(None))), "rank_taken", "back on duty is a promotion too");
    ledger = give(&ledger, "third", Order::Rollback).expect("down");
    assert_eq!(ranks(&give(&ledger, "second", promote(None)).expect("on duty"))[1], ("second", Rank::Inspector, false));
    ledger = give(&ledger, "fourth", Order::Create(definition(4))).expect("a fourth");
    assert_eq!(code(give(&ledger, "fifth", Order::Create(definition(5)))), "too_many");
    ledger = give(&ledger, "fourth", Order::Retire).expect("gone");
    assert_eq!(code(give(&ledger, "fifth", Order::Create(definition(5)))), "fine");
    assert!(ledger.get("second").is_some_and(Release::is_built));
    ledger = give(&ledger, "third", Order::Hold).expect("held");
    assert!(!ledger.get("third").is_some_and(Release::is_built), "a constable who is held is not built");
}

#[test]
fn the_share_of_the_assistant_is_kept_and_the_same_keys_go_the_same_way() {
    let shared = |share| Order::Promote { to: Some(Rank::AssistantCommissioner), share: Some(share), is_complete: true, force: false };
    let ledger = give(&with_second(), "second", shared(0.2)).expect("an assistant");
    let to_second = |ledger: &Ledger| -> Vec<usize> {
        (0..20_000).filter(|key| ledger.route(&key.to_string()).is_some_and(|release| release.name == "second")).collect()
    };
    let fifth = to_second(&ledger);
    // Five standard deviations of a binomial with 20,000 draws at 1/5 are 283.
    assert!(fifth.len().abs_diff(4_000) < 283, "{}", fifth.len());
    assert_eq!(to_second(&ledger), fifth);
    let more = give(&ledger, "second", shared(0.5)).expect("a larger share");
    let half = to_second(&more);
    assert!(half.len().abs_diff(10_000) < 354 && fifth.iter().all(|key| half.contains(key)), "who was asked to stays");
    assert_eq!(to_second(&give(&ledger, "second", shared(1.0)).expect("all")).len(), 20_000);
    let held = give(&ledger, "second", Order::Hold).expect("held");
    assert!(to_second(&held).is_empty());
    assert_eq!(to_second(&give(&held, "second", promote(None)).expect("on duty")), fifth, "a hold keeps the share");
}

#[test]
fn a_model_with_another_fingerprint_takes_office_at_once() {
    let ledger = with_second();
    let known = |version| vec![model(Space::Image, "other", 1), model(Space::Image, "pictures", version), model(Space::Text, "words", 1)];
    assert_eq!(ledger.renewed(&known(1), 9), None, "nothing has changed");
    assert_eq!(ledger.renewed(&[], 9), None, "a model that is nowhere is no other model");
    let same = ledger.renewed(&known(2), 9).expect("renewed");
    assert_eq!(ranks(&same), [("first", Rank::AssistantCommissioner, true), ("second", Rank::Commissioner, false)]);
    let mut full = ledger;
    for name in ["third", "fourth"] {
        full = give(&full, name, Order::Create(definition(name.len() as u8))).expect("another");
    }
    let renewed = full.renewed(&known(9), 9).expect("renewed");
    let commissioner = renewed.commissioner().expect("one is live");
    assert!(commissioner.name.starts_with("renewed-") && commissioner.definition == definition(9));
    assert_eq!((renewed.releases.len(), renewed.get("second")), (RELEASES_MAX, None), "the oldest of the lowest rank makes room");
    assert_eq!(code(give(&renewed, &commissioner.name, Order::Rollback)), "nothing_before");
}

#[test]
fn whatever_is_ordered_one_is_live_and_every_bound_holds() {
    let mut state = 7_u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (state >> 33) % below
    };
    let mut ledger = Ledger::first(definition(1), 0);
    let mut followed = 0;
    for _ in 0..5_000 {
        let version = draw(7) as u8;
        let name = format!("release-{version}");
        let rank = Rank::ALL[draw(4) as usize];
        let order = match draw(6) {
            0 => Order::Create(definition(version)),
            1 | 2 => promote((draw(2) == 0).then_some(rank)),
            3 => Order::Hold,
            4 => Order::Rollback,
            _ => Order::Retire,
        };
        let Ok(next) = give(&ledger, &name, order) else { continue };
        followed += usize::from(next.revision > ledger.revision);
        ledger = next;
        let on_duty = |rank| ledger.releases.iter().filter(|release| release.rank == rank && !release.is_held).count();
        let live = ledger.releases.iter().filter(|release| release.rank == Rank::Commissioner).count();
        assert!(live == 1 && ledger.commissioner().is_some());
        assert!(on_duty(Rank::Inspector) <= 1 && on_duty(Rank::AssistantCommissioner) <= 1);
        assert!(ledger.releases.len() <= RELEASES_MAX && ledger.history.len() <= HISTORY_MAX && ledger.predecessors.len() < RELEASES_MAX);
        assert!(ledger.predecessors.iter().all(|name| ledger.get(name).is_some_and(|release| release.rank != Rank::Commissioner)));
    }
    assert!(followed > 500, "{followed} orders were followed");
}

#[test]
fn a_ledger_comes_back_from_its_json() {
    let ledger = give(&with_second(), "second", promote(Some(Rank::Commissioner))).expect("live");
    let json = serde_json::to_string(&ledger).expect("JSON");
    assert_eq!(serde_json::from_str::<Ledger>(&json).expect("a ledger"), ledger);
    assert!(json.contains(r#""rank":"assistant_commissioner""#), "{json}");
}
