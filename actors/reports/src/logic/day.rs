//! What is counted of one day.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bincode::{Decode, Encode};
use domain::{Currency, EventKind, Money};
use protocol::reports::Distinct;

use crate::config::Config;
use crate::logic::distinct::DistinctSet;
use crate::logic::top::Top;

/// Currencies in one sum; amounts in further ones are left out.
const CURRENCIES_MAX: usize = 8;
/// Placements of photo searches in one day; further ones are counted as [`OTHER`].
const PHOTO_PLACEMENTS_MAX: usize = 32;
/// What is over a bound stands together under this name.
pub(crate) const OTHER: &str = "(other)";
/// Shoppers of one query that are told apart.
pub(crate) const QUERY_SHOPPERS_MAX: usize = 8;
/// Different shoppers, sessions or buyers of a day that are counted exactly.
const SHOPPERS_EXACT_MAX: usize = 4_096;
/// Different orders of a day that are counted exactly.
const ORDERS_EXACT_MAX: usize = 16_384;

/// Amounts by currency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Amounts(Vec<(Currency, i64)>);

impl Amounts {
    pub(crate) fn add(&mut self, money: Money) {
        if let Some((_, total)) = self.0.iter_mut().find(|(currency, _)| *currency == money.currency) {
            *total = total.saturating_add(money.amount_e4);
        } else if self.0.len() < CURRENCIES_MAX {
            self.0.push((money.currency, money.amount_e4));
        }
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(currency, amount_e4)| self.add(Money { amount_e4: *amount_e4, currency: *currency }));
    }

    /// The largest first.
    pub(crate) fn list(&self) -> Vec<Money> {
        self.scaled(1.0)
    }

    /// Every amount by a factor, the largest first.
    pub(crate) fn scaled(&self, factor: f64) -> Vec<Money> {
        let scale = |amount: i64| if factor == 1.0 { amount } else { (amount as f64 * factor).round() as i64 };
        let mut list: Vec<Money> =
            self.0.iter().map(|(currency, amount)| Money { amount_e4: scale(*amount), currency: *currency }).collect();
        list.sort_by(|one, other| other.amount_e4.cmp(&one.amount_e4).then_with(|| one.currency.cmp(&other.currency)));
        list
    }
}

/// The plain counters.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub(crate) struct Counts {
    /// By the kind's place in [`EventKind::ALL`].
    events: Vec<u64>,
    pub(crate) bot_events: u64,
    pub(crate) units: u64,
    pub(crate) revenue: Amounts,
    pub(crate) refunds: u64,
    pub(crate) refunded: Amounts,
    pub(crate) attributed: Amounts,
    pub(crate) recommended: Amounts,
    pub(crate) lists: u64,
    pub(crate) searches: u64,
    pub(crate) lost_searches: u64,
    pub(crate) answered: u64,
    pub(crate) clicked: u64,
    /// Photo searches that found nothing, by placement.
    pub(crate) lost_photos: BTreeMap<String, u64>,
}

impl Counts {
    pub(crate) fn event(&mut self, kind: EventKind) {
        let at = kind as usize;
        if self.events.len() <= at {
            self.events.resize(at + 1, 0);
        }
        self.events[at] += 1;
    }

    /// The kinds that occurred, by name.
    pub(crate) fn by_kind(&self) -> BTreeMap<&'static str, u64> {
        EventKind::ALL.into_iter().zip(&self.events).filter(|(_, count)| **count > 0).map(|(kind, count)| (kind.name(), *count)).collect()
    }

    pub(crate) fn lost_photo(&mut self, placement: &str) {
        let is_over = self.lost_photos.len() >= PHOTO_PLACEMENTS_MAX && !self.lost_photos.contains_key(placement);
        *self.lost_photos.entry(if is_over { OTHER } else { placement }.to_owned()).or_default() += 1;
    }
}

/// What happened to one product.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub(crate) struct ProductCounts {
    pub(crate) views: u64,
    pub(crate) clicks: u64,
    pub(crate) add_to_carts: u64,
    pub(crate) purchases: u64,
    pub(crate) units: u64,
    pub(crate) revenue: Amounts,
    /// Times in an answered list, since the product has its row.
    pub(crate) listed: u64,
    /// Views and carts since it was last listed, and the longest such run.
    pub(crate) run: (u64, u64),
    pub(crate) run_max: (u64, u64),
}

impl ProductCounts {
    pub(crate) fn view(&mut self) {
        self.views += 1;
        self.run.0 += 1;
        self.run_max = self.run_max.max(self.run);
    }

    pub(crate) fn add_to_cart(&mut self) {
        self.add_to_carts += 1;
        self.run.1 += 1;
        self.run_max = self.run_max.max(self.run);
    }

    pub(crate) fn list(&mut self) {
        self.listed += 1;
        self.run = (0, 0);
    }
}

/// What became of one query.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub(crate) struct QueryCounts {
    pub(crate) searches: u64,
    pub(crate) without_results: u64,
    pub(crate) answered: u64,
    pub(crate) clicked: u64,
    /// Marks of the first different shoppers, at most [`QUERY_SHOPPERS_MAX`].
    pub(crate) askers: Vec<u32>,
}

impl QueryCounts {
    pub(crate) fn ask(&mut self, asker: u64) {
        let mark = mark(asker);
        if self.askers.len() < QUERY_SHOPPERS_MAX && !self.askers.contains(&mark) {
            self.askers.push(mark);
        }
    }
}

/// Half of a shopper's hash: enough to tell a few apart.
pub(crate) fn mark(shopper: u64) -> u32 {
    shopper as u32
}

/// What tells attribution rows apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub(crate) struct RowKey {
    pub(crate) placement: String,
    pub(crate) strategy: String,
    /// Sorted.
    pub(crate) rules: Vec<String>,
    /// Experiment and arm, sorted.
    pub(crate) arms: Vec<(String, String)>,
}

impl RowKey {
    fn other() -> Self {
        Self { placement: OTHER.into(), strategy: OTHER.into(), rules: Vec::new(), arms: Vec::new() }
    }
}

/// What lists of one kind brought.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub(crate) struct RowCounts {
    pub(crate) served: u64,
    pub(crate) impressions: u64,
    pub(crate) clicks: u64,
    pub(crate) add_to_carts: u64,
    pub(crate) purchases: u64,
    pub(crate) units: u64,
    pub(crate) revenue: Amounts,
    pub(crate) view_purchases: u64,
    pub(crate) view_revenue: Amounts,
}

impl RowCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.served += other.served;
        self.impressions += other.impressions;
        self.clicks += other.clicks;
        self.add_to_carts += other.add_to_carts;
        self.purchases += other.purchases;
        self.units += other.units;
        self.revenue.add_all(&other.revenue);
        self.view_purchases += other.view_purchases;
        self.view_revenue.add_all(&other.view_revenue);
    }
}

/// One day.
#[derive(Clone, Debug, Default)]
pub(crate) struct Day {
    pub(crate) counts: Counts,
    pub(crate) visitors: DistinctSet,
    pub(crate) sessions: DistinctSet,
    pub(crate) buyers: DistinctSet,
    pub(crate) orders: DistinctSet,
    pub(crate) products: Top<ProductCounts>,
    pub(crate) queries: Top<QueryCounts>,
    pub(crate) rows: HashMap<Arc<RowKey>, RowCounts>,
}

impl Day {
    pub(crate) fn visitor(&mut self, hash: u64) {
        self.visitors.insert(hash, SHOPPERS_EXACT_MAX);
    }

    pub(crate) fn session(&mut self, hash: u64) {
        self.sessions.insert(hash, SHOPPERS_EXACT_MAX);
    }

    pub(crate) fn buyer(&mut self, hash: u64) {
        self.buyers.insert(hash, SHOPPERS_EXACT_MAX);
    }

    /// Whether it is new, as far as is still known one by one.
    pub(crate) fn order(&mut self, hash: u64) -> bool {
        self.orders.insert(hash, ORDERS_EXACT_MAX)
    }

    /// The counts of a row; those of [`OTHER`] when the day has as many as it may.
    pub(crate) fn row(&mut self, key: &Arc<RowKey>, config: &Config) -> &mut RowCounts {
        let is_over = self.rows.len() >= config.attribution_rows_max && !self.rows.contains_key(key);
        let key = if is_over { Arc::new(RowKey::other()) } else { Arc::clone(key) };
        self.rows.entry(key).or_default()
    }

    /// Visitors, sessions, buyers, orders.
    pub(crate) fn distinct(&self) -> [Distinct; 4] {
        [&self.visitors, &self.sessions, &self.buyers, &self.orders].map(DistinctSet::count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_where_they_are_counted() {
        let mut counts = Counts::default();
        for (at, kind) in EventKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            (0..=at).for_each(|_| counts.event(kind));
        }
        assert!(EventKind::ALL.into_iter().enumerate().all(|(at, kind)| counts.by_kind()[kind.name()] == at as u64 + 1));
    }

    #[test]
    fn sums_and_rows_are_bounded() {
        let mut amounts = Amounts::default();
        for letter in b'A'..=b'Z' {
            let code = String::from_utf8(vec![b'A', b'A', letter]).expect("letters");
            amounts.add(Money { amount_e4: i64::MAX, currency: code.parse().expect("a currency") });
            amounts.add(Money { amount_e4: 1, currency: code.parse().expect("a currency") });
        }
        assert_eq!(amounts.list().len(), CURRENCIES_MAX);
        let (mut day, config) = (Day::default(), Config { attribution_rows_max: 10, ..Config::default() });
        for placement in 0..50 {
            let key = RowKey { placement: placement.to_string(), ..RowKey::other() };
            day.row(&Arc::new(key), &config).served += 1;
            day.counts.lost_photo(&placement.to_string());
        }
        assert_eq!((day.rows.len(), day.rows[&RowKey::other()].served), (11, 40));
        assert_eq!(day.counts.lost_photos.len(), PHOTO_PLACEMENTS_MAX + 1);
    }
}
