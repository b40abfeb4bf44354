//! The writing half: one thread follows the journal, one sets vectors.

pub(crate) mod columns;
pub(crate) mod follower;
pub(crate) mod spaces;
