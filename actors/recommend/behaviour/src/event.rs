//! What a shopper did: the one thing that is fed in.

use thiserror::Error;

/// One thing that one shopper did with one item.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Who; an anonymous visitor has a name too (of the browser, say) and is merged into the known one at login.
    pub shopper: &'a str,
    /// The visit; without one a visit ends with a pause (`Settings::sessions`).
    pub session: Option<&'a str>,
    /// The item, by its name in the shop.
    pub item: &'a str,
    /// What was done.
    pub kind: Kind,
    /// When, in milliseconds since 1970. The caller refuses times of the future: decay follows the latest event.
    pub at_ms: u64,
    /// Pieces, of a purchase or refund; zero counts as one.
    pub quantity: u32,
    /// The order that a purchase belongs to; without one, purchases of a visit at the same time are one order.
    pub order: Option<&'a str>,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// The item's page was seen.
    View = 0,
    /// The item was clicked in a list.
    Click = 1,
    /// Put on a wish list.
    Wishlist = 2,
    /// Put in the cart.
    Cart = 3,
    /// Bought.
    Purchase = 4,
    /// Sent back.
    Refund = 5,
    /// "Not for me": the item is not recommended to this shopper again while the history remembers it.
    Dismiss = 6,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 7] = [Self::View, Self::Click, Self::Wishlist, Self::Cart, Self::Purchase, Self::Refund, Self::Dismiss];

    /// Whether it speaks for the item.
    pub fn is_interest(self) -> bool {
        self <= Self::Purchase
    }
}

/// Why an event is not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refused {
    /// A name is empty or longer than [`crate::KEY_BYTES_MAX`].
    #[error("the name of the shopper, session, item or order is empty or too long")]
    Name,
    /// A time beyond the year 3000.
    #[error("the time is out of range")]
    Time,
    /// So many items are known that no new one is taken.
    #[error("too many items")]
    ItemsFull,
}
