//! The writing half: one thread follows the journal, one sets vectors, one copies them to a GPU.

pub(crate) mod columns;
pub(crate) mod follower;
pub(crate) mod gpu;
pub(crate) mod spaces;
