//! Figures of the regression: `cargo run --release -p ease --example regression -- [FOLDER...]`.
//!
//! Prints the time, the operations a second and the memory of fits of 1,000 and 5,000 items on made-up rows. For each folder (of
//! queries.jsonl and targets.jsonl beside train.txt and valid.txt, baskets a line, or train.csv and valid.csv, rows of users) it
//! chooses ridge and decay on the validation part, fits everything known, writes `ease-lists.jsonl` into the current folder's
//! subfolder of the set's name, and prints what it chose. Set `ITEMS_MAX` for another bound than 5,000.

mod set;

use std::time::Instant;

use ease::{FitSettings, Gram, Query, Sums, Trials, blend, tune};
use set::Set;

/// Items of a list.
const LIST: usize = 20;
/// Questions that ridge and decay are chosen on.
const QUERIES_MAX: usize = 2_000;

fn main() {
    let items_max = std::env::var("ITEMS_MAX").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000);
    let folders: Vec<String> = std::env::args().skip(1).collect();
    if folders.is_empty() {
        for items in [1_000, 5_000] {
            for threads_max in [1, 2] {
                speed(items, threads_max);
            }
        }
    }
    for folder in folders {
        quality(&folder, items_max);
    }
}

/// Rows of 2 to 21 items, popular ones more often.
fn speed(items: usize, threads_max: usize) {
    let mut state = 88_172_645_463_325_252u64;
    let mut below = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    let mut gram = Gram::new(items, items).expect("as many as may be");
    let start = Instant::now();
    for _ in 0..20 * items {
        let length = 2 + below(20);
        let mut row: Vec<u32> = (0..length).map(|_| ((below(1 << 20) as f64 / f64::from(1 << 20)).powi(2) * items as f64) as u32).collect();
        row.sort_unstable();
        row.dedup();
        gram.add(&row);
    }
    let counting = start.elapsed().as_secs_f64();
    let (start, before) = (Instant::now(), set::processor_seconds());
    let model = gram.fit(100.0, &FitSettings { threads_max, ..FitSettings::default() }, &|| true).expect("solved");
    let (seconds, own) = (start.elapsed().as_secs_f64(), set::processor_seconds() - before);
    let operations = (items as f64).powi(3) / 1e9;
    println!(
        "{items} items, {} rows, {threads_max} threads: counted in {counting:.2} s, fitted in {seconds:.2} s ({own:.2} s of processor), \
         {:.1} GFLOP/s by the clock, {:.1} by processor time; matrix {} MB, resident at most {} MB, model {:.1} MB",
        gram.rows(),
        operations / seconds,
        operations / own,
        Gram::bytes(items) / 1_000_000,
        set::resident_most_mb(),
        model.bytes() as f64 / 1e6
    );
    let (mut sums, start) = (Sums::default(), Instant::now());
    for number in 0..1_000u32 {
        let history: Vec<u32> = (0..20).map(|step| (number * 37 + step * 53) % items as u32).collect();
        model.score(&history, 1.0, &mut sums);
    }
    println!("  a history of 20 is scored in {:.0} us", start.elapsed().as_secs_f64() * 1e3);
}

fn quality(folder: &str, items_max: usize) {
    let set = Set::read(folder);
    let trials = if set.are_orders { Trials::ORDERS } else { Trials::HISTORIES };
    let fit = FitSettings::default();
    let mut gram = set.gram(&set.fit, items_max);
    let query = |(history, target): &(Vec<u32>, u32)| Query { history: history.clone(), target: *target, own: Vec::new() };
    let queries: Vec<Query> = set::evenly(&set.validation, QUERIES_MAX).map(query).collect();
    let start = Instant::now();
    let choice = tune(&mut gram, &queries, &trials, &fit, &|| true).expect("solved");
    println!(
        "{folder}: {} of {} items, {} rows; {choice:?} in {:.1} s",
        gram.items(),
        set.names.len(),
        gram.rows(),
        start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let model = set.gram(&set.all, items_max).fit(choice.ridge, &fit, &|| true).expect("solved");
    println!("  fitted on everything known in {:.1} s, {:.1} MB", start.elapsed().as_secs_f64(), model.bytes() as f64 / 1e6);
    let (mut sums, mut found) = (Sums::default(), Vec::new());
    let lists = set.test.iter().map(|(id, history)| {
        model.score(history, choice.decay, &mut sums);
        blend(&[], &sums, 1.0, &|item| !history.contains(&item), &mut found);
        (id.as_str(), found.iter().take(LIST).map(|item| item.item).collect())
    });
    set.write("ease-lists.jsonl", lists);
}
