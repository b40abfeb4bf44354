//! The rules of ranks by table, and what holds after any orders.

use super::*;
use crate::vision::Space;

fn model(space: Space, name: &str, version: u8) -> ModelInfo {
    ModelInfo { name: name.into(), space, dimensions: 4, fingerprint: format!("{name}{version}"), reads_texts: space == Space::Text }
}

fn definition(version: u8) -> Definition {
    let (image_model, text_model) = (Some(model(Space::Image, "pictures", version)), Some(model(Space::Text, "words", 1)));
    Definition { image_model, text_model, settings: settings(1.0) }
}

fn settings(image_weight: f32) -> Settings {
    Settings { rules: Rules { image_weight, ..Rules::default() }, vocabulary: "v1".into(), ..Settings::default() }
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
    let open = |ledger: &Ledger, known: &[ModelInfo]| ledger.clone().opened(known, &settings(1.0), 9);
    assert_eq!(open(&ledger, &known(1)), ledger, "nothing has changed");
    assert_eq!(open(&ledger, &[]), ledger, "a model that is nowhere is no other model");
    let same = open(&ledger, &known(2));
    assert_eq!(ranks(&same), [("first", Rank::AssistantCommissioner, true), ("second", Rank::Commissioner, false)]);
    let mut full = ledger;
    for name in ["third", "fourth"] {
        full = give(&full, name, Order::Create(definition(name.len() as u8))).expect("another");
    }
    let renewed = open(&full, &known(9));
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

#[test]
fn a_setting_that_is_configured_otherwise_takes_office_and_can_be_taken_back() {
    let begun = Ledger::first(definition(1), 0);
    let open = |ledger: &Ledger, configured: &Settings| ledger.clone().opened(&[], configured, 9);
    assert_eq!(open(&begun, &settings(1.0)), begun, "nothing has changed");
    let changed = open(&begun, &settings(3.0));
    let live = changed.commissioner().expect("one is live");
    assert!(live.name.starts_with("configured-") && live.definition.settings == settings(3.0), "{live:?}");
    assert_eq!(open(&changed, &settings(3.0)), changed, "once");
    let back = give(&changed, &live.name.clone(), Order::Rollback).expect("the one before stands ready");
    assert_eq!(back.commissioner().map(|live| live.name.as_str()), Some(FIRST));
    assert_eq!(open(&back, &settings(3.0)), back, "an order outlives a restart");
    let undone = open(&changed, &settings(1.0));
    assert_eq!(
        (undone.commissioner().map(|live| live.name.as_str()), undone.releases.len()),
        (Some(FIRST), 2),
        "the same again is the same"
    );
}

#[test]
fn only_what_was_changed_in_the_configuration_changes() {
    let own = Definition { settings: Settings { vocabulary: "of the shop".into(), ..settings(7.0) }, ..definition(1) };
    let ledger = give(&Ledger::first(definition(1), 0), "own", Order::Create(own)).expect("a release");
    let ledger = give(&ledger, "own", promote(Some(Rank::Commissioner))).expect("live");
    let mut configured = settings(1.0);
    configured.index.graph_degree = 32;
    configured.rules.fact_precision = 0.9;
    let opened = ledger.opened(&[], &configured, 9);
    let live = &opened.commissioner().expect("one is live").definition;
    assert_eq!((live.settings.rules.image_weight, live.settings.vocabulary.as_str()), (7.0, "of the shop"));
    assert_eq!((live.settings.index, live.settings.rules.fact_precision), (configured.index, 0.9));
    let mut full = opened;
    for version in 2_u8..9 {
        full = full.opened(&[], &settings(f32::from(version)), 9);
        assert!(full.releases.len() <= RELEASES_MAX && full.predecessors.iter().all(|name| full.get(name).is_some()), "{full:?}");
        assert_eq!(full.commissioner().map(|live| live.definition.settings.rules.image_weight), Some(f32::from(version)));
    }
}

#[test]
fn every_setting_is_in_the_fingerprint() {
    type Change = fn(&mut Settings);
    let changes: [(&str, Change); 9] = [
        ("recall_target", |settings| settings.index.recall_target = 0.95),
        ("graph_degree", |settings| settings.index.graph_degree = 16),
        ("graph_rows_min", |settings| settings.index.graph_rows_min = 5_000),
        ("words_weight", |settings| settings.rules.words_weight = 1.5),
        ("some_words_weight", |settings| settings.rules.some_words_weight = 1.5),
        ("image_weight", |settings| settings.rules.image_weight = 1.5),
        ("text_weight", |settings| settings.rules.text_weight = 1.5),
        ("fact_precision", |settings| settings.rules.fact_precision = 0.8),
        ("vocabulary", |settings| settings.vocabulary = "v2".into()),
    ];
    let mut seen = vec![definition(1).fingerprint(), definition(2).fingerprint()];
    for (name, change) in changes {
        let mut other = definition(1);
        change(&mut other.settings);
        assert!(!seen.contains(&other.fingerprint()), "{name}");
        assert_eq!(definition(1).settings.moved(&definition(1).settings, &other.settings), other.settings, "{name}");
        seen.push(other.fingerprint());
    }
}

#[test]
fn a_question_goes_whole_to_a_release_that_can_answer_it() {
    let only_pictures = Definition { text_model: None, ..definition(2) };
    let assistant = |definition: Definition| {
        let ledger = give(&Ledger::first(self::definition(1), 0), "second", Order::Create(definition)).expect("a release");
        let order = Order::Promote { to: Some(Rank::AssistantCommissioner), share: Some(1.0), is_complete: true, force: false };
        give(&ledger, "second", order).expect("an assistant")
    };
    let kept = [model(Space::Image, "pictures", 1), model(Space::Image, "pictures", 2), model(Space::Text, "words", 1)];
    for (definition, kept, expected) in [
        (definition(2), &kept[..], "second"),
        (definition(2), &kept[..1], FIRST),
        (only_pictures.clone(), &kept[..], FIRST),
        (only_pictures, &kept[..2], "second"),
    ] {
        let ledger = assistant(definition);
        assert_eq!(ledger.serving("somebody", kept).map(|release| release.name.as_str()), Some(expected), "{kept:?}");
    }
}

#[test]
fn a_release_is_complete_when_its_vectors_are_there_and_indexed() {
    let ledger = with_second();
    let build = |model: ModelInfo, is_complete| Build { model, is_loaded: true, done: 1, total: 1, behind: 0, failed: 0, is_complete };
    let second = ledger.get("second").expect("it is there");
    let words = build(model(Space::Text, "words", 1), false);
    for (is_built, is_indexed, expected) in [(true, true, true), (false, true, false), (true, false, false)] {
        let builds = [build(model(Space::Image, "pictures", 2), is_built), words.clone()];
        assert_eq!(ledger.is_complete(second, &builds, |_, _| is_indexed), expected, "{is_built} {is_indexed}");
    }
}

#[test]
fn nonsense_is_named() {
    assert_eq!((IndexSettings::default().problems(), Rules::default().problems()), (Vec::new(), Vec::new()));
    let index = IndexSettings { recall_target: f32::NAN, graph_degree: 7, graph_rows_min: 0 };
    let rules =
        Rules { words_weight: 0.0, some_words_weight: f32::INFINITY, image_weight: -1.0, text_weight: f32::NAN, fact_precision: 1.0 };
    assert_eq!((index.problems().len(), rules.problems().len()), (3, 5));
}
