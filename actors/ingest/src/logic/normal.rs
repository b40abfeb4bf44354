//! Normalisers: one kind of value each, in any shop's spelling, to the common format's.

pub mod category;
pub mod gtin;
pub mod image;
pub mod price;
pub mod stock;
pub mod text;
