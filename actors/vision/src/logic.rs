//! What decides in Nightwing: how bytes become a model's input, which pictures a product is embedded by, which run of a model comes
//! next and with what in it, and how a job ends.

pub(crate) mod backlog;
pub(crate) mod boxes;
pub mod jobs;
pub mod meter;
pub(crate) mod overlay;
pub mod picture;
pub mod place;
pub mod preprocessing;
pub mod residency;
pub mod schedule;
