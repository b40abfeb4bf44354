//! Rows of reports as CSV (RFC 4180, with a header line).

use domain::Money;

use super::{AttributionRow, CategoryRow, DaySummary, LostDemand, ProductRow, QueryRow, SuspectedStockOut, sum};

/// A row of a table.
pub trait CsvRow {
    /// The header.
    const COLUMNS: &'static [&'static str];
    /// One cell a column, not yet quoted.
    fn cells(&self) -> Vec<String>;
}

/// A table with its header. Numbers have a point, money has an amount column and a currency column.
pub fn to_csv<R: CsvRow>(rows: &[R]) -> String {
    let mut text = R::COLUMNS.join(",");
    text.push_str("\r\n");
    for row in rows {
        let cells: Vec<String> = row.cells().iter().map(|cell| quoted(cell)).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

fn quoted(cell: &str) -> String {
    // A cell that begins like this is a formula to a spreadsheet, and what shoppers typed must not be one. A number is none.
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
    let cell = if is_formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

fn number(value: impl ToString) -> String {
    value.to_string()
}

fn rate(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.6}")).unwrap_or_default()
}

/// Amount and currency of the largest amount, then the others as text.
fn money(amounts: &[Money]) -> [String; 3] {
    let first = amounts.first();
    let others: Vec<String> = amounts.iter().skip(1).map(ToString::to_string).collect();
    [
        first.map(Money::amount).unwrap_or_default(),
        first.map(|money| money.currency.as_str().to_owned()).unwrap_or_default(),
        others.join("; "),
    ]
}

impl CsvRow for DaySummary {
    const COLUMNS: &'static [&'static str] = &[
        "date",
        "visitors",
        "sessions",
        "buyers",
        "orders",
        "units",
        "revenue",
        "currency",
        "revenue_other",
        "refunds",
        "refunded",
        "refunded_currency",
        "refunded_other",
        "conversion",
        "attributed_revenue",
        "attributed_currency",
        "attributed_other",
        "recommendation_revenue",
        "recommendation_currency",
        "recommendation_other",
        "lists",
        "searches",
        "searches_without_results",
        "search_click_rate",
        "bot_events",
    ];

    fn cells(&self) -> Vec<String> {
        let totals = &self.totals;
        let mut cells = vec![self.date.to_string()];
        cells.extend([totals.visitors, totals.sessions, totals.buyers, totals.orders].map(|distinct| number(distinct.count)));
        cells.push(number(totals.units));
        cells.extend(money(&totals.revenue));
        cells.push(number(totals.refunds));
        cells.extend(money(&totals.refunded));
        cells.push(rate(totals.conversion));
        cells.extend(money(&totals.attributed_revenue));
        cells.extend(money(&totals.recommendation_revenue));
        cells.extend([totals.lists, totals.searches, totals.searches_without_results].map(number));
        cells.push(rate(totals.search_click_rate));
        cells.push(number(totals.bot_events));
        cells
    }
}

impl CsvRow for ProductRow {
    const COLUMNS: &'static [&'static str] =
        &["product", "views", "clicks", "add_to_carts", "purchases", "units", "listed", "revenue", "currency", "revenue_other"];

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.product.as_str().to_owned()];
        cells.extend([self.views, self.clicks, self.add_to_carts, self.purchases, self.units, self.listed].map(number));
        cells.extend(money(&self.revenue));
        cells
    }
}

impl CsvRow for CategoryRow {
    const COLUMNS: &'static [&'static str] =
        &["category", "views", "add_to_carts", "purchases", "units", "revenue", "currency", "revenue_other"];

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.category.clone()];
        cells.extend([self.views, self.add_to_carts, self.purchases, self.units].map(number));
        cells.extend(money(&self.revenue));
        cells
    }
}

impl CsvRow for QueryRow {
    const COLUMNS: &'static [&'static str] = &["query", "searches", "without_results", "answered", "clicked", "click_rate"];

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.query.clone()];
        cells.extend([self.searches, self.without_results, self.answered, self.clicked].map(number));
        cells.push(rate(self.click_rate));
        cells
    }
}

impl CsvRow for LostDemand {
    const COLUMNS: &'static [&'static str] = &["wish", "is_photo", "searches", "examples"];

    fn cells(&self) -> Vec<String> {
        vec![self.wish.clone(), number(self.is_photo), number(self.searches), self.examples.join("; ")]
    }
}

impl CsvRow for SuspectedStockOut {
    const COLUMNS: &'static [&'static str] =
        &["product", "views", "add_to_carts", "p_value", "revenue_at_risk", "currency", "revenue_other"];

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.product.as_str().to_owned(), number(self.views), number(self.add_to_carts)];
        cells.push(format!("{:.3e}", self.p_value));
        cells.extend(money(&self.revenue_at_risk));
        cells
    }
}

impl CsvRow for AttributionRow {
    const COLUMNS: &'static [&'static str] = &[
        "placement",
        "strategy",
        "rules",
        "arms",
        "served",
        "impressions",
        "is_reported",
        "clicks",
        "click_rate",
        "add_to_carts",
        "purchases",
        "units",
        "conversion_rate",
        "revenue",
        "currency",
        "revenue_other",
        "revenue_per_1000",
        "view_through_purchases",
        "view_through_revenue",
    ];

    fn cells(&self) -> Vec<String> {
        let arms: Vec<String> = self.arms.iter().map(|name| format!("{}={}", name.experiment, name.arm)).collect();
        let mut cells = vec![self.placement.clone(), self.strategy.clone(), self.rules.join("; "), arms.join("; ")];
        cells.extend([number(self.served), number(self.impressions), number(self.is_reported), number(self.clicks)]);
        cells.push(rate(self.click_rate));
        cells.extend([self.add_to_carts, self.purchases, self.units].map(number));
        cells.push(rate(self.conversion_rate));
        cells.extend(money(&self.revenue));
        let [amount, ..] = money(&self.revenue_per_1000);
        cells.extend([amount, number(self.view_through_purchases)]);
        let [amount, ..] = money(&sum(&self.view_through_revenue));
        cells.push(amount);
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::Date;

    #[test]
    fn cells_by_table() {
        for (cell, shown) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=1+1", "'=1+1"),
            ("@cmd", "'@cmd"),
            ("-1.5", "-1.5"),
            ("-cmd", "'-cmd"),
            ("two\nlines", "\"two\nlines\""),
        ] {
            assert_eq!(quoted(cell), shown, "{cell}");
        }
    }

    #[test]
    fn every_row_has_a_cell_for_each_column() {
        fn check<R: CsvRow>(row: &R) {
            assert_eq!(row.cells().len(), R::COLUMNS.len(), "{:?}", R::COLUMNS);
        }
        let product = "p".parse().expect("an id");
        check(&DaySummary { date: Date::of_day(0), totals: Default::default() });
        check(&ProductRow { product, views: 1, clicks: 1, add_to_carts: 1, purchases: 1, units: 1, revenue: vec![], listed: 0 });
        check(&CategoryRow { category: "c".into(), views: 1, add_to_carts: 1, purchases: 1, units: 1, revenue: vec![] });
        check(&QueryRow { query: "q".into(), searches: 1, without_results: 0, clicked: 0, answered: 0, click_rate: None });
        check(&LostDemand { wish: "w".into(), is_photo: false, searches: 1, examples: vec![] });
        let product = "p".parse().expect("an id");
        check(&SuspectedStockOut { product, views: 1, add_to_carts: 0, p_value: 0.1, revenue_at_risk: vec![] });
        check(&AttributionRow {
            placement: "home".into(),
            strategy: "s".into(),
            rules: vec![],
            arms: vec![],
            served: 1,
            impressions: 1,
            is_reported: false,
            clicks: 0,
            click_rate: None,
            add_to_carts: 0,
            purchases: 0,
            units: 0,
            conversion_rate: None,
            revenue: vec![],
            revenue_per_1000: vec![],
            view_through_purchases: 0,
            view_through_revenue: vec![],
        });
    }
}
