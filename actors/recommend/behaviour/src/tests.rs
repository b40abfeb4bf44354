//! The state as a whole: replays, merges, erasure, saving, and answers after an event.

use proptest::prelude::*;

use crate::{Behaviour, Blend, Candidate, Event, History, Kind, LoadError, Refused, Request, Scratch, Settings, Shared, Strategy, Window};

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

/// An event by numbers.
#[derive(Clone, Debug)]
struct Made {
    shopper: String,
    session: Option<String>,
    item: String,
    kind: Kind,
    at_ms: u64,
    order: Option<String>,
}

impl Made {
    fn new(shopper: impl ToString, item: impl ToString, kind: Kind, at_ms: u64) -> Self {
        Self { shopper: shopper.to_string(), session: None, item: item.to_string(), kind, at_ms, order: None }
    }

    fn event(&self) -> Event<'_> {
        let (session, order) = (self.session.as_deref(), self.order.as_deref());
        Event { shopper: &self.shopper, session, item: &self.item, kind: self.kind, at_ms: self.at_ms, quantity: 1, order }
    }
}

prop_compose! {
    fn made()(
        shopper in 0u32..8,
        session in proptest::option::of(0u32..3),
        item in 0u32..30,
        kind in 0usize..Kind::ALL.len(),
        at_minutes in 0u64..40_000,
        order in proptest::option::of(0u32..5),
    ) -> Made {
        Made {
            shopper: format!("s{shopper}"),
            session: session.map(|session| format!("v{session}")),
            item: format!("i{item}"),
            kind: Kind::ALL[kind],
            at_ms: at_minutes * MINUTE_MS,
            order: order.map(|order| format!("o{order}")),
        }
    }
}

/// Everything small, so that every bound is met.
fn tight() -> Settings {
    let mut settings = Settings::default();
    settings.view.row_max = 5;
    settings.shopper.pairs.row_max = 5;
    settings.cross.pairs.row_max = 3;
    settings.basket.row_max = 4;
    settings.basket.order_items_max = 4;
    settings.sessions.items_max = 4;
    settings.sessions.ring_max = 3;
    settings.sessions.open_max = 3;
    settings.bounds.shoppers_max = 5;
    settings.bounds.history_max = 6;
    settings.bounds.bought_max = 3;
    settings.bounds.popular_max = 4;
    settings.bounds.orders_open_max = 2;
    settings
}

fn fed(settings: Settings, events: &[Made]) -> Behaviour {
    let mut state = Behaviour::new(settings);
    for event in events {
        state.apply(&event.event()).expect("a good event");
    }
    state
}

fn names(state: &Behaviour, answer: &[Candidate]) -> Vec<String> {
    answer.iter().map(|candidate| state.name(candidate.item).expect("a known item").to_owned()).collect()
}

proptest! {
    #[test]
    fn replay_in_any_batches_is_the_same_state(events in proptest::collection::vec(made(), 0..200), batch in 1usize..70) {
        let expected = fed(tight(), &events).digest();
        let shared = Shared::new(Behaviour::new(tight()));
        for part in events.chunks(batch) {
            prop_assert!(shared.write(|state| part.iter().all(|event| state.apply(&event.event()).is_ok())));
        }
        prop_assert_eq!(shared.read().digest(), expected);
    }

    #[test]
    fn saved_and_loaded_it_goes_on_as_the_same(events in proptest::collection::vec(made(), 1..200), cut in 0usize..200) {
        let cut = cut.min(events.len());
        let mut bytes = Vec::new();
        let digest = fed(tight(), &events[..cut]).save(&mut bytes).expect("memory");
        let mut state = Behaviour::load(tight(), &mut &bytes[..]).expect("what was saved");
        prop_assert_eq!(state.digest(), digest);
        for event in &events[cut..] {
            state.apply(&event.event()).expect("a good event");
        }
        prop_assert_eq!(state.digest(), fed(tight(), &events).digest());
    }

    #[test]
    fn damaged_bytes_are_an_error(events in proptest::collection::vec(made(), 1..60), at in 0usize..100_000, bit in 0u8..8, cut in any::<bool>()) {
        let mut bytes = Vec::new();
        fed(tight(), &events).save(&mut bytes).expect("memory");
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        prop_assert!(Behaviour::load(tight(), &mut &bytes[..]).is_err());
    }

    #[test]
    fn forged_bytes_never_panic_and_what_is_taken_answers(
        events in proptest::collection::vec(made(), 1..60), at in 0usize..100_000, value in any::<u8>(), more in proptest::collection::vec(made(), 0..20)
    ) {
        let mut bytes = Vec::new();
        fed(tight(), &events).save(&mut bytes).expect("memory");
        let body = bytes.len() - 32;
        let place = at % body;
        bytes[place] = value;
        let checksum = *blake3::hash(&bytes[..body]).as_bytes();
        bytes[body..].copy_from_slice(&checksum);
        if let Ok(mut state) = Behaviour::load(tight(), &mut &bytes[..]) {
            ask_everything(&state);
            for event in &more {
                let _any_answer = state.apply(&event.event());
            }
            state.merge("s0", "s1");
            state.erase("s2");
            ask_everything(&state);
        }
    }

    #[test]
    fn reasons_sum_up_to_the_score_and_filters_hold(events in proptest::collection::vec(made(), 1..200), hidden in 0u32..30) {
        let state = fed(Settings::default(), &events);
        let allow = |item: u32| item != hidden;
        for answer in ask_all(&state, &Request { now_ms: 40_001 * MINUTE_MS, ..Request::new(10) }.allowing(&allow)) {
            prop_assert!(answer.len() <= 10);
            for (place, candidate) in answer.iter().enumerate() {
                let sum = candidate.reasons.iter().map(|reason| reason.score).sum::<f32>() + candidate.rest;
                prop_assert!((sum - candidate.score).abs() <= 1e-4 * candidate.score.max(1e-3), "{candidate:?}");
                prop_assert!(candidate.item != hidden && candidate.score > 0.0);
                prop_assert!(answer[..place].iter().all(|better| better.item != candidate.item && better.score >= candidate.score));
            }
        }
    }

    #[test]
    fn an_erased_shopper_leaves_nothing_that_answers(events in proptest::collection::vec(made(), 1..100)) {
        let mut state = fed(Settings::default(), &events);
        let known = state.counts().shoppers;
        let erased = state.erase("s0");
        prop_assert_eq!(state.counts().shoppers, known - usize::from(erased));
        prop_assert!(!state.erase("s0"));
        let request = Request::new(5);
        prop_assert!(state.recently_viewed("s0", &request).is_empty() && state.buy_again("s0", &request).is_empty());
        let answer = state.for_you(History::Shopper("s0"), None, &request, &mut Scratch::default());
        let reasons: Vec<Strategy> = answer.iter().flat_map(|candidate| &candidate.reasons).map(|reason| reason.strategy).collect();
        prop_assert!(reasons.iter().all(|strategy| *strategy == Strategy::Popular));
        let mut bytes = Vec::new();
        state.save(&mut bytes).expect("memory");
        let key = blake3::hash(b"s0");
        prop_assert!(!bytes.windows(16).any(|window| window == &key.as_bytes()[..16]));
    }
}

fn ask_all(state: &Behaviour, request: &Request<'_>) -> Vec<Vec<Candidate>> {
    let mut scratch = Scratch::default();
    let items: Vec<u32> = (0..state.counts().items.min(3) as u32).collect();
    let first = items.first().copied().unwrap_or(0);
    vec![
        state.for_you(History::Shopper("s0"), None, request, &mut scratch),
        state.for_you(History::Items(&items), None, request, &mut scratch),
        state.for_you(
            History::Items(&items),
            Some(&Blend { taste: 0.5, repeat: 0.0, age_decay: 0.3, ..Blend::default() }),
            request,
            &mut scratch,
        ),
        state.also_viewed(first, request, &mut scratch),
        state.viewed_then_bought(first, request, &mut scratch),
        state.bought_together(first, request, &mut scratch),
        state.for_cart(&items, request, &mut scratch),
        state.complete_cart(&items, request, &mut scratch),
        state.popular(Window::Weeks, request),
        state.buy_again("s0", request),
        state.recently_viewed("s0", request),
    ]
}

fn ask_everything(state: &Behaviour) {
    ask_all(state, &Request::new(20));
}

#[test]
fn a_taken_event_is_in_the_next_answer() {
    let mut events = Vec::new();
    for shopper in 0..5 {
        for (place, item) in ["lamp", "bulb", "shade"].iter().enumerate() {
            events.push(Made::new(shopper, item, Kind::View, u64::from(shopper as u32) * DAY_MS + place as u64 * MINUTE_MS));
        }
        for (place, item) in ["tent", "mat", "stove"].iter().enumerate() {
            events.push(Made::new(shopper, item, Kind::View, u64::from(shopper as u32) * DAY_MS + DAY_MS / 2 + place as u64 * MINUTE_MS));
        }
    }
    let mut state = fed(Settings::default(), &events);
    let mut scratch = Scratch::default();
    let mut next = |state: &Behaviour| {
        let seen: Vec<u32> = state.recently_viewed("new", &Request::new(9)).iter().map(|candidate| candidate.item).collect();
        let answer = state.for_you(History::Shopper("new"), None, &Request::new(1).allowing(&|item| !seen.contains(&item)), &mut scratch);
        names(state, &answer)
    };
    state.apply(&Made::new("new", "lamp", Kind::View, 9 * DAY_MS).event()).expect("good");
    assert_eq!(next(&state), ["bulb"]);
    state.apply(&Made::new("new", "tent", Kind::View, 9 * DAY_MS + MINUTE_MS).event()).expect("good");
    assert_eq!(next(&state), ["mat"]);
}

#[test]
fn view_cart_and_purchase_of_one_item_in_a_row_count_once() {
    let steps = |kinds: &[Kind]| {
        let mut events = vec![Made::new("s", "before", Kind::View, 0)];
        events.extend(kinds.iter().enumerate().map(|(place, kind)| Made::new("s", "it", *kind, (place as u64 + 1) * MINUTE_MS)));
        let state = fed(Settings::default(), &events);
        state.view.row(0).and_then(|row| row.get(1)).map_or(0.0, |(weight, _)| weight)
    };
    let (grown, at_once) = (steps(&[Kind::View, Kind::Cart, Kind::Purchase]), steps(&[Kind::Purchase]));
    assert!((grown - at_once).abs() < 0.01, "{grown} {at_once}");
    assert!(steps(&[Kind::View, Kind::View]) > steps(&[Kind::View]), "a repeat is a repeat");
}

#[test]
fn without_decay_and_bounds_met_late_events_are_in_the_history_by_their_time() {
    let mut state = Behaviour::new(Settings::default());
    for (item, at_minutes) in [("c", 3), ("a", 1), ("b", 2)] {
        state.apply(&Made::new("s", item, Kind::View, at_minutes * MINUTE_MS).event()).expect("good");
    }
    assert_eq!(names(&state, &state.recently_viewed("s", &Request::new(5))), ["c", "b", "a"]);
    let row = |from: &str, to: &str| {
        let (from, to) = (state.item(from).expect("known"), state.item(to).expect("known"));
        state.view.row(from).and_then(|row| row.get(to)).map_or(0.0, |(weight, _)| weight)
    };
    assert!(row("a", "b") > row("b", "a") && row("b", "c") > row("c", "b"), "the direction is that of time");
}

#[test]
fn at_login_two_histories_become_one() {
    let mut state = Behaviour::new(Settings::default());
    for (shopper, item, kind, at_minutes) in
        [("known", "a", Kind::Purchase, 0), ("anonymous", "b", Kind::View, 100_000), ("anonymous", "c", Kind::Purchase, 100_001)]
    {
        state.apply(&Made::new(shopper, item, kind, at_minutes * MINUTE_MS).event()).expect("good");
    }
    state.merge("anonymous", "known");
    state.merge("anonymous", "known");
    state.merge("nobody", "known");
    assert_eq!(state.counts().shoppers, 1);
    assert_eq!(names(&state, &state.recently_viewed("known", &Request::new(5))), ["c", "b", "a"]);
    assert_eq!(state.buy_again("known", &Request::new(5)).len(), 2);
    assert!(state.recently_viewed("anonymous", &Request::new(5)).is_empty());
    state.apply(&Made::new("known", "d", Kind::View, 100_002 * MINUTE_MS).event()).expect("good");
    state.end_visits();
    assert_eq!(state.visits.index.items(0).len(), 3, "the visit goes on under the known name");
}

#[test]
fn bought_together_says_in_how_many_of_how_many_orders() {
    let mut events = Vec::new();
    for order in 0..60u64 {
        let items: &[&str] = if order % 10 == 0 { &["pasta", "sauce"] } else { &["milk"] };
        events.extend(items.iter().map(|item| Made::new(order, item, Kind::Purchase, order * DAY_MS)));
    }
    let state = fed(Settings::default(), &events);
    let pasta = state.item("pasta").expect("known");
    let answer = state.bought_together(pasta, &Request::new(5), &mut Scratch::default());
    assert_eq!(names(&state, &answer), ["sauce"]);
    let reason = answer[0].reasons.iter().find(|reason| reason.strategy == Strategy::Together).expect("the reason");
    assert_eq!((reason.together, reason.of, reason.source), (6, 6, Some(pasta)));
}

#[test]
fn what_was_dismissed_does_not_come_back() {
    let mut events = Vec::new();
    for shopper in 0..4u64 {
        events.extend(["a", "b", "c"].iter().map(|item| Made::new(shopper, item, Kind::View, shopper * DAY_MS)));
    }
    events.push(Made::new("s", "a", Kind::View, 9 * DAY_MS));
    events.push(Made::new("s", "b", Kind::Dismiss, 9 * DAY_MS + 1));
    let state = fed(Settings::default(), &events);
    let answer = state.for_you(History::Shopper("s"), None, &Request::new(5), &mut Scratch::default());
    assert!(!answer.is_empty() && !names(&state, &answer).contains(&"b".to_owned()));
}

#[test]
fn a_new_shopper_gets_what_is_popular_and_an_empty_state_nothing() {
    let empty = Behaviour::new(Settings::default());
    assert!(ask_all(&empty, &Request::new(5)).iter().all(Vec::is_empty));
    let state = fed(Settings::default(), &[Made::new("s", "a", Kind::View, 0), Made::new("t", "b", Kind::Purchase, 1)]);
    let answer = state.for_you(History::Shopper("new"), None, &Request::new(5), &mut Scratch::default());
    assert_eq!(names(&state, &answer), ["b", "a"]);
}

#[test]
fn a_new_item_takes_a_place_through_what_it_is_like() {
    let mut events = Vec::new();
    for shopper in 0..30u64 {
        events.extend(["a", "b", "c"].iter().map(|item| Made::new(shopper, item, Kind::View, shopper * DAY_MS)));
    }
    let mut state = fed(Settings::default(), &events);
    let (new, like, seen) = (state.add_item("new").expect("room"), state.item("b").expect("known"), state.item("a").expect("known"));
    let likeness = crate::Likeness { items: &[new, like], like: &|_, visit| visit(like, 0.9) };
    let request = Request { likeness: Some(&likeness), ..Request::new(10) };
    let answer = state.for_you(History::Items(&[seen]), None, &request, &mut Scratch::default());
    let found: Vec<&Candidate> = answer.iter().filter(|candidate| candidate.item == new).collect();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].reasons[0].strategy, found[0].reasons[0].source), (Strategy::Like, Some(like)));
    for shopper in 0..20u64 {
        state.apply(&Made::new(shopper, "new", Kind::View, 99 * DAY_MS).event()).expect("good");
    }
    let answer = state.for_you(History::Items(&[seen]), None, &request, &mut Scratch::default());
    assert!(answer.iter().all(|candidate| candidate.reasons.iter().all(|reason| reason.strategy != Strategy::Like)), "no longer new");
}

#[test]
fn what_cannot_be_taken_changes_nothing() {
    let mut settings = Settings::default();
    settings.bounds.items_max = 1;
    let mut state = fed(settings, &[Made::new("s", "a", Kind::View, 0)]);
    let digest = state.digest();
    for (made, expected) in [
        (Made::new("", "a", Kind::View, 1), Refused::Name),
        (Made::new("s", "", Kind::View, 1), Refused::Name),
        (Made::new("s", "x".repeat(crate::KEY_BYTES_MAX + 1), Kind::View, 1), Refused::Name),
        (Made::new("s", "a", Kind::View, u64::MAX), Refused::Time),
        (Made::new("s", "b", Kind::View, 1), Refused::ItemsFull),
    ] {
        assert_eq!(state.apply(&made.event()), Err(expected));
    }
    assert_eq!(state.digest(), digest);
}

#[test]
fn the_longest_names_are_taken() {
    let name = |mark: &str| format!("{mark}{}", "\u{1f9f8}".repeat(128));
    let (shopper, session, order) = (name("u:"), name(""), name(""));
    let mut made = Made::new(&shopper, name(""), Kind::Purchase, 0);
    (made.session, made.order) = (Some(session), Some(order));
    let state = fed(Settings::default(), &[made]);
    assert_eq!(state.recently_viewed(&shopper, &Request::new(5)).len(), 1);
}

#[test]
fn foreign_bytes_are_named() {
    let load = |bytes: &[u8]| Behaviour::load(Settings::default(), &mut &bytes[..]);
    assert!(matches!(load(b""), Err(LoadError::Io(_))));
    assert!(matches!(load(b"another file, of another kind"), Err(LoadError::Magic)));
    assert!(matches!(load(b"GOTHbehv\xff\0\0\0"), Err(LoadError::Version(255))));
    let mut huge = b"GOTHbehv\x02\0\0\0".to_vec();
    huge.extend_from_slice(&u64::MAX.to_le_bytes());
    huge.extend_from_slice(&[0; 64]);
    assert!(load(&huge).is_err(), "a length without bytes");
}
