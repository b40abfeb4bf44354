//! What decides: a product's price and stock at a glance.

pub(crate) mod offer;
