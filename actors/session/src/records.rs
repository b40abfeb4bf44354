//! What Flash keeps on disk: an entry under its key (`u:`, `v:` or `s:` and the id), in the keyspace of sessions.

use store::{Keyspace, Op, Record, Store, StoreError, consumer};

use crate::logic::entry::Entry;
use crate::logic::ledger::Key;

impl Record for Entry {
    const KIND: u16 = 0x0A01;
    const SCHEMA: u16 = 1;
}

/// Reads an entry. One that does not check out is left out, logged and counted.
pub(crate) fn load(store: &dyn Store, key: &[u8]) -> Result<Option<Entry>, StoreError> {
    let Some(bytes) = store.get(Keyspace::Sessions, key)? else { return Ok(None) };
    match Entry::unseal(key, &bytes) {
        Ok(entry) => Ok(Some(entry)),
        Err(error) => {
            tracing::error!(%error, "a session's record does not check out and is left out");
            metrics::counter!("gotham_session_quarantined_total").increment(1);
            Ok(None)
        }
    }
}

/// The changes that make the store what the entries are, and say up to which event that is.
pub(crate) fn checkpoint(entries: Vec<(Key, Option<Entry>)>, consumer: &str, offset: u64) -> Result<Vec<Op>, StoreError> {
    let mut ops = Vec::with_capacity(entries.len() + 1);
    for (key, entry) in entries {
        let (space, key) = (Keyspace::Sessions, key.as_bytes().to_vec());
        ops.push(match entry {
            Some(entry) => Op::Put { space, value: entry.seal(&key)?, key },
            None => Op::Delete { space, key },
        });
    }
    ops.push(consumer::offset_op(consumer, offset)?);
    Ok(ops)
}

#[cfg(test)]
mod tests {
    use domain::EventKind;
    use store::store::VALUE_BYTES_MAX;

    use super::*;
    use crate::testing::{event, items};

    fn full() -> Entry {
        let mut entry = Entry::default();
        let mut add = event("a", EventKind::AddToCart, 5);
        add.items = items(&[("shoe", Some("42"), 2)]);
        add.store = Some("Bern".into());
        let mut search = event("b", EventKind::Search, 7);
        search.query = Some("rote Schuhe".into());
        entry.event(&add, 0);
        entry.event(&search, 1);
        entry.belongs_to(&domain::Shopper::user("7"), 7);
        entry.has_session("monday", 7);
        entry
    }

    #[test]
    fn stored_bytes_are_as_they_were() {
        store::golden::check(&full(), b"u:7", include_bytes!("golden/entry-v1.bin"));
    }

    #[test]
    fn the_largest_entry_fits_into_one_value() {
        let mut entry = Entry::default();
        let long = "ß".repeat(128);
        for at in 0..900 {
            let kind = [EventKind::View, EventKind::AddToCart, EventKind::Search][at as usize % 3];
            let mut event = event("e", kind, at);
            let product = format!("{}{at}", &long[..248]);
            event.items = items(&[(product.as_str(), Some(long.as_str()), 1)]);
            event.query = Some("ß".repeat(500) + &at.to_string());
            event.store = Some(long.clone());
            entry.event(&event, at as u64);
            entry.belongs_to(&domain::Shopper::user(&long), at);
            entry.has_session(&product, at);
        }
        let bytes = entry.seal(b"u:7").expect("it is sealed").len();
        assert!((VALUE_BYTES_MAX / 2..=VALUE_BYTES_MAX).contains(&bytes), "{bytes}");
    }
}
