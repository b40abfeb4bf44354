//! Queries that found something, and how often they are asked: what is asked much completes what others begin to type.
//!
//! Counts decay by half in [`HALF_LIFE_SECONDS`]. For privacy a query completes nothing until it was asked a number of times, and
//! one that looks like an address or a number of a person is not kept at all. The caller decides whose queries count as one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::names::key;

/// After so long a question counts half.
pub const HALF_LIFE_SECONDS: u64 = 30 * 24 * 3_600;
/// Queries that are kept; the coldest tenth goes when there are more.
pub const QUERIES_MAX: usize = 20_000;
/// Characters of a query that is kept.
pub const LOGGED_CHARS_MAX: usize = 80;
/// Digits in a row from which on a query may be a telephone or card number.
const DIGITS_MAX: usize = 6;
/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Queries that are looked at for one beginning.
const SCANNED_MAX: usize = 5_000;
const HEADER: &str = "words-queries 1";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    /// As it was written last.
    text: String,
    times: u32,
    /// The decayed count at `seconds`.
    heat: f64,
    seconds: u64,
}

impl Asked {
    fn heat_at(&self, now_seconds: u64) -> f64 {
        let age = now_seconds.saturating_sub(self.seconds) as f64;
        self.heat * (-age / HALF_LIFE_SECONDS as f64).exp2()
    }
}

/// The queries that found something.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryLog {
    asked_min: u32,
    /// By folded words.
    queries: BTreeMap<String, Asked>,
}

impl QueryLog {
    /// An empty log, whose queries complete others after they were asked `asked_min` times.
    pub fn new(asked_min: u32) -> Self {
        Self { asked_min, queries: BTreeMap::new() }
    }

    /// Reads a log; one that is absent or damaged is begun anew.
    pub fn open(path: &Path, asked_min: u32) -> Self {
        let mut new = Self::new(asked_min);
        match read(path) {
            Ok(queries) => new.queries = queries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "the log of queries cannot be read and is begun anew"),
        }
        new
    }

    /// Writes it beside the file and puts it in its place.
    ///
    /// # Errors
    /// When the folder cannot be written; the old file is whole then.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let body = serde_json::to_string(&self.queries)?;
        let temporary = path.with_extension("new");
        let mut file = File::create(&temporary)?;
        writeln!(file, "{HEADER} {:016x}", checksum(body.as_bytes()))?;
        file.write_all(body.as_bytes())?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, path)?;
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }

    /// Counts a query that found something.
    pub fn record(&mut self, text: &str, now_seconds: u64) {
        let text = text.trim();
        let key = key(text);
        if key.is_empty() || text.chars().nth(LOGGED_CHARS_MAX).is_some() || is_personal(text) {
            return;
        }
        let asked = self.queries.entry(key).or_insert_with(|| Asked { text: String::new(), times: 0, heat: 0.0, seconds: now_seconds });
        let now_seconds = now_seconds.max(asked.seconds);
        *asked = Asked {
            text: text.to_lowercase(),
            times: asked.times.saturating_add(1),
            heat: asked.heat_at(now_seconds) + 1.0,
            seconds: now_seconds,
        };
        if self.queries.len() > QUERIES_MAX {
            self.forget_coldest(now_seconds);
        }
    }

    /// How many queries are kept.
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// What begins so and was asked often enough, hottest first: folded, as written, decayed count.
    pub(crate) fn complete(&self, beginning: &str, limit: usize, now_seconds: u64) -> Vec<(&str, &str, f64)> {
        let from = self.queries.range(beginning.to_owned()..);
        let begun = from.take_while(|(key, _)| key.starts_with(beginning)).take(SCANNED_MAX);
        let mut found: Vec<_> = begun
            .filter(|(_, asked)| asked.times >= self.asked_min)
            .map(|(key, asked)| (key.as_str(), asked.text.as_str(), asked.heat_at(now_seconds)))
            .collect();
        found.sort_by(|a, b| b.2.total_cmp(&a.2).then_with(|| a.0.cmp(b.0)));
        found.truncate(limit);
        found
    }

    fn forget_coldest(&mut self, now_seconds: u64) {
        let mut heats: Vec<f64> = self.queries.values().map(|asked| asked.heat_at(now_seconds)).collect();
        let gone = (QUERIES_MAX / 10).max(1).min(heats.len());
        let (_, limit, _) = heats.select_nth_unstable_by(gone - 1, f64::total_cmp);
        let limit = *limit;
        let mut left = gone;
        self.queries.retain(|_, asked| {
            let goes = left > 0 && asked.heat_at(now_seconds) <= limit;
            left -= usize::from(goes);
            !goes
        });
    }
}

fn is_personal(text: &str) -> bool {
    let mut digits = 0;
    let mut longest = 0;
    for c in text.chars() {
        match c {
            '0'..='9' => digits += 1,
            ' ' | '-' | '/' | '(' | ')' | '+' => continue,
            _ => digits = 0,
        }
        longest = longest.max(digits);
    }
    text.contains('@') || longest > DIGITS_MAX
}

fn read(path: &Path) -> io::Result<BTreeMap<String, Asked>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(invalid("too long"));
    }
    let text = fs::read_to_string(path)?;
    let (header, body) = text.split_once('\n').ok_or_else(|| invalid("no header"))?;
    if header != format!("{HEADER} {:016x}", checksum(body.as_bytes())) {
        return Err(invalid("another format or damaged"));
    }
    let queries: BTreeMap<String, Asked> = serde_json::from_str(body)?;
    if queries.len() > QUERIES_MAX || queries.values().any(|asked| !asked.heat.is_finite()) {
        return Err(invalid("out of bounds"));
    }
    Ok(queries)
}

/// FNV-1a, 64 bits: against torn and flipped bytes, not against people.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(log: &QueryLog, beginning: &str, now: u64) -> Vec<String> {
        log.complete(beginning, 9, now).into_iter().map(|(_, text, _)| text.to_owned()).collect()
    }

    #[test]
    fn a_query_completes_after_it_was_asked_often_enough() {
        let mut log = QueryLog::new(3);
        for now in 0..3 {
            assert!(keys(&log, "red", now).is_empty());
            log.record("Red  Shoes", now);
            log.record("red hat", 5);
        }
        log.record("red hat", 6);
        log.record("red cap", 6);
        assert_eq!(keys(&log, "red", 9), ["red hat", "red  shoes"]);
        assert_eq!(keys(&log, "red sh", 9), ["red  shoes"]);
        assert!(keys(&log, "blue", 9).is_empty());
    }

    #[test]
    fn old_questions_fade() {
        let mut log = QueryLog::new(1);
        (0..10).for_each(|_| log.record("old", 0));
        (0..3).for_each(|_| log.record("only new", 2 * HALF_LIFE_SECONDS));
        assert_eq!(keys(&log, "o", 2 * HALF_LIFE_SECONDS), ["only new", "old"]);
        log.record("old", 0);
        assert!(log.queries["old"].heat.is_finite(), "a clock that goes back does no harm");
    }

    #[test]
    fn what_may_be_about_a_person_is_not_kept() {
        let mut log = QueryLog::new(1);
        for text in ["me@example.org", "+49 (151) 234 567", "4111 1111 1111 1111", "   ", "--", &"x".repeat(LOGGED_CHARS_MAX + 1)] {
            log.record(text, 0);
        }
        assert!(log.is_empty());
        log.record("iphone 15", 0);
        log.record("drill 18v 2.0", 0);
        assert_eq!(log.len(), 2);
    }

    #[test]
    fn it_is_bounded_and_keeps_the_hottest() {
        let mut log = QueryLog::new(1);
        (0..50).for_each(|_| log.record("hot", 1));
        for number in 0..=QUERIES_MAX {
            log.record(&format!("q {} {}", number / 1000, number % 1000), 1);
        }
        assert!(log.len() <= QUERIES_MAX && log.len() > QUERIES_MAX / 2, "{}", log.len());
        assert_eq!(keys(&log, "hot", 1), ["hot"]);
    }

    #[test]
    fn a_damaged_file_is_begun_anew() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("queries");
        assert!(QueryLog::open(&path, 1).is_empty());
        let mut log = QueryLog::new(1);
        log.record("Grüne Schuhe", 7);
        log.save(&path).expect("saved");
        assert_eq!(QueryLog::open(&path, 1), log);
        let whole = fs::read(&path).expect("read");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).expect("written");
            assert!(QueryLog::open(&path, 1).is_empty(), "byte {at}");
            fs::write(&path, &whole[..at]).expect("written");
            assert!(QueryLog::open(&path, 1).is_empty(), "cut at {at}");
        }
        log.save(&path).expect("saved over it");
        assert_eq!(QueryLog::open(&path, 1).len(), 1);
        assert_eq!(fs::read_dir(dir.path()).expect("read").count(), 1, "nothing is left beside it");
    }
}
