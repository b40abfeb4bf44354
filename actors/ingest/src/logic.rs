//! Everything that decides: plain data and plain functions over `std::io::Read`.

pub mod draft;
pub mod feed;
pub mod format;
pub mod map;
pub mod normal;
pub mod read;
pub mod record;
