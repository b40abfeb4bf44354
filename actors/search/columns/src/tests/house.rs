//! Products to test with, and what a filter means, product by product.

use std::collections::BTreeMap;

use domain::{
    AttributeValue, Availability, Bound, CategoryPath, Filter, ImageRef, Money, Offer, Product, Provenance, Scalar, Source, Variant,
};
use proptest::prelude::*;

use crate::fold::fold;
use crate::measure::{conversion, distance_m, parse_measure, parse_place, parse_time};
use crate::{OfferValues, Snapshot, slots};

pub(crate) fn product(id: &str) -> Product {
    Product::new(id.parse().expect("an id"), format!("Product {id}"))
}

pub(crate) fn with(mut product: Product, name: &str, values: &[&str]) -> Product {
    let provenance = Provenance { source: Source::Feed, field: name.into() };
    let values = values.iter().map(|value| AttributeValue { value: (*value).to_owned(), provenance: provenance.clone() });
    product.attributes.insert(name.to_owned(), values.collect());
    product
}

pub(crate) fn under(mut product: Product, paths: &[&str]) -> Product {
    product.categories = paths.iter().map(|path| CategoryPath(path.split(" > ").map(str::to_owned).collect())).collect();
    product
}

pub(crate) fn euros(cents: i64) -> Option<Money> {
    Some(Money { amount_e4: cents * 100, currency: "EUR".parse().expect("a currency") })
}

pub(crate) fn priced(mut product: Product, cents: i64) -> Product {
    product.offer.price = euros(cents);
    product
}

pub(crate) fn variant(id: &str, options: &[(&str, &str)], offer: Offer) -> Variant {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Variant { id: id.into(), sku: None, gtin: None, title: None, options, images: vec![], offer }
}

/// The ids of the products that meet a filter, in order.
pub(crate) fn found(snapshot: &Snapshot, filter: &str) -> Vec<String> {
    let set = snapshot.evaluate(&Filter::parse(filter).expect("a filter")).unwrap_or_else(|error| panic!("{filter}: {error}"));
    let mut ids: Vec<String> = slots(&set).map(|slot| snapshot.id(slot).expect("a product").to_string()).collect();
    ids.sort();
    ids
}

/// The values of an attribute as texts, by the definition. Categories are given with every beginning.
pub(crate) fn values_of(product: &Product, name: &str) -> Vec<String> {
    let mut values: Vec<String> = match name {
        "title" => vec![product.title.clone()],
        "brand" => product.brand.iter().cloned().collect(),
        "category" => product.categories.iter().flat_map(|path| (1..=path.0.len()).map(|depth| path.0[..depth].join(" > "))).collect(),
        "group_id" => product.group_id.iter().cloned().collect(),
        "has_image" => vec![(!product.images.is_empty()).to_string()],
        "image_count" => vec![product.images.len().to_string()],
        _ => Vec::new(),
    };
    values.extend(product.attributes.get(name).into_iter().flatten().map(|value| value.value.clone()));
    values.extend(product.variants.iter().filter_map(|variant| variant.options.get(name)).cloned());
    let mut seen = Vec::new();
    values.retain(|value| {
        let key = fold(value);
        !key.is_empty() && !seen.contains(&key) && {
            seen.push(key);
            true
        }
    });
    values
}

/// The number of an offer's attribute.
pub(crate) fn offer_number(product: &Product, name: &str) -> Option<f64> {
    let offer = OfferValues::of(product);
    let units = |money: Option<Money>| money.map(|money| money.amount_e4 as f64 / 10_000.0);
    match name {
        "price" => units(offer.price),
        "sale_price" => units(offer.sale_price),
        "final_price" => [units(offer.price), units(offer.sale_price)].into_iter().flatten().min_by(f64::total_cmp),
        "quantity" => offer.quantity.map(|quantity| quantity as f64),
        "discount" => {
            let (price, sale_price) = (offer.price?.amount_e4, offer.sale_price?.amount_e4);
            (sale_price < price).then(|| (price - sale_price) as f64 / price as f64)
        }
        _ => None,
    }
}

const OFFER_NUMBERS: [&str; 5] = ["price", "sale_price", "final_price", "quantity", "discount"];

/// Whether a number or time lies between two bounds.
pub(crate) fn lies(value: Scalar, from: Option<Bound>, to: Option<Bound>) -> bool {
    let is_kind = |bound: &Bound| std::mem::discriminant(&bound.value) == std::mem::discriminant(&value);
    let number = value.as_f64();
    let above = from.is_none_or(|b| is_kind(&b) && (number > b.value.as_f64() || b.is_inclusive && number == b.value.as_f64()));
    above && to.is_none_or(|b| is_kind(&b) && (number < b.value.as_f64() || b.is_inclusive && number == b.value.as_f64()))
}

/// What a filter means. `unit` is the unit in which an attribute's numbers are compared.
pub(crate) fn meets(product: &Product, filter: &Filter, unit: &dyn Fn(&str) -> String) -> bool {
    match filter {
        Filter::All(items) => items.iter().all(|item| meets(product, item, unit)),
        Filter::Any(items) => items.iter().any(|item| meets(product, item, unit)),
        Filter::Not(inner) => !meets(product, inner, unit),
        Filter::Exists { attribute } if OFFER_NUMBERS.contains(&attribute.as_str()) => offer_number(product, attribute).is_some(),
        Filter::Exists { attribute } if attribute == "availability" => true,
        Filter::Exists { attribute } => !values_of(product, attribute).is_empty(),
        Filter::Range { attribute, from, to } if OFFER_NUMBERS.contains(&attribute.as_str()) => {
            offer_number(product, attribute).is_some_and(|number| lies(Scalar::Number(number), *from, *to))
        }
        Filter::Range { attribute, from, to } => values_of(product, attribute).iter().any(|value| {
            let key = fold(value);
            let number = number_in(&key, &unit(attribute)).is_some_and(|number| lies(Scalar::Number(number), *from, *to));
            number || parse_time(&key.to_uppercase()).is_some_and(|(time, _)| lies(Scalar::Time(time), *from, *to))
        }),
        Filter::In { attribute, values } if attribute == "availability" => {
            let availability = OfferValues::of(product).availability;
            values.iter().any(|value| serde_name(availability) == value)
        }
        Filter::In { attribute, values } if OFFER_NUMBERS.contains(&attribute.as_str()) => {
            offer_number(product, attribute).is_some_and(|number| values.iter().any(|value| value.parse() == Ok(number)))
        }
        Filter::In { attribute, values } if attribute == "category" => values_of(product, attribute).iter().any(|path| {
            let last = path.rsplit(" > ").next().unwrap_or_default();
            values.iter().any(|value| fold(value) == fold(path) || fold(value) == fold(last))
        }),
        Filter::In { attribute, values } => values_of(product, attribute).iter().any(|own| {
            values.iter().any(|value| {
                let number = |text: &str| number_in(&fold(text), &unit(attribute));
                fold(value) == fold(own) || number(own).is_some() && number(own) == number(value)
            })
        }),
        Filter::Under { attribute, path } => {
            values_of(product, attribute).iter().any(|own| own.split(" > ").map(fold).eq(path.iter().map(|step| fold(step))))
        }
        Filter::Near { attribute, latitude, longitude, radius_m } => values_of(product, attribute)
            .iter()
            .any(|value| parse_place(value).is_some_and(|place| distance_m((*latitude, *longitude), place) <= *radius_m)),
    }
}

pub(crate) fn number_in(key: &str, unit: &str) -> Option<f64> {
    let measure = parse_measure(key)?;
    let factor = if measure.unit.is_empty() { 1.0 } else { conversion(&measure.unit, unit)? };
    Some(measure.number * factor)
}

pub(crate) fn serde_name(availability: Availability) -> &'static str {
    match availability {
        Availability::InStock => "in_stock",
        Availability::OutOfStock => "out_of_stock",
        Availability::Preorder => "preorder",
        Availability::Backorder => "backorder",
    }
}

const COLORS: [&str; 7] = ["Red", "red", "RÉD", "Blue", "Navy Blue", "dark green", "7"];
const MIXED: [&str; 9] = ["38", "38,0", "40 cm", "0.4 m", "M", "XL", "2024-01-31", "400 mm", "12 kg"];
const TIMES: [&str; 3] = ["2024-01-31", "2024-01-31T10:00:00Z", "2023-06-01"];
const PLACES: [&str; 3] = ["48.1,11.5", "52.5,13.4", "nowhere"];
const PATHS: [&str; 5] = ["Apparel", "Apparel > Topwear", "Apparel > Topwear > Shirts", "apparel > Shoes", "Shoes > Topwear"];

fn some(values: &'static [&'static str], max: usize) -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(proptest::sample::select(values), 0..=max)
}

fn offer() -> impl Strategy<Value = Offer> {
    let amount = || proptest::option::of((0_i64..40).prop_map(|amount| amount * 250));
    let availability = prop_oneof![
        Just(Availability::InStock),
        Just(Availability::OutOfStock),
        Just(Availability::Preorder),
        Just(Availability::Backorder)
    ];
    (amount(), amount(), proptest::option::of(0_u32..5), availability).prop_map(|(price, sale_price, quantity, availability)| Offer {
        price: price.and_then(euros),
        sale_price: sale_price.and_then(euros),
        quantity,
        availability,
    })
}

/// A product with one of a few ids.
pub(crate) fn any_product() -> impl Strategy<Value = Product> {
    let words = (some(&COLORS, 2), some(&MIXED, 2), some(&TIMES, 1), some(&PLACES, 1), some(&PATHS, 2));
    let own = (0_u32..30, proptest::option::of(0_u32..4), proptest::option::of(0_u32..3), 0_usize..3);
    let variants = proptest::collection::vec((offer(), proptest::sample::select(&MIXED[..])), 0..3);
    (own, words, offer(), variants).prop_map(|((id, brand, group, images), (color, size, released, location, paths), offer, variants)| {
        let mut made = under(product(&format!("p{id}")), &paths);
        made.brand = brand.map(|brand| ["Acme", "ACME", "Zeta", "Ünlü"][brand as usize].to_owned());
        made.group_id = group.map(|group| format!("g{group}"));
        made.images = (0..images).map(|image| ImageRef(format!("https://x/{id}/{image}.jpg"))).collect();
        for (name, values) in [("color", color), ("size", size), ("released", released), ("location", location)] {
            if !values.is_empty() {
                made = with(made, name, &values);
            }
        }
        made.offer = offer;
        made.variants = (variants.into_iter().enumerate())
            .map(|(index, (offer, size))| variant(&index.to_string(), &[("size", size)], offer))
            .collect();
        made
    })
}

/// A filter that products of [`any_product`] meet now and then.
pub(crate) fn any_filter() -> impl Strategy<Value = Filter> {
    let bound = |inclusive: bool, value: u32| Bound { value: Scalar::Number(f64::from(value) * 2.5), is_inclusive: inclusive };
    let end = move || proptest::option::of((any::<bool>(), 0_u32..40).prop_map(move |(inclusive, value)| bound(inclusive, value)));
    let within = |attribute: &'static str, values: &'static [&'static str]| {
        proptest::collection::vec(proptest::sample::select(values), 1..3)
            .prop_map(move |values| Filter::In { attribute: attribute.into(), values: values.into_iter().map(str::to_owned).collect() })
    };
    let leaf = prop_oneof![
        within("color", &COLORS),
        within("size", &MIXED),
        within("brand", &["acme", "Zeta", "unlu", "none"]),
        within("category", &["shirts", "Apparel", "Topwear", "Apparel > Topwear"]),
        within("availability", &["in_stock", "preorder", "out_of_stock"]),
        within("price", &["5", "7.5", "100"]),
        within("has_image", &["true"]),
        (proptest::sample::select(vec!["price", "final_price", "sale_price", "quantity", "discount", "size", "image_count"]), end(), end())
            .prop_map(|(attribute, from, to)| Filter::Range { attribute: attribute.into(), from, to }),
        (0_i64..30, any::<bool>()).prop_map(|(days, is_inclusive)| Filter::Range {
            attribute: "released".into(),
            from: Some(Bound { value: Scalar::Time(1_706_659_200_000 - days * 43_200_000), is_inclusive }),
            to: None,
        }),
        proptest::sample::select(vec!["color", "size", "price", "discount", "released", "brand"])
            .prop_map(|attribute| Filter::Exists { attribute: attribute.into() }),
        proptest::sample::select(&PATHS[..])
            .prop_map(|path| Filter::Under { attribute: "category".into(), path: path.split(" > ").map(str::to_owned).collect() }),
        (1_u32..700).prop_map(|km| Filter::Near {
            attribute: "location".into(),
            latitude: 48.2,
            longitude: 11.6,
            radius_m: f64::from(km) * 1_000.0,
        }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Filter::All),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Filter::Any),
            inner.prop_map(|inner| Filter::Not(Box::new(inner))),
        ]
    })
}

/// One change of a catalog.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Set(Box<Product>),
    Remove(u32),
    Offer(u32, Offer),
}

pub(crate) fn any_steps(max: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => any_product().prop_map(|product| Step::Set(Box::new(product))),
        2 => (0_u32..30).prop_map(Step::Remove),
        2 => (0_u32..30, offer()).prop_map(|(id, offer)| Step::Offer(id, offer)),
    ];
    proptest::collection::vec(step, 1..max)
}

/// What is in the catalog after some steps, by id.
pub(crate) type Catalog = BTreeMap<String, Product>;
