//! XML feeds: a scanner cuts the stream into record elements (`<item>`, `<entry>`), and each is parsed by itself. So one
//! malformed or gigantic element is refused alone, and memory holds one element at a time.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::sync::Arc;

use super::{Decoded, RecordReader, decode};
use crate::logic::normal::text::{cut, snake_case};
use crate::logic::record::{Body, Field, Limits, Name, Next, Place, Record};
use quick_xml::events::{BytesStart, Event};

/// The namespace of Google Merchant attributes, whatever prefix a feed gives it.
const GOOGLE_NAMESPACE: &str = "http://base.google.com/ns/1.0";
/// The prefix of feeds that forget to declare the namespace.
const GOOGLE_PREFIX: &str = "g";
/// Of tags outside records this much is looked at.
const TAG_BYTES_MAX: usize = 16 * 1024;
/// Names of one feed that are kept for reuse.
const NAMES_MAX: usize = 4096;
/// Elements whose inner markup is part of their text.
const TEXTS: [&str; 4] = ["description", "content", "summary", "title"];

/// Reads record elements.
pub struct XmlReader<R> {
    input: R,
    limits: Limits,
    record_names: &'static [&'static str],
    google_prefixes: Vec<String>,
    names: HashMap<String, Arc<Name>>,
    root: Option<Vec<u8>>,
    is_root_closed: bool,
    offset: u64,
    row: u64,
    /// The record being cut out; empty between records.
    element: Vec<u8>,
    element_at: u64,
    is_in_record: bool,
    is_too_large: bool,
}

/// A piece of markup.
enum Markup {
    /// A start tag; whether it closes itself.
    Start { is_empty: bool },
    /// An end tag.
    End,
    /// Comment, CDATA, declaration, or a `<` that starts nothing.
    Other,
    /// The input ends inside it, or before it.
    Eof,
}

impl<R: BufRead + Send> XmlReader<R> {
    /// Reads the elements with one of these local names.
    pub fn new(input: R, record_names: &'static [&'static str], limits: Limits) -> Self {
        let google_prefixes = vec![GOOGLE_PREFIX.to_owned()];
        Self {
            input,
            limits,
            record_names,
            google_prefixes,
            names: HashMap::new(),
            root: None,
            is_root_closed: false,
            offset: 0,
            row: 0,
            element: Vec::new(),
            element_at: 0,
            is_in_record: false,
            is_too_large: false,
        }
    }

    /// Takes bytes until `is_end` says so (that byte included) and keeps them in `into`, bounded. False at the input's end.
    fn take(&mut self, into: &mut Vec<u8>, bytes_max: usize, mut is_end: impl FnMut(u8) -> bool) -> io::Result<bool> {
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(false);
            }
            let end = chunk.iter().position(|byte| is_end(*byte));
            let used = end.map_or(chunk.len(), |at| at + 1);
            let room = bytes_max.saturating_sub(into.len());
            into.extend_from_slice(&chunk[..used.min(room)]);
            self.is_too_large |= self.is_in_record && used > room;
            self.input.consume(used);
            self.offset += used as u64;
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    /// Takes text up to the next `<`, without keeping it outside a record, and the `<` itself.
    fn take_text(&mut self) -> io::Result<bool> {
        let bytes_max = if self.is_in_record { self.limits.record_bytes_max } else { 0 };
        let mut element = std::mem::take(&mut self.element);
        let found = self.take(&mut element, bytes_max, |byte| byte == b'<');
        self.element = element;
        found
    }

    /// Takes the markup behind a `<` into `tag`.
    fn take_markup(&mut self, tag: &mut Vec<u8>) -> io::Result<Markup> {
        tag.clear();
        let bytes_max = if self.is_in_record { self.limits.record_bytes_max } else { TAG_BYTES_MAX };
        let first = match self.input.fill_buf()?.first() {
            None => return Ok(Markup::Eof),
            Some(first) => *first,
        };
        let is_whole = match first {
            b'!' => self.take_declaration(tag, bytes_max)?,
            b'?' => self.take(tag, bytes_max, ends_with(b"?>"))?,
            b'/' | b':' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => {
                let (mut quote, mut before) = (None, b'<');
                self.take(tag, bytes_max, move |byte| {
                    match quote {
                        None if byte == b'>' => return true,
                        None if matches!(byte, b'"' | b'\'') && before == b'=' => quote = Some(byte),
                        Some(open) if open == byte => quote = None,
                        _ => {}
                    }
                    if !byte.is_ascii_whitespace() {
                        before = byte;
                    }
                    false
                })?
            }
            _ => true,
        };
        Ok(match (is_whole, first) {
            (false, _) => Markup::Eof,
            (true, b'/') => Markup::End,
            (true, b'!' | b'?') => Markup::Other,
            (true, _) if tag.is_empty() => Markup::Other,
            (true, _) => Markup::Start { is_empty: tag.ends_with(b"/>") },
        })
    }

    fn take_declaration(&mut self, tag: &mut Vec<u8>, bytes_max: usize) -> io::Result<bool> {
        // Up to the first byte that tells comments, CDATA sections and declarations apart.
        let mut seen = 0;
        let opened = self.take(tag, bytes_max, |byte| {
            seen += 1;
            byte == b'>' || (seen == 2 && byte != b'-' && byte != b'[') || seen == 3
        })?;
        if !opened {
            return Ok(false);
        }
        match (tag.get(1), tag.get(2)) {
            _ if tag.ends_with(b">") => Ok(true),
            (Some(b'-'), Some(b'-')) => self.take(tag, bytes_max, ends_with(b"-->")),
            (Some(b'['), _) => self.take(tag, bytes_max, ends_with(b"]]>")),
            _ => self.take(tag, bytes_max, |byte| byte == b'>'),
        }
    }

    /// Namespace declarations and the root's name, from tags outside records.
    fn note_outer(&mut self, tag: &[u8]) {
        let text = String::from_utf8_lossy(tag);
        if self.root.is_none() {
            self.root = Some(name_of(tag).to_vec());
        }
        for (at, _) in text.match_indices("xmlns:") {
            let declaration = &text[at + 6..];
            let Some((prefix, value)) = declaration.split_once('=') else { continue };
            let value = value.trim_start();
            let is_google = value.get(1..).is_some_and(|value| value.starts_with(GOOGLE_NAMESPACE));
            if is_google && self.google_prefixes.len() < 8 {
                self.google_prefixes.push(prefix.trim().to_owned());
            }
        }
    }

    fn start_record(&mut self, tag: &[u8]) {
        self.row += 1;
        self.element_at = self.offset - tag.len() as u64 - 1;
        self.is_in_record = true;
        self.is_too_large = tag.len() >= self.limits.record_bytes_max;
        self.element.clear();
        self.element.push(b'<');
        self.element.extend_from_slice(tag);
    }

    fn place(&self) -> Place {
        let raw = String::from_utf8_lossy(&self.element[..self.element.len().min(self.limits.raw_bytes_max)]);
        Place { row: self.row, position: format!("byte {}", self.element_at), raw: cut(raw.trim(), self.limits.raw_bytes_max).to_owned() }
    }

    /// The record that has been cut out.
    fn end_record(&mut self) -> Next {
        self.is_in_record = false;
        let place = self.place();
        if self.is_too_large {
            let detail = format!("the element is longer than {} bytes", self.limits.record_bytes_max);
            return Next::Refused(place.finding("record_too_large", detail));
        }
        let element = std::mem::take(&mut self.element);
        let (text, warning) = match decode(&element) {
            Decoded::Utf8(text) => (text.to_owned(), None),
            Decoded::Windows1252(text) => {
                let warning = place.warning("", "bad_encoding", "not UTF-8; read as Windows-1252", &place.raw, &self.limits);
                (text, Some(warning))
            }
            Decoded::Undecodable => return Next::Refused(place.finding("bad_encoding", "the element is neither UTF-8 nor Windows-1252")),
        };
        self.element = element;
        match self.fields(&text) {
            Ok(fields) if fields.len() > self.limits.columns_max => {
                Next::Refused(place.finding("too_many_columns", format!("the element has more than {} fields", self.limits.columns_max)))
            }
            Ok(fields) => Next::Record(Record { place, body: Body::Fields(fields) }, warning),
            Err(detail) => Next::Refused(place.finding("bad_xml", detail)),
        }
    }

    /// The fields of an element, those of Google's namespace first: `g:title` wins over `title`.
    fn fields(&mut self, element: &str) -> Result<Vec<Field>, String> {
        let mut reader = quick_xml::Reader::from_str(element);
        let mut walk = Walk::default();
        loop {
            match reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(tag) => walk.open(self, &tag)?,
                Event::Empty(tag) => {
                    walk.open(self, &tag)?;
                    walk.close();
                }
                Event::End(_) => walk.close(),
                Event::Text(text) => walk.text.push_str(&text.xml10_content()),
                Event::CData(text) => walk.text.push_str(&text.xml10_content()),
                Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                    Ok(Some(char)) => walk.text.push(char),
                    _ => walk.push_entity(&reference.xml10_content()),
                },
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
            if walk.fields.len() > self.limits.columns_max {
                break;
            }
        }
        let (mut google, other): (Vec<_>, Vec<_>) = walk.fields.into_iter().partition(|(is_google, _)| *is_google);
        google.extend(other);
        Ok(google.into_iter().map(|(_, field)| field).collect())
    }

    /// The name of an element and whether it is one of Google's.
    fn name(&mut self, tag: &BytesStart, parent: Option<&Name>) -> (bool, Arc<Name>) {
        let tag_name = tag.name();
        let own = tag_name.0;
        let feed = parent.map_or_else(|| own.to_owned(), |parent| format!("{}/{own}", parent.feed));
        let (prefix, local) = own.split_once(':').unwrap_or(("", own));
        let is_google = self.google_prefixes.iter().any(|known| known == prefix);
        if let Some(name) = self.names.get(&feed) {
            return (is_google, Arc::clone(name));
        }
        let key = if is_google || prefix.is_empty() { snake_case(local) } else { snake_case(own) };
        let key = parent.map_or_else(|| key.clone(), |parent| format!("{}.{key}", parent.key));
        let name = Arc::new(Name { feed: feed.clone(), key });
        if self.names.len() < NAMES_MAX {
            self.names.insert(feed, Arc::clone(&name));
        }
        (is_google, name)
    }
}

impl<R: BufRead + Send> RecordReader for XmlReader<R> {
    fn next(&mut self) -> io::Result<Next> {
        let mut tag = Vec::new();
        loop {
            let markup = if self.take_text()? { self.take_markup(&mut tag)? } else { Markup::Eof };
            let is_record = matches!(markup, Markup::Start { .. } | Markup::End)
                && self.record_names.iter().any(|name| name.as_bytes() == local_name_of(&tag));
            match markup {
                Markup::Start { is_empty } if is_record => {
                    // The element before never closed: it is refused, and this one is read.
                    let unclosed =
                        self.is_in_record.then(|| self.place().finding("bad_xml", "the element is not closed before the next one starts"));
                    self.start_record(&tag);
                    match (unclosed, is_empty) {
                        (Some(reject), _) => return Ok(Next::Refused(reject)),
                        (None, true) => return Ok(self.end_record()),
                        (None, false) => {}
                    }
                }
                Markup::Eof if self.is_in_record => {
                    self.is_in_record = false;
                    self.is_root_closed = true;
                    return Ok(Next::Truncated(self.place().finding("truncated", "the feed breaks off inside this element")));
                }
                Markup::Eof if self.root.is_some() && !self.is_root_closed => {
                    self.is_root_closed = true;
                    let place = Place { row: self.row + 1, position: format!("byte {}", self.offset), raw: String::new() };
                    return Ok(Next::Truncated(place.finding("truncated", "the feed breaks off before its closing tag")));
                }
                Markup::Eof => return Ok(Next::End),
                Markup::End if is_record && self.is_in_record => {
                    self.element.extend_from_slice(&tag);
                    return Ok(self.end_record());
                }
                Markup::Start { .. } if !self.is_in_record => self.note_outer(&tag),
                Markup::End if !self.is_in_record => self.is_root_closed |= self.root.as_deref() == Some(name_of(&tag)),
                _ if self.is_in_record => {
                    let room = self.limits.record_bytes_max.saturating_sub(self.element.len());
                    self.is_too_large |= tag.len() > room;
                    self.element.extend_from_slice(&tag[..tag.len().min(room)]);
                }
                _ => {}
            }
        }
    }
}

/// Where the parser of one element stands.
#[derive(Default)]
struct Walk {
    /// Elements around the current one, the record's own left out: their names, and whether they are Google's.
    open: Vec<(bool, Arc<Name>)>,
    depth: usize,
    text: String,
    fields: Vec<(bool, Field)>,
}

impl Walk {
    fn open<R: BufRead + Send>(&mut self, reader: &mut XmlReader<R>, tag: &BytesStart) -> Result<(), String> {
        self.depth += 1;
        if self.depth == 1 {
            return Ok(());
        }
        if self.open.first().is_some_and(|(_, name)| TEXTS.contains(&name.key.as_str())) {
            self.text.push('<');
            self.text.push_str(tag.name().0);
            self.text.push('>');
            return Ok(());
        }
        if self.depth > 16 {
            return Err("elements nested too deep".to_owned());
        }
        self.text.clear();
        let name = reader.name(tag, self.open.last().map(|(_, name)| &**name));
        let (mut href, mut rel) = (None, None);
        for attribute in tag.attributes().flatten() {
            let value = || attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).ok().map(|value| value.into_owned());
            match attribute.key.0 {
                "href" | "term" => href = value(),
                "rel" => rel = value(),
                _ => {}
            }
        }
        // Atom keeps a link's target in an attribute, and has links of other kinds.
        if let Some(href) = href.filter(|_| rel.is_none_or(|rel| rel == "alternate")) {
            self.text = href;
        }
        self.open.push(name);
        Ok(())
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        // Markup inside a text is deeper than the fields that are open.
        if self.depth == self.open.len()
            && let Some((is_google, name)) = self.open.pop()
        {
            let value = self.text.trim();
            if !value.is_empty() {
                self.fields.push((is_google, Field { name, value: value.to_owned() }));
            }
            self.text.clear();
        }
    }

    /// The five entities of XML; others are HTML's and are left to the normalisers.
    fn push_entity(&mut self, name: &str) {
        match name {
            "lt" => self.text.push('<'),
            "gt" => self.text.push('>'),
            "amp" => self.text.push('&'),
            "quot" => self.text.push('"'),
            "apos" => self.text.push('\''),
            other => {
                self.text.push('&');
                self.text.push_str(other);
                self.text.push(';');
            }
        }
    }
}

/// Ends at the last byte of `pattern`, which has at most three.
fn ends_with(pattern: &'static [u8]) -> impl FnMut(u8) -> bool {
    let mut last = [0_u8; 3];
    move |byte| {
        last = [last[1], last[2], byte];
        last[3 - pattern.len()..] == *pattern
    }
}

/// The name in a tag (without its `<`).
fn name_of(tag: &[u8]) -> &[u8] {
    let tag = tag.strip_prefix(b"/").unwrap_or(tag);
    let end = tag.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/')).unwrap_or(tag.len());
    &tag[..end]
}

fn local_name_of(tag: &[u8]) -> &[u8] {
    name_of(tag).rsplit(|byte| *byte == b':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let whole = read_with(text, 1 << 16);
        assert_eq!(whole, read_with(text, 1), "{text}");
        whole
    }

    fn read_with(text: &str, buffer: usize) -> Vec<String> {
        let limits = Limits { record_bytes_max: 300, columns_max: 8, ..Limits::default() };
        let mut reader = XmlReader::new(io::BufReader::with_capacity(buffer, text.as_bytes()), &["item", "entry"], limits);
        let mut found = Vec::new();
        loop {
            found.push(match reader.next().expect("memory") {
                Next::Record(record, _) => {
                    let fields: Vec<String> = record.fields().iter().map(|field| format!("{}={}", field.name.key, field.value)).collect();
                    fields.join(";")
                }
                Next::Refused(reject) | Next::Truncated(reject) => format!("{} {}", reject.row, reject.code),
                Next::End => return found,
            });
        }
    }

    #[test]
    fn elements_by_table() {
        let rss = |items: &str| {
            format!(
                "<?xml version=\"1.0\"?><!-- <item> --><rss xmlns:g=\"http://base.google.com/ns/1.0\"><channel><title>T</title>{items}</channel></rss>"
            )
        };
        let wide = format!("<item>{}</item><item><g:id>2</g:id></item>", "<a>1</a>".repeat(9));
        let long = format!("<item><g:id>{}</g:id></item><item><g:id>2</g:id></item>", "x".repeat(400));
        let cases: [(&str, &[&str]); 13] = [
            ("<item><g:id>1</g:id><title>plain</title><g:title>own</g:title></item>", &["id=1;title=own;title=plain"]),
            (
                "<item><g:price>5 EUR</g:price><g:shipping><g:price>1 EUR</g:price></g:shipping></item>",
                &["price=5 EUR;shipping.price=1 EUR"],
            ),
            ("<item><description><![CDATA[<p>a & b</p></item>]]></description></item>", &["description=<p>a & b</p></item>"]),
            ("<item><description>a<p>b</p>c</description></item>", &["description=a<p>bc"]),
            ("<item><id>x &amp; &#233;&eacute; &lt;b&gt;</id></item>", &["id=x & é&eacute; <b>"]),
            ("<item/><item ><id>2</id></item >", &["", "id=2"]),
            ("<item><id>1</id></idd></item><item><id>2</id></item>", &["1 bad_xml", "id=2"]),
            ("<item><id>1</id><item><id>2</id></item>", &["1 bad_xml", "id=2"]),
            ("<item><id>a < b's</id></item><item a='>'><id>2</id></item>", &["1 bad_xml", "id=2"]),
            ("<items><x/></items><item><id>1</id></item>", &["id=1"]),
            ("<item><!-- <item> --><id>1</id><?x?></item>", &["id=1"]),
            (&wide, &["1 too_many_columns", "id=2"]),
            (&long, &["1 record_too_large", "id=2"]),
        ];
        for (items, expected) in cases {
            assert_eq!(read(&rss(items)), expected, "{items}");
        }
    }

    #[test]
    fn other_prefixes_and_atom() {
        let atom = "<feed xmlns='http://www.w3.org/2005/Atom' xmlns:shop='http://base.google.com/ns/1.0' xmlns:m='urn:m'>\
            <entry><id>tag:1</id><link rel='self' href='https://s.example/self'/><link href='https://s.example/1?a=1&amp;b=2'/><shop:id>1</shop:id><m:note>n</m:note></entry></feed>";
        assert_eq!(read(atom), ["id=1;id=tag:1;link=https://s.example/1?a=1&b=2;m_note=n"]);
    }

    #[test]
    fn a_cut_feed_gives_what_was_whole() {
        let feed = "<rss><channel><item><id>1</id></item><item><id>2</id></item></channel></rss>";
        for cut in 0..feed.len() {
            let found = read(&feed[..cut]);
            let whole = (feed[..cut].matches("</item>").count(), feed[..cut].matches("<item").count());
            assert_eq!(found.iter().filter(|found| found.starts_with("id=")).count(), whole.0, "{}", &feed[..cut]);
            let has_root = feed[..cut].contains("<rss>");
            assert_eq!(found.last().is_some_and(|last| last.ends_with("truncated")), has_root, "{}", &feed[..cut]);
        }
        assert_eq!(read(feed), ["id=1", "id=2"]);
    }
}
