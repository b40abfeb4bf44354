//! Both forms by table and by property.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn within(attribute: &str, values: &[&str]) -> Filter {
    Filter::In { attribute: attribute.into(), values: values.iter().map(|value| (*value).to_owned()).collect() }
}

fn not(filter: Filter) -> Filter {
    Filter::Not(Box::new(filter))
}

fn bound(value: f64, is_inclusive: bool) -> Option<Bound> {
    Some(Bound { value: Scalar::Number(value), is_inclusive })
}

fn range(attribute: &str, from: Option<Bound>, to: Option<Bound>) -> Filter {
    Filter::Range { attribute: attribute.into(), from, to }
}

fn time(milliseconds: i64, is_inclusive: bool) -> Option<Bound> {
    Some(Bound { value: Scalar::Time(milliseconds), is_inclusive })
}

fn under(path: &[&str]) -> Filter {
    Filter::Under { attribute: "category".into(), path: path.iter().map(|step| (*step).to_owned()).collect() }
}

#[test]
fn texts_by_table() {
    let exists = |attribute: &str| Filter::Exists { attribute: attribute.into() };
    let near = |radius_m| Filter::Near { attribute: "location".into(), latitude: 48.1, longitude: -11.5, radius_m };
    for (text, expected) in [
        ("", Filter::All(vec![])),
        ("  ", Filter::All(vec![])),
        ("TRUE", Filter::All(vec![])),
        ("not false", not(Filter::Any(vec![]))),
        ("color = red", within("color", &["red"])),
        ("color='Navy \"Blue\"'", within("color", &["Navy \"Blue\""])),
        (r#"color = "a\"b\\c\n\u{e9}\u00e9""#, within("color", &["a\"b\\c\néé"])),
        ("brand = Levi's", within("brand", &["Levi's"])),
        ("color != red", not(within("color", &["red"]))),
        ("brand in [\"A\",B]", within("brand", &["A", "B"])),
        ("brand IN ('A', \"B\")", within("brand", &["A", "B"])),
        ("brand NOT IN [A]", not(within("brand", &["A"]))),
        ("price 10 TO 50", range("price", bound(10.0, true), bound(50.0, true))),
        ("price > 10 to < 50", range("price", bound(10.0, false), bound(50.0, false))),
        ("price * TO <= 50", range("price", None, bound(50.0, true))),
        ("price * TO *", range("price", None, None)),
        ("price<10.5", range("price", None, bound(10.5, false))),
        ("price >= -1e2", range("price", bound(-100.0, true), None)),
        ("released 1970-01-01 TO 1970-01-02", range("released", time(0, true), time(172_800_000, false))),
        ("released > 1970-01-01T00:00:01Z", range("released", time(1_000, false), None)),
        ("category UNDER \"Apparel > Topwear\"", under(&["Apparel", "Topwear"])),
        ("category under Apparel", under(&["Apparel"])),
        ("category UNDER [\"A > B\", C]", under(&["A > B", "C"])),
        ("EXISTS color", exists("color")),
        ("exists(color)", exists("color")),
        ("color IS NULL", not(exists("color"))),
        ("color is not null", exists("color")),
        ("NEAR(location, 48.1, -11.5, 5km)", near(5_000.0)),
        ("near (location, 48.1, -11.5, 300)", near(300.0)),
        ("near(location, 48.1, -11.5, 2 mi)", near(3_218.688)),
        ("near = x", within("near", &["x"])),
        ("größe = 38 AND 素材 = 綿", Filter::All(vec![within("größe", &["38"]), within("素材", &["綿"])])),
        ("`Option 1``s` = x AND `and` = y", Filter::All(vec![within("Option 1`s", &["x"]), within("and", &["y"])])),
        (
            "a = 1 OR b = 2 AND NOT c = 3",
            Filter::Any(vec![within("a", &["1"]), Filter::All(vec![within("b", &["2"]), not(within("c", &["3"]))])]),
        ),
        ("(a = 1 OR b = 2) AND c = 3", Filter::All(vec![Filter::Any(vec![within("a", &["1"]), within("b", &["2"])]), within("c", &["3"])])),
    ] {
        let parsed = Filter::parse(text);
        // `near` is a keyword before a parenthesis only, yet as a name it is printed in backticks.
        assert_eq!(parsed.as_ref(), Ok(&expected), "{text}");
        assert_eq!(Filter::parse(&expected.to_string()), Ok(expected), "{text}");
    }
}

#[test]
fn mistakes_name_the_place_what_was_found_and_what_was_expected() {
    for (text, character, found, expected) in [
        ("brand", 6, "the end", "`IN`"),
        ("brand = ", 9, "the end", "a value"),
        ("größe = [", 9, "`[`", "a value"),
        ("brand IN []", 11, "`]`", "a value"),
        ("brand IN [A B]", 13, "`B`", "`,` or `]`"),
        ("brand IN (A]", 12, "`]`", "`)`"),
        ("price < cheap", 9, "`cheap`", "a number"),
        ("price 10 TO", 12, "the end", "a number"),
        ("price 10 50", 7, "`10`", "a range"),
        ("(a = 1", 7, "the end", "`)`"),
        ("a = 1 b = 2", 7, "`b`", "`AND`"),
        ("AND a = 1", 1, "`AND`", "backticks"),
        ("a = 1 AND", 10, "the end", "an attribute"),
        ("a = and", 5, "`and`", "quotes"),
        ("\"a\" = 1", 1, "\"a\"", "backticks"),
        ("a = \"x", 7, "the end", "closing \""),
        ("`a = 1", 7, "the end", "closing `"),
        ("a = \"\\q\"", 6, "`\\q`", "one of"),
        ("a = \"\\u{110000}\"", 7, "`\\u`", "Unicode"),
        ("a = \"\\u12\"", 7, "`\\u`", "Unicode"),
        ("a = ''", 5, "\"\"", "not blank"),
        ("a IS 1", 6, "`1`", "`NULL`"),
        ("category UNDER 'A >'", 16, "\"A >\"", "not blank"),
        ("NEAR(l, 95, 1, 1km)", 9, "`95`", "a latitude"),
        ("NEAR(l, 5, 1, -1km)", 15, "`-1km`", "a distance"),
        ("NEAR(l, 5, 1, 1 parsec)", 15, "`1`", "a distance"),
        ("a = {x}", 5, "`{`", "a value"),
    ] {
        match Filter::parse(text) {
            Err(FilterError::Syntax { byte, character: at, found: was, expected: wanted }) => {
                assert_eq!((at, was.as_str()), (character, found), "{text}");
                assert!(wanted.contains(expected), "{text}: {wanted}");
                assert_eq!(text[..byte].chars().count() + 1, at, "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn json_by_table() {
    for (json, expected) in [
        (json!({}), Filter::All(vec![])),
        (json!(true), Filter::All(vec![])),
        (json!(false), Filter::Any(vec![])),
        (json!("color = red"), within("color", &["red"])),
        (json!({"attribute": "brand", "in": ["A", 1, true]}), within("brand", &["A", "1", "true"])),
        (json!({"attribute": "brand", "eq": "A"}), within("brand", &["A"])),
        (json!({"attribute": "brand", "ne": "A"}), not(within("brand", &["A"]))),
        (json!({"attribute": "brand", "not_in": ["A"]}), not(within("brand", &["A"]))),
        (json!({"attribute": "price", "gte": 10, "lt": 50}), range("price", bound(10.0, true), bound(50.0, false))),
        (json!({"attribute": "price", "gt": null}), range("price", None, None)),
        (json!({"attribute": "released", "lte": "1970-01-01"}), range("released", None, time(86_400_000, false))),
        (json!({"attribute": "category", "under": ["A", "B"]}), under(&["A", "B"])),
        (json!({"attribute": "category", "under": "A > B"}), under(&["A", "B"])),
        (json!({"attribute": "color", "exists": false}), not(Filter::Exists { attribute: "color".into() })),
        (
            json!({"attribute": "location", "near": {"lat": 1, "lon": 2, "radius_m": 3}}),
            Filter::Near { attribute: "location".into(), latitude: 1.0, longitude: 2.0, radius_m: 3.0 },
        ),
        (
            json!({"must": [{"attribute": "a", "eq": "1"}], "should": ["b = 2", "c = 3"], "must_not": ["d = 4"]}),
            Filter::All(vec![within("a", &["1"]), Filter::Any(vec![within("b", &["2"]), within("c", &["3"])]), not(within("d", &["4"]))]),
        ),
        (json!({"should": ["a = 1", "b = 2"]}), Filter::Any(vec![within("a", &["1"]), within("b", &["2"])])),
        (json!({"must_not": ["a = 1"]}), not(within("a", &["1"]))),
    ] {
        assert_eq!(Filter::from_json(&json).as_ref(), Ok(&expected), "{json}");
        assert_eq!(serde_json::from_value::<Filter>(json.clone()).expect("a filter"), expected, "{json}");
    }
}

#[test]
fn bad_json_names_the_pointer() {
    for (json, pointer, detail) in [
        (json!(1), "", "a number is no filter"),
        (json!({"must": {}}), "/must", "no list"),
        (json!({"must": [{"attribute": "a", "eq": "1"}, 7]}), "/must/1", "a number is no filter"),
        (json!({"must": ["a = 1", "b ="]}), "/must/1", "character 4"),
        (json!({"mist": []}), "/mist", "did you mean `must`"),
        (json!({"in": ["a"]}), "/in", "`attribute`"),
        (json!({"should": []}), "/should", "empty"),
        (json!({"attribute": 5, "eq": 1}), "/attribute", "name"),
        (json!({"attribute": "a"}), "", "one of"),
        (json!({"attribute": "a", "in": []}), "/in", "empty"),
        (json!({"attribute": "a", "in": ["x", null]}), "/in/1", "null"),
        (json!({"attribute": "a", "eq": " "}), "/eq", "blank"),
        (json!({"attribute": "a", "eq": "x", "exists": true}), "", "one of"),
        (json!({"attribute": "a", "gte": 1, "gt": 2}), "/gte", "same end"),
        (json!({"attribute": "a", "gte": 1, "in": ["x"]}), "/in", "beside a range"),
        (json!({"attribute": "a", "gte": "soon"}), "/gte", "`soon` is no number"),
        (json!({"attribute": "a", "exists": "yes"}), "/exists", "`true`"),
        (json!({"attribute": "a", "gt3": 1}), "/gt3", "did you mean `gt`"),
        (json!({"attribute": "a", "x/y": 1}), "/x~1y", "unknown"),
        (json!({"attribute": "a", "under": ["A", ""]}), "/under/1", "blank"),
        (json!({"attribute": "a", "near": {"lat": 99, "lon": 0, "radius_m": 1}}), "/near/lat", "-90 to 90"),
        (json!({"attribute": "a", "near": {"lat": 9, "lon": 0, "radius": 1}}), "/near/radius", "radius_m"),
        (json!({"must": [{"must_not": [{"attribute": "a", "near": 1}]}]}), "/must/0/must_not/0/near", "no object"),
    ] {
        match Filter::from_json(&json) {
            Err(FilterError::Json { pointer: at, detail: what }) => {
                assert_eq!(at, pointer, "{json}: {what}");
                assert!(what.contains(detail), "{json}: {what}");
            }
            other => panic!("{json}: {other:?}"),
        }
    }
}

#[test]
fn what_is_too_large_is_refused_and_never_overflows() {
    let bound = |text: &str| match Filter::parse(text) {
        Err(FilterError::Bound(bound)) => Some(bound),
        _ => None,
    };
    let deep = |levels: usize| format!("{}a = 1{}", "(".repeat(levels), ")".repeat(levels));
    assert_eq!(bound(&deep(FILTER_DEPTH_MAX - 1)), None);
    assert_eq!(bound(&deep(FILTER_DEPTH_MAX)), Some(FilterBound::Depth));
    assert_eq!(bound(&deep(100_000)), Some(FilterBound::Depth));
    assert_eq!(bound(&format!("{} a = 1", "NOT ".repeat(50_000))), Some(FilterBound::Depth));
    assert_eq!(bound(&vec!["a = 1"; FILTER_NODES_MAX].join(" OR ")), Some(FilterBound::Nodes));
    assert_eq!(bound(&format!("a IN [{}]", vec!["x"; FILTER_VALUES_MAX + 1].join(","))), Some(FilterBound::Values));
    assert_eq!(bound(&format!("a = {}", "x".repeat(FILTER_VALUE_BYTES_MAX + 1))), Some(FilterBound::ValueBytes));
    assert_eq!(bound(&" ".repeat(FILTER_TEXT_BYTES_MAX + 1)), Some(FilterBound::TextBytes));
    let mut nested = json!("a = 1");
    for _ in 0..FILTER_DEPTH_MAX {
        nested = json!({ "must_not": [nested] });
    }
    assert_eq!(Filter::from_json(&nested), Err(FilterError::Bound(FilterBound::Depth)));
}

#[test]
fn conjuncts_are_found_through_lists() {
    let filter = Filter::parse("a = 1 AND (b = 2 AND (c = 3 OR c = 4)) AND NOT d = 5").expect("a filter");
    let attributes: Vec<_> = filter.conjuncts().into_iter().map(Filter::sole_attribute).collect();
    assert_eq!(attributes, [Some("a"), Some("b"), Some("c"), Some("d")]);
    assert_eq!(Filter::parse("a = 1 OR b = 2").expect("a filter").sole_attribute(), None);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zäß素][a-z0-9_.:-]{0,6}", proptest::sample::select(&parse::RESERVED[..]).prop_map(str::to_owned), "[ -~`ü]{0,5}x",]
}

fn leaf() -> impl Strategy<Value = Filter> {
    let value = || "[ -~é\n\u{1}\"\\\\>]{0,6}[a-z>]";
    let scalar = prop_oneof![
        any::<i32>().prop_map(|number| Scalar::Number(f64::from(number) / 100.0)),
        (-62_000_000_000_000_i64..250_000_000_000_000).prop_map(Scalar::Time),
    ];
    let end = || proptest::option::of((scalar.clone(), any::<bool>()).prop_map(|(value, is_inclusive)| Bound { value, is_inclusive }));
    prop_oneof![
        (name(), proptest::collection::vec(value(), 1..4)).prop_map(|(attribute, values)| Filter::In { attribute, values }),
        (name(), end(), end()).prop_map(|(attribute, from, to)| Filter::Range { attribute, from, to }),
        (name(), proptest::collection::vec(value(), 1..4)).prop_map(|(attribute, path)| Filter::Under { attribute, path }),
        name().prop_map(|attribute| Filter::Exists { attribute }),
        (name(), -9000..=9000, -18000..=18000, 0..20_000_000).prop_map(|(attribute, latitude, longitude, radius_m)| {
            let (latitude, longitude) = (f64::from(latitude) / 100.0, f64::from(longitude) / 100.0);
            Filter::Near { attribute, latitude, longitude, radius_m: f64::from(radius_m) }
        }),
    ]
}

/// Lists have no or several members: one alone reads back without its list.
fn filter() -> impl Strategy<Value = Filter> {
    let list = |inner| prop_oneof![Just(Vec::new()).boxed(), proptest::collection::vec(inner, 2..4).boxed()];
    leaf().prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            list(inner.clone().boxed()).prop_map(Filter::All),
            list(inner.clone().boxed()).prop_map(Filter::Any),
            inner.prop_map(not),
        ]
    })
}

proptest! {
    #[test]
    fn the_string_form_reads_back(filter in filter()) {
        let text = filter.to_string();
        prop_assert_eq!(Filter::parse(&text), Ok(filter), "{}", text);
    }

    #[test]
    fn every_finite_number_reads_back(from in any::<f64>(), to in any::<f64>()) {
        prop_assume!(from.is_finite() && to.is_finite());
        let filter = range("price", bound(from, true), bound(to, false));
        prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter.clone()));
        prop_assert_eq!(Filter::from_json(&filter.to_json()), Ok(filter));
    }

    #[test]
    fn the_json_form_reads_back(filter in filter()) {
        let json = filter.to_json();
        prop_assert_eq!(Filter::from_json(&json), Ok(filter.clone()), "{}", json);
        let through_text: serde_json::Value = serde_json::from_str(&json.to_string()).expect("JSON");
        prop_assert_eq!(Filter::from_json(&through_text), Ok(filter));
    }

    #[test]
    fn no_text_and_no_json_panics(text in "[ -~äß「\n]{0,40}", words in proptest::collection::vec(
        proptest::sample::select(vec!["NOT", "(", ")", "a", "=", "IN", "[", "]", ",", "\"x\"", "5", "TO", "AND", "OR", "IS", "NULL", "UNDER", "NEAR", "<", "*"]), 0..20,
    )) {
        let _ = Filter::parse(&text);
        if let Ok(filter) = Filter::parse(&words.join(" ")) {
            prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
        }
    }
}
