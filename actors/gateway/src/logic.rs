//! Everything that decides: plain data, plain functions.

pub(crate) mod cursor;
pub(crate) mod dialect;
pub(crate) mod feedback;
pub(crate) mod guard;
pub(crate) mod merge;
pub(crate) mod nearest;
pub(crate) mod proposals;
pub(crate) mod ranking;
pub(crate) mod shadow;
pub(crate) mod storefront;
