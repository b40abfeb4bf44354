//! Downloads over HTTP and HTTPS for a machine that stands inside somebody's network: bounded in bytes, time and redirects, and
//! never from an address of that network unless the configuration says so. Names nothing of the product.

mod client;
mod config;
mod error;
mod guard;

pub use client::{Downloaded, Fetched, Fetcher, Validators};
pub use config::FetchConfig;
pub use error::FetchError;

#[cfg(test)]
mod tests;
