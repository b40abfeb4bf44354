//! Features: what a list's candidates are weighed by, for one shopper at one time. All numbers, all finite, 0 where nothing is known.

mod names;
mod page;

pub use names::{FEATURES, Feature};

use crate::event::Facts;
use crate::keys::Id;
use crate::profile::Profile;
use crate::shop::Shop;
use page::Builder;

/// Candidates of one list; those beyond are not ranked.
pub const CANDIDATES_MAX: usize = 400;

/// What one candidate is weighed by, in the order of [`Feature::ALL`].
pub type Features = [f32; FEATURES];

/// One item that may be shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Which.
    pub item: Id,
    /// What proposed it thinks of it, where it thinks anything: any scale, compared within the list.
    pub score: Option<f32>,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// In which store, where stores are told apart.
    pub store: Option<Id>,
    /// What is to be put in order, at most [`CANDIDATES_MAX`].
    pub candidates: &'a [Candidate],
}

/// The candidates of one list and what they are weighed by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// In the order of the ask.
    pub items: Vec<Id>,
    /// Likewise.
    pub rows: Vec<Features>,
}

impl Page {
    /// Computes the features of an ask. `facts` tells what is known of the candidate at a position of the ask.
    pub fn new<'f>(profile: &Profile, shop: &Shop, ask: &Ask, facts: impl Fn(usize) -> Facts<'f>) -> Self {
        let candidates = &ask.candidates[..ask.candidates.len().min(CANDIDATES_MAX)];
        let mut builder = Builder::new(profile, shop, ask);
        let mut rows: Vec<Features> = candidates.iter().enumerate().map(|(at, candidate)| builder.row(candidate, &facts(at))).collect();
        builder.compare(candidates, &mut rows);
        for value in rows.iter_mut().flatten() {
            // A feature that runs away says no more than one that is far out.
            *value = if value.is_finite() { value.clamp(-20.0, 20.0) } else { 0.0 };
        }
        Self { items: candidates.iter().map(|candidate| candidate.item).collect(), rows }
    }
}

#[cfg(test)]
mod tests;
