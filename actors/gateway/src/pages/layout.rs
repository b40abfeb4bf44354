//! The frame around every page.

use axum::response::Html;
use maud::{DOCTYPE, Markup, html};

/// What sets a page apart.
pub(crate) struct Frame<'a> {
    pub title: &'a str,
    /// `store` or `console`: marks the place in the navigation.
    pub place: &'a str,
    /// The page's own module, if it has one.
    pub module: Option<&'a str>,
    /// Stands in the header between name and navigation.
    pub header: Markup,
}

pub(crate) fn page(frame: Frame<'_>, main: Markup) -> Html<String> {
    let link = |place: &str, href: &str, name: &str| {
        html! { a href=(href) aria-current=[(frame.place == place).then_some("page")] { (name) } }
    };
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (frame.title) }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/gotham.css";
                @if let Some(module) = frame.module {
                    script type="module" src={ "/assets/" (module) } {}
                }
            }
            body class=(frame.place) {
                a .skip href="#main" { "Skip to content" }
                header .bar {
                    a .wordmark href="/store" aria-label="Gotham, to the store" { (mark()) span { "Gotham" } }
                    (frame.header)
                    nav .places aria-label="Places" {
                        (link("store", "/store", "Store"))
                        (link("console", "/console", "Console"))
                    }
                }
                main #main { (main) }
            }
        }
    };
    Html(document.into_string())
}

fn mark() -> Markup {
    html! {
        svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" {
            path fill="currentColor" d="M3 21V9h4v12H3zm7 0V3h4v18h-4zm7 0v-9h4v9h-4z" {}
        }
    }
}
