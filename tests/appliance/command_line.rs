//! The built binary as its user calls it: results, exit codes, a second start.

use serde_json::Value;

use crate::support::{gotham, json_lines, models, ndjson, shared};

#[test]
fn exit_codes_tell_what_kind_of_failure_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data").display().to_string();
    let bad_config = folder.path().join("bad.toml");
    std::fs::write(&bad_config, "[gateway]\nlisten = \"nowhere\"\n[serch]\nx = 1").expect("written");
    let bad_config = bad_config.display().to_string();
    let newer = folder.path().join("newer");
    std::fs::create_dir_all(&newer).expect("a folder");
    std::fs::write(newer.join("FORMAT"), "999\n").expect("written");
    let newer = newer.display().to_string();
    let cases: [(&[&str], i32); 6] = [
        (&["config", "check"], 0),
        (&["config", "check", "--config", &bad_config], 2),
        (&["nonsense"], 2),
        (&["import", "/nowhere.csv", "--data", &data], 2),
        (&["serve", "--data", &newer, "--listen", "127.0.0.1:0"], 3),
        (&["embed", "a lamp", "--models-dir", &data], 4),
    ];
    for (args, expected) in cases {
        let output = gotham(args);
        assert_eq!(output.status.code(), Some(expected), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_problem_of_a_configuration_is_named_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "[gatway]\nx = 1\n[storage]\ncache_mib = \"big\"").expect("written");
    let output = gotham(&["config", "check", "--config", &file.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("did you mean `gateway`") && said.contains("storage.cache_mib: string given, integer expected"), "{said}");
}

#[test]
fn an_import_ends_with_its_counts_and_a_second_one_finds_everything_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let feed = folder.path().join("feed.ndjson");
    std::fs::write(&feed, ndjson(500) + "{\"title\": \"no id\"}\n").expect("written");
    let (feed, data) = (feed.display().to_string(), folder.path().join("data").display().to_string());
    let import = |extra: &[&str]| -> Vec<Value> {
        let output = gotham(&[&["import", &feed, "--data", &data, "--json"], extra].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        json_lines(&output)
    };
    let count = |lines: &[Value], name: &str| lines.last().and_then(|summary| summary[name].as_u64());
    let dry = import(&["--dry-run"]);
    assert_eq!((count(&dry, "created"), count(&dry, "rejected")), (Some(500), Some(1)));
    let first = import(&[]);
    assert_eq!(
        (count(&first, "records"), count(&first, "products"), count(&first, "variants"), count(&first, "created")),
        (Some(501), Some(500), Some(500), Some(500)),
        "a dry run changes nothing"
    );
    assert_eq!(first[0]["reject"]["row"], 501, "{}", first[0]);
    let second = import(&[]);
    assert_eq!((count(&second, "unchanged"), count(&second, "created"), count(&second, "updated")), (Some(500), Some(0), Some(0)));
}

#[test]
fn embed_gives_the_reference_vectors() {
    let (Some(models), Some(reference)) = (models(), shared("reference")) else { return };
    let photos: Value = serde_json::from_slice(&std::fs::read(reference.join("image_reference.json")).expect("readable")).expect("JSON");
    let texts: Value = serde_json::from_slice(&std::fs::read(reference.join("text_reference.json")).expect("readable")).expect("JSON");
    let photo = &photos["images"][0];
    let file = reference
        .join("photos")
        .join(photo["photo"].as_str().and_then(|name| name.rsplit('/').next()).expect("a name"))
        .display()
        .to_string();
    let text = &texts["texts"][0];
    let output = gotham(&["embed", &file, text["text"].as_str().expect("a text"), "--json", "--models-dir", &models.display().to_string()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = json_lines(&output);
    let similarity = |line: &Value, expected: &Value| cosine(&numbers(&line["embedding"]), &numbers(expected));
    assert!(similarity(&lines[0], &photo["features"]) >= 0.998);
    assert!(similarity(&lines[1], &text["embedding"]) >= 0.99999);
    assert_eq!((lines[0]["model"].as_str(), lines[1]["model"].as_str()), (Some("efficientnet-lite0"), Some("all-minilm-l6-v2")));
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a vector").iter().filter_map(Value::as_f64).collect()
}

fn cosine(left: &[f64], right: &[f64]) -> f64 {
    assert_eq!(left.len(), right.len());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}
