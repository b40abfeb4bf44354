//! What decides in Nightwing: how bytes become a model's input, which pictures a product is embedded by, and how a job ends.

pub mod jobs;
pub mod picture;
pub mod place;
pub mod preprocessing;
