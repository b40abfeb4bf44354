//! Counts and sums of a log, to be compared with what other programs find in its Parquet files.

use std::collections::BTreeMap;

use domain::EventKind;
use protocol::journal::LogBody;
use serde::{Serialize, Serializer};

use crate::Entry;

/// What a range of the log amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Behind the last record.
    pub end: u64,
    /// Events by kind.
    pub events: BTreeMap<&'static str, KindSummary>,
    /// Served lists.
    pub served: u64,
    /// Products in them.
    pub served_items: u64,
    /// Erasures.
    pub erasures: u64,
    /// Records that do not check out.
    pub unreadable: u64,
}

/// The events of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KindSummary {
    /// Events.
    pub events: u64,
    /// Products in them.
    pub items: u64,
    /// Pieces.
    pub quantity: u64,
    /// Price times quantity of all items that have a price, by currency.
    pub revenue: BTreeMap<String, Amount>,
}

/// A sum of money in 1/10000 of its unit; in JSON a decimal text with four places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount(pub i128);

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sign = if self.0 < 0 { "-" } else { "" };
        let absolute = self.0.unsigned_abs();
        serializer.collect_str(&format_args!("{sign}{}.{:04}", absolute / 10_000, absolute % 10_000))
    }
}

impl Summary {
    /// Takes the next record in.
    pub fn add(&mut self, entry: &Entry) {
        self.end = entry.offset + 1;
        match &entry.body {
            Some(LogBody::Event(event)) => {
                let kind: EventKind = event.kind;
                let summary = self.events.entry(kind.name()).or_default();
                summary.events += 1;
                summary.items += event.items.len() as u64;
                for item in &event.items {
                    summary.quantity += u64::from(item.quantity);
                    if let Some(price) = item.price {
                        let amount = summary.revenue.entry(price.currency.as_str().to_owned()).or_default();
                        amount.0 = amount.0.saturating_add(i128::from(price.amount_e4) * i128::from(item.quantity));
                    }
                }
            }
            Some(LogBody::Served(served)) => {
                self.served += 1;
                self.served_items += served.items.len() as u64;
            }
            Some(LogBody::Erasure(_)) => self.erasures += 1,
            None => self.unreadable += 1,
        }
    }
}
