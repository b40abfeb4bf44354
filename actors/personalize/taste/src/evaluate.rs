//! Evaluation on purchases of the past, in time order: before each basket the system puts category pages in order for that shopper
//! (or proposes the whole basket), then it is told what was bought. It learns only from lists that it was asked for before.
//!
//! The category page is the protocol `preqrank`: baskets in the order of (time, basket, tie); pages of the baskets in the last fifth
//! of the rows, one for each category of the basket, kept where `tie(basket, category) % every == 0`; candidates are the items of
//! the category that anybody bought in the 90 days before, at most 400, in the order of their ids; targets are those that were
//! bought; pages of fewer than 5 candidates, without a target or of targets only are left out. `tie(a, b)` is FNV-1a 64 of
//! `a 0x1F b`. Two orders are compared: the system's, and popularity of 28 days half-life.

mod csv;
mod metrics;
mod system;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

pub use csv::{CsvError, Products, Purchases};
pub use metrics::{Quality, tie};
use system::System;

use crate::clock::DAY_MS;
use crate::features::Features;

const CANDIDATE_AGE_S_MAX: i64 = 90 * DAY_MS / 1_000;
const CANDIDATES_MIN: usize = 5;
/// Share of the rows before the first page.
const KNOWN_SHARE: f64 = 0.8;
const POPULARITY_HALF_LIFE_S: f64 = 28.0 * 86_400.0;
/// Places that count.
pub const CUT: usize = 10;

/// What is asked, and what the system may know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Pages kept: one in so many, by hash.
    pub every: u64,
    /// Shoppers kept: one in so many, by hash.
    pub users_mod: u64,
    /// Baskets that are proposed as a whole: one in so many, by hash; 0 for none.
    pub next_every: u64,
    /// Whether the store is known.
    pub stores: bool,
    /// Whether the pages of the first four fifths are asked and learned from as well, from this day on; they do not count.
    pub warm_from_day: Option<i64>,
    /// Strength of personalisation, 0 to 1.
    pub strength: f32,
    /// Whether lists are learned from.
    pub learns: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { every: 12, users_mod: 1, next_every: 0, stores: true, warm_from_day: None, strength: 1.0, learns: true }
    }
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Rows of the shoppers that were kept.
    pub rows: usize,
    /// Category pages by the system and by popularity.
    pub page: [Quality; 2],
    /// Those on which something was bought that the shopper had bought before.
    pub repeat: [Quality; 2],
    /// The others.
    pub novel: [Quality; 2],
    /// Whole baskets by the system and by popularity.
    pub next: [Quality; 2],
    /// The weights in the end.
    pub weights: Option<Features>,
    /// The largest profile, in bytes, and the mean.
    pub profile_bytes: [usize; 2],
}

/// One item's standing in the baseline.
#[derive(Clone, Copy, Debug)]
struct Standing {
    popularity: f64,
    at_s: i64,
}

impl Standing {
    fn at(&self, now_s: i64) -> f64 {
        self.popularity * (-((now_s - self.at_s) as f64) / POPULARITY_HALF_LIFE_S).exp2()
    }
}

/// The state of a run that is no part of the system.
#[derive(Default)]
struct Past {
    /// Items of each category by the rank of their ids' text, with the time of the last purchase.
    category: HashMap<u32, BTreeMap<u32, i64>>,
    standing: HashMap<u32, Standing>,
    bought: HashSet<(u32, u32)>,
}

/// Runs the purchases through a new system. `products` tells what is known of the items; without it nothing is.
pub fn evaluate(purchases: &Purchases, products: Option<&Products>, options: &Options) -> Report {
    let rows = purchases.in_order(options.users_mod);
    let mut report = Report { rows: rows.len(), ..Report::default() };
    let Some(start_s) = rows.get((rows.len() as f64 * KNOWN_SHARE) as usize).map(|row| row.at_s) else { return report };
    let warm_s = options.warm_from_day.map_or(start_s, |day| rows[0].at_s + day * DAY_MS / 1_000);
    let (mut system, mut past) = (System::new(purchases, products, options), Past::default());
    for basket in rows.chunk_by(|a, b| a.basket == b.basket && a.at_s == b.at_s) {
        let (user, now_s) = (basket[0].user, basket[0].at_s);
        if now_s >= start_s.min(warm_s) {
            let counts = now_s >= start_s;
            if counts && options.next_every > 0 && tie(purchases.basket(basket[0].basket), "next").is_multiple_of(options.next_every) {
                next_basket(&mut report, &mut system, &past, basket);
            }
            let categories: BTreeSet<&str> = basket.iter().map(|row| purchases.category(row.category)).collect();
            for category in categories {
                if tie(purchases.basket(basket[0].basket), category).is_multiple_of(options.every.max(1)) {
                    let category = purchases.category_id(category);
                    page(&mut report, &mut system, &past, basket, category, counts);
                }
            }
        }
        for row in basket {
            let before = past.standing.get(&row.item).map_or(0.0, |standing| standing.at(now_s));
            past.standing.insert(row.item, Standing { popularity: before + 1.0, at_s: now_s });
            past.category.entry(row.category).or_default().insert(row.item, now_s);
            past.bought.insert((user, row.item));
            system.buy(row);
        }
    }
    report.weights = Some(system.weights());
    report.profile_bytes = system.profile_bytes();
    report
}

fn page(report: &mut Report, system: &mut System, past: &Past, basket: &[csv::Row], category: u32, counts: bool) {
    let (user, now_s) = (basket[0].user, basket[0].at_s);
    let Some(items) = past.category.get(&category) else { return };
    // Item ids are numbered in the order of their text, so this order is the protocol's.
    let recent = items.iter().filter(|(_, at_s)| now_s - **at_s <= CANDIDATE_AGE_S_MAX).map(|(item, _)| *item);
    let candidates: Vec<u32> = recent.take(crate::CANDIDATES_MAX).collect();
    let bought: BTreeSet<u32> = basket.iter().filter(|row| row.category == category).map(|row| row.item).collect();
    let targets: HashSet<u32> = candidates.iter().copied().filter(|item| bought.contains(item)).collect();
    if candidates.len() < CANDIDATES_MIN || targets.is_empty() || targets.len() == candidates.len() {
        return;
    }
    let order = system.ask(&basket[0], category, &candidates);
    if !counts {
        return;
    }
    let mut popular = candidates.clone();
    let standing = |item: &u32| past.standing.get(item).map_or(0.0, |standing| standing.at(now_s));
    popular.sort_by(|a, b| standing(b).total_cmp(&standing(a)).then(a.cmp(b)));
    let is_repeat = targets.iter().any(|item| past.bought.contains(&(user, *item)));
    let kind = if is_repeat { &mut report.repeat } else { &mut report.novel };
    for (list, qualities) in [&order, &popular].into_iter().zip(report.page.iter_mut().zip(kind)) {
        qualities.0.add(list, &targets, CUT);
        qualities.1.add(list, &targets, CUT);
    }
}

fn next_basket(report: &mut Report, system: &mut System, past: &Past, basket: &[csv::Row]) {
    let now_s = basket[0].at_s;
    let targets: HashSet<u32> = basket.iter().map(|row| row.item).collect();
    let mut popular: Vec<(f64, u32)> = past.standing.iter().map(|(item, standing)| (standing.at(now_s), *item)).collect();
    let order = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if popular.len() > 2 * CUT {
        popular.select_nth_unstable_by(2 * CUT, order);
        popular.truncate(2 * CUT);
    }
    popular.sort_by(order);
    let popular: Vec<u32> = popular.into_iter().take(2 * CUT).map(|(_, item)| item).collect();
    report.next[0].add(&system.again(&basket[0]), &targets, CUT);
    report.next[1].add(&popular, &targets, CUT);
}

#[cfg(test)]
mod tests;
