//! What happened: one shopper did one thing to one item, with what is known of the item.

use crate::keys::Id;

/// Attributes of one product that are looked at; more are ignored.
pub const ATTRIBUTES_MAX: usize = 8;

/// What a shopper did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Opened the product's page.
    View,
    /// Opened it from a list.
    Click,
    /// Put it on a wish list.
    Wishlist,
    /// Put it into the cart.
    Cart,
    /// Took it out of the cart.
    Uncart,
    /// Bought it.
    Purchase,
    /// Sent it back.
    Refund,
    /// Asked not to see it.
    Dismiss,
}

impl Action {
    /// How much of a purchase it says of a taste; nothing where it speaks against the item.
    pub(crate) const fn interest(self) -> f32 {
        match self {
            Self::View | Self::Click => 0.2,
            Self::Wishlist => 0.4,
            Self::Cart => 0.6,
            Self::Purchase => 1.0,
            Self::Uncart | Self::Refund | Self::Dismiss => 0.0,
        }
    }

    /// How much it speaks against the item.
    pub(crate) const fn aversion(self) -> f32 {
        match self {
            Self::Uncart => 0.3,
            Self::Refund => 0.5,
            Self::Dismiss => 1.0,
            _ => 0.0,
        }
    }

    /// Whether a list that showed the item learns from it.
    pub const fn is_choice(self) -> bool {
        matches!(self, Self::Click | Self::Cart | Self::Wishlist | Self::Purchase)
    }
}

/// What is known of a product. All of it may be absent; what is absent says nothing for or against the product.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// Its category or product type, the finest that is known.
    pub kind: Option<Id>,
    /// Its brand.
    pub brand: Option<Id>,
    /// Its size, as it would be compared between products.
    pub size: Option<Id>,
    /// Its price in any one currency.
    pub price: Option<f32>,
    /// Whether it is the shop's own brand.
    pub private_label: Option<bool>,
    /// Other attributes (colour, material, pattern...): the attribute's name and its value; at most [`ATTRIBUTES_MAX`] count.
    pub attributes: &'a [(Id, Id)],
    /// Embedding of its picture, of any length up to [`crate::EMBEDDING_LENGTH_MAX`]; empty where there is none.
    pub image: &'a [f32],
    /// Who made it: embeddings of two models are neither summed nor compared.
    pub image_model: Id,
    /// Embedding of its text, likewise.
    pub text: &'a [f32],
    /// Who made it.
    pub text_model: Id,
}

impl Facts<'_> {
    /// The natural logarithm of the price, where there is a price to speak of.
    pub(crate) fn log_price(&self) -> Option<f32> {
        self.price.filter(|price| price.is_finite() && *price > 0.0).map(f32::ln)
    }
}

/// One thing that one shopper did.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What was done.
    pub action: Action,
    /// To which item.
    pub item: Id,
    /// When, in milliseconds since the epoch. The caller bounds how far in the future it may lie.
    pub at_ms: i64,
    /// In which store, where stores are told apart.
    pub store: Option<Id>,
    /// What is known of the item.
    pub facts: Facts<'a>,
}
