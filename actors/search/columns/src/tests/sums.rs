//! Facets against counting product by product.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Bound, FacetRequest, Filter, FilterError, Product, Scalar};
use proptest::prelude::*;

use super::house::{
    Catalog, any_filter, any_steps, lies, meets, number_in, offer_number, priced, product, serde_name, values_of, variant, with,
};
use super::table::apply;
use crate::column::STEP;
use crate::fold::fold;
use crate::measure::parse_time;
use crate::{Bitset, Columns, Limits, OfferValues, Snapshot, bits};

const FACETS: [&str; 9] = ["color", "size", "brand", "category", "price", "quantity", "availability", "released", "image_count"];

/// The keys of a product's values.
fn keys_of(product: &Product, name: &str) -> Vec<String> {
    match name {
        "price" | "quantity" => offer_number(product, name).map(|number| number.to_string()).into_iter().collect(),
        "availability" => vec![serde_name(OfferValues::of(product).availability).to_owned()],
        "category" => values_of(product, name).iter().map(|path| key_of_path(path)).collect(),
        _ => values_of(product, name).iter().map(|value| fold(value)).collect(),
    }
}

fn key_of_path(path: &str) -> String {
    path.split(" > ").map(fold).collect::<Vec<_>>().join(&STEP.to_string())
}

/// The numbers (or times) of a product.
fn numbers_of(product: &Product, name: &str, unit: &str) -> Vec<f64> {
    match name {
        "price" | "quantity" => offer_number(product, name).into_iter().collect(),
        "released" => {
            let times = values_of(product, name);
            times.iter().filter_map(|value| parse_time(&fold(value).to_uppercase())).map(|(time, _)| time as f64).collect()
        }
        _ => values_of(product, name).iter().filter_map(|value| number_in(&fold(value), unit)).collect(),
    }
}

/// The facet's own choices left out.
fn others(filter: &Filter, name: &str) -> Filter {
    fn has_not(filter: &Filter) -> bool {
        match filter {
            Filter::All(items) | Filter::Any(items) => items.iter().any(has_not),
            Filter::Not(_) | Filter::Exists { .. } => true,
            _ => false,
        }
    }
    let kept = filter.conjuncts().into_iter().filter(|item| item.sole_attribute() != Some(name) || has_not(item));
    Filter::All(kept.cloned().collect())
}

fn group_of(product: &Product) -> String {
    product.group_id.clone().unwrap_or_else(|| format!("alone {}", product.id))
}

fn check(
    snapshot: &Snapshot,
    products: &[&Product],
    request: &FacetRequest,
    filter: &Filter,
    within: &Bitset,
) -> Result<(), TestCaseError> {
    let counts = match snapshot.facets(std::slice::from_ref(request), within, Some(filter)) {
        Ok(mut counts) => counts.remove(0),
        Err(FilterError::WrongKind { .. } | FilterError::UnknownAttribute { .. }) => return Ok(()),
        Err(error) => return Err(TestCaseError::fail(error.to_string())),
    };
    let name = request.attribute.as_str();
    let unit = |name: &str| snapshot.unit_of(name).to_owned();
    let rest = others(filter, name);
    let set: Vec<&&Product> = products.iter().filter(|product| meets(product, &rest, &unit)).collect();
    let is_grouped = request.group_by.is_some();
    let counted = |products: &mut dyn Iterator<Item = &Product>| -> u64 {
        if is_grouped { products.map(group_of).collect::<BTreeSet<_>>().len() as u64 } else { products.count() as u64 }
    };
    let mut by_key: BTreeMap<String, Vec<&Product>> = BTreeMap::new();
    for product in &set {
        keys_of(product, name).into_iter().for_each(|key| by_key.entry(key).or_default().push(product));
    }
    let mut expected: Vec<(u64, String)> = by_key.iter().map(|(key, having)| (counted(&mut having.iter().copied()), key.clone())).collect();
    prop_assert_eq!(counts.distinct, expected.len() as u64, "{} {}", name, filter);
    prop_assert_eq!(counts.missing, counted(&mut set.iter().filter(|product| keys_of(product, name).is_empty()).map(|product| **product)));
    let number = |key: &str| key.parse::<f64>().unwrap_or(f64::NAN);
    let is_number = matches!(name, "price" | "quantity");
    expected.sort_by(|a, b| {
        let by_value = if is_number { number(&a.1).total_cmp(&number(&b.1)) } else { a.1.cmp(&b.1) };
        b.0.cmp(&a.0).then(by_value)
    });
    expected.truncate(if request.ranges.is_empty() { request.limit } else { 0 });
    let key = |shown: &str| if name == "category" { key_of_path(shown) } else { fold(shown) };
    let found: Vec<(u64, String)> = counts.values.iter().map(|value| (value.count, key(&value.value))).collect();
    prop_assert_eq!(found, expected, "{} {}", name, filter);
    let numbers: Vec<Vec<f64>> =
        set.iter().map(|product| numbers_of(product, name, &unit(name))).filter(|numbers| !numbers.is_empty()).collect();
    let is_mixed = name == "size";
    if let Some(stats) = counts.stats.filter(|_| !is_mixed) {
        let least = numbers.iter().map(|numbers| numbers.iter().copied().fold(f64::INFINITY, f64::min));
        let sum: f64 = least.clone().sum();
        prop_assert_eq!(stats.count, numbers.len() as u64);
        prop_assert_eq!(stats.min, least.fold(f64::INFINITY, f64::min));
        prop_assert_eq!(stats.max, numbers.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max));
        let slack = 1e-9 * sum.abs().max(1.0);
        prop_assert!((stats.sum - sum).abs() <= slack && (stats.mean - sum / numbers.len() as f64).abs() <= slack);
    }
    for ((from, to), range) in request.ranges.iter().zip(&counts.ranges) {
        let has = |product: &Product| numbers_of(product, name, &unit(name)).iter().any(|number| lies(Scalar::Number(*number), *from, *to));
        prop_assert_eq!(range.count, counted(&mut set.iter().map(|product| **product).filter(|product| has(product))), "{}", name);
    }
    if request.auto_ranges > 0 && request.ranges.is_empty() && !is_mixed && !is_grouped && request.auto_ranges >= counts.ranges.len() {
        // Each product with one number lies in just one of them.
        let single = numbers.iter().all(|numbers| numbers.len() == 1);
        let total: u64 = counts.ranges.iter().map(|range| range.count).sum();
        prop_assert!(!single || total == numbers.len() as u64, "{:?}", counts.ranges);
    }
    Ok(())
}

fn request() -> impl Strategy<Value = FacetRequest> {
    let end = || {
        proptest::option::of(
            (0_u32..40, any::<bool>())
                .prop_map(|(number, is_inclusive)| Bound { value: Scalar::Number(f64::from(number) * 2.5), is_inclusive }),
        )
    };
    let ranges = proptest::collection::vec((end(), end()), 0..3);
    (proptest::sample::select(&FACETS[..]), 0_usize..6, ranges, 0_usize..4, any::<bool>()).prop_map(
        |(attribute, limit, ranges, auto_ranges, is_grouped)| {
            let has_numbers = matches!(attribute, "price" | "quantity" | "image_count");
            FacetRequest {
                attribute: attribute.into(),
                limit,
                ranges: if has_numbers { ranges } else { Vec::new() },
                auto_ranges,
                group_by: is_grouped.then(|| "group_id".to_owned()),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn facets_count_what_is_there(
        steps in any_steps(50),
        requests in proptest::collection::vec(request(), 1..4),
        filters in proptest::collection::vec(any_filter(), 1..4),
        masked in any::<u64>(),
    ) {
        let (mut columns, mut catalog) = (Columns::new(Limits::default()), Catalog::new());
        steps.iter().for_each(|step| apply(&mut columns, &mut catalog, step, 0));
        let snapshot = columns.snapshot();
        let mut within = snapshot.alive();
        within.iter_mut().for_each(|word| *word &= masked);
        let is_within = |product: &Product| snapshot.slot(product.id.as_str()).is_some_and(|slot| bits::contains(&within, slot));
        let products: Vec<&Product> = catalog.values().filter(|product| is_within(product)).collect();
        for request in &requests {
            check(&snapshot, &products, request, &Filter::All(filters.clone()), &within)?;
            check(&snapshot, &products, request, &Filter::default(), &within)?;
        }
    }
}

fn asked(attribute: &str) -> FacetRequest {
    FacetRequest { attribute: attribute.into(), limit: 10, ..FacetRequest::default() }
}

#[test]
fn own_choices_are_left_out_and_groups_count_once() {
    let mut columns = Columns::new(Limits::default());
    for (id, color, size, group) in
        [("a", "Red", "S", "g"), ("b", "red", "M", "g"), ("c", "Blue", "S", "h"), ("d", "Green", "L", "i"), ("e", "Blue", "M", "h")]
    {
        let mut product = with(with(product(id), "color", &[color]), "size", &[size]);
        product.group_id = Some(group.into());
        product.variants = vec![variant("1", &[("size", size)], Default::default()), variant("2", &[("size", "S")], Default::default())];
        columns.set(&product, 0).expect("room");
    }
    let snapshot = columns.snapshot();
    let filter = Filter::parse("Color = red AND size IN [M, S] AND NOT color = green").expect("a filter");
    let counts = |request: FacetRequest| {
        let counts = snapshot.facets(&[request], &snapshot.alive(), Some(&filter)).expect("counts").remove(0);
        counts.values.into_iter().map(|value| (value.value, value.count)).collect::<Vec<_>>()
    };
    let owned = |values: &[(&str, u64)]| values.iter().map(|(value, count)| ((*value).to_owned(), *count)).collect::<Vec<_>>();
    assert_eq!(counts(asked("color")), owned(&[("Blue", 2), ("Red", 2)]));
    assert_eq!(counts(asked("size")), owned(&[("S", 2), ("M", 1)]));
    assert_eq!(counts(FacetRequest { group_by: Some("group_id".into()), ..asked("color") }), owned(&[("Blue", 1), ("Red", 1)]));
}

#[test]
fn automatic_ranges_are_round_and_even() {
    let mut columns = Columns::new(Limits::default());
    for number in 0..1_000_i64 {
        columns.set(&priced(product(&number.to_string()), 500 + number * number / 50), 0).expect("room");
    }
    let snapshot = columns.snapshot();
    let request = FacetRequest { auto_ranges: 4, ..asked("price") };
    let counts = snapshot.facets(&[request], &snapshot.alive(), None).expect("counts").remove(0);
    assert_eq!(counts.ranges.len(), 4);
    assert_eq!(counts.ranges.iter().map(|range| range.count).sum::<u64>(), 1_000);
    assert!(counts.ranges.iter().all(|range| (200..300).contains(&range.count)), "{:?}", counts.ranges);
    let cuts: Vec<f64> = counts.ranges.iter().filter_map(|range| range.from).collect();
    assert!(cuts.iter().all(|cut| (cut * 10.0).fract() == 0.0), "{cuts:?}");
    assert_eq!((counts.ranges[0].from, counts.ranges[3].to), (None, None));
}

#[test]
fn facets_that_cannot_be_counted_are_refused() {
    let mut columns = Columns::new(Limits { values_max: 2, ..Limits::default() });
    for number in 0..4 {
        columns.set(&with(product(&number.to_string()), "code", &[&number.to_string()]), 0).expect("room");
    }
    let snapshot = columns.snapshot();
    let error = |request: FacetRequest| snapshot.facets(&[request], &snapshot.alive(), None).expect_err("refused");
    assert!(matches!(error(asked("code")), FilterError::NotFilterable { .. }));
    assert!(matches!(error(asked("id")), FilterError::NotFilterable { .. }));
    assert!(matches!(error(asked("codes")), FilterError::UnknownAttribute { .. }));
    let ranges = vec![(None, None)];
    assert!(matches!(error(FacetRequest { ranges: ranges.clone(), ..asked("brand") }), FilterError::WrongKind { .. }));
    assert!(matches!(error(FacetRequest { ranges: vec![(None, None); 2_000], ..asked("price") }), FilterError::Bound(_)));
    let filter = Filter::parse("colour = red").expect("a filter");
    assert!(snapshot.facets(&[asked("price")], &snapshot.alive(), Some(&filter)).is_err());
}
