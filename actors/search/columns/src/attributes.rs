//! What attributes there are: for telling people, and for finding out what they meant.

use domain::FilterError;

use crate::snapshot::{Field, Snapshot};

/// Values named of each attribute.
const EXAMPLES_MAX: usize = 5;

/// One attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeInfo {
    /// As filters name it.
    pub name: String,
    /// `text`, `number`, `time`, `place`, `path`, `boolean`, or `identifier`: what most of its values are.
    pub kind: &'static str,
    /// In which its numbers are compared; empty for none.
    pub unit: String,
    /// Products that have it.
    pub products: usize,
    /// Different values; 0 where they are not counted (the id, prices, quantities).
    pub values: usize,
    /// The most frequent values.
    pub examples: Vec<String>,
    /// Products with values that are not held, because there are too many: filters and facets on it are refused while there are
    /// any.
    pub unheld_products: usize,
}

impl Snapshot {
    /// Every attribute that some product has, those of the common record first, then by name.
    pub fn attributes(&self) -> Vec<AttributeInfo> {
        let named = self.attribute_names().filter_map(|name| Some((name, self.field(name).ok()?)));
        named.map(|(name, field)| self.attribute_info(name, field)).filter(|info| info.products > 0).collect()
    }

    fn attribute_info(&self, name: &str, field: Field<'_>) -> AttributeInfo {
        let kind = self.kind_of(field);
        let mut info = AttributeInfo {
            name: name.to_owned(),
            kind,
            unit: String::new(),
            products: 0,
            values: 0,
            examples: Vec::new(),
            unheld_products: 0,
        };
        match field {
            Field::Column(column) => {
                let mut heads: Vec<(usize, u32)> = column.dictionary.heads().map(|(code, value)| (value.posting.count(), code)).collect();
                let order = |a: &(usize, u32), b: &(usize, u32)| {
                    b.0.cmp(&a.0).then_with(|| column.dictionary.key(a.1).cmp(column.dictionary.key(b.1)))
                };
                info.values = heads.len();
                if heads.len() > EXAMPLES_MAX {
                    heads.select_nth_unstable_by(EXAMPLES_MAX, order);
                    heads.truncate(EXAMPLES_MAX);
                }
                heads.sort_unstable_by(order);
                info.examples = heads.into_iter().map(|(_, code)| column.dictionary.shown(code).to_owned()).collect();
                info.products = column.exists.count();
                info.unit = column.dictionary.facts.unit_shown().to_owned();
                info.unheld_products = column.unheld.count();
            }
            Field::Id | Field::Availability => info.products = self.slots.len(),
            field => info.products = crate::bits::slots(&self.alive()).filter(|slot| self.code(field, *slot).is_some()).count(),
        }
        info
    }

    /// What an attribute's values are, in words.
    pub fn kind(&self, attribute: &str) -> Result<&'static str, FilterError> {
        self.field(attribute).map(|field| self.kind_of(field))
    }

    pub(crate) fn kind_of(&self, field: Field<'_>) -> &'static str {
        match field {
            Field::Id => "identifier",
            Field::Column(column) => column.kind(),
            Field::Number(_) => "number",
            Field::Availability | Field::Currency => "text",
        }
    }
}
