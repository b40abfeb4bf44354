//! What a query needs while it runs, kept from query to query.

use std::cell::RefCell;

use crate::query::Picked;

/// Working memory of one thread's queries. It grows to the catalog once and is then reused.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Of the part that is being scored.
    pub(crate) scores: Scores,
    /// Of the blend.
    pub(crate) blended: Scores,
    /// Similarity of visits, by place in the index.
    pub(crate) visits: Scores,
    /// Weight of the asking visit's items.
    pub(crate) matched: Scores,
    /// The most similar visits: similarity, number.
    pub(crate) nearest: Vec<(f32, u32)>,
    pub(crate) picked: Vec<Picked>,
    /// The asking history, newest first.
    pub(crate) history: Vec<u32>,
    /// The running visit, newest first.
    pub(crate) visit: Vec<u32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Runs a query with this thread's working memory.
pub fn with_scratch<T>(query: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => query(&mut scratch),
        // A query within a query (from a filter) has its own.
        Err(_) => query(&mut Scratch::default()),
    })
}

/// Sums by number: dense, so that adding is one access, with a list of what was touched, so that clearing costs no more than filling.
#[derive(Debug, Default)]
pub(crate) struct Scores {
    sums: Vec<f32>,
    touched: Vec<u32>,
}

impl Scores {
    pub(crate) fn add(&mut self, number: u32, score: f32) {
        if score <= 0.0 {
            return;
        }
        if number as usize >= self.sums.len() {
            // Beyond the number, so that a growing catalog does not grow this at every query.
            self.sums.resize((number as usize + 1).next_multiple_of(4_096), 0.0);
        }
        let sum = &mut self.sums[number as usize];
        if *sum == 0.0 {
            self.touched.push(number);
        }
        *sum += score;
    }

    pub(crate) fn get(&self, number: u32) -> f32 {
        self.sums.get(number as usize).copied().unwrap_or(0.0)
    }

    /// Multiplies a sum that is there.
    pub(crate) fn scale(&mut self, number: u32, factor: f32) {
        if let Some(sum) = self.sums.get_mut(number as usize) {
            // Not to zero: it would be taken for untouched.
            *sum = (*sum * factor).max(f32::MIN_POSITIVE.min(*sum));
        }
    }

    /// What was touched, in the order of touching.
    pub(crate) fn touched(&self) -> &[u32] {
        &self.touched
    }

    pub(crate) fn clear(&mut self) {
        self.touched.iter().for_each(|number| self.sums[*number as usize] = 0.0);
        self.touched.clear();
    }
}
