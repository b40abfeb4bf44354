//! What of a product goes into which column.

use std::collections::BTreeMap;

use domain::Product;

use crate::column::{Entry, STEP, Shape};
use crate::fold::fold;

/// The columns of the common record itself; attributes of a feed with such a name join them.
pub(crate) const NAMED: [(&str, Shape); 10] = [
    ("title", Shape::Name),
    ("brand", Shape::Name),
    ("category", Shape::Path),
    ("group_id", Shape::Name),
    ("sku", Shape::Name),
    ("gtin", Shape::Name),
    ("mpn", Shape::Name),
    ("locale", Shape::Name),
    ("image_count", Shape::Plain),
    ("has_image", Shape::Plain),
];

/// Attributes that are no columns of values: the id and what offers hold. A feed's own attribute with such a name is found under
/// `attributes.NAME`.
pub(crate) const COMPUTED: [&str; 8] = ["id", "price", "sale_price", "final_price", "currency", "quantity", "availability", "discount"];

/// The values of each attribute of a product. No two values of an attribute fold to the same key: the first spelling stands.
pub(crate) fn entries(product: &Product) -> BTreeMap<String, Vec<Entry>> {
    let mut found = Found { attributes: BTreeMap::new() };
    found.add("title", &product.title);
    for (name, value) in [
        ("brand", &product.brand),
        ("group_id", &product.group_id),
        ("sku", &product.sku),
        ("gtin", &product.gtin),
        ("mpn", &product.mpn),
        ("locale", &product.locale),
    ] {
        value.iter().for_each(|value| found.add(name, value));
    }
    for path in &product.categories {
        found.path("category", path.0.iter().map(String::as_str));
    }
    for (name, values) in &product.attributes {
        let is_path = NAMED.iter().any(|(named, shape)| named == name && *shape == Shape::Path);
        let name = if COMPUTED.contains(&name.as_str()) { format!("attributes.{name}") } else { name.clone() };
        for value in values {
            if is_path { found.path(&name, value.value.split('>')) } else { found.add(&name, &value.value) }
        }
    }
    for variant in &product.variants {
        variant.sku.iter().for_each(|sku| found.add("sku", sku));
        variant.gtin.iter().for_each(|gtin| found.add("gtin", gtin));
        for (name, value) in &variant.options {
            let name = if COMPUTED.contains(&name.as_str()) { format!("attributes.{name}") } else { name.clone() };
            found.add(&name, value);
        }
    }
    let images = product.images.len() + product.variants.iter().map(|variant| variant.images.len()).sum::<usize>();
    found.add("image_count", &images.to_string());
    found.add("has_image", if images > 0 { "true" } else { "false" });
    found.attributes
}

struct Found {
    attributes: BTreeMap<String, Vec<Entry>>,
}

impl Found {
    fn add(&mut self, name: &str, value: &str) {
        let spelling = value.split_whitespace().collect::<Vec<_>>().join(" ");
        let key = fold(value);
        if !key.is_empty() {
            self.push(name, Entry { key, spelling });
        }
    }

    fn path<'a>(&mut self, name: &str, steps: impl Iterator<Item = &'a str>) {
        let mut path = Entry { key: String::new(), spelling: String::new() };
        for step in steps {
            let key = fold(step);
            if key.is_empty() {
                continue;
            }
            if !path.key.is_empty() {
                path.key.push(STEP);
                path.spelling.push_str(" > ");
            }
            path.key.push_str(&key);
            path.spelling.push_str(step.trim());
            self.push(name, path.clone());
        }
    }

    fn push(&mut self, name: &str, entry: Entry) {
        if !self.attributes.contains_key(name) {
            self.attributes.insert(name.to_owned(), Vec::new());
        }
        let Some(entries) = self.attributes.get_mut(name) else { return };
        if !entries.iter().any(|other| other.key == entry.key) {
            entries.push(entry);
        }
    }
}
