//! The house's own rules, checked on the manifests and sources: who may name whom, what may stand where, how long it may be,
//! and which licences enter the binary.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 80;

/// Which workspace crates each may name: down the house only, and never from one actor to another.
const MAY_NAME: [(&str, &[&str]); 28] = [
    ("domain", &[]),
    ("kit", &[]),
    ("store", &[]),
    ("fetch", &[]),
    ("shaders", &[]),
    ("protocol", &["domain", "kit", "store"]),
    ("events", &["domain", "protocol", "store"]),
    ("registry", &["domain", "kit", "protocol", "store"]),
    ("reports", &["domain", "events", "kit", "protocol", "store"]),
    ("catalog", &["domain", "kit", "protocol", "store"]),
    ("session", &["domain", "events", "kit", "protocol", "store"]),
    ("cache", &["domain", "protocol"]),
    ("personalize", &["domain", "events", "kit", "protocol", "store", "taste"]),
    ("taste", &[]),
    ("queue", &["domain", "kit", "protocol", "store"]),
    ("archive", &["domain", "events", "kit", "protocol", "store"]),
    ("behaviour", &[]),
    ("ease", &[]),
    ("recommend", &["behaviour", "domain", "ease", "events", "kit", "protocol", "store"]),
    ("vectors", &[]),
    ("columns", &["domain"]),
    ("words", &["domain"]),
    ("search", &["columns", "domain", "kit", "protocol", "shaders", "store", "vectors", "words"]),
    ("attributes", &[]),
    ("vision", &["attributes", "domain", "fetch", "kit", "protocol", "shaders", "store"]),
    ("ingest", &["domain", "fetch", "kit", "protocol", "store"]),
    ("gateway", &["domain", "events", "kit", "protocol", "store"]),
    (
        "gotham",
        &[
            "archive",
            "attributes",
            "behaviour",
            "cache",
            "catalog",
            "domain",
            "events",
            "fetch",
            "gateway",
            "ingest",
            "kit",
            "personalize",
            "protocol",
            "queue",
            "recommend",
            "registry",
            "reports",
            "search",
            "session",
            "shaders",
            "store",
            "vectors",
            "vision",
        ],
    ),
];

/// What decides must not act: these names have no business under `logic/`.
const BANNED_IN_LOGIC: [&str; 11] = [
    "ractor::",
    "tokio::",
    "sled::",
    "wgpu::",
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "std::net::Udp",
    "SystemTime",
    "Instant::now",
    "std::thread::sleep",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust source of the project, by its path from the root.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for folder in ["src", "tests", "actors", "shaders"] {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 50, "only {} sources were found", found.len());
    found
}

fn collect(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            found.insert(name, fs::read_to_string(&path).expect("readable"));
        }
    }
}

fn is_test(name: &str) -> bool {
    name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("/tests.rs") || name.ends_with("_tests.rs")
}

fn report(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = std::process::Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn crates_name_only_those_below_them() {
    let metadata = metadata();
    let members: BTreeSet<&str> = metadata["workspace_members"].as_array().expect("members").iter().filter_map(Value::as_str).collect();
    let packages = metadata["packages"].as_array().expect("packages");
    let own: Vec<&Value> = packages.iter().filter(|package| members.contains(package["id"].as_str().unwrap_or_default())).collect();
    let names: BTreeSet<&str> = own.iter().filter_map(|package| package["name"].as_str()).collect();
    let may_name: BTreeMap<&str, &[&str]> = MAY_NAME.into_iter().collect();
    let mut wrong = Vec::new();
    for package in own {
        let name = package["name"].as_str().expect("a name");
        let allowed = may_name.get(name).unwrap_or_else(|| panic!("{name} has no place in the house: add it to MAY_NAME"));
        let named = package["dependencies"].as_array().expect("dependencies").iter().filter_map(|dependency| dependency["name"].as_str());
        wrong.extend(named.filter(|named| names.contains(named) && !allowed.contains(named)).map(|named| format!("{name} -> {named}")));
    }
    report("dependencies against the direction of the house", wrong);
}

#[test]
fn only_the_shaders_crate_names_wgpu_and_only_the_store_names_sled() {
    let own = [("wgpu", "shaders"), ("sled", "store")];
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().expect("packages").iter().filter(|package| package["source"].is_null()) {
        let name = package["name"].as_str().expect("a name");
        for dependency in
            package["dependencies"].as_array().expect("dependencies").iter().filter_map(|dependency| dependency["name"].as_str())
        {
            wrong.extend(
                own.iter().filter(|(library, owner)| *library == dependency && *owner != name).map(|_| format!("{name} -> {dependency}")),
            );
        }
    }
    report("libraries outside their crate", wrong);
}

#[test]
fn licences_bans_and_sources_are_those_of_deny_toml() {
    let deny: toml::Table = fs::read_to_string(root().join("deny.toml")).expect("readable").parse().expect("TOML");
    let list = |section: &str, key: &str| -> Vec<String> {
        deny[section][key].as_array().expect("a list").iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let (allowed, banned) = (list("licenses", "allow"), list("bans", "deny"));
    let mut wrong = Vec::new();
    for package in metadata()["packages"].as_array().expect("packages") {
        let (name, version) = (package["name"].as_str().unwrap_or_default(), package["version"].as_str().unwrap_or_default());
        let license = package["license"].as_str().unwrap_or("none");
        if !license_is_allowed(license, &allowed) {
            wrong.push(format!("{name} {version}: licence {license}"));
        }
        if package["source"].as_str().is_some_and(|source| {
            !source.starts_with("registry+https://github.com/rust-lang/crates.io-index")
                && !source.starts_with("sparse+")
                && !source.starts_with("registry+")
        }) {
            wrong.push(format!("{name} {version}: comes from {}", package["source"]));
        }
        let is_banned = |ban: &String| {
            ban == name || ban.split_once('@').is_some_and(|(banned, major)| banned == name && version.split('.').next() == Some(major))
        };
        if banned.iter().any(is_banned) {
            wrong.push(format!("{name} {version}: banned"));
        }
    }
    report("against deny.toml", wrong);
}

/// An SPDX expression of `AND`, `OR` and parentheses, with the older `/` for `OR`.
fn license_is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    let all = expression.split(" AND ").map(|part| part.trim().trim_matches(['(', ')']));
    all.into_iter().all(|part| part.split(" OR ").any(|license| allowed.iter().any(|allowed| allowed == license.trim())))
}

#[test]
fn license_expressions_by_table() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("(Apache-2.0 OR MIT) AND ISC", true),
        ("MIT AND GPL-3.0", false),
        ("GPL-3.0/ISC", true),
    ] {
        assert_eq!(license_is_allowed(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn every_file_says_first_what_it_is() {
    let silent =
        sources().into_iter().filter(|(_, text)| !text.trim_start_matches("#![no_main]\n").starts_with("//!")).map(|(name, _)| name);
    report("files whose first line is no `//!`", silent.collect());
}

#[test]
fn logic_decides_and_does_not_act() {
    let mut wrong = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| name.contains("/logic/") || name.ends_with("/logic.rs")) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            wrong.extend(
                BANNED_IN_LOGIC.iter().filter(|banned| line.contains(**banned)).map(|banned| format!("{name}:{}: {banned}", number + 1)),
            );
        }
    }
    report("names that logic must not use", wrong);
}

#[test]
fn files_and_functions_are_short() {
    let mut wrong = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| !is_test(name)) {
        let code: Vec<&str> = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).collect();
        if code.len() > FILE_LINES_MAX {
            wrong.push(format!("{name}: {} lines, at most {FILE_LINES_MAX}", code.len()));
        }
        wrong.extend(
            long_functions(&code)
                .into_iter()
                .map(|(line, length)| format!("{name}:{line}: a function of {length} lines, at most {FUNCTION_LINES_MAX}")),
        );
    }
    report("too long", wrong);
}

/// First line and length of functions that are too long; relies on rustfmt's indentation.
fn long_functions(code: &[&str]) -> Vec<(usize, usize)> {
    let mut long = Vec::new();
    for (start, line) in code.iter().enumerate() {
        let head = line.trim_start();
        let is_function = [
            "fn ",
            "pub fn ",
            "pub(crate) fn ",
            "async fn ",
            "pub async fn ",
            "pub(crate) async fn ",
            "unsafe fn ",
            "pub(crate) unsafe fn ",
        ]
        .iter()
        .any(|prefix| head.starts_with(prefix));
        if is_function && !line.trim_end().ends_with(['}', ';']) {
            let end = format!("{}}}", &line[..line.len() - head.len()]);
            let length = code[start..].iter().position(|line| *line == end).map_or(0, |length| length + 1);
            if length > FUNCTION_LINES_MAX {
                long.push((start + 1, length));
            }
        }
    }
    long
}

#[test]
fn nothing_unfinished_and_nothing_of_the_workshop_stands_in_the_tree() {
    let unfinished = ["todo!(", "unimplemented!(", "dbg!(", concat!("FIX", "ME"), concat!("XX", "X")];
    let mut wrong = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| !name.ends_with("tidy.rs")) {
        for (number, line) in text.lines().enumerate() {
            wrong.extend(unfinished.iter().filter(|word| line.contains(**word)).map(|word| format!("{name}:{}: {word}", number + 1)));
            if line.contains("#[allow(") && !line.contains("reason") {
                wrong.push(format!("{name}:{}: an `allow` without a reason", number + 1));
            }
        }
    }
    report("leftovers", wrong);
}
