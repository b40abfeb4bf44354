//! What the engine learns from one record of the log.

use behaviour::{Event as Done, KEY_BYTES_MAX, Kind};
use domain::event::NAME_CHARS_MAX;
use domain::product::PRODUCT_ID_CHARS_MAX;
use domain::{Event, EventKind};

/// A shopper's name stands behind two bytes that say of whom it is; whatever name an event has is taken.
const _: () = assert!(KEY_BYTES_MAX >= 2 + 4 * NAME_CHARS_MAX && KEY_BYTES_MAX >= 4 * PRODUCT_ID_CHARS_MAX);

/// From this rating on a product is spoken for.
const RATING_GOOD: f32 = 3.0;

/// The engine's kind of an event; `None` where nothing is to be learned from it.
pub(crate) fn kind_of(event: &Event) -> Option<Kind> {
    match event.kind {
        EventKind::View => Some(Kind::View),
        EventKind::Click => Some(Kind::Click),
        EventKind::Wishlist => Some(Kind::Wishlist),
        EventKind::AddToCart => Some(Kind::Cart),
        EventKind::Purchase => Some(Kind::Purchase),
        EventKind::Refund => Some(Kind::Refund),
        EventKind::Dismiss => Some(Kind::Dismiss),
        EventKind::Rating => event.rating.filter(|rating| *rating >= RATING_GOOD).map(|_| Kind::View),
        EventKind::Impression
        | EventKind::Search
        | EventKind::RemoveFromCart
        | EventKind::CartView
        | EventKind::Checkout
        | EventKind::PromoView
        | EventKind::PromoClick
        | EventKind::Home
        | EventKind::Identify
        | EventKind::Custom => None,
    }
}

/// Calls `learn` for each product of an event that teaches something.
pub(crate) fn lessons(event: &Event, mut learn: impl FnMut(&Done<'_>)) {
    let (Some(kind), Some(shopper), true) = (kind_of(event), event.shopper(), event.is_personal()) else { return };
    for item in &event.items {
        learn(&Done {
            shopper: shopper.as_str(),
            session: event.session.as_deref(),
            item: item.product.as_str(),
            kind,
            // Before 1970 there were no web shops.
            at_ms: u64::try_from(event.at_ms).unwrap_or(0),
            quantity: item.quantity,
            order: event.order.as_deref(),
        });
    }
}

#[cfg(test)]
mod tests {
    use domain::EventItem;

    use super::*;

    fn event(kind: EventKind) -> Event {
        let item = |id: &str| EventItem { product: id.parse().expect("an id"), variant: None, quantity: 2, price: None, position: None };
        Event {
            user: Some("u".into()),
            session: Some("s".into()),
            items: vec![item("a"), item("b")],
            order: Some("o".into()),
            ..Event::new("e", kind, 5)
        }
    }

    fn learned(event: &Event) -> Vec<(String, Kind)> {
        let mut learned = Vec::new();
        lessons(event, |done| learned.push((format!("{} {} {:?}", done.shopper, done.item, done.order), done.kind)));
        learned
    }

    #[test]
    fn every_product_of_an_event_is_a_lesson() {
        let expected = [("u:u a Some(\"o\")".to_owned(), Kind::Purchase), ("u:u b Some(\"o\")".to_owned(), Kind::Purchase)];
        assert_eq!(learned(&event(EventKind::Purchase)), expected);
    }

    #[test]
    fn robots_the_unwilling_and_idle_talk_teach_nothing() {
        for silent in [
            Event { is_bot: true, ..event(EventKind::View) },
            Event { consent: Some(false), ..event(EventKind::View) },
            Event { user: None, session: None, ..event(EventKind::View) },
            Event { rating: Some(2.0), ..event(EventKind::Rating) },
            event(EventKind::Impression),
            event(EventKind::Home),
            event(EventKind::CartView),
        ] {
            assert_eq!(learned(&silent), [], "{silent:?}");
        }
        assert_eq!(learned(&Event { rating: Some(4.0), ..event(EventKind::Rating) }).len(), 2);
        assert_eq!(learned(&Event { consent: Some(true), ..event(EventKind::View) }).len(), 2);
    }
}
