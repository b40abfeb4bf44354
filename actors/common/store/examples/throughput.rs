//! Prints what durable writes cost on a folder's disk: `cargo run --release -p store --example throughput -- [DIR]`.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use store::{Durability, Journal, JournalConfig, Keyspace, NewRecord, Op, SledConfig, SledStore, Store};

const ROW_BYTES: usize = 1000;
const TIME: Duration = Duration::from_secs(3);
const IN_FLIGHT: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent)?;
    let store = SledStore::open(&dir.path().join("store"), SledConfig::default())?;
    let journal = Journal::open(&dir.path().join("journal"), JournalConfig::default())?;
    let mut row = 0u64;
    let mut rows = |count: u64| -> Vec<Op> {
        let put = |row: u64| Op::Put {
            space: Keyspace::Catalog,
            key: row.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes().to_vec(),
            value: vec![row as u8; ROW_BYTES],
        };
        row += count;
        (row - count..row).map(put).collect()
    };
    let records = |count| vec![NewRecord { kind: 1, body: vec![7; ROW_BYTES] }; count];
    report("store: single durable puts", 1, || Ok(store.commit(rows(1), Durability::Flushed).wait().map(drop)?))?;
    report("store: durable commits of 100 rows", 100, || Ok(store.commit(rows(100), Durability::Flushed).wait().map(drop)?))?;
    report("store: single puts, 32 in flight", IN_FLIGHT as u64, || {
        let acks: Vec<_> = (0..IN_FLIGHT).map(|_| store.commit(rows(1), Durability::Flushed)).collect();
        acks.into_iter().try_for_each(|ack| ack.wait().map(drop).map_err(Into::into))
    })?;
    report("journal: single durable appends", 1, || Ok(journal.append(records(1)).wait().map(drop)?))?;
    report("journal: durable appends of 100 records", 100, || Ok(journal.append(records(100)).wait().map(drop)?))?;
    let started = Instant::now();
    let (mut from, mut bytes) = (journal.start(), 0);
    while from < journal.end() {
        let entries = journal.read(from, 1000, 1 << 20)?;
        bytes += entries.iter().map(|entry| entry.body.len()).sum::<usize>();
        from += entries.len() as u64;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("journal: read {from} records in batches of 1 MiB: {:.0}/s, {:.0} MB/s", from as f64 / seconds, bytes as f64 / 1e6 / seconds);
    Ok(())
}

/// Repeats `write`, which makes `rows` rows durable, and prints the rate and the latencies.
fn report(name: &str, rows: u64, mut write: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let mut latencies = Vec::new();
    while started.elapsed() < TIME {
        let before = Instant::now();
        write()?;
        latencies.push(before.elapsed());
    }
    let rate = (latencies.len() as u64 * rows) as f64 / started.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: usize| latencies[(latencies.len() - 1) * share / 100];
    println!("{name}: {rate:.0} rows/s, p50 {:.2?}, p99 {:.2?}", at(50), at(99));
    Ok(())
}
