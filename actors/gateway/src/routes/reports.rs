//! Reports: the day, series of days, what lists brought; as JSON or CSV. All from read models, in milliseconds.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use protocol::reports::{AttributionRow, CsvRow, DailyReport, Date, DaySummary, to_csv};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::extract::Params;
use crate::problem::{Answer, Problem};
use crate::routes::App;

/// Days in one series.
const DAYS_MAX: i32 = 366;

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    #[default]
    Json,
    Csv,
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DayParams {
    /// `2026-11-26`; by default the last day that anything happened on.
    date: Option<String>,
    /// `json`, or `csv`: the products of the day.
    format: Format,
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SpanParams {
    /// The first day; by default 30 days before the last.
    from: Option<String>,
    /// The last day; by default the last that anything happened on.
    to: Option<String>,
    /// `json` or `csv`.
    format: Format,
}

/// A report, or nothing yet.
#[derive(Serialize)]
pub(crate) struct Days<T> {
    pub from: Option<Date>,
    pub to: Option<Date>,
    pub items: Vec<T>,
}

fn date(text: &str, pointer: &str) -> Answer<Date> {
    text.parse().map_err(|error: protocol::reports::DateError| Problem::field(pointer, "invalid_date", error.to_string()))
}

fn csv<T: CsvRow>(rows: &[T]) -> Response {
    ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], to_csv(rows)).into_response()
}

/// The report of a day that was asked for, or of the last one.
pub(crate) async fn day(app: &App, asked: Option<&str>) -> Answer<Option<DailyReport>> {
    let asked = asked.map(|text| date(text, "?date")).transpose()?;
    let reports = app.house.reports.clone();
    let read = move || {
        let date = asked.or_else(|| reports.reach().map(|(_, last)| last))?;
        reports.daily(date)
    };
    let report = tokio::task::spawn_blocking(read).await.map_err(Problem::internal)?;
    Ok(report.map(|report| (*report).clone()))
}

/// Everything about one day: totals, products, searches, lost demand, suspected stock-outs, what lists brought.
#[utoipa::path(get, path = "/v1/reports/daily", tag = "reports", params(DayParams), responses((status = 200, body = Object), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn daily(State(app): State<App>, Params(params): Params<DayParams>) -> Answer<Response> {
    let report = day(&app, params.date.as_deref()).await?;
    let report = report.ok_or_else(|| Problem::not_found("report of that day: nothing happened, or it is no longer kept"))?;
    Ok(match params.format {
        Format::Json => Json(report).into_response(),
        Format::Csv => csv(&report.products),
    })
}

/// The span that is asked for, within what is kept.
async fn span<T: Send + 'static>(
    app: &App,
    params: &SpanParams,
    read: fn(&dyn protocol::reports::ReportReader, Date, Date) -> Vec<T>,
) -> Answer<Days<T>> {
    let from = params.from.as_deref().map(|text| date(text, "?from")).transpose()?;
    let to = params.to.as_deref().map(|text| date(text, "?to")).transpose()?;
    let reports = app.house.reports.clone();
    let work = move || {
        let Some((first, last)) = reports.reach() else { return Ok(Days { from: None, to: None, items: Vec::new() }) };
        let to = to.unwrap_or(last);
        let from = from.unwrap_or_else(|| to.plus(-30).max(first));
        if from > to || to.day() - from.day() >= DAYS_MAX {
            return Err(Problem::field("?from", "out_of_range", format!("must not be after `to`, and at most {DAYS_MAX} days before it")));
        }
        Ok(Days { from: Some(from), to: Some(to), items: read(&*reports, from, to) })
    };
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?
}

/// The totals of each day.
#[utoipa::path(get, path = "/v1/reports/days", tag = "reports", params(SpanParams), responses((status = 200, body = Object), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn days(State(app): State<App>, Params(params): Params<SpanParams>) -> Answer<Response> {
    let days: Days<DaySummary> = span(&app, &params, |reports, from, to| reports.days(from, to)).await?;
    Ok(match params.format {
        Format::Json => Json(days).into_response(),
        Format::Csv => csv(&days.items),
    })
}

/// What lists brought, by placement, strategy, rules and experiment arms.
#[utoipa::path(get, path = "/v1/reports/attribution", tag = "reports", params(SpanParams), responses((status = 200, body = Object), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn attribution(State(app): State<App>, Params(params): Params<SpanParams>) -> Answer<Response> {
    let rows: Days<AttributionRow> = span(&app, &params, |reports, from, to| reports.attribution(from, to)).await?;
    Ok(match params.format {
        Format::Json => Json(rows).into_response(),
        Format::Csv => csv(&rows.items),
    })
}
