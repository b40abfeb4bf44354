//! What Wayne keeps on disk.

use bincode::{Decode, Encode};
use store::Record;

/// A configuration that the house ran with.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ConfigVersion {
    /// Counts configurations from 1.
    pub(crate) number: u64,
    /// When it was first seen, in milliseconds since the Unix epoch.
    pub(crate) since_ms: i64,
    /// Key and value (as TOML) of every setting, in key order.
    pub(crate) settings: Vec<(String, String)>,
}

impl Record for ConfigVersion {
    const KIND: u16 = 0x0901;
    const SCHEMA: u16 = 1;
}

/// All releases and what became of them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct LedgerRecord {
    /// The ledger as JSON.
    pub(crate) json: String,
}

impl Record for LedgerRecord {
    const KIND: u16 = 0x0902;
    const SCHEMA: u16 = 1;
}

impl LedgerRecord {
    /// Its only key.
    pub(crate) const KEY: &[u8] = b"registry/releases";
}

/// An experiment's definition, under its name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ExperimentRecord {
    /// The definition as JSON: it is read by the same rules as one that is sent.
    pub(crate) json: String,
}

impl Record for ExperimentRecord {
    const KIND: u16 = 0x0D01;
    const SCHEMA: u16 = 1;
}
