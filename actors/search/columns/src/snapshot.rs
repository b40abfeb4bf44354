//! What readers see: all columns as they were at one time. Immutable, save for the offers, which are always those of now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::filter::nearest_names;
use domain::{FilterError, ProductId};

use crate::bits::Bitset;
use crate::column::Column;
use crate::fold::fold;
use crate::offers::{OfferField, OfferValues, Offers};
use crate::product::COMPUTED;
use crate::slots::Slots;

/// Names told beside one that is not known.
const NEAREST_MAX: usize = 3;

/// See the module. A copy shares everything.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(crate) slots: Slots,
    pub(crate) names: Arc<BTreeMap<String, usize>>,
    pub(crate) columns: Vec<Arc<Column>>,
    /// Attributes that are not held: one too many.
    pub(crate) refused: Arc<BTreeSet<String>>,
    pub(crate) offers: Offers,
}

/// Where the values of an attribute are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field<'a> {
    Id,
    Column(&'a Column),
    Number(OfferField),
    Availability,
    Currency,
}

impl Snapshot {
    /// Products and their slots.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The product that has a slot.
    pub fn id(&self, slot: u32) -> Option<&ProductId> {
        self.slots.id(slot)
    }

    /// The slot of a product.
    pub fn slot(&self, id: &str) -> Option<u32> {
        self.slots.slot(id)
    }

    /// The slots that have a product.
    pub fn alive(&self) -> Bitset {
        self.slots.alive()
    }

    /// The slots whose product can be had now.
    pub fn available(&self) -> Bitset {
        self.offers.available(self.alive())
    }

    /// All products, in the order of their slots.
    pub fn ids(&self) -> impl Iterator<Item = &ProductId> {
        (0..self.slots.bound()).filter_map(|slot| self.slots.id(slot))
    }

    /// Changes the price and stock of a slot for all snapshots; whether there is such a slot.
    pub fn set_offer(&self, slot: u32, values: &OfferValues) -> bool {
        self.offers.set(slot, values)
    }

    /// The price and stock of a slot now.
    pub fn offer(&self, slot: u32) -> Option<OfferValues> {
        self.offers.get(slot)
    }

    /// Memory held, in bytes: all columns with their dictionaries and postings, slots and offers. Counts every allocation's own
    /// size, not what the allocator adds; what two snapshots share is counted in both.
    pub fn bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(|column| column.bytes() + size_of::<Column>()).sum();
        columns + self.slots.bytes() + self.offers.bytes()
    }

    /// Where an attribute's values are. A name is found as it is, else without regard to letter case, accents, blanks and dashes.
    pub(crate) fn field(&self, attribute: &str) -> Result<Field<'_>, FilterError> {
        if let Some(field) = self.field_named(attribute) {
            return Ok(field);
        }
        let name = self.canonical_name(attribute)?;
        self.field_named(name).ok_or_else(|| FilterError::UnknownAttribute { attribute: attribute.to_owned(), nearest: Vec::new() })
    }

    /// The name under which an attribute is held.
    pub(crate) fn canonical_name(&self, attribute: &str) -> Result<&str, FilterError> {
        let plain = plain_name(attribute);
        let same = self.attribute_names().find(|name| *name == attribute);
        if let Some(name) = same.or_else(|| self.attribute_names().find(|name| plain_name(name) == plain)) {
            return Ok(name);
        }
        if self.refused.contains(attribute) {
            let reason = format!("there are more than {} attributes, and this one came too late", self.columns.len());
            return Err(FilterError::NotFilterable { attribute: attribute.to_owned(), reason });
        }
        let nearest = nearest_names(attribute, self.attribute_names(), NEAREST_MAX);
        let nearest = nearest.into_iter().map(str::to_owned).collect();
        Err(FilterError::UnknownAttribute { attribute: attribute.to_owned(), nearest })
    }

    fn field_named(&self, name: &str) -> Option<Field<'_>> {
        Some(match name {
            "id" => Field::Id,
            "price" => Field::Number(OfferField::Price),
            "sale_price" => Field::Number(OfferField::SalePrice),
            "final_price" => Field::Number(OfferField::FinalPrice),
            "quantity" => Field::Number(OfferField::Quantity),
            "discount" => Field::Number(OfferField::Discount),
            "availability" => Field::Availability,
            "currency" => Field::Currency,
            name => Field::Column(self.columns.get(*self.names.get(name)?)?),
        })
    }

    pub(crate) fn attribute_names(&self) -> impl Iterator<Item = &str> {
        COMPUTED.into_iter().chain(self.names.keys().map(String::as_str))
    }
}

fn plain_name(name: &str) -> String {
    fold(name).replace([' ', '-'], "_")
}
