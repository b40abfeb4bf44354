//! What Wayne decides.

pub mod layers;
