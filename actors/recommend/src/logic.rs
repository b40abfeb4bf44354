//! What decides: which events teach what.

pub(crate) mod lessons;
