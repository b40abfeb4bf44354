//! Filters by table, and by property against their meaning.

use domain::{Filter, FilterError};
use proptest::prelude::*;

use super::house::{Catalog, Step, any_filter, any_steps, found, meets, priced, product, under, variant, with};
use crate::{Columns, Limits, OfferValues, Snapshot, slots};

fn shop() -> Columns {
    let mut columns = Columns::new(Limits::default());
    let mut shirt = under(with(priced(product("shirt"), 1990), "color", &["Navy Blue", "weiß"]), &["Apparel > Topwear > Shirts"]);
    shirt.brand = Some("Ünlü".into());
    shirt.offer.quantity = Some(7);
    shirt.variants = vec![variant("s", &[("size", "S")], Default::default()), variant("m", &[("size", "M")], Default::default())];
    let shoe =
        under(with(with(priced(product("shoe"), 8900), "weight", &["0.9 kg"]), "released", &["2024-01-31"]), &["Shoes", "Apparel > Shoes"]);
    let scale = with(product("scale"), "weight", &["2 kg"]);
    let bag = with(with(with(product("bag"), "weight", &["750 g"]), "price", &["odd"]), "store", &["48.14,11.58"]);
    for product in [shirt, with(with(shoe, "color", &["navy  blue"]), "Öl-Gehalt", &["12,5 %"]), bag, scale] {
        columns.set(&product, 0).expect("room");
    }
    columns
}

#[test]
fn filters_by_table() {
    let snapshot = shop().snapshot();
    for (filter, expected) in [
        ("", &["bag", "scale", "shirt", "shoe"][..]),
        ("FALSE", &[]),
        ("id IN [shoe, nothing]", &["shoe"]),
        ("color = 'NAVY BLUE'", &["shirt", "shoe"]),
        ("color = weiss AND brand = unlu", &["shirt"]),
        ("Color = weiss", &["shirt"]),
        ("`öl gehalt` > 12", &["shoe"]),
        ("NOT color = weiss", &["bag", "scale", "shoe"]),
        ("color IS NULL", &["bag", "scale"]),
        ("size = m", &["shirt"]),
        ("price = 19.9", &["shirt"]),
        ("price 19.90 TO 89", &["shirt", "shoe"]),
        ("price > 19.90", &["shoe"]),
        ("price < 100 AND EXISTS weight", &["shoe"]),
        ("EXISTS price", &["shirt", "shoe"]),
        ("attributes.price = odd", &["bag"]),
        ("quantity >= 7", &["shirt"]),
        ("availability = 'In Stock' AND currency = eur", &["shirt", "shoe"]),
        ("weight < 0.8", &["bag"]),
        ("weight = 750g", &["bag"]),
        ("released = 2024-01-31", &["shoe"]),
        ("released <= 2024-01-31", &["shoe"]),
        ("released < 2024-01-31", &[]),
        ("category UNDER Apparel", &["shirt", "shoe"]),
        ("category UNDER 'apparel > TOPWEAR'", &["shirt"]),
        ("category = Shoes", &["shoe"]),
        ("category = Shirts", &["shirt"]),
        ("category UNDER Shirts", &[]),
        ("NEAR(store, 48.1, 11.5, 10km)", &["bag"]),
        ("NEAR(store, 48.1, 11.5, 1km)", &[]),
        ("has_image = false AND image_count = 0", &["bag", "scale", "shirt", "shoe"]),
        ("title = 'product SHOE'", &["shoe"]),
    ] {
        assert_eq!(found(&snapshot, filter), expected, "{filter}");
    }
}

#[test]
fn mistakes_are_told() {
    let snapshot = shop().snapshot();
    for (filter, expected) in [
        ("colour = red", "there is no attribute `colour`; near to it: `color`"),
        ("zzzzzzzz = red", "there is no attribute `zzzzzzzz`"),
        ("color > 5", "`color` is text and has no numbers to compare"),
        ("weight > 2024-01-01", "`weight` is number and has no times to compare"),
        ("released > 5", "`released` is time and has no numbers to compare"),
        ("color UNDER red", "`color` is text and has no paths"),
        ("NEAR(color, 1, 1, 1)", "`color` is text and has no places"),
        ("availability = soon", "`soon` is no value of `availability`"),
        ("price = cheap", "`cheap` is no value of `price`"),
        ("currency = euro", "`euro` is no value of `currency`"),
        ("availability > 5", "`availability` is text"),
        ("id > 5", "`id` is identifier"),
        ("FALSE AND colour = red", "there is no attribute"),
    ] {
        let error = snapshot.evaluate(&Filter::parse(filter).expect("a filter")).expect_err(filter);
        assert!(error.to_string().starts_with(expected), "{filter}: {error}");
    }
}

#[test]
fn what_is_over_a_bound_is_refused_by_name() {
    let mut columns = Columns::new(Limits { attributes_max: 12, values_max: 3, ..Limits::default() });
    for number in 0..5 {
        let product = with(product(&number.to_string()), "code", &[&format!("c{number}")]);
        let product = with(with(product, "long", &[&"x".repeat(5_000)]), "late", &["x"]);
        assert_eq!(columns.set(&product, 0).expect("room").refused_attributes, 1);
    }
    let snapshot = columns.snapshot();
    let error = |filter: &str| snapshot.evaluate(&Filter::parse(filter).expect("a filter")).expect_err(filter);
    assert!(matches!(error("code = c1"), FilterError::NotFilterable { .. }), "{}", error("code = c1"));
    assert!(matches!(error("long = x"), FilterError::NotFilterable { .. }), "{}", error("long = x"));
    assert_eq!(found(&snapshot, "EXISTS code").len(), 5);
    for number in 0..2 {
        columns.remove(&number.to_string(), 0);
    }
    for number in 2..5 {
        columns.set(&with(product(&number.to_string()), "code", &[&format!("c{number}")]), 0).expect("room");
    }
    assert_eq!(found(&columns.snapshot(), "code = c4"), ["4"]);
}

#[test]
fn people_are_shown_the_most_frequent_spelling() {
    let mut columns = Columns::new(Limits::default());
    for (id, color) in [("a", "red"), ("b", "Red"), ("c", "Red"), ("d", "RED")] {
        columns.set(&with(product(id), "color", &[color]), 0).expect("room");
    }
    let shown = |columns: &Columns| {
        let snapshot = columns.snapshot();
        let code = snapshot.value_of(columns.current().slot("d").expect("a slot"), "color").expect("known").expect("a value");
        snapshot.value_text("color", code).expect("known").map(str::to_owned)
    };
    assert_eq!(shown(&columns).as_deref(), Some("Red"));
    columns.remove("b", 0);
    columns.set(&with(product("c"), "color", &["red"]), 0).expect("room");
    assert_eq!(shown(&columns).as_deref(), Some("red"));
}

/// The ids that a filter finds, or why it cannot be applied.
fn evaluated(snapshot: &Snapshot, filter: &Filter) -> Result<Vec<String>, FilterError> {
    let mut ids: Vec<String> = slots(&snapshot.evaluate(filter)?).map(|slot| snapshot.id(slot).expect("a product").to_string()).collect();
    ids.sort();
    Ok(ids)
}

pub(crate) fn apply(columns: &mut Columns, catalog: &mut Catalog, step: &Step, now_ms: u64) {
    match step {
        Step::Set(product) => {
            columns.set(product, now_ms).expect("room");
            catalog.insert(product.id.to_string(), (**product).clone());
        }
        Step::Remove(id) => {
            let id = format!("p{id}");
            assert_eq!(columns.remove(&id, now_ms).is_some(), catalog.remove(&id).is_some());
        }
        Step::Offer(id, offer) => {
            if let Some(product) = catalog.get_mut(&format!("p{id}")) {
                product.offer = offer.clone();
                product.variants.clear();
                let slot = columns.current().slot(&format!("p{id}")).expect("a slot");
                // As a change of the stock would be: the values of variants stay, the offer alone is new.
                assert!(columns.set_offer(slot, &OfferValues::of(product)));
                columns.set(product, now_ms).expect("room");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn filters_find_what_meets_them(steps in any_steps(50), filters in proptest::collection::vec(any_filter(), 1..6)) {
        let (mut columns, mut catalog) = (Columns::new(Limits { quarantine_ms: 3, ..Limits::default() }), Catalog::new());
        let middle = steps.len() / 2;
        let mut earlier = None;
        for (now_ms, step) in steps.iter().enumerate() {
            apply(&mut columns, &mut catalog, step, now_ms as u64);
            if now_ms == middle {
                let snapshot = columns.snapshot();
                // Offers are those of now on every snapshot: only what does not depend on them stays.
                let filters: Vec<&Filter> = filters.iter().filter(|filter| !names_offers(filter)).collect();
                let answers: Vec<_> = filters.iter().map(|filter| evaluated(&snapshot, filter)).collect();
                earlier = Some((snapshot, filters, answers));
            }
        }
        let snapshot = columns.snapshot();
        prop_assert_eq!(snapshot.slots().len(), catalog.len());
        let unit = |name: &str| snapshot.unit_of(name).to_owned();
        for filter in &filters {
            match evaluated(&snapshot, filter) {
                Ok(found) => {
                    let expected: Vec<String> =
                        catalog.values().filter(|product| meets(product, filter, &unit)).map(|product| product.id.to_string()).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
                    prop_assert_eq!(found, expected, "{}", filter);
                }
                // Nothing of that kind, or no such attribute, in this catalog.
                Err(FilterError::WrongKind { .. } | FilterError::UnknownAttribute { .. }) => {}
                Err(error) => prop_assert!(false, "{}: {}", filter, error),
            }
        }
        if let Some((snapshot, filters, answers)) = earlier {
            let again: Vec<_> = filters.iter().map(|filter| evaluated(&snapshot, filter)).collect();
            prop_assert_eq!(again, answers);
        }
    }
}

fn names_offers(filter: &Filter) -> bool {
    let text = filter.to_string();
    ["price", "availability", "quantity", "discount"].iter().any(|name| text.contains(name))
}
