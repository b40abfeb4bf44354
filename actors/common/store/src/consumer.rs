//! A consumer of the journal stores its offset in the commit that holds its effect: after a crash it goes on exactly where
//! its effects end, however often a record is delivered.

use crate::record::Record;
use crate::records::ConsumerOffset;
use crate::store::{Keyspace, Op, Store, StoreError};

/// The next record that the consumer `name` has to read; 0 for one that has never stored an effect.
pub fn load_offset(store: &dyn Store, name: &str) -> Result<u64, StoreError> {
    let key = key(name);
    let Some(bytes) = store.get(Keyspace::Meta, &key)? else { return Ok(0) };
    let stored = ConsumerOffset::unseal(&key, &bytes)?;
    Ok(stored.offset)
}

/// The change that stores the offset, to be put into the commit of the effect of all records before it.
pub fn offset_op(name: &str, offset: u64) -> Result<Op, StoreError> {
    let key = key(name);
    let value = ConsumerOffset { offset }.seal(&key)?;
    Ok(Op::Put { space: Keyspace::Meta, key, value })
}

fn key(name: &str) -> Vec<u8> {
    [b"consumer/", name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::store::Durability;

    #[test]
    fn an_offset_comes_back_under_its_own_name() {
        let store = MemoryStore::new();
        let op = offset_op("gordon", 17).expect("a sealed offset");
        store.commit(vec![op], Durability::Flushed).wait().expect("a commit");
        assert_eq!(load_offset(&store, "gordon").ok(), Some(17));
        assert_eq!(load_offset(&store, "batman").ok(), Some(0));
    }

    #[test]
    fn a_damaged_offset_is_an_error_and_not_zero() {
        let store = MemoryStore::new();
        let put = Op::Put { space: Keyspace::Meta, key: key("gordon"), value: b"rubbish".to_vec() };
        store.commit(vec![put], Durability::Flushed).wait().expect("a commit");
        assert!(matches!(load_offset(&store, "gordon"), Err(StoreError::Damaged(_))));
    }
}
