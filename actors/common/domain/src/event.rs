//! What shoppers do and what they were shown: the common records that every event dialect becomes. Plain data, no I/O.

use std::fmt;
use std::sync::Arc;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::money::Money;
use crate::product::ProductId;

/// The longest id of an event, shopper, session, order, store or placement, in characters.
pub const NAME_CHARS_MAX: usize = 128;
/// The longest search text kept, in characters.
pub const QUERY_CHARS_MAX: usize = 512;
/// The most products in one event; a longer order is sent as several events with the same order id.
pub const EVENT_ITEMS_MAX: usize = 200;
/// The most products in one logged list.
pub const SERVED_ITEMS_MAX: usize = 400;

/// What happened. New kinds are added at the end: the place in this list is what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Something was searched for; `query` says what.
    Search,
    /// Products were shown.
    Impression,
    /// A shown product was clicked.
    Click,
    /// A product's page was seen.
    View,
    /// Put into the cart.
    AddToCart,
    /// Taken out of the cart.
    RemoveFromCart,
    /// The cart was looked at; its items are what is in it.
    CartView,
    /// Remembered for later.
    Wishlist,
    /// The order was begun.
    Checkout,
    /// Bought.
    Purchase,
    /// Given back.
    Refund,
    /// A promotion was shown.
    PromoView,
    /// A promotion was clicked.
    PromoClick,
    /// Rated.
    Rating,
    /// The front page was seen.
    Home,
    /// "Not interested".
    Dismiss,
    /// A visitor turned out to be this user.
    Identify,
    /// Something that only the sender has a name for; kept as it was sent.
    Custom,
}

impl EventKind {
    /// All of them, in stored order.
    pub const ALL: [Self; 18] = [
        Self::Search,
        Self::Impression,
        Self::Click,
        Self::View,
        Self::AddToCart,
        Self::RemoveFromCart,
        Self::CartView,
        Self::Wishlist,
        Self::Checkout,
        Self::Purchase,
        Self::Refund,
        Self::PromoView,
        Self::PromoClick,
        Self::Rating,
        Self::Home,
        Self::Dismiss,
        Self::Identify,
        Self::Custom,
    ];

    /// The name in JSON and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Impression => "impression",
            Self::Click => "click",
            Self::View => "view",
            Self::AddToCart => "add_to_cart",
            Self::RemoveFromCart => "remove_from_cart",
            Self::CartView => "cart_view",
            Self::Wishlist => "wishlist",
            Self::Checkout => "checkout",
            Self::Purchase => "purchase",
            Self::Refund => "refund",
            Self::PromoView => "promo_view",
            Self::PromoClick => "promo_click",
            Self::Rating => "rating",
            Self::Home => "home",
            Self::Dismiss => "dismiss",
            Self::Identify => "identify",
            Self::Custom => "custom",
        }
    }

    /// The kind with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Whose words the event was told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// This product's own.
    Native,
    /// Segment's (`track`, `identify`, `page`, with e-commerce event names).
    Segment,
}

/// One shopper as everything behind the door knows them: a user, else a visitor, else a session, told apart by a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(transparent)]
pub struct Shopper(Arc<str>);

impl Shopper {
    /// A known user.
    pub fn user(id: &str) -> Self {
        Self(format!("u:{id}").into())
    }

    /// An anonymous visitor.
    pub fn visitor(id: &str) -> Self {
        Self(format!("v:{id}").into())
    }

    /// Somebody of whom only the session is known.
    pub fn session(id: &str) -> Self {
        Self(format!("s:{id}").into())
    }

    /// The strongest of the names that are given.
    pub fn of(user: Option<&str>, visitor: Option<&str>, session: Option<&str>) -> Option<Self> {
        user.map(Self::user).or_else(|| visitor.map(Self::visitor)).or_else(|| session.map(Self::session))
    }

    /// The key with its prefix: `u:17`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as stored; the inverse of [`Shopper::as_str`].
    pub fn of_key(key: &str) -> Self {
        Self(key.into())
    }
}

impl fmt::Display for Shopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One product of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Encode, Decode)]
pub struct EventItem {
    /// Which product.
    pub product: ProductId,
    /// Which variant of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Pieces, at least 1.
    pub quantity: u32,
    /// What one piece costs, or was paid for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// Its place in the list that was shown, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
}

/// Something a shopper did.
#[derive(Clone, Debug, PartialEq, Serialize, Encode, Decode)]
pub struct Event {
    /// The sender's id of the event; a second event with it is a repetition.
    pub id: String,
    /// What happened.
    pub kind: EventKind,
    /// The anonymous id (a cookie's).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visitor: Option<String>,
    /// The account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The visit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// When it happened, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// When it was received.
    pub received_at_ms: i64,
    /// The products it is about, at most [`EVENT_ITEMS_MAX`].
    pub items: Vec<EventItem>,
    /// The order it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// The order's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Money>,
    /// What was searched for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// How many results a search found, where the sender says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<u32>,
    /// The page or place it happened on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surface: Option<String>,
    /// The branch or web shop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// The token of the answer that led to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribution_token: Option<String>,
    /// The sender's own experiment label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    /// Whether the shopper consents to personalisation; `None` where nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<bool>,
    /// Of a rating.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rating: Option<f32>,
    /// A robot's: kept, and learned from by nobody.
    pub is_bot: bool,
    /// Whose words it was told in.
    pub dialect: Dialect,
    /// The event as it was sent, in JSON.
    pub raw: String,
}

impl EventItem {
    /// One piece of a product, of which nothing else is known.
    pub fn of(product: ProductId) -> Self {
        Self { product, variant: None, quantity: 1, price: None, position: None }
    }
}

impl Event {
    /// An event of which nothing else is known: happened and received at the same time, nobody's, in this product's own dialect.
    pub fn new(id: impl Into<String>, kind: EventKind, at_ms: i64) -> Self {
        Self {
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
            raw: "{}".to_owned(),
        }
    }

    /// Whose it is; `None` when nobody is named.
    pub fn shopper(&self) -> Option<Shopper> {
        Shopper::of(self.user.as_deref(), self.visitor.as_deref(), self.session.as_deref())
    }

    /// A visitor and the user that they turned out to be: what was gathered for the first now belongs to the second.
    pub fn login(&self) -> Option<(Shopper, Shopper)> {
        Some((Shopper::visitor(self.visitor.as_deref()?), Shopper::user(self.user.as_deref()?)))
    }

    /// Whether anything may be learned from it about its shopper.
    pub fn is_personal(&self) -> bool {
        !self.is_bot && self.consent != Some(false)
    }
}

/// One product of a list that was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Encode, Decode)]
pub struct ServedItem {
    /// Which product.
    pub product: ProductId,
    /// What proposed it.
    pub strategy: String,
    /// Its score in the answer.
    pub score: f32,
    /// With which probability it stood here, given what was known; 1 where nothing was left to chance.
    pub propensity: f32,
}

/// A ranked list that was answered: what reports, learners and the replay lab go by.
#[derive(Clone, Debug, PartialEq, Serialize, Encode, Decode)]
pub struct Served {
    /// The attribution token that the answer carried.
    pub token: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Where it was to be shown: `product_page`, `search`, ...
    pub placement: String,
    /// For whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shopper: Option<Shopper>,
    /// In which session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The products that the question named: the page's product, the cart.
    pub context: Vec<ProductId>,
    /// Best first, at most [`SERVED_ITEMS_MAX`].
    pub items: Vec<ServedItem>,
    /// Experiments and their arms in force.
    pub experiments: Vec<(String, String)>,
    /// Rules that changed the list.
    pub rules: Vec<String>,
    /// What was searched for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// How many products were found before the list was cut.
    pub found: u32,
    /// The request, in canonical JSON, so that it can be answered again by another model.
    pub request: String,
}

/// A shopper is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct Erasure {
    /// Who: the user and every visitor known to be them.
    pub shoppers: Vec<Shopper>,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What the shopper can refer to.
    pub receipt: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_name_that_json_gives_them() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).expect("JSON"), kind.name());
            assert_eq!(EventKind::of_name(kind.name()), Some(kind));
        }
        assert_eq!(EventKind::of_name("nothing"), None);
    }

    #[test]
    fn the_strongest_name_wins() {
        assert_eq!(Shopper::of(Some("7"), Some("c"), Some("s")).expect("named").as_str(), "u:7");
        assert_eq!(Shopper::of(None, Some("c"), Some("s")).expect("named").as_str(), "v:c");
        assert_eq!(Shopper::of(None, None, Some("s")).expect("named").as_str(), "s:s");
        assert_eq!(Shopper::of(None, None, None), None);
    }
}
