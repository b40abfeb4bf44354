//! What decides: a product's price and stock at a glance; what an event makes of its shopper's history and cart.

pub(crate) mod cart;
pub(crate) mod entry;
pub(crate) mod ledger;
pub(crate) mod offer;
