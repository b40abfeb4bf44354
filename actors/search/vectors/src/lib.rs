//! Vectors: nearest neighbours over embeddings, in memory.

pub mod codes;
pub mod curve;
pub mod file;
mod graph;
pub mod kernels;
mod lists;
pub mod memory;
mod owners;
mod parallel;
pub mod segment;
