//! The archive of `torch.save` (since 1.6): `NAME/data.pkl`, `NAME/byteorder` and one stored entry `NAME/data/KEY` for each storage.

use super::{Kind, Reader, tensors, unpickle};
use crate::models::tensors::Tensor;
use std::collections::HashMap;
use std::io::{Cursor, Read as _};
use std::ops::Range;
use zip::{CompressionMethod, ZipArchive};

/// Entries of one archive; a large model has some thousands of tensors.
const ENTRIES_MAX: usize = 1 << 16;
/// Bytes of the order's name.
const ORDER_BYTES_MAX: u64 = 16;

/// Reads all tensors of floats. The storages stay where the file has them until their numbers are read.
pub(super) fn read(bytes: &[u8]) -> Result<HashMap<String, Tensor>, String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    if archive.len() > ENTRIES_MAX {
        return Err(format!("more than {ENTRIES_MAX} entries"));
    }
    let mut entries = HashMap::new();
    let mut order = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| error.to_string())?;
        // The folder in front is the name under which the file was saved.
        let name = entry.name().map_err(|error| error.to_string())?;
        let Some((_, name)) = name.split_once('/').map(|(folder, name)| (folder, name.to_owned())) else { continue };
        if name == "byteorder" {
            entry.by_ref().take(ORDER_BYTES_MAX).read_to_end(&mut order).map_err(|error| error.to_string())?;
        }
        if name != "data.pkl" && !name.starts_with("data/") {
            continue;
        }
        if entry.compression() != CompressionMethod::Stored {
            return Err(format!("{name} is compressed"));
        }
        let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
        let length = usize::try_from(entry.size()).ok();
        let range = start.zip(length).and_then(|(start, length)| Some(start..start.checked_add(length)?));
        let range = range.filter(|range| range.end <= bytes.len()).ok_or("an entry reaches beyond the file")?;
        entries.insert(name, range);
    }
    if !order.is_empty() && order != b"little" {
        return Err("the numbers are not little-endian".into());
    }
    let pickle = entries.get("data.pkl").cloned().ok_or("data.pkl is missing")?;
    let mut reader = Reader { bytes: &bytes[pickle], at: 0 };
    let state = unpickle(&mut reader)?;
    let mut storages: HashMap<&str, (Kind, Range<usize>)> = HashMap::new();
    for (key, (kind, declared)) in state.storages() {
        let content = entries.get(&format!("data/{key}")).ok_or_else(|| format!("storage {key} is missing"))?;
        let length = declared.checked_mul(kind.bytes()).ok_or("a storage is too large")?;
        if content.len() < length {
            return Err(format!("storage {key} is cut"));
        }
        storages.insert(key, (kind, content.start..content.start + length));
    }
    tensors(&state, &storages)
}
