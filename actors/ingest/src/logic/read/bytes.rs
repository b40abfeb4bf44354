//! The bytes of a feed: counted, decompressed within a bound, and turned into UTF-8 as far as the whole file's encoding is
//! known. Invalid bytes are left for the record that they stand in.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use encoding_rs::{DecoderResult, Encoding};

/// How much of a feed detection looks at.
pub const HEAD_BYTES: usize = 64 * 1024;
const BUFFER_BYTES: usize = 64 * 1024;
/// Compressed data asking for a larger window than 128 MiB is refused.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Stands in for what the file's own encoding cannot decode: no UTF-8 and undefined in Windows-1252, so the record is refused.
const UNDECODABLE: u8 = 0x81;

/// Shared with the reader of a feed: how far it is, and whether it shall go on.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// Bytes taken from the source.
    pub bytes_read: Arc<AtomicU64>,
    /// Set to end the reading with an error at the next block.
    pub stop: Arc<AtomicBool>,
}

/// More bytes behind decompression than the bound.
#[derive(Debug, thiserror::Error)]
#[error("more than {0} bytes behind decompression")]
pub struct TooManyBytes(pub u64);

/// A feed's text, not yet taken apart.
pub struct Text {
    /// The first bytes of it, at most [`HEAD_BYTES`].
    pub head: Vec<u8>,
    /// All of it, the head included.
    pub input: Box<dyn BufRead + Send>,
    /// Whether the source is an empty file.
    pub is_empty: bool,
}

/// Opens a feed's bytes: gzip (also of several members) and zstd by their magic numbers, encodings by byte-order mark or XML
/// declaration.
pub fn open(source: impl Read + Send + 'static, meter: Meter, feed_bytes_max: u64) -> io::Result<Text> {
    let (magic, source) = peek(Metered { source, meter }, 4)?;
    let source = BufReader::with_capacity(BUFFER_BYTES, source);
    let plain: Box<dyn Read + Send> = if magic.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(source))
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        Box::new(decoder)
    } else {
        Box::new(source)
    };
    let (head, plain) = peek(Limited { source: plain, left: feed_bytes_max, max: feed_bytes_max }, 1024)?;
    let is_empty = head.iter().all(u8::is_ascii_whitespace);
    let (encoding, mark_bytes) = encoding_of(&head);
    let mut plain: Box<dyn Read + Send> = Box::new(plain);
    plain.read_exact(&mut vec![0; mark_bytes])?;
    if encoding != encoding_rs::UTF_8 {
        plain = Box::new(Transcoded::new(plain, encoding));
    }
    let (head, plain) = peek(plain, HEAD_BYTES)?;
    Ok(Text { head, input: Box::new(BufReader::with_capacity(BUFFER_BYTES, plain)), is_empty })
}

/// The encoding of the whole file and the length of its byte-order mark.
fn encoding_of(head: &[u8]) -> (&'static Encoding, usize) {
    if let Some((encoding, mark_bytes)) = Encoding::for_bom(head) {
        return (encoding, mark_bytes);
    }
    match head {
        [b'<', 0, ..] => (encoding_rs::UTF_16LE, 0),
        [0, b'<', ..] => (encoding_rs::UTF_16BE, 0),
        _ => (declared(head).unwrap_or(encoding_rs::UTF_8), 0),
    }
}

/// The encoding of an XML declaration. UTF-16 is not believed: the declaration itself is read as ASCII.
fn declared(head: &[u8]) -> Option<&'static Encoding> {
    let head = head.trim_ascii_start();
    let declaration = head.strip_prefix(b"<?xml")?.split(|byte| *byte == b'>').next()?;
    let declaration = std::str::from_utf8(declaration).ok()?;
    let value = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|char| matches!(char, '"' | '\''))?;
    let encoding = Encoding::for_label(value[1..].split(quote).next()?.as_bytes())?;
    (encoding != encoding_rs::UTF_16LE && encoding != encoding_rs::UTF_16BE).then_some(encoding)
}

/// The first bytes of a source, and the source with them still in front. An error behind the first byte comes up later.
fn peek<R: Read>(mut source: R, bytes: usize) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut head = Vec::with_capacity(bytes);
    let failure = loop {
        match source.by_ref().take((bytes - head.len()) as u64).read_to_end(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result.err(),
        }
    };
    if head.is_empty()
        && let Some(error) = failure
    {
        return Err(error);
    }
    Ok((head.clone(), Peeked { head: Cursor::new(head), failure, source }))
}

struct Peeked<R> {
    head: Cursor<Vec<u8>>,
    failure: Option<io::Error>,
    source: R,
}

impl<R: Read> Read for Peeked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let from_head = self.head.read(buffer)?;
        if from_head > 0 || buffer.is_empty() {
            return Ok(from_head);
        }
        self.failure.take().map_or_else(|| self.source.read(buffer), Err)
    }
}

struct Metered<R> {
    source: R,
    meter: Meter,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.meter.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped"));
        }
        let bytes = self.source.read(buffer)?;
        self.meter.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

struct Limited<R> {
    source: R,
    left: u64,
    max: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.source.read(buffer)?;
        self.left = self.left.checked_sub(bytes as u64).ok_or_else(|| io::Error::other(TooManyBytes(self.max)))?;
        Ok(bytes)
    }
}

/// Another encoding as UTF-8.
struct Transcoded<R> {
    source: R,
    decoder: encoding_rs::Decoder,
    raw: Vec<u8>,
    raw_at: usize,
    is_at_end: bool,
    is_finished: bool,
    ready: Vec<u8>,
    ready_at: usize,
}

impl<R: Read> Transcoded<R> {
    fn new(source: R, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_without_bom_handling();
        Self { source, decoder, raw: Vec::new(), raw_at: 0, is_at_end: false, is_finished: false, ready: Vec::new(), ready_at: 0 }
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.raw_at == self.raw.len() && !self.is_at_end {
            self.raw.resize(BUFFER_BYTES, 0);
            let bytes = self.source.read(&mut self.raw).inspect_err(|_| self.raw.clear());
            self.raw_at = 0;
            let bytes = bytes.inspect_err(|_| self.raw_at = 0)?;
            self.raw.truncate(bytes);
            self.is_at_end = bytes == 0;
        }
        self.ready.resize(BUFFER_BYTES, 0);
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(&self.raw[self.raw_at..], &mut self.ready, self.is_at_end);
        self.raw_at += read;
        self.ready.truncate(written);
        self.ready_at = 0;
        match result {
            DecoderResult::Malformed(..) => self.ready.push(UNDECODABLE),
            DecoderResult::InputEmpty => self.is_finished = self.is_at_end,
            DecoderResult::OutputFull => {}
        }
        Ok(())
    }
}

impl<R: Read> Read for Transcoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready_at == self.ready.len() && !self.is_finished {
            self.fill()?;
        }
        let bytes = buffer.len().min(self.ready.len() - self.ready_at);
        buffer[..bytes].copy_from_slice(&self.ready[self.ready_at..self.ready_at + bytes]);
        self.ready_at += bytes;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn text(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut opened = open(Cursor::new(bytes.to_vec()), Meter::default(), 1 << 20)?;
        let mut read = Vec::new();
        opened.input.read_to_end(&mut read)?;
        assert!(read.starts_with(&opened.head));
        Ok(read)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("into memory");
        encoder.finish().expect("into memory")
    }

    fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn encodings_by_table() {
        let cases: Vec<(Vec<u8>, &[u8])> = vec![
            (b"plain".to_vec(), b"plain"),
            (b"\xef\xbb\xbfmarked".to_vec(), b"marked"),
            (utf16("\u{feff}größe€", u16::to_le_bytes), "größe€".as_bytes()),
            (utf16("\u{feff}größe€", u16::to_be_bytes), "größe€".as_bytes()),
            (utf16("<?xml?>é", u16::to_le_bytes), "<?xml?>é".as_bytes()),
            (b"<?xml version='1.0' encoding='ISO-8859-2'?>\xe8".to_vec(), "<?xml version='1.0' encoding='ISO-8859-2'?>č".as_bytes()),
            (b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\xe8".to_vec(), b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\xe8"),
            (b"caf\xe9".to_vec(), b"caf\xe9"),
            (b"\xff\xfea\0\x00\xd8b\0".to_vec(), b"a\x81b"),
            (Vec::new(), b""),
        ];
        for (bytes, expected) in cases {
            assert_eq!(text(&bytes).expect("reads"), expected, "{bytes:?}");
        }
    }

    #[test]
    fn compressed_bytes_are_unpacked_within_the_bound() {
        let long = "row\n".repeat(50_000);
        assert_eq!(text(&gzip(long.as_bytes())).expect("reads"), long.as_bytes());
        let two_members = [gzip(b"one\n"), gzip(b"two\n")].concat();
        assert_eq!(text(&two_members).expect("reads"), b"one\ntwo\n");
        assert_eq!(text(&zstd::encode_all(long.as_bytes(), 1).expect("packs")).expect("reads"), long.as_bytes());
        let bomb = gzip(&vec![b' '; 2 << 20]);
        assert!(text(&bomb).expect_err("too many").to_string().contains("more than"));
    }

    #[test]
    fn a_cut_archive_gives_all_it_has_and_then_the_error() {
        let mut random = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + (random >> 28) as u8
        })
        .take(300_000)
        .collect();
        for packed in [gzip(&noise), zstd::encode_all(&noise[..], 1).expect("packs")] {
            let mut opened = open(Cursor::new(packed[..packed.len() / 2].to_vec()), Meter::default(), 1 << 20).expect("opens");
            let mut read = Vec::new();
            let error = opened.input.read_to_end(&mut read).expect_err("cut");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert!(noise.starts_with(&read) && read.len() > 60_000, "{}", read.len());
        }
    }

    #[test]
    fn a_stopped_meter_ends_the_reading() {
        let meter = Meter::default();
        let mut opened = open(Cursor::new(vec![b'x'; 1 << 20]), meter.clone(), 1 << 21).expect("opens");
        meter.stop.store(true, Ordering::Relaxed);
        assert!(opened.input.read_to_end(&mut Vec::new()).is_err());
        assert!(meter.bytes_read.load(Ordering::Relaxed) >= HEAD_BYTES as u64);
    }
}
