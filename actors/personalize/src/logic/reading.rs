//! What an event says about a taste.

use domain::{Event, EventKind};
use taste::Action;

/// What a shopper did to the items of an event; `None` where that says nothing of a taste: an impression is nobody's doing, and what
/// is in a cart was put there before.
pub(crate) fn action(kind: EventKind) -> Option<Action> {
    match kind {
        EventKind::Click | EventKind::PromoClick => Some(Action::Click),
        EventKind::View => Some(Action::View),
        EventKind::Wishlist => Some(Action::Wishlist),
        EventKind::AddToCart => Some(Action::Cart),
        EventKind::RemoveFromCart => Some(Action::Uncart),
        EventKind::Purchase => Some(Action::Purchase),
        EventKind::Refund => Some(Action::Refund),
        EventKind::Dismiss => Some(Action::Dismiss),
        EventKind::Search
        | EventKind::Impression
        | EventKind::CartView
        | EventKind::Checkout
        | EventKind::PromoView
        | EventKind::Rating
        | EventKind::Home
        | EventKind::Identify
        | EventKind::Custom => None,
    }
}

/// When it happened, and never in the future: a sender's clock may be wrong.
pub(crate) fn at_ms(event: &Event) -> i64 {
    event.at_ms.min(event.received_at_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_learned_from_what_nobody_did() {
        let said = EventKind::ALL.into_iter().filter(|kind| action(*kind).is_some()).count();
        assert_eq!(said, 9);
        assert_eq!((action(EventKind::Impression), action(EventKind::AddToCart)), (None, Some(Action::Cart)));
    }
}
