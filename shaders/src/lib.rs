//! The compute engine: model plans, the kernels they are made of, and the executors that run them.
//!
//! The only crate that names wgpu. Every kernel has a scalar reference; its fast variants are tested against it.

pub mod dot;
mod simd;

pub use simd::Isa;
