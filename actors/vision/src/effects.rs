//! The only place in the crate that touches the disk, the network or another actor.

pub(crate) mod archive;
pub(crate) mod models;
pub(crate) mod pictures;
pub(crate) mod query;
pub(crate) mod round;
pub(crate) mod thumbnails;
