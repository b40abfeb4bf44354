//! `gotham eval search` on a house of its own: a catalog goes in, measures come out.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{gotham, json_lines};

const COLOURS: [&str; 5] = ["crimson", "turquoise", "ivory", "charcoal", "mustard"];
const MATERIALS: [&str; 4] = ["walnut", "leather", "marble", "velvet"];
const KINDS: [&str; 3] = ["armchair", "bookshelf", "lantern"];

/// Every colour, material and kind once: each name stands for one product, and its words for several.
fn feed() -> String {
    let mut lines = String::new();
    for (number, (colour, material, kind)) in names().enumerate() {
        let product = serde_json::json!({"id": format!("p{number}"), "title": format!("{colour} {material} {kind}")});
        lines.push_str(&format!("{product}\n"));
    }
    lines
}

fn names() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let pairs = COLOURS.iter().flat_map(|colour| MATERIALS.iter().map(move |material| (*colour, *material)));
    pairs.flat_map(|(colour, material)| KINDS.iter().map(move |kind| (colour, material, *kind)))
}

/// The lines of suites by suite and mode.
fn by_suite(lines: &[Value]) -> BTreeMap<(String, String), Value> {
    let text = |line: &Value, name: &str| line[name].as_str().map(str::to_owned);
    lines.iter().filter_map(|line| Some(((text(line, "suite")?, text(line, "mode")?), line.clone()))).collect()
}

#[test]
fn names_as_they_are_are_found_first_and_a_missing_model_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("feed.ndjson");
    std::fs::write(&file, feed()).expect("written");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (file, data, models) = (file.display().to_string(), path("data"), path("no-models"));
    let output = gotham(&["eval", "search", "--data", &data, "--models-dir", &models, "--catalog", &file, "--count", "20", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = by_suite(&json_lines(&output));
    assert_eq!(found.len(), 5 * 3, "five kinds of known-item queries in three modes: {:?}", found.keys());
    let line = |mode: &str| &found[&("known_item_exact".to_owned(), mode.to_owned())];
    let keyword = line("keyword");
    let measures = ["ndcg_at_10", "mrr_at_10", "recall_at_10", "success_at_1"].map(|name| keyword[name].as_f64());
    assert_eq!((measures, keyword["queries"].as_u64(), keyword["degraded"].as_u64()), ([Some(1.0); 4], Some(20), Some(0)));
    assert_eq!(line("meaning")["degraded"].as_u64(), Some(20), "no model is installed");
}

#[test]
fn given_judgments_are_measured_and_bad_ones_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("feed.ndjson"), feed()).expect("written");
    std::fs::write(path("queries.tsv"), "query_id\tquery\n1\tcrimson walnut lantern\n").expect("written");
    std::fs::write(path("labels.tsv"), "id\tquery_id\tproduct_id\tlabel\n0\t1\tp2\tExact\n1\t1\tnobody\tPartial\n").expect("written");
    let eval = |judgments: &str| {
        let (data, models, feed, queries) = (path("data"), path("no-models"), path("feed.ndjson"), path("queries.tsv"));
        let house = ["eval", "search", "--data", &data, "--models-dir", &models, "--json"];
        gotham(&[&house[..], &["--catalog", &feed, "--queries", &queries, "--judgments", &path(judgments)]].concat())
    };
    let output = eval("labels.tsv");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = by_suite(&json_lines(&output));
    let keyword = &found[&("judged".to_owned(), "keyword".to_owned())];
    assert_eq!((keyword["success_at_1"].as_f64(), keyword["recall_at_10"].as_f64()), (Some(1.0), Some(0.5)), "{keyword}");
    std::fs::write(path("bad.tsv"), "query_id\tproduct_id\tgrade\n1\tp2\tvery good\n").expect("written");
    assert_eq!(eval("bad.tsv").status.code(), Some(2));
}
