//! What decides: how an entry of the event log changes the read models, and what is read off them.

pub(crate) mod clusters;
pub(crate) mod day;
pub(crate) mod distinct;
pub(crate) mod fold;
pub(crate) mod join;
pub(crate) mod lab;
pub(crate) mod report;
pub(crate) mod result;
pub(crate) mod salt;
pub(crate) mod stats;
pub(crate) mod top;
pub(crate) mod trial;
