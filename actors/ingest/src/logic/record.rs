//! What lies between the readers and the mappings: records of named fields, and what becomes of them.

use std::path::PathBuf;
use std::sync::Arc;

use domain::{Currency, Product};
use protocol::ingest::Reject;
use serde_json::{Map, Value};

use super::normal::image::ImageRoot;
use super::normal::text::cut;

/// Bounds of reading one feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes behind decompression.
    pub feed_bytes_max: u64,
    /// Bytes of one row, line or element.
    pub record_bytes_max: usize,
    /// Cells of one row, fields of one element.
    pub columns_max: usize,
    /// Bytes of the offending text kept with a reject.
    pub raw_bytes_max: usize,
    /// Bytes of a title, or of any other single line.
    pub line_bytes_max: usize,
    /// Bytes of a description.
    pub description_bytes_max: usize,
    /// Values of all attributes of one product together.
    pub attribute_values_max: usize,
    /// Pictures of one product or variant.
    pub images_max: usize,
    /// Variants of one product.
    pub variants_max: usize,
    /// Ids that are remembered to find repeated ones; behind this many a repeated id is not noticed any more.
    pub ids_remembered_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            feed_bytes_max: 64 << 30,
            record_bytes_max: 1 << 20,
            columns_max: 4096,
            raw_bytes_max: 1024,
            line_bytes_max: 1024,
            description_bytes_max: 12 << 10,
            attribute_values_max: 256,
            images_max: 32,
            variants_max: 512,
            ids_remembered_max: 1 << 20,
        }
    }
}

/// What a feed is read with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Bounds.
    pub limits: Limits,
    /// For amounts without a currency.
    pub default_currency: Option<Currency>,
    /// For local picture names.
    pub image_root: Option<ImageRoot>,
}

impl Settings {
    /// The same settings with an image folder, given in canonical form.
    #[must_use]
    pub fn with_image_root(mut self, path: PathBuf, canonical: fn(&std::path::Path) -> Option<PathBuf>) -> Self {
        self.image_root = Some(ImageRoot::new(path, canonical));
        self
    }
}

/// A column, element or attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// As the feed writes it.
    pub feed: String,
    /// In snake_case without a namespace: what the mappings go by. A nested element's is `parent.child`.
    pub key: String,
}

/// One named value; empty ones are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Whose value.
    pub name: Arc<Name>,
    /// Trimmed.
    pub value: String,
}

/// The content of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A row or an element.
    Fields(Vec<Field>),
    /// A line of JSON.
    Json(Map<String, Value>),
}

/// Where a record stands in its feed, for rejects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// From 1, the header not counted.
    pub row: u64,
    /// `line 12` or `byte 4711`.
    pub position: String,
    /// The start of its text.
    pub raw: String,
}

impl Place {
    /// A finding about the record, or with `field` about one value of it.
    pub fn finding(&self, code: &str, detail: impl Into<String>) -> Reject {
        let position = Some(self.position.clone()).filter(|position| !position.is_empty());
        Reject {
            row: self.row,
            position,
            field: None,
            code: code.to_owned(),
            detail: detail.into(),
            raw: self.raw.clone(),
            product_id: None,
            is_warning: false,
        }
    }

    /// Why the record is refused; boxed, as it travels as an error.
    pub fn refusal(&self, code: &str, detail: impl Into<String>) -> Box<Reject> {
        Box::new(self.finding(code, detail))
    }

    /// A finding about one value; the record is kept.
    pub fn warning(&self, field: &str, code: &str, detail: impl Into<String>, value: &str, limits: &Limits) -> Reject {
        Reject {
            field: Some(field.to_owned()),
            raw: cut(value, limits.raw_bytes_max).to_owned(),
            is_warning: true,
            ..self.finding(code, detail)
        }
    }
}

/// One record of a feed.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Where it stands.
    pub place: Place,
    /// What it says.
    pub body: Body,
}

impl Record {
    /// The first value under a key.
    pub fn get(&self, key: &str) -> Option<&Field> {
        self.fields().iter().find(|field| field.name.key == key)
    }

    /// The first value under a key, or nothing.
    pub fn text(&self, key: &str) -> &str {
        self.get(key).map_or("", |field| field.value.as_str())
    }

    /// All fields; a line of JSON has none.
    pub fn fields(&self) -> &[Field] {
        match &self.body {
            Body::Fields(fields) => fields,
            Body::Json(_) => &[],
        }
    }
}

/// What a reader found next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// A record; a warning where its text had to be repaired.
    Record(Record, Option<Reject>),
    /// A record that cannot be read; the next one can.
    Refused(Reject),
    /// The feed breaks off inside this record.
    Truncated(Reject),
    /// The feed's end.
    End,
}

/// A product and the record that it comes from (its first).
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    /// The product.
    pub product: Product,
    /// Where its first record stands.
    pub place: Place,
}

/// Where a mapping puts its products and findings.
#[derive(Debug, Default)]
pub struct Sink {
    /// Finished products.
    pub products: Vec<Mapped>,
    /// Rejects and warnings.
    pub findings: Vec<Reject>,
}
