//! The envelope around every stored value: magic, kind, schema, length and a checksum over key and body. A reader meets every
//! schema ever written; bytes that do not check out are an error, never a panic and never an allocation of their own size.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};

/// The largest body, in bytes: a decoder allocates no more than this whatever the bytes claim.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Too short, wrong magic, wrong length, or the checksum does not fit.
    #[error("damaged record: {0}")]
    Damaged(&'static str),
    /// Another kind than was asked for.
    #[error("a record of kind {got} stands where kind {expected} belongs")]
    Kind {
        /// Asked for.
        expected: u16,
        /// Found.
        got: u16,
    },
    /// Written by a newer version of the program.
    #[error("record kind {kind} has schema {schema}, which this version does not know")]
    Schema {
        /// Its kind.
        kind: u16,
        /// Its schema.
        schema: u16,
    },
    /// Larger than [`BODY_BYTES_MAX`].
    #[error("a record body of {0} bytes is over the limit of {BODY_BYTES_MAX}")]
    TooLarge(usize),
    /// The body does not decode, or bytes are left over.
    #[error("record body: {0}")]
    Body(String),
}

type Config = Configuration<LittleEndian, Fixint, Limit<BODY_BYTES_MAX>>;
const CONFIG: Config = bincode::config::legacy().with_limit::<BODY_BYTES_MAX>();

const MAGIC: [u8; 2] = *b"GR";
/// Magic 2, kind 2, schema 2, flags 2, body length 4, CRC-32C 4; all little-endian.
pub const HEADER_BYTES: usize = 16;

/// A type that is stored. `KIND` never changes; a change of the fields raises `SCHEMA` and keeps the old struct for reading.
pub trait Record: Encode + Decode<()> + Sized {
    /// Tells record types apart.
    const KIND: u16;
    /// The version of the fields that is written.
    const SCHEMA: u16;

    /// Reads a body of an older schema; the default knows none.
    fn decode_older(schema: u16, _body: &[u8]) -> Result<Self, RecordError> {
        Err(RecordError::Schema { kind: Self::KIND, schema })
    }

    /// Wraps the record for storage under `key` (the key is part of the checksum, so a value under a wrong key shows).
    fn seal(&self, key: &[u8]) -> Result<Vec<u8>, RecordError> {
        let mut bytes = vec![0; HEADER_BYTES];
        bincode::encode_into_std_write(self, &mut bytes, CONFIG).map_err(|error| RecordError::Body(error.to_string()))?;
        let body_bytes = bytes.len() - HEADER_BYTES;
        if body_bytes > BODY_BYTES_MAX {
            return Err(RecordError::TooLarge(body_bytes));
        }
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2..4].copy_from_slice(&Self::KIND.to_le_bytes());
        bytes[4..6].copy_from_slice(&Self::SCHEMA.to_le_bytes());
        bytes[8..12].copy_from_slice(&(body_bytes as u32).to_le_bytes());
        let checksum = checksum(key, &bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }

    /// Unwraps what [`Record::seal`] wrote under the same key.
    fn unseal(key: &[u8], bytes: &[u8]) -> Result<Self, RecordError> {
        let (kind, schema, body) = check(key, bytes)?;
        if kind != Self::KIND {
            return Err(RecordError::Kind { expected: Self::KIND, got: kind });
        }
        if schema == Self::SCHEMA { decode_body(body) } else { Self::decode_older(schema, body) }
    }
}

/// Decodes a body and refuses left-over bytes; for `Record::decode_older`.
pub fn decode_body<T: Decode<()>>(body: &[u8]) -> Result<T, RecordError> {
    let (value, used) = bincode::decode_from_slice(body, CONFIG).map_err(|error| RecordError::Body(error.to_string()))?;
    if used == body.len() { Ok(value) } else { Err(RecordError::Body(format!("{} bytes left over", body.len() - used))) }
}

/// Checks an envelope without decoding its body: kind, schema and body.
pub fn check<'a>(key: &[u8], bytes: &'a [u8]) -> Result<(u16, u16, &'a [u8]), RecordError> {
    let (header, body) = bytes.split_at_checked(HEADER_BYTES).ok_or(RecordError::Damaged("too short"))?;
    if header[..2] != MAGIC {
        return Err(RecordError::Damaged("wrong magic"));
    }
    let number = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if word(8) as usize != body.len() {
        return Err(RecordError::Damaged("wrong length"));
    }
    if word(12) != checksum(key, bytes) {
        return Err(RecordError::Damaged("wrong checksum"));
    }
    Ok((number(2), number(4), body))
}

/// Bytes as hexadecimal, to name a key.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// CRC-32C over the key, the header before the checksum, and the body.
fn checksum(key: &[u8], bytes: &[u8]) -> u32 {
    let with_key = crc32c::crc32c(key);
    let with_header = crc32c::crc32c_append(with_key, &bytes[..HEADER_BYTES - 4]);
    crc32c::crc32c_append(with_header, &bytes[HEADER_BYTES..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Encode, Decode)]
    struct Note {
        text: String,
        numbers: Vec<u64>,
        inner: Option<Box<Note>>,
    }

    impl Record for Note {
        const KIND: u16 = 0x7E57;
        const SCHEMA: u16 = 2;

        fn decode_older(schema: u16, body: &[u8]) -> Result<Self, RecordError> {
            match schema {
                1 => Ok(Self { text: decode_body::<NoteV1>(body)?.text, numbers: Vec::new(), inner: None }),
                _ => Err(RecordError::Schema { kind: Self::KIND, schema }),
            }
        }
    }

    /// The same kind, as it was.
    #[derive(Encode, Decode)]
    struct NoteV1 {
        text: String,
    }

    impl Record for NoteV1 {
        const KIND: u16 = Note::KIND;
        const SCHEMA: u16 = 1;
    }

    fn note() -> Note {
        let inner = Note { text: String::new(), numbers: vec![], inner: None };
        Note { text: "größer".into(), numbers: vec![0, 1, u64::MAX], inner: Some(Box::new(inner)) }
    }

    #[test]
    fn the_bytes_on_disk_stay() {
        crate::golden::check(&note(), b"key", include_bytes!("golden/note-v2.bin"));
    }

    #[test]
    fn an_older_schema_is_read_and_a_newer_one_refused() {
        let older = NoteV1 { text: "old".into() }.seal(b"k").expect("a sealed record");
        assert_eq!(Note::unseal(b"k", &older), Ok(Note { text: "old".into(), numbers: vec![], inner: None }));
        let newer = note().seal(b"k").expect("a sealed record");
        assert!(matches!(NoteV1::unseal(b"k", &newer), Err(RecordError::Schema { schema: 2, .. })));
    }

    #[test]
    fn another_key_another_kind_and_too_large_a_body_are_refused() {
        let sealed = note().seal(b"k").expect("a sealed record");
        assert_eq!(Note::unseal(b"l", &sealed), Err(RecordError::Damaged("wrong checksum")));
        assert!(matches!(crate::records::ConsumerOffset::unseal(b"k", &sealed), Err(RecordError::Kind { got: Note::KIND, .. })));
        let large = Note { text: "x".repeat(BODY_BYTES_MAX), ..note() };
        assert!(matches!(large.seal(b"k"), Err(RecordError::TooLarge(_))));
    }

    /// Wraps any body in an envelope that checks out.
    fn envelope(body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2..4].copy_from_slice(&Note::KIND.to_le_bytes());
        bytes[4..6].copy_from_slice(&Note::SCHEMA.to_le_bytes());
        bytes[8..12].copy_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(body);
        let checksum = checksum(b"k", &bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn hostile_lengths_and_left_over_bytes_are_errors() {
        for length in [u64::MAX, u64::MAX / 8, BODY_BYTES_MAX as u64 + 1, 1 << 40] {
            assert!(matches!(Note::unseal(b"k", &envelope(&length.to_le_bytes())), Err(RecordError::Body(_))), "text of {length}");
            let numbers = [0u64.to_le_bytes(), length.to_le_bytes()].concat();
            assert!(matches!(Note::unseal(b"k", &envelope(&numbers)), Err(RecordError::Body(_))), "{length} numbers");
        }
        let sealed = note().seal(b"k").expect("a sealed record");
        let longer = [&sealed[HEADER_BYTES..], &[0]].concat();
        assert!(matches!(Note::unseal(b"k", &envelope(&longer)), Err(RecordError::Body(_))));
    }

    proptest! {
        #[test]
        fn every_record_comes_back(text in ".*", numbers in proptest::collection::vec(any::<u64>(), 0..20), key in proptest::collection::vec(any::<u8>(), 0..20)) {
            let record = Note { text, numbers, inner: None };
            let sealed = record.seal(&key).expect("a sealed record");
            prop_assert_eq!(Note::unseal(&key, &sealed), Ok(record));
        }

        #[test]
        fn every_flipped_bit_is_an_error(text in ".{0,20}", numbers in proptest::collection::vec(any::<u64>(), 0..4)) {
            let sealed = Note { text, numbers, inner: None }.seal(b"k").expect("a sealed record");
            for bit in 0..sealed.len() * 8 {
                let mut flipped = sealed.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(Note::unseal(b"k", &flipped).is_err(), "bit {}", bit);
            }
        }

        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Note::unseal(b"k", &bytes).is_err());
            // Behind an envelope that checks out the decoder itself meets them.
            let _ = Note::unseal(b"k", &envelope(&bytes));
        }
    }
}
