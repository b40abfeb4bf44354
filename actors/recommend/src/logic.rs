//! What decides: which events teach what, and what the nightly regression makes of them.

pub(crate) mod harvest;
pub(crate) mod lessons;
pub(crate) mod regression;
