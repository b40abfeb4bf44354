//! A product in the making: every mapping fills it through the same normalisers, so that a value looks the same whichever
//! feed it comes from. A value that cannot be used is a warning; only a missing id or title refuses the record.

use domain::{AttributeValue, CategoryPath, ImageRef, Money, Product, ProductId, Provenance, Source};
use protocol::ingest::Reject;

use super::normal::category::parse_path;
use super::normal::gtin::parse_gtin;
use super::normal::image::{parse_image, split_list};
use super::normal::price::{PriceError, parse_price};
use super::normal::stock::parse_availability;
use super::normal::text::{cut, html_to_text, line, snake_case};
use super::record::{Field, Mapped, Place, Settings, Sink};

/// Warnings kept of one product; a row of ten thousand bad cells tells nothing more by the eleventh.
const WARNINGS_MAX: usize = 32;
/// Attribute names under which feeds say the same thing.
const SYNONYMS: [(&str, &str); 12] = [
    ("colour", "color"),
    ("base_colour", "color"),
    ("base_color", "color"),
    ("farbe", "color"),
    ("couleur", "color"),
    ("barva", "color"),
    ("größe", "size"),
    ("groesse", "size"),
    ("taille", "size"),
    ("velikost", "size"),
    ("geschlecht", "gender"),
    ("zielgeschlecht", "gender"),
];

/// The attribute's name in the common format.
pub fn attribute_name(name: &str) -> String {
    let snake = snake_case(name);
    SYNONYMS.iter().find(|(synonym, _)| *synonym == snake).map_or(snake, |(_, name)| (*name).to_owned())
}

/// A product in the making.
pub struct Draft<'s> {
    /// The product so far.
    pub product: Product,
    settings: &'s Settings,
    place: Place,
    warnings: Vec<Reject>,
    values: usize,
    warned_currency: bool,
}

impl<'s> Draft<'s> {
    /// Starts with id and title; without them the record is refused.
    pub fn new(settings: &'s Settings, place: Place, id: &Field, title: Option<&str>) -> Result<Self, Box<Reject>> {
        let refuse =
            |field: &str, code: &str, detail: String| Box::new(Reject { field: Some(field.to_owned()), ..place.finding(code, detail) });
        let id_text = id.value.trim();
        let id: ProductId = id_text.parse().map_err(|error: domain::IdError| {
            let code = if id_text.is_empty() { "missing_id" } else { "bad_id" };
            refuse(&id.name.feed, code, error.to_string())
        })?;
        let title = title.map(line).unwrap_or_default();
        if title.is_empty() {
            let reject = place.finding("missing_title", "the product has no title");
            return Err(Box::new(Reject { product_id: Some(id.to_string()), ..reject }));
        }
        let mut draft =
            Self { product: Product::new(id, String::new()), settings, place, warnings: Vec::new(), values: 0, warned_currency: false };
        draft.product.title = draft.bounded("title", title);
        Ok(draft)
    }

    /// The bounds and defaults of this feed.
    pub fn settings(&self) -> &'s Settings {
        self.settings
    }

    /// Notes that a value was dropped or repaired.
    pub fn warn(&mut self, field: &str, code: &str, detail: impl Into<String>, value: &str) {
        let warning = self.place.warning(field, code, detail, value, &self.settings.limits);
        self.note(warning);
    }

    /// Notes a finding made elsewhere.
    pub fn note(&mut self, warning: Reject) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(warning);
        }
    }

    /// Plain text of an HTML description.
    pub fn description(&mut self, field: &Field) {
        let text = html_to_text(&field.value);
        let kept = cut(&text, self.settings.limits.description_bytes_max);
        if kept.len() < text.len() {
            self.warn(&field.name.feed, "too_long", format!("cut to {} bytes", kept.len()), &text);
        }
        self.product.description = kept.trim_end().to_owned();
    }

    /// One line of text; `None` when nothing is left.
    pub fn line(&mut self, field: &Field) -> Option<String> {
        let text = line(&field.value);
        (!text.is_empty()).then(|| self.bounded(&field.name.feed, text))
    }

    /// The product's page: an `http(s)` URL.
    pub fn link(&mut self, field: &Field) {
        match parse_image(&field.value, None) {
            Ok(link) => self.product.link = Some(link.0),
            Err(_) => self.warn(&field.name.feed, "bad_link", "not an http or https URL", &field.value),
        }
    }

    /// A number that checks out; one that does not is kept as the attribute `gtin` with a warning.
    pub fn gtin(&mut self, field: &Field) -> Option<String> {
        let found = parse_gtin(&field.value);
        if found.is_none() {
            self.warn(&field.name.feed, "bad_gtin", "wrong length or check digit; kept as an attribute", &field.value);
            self.attribute("gtin", field);
        }
        found
    }

    /// A category path.
    pub fn category(&mut self, field: &Field) {
        if let Some(path) = parse_path(&field.value) {
            self.category_path(path);
        }
    }

    /// A category path; one that is already there is left out.
    pub fn category_path(&mut self, path: CategoryPath) {
        if !self.product.categories.contains(&path) && self.product.categories.len() < self.settings.limits.images_max {
            self.product.categories.push(path);
        }
    }

    /// A price; `currency` is the currency field where the feed has one.
    pub fn price(&mut self, field: &Field) -> Option<Money> {
        match parse_price(&field.value, self.settings.default_currency) {
            Ok(money) => Some(money),
            // One warning a product: the currency lacks in every variant alike.
            Err(PriceError::NoCurrency) if self.warned_currency => None,
            Err(error) => {
                self.warned_currency |= error == PriceError::NoCurrency;
                self.warn(&field.name.feed, error.code(), error.to_string(), &field.value);
                None
            }
        }
    }

    /// The availability of the product as a whole.
    pub fn availability(&mut self, field: &Field) {
        match parse_availability(&field.value) {
            Some(availability) => self.product.offer.availability = availability,
            None => self.warn(&field.name.feed, "bad_availability", "not a known availability; taken as in stock", &field.value),
        }
    }

    /// All pictures of a cell, for the product.
    pub fn images(&mut self, field: &Field) {
        let mut images = std::mem::take(&mut self.product.images);
        self.images_into(field, &mut images);
        self.product.images = images;
    }

    /// All pictures of a cell, in order and each once.
    pub fn images_into(&mut self, field: &Field, images: &mut Vec<ImageRef>) {
        for name in split_list(&field.value) {
            match parse_image(name, self.settings.image_root.as_ref()) {
                Ok(image) if images.contains(&image) => {}
                Ok(_) if images.len() >= self.settings.limits.images_max => {
                    self.warn(
                        &field.name.feed,
                        "too_many_images",
                        format!("only {} pictures are kept", self.settings.limits.images_max),
                        name,
                    );
                    return;
                }
                Ok(image) => images.push(image),
                Err(error) => self.warn(&field.name.feed, error.code(), error.to_string(), name),
            }
        }
    }

    /// One value of an attribute, in one line, as it stands in the feed.
    pub fn attribute(&mut self, name: &str, field: &Field) {
        if let Some(value) = self.line(field) {
            self.value(name, value, &field.name.feed, Source::Feed);
        }
    }

    /// The values of a list cell, separated by any of `separators`.
    pub fn attribute_list(&mut self, name: &str, field: &Field, separators: &[char]) {
        for part in line(&field.value).split(separators).map(str::trim).filter(|part| !part.is_empty()) {
            let value = self.bounded(&field.name.feed, part.to_owned());
            self.value(name, value, &field.name.feed, Source::Feed);
        }
    }

    /// A finished value with its provenance; a repeated one is left out.
    pub fn value(&mut self, name: &str, value: String, feed_field: &str, source: Source) {
        let name = attribute_name(name);
        if name.is_empty() || value.is_empty() {
            return;
        }
        if self.values >= self.settings.limits.attribute_values_max {
            if self.values == self.settings.limits.attribute_values_max {
                self.values += 1;
                self.warn(
                    feed_field,
                    "too_many_attributes",
                    format!("only {} attribute values are kept", self.settings.limits.attribute_values_max),
                    &value,
                );
            }
            return;
        }
        let values = self.product.attributes.entry(name).or_default();
        if values.iter().all(|known| known.value != value) {
            values.push(AttributeValue { value, provenance: Provenance { source, field: feed_field.to_owned() } });
            self.values += 1;
        }
    }

    /// Hands the product over. The offer of a product with variants is as available as its most available variant.
    pub fn finish(mut self, sink: &mut Sink) {
        let id = self.product.id.to_string();
        for warning in &mut self.warnings {
            warning.product_id = Some(id.clone());
        }
        sink.findings.append(&mut self.warnings);
        sink.products.push(Mapped { product: self.product, place: self.place });
    }

    fn bounded(&mut self, field: &str, text: String) -> String {
        let kept = cut(&text, self.settings.limits.line_bytes_max);
        if kept.len() == text.len() {
            return text;
        }
        self.warn(field, "too_long", format!("cut to {} bytes", kept.len()), &text);
        kept.trim_end().to_owned()
    }
}
