//! What decides in Nightwing: how bytes become a model's input, which pictures a product is embedded by, and how a job ends.

pub(crate) mod backlog;
pub mod jobs;
pub mod picture;
pub mod place;
