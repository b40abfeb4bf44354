//! One feed from bytes to batches of products: detection, reader and mapping put together, repeated ids found, the end
//! judged.

use std::collections::HashMap;
use std::io::{self, Read};

use domain::{PartHashes, Product};
use protocol::ingest::{FeedMode, Reject, RunError};
use serde_json::{Map, Value};

use super::format::{FeedFormat, Syntax, detect};
use super::map::native::Native;
use super::map::{Mapping, mapping};
use super::read::RecordReader;
use super::read::bytes::{self, Meter, TooManyBytes};
use super::read::csv::CsvReader;
use super::read::lines::LineReader;
use super::read::xml::XmlReader;
use super::record::{Body, Mapped, Next, Place, Record, Settings, Sink};

/// Records read for one batch; many may make no product.
const BATCH_RECORDS_MAX: u64 = 2048;
/// Findings of one batch, about.
const BATCH_FINDINGS_MAX: usize = 512;

/// How a feed ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was read to its end.
    Whole,
    /// It breaks off; everything before that was read.
    Truncated(String),
    /// It cannot be read on.
    Failed(RunError),
}

/// The next products of a feed.
#[derive(Debug, Default)]
pub struct Batch {
    /// Products, each id once in the whole feed (a change stream excepted).
    pub products: Vec<Mapped>,
    /// Rejects and warnings.
    pub findings: Vec<Reject>,
    /// Records read for it, refused ones included.
    pub records: u64,
    /// Set in the feed's last batch.
    pub end: Option<End>,
}

/// A feed being read.
pub struct Feed {
    format: FeedFormat,
    reader: Box<dyn RecordReader>,
    mapping: Box<dyn Mapping>,
    settings: Settings,
    /// Hashes of ids and contents seen; absent where a later record replaces an earlier one.
    seen: Option<HashMap<u64, u64>>,
    last_row: u64,
    is_over: bool,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("format", &self.format).field("last_row", &self.last_row).finish_non_exhaustive()
    }
}

impl Feed {
    /// Opens a feed: unpacks, detects, reads a header. `name` is its file name.
    pub fn open(
        source: impl Read + Send + 'static,
        name: &str,
        asked: Option<FeedFormat>,
        mode: FeedMode,
        settings: Settings,
        meter: Meter,
    ) -> Result<Self, RunError> {
        let text = bytes::open(source, meter, settings.limits.feed_bytes_max).map_err(|error| run_error(&error))?;
        let plan = detect(&text.head, name, asked)?;
        let limits = settings.limits.clone();
        let reader: Box<dyn RecordReader> = match plan.format.syntax() {
            Syntax::Lines => Box::new(LineReader::new(text.input, limits)),
            Syntax::Xml(names) => Box::new(XmlReader::new(text.input, names, limits)),
            Syntax::Csv => {
                let reader = CsvReader::open(text.input, plan.delimiter, limits).map_err(|error| run_error(&error))?;
                let no_header = || RunError { code: "not_a_feed".to_owned(), detail: "the header cannot be read".to_owned() };
                Box::new(reader.ok_or_else(no_header)?)
            }
        };
        // Lines of changes are a stream: the later one of a product counts. Everything else is a list: the first counts.
        let is_stream = plan.format == FeedFormat::Ndjson && mode == FeedMode::Delta;
        let seen = (!is_stream).then(HashMap::new);
        Ok(Self { format: plan.format, reader, mapping: mapping(plan.format), settings, seen, last_row: 0, is_over: false })
    }

    /// The format that was detected or asked for.
    pub fn format(&self) -> FeedFormat {
        self.format
    }

    /// Reads on until there are `products_max` products, or a bounded number of records.
    pub fn next_batch(&mut self, products_max: usize) -> Batch {
        let mut batch = Batch::default();
        let mut sink = Sink::default();
        while sink.products.len() < products_max
            && sink.findings.len() < BATCH_FINDINGS_MAX
            && batch.records < BATCH_RECORDS_MAX
            && !self.is_over
        {
            batch.end = self.step(&mut sink, &mut batch.records);
            self.is_over = batch.end.is_some();
        }
        self.drop_repeated(&mut sink);
        batch.products = sink.products;
        batch.findings = sink.findings;
        batch
    }

    /// One record; at the feed's end, how it ended.
    fn step(&mut self, sink: &mut Sink, records: &mut u64) -> Option<End> {
        let next = match self.reader.next() {
            Ok(next) => next,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let place = Place { row: self.last_row + 1, ..Place::default() };
                Next::Truncated(place.finding("truncated", "the compressed file breaks off"))
            }
            Err(error) => {
                self.mapping.break_off(sink);
                return Some(End::Failed(run_error(&error)));
            }
        };
        match next {
            Next::Record(record, warning) => {
                *records += 1;
                self.last_row = record.place.row;
                sink.findings.extend(warning);
                self.mapping.record(record, &self.settings, sink);
                None
            }
            Next::Refused(reject) => {
                *records += 1;
                self.last_row = reject.row;
                sink.findings.push(reject);
                None
            }
            Next::Truncated(reject) => {
                // Between two records there is nothing to count.
                *records += u64::from(!reject.raw.is_empty());
                let detail = format!("{} (record {})", reject.detail, reject.row);
                sink.findings.push(reject);
                self.mapping.break_off(sink);
                Some(End::Truncated(detail))
            }
            Next::End => {
                self.mapping.finish(&self.settings, sink);
                Some(End::Whole)
            }
        }
    }

    /// The first product of an id counts. The same again is a warning, something else under the same id a reject: two imports
    /// of one feed then come to the same, whatever its order.
    fn drop_repeated(&mut self, sink: &mut Sink) {
        let Some(seen) = self.seen.as_mut() else { return };
        let ids_max = self.settings.limits.ids_remembered_max;
        let findings = &mut sink.findings;
        sink.products.retain(|Mapped { product, place }| {
            let id = short_hash(domain::ContentHash::of(product.id.as_str().as_bytes()));
            let content = content_hash(product);
            match seen.get(&id) {
                None => {
                    if seen.len() < ids_max {
                        seen.insert(id, content);
                    }
                    true
                }
                Some(first) => {
                    let is_same = *first == content;
                    let detail = if is_same {
                        "the same product stands in the feed already"
                    } else {
                        "another product with this id stands in the feed already; the first counts"
                    };
                    let reject = place.finding("duplicate_id", detail);
                    findings.push(Reject { product_id: Some(product.id.to_string()), is_warning: is_same, ..reject });
                    false
                }
            }
        });
    }
}

/// A single product in its own JSON form through the same checks as a feed's: the product and its warnings, or why it is
/// refused.
pub fn single(json: &[u8], settings: &Settings) -> Result<(Product, Vec<Reject>), Vec<Reject>> {
    let raw = String::from_utf8_lossy(&json[..json.len().min(settings.limits.raw_bytes_max)]).into_owned();
    let place = Place { row: 1, position: String::new(), raw };
    if json.len() > settings.limits.record_bytes_max {
        return Err(vec![place.finding("record_too_large", format!("more than {} bytes", settings.limits.record_bytes_max))]);
    }
    let object: Map<String, Value> = serde_json::from_slice(json).map_err(|error| vec![place.finding("bad_json", error.to_string())])?;
    let mut sink = Sink::default();
    Native.record(Record { place, body: Body::Json(object) }, settings, &mut sink);
    match sink.products.pop() {
        Some(mapped) => Ok((mapped.product, sink.findings)),
        None => Err(sink.findings),
    }
}

fn short_hash(hash: domain::ContentHash) -> u64 {
    hash.0[..8].iter().fold(0, |short, byte| short << 8 | u64::from(*byte))
}

fn content_hash(product: &Product) -> u64 {
    let PartHashes { text, image, price, stock } = PartHashes::of(product);
    [text, image, price, stock].into_iter().fold(0, |all: u64, part| all.rotate_left(16) ^ short_hash(part))
}

fn run_error(error: &io::Error) -> RunError {
    let is_too_large = error.get_ref().is_some_and(|inner| inner.is::<TooManyBytes>());
    let code = match error.kind() {
        io::ErrorKind::UnexpectedEof => "truncated",
        _ if is_too_large => "too_large",
        _ => "unreadable",
    };
    RunError { code: code.to_owned(), detail: error.to_string() }
}
