//! Damaged feeds: what was whole goes in, what was not is named, and nothing panics or grows without bound.

use std::io::{Cursor, Read, Write};

use proptest::prelude::*;
use protocol::ingest::{FeedMode, Reject, RunError};

use crate::logic::feed::{End, Feed};
use crate::logic::format::{FORMATS, FeedFormat};
use crate::logic::read::bytes::Meter;
use crate::logic::record::{Limits, Settings};

fn read_with(
    source: impl Read + Send + 'static,
    asked: Option<FeedFormat>,
    limits: Limits,
) -> Result<(Vec<String>, Vec<Reject>, u64, End), RunError> {
    let settings = Settings { limits, default_currency: "EUR".parse().ok(), ..Settings::default() };
    let mut feed = Feed::open(source, "feed", asked, FeedMode::Full, settings, Meter::default())?;
    let (mut ids, mut findings, mut records) = (Vec::new(), Vec::new(), 0);
    loop {
        let batch = feed.next_batch(2);
        ids.extend(batch.products.into_iter().map(|mapped| mapped.product.id.to_string()));
        findings.extend(batch.findings);
        records += batch.records;
        if let Some(end) = batch.end {
            return Ok((ids, findings, records, end));
        }
    }
}

fn read(bytes: &[u8]) -> (Vec<String>, Vec<String>, End) {
    let (ids, findings, _, end) = read_with(Cursor::new(bytes.to_vec()), None, Limits::default()).expect("a feed");
    (ids, findings.into_iter().map(|finding| format!("{} {}", finding.row, finding.code)).collect(), end)
}

#[test]
fn a_cut_feed_gives_its_whole_records() {
    let cases: [(&[u8], &[&str]); 3] = [
        (b"id,title\n1,a\n2,b\n3,\"c", &["1", "2"]),
        (b"{\"id\":\"1\",\"title\":\"a\"}\n{\"id\":\"2\",\"ti", &["1"]),
        (b"<rss xmlns:g=\"http://base.google.com/ns/1.0\"><channel><item><g:id>1</g:id><title>a</title></item><item><g:id>2</g:", &["1"]),
    ];
    for (bytes, whole) in cases {
        let (ids, findings, end) = read(bytes);
        assert_eq!(ids, whole, "{}", String::from_utf8_lossy(bytes));
        assert!(matches!(end, End::Truncated(_)) && findings.len() == 1 && findings[0].ends_with("truncated"), "{end:?} {findings:?}");
    }
}

#[test]
fn a_product_that_may_lack_variants_is_not_taken() {
    let (ids, findings, _) = read(b"Handle,Title,Option1 Name,Option1 Value\nw,W,Size,S\nx,X,Size,S\nx,,,M\nx,,");
    assert_eq!((ids, findings), (vec!["w".to_owned()], vec!["4 truncated".to_owned(), "2 truncated".into()]));
}

#[test]
fn a_cut_archive_gives_its_whole_rows() {
    let mut rows = String::from("id,title\n");
    (0..20_000_u64).for_each(|row| rows.push_str(&format!("{row},title {}\n", row.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(rows.as_bytes()).expect("into memory");
    let mut packed = encoder.finish().expect("into memory");
    assert_eq!(read(&packed).0.len(), 20_000);
    packed.truncate(packed.len() / 2);
    let (ids, findings, end) = read(&packed);
    assert!(ids.len() > 5_000 && ids.len() < 15_000 && matches!(end, End::Truncated(_)), "{} {end:?}", ids.len());
    assert_eq!(findings.len(), 1);
}

#[test]
fn one_bad_row_never_fails_the_rest() {
    let wide = format!("id,title\n1,a\n{}\n2,b\n", "x,".repeat(1_000_000));
    let long = format!("id,title\n1,a\n3,{}\n2,b\n", "x".repeat(3 << 20));
    let cases: [(&str, &[&str]); 6] = [
        (&wide, &["2 too_many_columns"]),
        (&long, &["2 record_too_large"]),
        ("id,title\n1,a\n,no id\n2,b\n", &["2 missing_id"]),
        ("id,title\n1,a\n3,\n2,b\n", &["2 missing_title"]),
        ("id,title\n1,a\n1,other\n2,b\n", &["2 duplicate_id"]),
        ("id,title,price\n1,a,free\n2,b,5 EUR\n", &["1 bad_price"]),
    ];
    for (feed, expected) in cases {
        let (ids, findings, end) = read(feed.as_bytes());
        assert_eq!((ids.as_slice(), end), (["1".to_owned(), "2".into()].as_slice(), End::Whole));
        assert_eq!(findings, expected);
    }
}

#[test]
fn encodings_of_whole_files() {
    let windows = b"id;title\n1;Caf\xe9 cr\xe8me\n2;plain\n";
    assert_eq!(read(windows).1, ["1 bad_encoding"]);
    let utf16: Vec<u8> = "\u{feff}id,title\n1,Größe\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read(&utf16), (vec!["1".to_owned()], vec![], End::Whole));
}

#[test]
fn what_is_no_feed_is_an_error_of_the_run() {
    let picture = [b"\x89PNG\r\n\x1a\n".as_slice(), &[0; 100]].concat();
    for bytes in [b"".as_slice(), b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", &picture, &[0x1f, 0x8b, 8, 0]] {
        let error = read_with(Cursor::new(bytes.to_vec()), None, Limits::default()).expect_err("no feed");
        assert!(matches!(error.code.as_str(), "not_a_feed" | "truncated"), "{error:?}");
    }
    let bomb = zstd::encode_all(std::io::repeat(b'x').take(4 << 20), 1).expect("packs");
    let limits = Limits { feed_bytes_max: 1 << 20, ..Limits::default() };
    let outcome = read_with(Cursor::new([zstd::encode_all(&b"id,title\n1,a\n"[..], 1).expect("packs"), bomb].concat()), None, limits)
        .expect("starts as a feed");
    assert!(matches!(&outcome.3, End::Failed(error) if error.code == "too_large"), "{:?}", outcome.3);
}

/// A feed of any size whose memory is bounded: rows are made as they are read.
#[test]
fn memory_does_not_grow_with_the_feed() {
    struct Rows(u64, Vec<u8>);
    impl Read for Rows {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.1.is_empty() && self.0 < 100_000 {
                self.0 += 1;
                self.1 = format!("{},title {}\n", self.0 % 1000, self.0 % 1000).into_bytes();
            }
            let bytes = self.1.len().min(buffer.len());
            buffer[..bytes].copy_from_slice(&self.1[..bytes]);
            self.1.drain(..bytes);
            Ok(bytes)
        }
    }
    let settings = Settings::default();
    let source = Cursor::new(b"id,title\n".to_vec()).chain(Rows(0, Vec::new()));
    let mut feed = Feed::open(source, "feed.csv", None, FeedMode::Full, settings, Meter::default()).expect("a feed");
    let (mut products, mut records) = (0, 0);
    loop {
        let batch = feed.next_batch(256);
        assert!(batch.products.len() <= 256 && batch.findings.len() <= 2048 && batch.records <= 2048);
        products += batch.products.len();
        records += batch.records;
        if batch.end.is_some() {
            break;
        }
    }
    assert_eq!((products, records), (1000, 100_000));
}

/// Bytes that look like a feed in places.
fn feed_like() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        Just(b"<item>".to_vec()),
        Just(b"</item>".to_vec()),
        Just(b"<g:id>1</g:id>".to_vec()),
        Just(b"<title>t</title>".to_vec()),
        Just(b"<![CDATA[".to_vec()),
        Just(b"]]>".to_vec()),
        Just(b"<!--".to_vec()),
        Just(b"\"".to_vec()),
        Just(b",".to_vec()),
        Just(b";".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"{\"id\":\"1\",\"title\":\"a\"}".to_vec()),
        Just(b"{\"id\":1,\"images\":[\"../a\"],\"x\":[{}]}".to_vec()),
        Just(b"\xe9".to_vec()),
        Just("größe|a:b".as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    let starts = prop_oneof![
        Just(b"".to_vec()),
        Just(b"<rss>".to_vec()),
        Just(b"\xff\xfe".to_vec()),
        Just(b"\x1f\x8b\x08\x00".to_vec()),
        Just(b"\x28\xb5\x2f\xfd".to_vec()),
        Just(b"{\"id\":\"0\",\"title\":\"z\",\"priceInfo\":{}}\n".to_vec()),
        Just(b"Handle,Title,Option1 Name,Option1 Value,Variant Price\n".to_vec()),
        Just(b"name,slug,optionGroups,optionValues,facets\n".to_vec()),
        Just(b"id,masterCategory,articleType,productDisplayName,image\n".to_vec()),
        Just(b"id;title;price;image_link\n".to_vec()),
    ];
    (starts, proptest::collection::vec(pieces, 0..40)).prop_map(|(start, pieces)| [start, pieces.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_bytes_are_read_without_panic_and_within_bounds(bytes in feed_like(), asked in 0..=FORMATS.len()) {
        let limits = Limits { record_bytes_max: 128, columns_max: 8, raw_bytes_max: 32, ..Limits::default() };
        let asked = FORMATS.get(asked).map(|(format, _, _)| *format);
        let whole = bytes.len() as u64;
        if let Ok((ids, findings, records, _)) = read_with(Cursor::new(bytes), asked, limits) {
            prop_assert!(ids.len() as u64 <= records && records <= whole);
            prop_assert!(findings.iter().all(|finding| finding.raw.len() <= 32 * 3 && !finding.code.is_empty()));
        }
    }
}
