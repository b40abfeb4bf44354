//! Any record that the log may be given.

use domain::{Dialect, Erasure, Event, EventItem, EventKind, Money, ProductId, Served, ServedItem, Shopper};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use protocol::journal::LogBody;

fn name() -> impl Strategy<Value = String> {
    "[a-zß]{1,6}"
}

fn product() -> impl Strategy<Value = ProductId> {
    "[a-z]{1,3}".prop_map(|id| id.parse().expect("an id"))
}

fn money() -> impl Strategy<Value = Money> {
    (any::<i64>(), "[A-Z]{3}").prop_map(|(amount_e4, currency)| Money { amount_e4, currency: currency.parse().expect("a currency") })
}

fn at_ms() -> impl Strategy<Value = i64> {
    prop_oneof![5 => 1_795_651_200_000..1_795_651_200_000 + 3 * 86_400_000_i64, 1 => any::<i64>()]
}

fn items() -> impl Strategy<Value = Vec<EventItem>> {
    let item = (product(), option::of(name()), any::<u32>(), option::of(money()), option::of(any::<u32>()));
    let item = item.prop_map(|(product, variant, quantity, price, position)| EventItem { product, variant, quantity, price, position });
    vec(item, 0..4)
}

prop_compose! {
    fn words()(
        texts in vec(option::of(".{0,8}"), 6),
        value in option::of(money()),
        results in option::of(any::<u32>()),
        consent in option::of(any::<bool>()),
        rating in option::of(-5.0_f32..5.0),
        raw in ".{0,40}",
    ) -> Event {
        let text = |index: usize| texts[index].clone();
        Event {
            order: text(0), value, query: text(1), results, surface: text(2), store: text(3), attribution_token: text(4),
            experiment: text(5), consent, rating, raw, ..super::event("")
        }
    }
}

prop_compose! {
    fn event()(
        words in words(),
        kind in proptest::sample::select(&EventKind::ALL[..]),
        names in vec(option::of(name()), 3),
        at_ms in at_ms(),
        received_at_ms in any::<i64>(),
        items in items(),
        is_bot in any::<bool>(),
        dialect in prop_oneof![Just(Dialect::Native), Just(Dialect::Segment)],
    ) -> Event {
        let [visitor, user, session] = [0, 1, 2].map(|index| names[index].clone());
        Event { kind, visitor, user, session, at_ms, received_at_ms, items, is_bot, dialect, ..words }
    }
}

fn shopper() -> impl Strategy<Value = Shopper> {
    ("[uvs]", name()).prop_map(|(kind, id)| Shopper::of_key(&format!("{kind}:{id}")))
}

prop_compose! {
    fn served()(
        (token, placement, request) in (name(), name(), ".{0,40}"),
        at_ms in at_ms(),
        shopper in option::of(shopper()),
        session in option::of(name()),
        context in vec(product(), 0..3),
        items in vec((product(), name(), -1.0_f32..1.0, 0.0_f32..=1.0), 0..4),
        experiments in vec((name(), name()), 0..3),
        rules in vec(name(), 0..3),
        query in option::of(name()),
        found in any::<u32>(),
    ) -> Served {
        let items = items.into_iter().map(|(product, strategy, score, propensity)| ServedItem { product, strategy, score, propensity });
        Served { token, at_ms, placement, shopper, session, context, items: items.collect(), experiments, rules, query, found, request }
    }
}

fn erasure() -> impl Strategy<Value = Erasure> {
    (vec(shopper(), 0..3), at_ms(), name()).prop_map(|(shoppers, at_ms, receipt)| Erasure { shoppers, at_ms, receipt })
}

/// Up to `bodies_max` records; events have ids of their own.
pub(super) fn bodies(bodies_max: usize) -> impl Strategy<Value = Vec<LogBody>> {
    let body = prop_oneof![
        6 => event().prop_map(|event| LogBody::Event(event.into())),
        2 => served().prop_map(|served| LogBody::Served(served.into())),
        1 => erasure().prop_map(|erasure| LogBody::Erasure(erasure.into())),
    ];
    vec(body, 1..bodies_max).prop_map(|mut bodies| {
        for (index, body) in bodies.iter_mut().enumerate() {
            if let LogBody::Event(event) = body {
                std::sync::Arc::make_mut(event).id = format!("event-{index}");
            }
        }
        bodies
    })
}
