//! The releases on the console: ranks, progress, what the inspector found, and the buttons.

use maud::{Markup, html};
use protocol::releases::Rank;

use crate::pages::parts::thousands;
use crate::routes::App;
use crate::routes::releases::{ReleaseState, states};
use crate::routes::search::shadow_report;

/// The panel.
pub(crate) fn panel(app: &App) -> Markup {
    let releases = states(app);
    let has_way_back = releases.iter().any(|release| release.is_predecessor);
    html! {
        section .panel aria-labelledby="releases-heading" {
            h2 #releases-heading { "Releases" }
            div .scroll {
                table #releases data-live {
                    thead { tr { th scope="col" { "Release" } th scope="col" { "Rank" } th scope="col" { "Models" } th scope="col" { "Vectors" } th scope="col" { "Beside the live one" } th scope="col" { span .hidden { "What to do" } } } }
                    tbody {
                        @for release in releases.iter().rev() {
                            tr {
                                th scope="row" { (release.name) }
                                td { (rank(release)) }
                                td { (models(release)) }
                                td { (progress(release)) }
                                td { (shadow(app, release)) }
                                td { (buttons(release, has_way_back)) }
                            }
                        }
                    }
                }
            }
            p .note { "A new one: " code { "POST /v1/releases" } " with a name and a model; who ordered what: " a href="/v1/models" { "history" } "." }
        }
    }
}

fn rank(release: &ReleaseState) -> Markup {
    let (class, name) = match release.rank {
        Rank::Constable => ("later", "Constable".to_owned()),
        Rank::Inspector => ("few", "Inspector".to_owned()),
        Rank::AssistantCommissioner => ("few", format!("Assistant commissioner, {:.0} %", release.share * 100.0)),
        Rank::Commissioner => ("in", "Commissioner".to_owned()),
    };
    html! {
        span .stock .(if release.is_held { "later" } else { class }) { (name) }
        @if release.is_held { " " span .note { "held" } }
    }
}

fn models(release: &ReleaseState) -> Markup {
    let names: Vec<&str> = [&release.image_model, &release.text_model].into_iter().flatten().map(|model| model.name.as_str()).collect();
    html! { (names.join(", ")) }
}

fn progress(release: &ReleaseState) -> Markup {
    let (done, total) =
        release.builds.iter().fold((0, 0), |(done, total), build| (done + build.done.min(build.total), total + build.total));
    let behind: u64 = release.builds.iter().map(|build| build.behind).sum();
    let failed: u64 = release.builds.iter().map(|build| build.failed).sum();
    html! {
        @if release.is_complete {
            "Complete"
        } @else {
            progress max=(total.max(1)) value=(done) aria-label={ "Vectors of " (release.name) } {}
            " " span .note { (thousands(done)) " of " (thousands(total)) }
        }
        @if behind > 0 { " " span .note { (thousands(behind)) " changed since" } }
        @if failed > 0 { " " span .note { (thousands(failed)) " to try again" } }
    }
}

fn shadow(app: &App, release: &ReleaseState) -> Markup {
    let Some(report) = shadow_report(app, &release.name) else { return html! { "–" } };
    let figures = &report.figures;
    let share = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{:.0} %", value * 100.0));
    html! {
        (thousands(figures.compared)) " questions: the same first 10 " (share(figures.overlap_at_10)) ", first 50 " (share(figures.overlap_at_50))
        "; median " (format!("{:.1}", figures.shadow.p50_ms)) " ms, live " (format!("{:.1}", figures.live.p50_ms)) " ms"
        @if let Some(tags) = &report.tags {
            ul .note {
                @for tag in &tags.attributes {
                    li {
                        (tag.attribute) ": the same fact " (share(tag.facts_agree)) ", the same first guess " (share(tag.guesses_agree))
                        "; facts on " (share(Some(tag.shadow_coverage))) ", live " (share(Some(tag.live_coverage)))
                    }
                }
            }
        }
    }
}

/// `has_way_back`: whether somebody was live before the live one.
fn buttons(release: &ReleaseState, has_way_back: bool) -> Markup {
    let button = |verb: &str, text: &str| {
        html! { form method="post" action={ "/v1/models/" (release.name) ":" (verb) } data-act { button .quiet { (text) } } }
    };
    let is_live = release.rank == Rank::Commissioner;
    html! {
        @if is_live {
            @if has_way_back { (button("rollback", "Roll back")) }
        } @else {
            (button("promote", if release.is_held { "Back on duty" } else { "Promote" }))
            @if release.rank != Rank::Commissioner && release.is_complete { (button("activate", "Make live")) }
            @if !release.is_held { (button("hold", "Hold")) }
            @if release.rank != Rank::Constable { (button("rollback", "To constable")) }
        }
    }
}
