//! What is asked and what is answered.

use std::fmt;

use crate::recommend::Likeness;

/// Reasons told of one item; what others add is summed up in [`Candidate::rest`].
pub const REASONS_MAX: usize = 3;
/// Items of one answer.
pub const COUNT_MAX: usize = 1_000;

/// What is wanted.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Items, at most [`COUNT_MAX`].
    pub count: usize,
    /// Now, in milliseconds since 1970: only for what is due to be bought again.
    pub now_ms: u64,
    /// Which items may be shown (in stock, not hidden, not seen ...); asked before the list is cut, so a strict filter still fills it.
    pub allow: &'a dyn Fn(u32) -> bool,
    /// New items that may be shown, and what they are like; `None`: none.
    pub likeness: Option<&'a Likeness<'a>>,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Request").field("count", &self.count).field("now_ms", &self.now_ms).finish_non_exhaustive()
    }
}

impl<'a> Request<'a> {
    /// So many items, of which every one may be shown.
    pub fn new(count: usize) -> Self {
        Self { count, now_ms: 0, allow: &|_| true, likeness: None }
    }

    /// With a filter.
    #[must_use]
    pub fn allowing(self, allow: &'a dyn Fn(u32) -> bool) -> Self {
        Self { allow, ..self }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.min(COUNT_MAX)
    }
}

/// Whose history is asked with.
#[derive(Clone, Copy, Debug)]
pub enum History<'a> {
    /// What is remembered of a shopper, by name; the visit under way first.
    Shopper(&'a str),
    /// These items, oldest first, as one visit.
    Items(&'a [u32]),
}

/// Where a score comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Strategy {
    /// Visits like this one.
    Visits,
    /// Seen near the source in visits.
    Pairs,
    /// Seen after the source by shoppers with such a history.
    Taste,
    /// Bought in one order with the source.
    Together,
    /// Bought after the source was viewed.
    Bought,
    /// Popular in the shop.
    Popular,
    /// Like the source, which people see near the others.
    Like,
    /// Bought before.
    Again,
    /// Seen before.
    Recent,
}

/// One reason for an item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// Where it comes from.
    pub strategy: Strategy,
    /// The item of the history that speaks for it.
    pub source: Option<u32>,
    /// What it adds to the score.
    pub score: f32,
    /// Visits (`Visits`) or orders (`Together`) with both; purchases (`Again`); events of 28 days' half-life, rounded (`Popular`).
    pub together: u32,
    /// Orders with the source (`Together`); pieces bought (`Again`); else zero.
    pub of: u32,
}

/// One recommended item.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The item's number.
    pub item: u32,
    /// Greater is better; comparable within one answer. Equals the sum of `reasons` and `rest`.
    pub score: f32,
    /// The greatest reasons, greatest first.
    pub reasons: Vec<Reason>,
    /// What all other reasons add.
    pub rest: f32,
}

impl Candidate {
    /// An item with one reason.
    pub(crate) fn of(item: u32, reason: Reason) -> Self {
        Self { item, score: reason.score, reasons: vec![reason], rest: 0.0 }
    }

    /// Adds a reason; the same source of the same strategy is one.
    pub(crate) fn add_reason(&mut self, reason: Reason) {
        let same = self.reasons.iter_mut().find(|kept| kept.strategy == reason.strategy && kept.source == reason.source);
        match same {
            Some(kept) => {
                kept.score += reason.score;
                kept.together = kept.together.saturating_add(reason.together);
            }
            None => self.reasons.push(reason),
        }
    }

    /// Keeps the greatest reasons.
    pub(crate) fn settle(&mut self) {
        self.reasons.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.strategy.cmp(&b.strategy)).then(a.source.cmp(&b.source)));
        self.rest += self.reasons.iter().skip(REASONS_MAX).map(|reason| reason.score).sum::<f32>();
        self.reasons.truncate(REASONS_MAX);
    }
}

/// An item and its score before it is explained.
pub(crate) type Picked = (u32, f32);

/// Keeps the best, best first; of equals the lower number.
pub(crate) fn keep_best(found: &mut Vec<Picked>, count: usize) {
    let order = |a: &Picked, b: &Picked| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if count == 0 {
        return found.clear();
    }
    if found.len() > count {
        found.select_nth_unstable_by(count - 1, order);
        found.truncate(count);
    }
    found.sort_unstable_by(order);
}
