//! The console: who runs and how well, what waits, what is being read, and what was refused.

use axum::extract::{Path, State};
use axum::response::Html;
use maud::{Markup, html};
use protocol::ingest::RunStatus;
use protocol::registry::{ActorState, ActorStatus};
use protocol::vision::EngineStatus;
use serde::Deserialize;

use crate::extract::Params;
use crate::logic::cursor;
use crate::pages::layout::{Frame, page};
use crate::pages::parts::thousands;
use crate::pages::releases;
use crate::problem::{Answer, Problem};
use crate::routes::operations::{QueueStatus, Registry};
use crate::routes::{App, feeds, tasks};
use crate::schema::Task;

const TASKS: usize = 12;
const REJECTS: usize = 50;

/// The house at a glance. Sections marked `data-live` are read again and again by the page's module.
pub(crate) async fn console(State(app): State<App>) -> Html<String> {
    let registry = Registry::read(&app);
    let tasks: Vec<Task> = app.house.runs.latest(TASKS).iter().map(|run| Task::of(run)).collect();
    let now_ms = app.house.clock.now_ms();
    let main = html! {
        div .console-page {
            h1 .hidden { "Console" }
            (tiles(&registry))
            div .columns {
                div {
                    (task_list(&tasks))
                    (upload_form())
                }
                div {
                    (queues(&registry.queues))
                    (models(&registry))
                }
            }
            (releases::panel(&app))
            (actors(&registry.actors, now_ms))
            p .chips { a .button href="/console/search" { "Search, and why" } a .button href="/console/reports" { "The day in numbers" } a .button href="/console/tags" { "Tags" } }
            p .note { "Version " (app.house.version) " · " a href="/docs" { "API" } " · " a href="/metrics" { "Metrics" } " · " a href="/v1/config" { "Settings" } }
        }
    };
    page(Frame { title: "Console · Gotham", place: "console", module: Some("console.js"), header: html! { span .spacer {} } }, main)
}

fn tiles(registry: &Registry) -> Markup {
    let down = registry.actors.iter().filter(|actor| actor.state != ActorState::Running).count();
    let open: u64 = registry.queues.iter().map(|queue| queue.depth.open()).sum();
    let dead: u64 = registry.queues.iter().map(|queue| queue.depth.dead).sum();
    let health = if down == 0 { ("good", "All running".to_owned()) } else { ("bad", format!("{down} down")) };
    let tile = |name: &str, value: String, class: &str| html! { div .tile .(class) { dt { (name) } dd { (value) } } };
    html! {
        dl .tiles #tiles data-live {
            (tile("Health", health.1, health.0))
            (tile("Products", thousands(registry.catalog.products), ""))
            (tile("With picture", thousands(registry.index.image_products), ""))
            (tile("With text", thousands(registry.index.text_products), ""))
            (tile("Work waiting", thousands(open), ""))
            (tile("Dead letters", thousands(dead), if dead == 0 { "" } else { "bad" }))
        }
    }
}

fn task_list(tasks: &[Task]) -> Markup {
    html! {
        section .panel aria-labelledby="tasks-heading" {
            h2 #tasks-heading { "Feeds" }
            ul .tasks #tasks data-live {
                @if tasks.is_empty() { li .note { "No feed has been read yet." } }
                @for task in tasks { (task_item(task)) }
            }
        }
    }
}

fn task_item(task: &Task) -> Markup {
    let is_running = !task.status.is_final();
    html! {
        li #{ "task-" (task.id) } data-task=[is_running.then_some(&task.id)] {
            div .task-head {
                a .name href={ "/console/feeds/" (task.id) } { (task.name) }
                (status(task.status))
            }
            @if is_running {
                progress max="1" value=[task.progress] aria-label={ "Progress of " (task.name) } {}
            }
            div .task-foot {
                span .note data-counts { (counts(task)) }
                @if is_running { form method="post" action={ "/v1/tasks/" (task.id) ":cancel" } data-act { button .quiet { "Cancel" } } }
            }
            @if let Some(error) = &task.error { p .trouble { (error.detail) } }
        }
    }
}

/// What a task did, in a line; the page's module builds the same from the task's JSON.
fn counts(task: &Task) -> String {
    let counts = &task.counts;
    let parts = [
        ("created", counts.created),
        ("updated", counts.updated),
        ("unchanged", counts.unchanged),
        ("deleted", counts.deleted),
        ("rejected", counts.rejected),
    ];
    let mut text = format!("{} records", thousands(counts.records));
    for (name, count) in parts.into_iter().filter(|(_, count)| *count > 0) {
        text.push_str(&format!(" · {} {name}", thousands(count)));
    }
    if task.dry_run {
        text.push_str(" · dry run");
    }
    text
}

fn status(status: RunStatus) -> Markup {
    let (class, text) = match status {
        RunStatus::Enqueued => ("later", "Waiting"),
        RunStatus::Processing => ("few", "Reading"),
        RunStatus::Succeeded => ("in", "Done"),
        RunStatus::Failed => ("out", "Failed"),
        RunStatus::Canceled => ("later", "Canceled"),
    };
    html! { span .stock .(class) data-status { (text) } }
}

fn upload_form() -> Markup {
    html! {
        section .panel aria-labelledby="upload-heading" {
            h2 #upload-heading { "Upload a feed" }
            form #upload .form method="post" action="/v1/feeds" enctype="multipart/form-data" {
                label .wide { span { "File" } input type="file" name="file" required; small { "CSV, TSV, XML or NDJSON; gzip and zstd too. The format is detected." } }
                label { span { "Source" } input type="text" name="source" value="default" required maxlength="64"; }
                label { span { "Mode" } select name="mode" { option value="delta" { "Changes only" } option value="full" { "Whole catalog of the source" } } }
                label { span { "Currency, if the feed has none" } input type="text" name="default_currency" placeholder="EUR" maxlength="3" pattern="[A-Z]{3}" autocapitalize="characters"; }
                label .check { input type="checkbox" name="dry_run" value="true"; span { "Dry run: report, change nothing" } }
                div .wide .actions { button .primary { "Upload" } p #upload-status .note role="status" {} }
            }
        }
    }
}

fn queues(queues: &[QueueStatus]) -> Markup {
    html! {
        section .panel aria-labelledby="queues-heading" {
            h2 #queues-heading { "Queues" }
            div .scroll {
                table #queues data-live {
                    thead { tr { th scope="col" { "Queue" } th scope="col" .number { "Ready" } th scope="col" .number { "Delayed" } th scope="col" .number { "In work" } th scope="col" .number { "Dead" } th scope="col" { span .hidden { "What to do" } } } }
                    tbody {
                        @for queue in queues {
                            tr {
                                th scope="row" { (queue.name.replace('_', " ")) }
                                td .number { (thousands(queue.depth.ready)) }
                                td .number { (thousands(queue.depth.delayed)) }
                                td .number { (thousands(queue.depth.leased)) }
                                td .number .bad[queue.depth.dead > 0] {
                                    @if queue.depth.dead > 0 {
                                        a href={ "/v1/queues/" (queue.name) "/dead-letters" } title="Why they were given up" { (thousands(queue.depth.dead)) }
                                    } @else { "0" }
                                }
                                td {
                                    @if queue.depth.dead > 0 {
                                        form method="post" action={ "/v1/queues/" (queue.name) ":redrive" } data-act { button .quiet { "Retry" } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn models(registry: &Registry) -> Markup {
    let index = &registry.index;
    let row = |name: &str, value: String| html! { div { dt { (name) } dd { (value) } } };
    html! {
        section .panel aria-labelledby="index-heading" {
            h2 #index-heading { "Index and models" }
            dl .facts #index data-live {
                @for model in &registry.models { (row(&format!("Model for {}s", model.space.as_str()), format!("{} · {} numbers", model.name, model.dimensions))) }
                @for engine in &registry.engines { (row(&format!("Embedding {}s", engine.space.as_str()), engine_line(engine))) }
                @if registry.models.is_empty() { (row("Models", "none installed: search by keywords alone".to_owned())) }
                (row("Keyword index", format!("{} products", thousands(index.keyword_products))))
                (row("Vectors in memory", bytes(index.vector_bytes as u64)))
                (row("Deleted, not yet compacted", thousands(index.tombstones)))
                (row("Embedded since the start", format!("{} pictures, {} texts, {} known before", thousands(registry.embedded.images_embedded), thousands(registry.embedded.texts_embedded), thousands(registry.embedded.reused))))
                @if registry.embedded.rejected > 0 { (row("Pictures refused", thousands(registry.embedded.rejected))) }
            }
        }
    }
}

/// Where a model runs and how fast, in a line.
fn engine_line(engine: &EngineStatus) -> String {
    let mut line = engine.device.clone();
    if let Some(reason) = &engine.fallback {
        line.push_str(&format!(" (no GPU: {reason})"));
    }
    if engine.per_second > 0.0 {
        line.push_str(&format!(" · {:.1}/s over the last minute", engine.per_second));
    }
    if let (Some(p50), Some(p99)) = (engine.query_p50_ms, engine.query_p99_ms) {
        line.push_str(&format!(" · queries {p50:.0} ms, 99 of 100 within {p99:.0} ms"));
    }
    if engine.out_of_memory > 0 {
        line.push_str(&format!(" · out of memory {} times, {} at a time", engine.out_of_memory, engine.batch_max));
    }
    line
}

fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}

fn actors(actors: &[ActorStatus], now_ms: i64) -> Markup {
    html! {
        section .panel aria-labelledby="actors-heading" {
            h2 #actors-heading { "Actors" }
            div .scroll {
                table #actors data-live {
                    thead { tr { th scope="col" { "Actor" } th scope="col" { "Job" } th scope="col" { "State" } th scope="col" { "For" } th scope="col" .number { "Mailbox" } th scope="col" .number { "Restarts" } th scope="col" { "Last error" } } }
                    tbody {
                        @for actor in actors {
                            tr {
                                th scope="row" { (actor.name) }
                                td { (actor.job) }
                                td { (state(actor.state)) }
                                td { (age(now_ms - actor.since_ms)) }
                                td .number { (thousands(actor.mailbox_depth)) }
                                td .number { (thousands(actor.restarts)) }
                                td .error { (actor.last_error.as_deref().unwrap_or("–")) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn state(state: ActorState) -> Markup {
    let (class, text) = match state {
        ActorState::Running => ("in", "Running"),
        ActorState::Starting => ("few", "Starting"),
        ActorState::Restarting => ("out", "Restarting"),
        ActorState::Stopped => ("later", "Stopped"),
    };
    html! { span .stock .(class) { (text) } }
}

/// A duration in its largest unit: the page must not change every second.
fn age(ms: i64) -> String {
    let minutes = ms.max(0) / 60_000;
    match minutes {
        0 => "under 1 min".to_owned(),
        1..60 => format!("{minutes} min"),
        60..2_880 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1_440),
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FeedParams {
    cursor: Option<String>,
}

/// One feed: what it did, and every record that was refused or repaired.
pub(crate) async fn feed(State(app): State<App>, Path(id): Path<String>, Params(params): Params<FeedParams>) -> Answer<Html<String>> {
    let run = tasks::run_id(&id)?;
    let task = tasks::find(&app, &id)?;
    let offset = match &params.cursor {
        Some(text) => cursor::decode(text)
            .and_then(|position| position.parse().ok())
            .ok_or_else(|| Problem::bad_request("invalid_cursor", "this cursor is none of ours"))?,
        None => 0,
    };
    let rejects = feeds::read_rejects(&app, run, offset, REJECTS).await?;
    let next = (rejects.len() == REJECTS).then(|| cursor::encode(&(offset + REJECTS).to_string()));
    let tile = |name: &str, value: u64| html! { div .tile { dt { (name) } dd { (thousands(value)) } } };
    let main = html! {
        div .console-page {
            nav .crumbs aria-label="Path" { a href="/console" { "Console" } }
            h1 { (task.name) }
            ul .tasks .panel { (task_item(&task)) }
            dl .tiles {
                (tile("Records", task.counts.records)) (tile("Created", task.counts.created)) (tile("Updated", task.counts.updated))
                (tile("Unchanged", task.counts.unchanged)) (tile("Deleted", task.counts.deleted)) (tile("Rejected", task.counts.rejected))
            }
            section .panel aria-labelledby="rejects-heading" {
                h2 #rejects-heading { "Refused and repaired records" }
                @if rejects.is_empty() { p .note { "Nothing was refused." } }
                @else {
                    div .scroll {
                        table {
                            thead { tr { th scope="col" .number { "Row" } th scope="col" { "Product" } th scope="col" { "Field" } th scope="col" { "Code" } th scope="col" { "What is wrong" } th scope="col" { "As it stood there" } } }
                            tbody {
                                @for reject in &rejects {
                                    tr {
                                        th scope="row" .number title=[reject.position.as_deref()] { (reject.row) }
                                        td { (reject.product_id.as_deref().unwrap_or("–")) }
                                        td { (reject.field.as_deref().unwrap_or("–")) }
                                        td { span .stock .(if reject.is_warning { "few" } else { "out" }) { (reject.code) } }
                                        td { (reject.detail) }
                                        td .raw { code { (reject.raw) } }
                                    }
                                }
                            }
                        }
                    }
                    @if let Some(next) = next { p .more { a .button href={ "?cursor=" (next) } rel="next" { "Next rows" } } }
                }
            }
        }
    };
    Ok(page(
        Frame {
            title: &format!("{} · Gotham", task.name),
            place: "console",
            module: Some("console.js"),
            header: html! { span .spacer {} },
        },
        main,
    ))
}
