//! One number of a product: what an attribute is sorted, summed and weighed by.

use domain::FilterError;

use crate::column::{Column, Shape};
use crate::offers::OfferField;
use crate::snapshot::{Field, Snapshot};

/// Which of several numbers of a product stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    Least,
    Greatest,
}

/// Reads one attribute's numbers.
#[derive(Debug)]
pub(crate) enum NumberReader<'a> {
    Offer(&'a Snapshot, OfferField),
    /// With the factor of each unit.
    Numbers(&'a Column, Vec<Option<f64>>),
    /// Milliseconds since the epoch.
    Times(&'a Column),
    /// One for `true`, nought for `false`.
    Flags(&'a Column),
}

impl<'a> NumberReader<'a> {
    /// `None` when the attribute's values are no numbers, times or booleans. A column of both has its more frequent kind.
    pub(crate) fn new(snapshot: &'a Snapshot, field: Field<'a>) -> Option<Self> {
        match field {
            Field::Number(field) => Some(Self::Offer(snapshot, field)),
            Field::Column(column) => {
                let [numbers, times, _] = column.dictionary.facts.counts;
                if numbers >= times && numbers > 0 {
                    Some(Self::Numbers(column, column.dictionary.facts.factors()))
                } else if times > 0 {
                    Some(Self::Times(column))
                } else if column.kind() == "boolean" {
                    Some(Self::Flags(column))
                } else {
                    // No product has it now: it may yet become a number.
                    (column.dictionary.groups == 0 && column.shape == Shape::Plain).then_some(Self::Times(column))
                }
            }
            Field::Id | Field::Availability | Field::Currency => None,
        }
    }

    /// As [`NumberReader::new`], with the reason.
    pub(crate) fn of(snapshot: &'a Snapshot, attribute: &str) -> Result<Self, FilterError> {
        let field = snapshot.field(attribute)?;
        let kind = match field {
            Field::Column(column) => column.kind(),
            Field::Id => "identifier",
            _ => "text",
        };
        Self::new(snapshot, field).ok_or(FilterError::WrongKind {
            attribute: attribute.to_owned(),
            kind,
            asked: "numbers to calculate with",
        })
    }

    pub(crate) fn is_time(&self) -> bool {
        matches!(self, Self::Times(_))
    }

    /// The number that a value of a column stands for.
    #[inline]
    pub(crate) fn of_code(&self, code: u32) -> Option<f64> {
        match self {
            Self::Offer(..) => None,
            Self::Numbers(column, factors) => column.dictionary.facts.number(column.dictionary.head(code), factors),
            Self::Times(column) => column.dictionary.facts.time(column.dictionary.head(code)).map(|time| time as f64),
            Self::Flags(column) => Some(if column.dictionary.key(code) == "true" { 1.0 } else { 0.0 }),
        }
    }

    #[inline]
    pub(crate) fn of_slot(&self, slot: u32, pick: Pick) -> Option<f64> {
        let column = match self {
            Self::Offer(snapshot, field) => return snapshot.offers.number(slot, *field),
            Self::Numbers(column, _) | Self::Times(column) | Self::Flags(column) => column,
        };
        let cell = column.cell(slot);
        let numbers = column.expand(&cell).iter().filter_map(|code| self.of_code(*code));
        match pick {
            Pick::Least => numbers.min_by(f64::total_cmp),
            Pick::Greatest => numbers.max_by(f64::total_cmp),
        }
    }
}
