//! The appliance: command line, configuration, wiring, supervision tree, start and orderly end. Names every crate; nothing
//! names it.

pub mod cli;
pub mod config;
pub mod house;
mod live;
pub mod output;
pub mod recovery;
pub mod supervision;
pub mod telemetry;
pub mod watchdog;
pub mod wiring;
