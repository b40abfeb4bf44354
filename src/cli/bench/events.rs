//! `gotham bench events`: durable events a second of the event log, beside Redis where it is asked for.

use std::path::PathBuf;

use ::events::bench::{Options, measure};
use clap::Args;

use super::{Common, Outcome};

#[derive(Args)]
pub(in crate::cli) struct EventsArgs {
    /// Events in one append
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Appenders at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    appenders: u32,
    /// Followers that read along
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=64))]
    followers: u32,
    /// Events in each turn
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    events: u32,
    /// Turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    /// Let Redis take turns too, as a stream with `appendfsync always`; needs `redis-server` on the PATH
    #[arg(long)]
    redis: bool,
    /// Measure the disk that this folder lies on [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) fn events(common: &Common, args: &EventsArgs) -> Outcome {
    let report = measure(&Options {
        batch: args.batch as usize,
        appenders: args.appenders as usize,
        followers: args.followers as usize,
        events: args.events as usize,
        turns: args.turns as usize,
        redis: args.redis,
        folder: args.folder.clone(),
    })?;
    common.output().result(&report, || report.to_string());
    Ok(())
}
