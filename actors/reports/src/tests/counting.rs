//! What is counted, entry by entry.

use domain::{Erasure, EventKind, Shopper};
use events::Entry;
use protocol::journal::LogBody;
use protocol::registry::EXPERIMENTS_MAX;
use protocol::reports::{AttributionRow, DailyReport, Date};

use super::{entries, euros, event, log_event, log_served, served};
use crate::config::Config;
use crate::logic::fold::State;
use crate::logic::report::daily;
use crate::logic::salt::Salt;

const HOUR: i64 = 3600 * 1000;
const DAY: i64 = 24 * HOUR;

fn config() -> Config {
    Config { query_shoppers_min: 1, ..Config::default() }
}

fn fold(config: Config, entries: &[Entry]) -> State {
    let mut state = State::new(config, Salt([3; 32]));
    entries.iter().for_each(|entry| state.apply(entry));
    state.total_up();
    state
}

fn report(state: &State, day: i32) -> DailyReport {
    daily(Date::of_day(day), &state.days[&Date::of_day(day)], &[], &state.config)
}

fn row<'a>(report: &'a DailyReport, placement: &str) -> &'a AttributionRow {
    report.attribution.iter().find(|row| row.placement == placement).expect("a row")
}

#[test]
fn a_day_in_numbers() {
    let by = |visitor: &str, mut event: domain::Event| {
        event.visitor = Some(visitor.into());
        event.session = Some(format!("{visitor}-1"));
        log_event(event)
    };
    let mut order = event("6", EventKind::Purchase, 5 * HOUR, &["a", "b"]);
    (order.order, order.items[0].quantity) = (Some("o1".into()), 3);
    let mut rest = event("7", EventKind::Purchase, 5 * HOUR, &["c"]);
    rest.order = Some("o1".into());
    let mut unpriced = event("8", EventKind::Purchase, 5 * HOUR, &["d"]);
    (unpriced.order, unpriced.value, unpriced.items[0].price) = (Some("o2".into()), Some(euros(7)), None);
    let mut unpriced_rest = unpriced.clone();
    unpriced_rest.id = "9".into();
    let mut robot = event("10", EventKind::View, HOUR, &["a"]);
    robot.is_bot = true;
    let mut stranger = event("11", EventKind::View, HOUR, &["a"]);
    stranger.consent = Some(false);
    let bodies = vec![
        by("one", event("1", EventKind::View, HOUR, &["a"])),
        by("one", event("2", EventKind::View, HOUR, &["a"])),
        by("two", event("3", EventKind::View, HOUR, &["b"])),
        by("two", event("4", EventKind::AddToCart, HOUR, &["b"])),
        by("three", event("5", EventKind::Home, HOUR, &[])),
        by("one", order),
        by("one", rest),
        by("two", unpriced),
        by("two", unpriced_rest),
        by("bot", robot),
        by("nobody", stranger),
        by("one", event("12", EventKind::Refund, 6 * HOUR, &["b"])),
    ];
    let report = report(&fold(config(), &entries(bodies)), 0);
    let totals = &report.totals;
    assert_eq!((totals.visitors.count, totals.sessions.count, totals.buyers.count, totals.orders.count), (3, 3, 2, 2));
    assert_eq!((totals.units, totals.bot_events, totals.refunds), (7, 1, 1));
    assert_eq!((&totals.revenue, &totals.refunded), (&vec![euros(57)], &vec![euros(10)]));
    assert_eq!((totals.conversion, totals.average_order_value[0].amount()), (Some(2.0 / 3.0), "28.50".into()));
    assert_eq!((totals.events["view"], totals.events["purchase"], totals.events.get("click")), (4, 4, None));
    let products: Vec<(&str, u64, u64, u64)> =
        report.products.iter().map(|row| (row.product.as_str(), row.views, row.units, row.add_to_carts)).collect();
    assert_eq!(products, [("a", 3, 3, 0), ("b", 1, 1, 1), ("d", 0, 2, 0), ("c", 0, 1, 0)]);
    assert_eq!(report.products[0].revenue, [euros(30)]);
    let shoes = report.categories(|product| (product.as_str() < "c").then(|| "shoes".to_owned()));
    assert_eq!((shoes.len(), shoes[0].views, &shoes[0].revenue), (1, 4, &vec![euros(40)]));
}

#[test]
fn events_count_in_their_own_day_if_that_can_be() {
    let at = |at_ms: i64, received_at_ms: i64| {
        let mut event = event(&at_ms.to_string(), EventKind::Home, at_ms, &[]);
        event.received_at_ms = received_at_ms;
        log_event(event)
    };
    let bodies = vec![
        at(100 * DAY, 100 * DAY),
        // Late by two days, by a year, and from the future.
        at(98 * DAY, 100 * DAY),
        at(DAY, 100 * DAY),
        at(500 * DAY, 100 * DAY),
        at(i64::MIN, 100 * DAY),
        at(i64::MAX, 100 * DAY),
    ];
    let days = |offset| {
        let state = fold(Config { utc_offset_minutes: offset, ..config() }, &entries(bodies.clone()));
        state.totals.iter().map(|(date, totals)| (date.day(), totals.events["home"])).collect::<Vec<_>>()
    };
    assert_eq!(days(0), [(98, 1), (100, 5)]);
    assert_eq!(days(-60), [(97, 1), (99, 5)]);
}

#[test]
fn days_over_the_bound_go_oldest_first() {
    let home = |day: i64| log_event(event(&day.to_string(), EventKind::Home, day * DAY, &[]));
    let state = fold(Config { days_max: 8, ..config() }, &entries((0..12).chain([2]).map(home).collect()));
    assert_eq!(state.totals.keys().map(|date| date.day()).collect::<Vec<_>>(), (4..12).collect::<Vec<_>>());
    assert_eq!(state.days.len(), 8);
}

#[test]
fn bounds_that_were_lowered_are_reached() {
    let mut list = served("t", 1, "home", &["a"]);
    list.experiments = (0..16).map(|number| (format!("e{number:02}"), "a".to_owned())).collect();
    let mut bodies = vec![log_served(list.clone())];
    bodies.extend((1..12).map(|day| log_event(event(&day.to_string(), EventKind::Home, day * DAY, &[]))));
    let mut state = fold(config(), &entries(bodies));
    assert_eq!((state.totals.len(), state.trials.by_name.len()), (12, 16));
    (state.config.days_max, state.config.experiments_max) = (8, 2);
    (list.at_ms, list.experiments) = (12 * DAY, vec![("new".into(), "a".into())]);
    state.apply(&Entry { offset: 12, written_at_ms: 12 * DAY, body: Some(log_served(list)) });
    assert_eq!(state.totals.keys().map(|date| date.day()).collect::<Vec<_>>(), (5..13).collect::<Vec<_>>());
    assert_eq!(state.trials.by_name.keys().collect::<Vec<_>>(), ["e15", "new"]);
}

#[test]
fn as_many_experiments_as_are_defined_are_counted_in_one_list() {
    let smallest = Config { experiments_max: EXPERIMENTS_MAX, ..config() };
    assert!(smallest.problems().is_empty());
    let fewer = Config { experiments_max: EXPERIMENTS_MAX - 1, ..config() };
    assert_eq!(fewer.problems().iter().map(|(field, _)| *field).collect::<Vec<_>>(), ["experiments_max"]);
    let list = |token: &str| {
        let mut list = served(token, 1, "home", &["a"]);
        list.experiments = (0..EXPERIMENTS_MAX).map(|number| (format!("e{number}"), "a".to_owned())).collect();
        log_served(list)
    };
    let state = fold(smallest, &entries(vec![list("t1"), list("t2")]));
    assert_eq!(row(&report(&state, 0), "home").arms.len(), EXPERIMENTS_MAX);
    assert_eq!(state.trials.exposures.len(), EXPERIMENTS_MAX);
    assert!(state.trials.by_name.values().all(|trial| trial.arms[0].1.served.x == 2), "none was dropped and begun again");
}

/// One list, what is done with it, and what its row then says: clicks, carts, purchases, view-through purchases.
#[test]
fn attribution_by_table() {
    let with_token = |mut event: domain::Event| {
        event.attribution_token = Some("t".into());
        event
    };
    let by_user = |mut event: domain::Event| {
        (event.user, event.visitor) = (Some("u".into()), None);
        event
    };
    let click = || with_token(event("c", EventKind::Click, HOUR, &["a"]));
    let seen = || with_token(event("i", EventKind::Impression, HOUR, &[]));
    let view = || with_token(event("w", EventKind::View, HOUR, &["a"]));
    let buy = |at_ms: i64| event("b", EventKind::Purchase, at_ms, &["a"]);
    let cart = |at_ms: i64| event("a", EventKind::AddToCart, at_ms, &["a"]);
    let mut again = click();
    again.id = "c2".into();
    let mut both = event("x", EventKind::Home, HOUR, &[]);
    (both.user, both.attribution_token) = (Some("u".into()), Some("t".into()));
    let mut robot = click();
    robot.is_bot = true;
    type Case = (&'static str, Vec<domain::Event>, [u64; 4]);
    let cases: Vec<Case> = vec![
        ("a click and a purchase", vec![click(), buy(2 * HOUR)], [1, 0, 1, 0]),
        ("two clicks are one", vec![click(), again], [1, 0, 0, 0]),
        ("a product page with the token is a click", vec![view(), cart(2 * HOUR)], [1, 1, 0, 0]),
        ("at the window's end", vec![click(), buy(25 * HOUR)], [1, 0, 1, 0]),
        ("behind the window", vec![click(), buy(25 * HOUR + 1000)], [1, 0, 0, 0]),
        ("before the click", vec![buy(HOUR / 2), click()], [1, 0, 0, 0]),
        ("seen alone", vec![seen(), buy(2 * HOUR), cart(2 * HOUR)], [0, 0, 0, 1]),
        ("seen and clicked", vec![seen(), click(), buy(2 * HOUR)], [1, 0, 1, 0]),
        ("shown, but nobody says that it was seen", vec![buy(2 * HOUR)], [0, 0, 0, 0]),
        ("another product", vec![click(), event("b", EventKind::Purchase, 2 * HOUR, &["z"])], [1, 0, 0, 0]),
        ("by somebody else", vec![click(), by_user(buy(2 * HOUR))], [1, 0, 0, 0]),
        ("by a visitor who has logged in", vec![click(), both, by_user(buy(2 * HOUR))], [1, 0, 1, 0]),
        ("the purchase names the list", vec![with_token(buy(90 * HOUR))], [0, 0, 1, 0]),
        ("straight from the list into the cart, then bought", vec![with_token(cart(HOUR)), buy(2 * HOUR)], [0, 1, 1, 0]),
        ("a robot's click", vec![robot, buy(2 * HOUR)], [0, 0, 0, 0]),
        (
            "a token that is not known",
            vec![
                {
                    let mut c = click();
                    c.attribution_token = Some("x".into());
                    c
                },
                buy(2 * HOUR),
            ],
            [0, 0, 0, 0],
        ),
    ];
    for (name, events, expected) in cases {
        let list = log_served(served("t", HOUR / 4, "home", &["a", "b"]));
        let state = fold(config(), &entries(std::iter::once(list).chain(events.into_iter().map(log_event)).collect()));
        let mut got = [0; 4];
        for day in state.days.values() {
            for counts in day.rows.values() {
                let more = [counts.clicks, counts.add_to_carts, counts.purchases, counts.view_purchases];
                got.iter_mut().zip(more).for_each(|(got, more)| *got += more);
            }
        }
        assert_eq!(got, expected, "{name}");
    }
}

#[test]
fn rows_tell_strategies_rules_and_arms_apart_and_revenue_goes_to_the_last_click() {
    let mut first = served("t1", 1, "home", &["a", "b", "c"]);
    first.items[1].strategy = "trending".into();
    (first.rules, first.experiments) = (vec!["pin".into(), "boost".into()], vec![("ranking".into(), "new".into())]);
    let mut second = served("t2", 2, "search", &["a"]);
    second.query = Some("A thing".into());
    let click = |id: &str, token: &str, at_ms: i64| {
        let mut event = event(id, EventKind::Click, at_ms, &["a"]);
        event.attribution_token = Some(token.into());
        log_event(event)
    };
    let buy = event("b", EventKind::Purchase, 9_000, &["a", "b"]);
    let state = fold(
        config(),
        &entries(vec![log_served(first), log_served(second), click("1", "t2", 5_000), click("2", "t1", 7_000), log_event(buy)]),
    );
    let report = report(&state, 0);
    let shown: Vec<(&str, &str, u64, u64, u64)> = report
        .attribution
        .iter()
        .map(|row| (row.placement.as_str(), row.strategy.as_str(), row.served, row.clicks, row.purchases))
        .collect();
    assert_eq!(shown, [("home", "s", 2, 1, 1), ("search", "s", 1, 1, 0), ("home", "trending", 1, 0, 0)]);
    let home = row(&report, "home");
    assert_eq!((&home.rules[..], home.arms[0].arm.as_str()), (&["boost".to_owned(), "pin".to_owned()][..], "new"));
    assert_eq!((&home.revenue, &home.revenue_per_1000), (&vec![euros(10)], &vec![euros(5_000)]));
    assert_eq!((&report.totals.recommendation_revenue, &report.totals.revenue), (&vec![euros(10)], &vec![euros(20)]));
    assert_eq!((report.totals.search_click_rate, report.queries[0].click_rate), (Some(1.0), Some(1.0)));
}

#[test]
fn a_search_counts_once_and_lost_ones_are_told() {
    let list = |token: &str, at_ms: i64, query: &str, products: &[&str]| {
        let mut list = served(token, at_ms, "search", products);
        list.query = Some(query.into());
        log_served(list)
    };
    let search = |id: &str, at_ms: i64, query: &str, results: Option<u32>, token: Option<&str>| {
        let mut event = event(id, EventKind::Search, at_ms, &[]);
        (event.query, event.results, event.attribution_token) = (Some(query.into()), results, token.map(str::to_owned));
        log_event(event)
    };
    let bodies = vec![
        list("t1", 1_000, "Red shoes", &["a"]),
        // The second page, the shop's own event with the token and without it: all the same search.
        list("t2", 2_000, "red  SHOES", &["b"]),
        search("1", 3_000, "red shoes", Some(1), Some("t1")),
        search("2", 3_000, "Red Shoes", Some(1), None),
        // Later the same words are another search; answered elsewhere.
        search("3", HOUR, "red shoes", Some(0), None),
        list("t3", 2 * HOUR, "unobtainium", &[]),
        log_served(served("t4", 2 * HOUR, "photo_search", &[])),
        log_served(served("t5", 2 * HOUR, "photo_search", &["a"])),
        log_served(served("t6", 2 * HOUR, "home", &[])),
    ];
    let report = report(&fold(config(), &entries(bodies)), 0);
    assert_eq!((report.totals.searches, report.totals.searches_without_results, report.totals.lists), (5, 3, 6));
    let queries: Vec<(&str, u64, u64, u64)> =
        report.queries.iter().map(|row| (row.query.as_str(), row.searches, row.without_results, row.answered)).collect();
    assert_eq!(queries, [("red shoes", 2, 1, 2), ("unobtainium", 1, 1, 1)]);
    let lost: Vec<(&str, bool, u64)> = report.lost_demand.iter().map(|lost| (lost.wish.as_str(), lost.is_photo, lost.searches)).collect();
    assert_eq!(lost, [("red shoes", false, 1), ("unobtainium", false, 1), ("photo_search", true, 1)]);
}

/// Somebody without a name who repeats words may be one: they are not shown.
#[test]
fn askers_without_a_name_count_as_one() {
    let search = |number: i64, words: &str, visitor: Option<&str>, consent: Option<bool>| {
        let mut event = event(&format!("{words}-{number}"), EventKind::Search, number * HOUR, &[]);
        (event.query, event.results, event.consent) = (Some(words.into()), Some(0), consent);
        event.visitor = visitor.map(str::to_owned);
        log_event(event)
    };
    let list = |number: i64, session: Option<&str>| {
        let mut list = served(&number.to_string(), number * HOUR, "search", &[]);
        (list.query, list.shopper) = (Some(if session.is_some() { "hats" } else { "a private list" }.into()), None);
        list.session = session.map(str::to_owned);
        log_served(list)
    };
    let mut bodies = Vec::new();
    for number in 0..3 {
        bodies.push(search(number, "a private phrase", None, None));
        bodies.push(search(number, "a refused phrase", Some(&number.to_string()), Some(false)));
        bodies.push(search(number, "shoes", [Some("v"), Some("w"), None][number as usize], None));
        bodies.extend([list(number, None), list(number, Some(&number.to_string()))]);
    }
    let report = report(&fold(Config::default(), &entries(bodies)), 0);
    assert_eq!(report.queries.iter().map(|row| row.query.as_str()).collect::<Vec<_>>(), ["hats", "shoes"]);
    assert_eq!(report.lost_demand.iter().map(|lost| lost.wish.as_str()).collect::<Vec<_>>(), ["hats", "shoes"]);
    assert_eq!(report.totals.searches, 15);
}

#[test]
fn an_erased_shopper_is_joined_with_nothing_and_leaves_the_experiments() {
    let mut list = served("t", 1_000, "home", &["a"]);
    list.experiments = vec![("ranking".into(), "new".into())];
    let click = || {
        let mut event = event("c", EventKind::Click, 2_000, &["a"]);
        event.attribution_token = Some("t".into());
        log_event(event)
    };
    let erasure = LogBody::Erasure(Erasure { shoppers: vec![Shopper::visitor("v")], at_ms: 3_000, receipt: "r".into() }.into());
    let buy = log_event(event("b", EventKind::Purchase, 4_000, &["a"]));
    let state = fold(config(), &entries(vec![log_served(list), click(), erasure, click(), buy]));
    let report = report(&state, 0);
    assert_eq!((row(&report, "home").clicks, row(&report, "home").purchases), (1, 0));
    assert!(state.trials.exposures.is_empty());
    let arm = &state.trials.by_name["ranking"].arms[0].1;
    assert_eq!((arm.shoppers, arm.clicks, arm.buyers), (1, 1, 0));
}

#[test]
fn an_entry_read_twice_counts_once() {
    let entries = entries(vec![log_event(event("1", EventKind::View, 1, &["a"])), log_event(event("2", EventKind::View, 2, &["a"]))]);
    let mut state = fold(config(), &entries);
    entries.iter().for_each(|entry| state.apply(entry));
    state.apply(&Entry { offset: 2, written_at_ms: 5, body: None });
    assert_eq!((report(&state, 0).products[0].views, state.offset), (2, 3));
}

#[test]
fn words_that_only_the_erased_searched_for_go() {
    let search = |id: &str, visitor: &str, query: &str| {
        let mut event = event(id, EventKind::Search, 1_000, &[]);
        (event.query, event.visitor) = (Some(query.into()), Some(visitor.into()));
        log_event(event)
    };
    let bodies = vec![search("1", "v", "my own name"), search("2", "v", "shoes"), search("3", "w", "shoes"), search("4", "w", "hats")];
    let mut state = fold(config(), &entries(bodies));
    let erasure = Erasure { shoppers: vec![Shopper::visitor("v")], at_ms: 2_000, receipt: "r".into() };
    let date = Date::of_day(0);
    assert!(state.forget_words(date, &erasure) && !state.forget_words(date, &erasure) && !state.forget_words(date.plus(1), &erasure));
    let day = &state.days[&date];
    let mut left: Vec<(&str, u64, usize)> =
        day.queries.iter().map(|(words, counts)| (&**words, counts.searches, counts.askers.len())).collect();
    left.sort_unstable();
    assert_eq!(left, [("hats", 1, 1), ("shoes", 2, 1)]);
    assert_eq!((state.changed.contains(&date), day.counts.searches), (true, 4));
}
