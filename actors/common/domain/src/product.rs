//! The common (MAD) product record: every feed format is mapped onto it, everything inside speaks it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::money::Money;

/// The longest product id, in characters.
pub const PRODUCT_ID_CHARS_MAX: usize = 128;

/// Why a text is no product id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing but blanks.
    #[error("an id must not be empty")]
    Empty,
    /// Too long.
    #[error("an id has at most {PRODUCT_ID_CHARS_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// Control characters, or blanks at an end.
    #[error("an id must not contain control characters or start or end with a blank")]
    Characters,
}

/// The shop's own id of a product: 1 to 128 characters, no control characters, no blank at either end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Encode, Decode)]
#[serde(transparent)]
pub struct ProductId(Arc<str>);

impl ProductId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProductId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let chars = text.chars().count();
        if text.trim().is_empty() {
            Err(IdError::Empty)
        } else if chars > PRODUCT_ID_CHARS_MAX {
            Err(IdError::TooLong(chars))
        } else if text.trim() != text || text.chars().any(char::is_control) {
            Err(IdError::Characters)
        } else {
            Ok(Self(text.into()))
        }
    }
}

impl std::borrow::Borrow<str> for ProductId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ProductId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for ProductId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Stood in the feed as it is.
    Feed,
    /// Worked out from other fields of the same row.
    Derived,
    /// A model's opinion.
    Model,
    /// A person's correction; wins over all others.
    Human,
}

/// Where an attribute value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
pub struct Provenance {
    /// Who says so.
    pub source: Source,
    /// The feed's own field name (`g:color`, `Option1 Value`), or the rule or model that produced the value.
    pub field: String,
}

/// One value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
pub struct AttributeValue {
    /// The value, trimmed, as shown to people.
    pub value: String,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// From the widest category to the narrowest: `["Apparel", "Topwear", "Shirts"]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(transparent)]
pub struct CategoryPath(pub Vec<String>);

impl fmt::Display for CategoryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" > "))
    }
}

/// Where a picture is: an `http(s)://` URL, `file:///absolute/path`, or `archive:///absolute/path.zip!/inner/name`.
/// Only these absolute forms; the feed reader resolves relative names and refuses local paths outside its image folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(transparent)]
pub struct ImageRef(pub String);

/// Whether a shopper can have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// Can be bought and is there. A feed that says nothing about stock means this.
    #[default]
    InStock,
    /// Not to be had now.
    OutOfStock,
    /// Can be ordered before it is published.
    Preorder,
    /// Can be ordered, comes later.
    Backorder,
}

impl Availability {
    /// Whether the product may be shown to shoppers.
    pub fn is_available(self) -> bool {
        !matches!(self, Self::OutOfStock)
    }
}

/// Price and stock: what changes often and touches no index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(default, deny_unknown_fields)]
pub struct Offer {
    /// The regular price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// The reduced price, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sale_price: Option<Money>,
    /// Whether it can be had.
    pub availability: Availability,
    /// Pieces in stock, where the shop counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u32>,
}

/// One buyable form of a product (size, colour).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Unique within the product.
    pub id: String,
    /// The shop's stock keeping unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    /// GTIN, EAN or UPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtin: Option<String>,
    /// A title of its own, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What sets it apart: `{"size": "M", "color": "Black"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Pictures of this variant alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageRef>,
    /// Its price and stock.
    #[serde(default)]
    pub offer: Offer,
}

/// A product in the common format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// The shop's id.
    pub id: ProductId,
    /// The name shown to shoppers.
    pub title: String,
    /// Plain text: tags removed, entities decoded, paragraphs as line breaks.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The brand or vendor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// The product's page in the shop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Products of one group are forms of one another (`item_group_id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// The shop's stock keeping unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    /// GTIN, EAN or UPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtin: Option<String>,
    /// The maker's part number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mpn: Option<String>,
    /// The language of the texts (BCP 47), where the feed says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Where it stands in the shop, most important first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<CategoryPath>,
    /// Everything else that is known, by attribute name in snake_case; every value says where it comes from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Vec<AttributeValue>>,
    /// Pictures, the main one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageRef>,
    /// Price and stock of the product as a whole; a product with variants is as available as its most available one.
    #[serde(default)]
    pub offer: Offer,
    /// Its buyable forms; empty where the product itself is bought.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
}

impl Product {
    /// A product with nothing but its id and title.
    pub fn new(id: ProductId, title: impl Into<String>) -> Self {
        Self {
            id,
            title: title.into(),
            description: String::new(),
            brand: None,
            link: None,
            group_id: None,
            sku: None,
            gtin: None,
            mpn: None,
            locale: None,
            categories: Vec::new(),
            attributes: BTreeMap::new(),
            images: Vec::new(),
            offer: Offer::default(),
            variants: Vec::new(),
        }
    }

    /// Buyable forms: the variants, or the product itself.
    pub fn variant_count(&self) -> usize {
        self.variants.len().max(1)
    }

    /// Whether a shopper can have it in at least one form.
    pub fn is_available(&self) -> bool {
        if self.variants.is_empty() {
            self.offer.availability.is_available()
        } else {
            self.variants.iter().any(|v| v.offer.availability.is_available())
        }
    }

    /// The text that stands for the product in a text embedding: title, brand, narrowest categories, attribute values.
    pub fn embedding_text(&self) -> String {
        let brand = self.brand.iter().map(String::as_str);
        let categories = self.categories.iter().flat_map(|path| path.0.iter().map(String::as_str));
        let attributes = self.attributes.values().flatten().map(|value| value.value.as_str());
        let mut parts: Vec<&str> = vec![&self.title];
        for part in brand.chain(categories).chain(attributes) {
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        if !self.description.is_empty() {
            parts.push(&self.description);
        }
        parts.join(". ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_by_table() {
        for (text, expected) in [
            ("A-1", None),
            ("ü / 7", None),
            ("", Some(IdError::Empty)),
            ("  ", Some(IdError::Empty)),
            (" a", Some(IdError::Characters)),
            ("a\n", Some(IdError::Characters)),
            ("a\u{7}b", Some(IdError::Characters)),
        ] {
            assert_eq!(text.parse::<ProductId>().err(), expected, "{text:?}");
        }
        assert_eq!("x".repeat(129).parse::<ProductId>(), Err(IdError::TooLong(129)));
    }

    #[test]
    fn a_product_is_as_available_as_its_most_available_variant() {
        let mut product = Product::new("p".parse().expect("an id"), "Shoe");
        assert!(product.is_available());
        let out = Offer { availability: Availability::OutOfStock, ..Offer::default() };
        let variant = |id: &str, offer: &Offer| Variant {
            id: id.into(),
            sku: None,
            gtin: None,
            title: None,
            options: BTreeMap::new(),
            images: vec![],
            offer: offer.clone(),
        };
        product.variants = vec![variant("a", &out)];
        assert!(!product.is_available());
        product.variants.push(variant("b", &Offer::default()));
        assert!(product.is_available());
    }

    #[test]
    fn json_round_trip_refuses_unknown_fields() {
        let product = Product::new("p".parse().expect("an id"), "Shoe");
        let json = serde_json::to_string(&product).expect("json");
        assert_eq!(serde_json::from_str::<Product>(&json).expect("back"), product);
        assert!(serde_json::from_str::<Product>(r#"{"id":"p","title":"t","colour":"red"}"#).is_err());
    }
}
