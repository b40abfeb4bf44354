//! What people see: plain HTML, rendered here, usable without a script.

pub(crate) mod assets;
pub(crate) mod console;
pub(crate) mod docs;
pub(crate) mod layout;
pub(crate) mod parts;
pub(crate) mod releases;
pub(crate) mod reports;
pub(crate) mod search;
pub(crate) mod store;
pub(crate) mod tags;
