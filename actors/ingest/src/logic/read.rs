//! Readers: bytes to records, one at a time, in bounded memory whatever the feed's size. A record that cannot be read is
//! refused alone; the reader goes on behind it.

pub mod bytes;
pub mod csv;
pub mod lines;
pub mod xml;

use std::io;

use super::record::Next;

/// Reads one feed record by record.
pub trait RecordReader: Send {
    /// The next record. `UnexpectedEof` means that compressed bytes break off; every other error ends the feed.
    fn next(&mut self) -> io::Result<Next>;
}

/// A record's text, and whether it had to be taken as Windows-1252.
pub enum Decoded<'a> {
    /// As it stands.
    Utf8(&'a str),
    /// Not UTF-8; every byte is a Windows-1252 character.
    Windows1252(String),
    /// Neither, or a mixture of both.
    Undecodable,
}

/// Decodes one record. Deciding record by record lets the rest of a file in that one careless hand has edited.
pub fn decode(bytes: &[u8]) -> Decoded<'_> {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return Decoded::Utf8(text),
        Err(error) => error,
    };
    let has_undefined = bytes.iter().any(|byte| matches!(byte, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d));
    let is_mixed = has_multi_byte(bytes, error.valid_up_to());
    if has_undefined || is_mixed { Decoded::Undecodable } else { Decoded::Windows1252(windows_1252(bytes)) }
}

/// Bytes as Windows-1252.
pub fn windows_1252(bytes: &[u8]) -> String {
    encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned()
}

/// Whether a valid multi-byte character stands before or behind the invalid byte.
fn has_multi_byte(bytes: &[u8], valid_up_to: usize) -> bool {
    let (valid, rest) = bytes.split_at(valid_up_to);
    !valid.is_ascii() || rest.utf8_chunks().any(|chunk| !chunk.valid().is_ascii())
}
