//! The contract for people: every call, from the same document that programs read.

use std::sync::LazyLock;

use axum::response::Html;
use maud::html;
use serde_json::Value;

use crate::pages::layout::{Frame, page};
use crate::routes::openapi;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(&openapi()).expect("the contract is JSON"));

/// All calls by tag.
pub(crate) async fn docs() -> Html<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let calls: Vec<(String, String, &Value)> = DOCUMENT["paths"]
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(path, methods)| {
            methods.as_object().into_iter().flatten().map(move |(method, call)| (method.to_uppercase(), path.clone(), call))
        })
        .collect();
    let main = html! {
        div .console-page {
            h1 { "The HTTP API" }
            p .note { "Errors are " code { "application/problem+json" } " with a stable code and the request's id. The same contract for programs: " a href="/openapi.json" { "openapi.json" } "." }
            @for tag in DOCUMENT["tags"].as_array().into_iter().flatten() {
                section .panel {
                    h2 { (text(&tag["name"])) }
                    p .note { (text(&tag["description"])) }
                    div .scroll {
                        table {
                            thead { tr { th scope="col" { "Call" } th scope="col" { "What it does" } th scope="col" { "Parameters" } } }
                            tbody {
                                @for (method, path, call) in calls.iter().filter(|(_, _, call)| call["tags"][0] == tag["name"]) {
                                    tr {
                                        td { code { (method) " " (path) } }
                                        td { (text(&call["summary"])) " " (text(&call["description"])) }
                                        td { @for parameter in call["parameters"].as_array().into_iter().flatten() { code { (text(&parameter["name"])) } " " } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    page(Frame { title: "API · Gotham", place: "docs", module: None, header: html! {} }, main)
}
