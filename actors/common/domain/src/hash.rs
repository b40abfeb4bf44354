//! Content hashes: one for each part of a product, so that a change touches only the work that depends on that part.

use std::fmt;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::product::{Offer, Product};

/// The first 16 bytes of a BLAKE3 hash.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ContentHash(pub [u8; 16]);

impl ContentHash {
    /// Hashes bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::truncate(blake3::hash(bytes))
    }

    /// Lower-case hexadecimal, 32 characters: used as a file name.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn truncate(hash: blake3::Hash) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        Self(bytes)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// A set of product parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(transparent)]
pub struct Parts(pub u8);

impl Parts {
    /// No part.
    pub const NONE: Self = Self(0);
    /// Title, description, brand, categories, attributes, identifiers, variant options.
    pub const TEXT: Self = Self(1);
    /// Pictures of product and variants.
    pub const IMAGE: Self = Self(2);
    /// Prices of product and variants.
    pub const PRICE: Self = Self(4);
    /// Availability and quantities of product and variants.
    pub const STOCK: Self = Self(8);
    /// Every part.
    pub const ALL: Self = Self(15);

    /// Whether every part of `other` is in this set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any part of `other` is in this set.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether no part is in this set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both sets together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names of the parts: `["text", "image"]`.
    pub fn names(self) -> Vec<&'static str> {
        let all = [(Self::TEXT, "text"), (Self::IMAGE, "image"), (Self::PRICE, "price"), (Self::STOCK, "stock")];
        all.into_iter().filter(|(part, _)| self.contains(*part)).map(|(_, name)| name).collect()
    }
}

/// One content hash for each part of a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct PartHashes {
    /// Of [`Parts::TEXT`].
    pub text: ContentHash,
    /// Of [`Parts::IMAGE`].
    pub image: ContentHash,
    /// Of [`Parts::PRICE`].
    pub price: ContentHash,
    /// Of [`Parts::STOCK`].
    pub stock: ContentHash,
}

impl PartHashes {
    /// Hashes each part of a product. Every field is written with its length, so that moving a character from one
    /// field to the next changes the hash.
    pub fn of(product: &Product) -> Self {
        Self {
            text: text_hash(product),
            image: image_hash(product),
            price: offers_hash(product, write_price),
            stock: offers_hash(product, write_stock),
        }
    }

    /// The parts in which two products differ.
    pub fn difference(&self, other: &Self) -> Parts {
        let part = |differs: bool, part: Parts| if differs { part } else { Parts::NONE };
        part(self.text != other.text, Parts::TEXT)
            .with(part(self.image != other.image, Parts::IMAGE))
            .with(part(self.price != other.price, Parts::PRICE))
            .with(part(self.stock != other.stock, Parts::STOCK))
    }
}

/// Length-prefixed fields into BLAKE3.
#[derive(Default)]
struct Fields(blake3::Hasher);

impl Fields {
    fn text(&mut self, text: &str) -> &mut Self {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    fn optional(&mut self, text: Option<&String>) -> &mut Self {
        match text {
            Some(text) => {
                self.0.update(&[1]);
                self.text(text)
            }
            None => {
                self.0.update(&[0]);
                self
            }
        }
    }

    fn count(&mut self, count: usize) -> &mut Self {
        self.0.update(&(count as u64).to_le_bytes());
        self
    }

    fn finish(&self) -> ContentHash {
        ContentHash::truncate(self.0.finalize())
    }
}

fn text_hash(product: &Product) -> ContentHash {
    // Named one by one, so that a new field of `Product` does not compile until somebody decides which part it belongs to.
    let Product {
        id: _,
        title,
        description,
        brand,
        link,
        group_id,
        sku,
        gtin,
        mpn,
        locale,
        categories,
        attributes,
        images: _,
        offer: _,
        variants,
    } = product;
    let mut fields = Fields::default();
    fields.text(title).text(description);
    for field in [brand, link, group_id, sku, gtin, mpn, locale] {
        fields.optional(field.as_ref());
    }
    fields.count(categories.len());
    for path in categories {
        fields.count(path.0.len());
        path.0.iter().for_each(|name| {
            fields.text(name);
        });
    }
    fields.count(attributes.len());
    for (name, values) in attributes {
        fields.text(name).count(values.len());
        for value in values {
            fields.text(&value.value).text(&value.provenance.field).count(value.provenance.source as usize);
        }
    }
    fields.count(variants.len());
    for variant in variants {
        fields.text(&variant.id).optional(variant.sku.as_ref()).optional(variant.gtin.as_ref()).optional(variant.title.as_ref());
        fields.count(variant.options.len());
        for (name, value) in &variant.options {
            fields.text(name).text(value);
        }
    }
    fields.finish()
}

fn image_hash(product: &Product) -> ContentHash {
    let mut fields = Fields::default();
    for images in std::iter::once(&product.images).chain(product.variants.iter().map(|variant| &variant.images)) {
        fields.count(images.len());
        for image in images {
            fields.text(&image.0);
        }
    }
    fields.finish()
}

fn offers_hash(product: &Product, write: fn(&mut Fields, &Offer)) -> ContentHash {
    let mut fields = Fields::default();
    write(&mut fields, &product.offer);
    for variant in &product.variants {
        fields.text(&variant.id);
        write(&mut fields, &variant.offer);
    }
    fields.finish()
}

fn write_price(fields: &mut Fields, offer: &Offer) {
    for money in [offer.price, offer.sale_price] {
        fields.optional(money.map(|money| format!("{} {}", money.amount_e4, money.currency.as_str())).as_ref());
    }
}

fn write_stock(fields: &mut Fields, offer: &Offer) {
    fields.count(offer.availability as usize).optional(offer.quantity.map(|quantity| quantity.to_string()).as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Money;
    use crate::product::{Availability, ImageRef};

    fn product() -> Product {
        let mut product = Product::new("p".parse().expect("an id"), "Shoe");
        product.images = vec![ImageRef("https://shop.example/1.jpg".into())];
        product
    }

    #[test]
    fn a_change_shows_in_its_own_part_alone() {
        let base = PartHashes::of(&product());
        type Change = fn(&mut Product);
        let cases: [(Change, Parts); 8] = [
            (|_| {}, Parts::NONE),
            (|p| p.title = "Boot".into(), Parts::TEXT),
            (|p| p.brand = Some(String::new()), Parts::TEXT),
            (|p| p.images.clear(), Parts::IMAGE),
            (|p| p.offer.price = Money::parse("5", "EUR".parse().expect("a currency")).ok(), Parts::PRICE),
            (|p| p.offer.quantity = Some(0), Parts::STOCK),
            (|p| p.offer.availability = Availability::OutOfStock, Parts::STOCK),
            (|p| (p.title, p.offer.quantity) = ("Boot".into(), Some(1)), Parts(9)),
        ];
        for (change, expected) in cases {
            let mut changed = product();
            change(&mut changed);
            assert_eq!(base.difference(&PartHashes::of(&changed)), expected);
        }
    }

    #[test]
    fn moving_a_character_between_fields_changes_the_hash() {
        let (mut left, mut right) = (product(), product());
        (left.title, left.description) = ("ab".into(), "c".into());
        (right.title, right.description) = ("a".into(), "bc".into());
        assert_ne!(PartHashes::of(&left).text, PartHashes::of(&right).text);
    }

    #[test]
    fn part_names() {
        assert_eq!(Parts(5).names(), ["text", "price"]);
        assert!(Parts::ALL.contains(Parts::STOCK) && !Parts::TEXT.intersects(Parts::IMAGE));
    }
}
