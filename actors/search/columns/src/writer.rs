//! The one writer: takes products in and gives snapshots out.

use std::sync::Arc;

use domain::Product;
use domain::filter::FILTER_VALUE_BYTES_MAX;

use crate::column::{Bounds, Column, Entry, Shape};
use crate::offers::{OfferValues, Offers};
use crate::product::{self, NAMED};
use crate::slots::Quarantine;
use crate::snapshot::Snapshot;

/// Names of attributes that are not held which are remembered, so that a filter on one says why.
const REFUSED_NAMES_MAX: usize = 1_000;

/// How large columns may grow. What is over a bound is never dropped unseen: [`Change`] tells of attributes that are not held,
/// [`crate::AttributeInfo`] of values that are not, and a filter or facet on such an attribute is refused with the reason.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Attributes; those that come later are not held.
    pub attributes_max: usize,
    /// Different values of one attribute; later ones are not held.
    pub values_max: usize,
    /// Of all values of one attribute together; later ones are not held.
    pub text_bytes_max: usize,
    /// How long a deleted product's slot is kept: longer than any query lives.
    pub quarantine_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attributes_max: 4_096, values_max: 2_000_000, text_bytes_max: 256 * 1024 * 1024, quarantine_ms: 60_000 }
    }
}

/// What setting a product did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The product's slot.
    pub slot: u32,
    /// Whether the product was not there before.
    pub is_new: bool,
    /// Attributes of the product that are not held because there are too many in all.
    pub refused_attributes: usize,
}

/// Why a product cannot be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnsError {
    /// No slot is left.
    #[error("there are no more than 2^31 products")]
    Full,
}

/// See the module.
#[derive(Debug)]
pub struct Columns {
    current: Snapshot,
    quarantine: Quarantine,
    limits: Limits,
}

impl Columns {
    /// No products.
    pub fn new(limits: Limits) -> Self {
        let mut columns = Self { current: Snapshot::default(), quarantine: Quarantine::default(), limits };
        NAMED.into_iter().for_each(|(name, shape)| columns.add_column(name, shape));
        columns
    }

    /// The columns as they are now. Cheap: a later change copies the chunks it touches.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(self.current.clone())
    }

    /// The products and columns as they are now, for the writer's own use.
    pub fn current(&self) -> &Snapshot {
        &self.current
    }

    /// A handle by which offers are changed from elsewhere; it reaches the slots given until now.
    pub fn offers(&self) -> Offers {
        self.current.offers.clone()
    }

    /// Changes the price and stock of a slot, for all snapshots at once; whether there is such a slot.
    pub fn set_offer(&self, slot: u32, values: &OfferValues) -> bool {
        self.current.offers.set(slot, values)
    }

    /// Takes a product in, in place of an earlier one with this id, and its offer with it. `now_ms` is any clock that does not
    /// run backwards.
    pub fn set(&mut self, product: &Product, now_ms: u64) -> Result<Change, ColumnsError> {
        let known = self.current.slots.slot(product.id.as_str());
        let slot = match known {
            Some(slot) => slot,
            None => {
                let slots = &mut self.current.slots;
                let slot = slots.add(&product.id, &mut self.quarantine, now_ms, self.limits.quarantine_ms).ok_or(ColumnsError::Full)?;
                self.current.offers.reach(slot);
                slot
            }
        };
        self.current.offers.set(slot, &OfferValues::of(product));
        let entries = product::entries(product);
        let mut refused_attributes = 0;
        for name in entries.keys() {
            if !self.current.names.contains_key(name) {
                if self.current.columns.len() < self.limits.attributes_max.max(NAMED.len()) {
                    self.add_column(name, Shape::Plain);
                } else {
                    refused_attributes += 1;
                    self.refuse(name);
                }
            }
        }
        let names = Arc::clone(&self.current.names);
        for (name, index) in names.iter() {
            self.set_values(*index, slot, entries.get(name).map_or(&[], Vec::as_slice));
        }
        Ok(Change { slot, is_new: known.is_none(), refused_attributes })
    }

    /// Forgets a product; its slot, if there was one. The slot is not used again before its quarantine is over.
    pub fn remove(&mut self, id: &str, now_ms: u64) -> Option<u32> {
        let slot = self.current.slots.slot(id)?;
        (0..self.current.columns.len()).for_each(|index| self.set_values(index, slot, &[]));
        self.current.slots.remove(slot, &mut self.quarantine, now_ms);
        Some(slot)
    }

    fn set_values(&mut self, index: usize, slot: u32, entries: &[Entry]) {
        let limits = self.limits;
        let bounds =
            Bounds { values_max: limits.values_max, value_bytes_max: FILTER_VALUE_BYTES_MAX, text_bytes_max: limits.text_bytes_max };
        if let Some(column) = self.current.columns.get_mut(index)
            && !column.has(slot, entries)
        {
            Arc::make_mut(column).set(slot, entries, bounds);
        }
    }

    fn add_column(&mut self, name: &str, shape: Shape) {
        Arc::make_mut(&mut self.current.names).insert(name.to_owned(), self.current.columns.len());
        self.current.columns.push(Arc::new(Column::new(shape)));
    }

    fn refuse(&mut self, name: &str) {
        if self.current.refused.len() < REFUSED_NAMES_MAX && !self.current.refused.contains(name) {
            Arc::make_mut(&mut self.current.refused).insert(name.to_owned());
        }
    }
}
