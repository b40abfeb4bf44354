//! Wayne keeps the registry: who runs and how well, and with which configuration the house was started.
//!
//! Alone owns: the history of configurations, the definitions of experiments, and which releases of models there are and their ranks (the rules
//! are `protocol::releases`). Invariants: a configuration is validated as a whole before anything opens,
//! and every setting says where its value comes from. May forget: everything but the history; states of actors live on
//! the supervisors' board. Never holds business data.

mod actor;
mod config;
pub mod logic;
mod records;
mod view;

pub use actor::{Args, Wayne};
pub use config::Config;
pub use logic::layers::{Layers, Loaded, Problem};
pub use protocol::registry::NAME;
pub use view::View;

#[cfg(test)]
mod tests;
