//! Formulas by table, and by property that none panics.

use proptest::prelude::*;

use super::*;
use crate::tests::house::{euros, priced, product, with};
use crate::{Columns, Limits};

const DAY: i64 = 86_400_000;

fn value(formula: &str) -> Result<Option<f64>, FilterError> {
    let mut columns = Columns::new(Limits::default());
    let mut shirt = priced(with(with(product("shirt"), "stars", &["4.5"]), "released", &["1970-01-11"]), 2000);
    shirt.offer.sale_price = euros(1500);
    let shirt = with(with(with(shirt, "store", &["48.0,11.0"]), "color", &["red"]), "weight", &["1 kg", "800 g"]);
    let slot = columns.set(&shirt, 0).expect("room").slot;
    columns.set(&with(with(product("other"), "rank", &["3"]), "weight", &["2 kg"]), 0).expect("room");
    let snapshot = columns.snapshot();
    let formula = Formula::parse(formula).unwrap_or_else(|error| panic!("{formula}: {error}"));
    Ok(formula.bind(&snapshot, 20 * DAY)?.value(slot, 0.5))
}

#[test]
fn values_by_table() {
    for (formula, expected) in [
        ("score", Some(0.5)),
        ("1 + 2 * 3 - 4 / 2", Some(5.0)),
        ("(1 + 2) * -3", Some(-9.0)),
        ("2 - 3 - 4", Some(-5.0)),
        ("1e-1 * 10", Some(1.0)),
        ("stars * score", Some(2.25)),
        ("price", Some(20.0)),
        ("final_price + discount", Some(15.25)),
        ("rank ?? 7", Some(7.0)),
        ("-rank ?? 7", Some(-7.0)),
        ("rank ?? quantity ?? 2", Some(2.0)),
        ("1 + rank", None),
        ("rank * 0", None),
        ("1 / 0", None),
        ("ln(0 - 1)", None),
        ("exp(1000)", None),
        ("(1 / 0) ?? 3", None),
        ("ln(1) + log10(100) + sqrt(9) + abs(0 - 4) + exp(0)", Some(10.0)),
        ("pow(2, 10)", Some(1024.0)),
        ("min(3, 1, 2) + max(3, 1, 2)", Some(4.0)),
        ("clamp(score * 10, 0, 2)", Some(2.0)),
        ("clamp(0 - 5, 0, 2)", Some(0.0)),
        ("if(\"color = red\", 1, 2)", Some(1.0)),
        ("IF('color = \"blue\" OR price > 100', 1, 2)", Some(2.0)),
        ("age_days(released)", Some(10.0)),
        ("decay(age_days(released), 0, 10)", Some(0.5)),
        ("decay(5, 5, 2)", Some(1.0)),
        ("distance_m(store, 48.0, 11)", Some(0.0)),
        ("min(distance_m(store, -48.0, -11), 1)", Some(1.0)),
        ("weight", Some(0.8)),
        ("has_image + 1", Some(1.0)),
        ("`stars`", Some(4.5)),
    ] {
        let found = value(formula).expect(formula);
        let is_near = match (found, expected) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-9,
            (a, b) => a == b,
        };
        assert!(is_near, "{formula}: {found:?} is not {expected:?}");
    }
}

#[test]
fn mistakes_are_told() {
    for (formula, character, expected) in [
        ("", 1, "a number"),
        ("1 +", 4, "a number"),
        ("1 2", 3, "an operator"),
        ("(1", 3, "`)`"),
        ("lnn(1)", 1, "a function: ln"),
        ("pow(1)", 6, "`,`"),
        ("clamp(1, 2, 3, 4)", 14, "`)`"),
        ("if(color, 1, 2)", 4, "a filter in quotes"),
        ("age_days(5)", 10, "the name"),
        ("distance_m(store, 95, 1)", 19, "degrees"),
        ("stars > 3", 7, "an operator"),
        ("'open", 6, "the closing '"),
        ("1..2", 1, "a number"),
    ] {
        match Formula::parse(formula) {
            Err(FormulaError::Syntax { character: at, expected: wanted, .. }) => {
                assert_eq!(at, character, "{formula}: {wanted}");
                assert!(wanted.contains(expected), "{formula}: {wanted}");
            }
            other => panic!("{formula}: {other:?}"),
        }
    }
    assert!(matches!(Formula::parse("1 + if('a =', 1, 2)"), Err(FormulaError::Filter { character: 8, .. })));
    assert!(matches!(value("colour + 1"), Err(FilterError::UnknownAttribute { .. })));
    assert!(matches!(value("color + 1"), Err(FilterError::WrongKind { .. })));
    assert!(matches!(value("age_days(stars)"), Err(FilterError::WrongKind { .. })));
    assert!(matches!(value("distance_m(stars, 1, 1)"), Err(FilterError::WrongKind { .. })));
    assert!(matches!(value("if('colour = red', 1, 2)"), Err(FilterError::UnknownAttribute { .. })));
}

#[test]
fn what_is_too_large_is_refused_and_never_overflows() {
    assert_eq!(Formula::parse(&"1+".repeat(3_000)), Err(FormulaError::Long));
    assert_eq!(Formula::parse(&format!("{}1", "1+".repeat(200))), Err(FormulaError::Large));
    assert_eq!(Formula::parse(&"(".repeat(1_000)), Err(FormulaError::Deep));
    assert_eq!(Formula::parse(&"-".repeat(1_000)), Err(FormulaError::Deep));
    assert_eq!(Formula::parse(&"1 ?? ".repeat(100)), Err(FormulaError::Deep));
}

proptest! {
    #[test]
    fn no_text_panics(words in proptest::collection::vec(proptest::sample::select(vec![
        "1", "2.5", "+", "-", "*", "/", "(", ")", ",", "??", "score", "stars", "ln(", "pow(", "if(", "'color = red'", "é", "clamp(", "\"",
    ]), 0..15)) {
        if let Ok(formula) = Formula::parse(&words.join(" ")) {
            let columns = Columns::new(Limits::default());
            let snapshot = columns.snapshot();
            if let Ok(bound) = formula.bind(&snapshot, 0) {
                prop_assert!(bound.value(0, 1.0).is_none_or(f64::is_finite));
            }
        }
    }
}
