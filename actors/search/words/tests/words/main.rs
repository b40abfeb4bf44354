//! The keyword index as its callers see it.

mod durability;
mod languages;
mod search;
mod shop;
mod suggest;
