//! Google Retail API products, one JSON object a line.

use domain::Currency;
use protocol::ingest::Reject;
use serde_json::{Map, Value};

use super::Mapping;
use super::native::json_field;
use crate::logic::draft::Draft;
use crate::logic::normal::price::{PriceError, parse_price};
use crate::logic::normal::stock::parse_quantity;
use crate::logic::record::{Body, Field, Place, Record, Settings, Sink};

/// The mapping.
pub struct Retail;

impl Mapping for Retail {
    fn record(&mut self, record: Record, settings: &Settings, sink: &mut Sink) {
        let Record { place, body } = record;
        let Body::Json(object) = body else { return };
        match draft(&object, place, settings) {
            Ok(draft) => draft.finish(sink),
            Err(reject) => sink.findings.push(*reject),
        }
    }
}

fn draft<'s>(object: &Map<String, Value>, place: Place, settings: &'s Settings) -> Result<Draft<'s>, Box<Reject>> {
    let id = object.get("id").and_then(|id| json_field("id", id)).ok_or_else(|| place.refusal("missing_id", "the product has no id"))?;
    let mut draft = Draft::new(settings, place, &id, object.get("title").and_then(Value::as_str))?;
    for (name, value) in object {
        match (name.as_str(), value) {
            ("id" | "title" | "name" | "type", _) => {}
            ("categories", _) => each(name, value).iter().for_each(|field| draft.category(field)),
            ("brands", _) => draft.product.brand = each(name, value).first().and_then(|field| draft.line(field)),
            ("description", _) => each(name, value).iter().for_each(|field| draft.description(field)),
            ("uri", _) => each(name, value).iter().for_each(|field| draft.link(field)),
            ("gtin", _) => draft.product.gtin = each(name, value).first().and_then(|field| draft.gtin(field)),
            ("languageCode", _) => draft.product.locale = each(name, value).first().and_then(|field| draft.line(field)),
            ("primaryProductId", Value::String(group)) if *group != id.value => draft.product.group_id = Some(group.clone()),
            ("primaryProductId", _) => {}
            ("images", Value::Array(images)) => {
                images.iter().filter_map(|image| json_field("images.uri", image.get("uri")?)).for_each(|field| draft.images(&field))
            }
            ("availability", _) => each(name, value).iter().for_each(|field| draft.availability(field)),
            ("availableQuantity", _) => {
                draft.product.offer.quantity = each(name, value).first().and_then(|field| parse_quantity(&field.value))
            }
            ("priceInfo", Value::Object(info)) => prices(&mut draft, info),
            ("colorInfo", Value::Object(info)) => list(&mut draft, "color", "colorInfo.colors", info.get("colors")),
            ("audience", Value::Object(info)) => {
                list(&mut draft, "gender", "audience.genders", info.get("genders"));
                list(&mut draft, "age_group", "audience.ageGroups", info.get("ageGroups"));
            }
            ("sizes" | "materials" | "patterns", _) => list(&mut draft, name.trim_end_matches('s'), name, Some(value)),
            ("attributes", Value::Object(attributes)) => {
                for (name, value) in attributes {
                    list(&mut draft, name, name, value.get("text").or_else(|| value.get("numbers")));
                }
            }
            _ => list(&mut draft, name, name, Some(value)),
        }
    }
    Ok(draft)
}

/// The price, and the former one where it was higher.
fn prices(draft: &mut Draft, info: &Map<String, Value>) {
    let settings = draft.settings();
    let currency: Option<Currency> =
        info.get("currencyCode").and_then(Value::as_str).and_then(|code| code.parse().ok()).or(settings.default_currency);
    let mut money = |name: &str| {
        let field = info.get(name).and_then(|value| json_field(&format!("priceInfo.{name}"), value))?;
        let parsed: Result<_, PriceError> = parse_price(&field.value, currency);
        parsed.map_err(|error| draft.warn(&field.name.feed, error.code(), error.to_string(), &field.value)).ok()
    };
    let (asked, former) = (money("price"), money("originalPrice"));
    let offer = &mut draft.product.offer;
    (offer.price, offer.sale_price) = match (asked, former) {
        (Some(asked), Some(former)) if former.amount_e4 > asked.amount_e4 => (Some(former), Some(asked)),
        (asked, _) => (asked, None),
    };
}

fn list(draft: &mut Draft, attribute: &str, name: &str, value: Option<&Value>) {
    for field in value.map(|value| each(name, value)).unwrap_or_default() {
        draft.attribute(attribute, &field);
    }
}

/// A value, or each of a list; anything nested is left out.
fn each(name: &str, value: &Value) -> Vec<Field> {
    match value {
        Value::Array(values) => values.iter().filter_map(|value| json_field(name, value)).collect(),
        scalar => json_field(name, scalar).into_iter().collect(),
    }
}
