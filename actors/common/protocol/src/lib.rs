//! What actors say to one another: one module an actor, with its messages, its errors and the view that readers take.
//! An actor crate names this crate and never another actor crate.

pub mod archive;
pub mod cache;
pub mod catalog;
pub mod experiments;
pub mod gateway;
pub mod ingest;
pub mod journal;
pub mod personalize;
pub mod queue;
pub mod recommend;
pub mod registry;
pub mod releases;
pub mod reports;
pub mod search;
pub mod session;
pub mod tags;
pub mod vision;
