//! The merchant's daily report: one page that reads well on a screen and on paper.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Html;
use domain::money::MONEY_SCALE;
use domain::{Money, ProductId};
use maud::{Markup, html};
use protocol::reports::{AttributionRow, DailyReport, DaySummary, QueryRow};
use serde::Deserialize;

use crate::extract::Params;
use crate::pages::layout::{Frame, page};
use crate::pages::parts::{address, thousands};
use crate::problem::Answer;
use crate::routes::{App, reports};
use crate::schema::path_segment;

/// Rows of each table: a page of paper, not a dump; the rest is in JSON and CSV.
const ROWS: usize = 15;
/// Days in the strip above.
const STRIP_DAYS: i32 = 14;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PageParams {
    date: Option<String>,
}

/// The report of a day; without a date the last one.
pub(crate) async fn daily(State(app): State<App>, Params(params): Params<PageParams>) -> Answer<Html<String>> {
    let report = reports::day(&app, params.date.as_deref()).await?;
    let strip = match &report {
        Some(report) => {
            let (reader, to) = (app.house.reports.clone(), report.date);
            tokio::task::spawn_blocking(move || reader.days(to.plus(1 - STRIP_DAYS), to)).await.unwrap_or_default()
        }
        None => Vec::new(),
    };
    let main = html! {
        div .report {
            @match &report {
                Some(report) => (whole(&app, report, &strip)),
                None => {
                    div .empty {
                        h1 { "No report yet" }
                        p { "Send the shop's events to " code { "POST /v1/events" } "; the day's numbers are here from the first one on." }
                    }
                }
            }
        }
    };
    let title = report.as_ref().map_or_else(|| "Report · Gotham".to_owned(), |report| format!("{} · Gotham report", report.date));
    Ok(page(Frame { title: &title, place: "console", module: None, header: html! { span .spacer {} } }, main))
}

fn whole(app: &App, report: &DailyReport, strip: &[DaySummary]) -> Markup {
    let totals = &report.totals;
    let catalog = app.house.catalog.snapshot();
    let title = |id: &ProductId| catalog.get(id.as_str()).map_or_else(|| id.to_string(), |known| known.product.title.clone());
    let category = |id: &ProductId| catalog.get(id.as_str())?.product.categories.first().map(ToString::to_string);
    let day = |days: i32| address("/console/reports", &[("date".to_owned(), report.date.plus(days).to_string())]);
    let csv = format!("/v1/reports/daily?date={}&format=csv", report.date);
    let tile = |name: &str, value: String| html! { div .tile { dt { (name) } dd { (value) } } };
    html! {
        div .heading {
            div { h1 { "The day " (report.date) } p .note { "Times are UTC" (offset(report.utc_offset_minutes)) } }
            p .chips .screen { a href=(day(-1)) rel="prev" { "Day before" } a href=(day(1)) rel="next" { "Day after" } a href=(csv) { "CSV" } }
        }
        dl .tiles {
            (tile("Revenue", amounts(&totals.revenue)))
            (tile("Through recommendations", amounts(&totals.recommendation_revenue)))
            (tile("Orders", thousands(totals.orders.count as usize)))
            (tile("Visitors", thousands(totals.visitors.count as usize)))
            (tile("Conversion", percent(totals.conversion)))
            (tile("Average order", amounts(&totals.average_order_value)))
            (tile("Searches without result", format!("{} of {}", thousands(totals.searches_without_results as usize), thousands(totals.searches as usize))))
            (tile("Refunds", amounts(&totals.refunded)))
        }
        (bars(strip))
        (table("Products", &["Product", "Views", "Carts", "Sold", "Revenue"], report.products.iter().take(ROWS).map(|row| html! {
            td { a href=(format!("/store/p/{}", path_segment(row.product.as_str()))) { (title(&row.product)) } }
            (number(row.views)) (number(row.add_to_carts)) (number(row.units)) td .number { (amounts(&row.revenue)) }
        })))
        (table("Categories", &["Category", "Views", "Carts", "Sold", "Revenue"], report.categories(category).iter().take(ROWS).map(|row| html! {
            td { (row.category) } (number(row.views)) (number(row.add_to_carts)) (number(row.units)) td .number { (amounts(&row.revenue)) }
        })))
        (table("Lost demand: asked for, and nothing in stock answered", &["Wish", "Asked", "In other words"], report.lost_demand.iter().take(ROWS).map(|row| html! {
            td { (row.wish) @if row.is_photo { " (photo)" } } (number(row.searches)) td { (row.examples.join(", ")) }
        })))
        (table("Came for what no list showed any more", &["Product", "Views", "Carts", "At risk"], report.stock_outs.iter().take(ROWS).map(|row| html! {
            td { (title(&row.product)) } (number(row.views)) (number(row.add_to_carts)) td .number { (amounts(&row.revenue_at_risk)) }
        })))
        (queries("Most searched", &report.queries))
        (queries("Searched and not found", &report.queries_without_results))
        (queries("Found and rarely clicked", &report.queries_rarely_clicked))
        (attribution(&report.attribution))
    }
}

/// The revenue (or the events, where nothing was sold) of the days before, as bars.
fn bars(strip: &[DaySummary]) -> Markup {
    let height = |day: &DaySummary| protocol::reports::leading(&day.totals.revenue);
    let has_revenue = strip.iter().any(|day| height(day) > 0);
    let value = |day: &DaySummary| if has_revenue { height(day).max(0) as f64 } else { day.totals.events.values().sum::<u64>() as f64 };
    let most = strip.iter().map(value).fold(0.0, f64::max);
    let what = if has_revenue { "Revenue" } else { "Events" };
    html! {
        @if strip.len() > 1 && most > 0.0 {
            figure .bars {
                figcaption .note { (what) " of the last days" }
                ol { @for day in strip {
                    li title=(format!("{}: {}", day.date, if has_revenue { amounts(&day.totals.revenue) } else { format!("{}", value(day)) })) {
                        a href=(address("/console/reports", &[("date".to_owned(), day.date.to_string())])) aria-label=(format!("{}", day.date)) {
                            svg viewBox="0 0 10 100" preserveAspectRatio="none" aria-hidden="true" {
                                rect x="0" width="10" y=(100.0 - 100.0 * value(day) / most) height=(100.0 * value(day) / most) {}
                            }
                        }
                    }
                } }
            }
        }
    }
}

fn table(caption: &str, heads: &[&str], rows: impl Iterator<Item = Markup>) -> Markup {
    let rows: Vec<Markup> = rows.collect();
    html! {
        @if !rows.is_empty() {
            section .panel {
                h2 { (caption) }
                div .wide { table {
                    thead { tr { @for (index, head) in heads.iter().enumerate() { th scope="col" .number[index > 0 && !matches!(*head, "In other words" | "Strategy" | "Arm")] { (head) } } } }
                    tbody { @for row in &rows { tr { (row) } } }
                } }
            }
        }
    }
}

fn queries(caption: &str, queries: &[QueryRow]) -> Markup {
    table(
        caption,
        &["Query", "Searched", "Not found", "Clicked"],
        queries.iter().take(ROWS).map(|row| {
            html! { td { (row.query) } (number(row.searches)) (number(row.without_results)) td .number { (percent(row.click_rate)) } }
        }),
    )
}

fn attribution(rows: &[AttributionRow]) -> Markup {
    table(
        "What lists brought",
        &["Placement", "Strategy", "Arm", "Shown", "Clicks", "CTR", "Carts", "Bought", "Revenue", "Per 1,000"],
        rows.iter().take(ROWS).map(|row| {
            let arms: BTreeMap<&str, &str> = row.arms.iter().map(|arm| (arm.experiment.as_str(), arm.arm.as_str())).collect();
            let arms: Vec<String> = arms.into_iter().map(|(experiment, arm)| format!("{experiment}: {arm}")).collect();
            html! {
                td { (row.placement) } td { (row.strategy) } td { (arms.join(", ")) } (number(row.impressions)) (number(row.clicks))
                td .number { (percent(row.click_rate)) } (number(row.add_to_carts)) (number(row.purchases))
                td .number { (amounts(&row.revenue)) } td .number { (amounts(&row.revenue_per_1000)) }
            }
        }),
    )
}

fn number(number: u64) -> Markup {
    html! { td .number { (thousands(number as usize)) } }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

fn amounts(amounts: &[Money]) -> String {
    if amounts.is_empty() {
        return "–".to_owned();
    }
    amounts.iter().map(|amount| rounded(*amount).to_string()).collect::<Vec<_>>().join(", ")
}

/// To the currency's smallest coin: a mean has more places than a till.
fn rounded(amount: Money) -> Money {
    let coin = 10_i64.pow(MONEY_SCALE.saturating_sub(amount.currency.minor_digits()));
    Money { amount_e4: (amount.amount_e4 + coin / 2 * amount.amount_e4.signum()) / coin * coin, ..amount }
}

fn offset(minutes: i32) -> String {
    if minutes == 0 { String::new() } else { format!("{:+03}:{:02}", minutes / 60, minutes.abs() % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_shown_in_coins() {
        let shown = |amount: &str, currency: &str| {
            rounded(Money::parse(amount, currency.parse().expect("a currency")).expect("an amount")).to_string()
        };
        assert_eq!(shown("43.2429", "EUR"), "43.24 EUR");
        assert_eq!(shown("43.2450", "EUR"), "43.25 EUR");
        assert_eq!(shown("-0.0051", "EUR"), "-0.01 EUR");
        assert_eq!(shown("1234.6", "JPY"), "1235 JPY");
        assert_eq!(offset(0), "");
        assert_eq!(offset(90), "+01:30");
    }
}
