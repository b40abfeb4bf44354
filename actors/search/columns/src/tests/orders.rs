//! Sorting against sorting everything.

use std::cmp::Ordering;

use domain::{FilterError, Product, SortKey};
use proptest::prelude::*;

use super::house::{Catalog, any_steps, number_in, offer_number, product, serde_name, values_of, with};
use super::table::apply;
use crate::fold::fold;
use crate::measure::parse_time;
use crate::{Columns, Limits, OfferValues, slots};

const KEYS: [&str; 9] = ["price", "final_price", "quantity", "title", "brand", "released", "availability", "color", "id"];

#[derive(Debug, PartialEq, PartialOrd)]
enum Value {
    Number(f64),
    Text(String),
}

/// What a key reads of a product; of several values the one that comes first.
fn value(product: &Product, key: &SortKey) -> Option<Value> {
    let name = key.attribute.as_str();
    let all: Vec<Value> = match name {
        "price" | "final_price" | "quantity" => offer_number(product, name).map(Value::Number).into_iter().collect(),
        "availability" => {
            let order = ["in_stock", "backorder", "preorder", "out_of_stock"];
            let own = serde_name(OfferValues::of(product).availability);
            order.iter().position(|name| *name == own).map(|place| Value::Number(place as f64)).into_iter().collect()
        }
        "released" => {
            let times = values_of(product, name);
            times.iter().filter_map(|value| parse_time(&fold(value).to_uppercase())).map(|(time, _)| Value::Number(time as f64)).collect()
        }
        "id" => vec![Value::Text(product.id.to_string())],
        _ => values_of(product, name).iter().map(|value| Value::Text(fold(value))).collect(),
    };
    let compare = |a: &Value, b: &Value| a.partial_cmp(b).unwrap_or(Ordering::Equal);
    if key.is_descending { all.into_iter().max_by(compare) } else { all.into_iter().min_by(compare) }
}

fn compare(a: &Product, b: &Product, key: &SortKey) -> Ordering {
    match (value(a, key), value(b, key)) {
        (None, None) => Ordering::Equal,
        (None, _) => Ordering::Greater,
        (_, None) => Ordering::Less,
        (Some(a), Some(b)) => {
            let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            if key.is_descending { order.reverse() } else { order }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_top_is_the_beginning_of_the_whole_order(
        steps in any_steps(60),
        keys in proptest::collection::vec((proptest::sample::select(&KEYS[..]), any::<bool>()), 0..3),
        limit in 0_usize..40,
        seed in any::<u32>(),
    ) {
        let (mut columns, mut catalog) = (Columns::new(Limits::default()), Catalog::new());
        steps.iter().for_each(|step| apply(&mut columns, &mut catalog, step, 0));
        let snapshot = columns.snapshot();
        let keys: Vec<SortKey> = keys.into_iter().map(|(name, is_descending)| SortKey { attribute: name.into(), is_descending }).collect();
        let score = |slot: u32| (slot.wrapping_mul(seed) % 3) as f32;
        let candidates = slots(&snapshot.alive()).map(|slot| (slot, score(slot))).collect::<Vec<_>>();
        let found = match snapshot.top(&keys, candidates, limit) {
            Ok(found) => found,
            Err(FilterError::UnknownAttribute { .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let mut expected: Vec<&Product> = catalog.values().collect();
        let score_of = |product: &Product| snapshot.slot(product.id.as_str()).map_or(0.0, score);
        expected.sort_by(|a, b| {
            let by_keys = keys.iter().map(|key| compare(a, b, key)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
            by_keys.then(score_of(b).total_cmp(&score_of(a))).then(a.id.cmp(&b.id))
        });
        let expected: Vec<String> = expected.into_iter().take(limit).map(|product| product.id.to_string()).collect();
        let found: Vec<String> = found.into_iter().map(|(slot, _)| snapshot.id(slot).expect("a product").to_string()).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn the_best_of_many_are_found_without_sorting_all() {
    let mut columns = Columns::new(Limits::default());
    for number in 0..3_000_u32 {
        let rank = number.wrapping_mul(2_654_435_761) % 1_000;
        columns.set(&with(product(&format!("p{number:04}")), "rank", &[&format!("{rank} cm")]), 0).expect("room");
    }
    columns.set(&product("none"), 0).expect("room");
    let snapshot = columns.snapshot();
    let number = |slot: u32| {
        let code = snapshot.value_of(slot, "rank").expect("known");
        code.and_then(|code| snapshot.value_text("rank", code).expect("known")).and_then(|text| number_in(&fold(text), "cm"))
    };
    for is_descending in [false, true] {
        let key = SortKey { attribute: "rank".into(), is_descending };
        let all = snapshot.top(std::slice::from_ref(&key), slots(&snapshot.alive()).map(|slot| (slot, 0.0)), 10_000).expect("known");
        assert_eq!((all.len(), number(all[3_000].0)), (3_001, None));
        let numbers: Vec<f64> = all[..3_000].iter().filter_map(|(slot, _)| number(*slot)).collect();
        assert!(numbers.windows(2).all(|pair| if is_descending { pair[0] >= pair[1] } else { pair[0] <= pair[1] }));
        let top = snapshot.top(&[key], slots(&snapshot.alive()).map(|slot| (slot, 0.0)), 50).expect("known");
        assert_eq!(top, all[..50]);
    }
    let keys = vec![SortKey { attribute: "rank".into(), is_descending: false }; 9];
    assert!(matches!(snapshot.top(&keys, [], 1), Err(FilterError::Bound(_))));
}

#[test]
fn attributes_are_listed_with_examples() {
    let mut columns = Columns::new(Limits::default());
    for (id, color, weight) in [("a", "Red", "1 kg"), ("b", "red", "2 kg"), ("c", "Blue", "300 g")] {
        let mut product = with(with(product(id), "color", &[color]), "weight", &[weight]);
        product.brand = Some("Acme".into());
        columns.set(&product, 0).expect("room");
    }
    let attributes = columns.snapshot().attributes();
    let named = |name: &str| attributes.iter().find(|info| info.name == name).unwrap_or_else(|| panic!("{name} is listed"));
    let color = named("color");
    assert_eq!(
        (color.kind, color.products, color.values, color.examples.as_slice()),
        ("text", 3, 2, &["Red".to_owned(), "Blue".into()][..])
    );
    assert_eq!((named("weight").kind, named("weight").unit.as_str()), ("number", "kg"));
    assert_eq!((named("has_image").kind, named("id").kind, named("id").products), ("boolean", "identifier", 3));
    assert!(attributes.iter().all(|info| info.name != "price" && info.name != "sku"), "none has them");
}
