//! A day as readers see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::ProductId;
use protocol::reports::{
    ArmName, AttributionRow, DailyReport, Date, DayTotals, Distinct, LostDemand, ProductRow, QueryRow, SuspectedStockOut, leading,
};

use crate::config::Config;
use crate::logic::clusters::clusters;
use crate::logic::day::{Counts, Day, ProductCounts, QueryCounts, RowCounts, RowKey};
use crate::logic::stats::wilson;

/// Rows of each table of a report.
const ROWS_MAX: usize = 200;
/// Queries answered less often say nothing about clicks.
const ANSWERED_MIN: u64 = 20;
/// Days before the reported one that say how often a product is listed and what its views bring.
pub(crate) const HISTORY_DAYS: i32 = 7;
/// Fewer views than this in a row, or before, say nothing about stock.
const STOCK_OUT_VIEWS_MIN: u64 = 5;
/// A run of views without a listing is suspicious when chance makes it this rarely.
const STOCK_OUT_P_MAX: f64 = 0.001;

/// A day's numbers from its counters and its visitors, sessions, buyers and orders.
pub(crate) fn totals(counts: &Counts, [visitors, sessions, buyers, orders]: [Distinct; 4]) -> DayTotals {
    let by = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    DayTotals {
        events: counts.by_kind(),
        bot_events: counts.bot_events,
        visitors,
        sessions,
        buyers,
        orders,
        units: counts.units,
        revenue: counts.revenue.list(),
        refunds: counts.refunds,
        refunded: counts.refunded.list(),
        conversion: by(buyers.count, visitors.count),
        average_order_value: if orders.count > 0 { counts.revenue.scaled(1.0 / orders.count as f64) } else { Vec::new() },
        attributed_revenue: counts.attributed.list(),
        recommendation_revenue: counts.recommended.list(),
        lists: counts.lists,
        searches: counts.searches,
        searches_without_results: counts.lost_searches,
        search_click_rate: by(counts.clicked, counts.answered),
    }
}

/// The whole report. `before`: the days before that are kept, at most [`HISTORY_DAYS`].
pub(crate) fn daily(date: Date, day: &Day, before: &[Arc<Day>], config: &Config) -> DailyReport {
    let queries = Queries::of(day, config);
    DailyReport {
        date,
        utc_offset_minutes: config.utc_offset_minutes,
        totals: totals(&day.counts, day.distinct()),
        products: products(day),
        products_missed_max: day.products.floor(),
        queries: queries.by(|query| query.searches),
        queries_without_results: queries.by(|query| query.without_results),
        queries_rarely_clicked: queries.rarely_clicked(&day.counts),
        lost_demand: lost_demand(day, config),
        stock_outs: stock_outs(day, before),
        attribution: attribution(day.rows.iter().map(|(key, counts)| (&**key, counts))),
    }
}

fn products(day: &Day) -> Vec<ProductRow> {
    let row = |(id, counts): (&Arc<str>, &ProductCounts)| {
        Some(ProductRow {
            product: product_id(id)?,
            views: counts.views,
            clicks: counts.clicks,
            add_to_carts: counts.add_to_carts,
            purchases: counts.purchases,
            units: counts.units,
            revenue: counts.revenue.list(),
            listed: counts.listed,
        })
    };
    let rows: Vec<ProductRow> = day.products.iter().filter_map(row).collect();
    // The best by each measure; a shop's best sellers need not be what is looked at most.
    let mut kept: BTreeMap<ProductId, ProductRow> = BTreeMap::new();
    let measures: [fn(&ProductRow) -> i64; 4] =
        [|row| row.views as i64, |row| row.add_to_carts as i64, |row| row.purchases as i64, |row| leading(&row.revenue)];
    for measure in measures {
        let mut order: Vec<&ProductRow> = rows.iter().filter(|row| measure(row) > 0).collect();
        order.sort_by(|one, other| measure(other).cmp(&measure(one)).then_with(|| one.product.cmp(&other.product)));
        kept.extend(order.into_iter().take(ROWS_MAX).map(|row| (row.product.clone(), row.clone())));
    }
    let mut kept: Vec<ProductRow> = kept.into_values().collect();
    kept.sort_by(|one, other| other.views.cmp(&one.views).then_with(|| other.purchases.cmp(&one.purchases)));
    kept
}

fn product_id(id: &str) -> Option<ProductId> {
    id.parse().ok()
}

/// The queries that enough shoppers asked.
struct Queries(Vec<QueryRow>);

impl Queries {
    fn of(day: &Day, config: &Config) -> Self {
        let asked = day.queries.iter().filter(|(_, counts)| counts.askers.len() >= config.query_shoppers_min);
        let row = |(query, counts): (&Arc<str>, &QueryCounts)| QueryRow {
            query: query.to_string(),
            searches: counts.searches,
            without_results: counts.without_results,
            clicked: counts.clicked,
            answered: counts.answered,
            click_rate: (counts.answered > 0).then(|| counts.clicked as f64 / counts.answered as f64),
        };
        let mut rows: Vec<QueryRow> = asked.map(row).collect();
        rows.sort_by(|one, other| one.query.cmp(&other.query));
        Self(rows)
    }

    /// Those that a measure counts, the most first.
    fn by(&self, measure: impl Fn(&QueryRow) -> u64) -> Vec<QueryRow> {
        let mut rows: Vec<QueryRow> = self.0.iter().filter(|row| measure(row) > 0).cloned().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(measure(row)));
        rows.truncate(ROWS_MAX);
        rows
    }

    /// Those whose click rate's interval ends below the day's rate.
    fn rarely_clicked(&self, counts: &Counts) -> Vec<QueryRow> {
        let usual = counts.clicked as f64 / counts.answered.max(1) as f64;
        let is_rare =
            |row: &QueryRow| row.answered >= ANSWERED_MIN && wilson(row.clicked, row.answered).is_some_and(|rate| rate.high < usual);
        self.by(|row| if is_rare(row) { row.answered } else { 0 })
    }
}

fn lost_demand(day: &Day, config: &Config) -> Vec<LostDemand> {
    let lost = day.queries.iter().filter(|(_, counts)| counts.without_results > 0);
    // Each text by its own askers: that others wish for the same does not make one shopper's words theirs.
    let is_shown = |counts: &QueryCounts| counts.askers.len() >= config.query_shoppers_min;
    let wishes = lost.map(|(query, counts)| (query.to_string(), counts.without_results, is_shown(counts))).collect();
    let mut demand: Vec<LostDemand> = clusters(wishes)
        .into_iter()
        .map(|cluster| LostDemand {
            wish: cluster.examples.first().cloned().unwrap_or_default(),
            is_photo: false,
            searches: cluster.count,
            examples: cluster.examples,
        })
        .collect();
    demand.extend(day.counts.lost_photos.iter().map(|(placement, searches)| LostDemand {
        wish: placement.clone(),
        is_photo: true,
        searches: *searches,
        examples: Vec::new(),
    }));
    demand.sort_by_key(|lost| std::cmp::Reverse(lost.searches));
    demand.truncate(ROWS_MAX);
    demand
}

/// What is unavailable is never listed. So a product that was listed λ times for each view of its page on the days before, and is then
/// viewed u times in a row without being listed once, was probably unavailable meanwhile. Were it available, views and lists came as
/// independent Poisson processes: the next is a view with probability 1 / (1 + λ), so one gap between lists has u views or more with
/// probability (1 + λ)^-u. The reported gap is the longest of the day's, and n lists leave n + 1 of them: by Boole's inequality the
/// longest is as long with probability (n + 1) (1 + λ)^-u at most.
fn stock_outs(day: &Day, before: &[Arc<Day>]) -> Vec<SuspectedStockOut> {
    let suspect = |(id, counts): (&Arc<str>, &ProductCounts)| {
        let (views, add_to_carts) = counts.run_max;
        let earlier: Vec<&ProductCounts> = before.iter().filter_map(|day| day.products.get(id)).collect();
        let viewed: u64 = earlier.iter().map(|counts| counts.views).sum();
        if views < STOCK_OUT_VIEWS_MIN || viewed < STOCK_OUT_VIEWS_MIN {
            return None;
        }
        let listed: u64 = earlier.iter().map(|counts| counts.listed).sum();
        let rate = listed as f64 / viewed as f64;
        let p_value = ((counts.listed + 1) as f64 * (-(views as f64) * rate.ln_1p()).exp()).min(1.0);
        let revenue: Vec<_> = earlier.iter().flat_map(|counts| counts.revenue.scaled(views as f64 / viewed as f64)).collect();
        let revenue_at_risk = protocol::reports::sum(&revenue);
        (p_value < STOCK_OUT_P_MAX)
            .then(|| Some(SuspectedStockOut { product: product_id(id)?, views, add_to_carts, p_value, revenue_at_risk }))?
    };
    let mut found: Vec<SuspectedStockOut> = day.products.iter().filter_map(suspect).collect();
    found.sort_by(|one, other| {
        let cost = |row: &SuspectedStockOut| (leading(&row.revenue_at_risk), row.add_to_carts, row.views);
        cost(other).cmp(&cost(one)).then_with(|| one.product.cmp(&other.product))
    });
    found.truncate(ROWS_MAX);
    found
}

/// Rows of one or several days; no key occurs twice. Most revenue first, then by clicks, impressions and key.
pub(crate) fn attribution<'a>(rows: impl Iterator<Item = (&'a RowKey, &'a RowCounts)>) -> Vec<AttributionRow> {
    let mut counted: Vec<(&RowKey, &RowCounts)> = rows.collect();
    counted.sort_by_key(|(key, _)| *key);
    let reporting: BTreeSet<&str> =
        counted.iter().filter(|(_, counts)| counts.impressions > 0).map(|(key, _)| key.placement.as_str()).collect();
    let mut rows: Vec<AttributionRow> =
        counted.iter().map(|(key, counts)| attribution_row(key, counts, reporting.contains(key.placement.as_str()))).collect();
    rows.sort_by_key(|row| std::cmp::Reverse((leading(&row.revenue), row.clicks, row.impressions)));
    rows
}

fn attribution_row(key: &RowKey, counts: &RowCounts, is_reported: bool) -> AttributionRow {
    let impressions = if is_reported { counts.impressions } else { counts.served };
    let by = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    AttributionRow {
        placement: key.placement.clone(),
        strategy: key.strategy.clone(),
        rules: key.rules.clone(),
        arms: key.arms.iter().map(|(experiment, arm)| ArmName { experiment: experiment.clone(), arm: arm.clone() }).collect(),
        served: counts.served,
        impressions,
        is_reported,
        clicks: counts.clicks,
        click_rate: by(counts.clicks, impressions),
        add_to_carts: counts.add_to_carts,
        purchases: counts.purchases,
        units: counts.units,
        conversion_rate: by(counts.purchases, counts.clicks),
        revenue: counts.revenue.list(),
        revenue_per_1000: if impressions > 0 { counts.revenue.scaled(1000.0 / impressions as f64) } else { Vec::new() },
        view_through_purchases: counts.view_purchases,
        view_through_revenue: counts.view_revenue.list(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(views: u64, listed: u64, run: u64) -> ProductCounts {
        ProductCounts { views, listed, run_max: (run, 1), ..ProductCounts::default() }
    }

    #[test]
    fn a_product_that_is_viewed_and_no_longer_listed_is_suspected() {
        let (mut before, mut day) = (Day::default(), Day::default());
        for (id, past, now) in [
            ("gone", product(100, 50, 0), product(30, 0, 30)),
            ("listed", product(100, 50, 0), product(30, 15, 6)),
            ("seldom listed", product(100, 2, 0), product(30, 0, 30)),
            ("hardly viewed", product(3, 50, 0), product(30, 0, 30)),
            // The longest of 2,501 gaps is that long by chance.
            ("busy", product(5_000, 2_500, 0), product(5_000, 2_500, 20)),
        ] {
            *before.products.bump(id, 1, 10) = past;
            *day.products.bump(id, 1, 10) = now;
        }
        let found = stock_outs(&day, &[Arc::new(before)]);
        assert_eq!(found.iter().map(|row| row.product.as_str()).collect::<Vec<_>>(), ["gone"]);
        assert!((found[0].p_value - 1.5_f64.powi(-30)).abs() < 1e-12 && found[0].views == 30);
        assert!(stock_outs(&day, &[]).is_empty());
    }

    /// Days of a product that is always there: views and lists in the order of a draw. The bound holds for many and for few.
    #[test]
    fn a_product_that_is_always_available_is_hardly_ever_suspected() {
        let mut random = 1_u64;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let mut before = Day::default();
        *before.products.bump("p", 1, 10) = product(10_000, 5_000, 0);
        let before = [Arc::new(before)];
        for (views, days) in [(100, 1_000), (5_000, 100)] {
            let mut suspected = 0;
            for _ in 0..days {
                let mut day = Day::default();
                let counts = day.products.bump("p", 1, 10);
                while counts.views < views {
                    if draw(3) == 0 { counts.list() } else { counts.view() }
                }
                suspected += stock_outs(&day, &before).len();
            }
            assert!(suspected <= 3, "{suspected} of {days} days with {views} views");
        }
    }

    #[test]
    fn words_of_few_shoppers_are_not_shown() {
        let (mut day, config) = (Day::default(), Config { query_shoppers_min: 2, ..Config::default() });
        for (query, askers, lost) in [
            ("shoes", vec![1, 2], 1),
            ("my own name", vec![1], 1),
            ("red shirt", vec![3], 4),
            ("red shirts", vec![4, 5], 2),
            // Two ask for the same, each in words of their own.
            ("rolf garden hose", vec![6], 1),
            ("rolfs garden hoses", vec![7], 1),
        ] {
            let counts = day.queries.bump(query, 1, 10);
            (counts.searches, counts.without_results, counts.askers) = (5, lost, askers);
        }
        let report = daily(Date::of_day(0), &day, &[], &config);
        assert_eq!(report.queries.iter().map(|row| row.query.as_str()).collect::<Vec<_>>(), ["red shirts", "shoes"]);
        let wishes: Vec<(&str, u64, &[String])> =
            report.lost_demand.iter().map(|lost| (lost.wish.as_str(), lost.searches, &lost.examples[..])).collect();
        assert_eq!(wishes, [("red shirts", 6, &["red shirts".to_owned()][..]), ("shoes", 1, &["shoes".to_owned()][..])]);
    }

    #[test]
    fn impressions_are_those_reported_where_the_placement_reports_any() {
        let key = |placement: &str, strategy: &str| RowKey {
            placement: placement.into(),
            strategy: strategy.into(),
            rules: vec![],
            arms: vec![],
        };
        let rows = [
            (key("home", "a"), RowCounts { served: 10, impressions: 4, clicks: 1, ..RowCounts::default() }),
            (key("home", "b"), RowCounts { served: 10, ..RowCounts::default() }),
            (key("cart", "a"), RowCounts { served: 10, clicks: 1, ..RowCounts::default() }),
        ];
        let found = attribution(rows.iter().map(|(key, counts)| (key, counts)));
        let shown: Vec<(&str, &str, u64, bool)> =
            found.iter().map(|row| (row.placement.as_str(), row.strategy.as_str(), row.impressions, row.is_reported)).collect();
        assert_eq!(shown, [("cart", "a", 10, false), ("home", "a", 4, true), ("home", "b", 0, true)]);
        assert_eq!((found[1].click_rate, found[2].click_rate), (Some(0.25), None));
    }
}
