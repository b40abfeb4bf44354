//! Columns against the plain definition of what they answer.

pub(crate) mod house;
mod orders;
mod sums;
mod table;
