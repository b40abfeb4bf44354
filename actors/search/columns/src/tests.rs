//! Columns against the plain definition of what they answer.

mod house;
mod table;
