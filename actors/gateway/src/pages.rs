//! The pages: rendered here, completed by one small ES module each. No build step, nothing from elsewhere, usable without script.

pub(crate) mod assets;
pub(crate) mod console;
pub(crate) mod docs;
pub(crate) mod layout;
pub(crate) mod parts;
pub(crate) mod store;
