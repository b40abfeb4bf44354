//! The formats, and how one is told from another by a feed's first bytes. A new format is a line in [`FORMATS`], for
//! delimited text its columns in [`COLUMNS`], and a mapping.

use std::fmt;

use protocol::ingest::RunError;
use serde_json::{Map, Value};

use super::normal::text::{cut, snake_case};
use super::read::RecordReader;
use super::read::csv::CsvReader;
use super::record::{Limits, Next};

/// A feed format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FeedFormat {
    /// The product's own JSON, one a line.
    Ndjson,
    /// Google Retail API products, one a line.
    GoogleRetail,
    /// Google Merchant, RSS 2.0 or Atom.
    GoogleXml,
    /// Google Merchant, delimited text.
    GoogleCsv,
    /// Shopify's product export.
    ShopifyCsv,
    /// Vendure's product import.
    VendureCsv,
    /// One labelled fashion product a row.
    FashionCsv,
}

/// How a format's records are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// One JSON object a line.
    Lines,
    /// Rows of delimited text.
    Csv,
    /// Elements with one of these local names.
    Xml(&'static [&'static str]),
}

/// Every format: its name on the command line and in answers, and its syntax.
pub const FORMATS: [(FeedFormat, &str, Syntax); 7] = [
    (FeedFormat::Ndjson, "ndjson", Syntax::Lines),
    (FeedFormat::GoogleRetail, "google_retail", Syntax::Lines),
    (FeedFormat::GoogleXml, "google_xml", Syntax::Xml(&["item", "entry"])),
    (FeedFormat::GoogleCsv, "google_csv", Syntax::Csv),
    (FeedFormat::ShopifyCsv, "shopify_csv", Syntax::Csv),
    (FeedFormat::VendureCsv, "vendure_csv", Syntax::Csv),
    (FeedFormat::FashionCsv, "fashion_csv", Syntax::Csv),
];

/// What a header must have to be a format's, the most particular first; `Err` names a format that is known but not read.
const COLUMNS: [(Result<FeedFormat, &str>, &[&str]); 9] = [
    (Ok(FeedFormat::ShopifyCsv), &["handle", "title", "option1_value"]),
    (Ok(FeedFormat::VendureCsv), &["name", "slug", "option_groups", "option_values"]),
    (Ok(FeedFormat::FashionCsv), &["id", "master_category", "article_type", "product_display_name"]),
    (Err("woocommerce_csv"), &["sku", "name", "regular_price", "type"]),
    (Err("magento2_csv"), &["sku", "attribute_set_code", "product_type"]),
    (Err("prestashop_csv"), &["id", "price_tax_excl", "reference"]),
    (Err("myntra_csv"), &["product_id", "product_name", "product_brand"]),
    (Ok(FeedFormat::GoogleCsv), &["id", "title"]),
    (Ok(FeedFormat::GoogleCsv), &["id", "name"]),
];

/// Delimiters that are tried, the commonest first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Rows and lines that detection reads.
const SAMPLE_MAX: usize = 20;

/// Magic numbers of what is no feed.
const MAGIC: [(&[u8], &str); 11] = [
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"RIFF", "a RIFF file (picture or sound)"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\xd0\xcf\x11\xe0", "an office document"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"SQLite format", "a database"),
];

impl FeedFormat {
    /// The format with a name.
    pub fn from_name(name: &str) -> Option<Self> {
        FORMATS.iter().find(|(_, known, _)| *known == name).map(|(format, _, _)| *format)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// How its records are told apart.
    pub fn syntax(self) -> Syntax {
        self.entry().2
    }

    fn entry(self) -> &'static (Self, &'static str, Syntax) {
        FORMATS.iter().find(|(format, _, _)| *format == self).unwrap_or(&FORMATS[0])
    }
}

impl fmt::Display for FeedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How to read a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its format.
    pub format: FeedFormat,
    /// For delimited text.
    pub delimiter: u8,
}

/// Finds out how to read a feed by its first bytes (as UTF-8) and its file name. A format that was asked for is taken, if
/// the bytes can be its syntax.
pub fn detect(head: &[u8], name: &str, asked: Option<FeedFormat>) -> Result<Plan, RunError> {
    let text = head.trim_ascii_start();
    if text.is_empty() {
        return Err(not_a_feed("the file is empty"));
    }
    if let Some((_, what)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(not_a_feed(format!("this is {what}")));
    }
    if text.contains(&0) || text.iter().filter(|byte| is_control(**byte)).count() * 20 > text.len() {
        return Err(not_a_feed("these are binary data, not text"));
    }
    let plan = match text[0] {
        b'<' => detect_xml(text)?,
        b'{' => detect_lines(text)?,
        b'[' => return Err(error("unsupported_format", "a JSON array: send one object a line instead")),
        _ => return detect_csv(text, name, asked),
    };
    match asked {
        Some(asked) if asked.syntax() != plan.format.syntax() => {
            Err(not_a_feed(format!("asked for {asked}, but this looks like {}", plan.format)))
        }
        asked => Ok(Plan { format: asked.unwrap_or(plan.format), ..plan }),
    }
}

fn detect_xml(text: &[u8]) -> Result<Plan, RunError> {
    let start = String::from_utf8_lossy(text).to_ascii_lowercase();
    let root = roots(&start).next().unwrap_or_default();
    match root {
        "html" | "!doctype html" | "head" | "body" => Err(not_a_feed("this is a web page (HTML), perhaps an error page of the shop")),
        "rss" | "feed" | "rdf:rdf" | "channel" | "atom:feed" => Ok(Plan { format: FeedFormat::GoogleXml, delimiter: b',' }),
        "" => Err(not_a_feed("XML without an element")),
        other => Err(error("unsupported_format", format!("XML with the root element <{}>: RSS and Atom are read", cut(other, 64)))),
    }
}

/// The names of the first tags, without declarations and comments; a document type counts where it is HTML's.
fn roots(text: &str) -> impl Iterator<Item = &str> {
    text.split('<').skip(1).filter_map(|tag| {
        if tag.starts_with("!doctype html") {
            return Some("!doctype html");
        }
        let end = tag.find(|char: char| char.is_whitespace() || matches!(char, '>' | '/')).unwrap_or(tag.len());
        tag.starts_with(|char: char| char.is_ascii_alphabetic()).then_some(&tag[..end])
    })
}

fn detect_lines(text: &[u8]) -> Result<Plan, RunError> {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).take(SAMPLE_MAX).collect();
    let objects: Vec<Map<String, Value>> = lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect();
    if objects.is_empty() && lines.len() > 2 {
        return Err(error("unsupported_format", "JSON, but not one object a line"));
    }
    let is_retail = objects.iter().any(|object| object.contains_key("priceInfo") || object.contains_key("primaryProductId"));
    Ok(Plan { format: if is_retail { FeedFormat::GoogleRetail } else { FeedFormat::Ndjson }, delimiter: b',' })
}

fn detect_csv(head: &[u8], name: &str, asked: Option<FeedFormat>) -> Result<Plan, RunError> {
    if let Some(asked) = asked
        && asked.syntax() != Syntax::Csv
    {
        return Err(not_a_feed(format!("asked for {asked}, but this looks like delimited text")));
    }
    let mut samples: Vec<Sample> = DELIMITERS.iter().filter_map(|delimiter| sample(head, *delimiter)).collect();
    let is_tsv = name.to_ascii_lowercase().ends_with(".tsv");
    // A header that is some format's decides; otherwise the delimiter under which most rows are as wide as the header.
    samples.sort_by_key(|sample| {
        std::cmp::Reverse((sample.format().is_some(), is_tsv && sample.delimiter == b'\t', sample.even_rows, sample.width))
    });
    let Some(best) = samples.first() else { return Err(not_a_feed("neither XML nor JSON nor delimited text with a header")) };
    match (asked, best.format()) {
        (Some(format), _) | (None, Some(Ok(format))) => Ok(Plan { format, delimiter: best.delimiter }),
        (None, Some(Err(known))) => Err(error("unsupported_format", format!("{known} is not read yet"))),
        (None, None) => {
            let columns = best.keys.join(", ");
            Err(error("unknown_format", format!("delimited text with columns of no known format: {}", cut(&columns, 300))))
        }
    }
}

/// What a delimiter makes of a feed's first rows.
struct Sample {
    delimiter: u8,
    keys: Vec<String>,
    width: usize,
    even_rows: usize,
}

impl Sample {
    fn format(&self) -> Option<Result<FeedFormat, &'static str>> {
        let has = |wanted: &&str| self.keys.iter().any(|key| key == wanted);
        COLUMNS.iter().find(|(_, wanted)| wanted.iter().all(has)).map(|(format, _)| *format)
    }
}

fn sample(head: &[u8], delimiter: u8) -> Option<Sample> {
    let mut reader = CsvReader::open(head, delimiter, Limits::default()).ok()??;
    let width = reader.width();
    let mut even_rows = 0;
    for _ in 0..SAMPLE_MAX {
        match reader.next() {
            Ok(Next::Record(..) | Next::Refused(_)) => even_rows += usize::from(reader.last_width() == width),
            Ok(Next::Truncated(_) | Next::End) | Err(_) => break,
        }
    }
    let keys: Vec<String> = reader.keys().iter().map(|key| snake_case(key)).collect();
    (width >= 2).then_some(Sample { delimiter, keys, width, even_rows })
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\n' | b'\r' | b'\t' | 0x0b | 0x0c)
}

fn not_a_feed(detail: impl Into<String>) -> RunError {
    error("not_a_feed", detail)
}

fn error(code: &str, detail: impl Into<String>) -> RunError {
    RunError { code: code.to_owned(), detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(head: &str) -> String {
        match detect(head.as_bytes(), "feed", None) {
            Ok(plan) => format!("{} {}", plan.format, char::from(plan.delimiter)),
            Err(error) => error.code,
        }
    }

    #[test]
    fn formats_by_table() {
        let cases = [
            ("", "not_a_feed"),
            (" \n ", "not_a_feed"),
            ("<!DOCTYPE html>\n<html><title>502 Bad Gateway</title>", "not_a_feed"),
            ("<html><body>Not found</body></html>", "not_a_feed"),
            ("<!-- x --><HTML>", "not_a_feed"),
            ("\u{89}PNG", "not_a_feed"),
            ("Just some words.", "not_a_feed"),
            ("a\u{0}b,c", "not_a_feed"),
            ("<?xml version='1.0'?><!-- html --><rss version='2.0'>", "google_xml ,"),
            ("<feed xmlns='http://www.w3.org/2005/Atom'>", "google_xml ,"),
            ("<SHOP><SHOPITEM/></SHOP>", "unsupported_format"),
            ("{\"id\":\"1\",\"title\":\"a\"}\n", "ndjson ,"),
            ("{\"id\":\"1\",\"priceInfo\":{}}\n", "google_retail ,"),
            ("{\n\"id\":\n\"1\"\n}\n", "unsupported_format"),
            ("[{\"id\":1}]", "unsupported_format"),
            ("id,title,price\n1,a,5 EUR\n", "google_csv ,"),
            ("id;title;price\n1;a, b;5,00 EUR\n", "google_csv ;"),
            ("id\ttitle\tlink\n1\ta\tb\n", "google_csv \t"),
            ("\"id\"|\"title\"\n1|a\n", "google_csv |"),
            ("Handle,Title,Body (HTML),Option1 Name,Option1 Value\n", "shopify_csv ,"),
            ("name   ,slug  ,description,assets,facets,optionGroups ,optionValues\n", "vendure_csv ,"),
            ("id,gender,masterCategory,subCategory,articleType,productDisplayName\n", "fashion_csv ,"),
            ("ID,Type,SKU,Name,Regular price\n", "unsupported_format"),
            ("foo,bar\n1,2\n", "unknown_format"),
        ];
        for (head, expected) in cases {
            assert_eq!(found(head), expected, "{head}");
        }
        assert_eq!(detect(b"\x89PNG\r\n\x1a\n", "f", None).map_err(|error| error.detail), Err("this is a PNG picture".to_owned()));
    }

    #[test]
    fn what_was_asked_for_must_be_possible() {
        let csv = b"sku;name\n1;a\n";
        assert_eq!(detect(csv, "f", Some(FeedFormat::GoogleCsv)), Ok(Plan { format: FeedFormat::GoogleCsv, delimiter: b';' }));
        assert_eq!(detect(csv, "f", Some(FeedFormat::Ndjson)).map_err(|error| error.code), Err("not_a_feed".to_owned()));
        assert_eq!(detect(b"<html>", "f", Some(FeedFormat::GoogleXml)).map_err(|error| error.code), Err("not_a_feed".to_owned()));
        assert_eq!(detect(b"{}", "f", Some(FeedFormat::GoogleRetail)).map(|plan| plan.format), Ok(FeedFormat::GoogleRetail));
        for (format, name, _) in FORMATS {
            assert_eq!((FeedFormat::from_name(name), format.name()), (Some(format), name));
        }
    }
}
