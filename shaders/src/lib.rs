//! The compute engine: model plans, the kernels they are made of, and the executors that run them.
//!
//! The only crate that names wgpu. A model becomes a [`Plan`], an [`Executor`] prepares it for a device, the [`Program`] runs
//! batches. Every kernel has a scalar reference; its fast variants, chosen at run time, are tested against it. Beside the
//! plans stands [`scan`], exact search over all rows.

mod cpu;
mod crew;
pub mod dot;
mod executor;
pub mod failover;
pub mod gpu;
mod kernels;
pub mod plan;
pub mod scan;
mod simd;
pub mod synthetic;

pub use cpu::CpuExecutor;
pub use executor::{Executor, Input, Program, RunError};
pub use failover::{Backend, Failover, FailoverState, Notice};
pub use kernels::activation::Activation;
pub use kernels::elementwise::Pairwise;
pub use kernels::number::Storage;
pub use kernels::stem::Normalisation;
pub use kernels::take::Position;
pub use kernels::window::{Padding, Window};
pub use plan::{Around, ConstantId, Plan, PlanError, Shape, TensorId};
pub use simd::Isa;
