//! The writing half: vectors as they come from Nightwing, words as the journal tells them. Each has one writer, which publishes
//! immutable snapshots.

pub(crate) mod follower;
pub(crate) mod keywords;
pub(crate) mod vectors;
