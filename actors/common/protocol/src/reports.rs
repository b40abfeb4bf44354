//! Mocha: read models fed from the event log, so that reports answer in milliseconds and never touch the serving path.
//!
//! Everything here can be serialised (`snake_case`, money as a decimal string plus currency) and, row by row, be written as CSV.

mod csv;
mod date;
mod experiment;
mod lab;

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{Money, ProductId};
use kit::Progress;
use serde::Serialize;

use crate::experiments::Experiment;

pub use csv::{CsvRow, to_csv};
pub use date::{Date, DateError};
pub use experiment::{ArmResult, Difference, Estimate, ExperimentResult, SampleRatio};
pub use lab::{DEPTH_MAX, LabError, PageDifference, PolicyEstimate, ReplayLab, ReplayQuestion, ReplayReport};

/// The runtime name.
pub const NAME: &str = "mocha";

/// What Mocha is asked. She follows the event log by herself.
#[derive(Debug)]
pub enum ReportsMsg {
    /// For the actor's own tail of the event log.
    Tick,
}

/// A number of different things: exact while there are few, estimated (standard error 1.6 %) above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Distinct {
    /// How many.
    pub count: u64,
    /// Whether that is exact.
    pub is_exact: bool,
}

/// One day in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DayTotals {
    /// Events by kind, robots' left out.
    pub events: BTreeMap<&'static str, u64>,
    /// Events of robots: in no other number.
    pub bot_events: u64,
    /// Different shoppers.
    pub visitors: Distinct,
    /// Different sessions.
    pub sessions: Distinct,
    /// Different shoppers who bought.
    pub buyers: Distinct,
    /// Different orders.
    pub orders: Distinct,
    /// Pieces sold.
    pub units: u64,
    /// What was sold, one amount a currency, largest first.
    pub revenue: Vec<Money>,
    /// Refund events.
    pub refunds: u64,
    /// What was given back, one amount a currency.
    pub refunded: Vec<Money>,
    /// Buyers among visitors; `None` without visitors.
    pub conversion: Option<f64>,
    /// Revenue by orders, one amount a currency; empty without orders.
    pub average_order_value: Vec<Money>,
    /// Sold through a click (or a cart) in a list of any placement, within the window.
    pub attributed_revenue: Vec<Money>,
    /// Of that, in lists that answered no search.
    pub recommendation_revenue: Vec<Money>,
    /// Lists answered.
    pub lists: u64,
    /// Searches: answered here, or reported by the shop and answered elsewhere.
    pub searches: u64,
    /// Searches that found nothing that could be shown.
    pub searches_without_results: u64,
    /// Searches with a click, by all searches that were answered here.
    pub search_click_rate: Option<f64>,
}

/// A day in a series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DaySummary {
    /// Which day.
    pub date: Date,
    /// Its numbers.
    #[serde(flatten)]
    pub totals: DayTotals,
}

/// What happened to one product.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProductRow {
    /// Which product.
    pub product: ProductId,
    /// Its page was seen.
    pub views: u64,
    /// It was clicked in a list.
    pub clicks: u64,
    /// Put into carts.
    pub add_to_carts: u64,
    /// Events that bought it.
    pub purchases: u64,
    /// Pieces bought.
    pub units: u64,
    /// Paid for it, one amount a currency.
    pub revenue: Vec<Money>,
    /// Times it stood in an answered list.
    pub listed: u64,
}

/// What happened in one category.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CategoryRow {
    /// Its name, as the caller gave it.
    pub category: String,
    /// Page views of its products.
    pub views: u64,
    /// Put into carts.
    pub add_to_carts: u64,
    /// Events that bought from it.
    pub purchases: u64,
    /// Pieces bought.
    pub units: u64,
    /// Paid, one amount a currency.
    pub revenue: Vec<Money>,
}

/// What was searched for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryRow {
    /// The query in lower case, with single blanks.
    pub query: String,
    /// How often.
    pub searches: u64,
    /// How often nothing was found.
    pub without_results: u64,
    /// Answers of this house with at least one click.
    pub clicked: u64,
    /// Answers of this house.
    pub answered: u64,
    /// `clicked` by `answered`; `None` where this house answered nothing.
    pub click_rate: Option<f64>,
}

/// A wish that nothing in stock answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LostDemand {
    /// The most frequent way to say it; a photo search's placement.
    pub wish: String,
    /// Whether it was asked with a photo.
    pub is_photo: bool,
    /// How often it was asked, in all ways to say it.
    pub searches: u64,
    /// Ways to say it, most frequent first.
    pub examples: Vec<String>,
}

/// A product that shoppers came for while no list showed it any more.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SuspectedStockOut {
    /// Which product.
    pub product: ProductId,
    /// Views of its page in a row while no list showed it.
    pub views: u64,
    /// Put into carts meanwhile.
    pub add_to_carts: u64,
    /// With which probability, at most, so many views go by unlisted anywhere in its day while it is available: by how often it was
    /// listed before, over all gaps between the day's lists.
    pub p_value: f64,
    /// What as many views brought on the days before, one amount a currency.
    pub revenue_at_risk: Vec<Money>,
}

/// One experiment's arm, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ArmName {
    /// The experiment.
    pub experiment: String,
    /// The arm.
    pub arm: String,
}

/// What lists of one kind brought: one row for each combination of placement, strategy, rules and arms, so that sums over rows are right.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttributionRow {
    /// Where the lists stood.
    pub placement: String,
    /// What proposed the products.
    pub strategy: String,
    /// The rules that changed the lists.
    pub rules: Vec<String>,
    /// The experiments' arms in force.
    pub arms: Vec<ArmName>,
    /// Products in answered lists.
    pub served: u64,
    /// Products seen: reported by impression events, or `served` where the placement reports none.
    pub impressions: u64,
    /// Whether `impressions` were reported.
    pub is_reported: bool,
    /// Products clicked, once a list.
    pub clicks: u64,
    /// `clicks` by `impressions`.
    pub click_rate: Option<f64>,
    /// Put into carts within the window after a click.
    pub add_to_carts: u64,
    /// Bought within the window after a click.
    pub purchases: u64,
    /// Pieces of them.
    pub units: u64,
    /// `purchases` by `clicks`.
    pub conversion_rate: Option<f64>,
    /// Paid for them, one amount a currency.
    pub revenue: Vec<Money>,
    /// `revenue` for 1,000 impressions.
    pub revenue_per_1000: Vec<Money>,
    /// Bought within the window by somebody who was shown the product and clicked it in no list.
    pub view_through_purchases: u64,
    /// Paid for those.
    pub view_through_revenue: Vec<Money>,
}

/// Everything about one day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DailyReport {
    /// Which day.
    pub date: Date,
    /// The fixed offset from UTC in which it begins, in minutes.
    pub utc_offset_minutes: i32,
    /// Its numbers.
    pub totals: DayTotals,
    /// Most viewed first.
    pub products: Vec<ProductRow>,
    /// How many events at most a product that is not listed may have had (weighted: a view 1, a click 1, a cart 5, a purchase 25).
    pub products_missed_max: u64,
    /// Most searched first. Queries of fewer shoppers than the setting are left out here and below: one person's words are nobody else's.
    pub queries: Vec<QueryRow>,
    /// Queries that found nothing, most frequent first.
    pub queries_without_results: Vec<QueryRow>,
    /// Queries that were answered and clicked significantly less than the day's searches, most frequent first.
    pub queries_rarely_clicked: Vec<QueryRow>,
    /// Wishes that nothing in stock answered, most frequent first.
    pub lost_demand: Vec<LostDemand>,
    /// Products that shoppers came for while no list showed them, costliest first.
    pub stock_outs: Vec<SuspectedStockOut>,
    /// What lists brought, most revenue first.
    pub attribution: Vec<AttributionRow>,
}

impl DailyReport {
    /// The categories of the listed products, most revenue first. `category_of` gives a product's category, where the caller knows it.
    pub fn categories(&self, category_of: impl Fn(&ProductId) -> Option<String>) -> Vec<CategoryRow> {
        let mut rows: BTreeMap<String, CategoryRow> = BTreeMap::new();
        for product in &self.products {
            let Some(category) = category_of(&product.product) else { continue };
            let empty = CategoryRow { category: category.clone(), views: 0, add_to_carts: 0, purchases: 0, units: 0, revenue: Vec::new() };
            let row = rows.entry(category).or_insert(empty);
            row.views += product.views;
            row.add_to_carts += product.add_to_carts;
            row.purchases += product.purchases;
            row.units += product.units;
            row.revenue = sum(row.revenue.iter().chain(&product.revenue));
        }
        let mut rows: Vec<CategoryRow> = rows.into_values().collect();
        rows.sort_by_key(|row| std::cmp::Reverse((leading(&row.revenue), row.purchases, row.views)));
        rows
    }
}

/// Amounts by currency, largest first.
pub fn sum<'a>(amounts: impl IntoIterator<Item = &'a Money>) -> Vec<Money> {
    let mut by_currency = BTreeMap::<_, i64>::new();
    for money in amounts {
        let total = by_currency.entry(money.currency).or_default();
        *total = total.saturating_add(money.amount_e4);
    }
    let mut amounts: Vec<Money> = by_currency.into_iter().map(|(currency, amount_e4)| Money { amount_e4, currency }).collect();
    amounts.sort_by_key(|money| std::cmp::Reverse(money.amount_e4));
    amounts
}

/// The largest amount, for an order among rows; 0 for none.
pub fn leading(amounts: &[Money]) -> i64 {
    amounts.first().map_or(0, |money| money.amount_e4)
}

/// Reads on the caller's own thread. A day that is not in memory costs one read of the store: not for async threads.
pub trait ReportReader: Send + Sync {
    /// Everything about one day; `None` where nothing happened or the day is no longer kept.
    fn daily(&self, date: Date) -> Option<Arc<DailyReport>>;
    /// The kept days from `from` to `to`, both included, in order.
    fn days(&self, from: Date, to: Date) -> Vec<DaySummary>;
    /// What lists brought from `from` to `to`, both included, most revenue first. Reads each day that is not in memory.
    fn attribution(&self, from: Date, to: Date) -> Vec<AttributionRow>;
    /// The experiments that anybody was exposed to, in order of their names.
    fn experiments(&self) -> Vec<String>;
    /// An experiment's results; its definition says which arm is the control and what the split should be. `None` before the first exposure.
    fn experiment(&self, definition: &Experiment) -> Option<ExperimentResult>;
    /// The first and the last day that are kept.
    fn reach(&self) -> Option<(Date, Date)>;
    /// The day of a time in milliseconds since the Unix epoch.
    fn date_of(&self, at_ms: i64) -> Date;
    /// Up to which offset of the event log these answers go.
    fn progress(&self) -> Progress;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(amount: i64, currency: &str) -> Money {
        Money { amount_e4: amount * 10_000, currency: currency.parse().expect("a currency") }
    }

    #[test]
    fn amounts_add_up_by_currency() {
        let total = sum(&[money(3, "EUR"), money(9, "CHF"), money(4, "EUR")]);
        assert_eq!(total, [money(9, "CHF"), money(7, "EUR")]);
        assert_eq!((leading(&total), leading(&[])), (90_000, 0));
    }

    #[test]
    fn rows_become_json_and_csv_with_decimal_money() {
        let row =
            CategoryRow { category: "Shoes".into(), views: 1, add_to_carts: 0, purchases: 0, units: 0, revenue: vec![money(3, "EUR")] };
        let json = serde_json::to_value(&row).expect("JSON");
        assert_eq!(json["revenue"], serde_json::json!([{"amount": "3.00", "currency": "EUR"}]));
        let table = to_csv(&[row]);
        assert_eq!(table.lines().nth(1), Some("Shoes,1,0,0,0,3.00,EUR,"));
    }
}
