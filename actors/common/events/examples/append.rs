//! Prints what the event log does on a folder's disk: `cargo run --release -p events --example append -- [DIR] [--redis]`.

use std::error::Error;
use std::path::PathBuf;

use events::bench::{Options, measure};

fn main() -> Result<(), Box<dyn Error>> {
    let (flags, folders): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let redis = flags.iter().any(|flag| flag == "--redis");
    let folder = folders.first().map(PathBuf::from);
    println!("{}", measure(&Options { redis, folder, ..Options::default() })?);
    Ok(())
}
