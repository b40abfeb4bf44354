//! Which products may be found: there, not excluded, to be had where that is asked for, and within the filter.

use domain::{FacetRequest, FilterError};
use protocol::search::{SearchError, SearchQuery};

use super::Snapshots;
use crate::logic::Slot;

/// With more excluded products than this they are taken out of the set beforehand.
const EXCLUDE_LISTED_MAX: usize = 16;

/// What may be found, as sets of slots.
pub(crate) struct Scope {
    /// What may be found but for the filter; `None` is every product.
    pub(crate) base: Option<Vec<u64>>,
    /// What may be found; `None` is every product.
    pub(crate) allow: Option<Vec<u64>>,
    /// Excluded beside that.
    pub(crate) exclude: Vec<Slot>,
}

impl Scope {
    pub(crate) fn new(snapshots: &Snapshots, query: &SearchQuery) -> Result<Self, SearchError> {
        let columns = &snapshots.columns;
        let mut exclude: Vec<Slot> = query.exclude.iter().filter_map(|id| columns.slot(id.as_str())).collect();
        let mut base = query.only_available.then(|| columns.available()).filter(|available| *available != columns.alive());
        if exclude.len() > EXCLUDE_LISTED_MAX {
            let base = base.get_or_insert_with(|| columns.alive());
            exclude.drain(..).for_each(|slot| {
                if let Some(word) = base.get_mut(slot as usize / 64) {
                    *word &= !(1 << (slot % 64));
                }
            });
        }
        let filtered = query.filter.as_ref().map(|filter| columns.evaluate(filter)).transpose();
        let filtered = filtered.map_err(|error| unanswerable("/filter".into(), &error))?;
        let allow = match (filtered, &base) {
            (Some(filtered), Some(base)) => Some(and(&filtered, base)),
            (Some(filtered), None) => Some(filtered),
            (None, base) => base.clone(),
        };
        Ok(Self { base, allow, exclude })
    }

    /// Those of a set that may be found but for the filter.
    pub(crate) fn in_base(&self, set: &[u64]) -> Vec<u64> {
        let mut within = self.base.as_ref().map_or_else(|| set.to_vec(), |base| and(set, base));
        self.take_excluded_out(&mut within);
        within
    }

    /// Those of a set that may be found.
    pub(crate) fn allowed(&self, set: &[u64]) -> Vec<u64> {
        let mut within = self.allow.as_ref().map_or_else(|| set.to_vec(), |allow| and(set, allow));
        self.take_excluded_out(&mut within);
        within
    }

    /// Whether one product may be found.
    pub(crate) fn allows(&self, slot: Slot) -> bool {
        self.allow.as_ref().is_none_or(|allow| columns::contains(allow, slot)) && !self.exclude.contains(&slot)
    }

    fn take_excluded_out(&self, set: &mut [u64]) {
        for slot in &self.exclude {
            if let Some(word) = set.get_mut(*slot as usize / 64) {
                *word &= !(1 << (slot % 64));
            }
        }
    }

    /// The facet that cannot be counted.
    pub(crate) fn facet_pointer(&self, snapshots: &Snapshots, query: &SearchQuery) -> String {
        let fails = |request: &FacetRequest| snapshots.columns.facets(std::slice::from_ref(request), &[], None).is_err();
        format!("/facets/{}", query.facets.iter().position(fails).unwrap_or_default())
    }
}

fn and(one: &[u64], other: &[u64]) -> Vec<u64> {
    one.iter().zip(other).map(|(a, b)| a & b).collect()
}

/// What the columns cannot answer, in the words of the protocol.
pub(crate) fn unanswerable(pointer: String, error: &FilterError) -> SearchError {
    let code = match error {
        FilterError::UnknownAttribute { .. } => "unknown_attribute",
        FilterError::WrongKind { .. } => "wrong_kind",
        FilterError::BadValue { .. } => "bad_value",
        FilterError::NotFilterable { .. } => "not_filterable",
        FilterError::Bound(_) => "too_large",
        _ => "invalid",
    };
    SearchError::Unanswerable { pointer, code, detail: error.to_string() }
}
