//! Joker.

pub mod logic;
