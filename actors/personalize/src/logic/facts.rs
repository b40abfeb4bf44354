//! What a product is to a taste: its type, brand, size, price, own-brand mark and attributes, as hashes of their words.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{Money, Offer, Product, Variant};
use taste::{ATTRIBUTES_MAX, Facts, Id};

use super::ids::{id, id_of_words};

/// Attributes that shoppers choose by, before all others.
const CHOSEN_BY: [&str; 14] = [
    "color",
    "colour",
    "material",
    "pattern",
    "style",
    "fit",
    "gender",
    "age_group",
    "season",
    "occasion",
    "flavor",
    "flavour",
    "scent",
    "finish",
];
/// What says that a product is the shop's own brand.
const PRIVATE_LABEL: [&str; 3] = ["private_label", "store_brand", "own_brand"];
const SIZE: &str = "size";
/// A longer value of an attribute that is not in [`CHOSEN_BY`] is prose, or a number of the maker's.
const VALUE_CHARS_MAX: usize = 32;

/// An embedding, and which model made it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Embedded {
    pub(crate) model: Id,
    pub(crate) vector: Arc<[f32]>,
}

/// What is known of a product.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Known {
    pub(crate) item: Id,
    kind: Option<Id>,
    brand: Option<Id>,
    size: Option<Id>,
    price: Option<f32>,
    private_label: Option<bool>,
    attributes: Vec<(Id, Id)>,
    pub(crate) image: Option<Embedded>,
    pub(crate) text: Option<Embedded>,
}

impl Known {
    /// Of a product that is not in the catalog: nothing but which one it is.
    pub(crate) fn nothing(product: &str) -> Self {
        Self { item: id(product), ..Self::default() }
    }

    /// Of a product, as far as the catalog goes; of a variant of it where that is told apart.
    pub(crate) fn of(product: &Product, variant: Option<&str>) -> Self {
        let variant = variant.and_then(|name| product.variants.iter().find(|variant| variant.id == name));
        let options = variant.map(|variant| &variant.options);
        Self {
            item: id(product.id.as_str()),
            kind: product.categories.first().and_then(|path| path.0.last()).and_then(|name| id_of_words(name)),
            brand: product.brand.as_deref().and_then(id_of_words),
            size: size(product, options),
            price: price(product, variant),
            private_label: private_label(product),
            attributes: attributes(product, options),
            image: None,
            text: None,
        }
    }

    /// The same, at the price of an event where the catalog knows none.
    pub(crate) fn or_price(mut self, price: Option<Money>) -> Self {
        self.price = self.price.or(price.map(amount));
        self
    }

    /// The same, with the embeddings of its first picture and its text.
    pub(crate) fn with(self, image: Option<Embedded>, text: Option<Embedded>) -> Self {
        Self { image, text, ..self }
    }

    /// As the tastes take it.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            kind: self.kind,
            brand: self.brand,
            size: self.size,
            price: self.price,
            private_label: self.private_label,
            attributes: &self.attributes,
            image: self.image.as_ref().map_or(&[], |image| &image.vector),
            image_model: self.image.as_ref().map_or(0, |image| image.model),
            text: self.text.as_ref().map_or(&[], |text| &text.vector),
            text_model: self.text.as_ref().map_or(0, |text| text.model),
        }
    }

    /// Whether an event says more of the product than is in here.
    pub(crate) fn lacks(&self, variant: Option<&str>, price: Option<Money>) -> bool {
        variant.is_some() || (self.price.is_none() && price.is_some())
    }
}

fn amount(money: Money) -> f32 {
    (money.amount_e4 as f64 / 1e4) as f32
}

fn price(product: &Product, variant: Option<&Variant>) -> Option<f32> {
    let of = |offer: &Offer| offer.sale_price.or(offer.price).map(amount);
    let cheapest = || product.variants.iter().filter_map(|variant| of(&variant.offer)).reduce(f32::min);
    variant.and_then(|variant| of(&variant.offer)).or_else(|| of(&product.offer)).or_else(cheapest)
}

/// The size that was chosen, or the only one that there is: a product in many sizes has none.
fn size(product: &Product, options: Option<&BTreeMap<String, String>>) -> Option<Id> {
    if let Some(size) = options.and_then(|options| options.get(SIZE)) {
        return id_of_words(size);
    }
    match product.attributes.get(SIZE).map(Vec::as_slice) {
        Some([only]) => id_of_words(&only.value),
        _ => None,
    }
}

fn private_label(product: &Product) -> Option<bool> {
    let said = PRIVATE_LABEL.iter().find_map(|name| product.attributes.get(*name)?.first());
    if let Some(said) = said {
        return match said.value.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Some(true),
            "false" | "no" | "0" => Some(false),
            _ => None,
        };
    }
    // Some catalogs name no brands but say whose they are.
    match product.brand.as_deref().map(str::trim) {
        Some(brand) if brand.eq_ignore_ascii_case("private") => Some(true),
        Some(brand) if brand.eq_ignore_ascii_case("national") => Some(false),
        _ => None,
    }
}

/// Names and values, those that shoppers choose by first; a chosen variant's own options stand for the product's.
fn attributes(product: &Product, options: Option<&BTreeMap<String, String>>) -> Vec<(Id, Id)> {
    let rank = |name: &str| CHOSEN_BY.iter().position(|chosen| *chosen == name);
    let mut all: Vec<(usize, &str, &str)> = Vec::new();
    for (name, values) in &product.attributes {
        if options.is_none_or(|options| !options.contains_key(name)) {
            all.extend(values.iter().map(|value| (rank(name).unwrap_or(CHOSEN_BY.len()), name.as_str(), value.value.as_str())));
        }
    }
    for (name, value) in options.into_iter().flatten() {
        all.push((rank(name).unwrap_or(CHOSEN_BY.len()), name, value));
    }
    // Stable: what ranks the same stays in the order of the names.
    all.sort_by_key(|(rank, ..)| *rank);
    let counts = |(rank, name, value): &(usize, &str, &str)| {
        let is_label = value.chars().count() <= VALUE_CHARS_MAX && !value.chars().any(|letter| letter.is_ascii_digit());
        *name != SIZE && !PRIVATE_LABEL.contains(name) && (*rank < CHOSEN_BY.len() || is_label)
    };
    let hashed = all.into_iter().filter(counts).filter_map(|(_, name, value)| Some((id(name), id_of_words(value)?)));
    hashed.take(ATTRIBUTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use domain::{AttributeValue, CategoryPath, Provenance, Source};

    use super::*;

    fn value(text: &str) -> Vec<AttributeValue> {
        text.split('|')
            .map(|value| AttributeValue { value: value.into(), provenance: Provenance { source: Source::Feed, field: String::new() } })
            .collect()
    }

    fn euros(amount: i64) -> Option<Money> {
        Some(Money { amount_e4: amount * 10_000, currency: "EUR".parse().expect("a currency") })
    }

    fn shirt() -> Product {
        let mut product = Product::new("shirt".parse().expect("an id"), "Shirt");
        product.categories = vec![CategoryPath(vec!["Apparel".into(), "Shirts".into()]), CategoryPath(vec!["Sale".into()])];
        product.brand = Some(" Acme ".into());
        product.offer.price = euros(30);
        let attributes = [("color", "Red|Blue"), ("aisle", "Left"), ("sku_note", "A-17"), ("size", "S|M"), ("own_brand", "yes")];
        product.attributes = attributes.into_iter().map(|(name, text)| (name.to_owned(), value(text))).collect();
        product.variants = vec![Variant {
            id: "m".into(),
            sku: None,
            gtin: None,
            title: None,
            options: [("size".to_owned(), "M".to_owned()), ("color".to_owned(), "Red".to_owned())].into(),
            images: Vec::new(),
            offer: Offer { price: euros(25), sale_price: euros(20), ..Offer::default() },
        }];
        product
    }

    #[test]
    fn a_product_in_hashes_of_its_words() {
        let known = Known::of(&shirt(), None);
        let facts = known.facts();
        assert_eq!((facts.kind, facts.brand), (id_of_words("SHIRTS"), id_of_words("acme")));
        assert_eq!((facts.size, facts.price, facts.private_label), (None, Some(30.0), Some(true)));
        let pair = |name: &str, value: &str| (id(name), id_of_words(value).expect("words"));
        assert_eq!(facts.attributes, [pair("color", "red"), pair("color", "blue"), pair("aisle", "left")]);
    }

    #[test]
    fn a_variant_that_was_chosen_has_one_size_and_colour() {
        let known = Known::of(&shirt(), Some("m"));
        let facts = known.facts();
        assert_eq!((facts.size, facts.price), (id_of_words("m"), Some(20.0)));
        assert_eq!(facts.attributes.first(), Some(&(id("color"), id_of_words("red").expect("words"))));
        assert_eq!(facts.attributes.len(), 2);
        assert_eq!(Known::of(&shirt(), Some("no such")), Known::of(&shirt(), None));
    }

    #[test]
    fn an_unknown_product_has_a_price_where_the_event_says_it() {
        let known = Known::nothing("x").or_price(euros(7));
        assert_eq!((known.item, known.facts().price, known.facts().kind), (id("x"), Some(7.0), None));
        assert!(Known::nothing("x").lacks(None, euros(7)) && !known.lacks(None, euros(7)) && known.lacks(Some("m"), None));
    }

    #[test]
    fn whose_brand_it_is_by_table() {
        for (attribute, brand, expected) in [
            (Some("true"), "Acme", Some(true)),
            (Some("No"), "Private", Some(false)),
            (Some("perhaps"), "Private", None),
            (None, "private", Some(true)),
            (None, "National", Some(false)),
            (None, "Acme", None),
        ] {
            let mut product = Product::new("p".parse().expect("an id"), "P");
            product.brand = Some(brand.into());
            product.attributes = attribute.into_iter().map(|text| ("store_brand".to_owned(), value(text))).collect();
            assert_eq!(private_label(&product), expected, "{attribute:?} {brand}");
        }
    }
}
