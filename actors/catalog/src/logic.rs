//! Everything that decides. Plain data and plain functions.

pub(crate) mod batch;
pub(crate) mod catalog;
pub(crate) mod decide;
pub(crate) mod edges;
pub(crate) mod replay;
