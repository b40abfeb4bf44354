//! Single products' values: for grouping, for quotas, for showing.

use domain::FilterError;

use crate::snapshot::{Field, Snapshot};

/// One attribute's values of many products.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    snapshot: &'a Snapshot,
    field: Field<'a>,
}

impl Values<'_> {
    /// What [`Snapshot::value_of`] gives for the attribute.
    pub fn of(&self, slot: u32) -> Option<u64> {
        self.snapshot.code(self.field, slot)
    }
}

impl Snapshot {
    /// One attribute's values, for many products.
    pub fn values_of(&self, attribute: &str) -> Result<Values<'_>, FilterError> {
        Ok(Values { snapshot: self, field: self.field(attribute)? })
    }

    /// A number that products share when they have the same value of an attribute (of several values the first in the column's
    /// own order): for grouping by `group_id` and for quotas on any attribute. Means something on this snapshot only. `None` for
    /// a product without a value.
    pub fn value_of(&self, slot: u32, attribute: &str) -> Result<Option<u64>, FilterError> {
        Ok(self.code(self.field(attribute)?, slot))
    }

    /// The text of a number that [`Snapshot::value_of`] gave, as people are shown it; of attributes that are held as values.
    pub fn value_text(&self, attribute: &str, value: u64) -> Result<Option<&str>, FilterError> {
        Ok(match self.field(attribute)? {
            Field::Column(column) => u32::try_from(value).ok().map(|code| column.dictionary.shown(code)).filter(|text| !text.is_empty()),
            _ => None,
        })
    }

    /// The unit in which an attribute's numbers are compared, such as `cm`; empty for none.
    pub fn unit_of(&self, attribute: &str) -> &str {
        match self.field(attribute) {
            Ok(Field::Column(column)) => column.dictionary.facts.unit_shown(),
            _ => "",
        }
    }

    pub(crate) fn code(&self, field: Field<'_>, slot: u32) -> Option<u64> {
        match field {
            Field::Id => self.id(slot).map(|_| u64::from(slot)),
            Field::Column(column) => {
                let cell = column.cell(slot);
                column.expand(&cell).iter().map(|code| u64::from(column.dictionary.head(*code))).min()
            }
            Field::Number(field) => self.offers.number(slot, field).map(f64::to_bits),
            Field::Availability => self.id(slot).map(|_| u64::from(self.offers.availability(slot))),
            Field::Currency => Some(u64::from(self.offers.currency(slot))).filter(|letters| *letters != 0),
        }
    }
}
