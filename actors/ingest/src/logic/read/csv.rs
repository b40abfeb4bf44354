//! Delimited text (RFC 4180 and its relatives): delimiter given, quotes doubled, blanks around quoted cells ignored, line
//! breaks inside quotes kept. A quote that never closes swallows what follows up to the next quote, as everywhere; the row
//! that results is bounded and refused alone.

use std::io::{self, BufRead};
use std::sync::Arc;

use super::{Decoded, RecordReader, decode, windows_1252};
use crate::logic::normal::text::{cut, snake_case};
use crate::logic::record::{Body, Field, Limits, Name, Next, Place, Record};

const QUOTE: u8 = b'"';

/// Where in a row the next byte stands.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    CellStart,
    Cell,
    Quotes,
    /// Behind a quote that ends the cell unless another follows.
    QuoteEnd,
}

/// One row, undecoded: cells one behind the other, and where each ends.
#[derive(Default)]
struct Row {
    cells: Vec<u8>,
    ends: Vec<usize>,
    raw: Vec<u8>,
    first_line: u64,
    /// Bytes or cells over the bound were dropped.
    over: Option<&'static str>,
    /// Ended by the end of the input instead of a line break.
    is_last: bool,
    is_open: bool,
}

/// Reads rows; the first is the header.
pub struct CsvReader<R> {
    input: R,
    delimiter: u8,
    limits: Limits,
    header: Vec<Option<Arc<Name>>>,
    row: Row,
    line: u64,
    number: u64,
}

impl<R: BufRead + Send> CsvReader<R> {
    /// Reads the header. `None` when there is none that can be read.
    pub fn open(input: R, delimiter: u8, limits: Limits) -> io::Result<Option<Self>> {
        let mut reader = Self { input, delimiter, limits, header: Vec::new(), row: Row::default(), line: 1, number: 0 };
        if !reader.read_row()? || reader.row.over.is_some() || reader.row.is_open {
            return Ok(None);
        }
        let Some((cells, _)) = reader.cells() else { return Ok(None) };
        let name = |cell: String| {
            let feed = cell.trim().to_owned();
            let key = snake_case(feed.strip_prefix("g:").unwrap_or(&feed));
            (!key.is_empty()).then(|| Arc::new(Name { feed, key }))
        };
        reader.header = cells.into_iter().map(name).collect();
        Ok(Some(reader))
    }

    /// The keys of the header, for detection.
    pub fn keys(&self) -> Vec<String> {
        self.header.iter().flatten().map(|name| name.key.clone()).collect()
    }

    /// Cells in the header.
    pub fn width(&self) -> usize {
        self.header.len()
    }

    /// Cells in the row that was read last.
    pub fn last_width(&self) -> usize {
        self.row.ends.len()
    }

    /// The next row that is not an empty line; false at the end.
    fn read_row(&mut self) -> io::Result<bool> {
        let row = &mut self.row;
        *row = Row {
            cells: std::mem::take(&mut row.cells),
            ends: std::mem::take(&mut row.ends),
            raw: std::mem::take(&mut row.raw),
            first_line: self.line,
            ..Row::default()
        };
        row.clear();
        let mut inside = Inside::CellStart;
        let mut seen = false;
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                row.is_last = true;
                row.is_open = inside == Inside::Quotes;
                if seen {
                    row.end_cell(&self.limits);
                }
                return Ok(seen);
            }
            let (used, is_end) = row.take(chunk, self.delimiter, &mut inside, &mut self.line, &self.limits);
            let room = self.limits.raw_bytes_max.saturating_sub(row.raw.len());
            row.raw.extend_from_slice(&chunk[..used.min(room)]);
            self.input.consume(used);
            seen = true;
            if is_end && row.ends.len() == 1 && row.cells.trim_ascii().is_empty() && row.over.is_none() {
                row.clear();
                (row.first_line, inside, seen) = (self.line, Inside::CellStart, false);
            } else if is_end {
                return Ok(true);
            }
        }
    }

    /// The row's cells as text, and whether they were read as Windows-1252; `None` when they cannot be decoded.
    fn cells(&self) -> Option<(Vec<String>, bool)> {
        let starts = std::iter::once(0).chain(self.row.ends.iter().copied());
        let ranges = starts.zip(self.row.ends.iter().copied());
        match decode(&self.row.cells) {
            Decoded::Utf8(text) => {
                ranges.map(|(start, end)| text.get(start..end).map(str::to_owned)).collect::<Option<_>>().map(|cells| (cells, false))
            }
            Decoded::Windows1252(_) => Some((ranges.map(|(start, end)| windows_1252(&self.row.cells[start..end])).collect(), true)),
            Decoded::Undecodable => None,
        }
    }

    fn place(&self) -> Place {
        let raw = String::from_utf8_lossy(&self.row.raw);
        Place {
            row: self.number,
            position: format!("line {}", self.row.first_line),
            raw: cut(raw.trim_end(), self.limits.raw_bytes_max).to_owned(),
        }
    }
}

impl<R: BufRead + Send> RecordReader for CsvReader<R> {
    fn next(&mut self) -> io::Result<Next> {
        if !self.read_row()? {
            return Ok(Next::End);
        }
        self.number += 1;
        let place = self.place();
        // A last row without line break that lacks cells is what a cut leaves; with all its cells it is whole.
        if self.row.is_open || (self.row.is_last && self.row.ends.len() < self.header.len() && self.row.over.is_none()) {
            return Ok(Next::Truncated(place.finding("truncated", "the feed breaks off inside this row")));
        }
        if let Some(code) = self.row.over {
            let detail = format!("the row has more than {} bytes or {} cells", self.limits.record_bytes_max, self.limits.columns_max);
            return Ok(Next::Refused(place.finding(code, detail)));
        }
        let Some((cells, is_repaired)) = self.cells() else {
            return Ok(Next::Refused(place.finding("bad_encoding", "the row is neither UTF-8 nor Windows-1252")));
        };
        let extra = cells.iter().skip(self.header.len()).find(|cell| !cell.trim().is_empty());
        let warning = match extra {
            Some(cell) => Some(place.warning(
                "",
                "extra_cells",
                format!("{} cells under {} headers", cells.len(), self.header.len()),
                cell,
                &self.limits,
            )),
            None if is_repaired => Some(place.warning("", "bad_encoding", "not UTF-8; read as Windows-1252", &place.raw, &self.limits)),
            None => None,
        };
        let named = self.header.iter().zip(cells);
        let fields = named.filter_map(|(name, cell)| {
            let (name, trimmed) = (name.as_ref()?, cell.trim());
            let value = if trimmed.len() == cell.len() { cell } else { trimmed.to_owned() };
            (!value.is_empty()).then(|| Field { name: Arc::clone(name), value })
        });
        Ok(Next::Record(Record { place, body: Body::Fields(fields.collect()) }, warning))
    }
}

impl Row {
    fn clear(&mut self) {
        self.cells.clear();
        self.ends.clear();
        self.raw.clear();
    }

    /// Takes bytes up to the row's end: how many, and whether the row has ended.
    fn take(&mut self, chunk: &[u8], delimiter: u8, inside: &mut Inside, line: &mut u64, limits: &Limits) -> (usize, bool) {
        let mut at = 0;
        while at < chunk.len() {
            let byte = chunk[at];
            let is_plain = match *inside {
                Inside::Quotes => byte != QUOTE && byte != b'\n',
                Inside::Cell => byte != delimiter && byte != b'\n',
                Inside::CellStart | Inside::QuoteEnd => byte != delimiter && !matches!(byte, b'\n' | QUOTE | b' ' | b'\r'),
            };
            if is_plain {
                if *inside != Inside::Quotes {
                    *inside = Inside::Cell;
                }
                let ends_run = if *inside == Inside::Quotes { QUOTE } else { delimiter };
                let run = chunk[at..].iter().position(|byte| *byte == ends_run || *byte == b'\n').unwrap_or(chunk.len() - at);
                self.push(&chunk[at..at + run], limits);
                at += run;
                continue;
            }
            at += 1;
            match (*inside, byte) {
                (Inside::Quotes, QUOTE) => *inside = Inside::QuoteEnd,
                (Inside::Quotes, other) => {
                    *line += u64::from(other == b'\n');
                    self.push(&[other], limits);
                }
                (_, b'\n') => {
                    *line += 1;
                    self.end_cell(limits);
                    return (at, true);
                }
                (_, other) if other == delimiter => {
                    self.end_cell(limits);
                    *inside = Inside::CellStart;
                }
                (Inside::CellStart, QUOTE) => {
                    self.cells.truncate(self.ends.last().copied().unwrap_or(0));
                    *inside = Inside::Quotes;
                }
                (Inside::QuoteEnd, QUOTE) => {
                    self.push(&[QUOTE], limits);
                    *inside = Inside::Quotes;
                }
                (_, other) => self.push(&[other], limits),
            }
        }
        (at, false)
    }

    fn push(&mut self, bytes: &[u8], limits: &Limits) {
        let room = limits.record_bytes_max.saturating_sub(self.cells.len());
        if bytes.len() > room || self.over.is_some() {
            self.over.get_or_insert("record_too_large");
        } else {
            self.cells.extend_from_slice(bytes);
        }
    }

    fn end_cell(&mut self, limits: &Limits) {
        if self.ends.len() >= limits.columns_max {
            self.over.get_or_insert("too_many_columns");
        } else {
            self.ends.push(self.cells.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads through a tiny buffer too, so that every state meets a block's end.
    fn read(text: &[u8], delimiter: u8) -> Vec<String> {
        let whole = read_with(text, delimiter, 1 << 16);
        assert_eq!(whole, read_with(text, delimiter, 1), "{}", String::from_utf8_lossy(text));
        whole
    }

    fn read_with(text: &[u8], delimiter: u8, buffer: usize) -> Vec<String> {
        let limits = Limits { record_bytes_max: 100, columns_max: 8, ..Limits::default() };
        let input = io::BufReader::with_capacity(buffer, text);
        let mut reader = CsvReader::open(input, delimiter, limits).expect("memory").expect("a header");
        let mut found = Vec::new();
        loop {
            let show = |record: Record, warning: Option<protocol::ingest::Reject>| {
                let cells: Vec<String> = record.fields().iter().map(|field| format!("{}={}", field.name.key, field.value)).collect();
                let warning = warning.map(|warning| format!(" ({})", warning.code)).unwrap_or_default();
                format!("{} {}: {}{warning}", record.place.row, record.place.position, cells.join(";"))
            };
            found.push(match reader.next().expect("memory") {
                Next::Record(record, warning) => show(record, warning),
                Next::Refused(reject) | Next::Truncated(reject) => format!("{} {}", reject.row, reject.code),
                Next::End => return found,
            });
        }
    }

    #[test]
    fn rows_by_table() {
        let cases: [(&str, &[&str]); 13] = [
            ("a,b\n1,2\n3,4", &["1 line 2: a=1;b=2", "2 line 3: a=3;b=4"]),
            ("a,b\r\n1,2\r\n\r\n3,4\r\n", &["1 line 2: a=1;b=2", "2 line 4: a=3;b=4"]),
            ("a,b\n\"x, y\",\"say \"\"hi\"\"\"\n", &["1 line 2: a=x, y;b=say \"hi\""]),
            ("a,b\n\"two\nlines\",2\n3,4\n", &["1 line 2: a=two\nlines;b=2", "2 line 4: a=3;b=4"]),
            ("a ,b \n\"x|y\"   , 2 \n  ,\"z\"  \n", &["1 line 2: a=x|y;b=2", "2 line 3: b=z"]),
            ("a,b\n1\" pipe,2\n", &["1 line 2: a=1\" pipe;b=2"]),
            ("a,b,\n1,2,\n", &["1 line 2: a=1;b=2"]),
            ("a,b\n1,2,,\n1,2,3\n", &["1 line 2: a=1;b=2", "2 line 3: a=1;b=2 (extra_cells)"]),
            ("a,b\n1\n2,", &["1 line 2: a=1", "2 line 3: a=2"]),
            ("a,b\n1,2\n3", &["1 line 2: a=1;b=2", "2 truncated"]),
            ("a,b\n1,2\n3,\"cut", &["1 line 2: a=1;b=2", "2 truncated"]),
            ("a,b\n1,2,3,4,5,6,7,8,9,10\n3,4\n", &["1 too_many_columns", "2 line 3: a=3;b=4"]),
            ("a,b\n\"\",\" \"\n", &["1 line 2: "]),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text.as_bytes(), b','), expected, "{text}");
        }
        let long = format!("a,b\n{},2\n\"{}\n,\n\",2\n3,4\n", "x".repeat(101), "y".repeat(101));
        assert_eq!(read(long.as_bytes(), b','), ["1 record_too_large", "2 record_too_large", "3 line 6: a=3;b=4"]);
        assert_eq!(read(b"a\tb\n1 x\t2\n", b'\t'), ["1 line 2: a=1 x;b=2"]);
    }

    #[test]
    fn encodings_are_judged_row_by_row() {
        let rows = b"name,b\ncaf\xe9,1\ncaf\xc3\xa9,2\n\xc3\xa9\xe9,3\n\x81,4\n\xc3,\xa9\nend,5\n";
        let expected = [
            "1 line 2: name=café;b=1 (bad_encoding)",
            "2 line 3: name=café;b=2",
            "3 bad_encoding",
            "4 bad_encoding",
            "5 bad_encoding",
            "6 line 7: name=end;b=5",
        ];
        assert_eq!(read(rows, b','), expected);
    }

    #[test]
    fn header_names() {
        let reader = CsvReader::open("g:image_link,Body (HTML),,colorName\n".as_bytes(), b',', Limits::default())
            .expect("memory")
            .expect("a header");
        assert_eq!((reader.keys(), reader.width()), (vec!["image_link".to_owned(), "body_html".into(), "color_name".into()], 4));
        assert!(CsvReader::open(&b""[..], b',', Limits::default()).expect("memory").is_none());
        assert!(CsvReader::open(&b"\"never closed\n1,2"[..], b',', Limits::default()).expect("memory").is_none());
    }
}
