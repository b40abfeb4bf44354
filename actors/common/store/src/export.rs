//! An export: all keys and values in a form that no engine owns, so that any store can be filled from it.
//!
//! ```text
//! magic 8 "GOTHXPRT" | version 4
//! then for each entry, in ascending key order: key length 4 | value length 4 | key, keyspace byte first | value
//! then the end: 0xFFFFFFFF 4 | entries 8 | BLAKE3 of all bytes before it 32
//! ```

use std::io::{Read, Write};

use crate::store::{ExportSummary, KEY_BYTES_MAX, Keyspace, StoreError, VALUE_BYTES_MAX};

const MAGIC: [u8; 8] = *b"GOTHXPRT";
const VERSION: u32 = 1;
const END: u32 = u32::MAX;
const HASH_BYTES: usize = 32;

/// Writes an export entry by entry.
pub(crate) struct ExportWriter<'a> {
    to: &'a mut dyn Write,
    hasher: blake3::Hasher,
    summary: ExportSummary,
}

impl<'a> ExportWriter<'a> {
    pub(crate) fn new(to: &'a mut dyn Write) -> Result<Self, StoreError> {
        let mut writer = Self { to, hasher: blake3::Hasher::new(), summary: ExportSummary { entries: 0, bytes: 0 } };
        writer.write(&MAGIC)?;
        writer.write(&VERSION.to_le_bytes())?;
        Ok(writer)
    }

    /// Adds an entry; `key` starts with the keyspace's byte, and each is greater than the one before.
    pub(crate) fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.write(&(key.len() as u32).to_le_bytes())?;
        self.write(&(value.len() as u32).to_le_bytes())?;
        self.write(key)?;
        self.write(value)?;
        self.summary.entries += 1;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<ExportSummary, StoreError> {
        self.write(&END.to_le_bytes())?;
        self.write(&self.summary.entries.to_le_bytes())?;
        let hash = self.hasher.finalize();
        self.write(hash.as_bytes())?;
        self.to.flush().map_err(|error| StoreError::io("export", error))?;
        Ok(self.summary)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.to.write_all(bytes).map_err(|error| StoreError::io("export", error))?;
        self.hasher.update(bytes);
        self.summary.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Reads an export, handing each entry on as it comes; only a successful return says that they were what had been written.
pub(crate) fn read(
    from: &mut dyn Read,
    mut each: impl FnMut(Keyspace, Vec<u8>, Vec<u8>) -> Result<(), StoreError>,
) -> Result<ExportSummary, StoreError> {
    let mut reader = ExportReader { from, hasher: blake3::Hasher::new(), bytes: 0 };
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(damaged("it is no export (wrong magic)"));
    }
    let version = reader.word()?;
    if version != VERSION {
        return Err(damaged(&format!("format version {version} is not known to this program (it knows {VERSION})")));
    }
    let mut entries = 0;
    let mut previous = Vec::new();
    loop {
        let key_bytes = reader.word()?;
        if key_bytes == END {
            break;
        }
        let value_bytes = reader.word()?;
        if !(1..=KEY_BYTES_MAX + 1).contains(&(key_bytes as usize)) || value_bytes as usize > VALUE_BYTES_MAX {
            return Err(damaged(&format!("entry {entries} has a length over the limit")));
        }
        let key = reader.take(key_bytes as usize)?;
        let value = reader.take(value_bytes as usize)?;
        if key <= previous {
            return Err(damaged(&format!("entry {entries} is out of order")));
        }
        let space = Keyspace::of_byte(key[0]).ok_or_else(|| damaged(&format!("keyspace {} is not known to this program", key[0])))?;
        each(space, key[1..].to_vec(), value)?;
        previous = key;
        entries += 1;
    }
    reader.finish(entries)
}

struct ExportReader<'a> {
    from: &'a mut dyn Read,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl ExportReader<'_> {
    /// The next bytes; callers bound their number.
    fn take(&mut self, count: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; count];
        self.from.read_exact(&mut bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => damaged("it is cut off"),
            _ => StoreError::io("export", error),
        })?;
        self.hasher.update(&bytes);
        self.bytes += count as u64;
        Ok(bytes)
    }

    fn word(&mut self) -> Result<u32, StoreError> {
        Ok(self.take(4)?.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn finish(mut self, entries: u64) -> Result<ExportSummary, StoreError> {
        if self.take(8)? != entries.to_le_bytes() {
            return Err(damaged("entries are missing"));
        }
        let hash = self.hasher.finalize();
        if self.take(HASH_BYTES)? != hash.as_bytes() {
            return Err(damaged("its checksum does not fit"));
        }
        let more = self.from.read(&mut [0]).map_err(|error| StoreError::io("export", error))?;
        if more > 0 {
            return Err(damaged("bytes stand behind its end"));
        }
        Ok(ExportSummary { entries, bytes: self.bytes })
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("export: {what}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = ExportWriter::new(&mut bytes).expect("a header");
        writer.entry(b"\x02a", b"one").expect("an entry");
        writer.entry(b"\x05", b"").expect("an entry");
        writer.finish().expect("a trailer");
        bytes
    }

    type Entry = (Keyspace, Vec<u8>, Vec<u8>);

    fn entries(bytes: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        let summary = read(&mut &bytes[..], |space, key, value| {
            entries.push((space, key, value));
            Ok(())
        })?;
        assert_eq!(summary, ExportSummary { entries: entries.len() as u64, bytes: bytes.len() as u64 });
        Ok(entries)
    }

    #[test]
    fn the_format_stays() {
        let expected = [(Keyspace::Catalog, b"a".to_vec(), b"one".to_vec()), (Keyspace::Jobs, vec![], vec![])];
        let golden = include_bytes!("golden/export-v1.bin");
        assert_eq!(crate::record::hex(&export()), crate::record::hex(golden));
        assert_eq!(entries(golden).expect("a readable export"), expected);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_an_error() {
        let mut bytes = export();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(entries(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for length in 0..bytes.len() {
            assert!(entries(&bytes[..length]).is_err(), "length {length}");
        }
        bytes.push(0);
        assert!(entries(&bytes).is_err());
    }
}
