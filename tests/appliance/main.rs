//! The appliance as a whole: over HTTP, from the command line, under faults, and the house's own rules.

mod support;

mod behaviour;
mod command_line;
mod faults;
mod http;
mod releases;
mod relevance;
mod search;
mod tags;
mod tidy;
