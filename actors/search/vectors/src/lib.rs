//! Vectors: nearest neighbours over embeddings, in memory.

mod calibration;
pub mod churn;
pub mod codes;
pub mod curve;
pub mod file;
mod graph;
pub mod index;
pub mod kernels;
mod lists;
pub mod memory;
mod owners;
mod parallel;
pub mod planner;
pub mod segment;
mod tail;
