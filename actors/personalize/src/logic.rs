//! What decides: how events and lists become what is learned, and what a product is to a taste.

pub(crate) mod facts;
pub(crate) mod ids;
pub(crate) mod learned;
pub(crate) mod names;
pub(crate) mod reading;
