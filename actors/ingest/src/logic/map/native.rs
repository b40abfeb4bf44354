//! The product's own JSON, one object a line, and the single products of the HTTP interface. What the common format does not
//! know is kept as an attribute and counted; short forms are taken: `"color": "Red"` among the attributes, prices as text,
//! categories as text.

use domain::{AttributeValue, Product, Provenance, Source};
use protocol::ingest::Reject;
use serde_json::{Map, Value, json};

use super::Mapping;
use crate::logic::draft::{Draft, attribute_name};
use crate::logic::normal::category::parse_path;
use crate::logic::normal::price::parse_price;
use crate::logic::record::{Body, Field, Name, Place, Record, Settings, Sink};

/// The fields of a product.
const KNOWN: [&str; 15] = [
    "id",
    "title",
    "description",
    "brand",
    "link",
    "group_id",
    "sku",
    "gtin",
    "mpn",
    "locale",
    "categories",
    "attributes",
    "images",
    "offer",
    "variants",
];

/// The mapping.
pub struct Native;

impl Mapping for Native {
    fn record(&mut self, record: Record, settings: &Settings, sink: &mut Sink) {
        let Record { place, body } = record;
        let Body::Json(object) = body else { return };
        match draft(object, place, settings) {
            Ok(draft) => draft.finish(sink),
            Err(reject) => sink.findings.push(*reject),
        }
    }
}

/// One value under a JSON name, as the drafts take it; numbers and booleans as text.
pub(super) fn json_field(name: &str, value: &Value) -> Option<Field> {
    let value = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let name = Name { feed: name.to_owned(), key: name.to_owned() };
    (!value.is_empty()).then(|| Field { name: name.into(), value })
}

fn draft<'s>(mut object: Map<String, Value>, place: Place, settings: &'s Settings) -> Result<Draft<'s>, Box<Reject>> {
    let id =
        object.remove("id").and_then(|id| json_field("id", &id)).ok_or_else(|| place.refusal("missing_id", "the product has no id"))?;
    let title = object.remove("title").and_then(|title| json_field("title", &title));
    let mut draft = Draft::new(settings, place.clone(), &id, title.as_ref().map(|title| title.value.as_str()))?;
    let attributes = object.remove("attributes");
    let (known, unknown): (Map<_, _>, Map<_, _>) = object.into_iter().partition(|(name, _)| KNOWN.contains(&name.as_str()));
    let parsed = parse(known, settings).map_err(|detail| {
        let reject = place.finding("bad_field", detail);
        Box::new(Reject { product_id: Some(id.value.clone()), ..reject })
    })?;
    fill(&mut draft, parsed);
    match attributes {
        None | Some(Value::Null) => {}
        Some(Value::Object(attributes)) => attributes.iter().for_each(|(name, value)| attribute(&mut draft, name, value, false)),
        Some(other) => draft.warn("attributes", "bad_field", "attributes are an object", &other.to_string()),
    }
    for (name, value) in &unknown {
        draft.warn(name, "unknown_field", "not a field of a product; kept as an attribute", &value.to_string());
        attribute(&mut draft, name, value, true);
    }
    Ok(draft)
}

/// The known fields by the product's own JSON form, after the short forms have been written out.
fn parse(mut known: Map<String, Value>, settings: &Settings) -> Result<Product, String> {
    known.retain(|_, value| !value.is_null());
    known.insert("id".to_owned(), json!("-"));
    known.insert("title".to_owned(), json!("-"));
    if let Some(offer) = known.get_mut("offer") {
        write_out_prices(offer, settings)?;
    }
    for variant in known.get_mut("variants").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(offer) = variant.get_mut("offer") {
            write_out_prices(offer, settings)?;
        }
    }
    for category in known.get_mut("categories").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(path) = category.as_str().and_then(parse_path) {
            *category = json!(path.0);
        }
    }
    serde_json::from_value(Value::Object(known)).map_err(|error| error.to_string())
}

/// `"19.90 EUR"` and `19.9` to the written-out form.
fn write_out_prices(offer: &mut Value, settings: &Settings) -> Result<(), String> {
    for name in ["price", "sale_price"] {
        let Some(value) = offer.get_mut(name) else { continue };
        let Some(field) = json_field(name, value) else { continue };
        let money = parse_price(&field.value, settings.default_currency).map_err(|error| format!("{name}: {error}"))?;
        *value = json!(money);
    }
    Ok(())
}

/// Puts parsed fields through the same bounds and checks as a feed's.
fn fill(draft: &mut Draft, parsed: Product) {
    let field = |name: &str, value: String| json_field(name, &Value::String(value));
    // The description is plain text already: angle brackets are characters in it.
    let bytes_max = draft.settings().limits.description_bytes_max;
    if parsed.description.len() > bytes_max {
        draft.warn("description", "too_long", format!("cut to {bytes_max} bytes"), &parsed.description);
    }
    draft.product.description = crate::logic::normal::text::cut(parsed.description.trim(), bytes_max).to_owned();
    parsed.link.and_then(|link| field("link", link)).into_iter().for_each(|link| draft.link(&link));
    draft.product.brand = parsed.brand.and_then(|text| field("brand", text)).and_then(|field| draft.line(&field));
    draft.product.group_id = parsed.group_id.and_then(|text| field("group_id", text)).and_then(|field| draft.line(&field));
    draft.product.sku = parsed.sku.and_then(|text| field("sku", text)).and_then(|field| draft.line(&field));
    draft.product.gtin = parsed.gtin.and_then(|text| field("gtin", text)).and_then(|field| draft.gtin(&field));
    draft.product.mpn = parsed.mpn.and_then(|text| field("mpn", text)).and_then(|field| draft.line(&field));
    draft.product.locale = parsed.locale.and_then(|text| field("locale", text)).and_then(|field| draft.line(&field));
    for path in parsed.categories {
        crate::logic::normal::category::from_names(path.0.iter().map(String::as_str))
            .into_iter()
            .for_each(|path| draft.category_path(path));
    }
    draft.product.images = images(draft, parsed.images);
    draft.product.offer = parsed.offer;
    let variants_max = draft.settings().limits.variants_max;
    if parsed.variants.len() > variants_max {
        draft.warn("variants", "too_many_variants", format!("only {variants_max} variants are kept"), "");
    }
    for mut variant in parsed.variants.into_iter().take(variants_max) {
        let is_known = draft.product.variants.iter().any(|known| known.id == variant.id);
        if variant.id.trim().is_empty() || is_known {
            draft.warn("variants", "bad_variant_id", "a variant's id is not empty and unique within the product; dropped", &variant.id);
            continue;
        }
        variant.images = images(draft, std::mem::take(&mut variant.images));
        draft.product.variants.push(variant);
    }
}

fn images(draft: &mut Draft, given: Vec<domain::ImageRef>) -> Vec<domain::ImageRef> {
    let mut images = Vec::new();
    for image in given {
        let field = json_field("images", &Value::String(image.0));
        field.into_iter().for_each(|field| draft.images_into(&field, &mut images));
    }
    images
}

/// A value, a list of values, or values with their provenance; objects of unknown fields are kept as their JSON.
fn attribute(draft: &mut Draft, name: &str, value: &Value, is_unknown: bool) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| attribute(draft, name, value, is_unknown)),
        Value::Object(_) => match serde_json::from_value::<AttributeValue>(value.clone()) {
            Ok(AttributeValue { value, provenance: Provenance { source, field } }) => {
                let line = json_field(name, &Value::String(value)).and_then(|field| draft.line(&field));
                line.into_iter().for_each(|line| draft.value(name, line, &field, source));
            }
            Err(_) if is_unknown => draft.value(&attribute_name(name), value.to_string(), name, Source::Feed),
            Err(error) => draft.warn(name, "bad_attribute", error.to_string(), &value.to_string()),
        },
        scalar => json_field(name, scalar).into_iter().for_each(|field| draft.attribute(name, &field)),
    }
}
