//! What Wayne keeps on disk.

use bincode::{Decode, Encode};
use protocol::releases::{Ledger, Settings};
use serde_json::Value;
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

    /// The ledger. Releases that were kept when a release was nothing but its models have the configured settings.
    pub(crate) fn ledger(&self, configured: &Settings) -> Result<Ledger, serde_json::Error> {
        let mut value: Value = serde_json::from_str(&self.json)?;
        let settings = serde_json::to_value(configured)?;
        let mut was_without = false;
        for release in value.get_mut("releases").and_then(Value::as_array_mut).into_iter().flatten() {
            let definition = release.get_mut("definition").and_then(Value::as_object_mut);
            if let Some(definition) = definition.filter(|definition| !definition.contains_key("settings")) {
                definition.insert("settings".to_owned(), settings.clone());
                was_without = true;
            }
        }
        let mut ledger: Ledger = serde_json::from_value(value)?;
        if was_without {
            ledger.releases.iter_mut().for_each(|release| release.fingerprint = release.definition.fingerprint());
        }
        Ok(ledger)
    }
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
