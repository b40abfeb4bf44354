//! Everything that decides. Plain data in, answers and storage operations out; the shell performs them.

pub(crate) mod backoff;
pub(crate) mod follow;
pub(crate) mod job;
pub(crate) mod queue;
pub(crate) mod queues;
pub(crate) mod route;
pub(crate) mod runs;
pub(crate) mod sequence;

#[cfg(test)]
mod model;
