//! Events for this crate's tests and figures.

use domain::{Dialect, Event, EventItem, EventKind};

/// An event of nobody with nothing in it.
pub(crate) fn event(id: &str, kind: EventKind, at_ms: i64) -> Event {
    Event {
        id: id.into(),
        kind,
        visitor: None,
        user: None,
        session: None,
        at_ms,
        received_at_ms: at_ms,
        items: Vec::new(),
        order: None,
        value: None,
        query: None,
        results: None,
        surface: None,
        store: None,
        attribution_token: None,
        experiment: None,
        consent: None,
        rating: None,
        is_bot: false,
        dialect: Dialect::Native,
        raw: String::new(),
    }
}

/// Products with variant and pieces.
pub(crate) fn items(items: &[(&str, Option<&str>, u32)]) -> Vec<EventItem> {
    let item = |(product, variant, quantity): &(&str, Option<&str>, u32)| EventItem {
        product: product.parse().expect("an id"),
        variant: variant.map(str::to_owned),
        quantity: *quantity,
        price: None,
        position: None,
    };
    items.iter().map(item).collect()
}
