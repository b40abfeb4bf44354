//! Newline-delimited JSON: one object a line.

use std::io::{self, BufRead};

use serde_json::Value;

use super::{Decoded, RecordReader, decode};
use crate::logic::normal::text::cut;
use crate::logic::record::{Body, Limits, Next, Place, Record};

/// Reads NDJSON.
pub struct LineReader<R> {
    input: R,
    limits: Limits,
    line: u64,
    row: u64,
    bytes: Vec<u8>,
}

/// How a line ended.
enum Line {
    /// By a line break; whether it was longer than the bound.
    Whole { is_too_long: bool },
    /// By the end of the input.
    Last { is_too_long: bool },
    /// There is none.
    None,
}

impl<R: BufRead + Send> LineReader<R> {
    /// Reads from the first line on.
    pub fn new(input: R, limits: Limits) -> Self {
        Self { input, limits, line: 0, row: 0, bytes: Vec::new() }
    }

    /// The next line into `bytes`, without its end; what is over the bound is skipped.
    fn read_line(&mut self) -> io::Result<Line> {
        self.bytes.clear();
        let (mut seen, mut is_too_long) = (false, false);
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(if seen { Line::Last { is_too_long } } else { Line::None });
            }
            seen = true;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            let room = self.limits.record_bytes_max.saturating_sub(self.bytes.len());
            is_too_long |= part.len() > room;
            self.bytes.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                return Ok(Line::Whole { is_too_long });
            }
        }
    }
}

impl<R: BufRead + Send> RecordReader for LineReader<R> {
    fn next(&mut self) -> io::Result<Next> {
        loop {
            let line = self.read_line()?;
            self.line += 1;
            let (is_last, is_too_long) = match line {
                Line::None => return Ok(Next::End),
                Line::Whole { is_too_long } => (false, is_too_long),
                Line::Last { is_too_long } => (true, is_too_long),
            };
            if self.bytes.trim_ascii().is_empty() && !is_too_long {
                continue;
            }
            self.row += 1;
            let raw = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(self.limits.raw_bytes_max)]);
            let raw = cut(raw.trim(), self.limits.raw_bytes_max).to_owned();
            let place = Place { row: self.row, position: format!("line {}", self.line), raw };
            if is_too_long {
                let detail = format!("the line is longer than {} bytes", self.limits.record_bytes_max);
                return Ok(Next::Refused(place.finding("record_too_large", detail)));
            }
            return Ok(self.parse(place, is_last));
        }
    }
}

impl<R> LineReader<R> {
    fn parse(&self, place: Place, is_last: bool) -> Next {
        let (text, is_repaired) = match decode(self.bytes.trim_ascii()) {
            Decoded::Utf8(text) => (text.to_owned(), false),
            Decoded::Windows1252(text) => (text, true),
            Decoded::Undecodable if is_last => return Next::Truncated(place.finding("truncated", "the feed breaks off inside this line")),
            Decoded::Undecodable => return Next::Refused(place.finding("bad_encoding", "the line is neither UTF-8 nor Windows-1252")),
        };
        match serde_json::from_str(&text) {
            Ok(Value::Object(object)) => {
                let warning =
                    is_repaired.then(|| place.warning("", "bad_encoding", "not UTF-8; read as Windows-1252", &text, &self.limits));
                Next::Record(Record { place, body: Body::Json(object) }, warning)
            }
            Ok(_) => Next::Refused(place.finding("bad_json", "a line holds one JSON object")),
            Err(error) if is_last && error.is_eof() => Next::Truncated(place.finding("truncated", "the feed breaks off inside this line")),
            Err(error) => Next::Refused(place.finding("bad_json", error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<String> {
        let limits = Limits { record_bytes_max: 64, ..Limits::default() };
        let mut reader = LineReader::new(bytes, limits);
        let mut found = Vec::new();
        loop {
            found.push(match reader.next().expect("memory") {
                Next::Record(record, warning) => {
                    format!("{} {}{}", record.place.row, record.place.position, if warning.is_some() { " repaired" } else { "" })
                }
                Next::Refused(reject) => format!("{} {}", reject.row, reject.code),
                Next::Truncated(reject) => format!("{} {}", reject.row, reject.code),
                Next::End => return found,
            });
        }
    }

    #[test]
    fn lines_by_table() {
        let long = format!("{{\"a\":\"{}\"}}\n{{}}", "x".repeat(100));
        let cases: [(&[u8], &[&str]); 7] = [
            (b"", &[]),
            (b"{}\n\n  \n{\"a\":1}\r\n", &["1 line 1", "2 line 4"]),
            (b"{}\n{\"a\":", &["1 line 1", "2 truncated"]),
            (b"{\"a\":\n{}\n", &["1 bad_json", "2 line 2"]),
            (b"[1]\n{}", &["1 bad_json", "2 line 2"]),
            (b"{\"a\":\"caf\xe9\"}\n{\"a\":\"\xc3\xa9 \xe9\"}\n{}", &["1 line 1 repaired", "2 bad_encoding", "3 line 3"]),
            (long.as_bytes(), &["1 record_too_large", "2 line 2"]),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
