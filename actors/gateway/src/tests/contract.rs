//! The contract: the committed file, the documented calls, the documented shapes.

use std::path::PathBuf;

use serde_json::Value;

use super::fakes::World;
use super::{Stage, request};
use crate::config::Config;
use crate::routes::openapi;

/// `GOTHAM_UPDATE_OPENAPI=1 cargo test -p gateway` writes the file instead of comparing it.
#[test]
fn the_committed_contract_is_the_codes() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join("..").join("data").join("openapi.json");
    if std::env::var_os("GOTHAM_UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, openapi()).expect("the file");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == openapi(), "data/openapi.json is not what the code says: run GOTHAM_UPDATE_OPENAPI=1 cargo test -p gateway");
}

#[tokio::test]
async fn every_documented_call_exists() {
    let stage = Stage::new(Config::default(), World::new([])).await;
    let document: Value = serde_json::from_str(&openapi()).expect("json");
    assert_eq!(document["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 28, "{}", paths.len());
    for (path, methods) in paths {
        for method in methods.as_object().expect("methods").keys() {
            let path = path.replace("{id}", "nothing").replace("{name}", "embed_image");
            let response = stage.send(request(&method.to_uppercase(), &path, "text/plain", "")).await;
            let code = response.extensions().get::<crate::problem::Problem>().map(|problem| problem.detail.clone());
            assert_ne!(response.status(), 405, "{method} {path}");
            assert_ne!(code.as_deref(), Some("there is nothing at this address"), "{method} {path}");
        }
    }
    stage.scene.end().await;
}

#[test]
fn every_reference_in_the_contract_leads_somewhere() {
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(object) => {
                if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
                }
                object.values().for_each(|value| walk(value, document));
            }
            Value::Array(array) => array.iter().for_each(|value| walk(value, document)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_str(&openapi()).expect("json");
    walk(&document, &document);
}
