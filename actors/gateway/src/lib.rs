//! Robin: the only HTTP. Combines what the others know into one JSON answer, and serves the demo store and the console.
//!
//! - **Owns** nothing of the business: connections, bounds, and uploads until Joker has taken them.
//! - **Reads** the others' snapshots on the request's own task (catalog, offers, index, runs, queues), and writes by message.
//! - **Never** shows a shopper what Flash calls unavailable; never tells a caller a path or a storage error.
//! - Every request has an id, a deadline and a class with its own bounds; over them it is refused at once, never stalled.
//! - Every error is an RFC 9457 problem with a stable code.
//! - **May forget** everything: a restart keeps the open port and answers the requests under way.
//!
//! There are no keys yet: the box listens on loopback alone unless the configuration consents, refuses host names that it does
//! not know and writes that come from another site's page.

mod actor;
mod config;
mod edge;
mod extract;
mod house;
mod logic;
mod pages;
mod problem;
mod routes;
mod schema;
mod serve;
mod upload;

#[cfg(test)]
mod tests;

pub use actor::{Args, Robin, State, bind};
pub use config::Config;
pub use house::House;
pub use routes::openapi;
