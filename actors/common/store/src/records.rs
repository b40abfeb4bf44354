//! What this crate itself keeps in a store.

use bincode::{Decode, Encode};

use crate::record::Record;

/// Written with each commit and at each opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct CommitMark {
    /// The number of the last commit.
    pub(crate) number: u64,
    /// How often the store has been opened: sled skips a write that changes nothing, and an opening has to write something.
    pub(crate) opening: u64,
}

impl Record for CommitMark {
    const KIND: u16 = 0xFF01;
    const SCHEMA: u16 = 1;
}

impl CommitMark {
    /// Its key as the engine holds it: before every keyspace.
    pub(crate) const KEY: &[u8] = b"\0commit";
}

/// How far a consumer of the journal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ConsumerOffset {
    pub(crate) offset: u64,
}

impl Record for ConsumerOffset {
    const KIND: u16 = 0xFF02;
    const SCHEMA: u16 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn the_bytes_on_disk_stay() {
        golden::check(&CommitMark { number: 41, opening: 3 }, CommitMark::KEY, include_bytes!("golden/commit-mark-v1.bin"));
        golden::check(&ConsumerOffset { offset: 1 << 33 }, b"consumer/gordon", include_bytes!("golden/consumer-offset-v1.bin"));
    }
}
