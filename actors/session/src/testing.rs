//! Events for this crate's tests and figures.

use domain::{Event, EventItem, EventKind};

/// An event of nobody with nothing in it.
pub(crate) fn event(id: &str, kind: EventKind, at_ms: i64) -> Event {
    Event::new(id, kind, at_ms)
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
