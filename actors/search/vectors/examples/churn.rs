//! Prints what searches feel while products come and go: `churn [rows] [dimensions] [seconds] [folder]`.

use vectors::churn::{Options, measure};

fn main() -> Result<(), vectors::index::IndexError> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: f64| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(default);
    let defaults = Options::default();
    let options = Options {
        rows: number(0, defaults.rows as f64) as usize,
        dimensions: number(1, defaults.dimensions as f64) as usize,
        seconds: number(2, defaults.seconds),
        folder: words.get(3).map(Into::into),
        ..defaults
    };
    let report = measure(&options)?;
    print!("{}", report.table());
    println!("{}", serde_json::to_string(&report).unwrap_or_default());
    Ok(())
}
