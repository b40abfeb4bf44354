//! The merchandiser's search: the same ranking that shoppers see, with the share of each part of the query, why a product is
//! missing, and what there is to filter by.

use axum::extract::{Query, State};
use axum::response::Html;
use maud::{Markup, html};
use protocol::search::AttributeInfo;

use crate::edge::Ctx;
use crate::extract;
use crate::pages::layout::{Frame, page};
use crate::pages::parts::{self, thousands};
use crate::problem::{Answer, Problem};
use crate::routes::App;
use crate::routes::search::{self, Ask, Item, Mode, OneOrMany, Ranked, SearchBody};
use crate::schema::path_segment;

const ITEMS: usize = 25;
const MODES: [(&str, &str); 3] = [("hybrid", "Keywords and meaning"), ("keyword", "Keywords"), ("meaning", "Meaning")];
/// Values of a query that are read.
const PAIRS_MAX: usize = 64;

/// What is asked, as texts.
#[derive(Default)]
struct Form {
    is_sent: bool,
    values: Vec<(String, String)>,
}

impl Form {
    fn read(pairs: Vec<(String, String)>) -> Self {
        Self {
            is_sent: !pairs.is_empty(),
            values: pairs.into_iter().take(PAIRS_MAX).filter(|(_, value)| !value.trim().is_empty()).collect(),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn ask(&self, app: &App) -> Answer<Ask> {
        let mode = self.get("mode").map(|mode| extract::from_value::<Mode>(mode.into())).transpose();
        let body = SearchBody {
            text: self.text("q"),
            mode: mode.map_err(|problem| problem.under("/mode"))?.unwrap_or_default(),
            language: self.text("language"),
            product_id: self.text("product_id"),
            color: self.text("color"),
            sort: OneOrMany(self.text("sort").into_iter().collect()),
            boost: self.text("boost"),
            group_by: self.text("group_by"),
            explain_missing: self.text("explain_missing"),
            exact: self.has("exact"),
            include_unavailable: self.has("include_unavailable"),
            explain: true,
            limit: Some(ITEMS.min(app.config.limit_max)),
            ..SearchBody::default()
        };
        let filter = self.text("filter").map(search::filter_of).transpose()?;
        Ok(Ask { filter, ..Ask::of(body, None)? })
    }
}

/// The panel.
pub(crate) async fn panel(State(app): State<App>, Ctx(context): Ctx, Query(pairs): Query<Vec<(String, String)>>) -> Answer<Html<String>> {
    let form = Form::read(pairs);
    let attributes = search::known_attributes(&app).await?;
    let answer = if form.is_sent {
        let answer = match form.ask(&app) {
            Ok(ask) => search::run(&app, &context, ask).await,
            Err(problem) => Err(problem),
        };
        Some(answer)
    } else {
        None
    };
    let main = html! {
        div .console-page {
            nav .crumbs aria-label="Path" { a href="/console" { "Console" } }
            h1 { "Search" }
            (fields(&form))
            @match &answer {
                Some(Ok(ranked)) => { (found(ranked)) }
                Some(Err(problem)) => { (refused(problem)) }
                None => {}
            }
            (attribute_list(&attributes))
        }
    };
    Ok(page(Frame { title: "Search · Gotham console", place: "console", module: None, header: html! { span .spacer {} } }, main))
}

fn fields(form: &Form) -> Markup {
    let text = |name: &str, label: &str, hint: &str| {
        html! { label { span { (label) } input type="text" name=(name) value=[form.get(name)] placeholder=(hint) autocomplete="off" spellcheck="false"; } }
    };
    let check = |name: &str, label: &str| {
        html! { label .check { input type="checkbox" name=(name) value="on" checked[form.has(name)]; span { (label) } } }
    };
    html! {
        section .panel aria-label="What to search for" {
            form .form method="get" action="/console/search" {
                (text("q", "Words", "red lamp"))
                label { span { "Words are matched by" }
                    select name="mode" { @for (key, name) in MODES { option value=(key) selected[form.get("mode") == Some(key)] { (name) } } }
                }
                (text("product_id", "Like the product", "id"))
                (text("color", "Near the colour", "#ff8000"))
                (text("filter", "Filter", "brand = \"A\" AND price < 50"))
                (text("sort", "Sort by", "-price, title"))
                (text("boost", "Boost", "score * 2"))
                (text("group_by", "One for each", "group_id"))
                (text("language", "Language", "en"))
                (text("explain_missing", "Why is this product missing?", "id"))
                (check("include_unavailable", "Also what cannot be had"))
                (check("exact", "Exact: compare with every vector"))
                div .wide .actions { button .primary { "Search" } a .note href="/console/search" { "Start again" } }
            }
        }
    }
}

fn refused(problem: &Problem) -> Markup {
    html! {
        div .trouble role="alert" {
            p { (problem.detail) }
            @for error in problem.errors.iter().filter(|error| error.detail != problem.detail || !error.pointer.is_empty()) {
                p { code { (error.pointer) } " " (error.code) @if error.detail != problem.detail { ": " (error.detail) } }
            }
        }
    }
}

fn found(ranked: &Ranked) -> Markup {
    let stages: Vec<String> = ranked.stages.iter().map(|(name, ms)| format!("{name} {ms:.2} ms")).collect();
    let more = if ranked.total_is_exact { "" } else { "+" };
    html! {
        @if let Some(missing) = &ranked.missing {
            section .panel aria-labelledby="missing-heading" {
                h2 #missing-heading { "Why “" (missing.id) "” is " @if missing.code == "not_missing" { "where it is" } @else { "missing" } }
                p { span .stock .(if missing.code == "not_missing" { "in" } else { "out" }) { (missing.code.replace('_', " ")) } " " (missing.detail) }
            }
        }
        section .panel aria-labelledby="found-heading" {
            h2 #found-heading { (thousands(ranked.total)) (more) @if ranked.total == 1 { " product" } @else { " products" } }
            p .note { (stages.join(" · ")) }
            @if let Some(explain) = &ranked.explain {
                dl .query {
                    @if let Some(words) = &explain.words { div { dt { "Words" } dd { (words) @if ranked.corrected.is_some() { " (corrected)" } } } }
                    @if let Some(other) = &ranked.did_you_mean { div { dt { "Did you mean" } dd { (other) } } }
                    @if let Some(filter) = &explain.filter { div { dt { "Filter" } dd { code { (filter) } } } }
                    @if !explain.plans.is_empty() { div { dt { "Plan" } dd { code { (explain.plans.join(", ")) } } } }
                    @if !ranked.model_version.is_empty() { div { dt { "Models" } dd { code { (ranked.model_version) } } } }
                    @if explain.cut_off { div { dt { "Cut-off" } dd { "what is no nearer than unrelated products is dropped" } } }
                    @if !ranked.degraded.is_empty() { div { dt { "Left out" } dd { (ranked.degraded.join(", ")) } } }
                }
            }
            @if ranked.items.is_empty() { p .note { "Nothing was found." } }
            @else {
                div .scroll {
                    table .ranking {
                        thead { tr { th scope="col" .number { "Rank" } th scope="col" { span .hidden { "Picture" } } th scope="col" { "Product" } th scope="col" .number { "Score" } th scope="col" { "Why it is here" } } }
                        tbody { @for item in &ranked.items { (row(item)) } }
                    }
                }
            }
        }
    }
}

fn row(item: &Item) -> Markup {
    html! {
        tr {
            td .number { (item.rank) }
            td .small { (parts::photo(item.product.image.as_deref(), "")) }
            td {
                a href={ "/store/p/" (path_segment(&item.id)) } { (item.product.title) }
                p .note { code { (item.id) } @if let Some(brand) = &item.product.brand { " · " (brand) } @if let Some(size) = item.group_size { " · group of " (size) } }
            }
            td .number { (number(item.score)) }
            td { (why(item)) }
        }
    }
}

/// Each part of the query: its place in the part's own ranking, its score, and how much of the whole it made.
fn why(item: &Item) -> Markup {
    let Some(explain) = &item.explain else { return html! {} };
    let share = |part: f32| if explain.fused > 0.0 { (part / explain.fused * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    html! {
        @if explain.parts.is_empty() { span .note { @if item.strategy == "browse" { "passes the filter" } @else { (item.reasons.join(", ")) } } }
        ul .parts {
            @for part in &explain.parts {
                li {
                    span .name { (part.name) }
                    meter min="0" max="100" value=(format!("{:.1}", share(part.share))) aria-label={ "Share of " (part.name) } {}
                    span .note { (format!("{:.0} %", share(part.share))) " · rank " (part.rank) " · " (number(part.score)) }
                }
            }
        }
        @if let Some(boosted) = explain.boosted { p .note { "boosted from " (number(explain.fused)) " to " (number(boosted)) } }
    }
}

/// Four digits that matter.
fn number(value: f32) -> String {
    let digits = if value == 0.0 || !value.is_finite() { 1 } else { (3 - value.abs().log10().floor() as i32).clamp(0, 6) };
    format!("{value:.*}", digits as usize)
}

fn attribute_list(attributes: &[AttributeInfo]) -> Markup {
    html! {
        section .panel aria-labelledby="attributes-heading" {
            h2 #attributes-heading { "Attributes" }
            p .note { "Every one of them can be filtered, counted and sorted by; no index is declared." }
            @if attributes.is_empty() { p .note { "None yet: they come with the products." } }
            @else {
                div .scroll {
                    table #attributes {
                        thead { tr { th scope="col" { "Name" } th scope="col" { "Kind" } th scope="col" .number { "Products" } th scope="col" .number { "Values" } th scope="col" { "Most frequent" } } }
                        tbody {
                            @for info in attributes {
                                tr {
                                    td { code { (info.name) } }
                                    td { (info.kinds.join(", ")) }
                                    td .number { (thousands(info.products)) }
                                    td .number { (thousands(info.values)) }
                                    td .raw { (info.examples.join(" · ")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_four_digits_that_matter() {
        for (value, text) in
            [(0.0, "0.0"), (0.012_345, "0.01235"), (12.345_6, "12.35"), (1_234.5, "1234"), (-0.5, "-0.5000"), (1e-9, "0.000000")]
        {
            assert_eq!(number(value), text);
        }
    }
}
