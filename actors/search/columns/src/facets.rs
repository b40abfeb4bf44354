//! Counting a set of products by the values of their attributes.
//!
//! A product's values are one cell, so that counting is one increment a product, whatever the number of values; the counts of
//! cells are then handed on to the values in them, once for each different cell.

mod count;
mod counter;
mod ranges;

use domain::facet::{FACET_RANGES_MAX, FACETS_MAX};
use domain::{FacetCounts, FacetRequest, FacetValue, Filter, FilterBound, FilterError};

use crate::bits::{self, Bitset};
use crate::snapshot::{Field, Snapshot};

use count::{Groups, Tally};

impl Snapshot {
    /// Counts products for each request, in order. `within` are the products before `filter`, which is applied here: for each
    /// facet those of its conditions that choose values of the facet's own attribute (`brand IN [..]` for the facet `brand`, at
    /// the top level of its `AND`, without a `NOT`) are left out, so that one can see what choosing more values would add.
    /// Products are counted, not variants; values that differ only in letter case or accents are one. A path is counted under
    /// each of its beginnings. Statistics count each product once, by its least number; the greatest is that of all numbers;
    /// times are in milliseconds since the epoch.
    pub fn facets(&self, requests: &[FacetRequest], within: &[u64], filter: Option<&Filter>) -> Result<Vec<FacetCounts>, FilterError> {
        let every = Filter::default();
        let filter = filter.unwrap_or(&every);
        filter.check_bounds()?;
        let is_over = |request: &FacetRequest| request.ranges.len().max(request.auto_ranges) > FACET_RANGES_MAX;
        if requests.len() > FACETS_MAX || requests.iter().any(is_over) {
            let bound = if requests.len() > FACETS_MAX { FilterBound::Facets } else { FilterBound::Ranges };
            return Err(FilterError::Bound(bound));
        }
        let mut base = self.alive();
        bits::and(&mut base, within);
        let conjuncts = filter.conjuncts();
        // Applied whole even when no facet needs it whole: a mistake in any condition is one.
        let whole = self.evaluate_within(filter, &base)?;
        let mut counts = Vec::with_capacity(requests.len());
        let mut groups: Option<(&String, Groups)> = None;
        for request in requests {
            let name = self.canonical_name(&request.attribute)?;
            let is_own = |filter: &Filter| {
                is_choice(filter) && filter.sole_attribute().is_some_and(|own| self.canonical_name(own).is_ok_and(|own| own == name))
            };
            let others: Vec<&Filter> = conjuncts.iter().copied().filter(|conjunct| !is_own(conjunct)).collect();
            if others.len() == conjuncts.len() {
                // Facets over the same set and by the same groups share these.
                if let Some(group) = &request.group_by
                    && groups.as_ref().is_none_or(|(of, _)| *of != group)
                {
                    groups = Some((group, Groups::new(self, self.field(group)?, &whole)));
                }
                counts.push(self.facet(request, &whole, groups.as_ref().map(|(_, groups)| groups))?);
            } else {
                let own = self.evaluate_all(&others, &base)?;
                let groups = request.group_by.as_ref().map(|group| self.field(group).map(|group| Groups::new(self, group, &own)));
                counts.push(self.facet(request, &own, groups.transpose()?.as_ref())?);
            }
        }
        Ok(counts)
    }

    fn evaluate_all(&self, filters: &[&Filter], within: &[u64]) -> Result<Bitset, FilterError> {
        let mut found = within.to_vec();
        let (scanned, looked_up): (Vec<&Filter>, Vec<&Filter>) = filters.iter().partition(|filter| self.is_scanned(filter));
        for filter in looked_up.into_iter().chain(scanned) {
            found = self.evaluate_within(filter, &found)?;
        }
        Ok(found)
    }

    fn facet(&self, request: &FacetRequest, set: &[u64], groups: Option<&Groups>) -> Result<FacetCounts, FilterError> {
        let field = self.field(&request.attribute)?;
        let groups = groups.filter(|_| request.group_by.is_some());
        let tally = match field {
            Field::Column(column) if !column.unheld.is_empty() => {
                let reason = "it has too many different values to be counted".to_owned();
                return Err(FilterError::NotFilterable { attribute: request.attribute.clone(), reason });
            }
            Field::Id => {
                let reason = "every product has its own".to_owned();
                return Err(FilterError::NotFilterable { attribute: request.attribute.clone(), reason });
            }
            field => Tally::new(self, field, set),
        };
        let grouped = groups.map(|groups| tally.grouped(self, field, groups));
        let (mut values, missing) = match &grouped {
            Some(grouped) => (grouped.values.clone(), grouped.missing),
            None => (tally.values(field), tally.missing),
        };
        let distinct = values.len() as u64;
        let order = |a: &(u64, u64), b: &(u64, u64)| b.1.cmp(&a.1).then_with(|| self.compare_values(field, a.0, b.0));
        let shown = if request.ranges.is_empty() { request.limit } else { 0 };
        if shown == 0 {
            values.clear();
        } else if values.len() > shown {
            values.select_nth_unstable_by(shown - 1, order);
            values.truncate(shown);
        }
        values.sort_unstable_by(order);
        let values = values.into_iter().map(|(value, count)| FacetValue { value: self.shown_value(field, value), count }).collect();
        let numbers = tally.numbers(self, field);
        let asked = request.ranges.clone();
        let ranges = match &numbers {
            Some(numbers) => {
                let cuts = if asked.is_empty() { numbers.auto_ranges(request.auto_ranges) } else { asked };
                numbers.ranges(&request.attribute, &cuts, groups.map(|groups| (self, field, groups)))?
            }
            None if asked.is_empty() => Vec::new(),
            None => {
                let kind = self.kind_of(field);
                return Err(FilterError::WrongKind { attribute: request.attribute.clone(), kind, asked: "numbers to compare" });
            }
        };
        let stats = numbers.and_then(|numbers| numbers.stats());
        Ok(FacetCounts { attribute: request.attribute.clone(), values, ranges, stats, distinct, missing })
    }
}

/// Whether a filter chooses values: it has no `NOT` and asks for more than their being there.
fn is_choice(filter: &Filter) -> bool {
    match filter {
        Filter::All(items) | Filter::Any(items) => items.iter().all(is_choice),
        Filter::Not(_) | Filter::Exists { .. } => false,
        Filter::In { .. } | Filter::Range { .. } | Filter::Under { .. } | Filter::Near { .. } => true,
    }
}
