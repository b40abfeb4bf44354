//! Segment's dialect: `track` calls with the names of its e-commerce specification (v2), `page`, `screen` and `identify`.
//! <https://segment.com/docs/connections/spec/ecommerce/v2/>

use domain::event::EVENT_ITEMS_MAX;
use domain::{Currency, Dialect, Event, EventItem, EventKind};
use serde_json::{Map, Value};

use super::native::check_items;
use super::{Fields, Refusal, Terms, is_robot, refusal};

/// Reads one call and counts its unknown fields.
pub(super) fn read(map: &Map<String, Value>, terms: &mut Terms<'_>) -> Result<(Event, usize), Refusal> {
    let mut fields = Fields::new(map, "");
    let call = fields.name(&["type"])?.unwrap_or_default();
    let name = fields.name(&["event", "name"])?.unwrap_or_default();
    let empty = Map::new();
    let mut properties = fields.object(&["properties", "traits"])?.unwrap_or_else(|| Fields::new(&empty, "/properties"));
    let mut context = fields.object(&["context"])?.unwrap_or_else(|| Fields::new(&empty, "/context"));
    let currency = properties.currency(&["currency"])?;
    let kind = match call.as_str() {
        "track" => track(&name),
        "identify" | "alias" => EventKind::Identify,
        "page" | "screen" if name.eq_ignore_ascii_case("home") => EventKind::Home,
        _ => EventKind::Custom,
    };
    let mut event = Event {
        id: fields.name(&["messageId"])?.unwrap_or_else(|| (terms.new_id)()),
        kind,
        visitor: fields.name(&["anonymousId", "previousId"])?,
        user: fields.name(&["userId"])?,
        session: session(&mut properties, &mut context)?,
        at_ms: at(&mut fields, terms.now_ms)?,
        received_at_ms: terms.now_ms,
        items: items(&mut properties, currency)?,
        order: properties.name(&["order_id", "checkout_id"])?,
        value: properties.money(&["revenue", "total", "value"], currency)?,
        query: properties.query(&["query", "search_term"]),
        results: properties.count(&["results", "results_count"], 0)?,
        surface: properties.name(&["list_id", "surface"])?,
        store: properties.name(&["affiliation"])?,
        attribution_token: properties.name(&["attribution_token"])?,
        experiment: properties.name(&["experiment", "experiment_id"])?,
        consent: properties.flag(&["consent"])?,
        rating: properties.number(&["rating"])?,
        is_bot: context.text(&["userAgent"], 1024)?.is_some_and(|agent| is_robot(&agent)),
        dialect: Dialect::Segment,
        raw: String::new(),
    };
    if event.kind == EventKind::Custom && call == "track" && name.is_empty() {
        return Err(refusal("/event", "missing", "a track call needs an event name"));
    }
    if event.shopper().is_none() {
        return Err(refusal("", "no_shopper", "needs one of userId, anonymousId and properties.session_id"));
    }
    // What a list or an order event left out is no reason to refuse a stream that is not written for us.
    if check_items(&event).is_err() {
        event.kind = EventKind::Custom;
    }
    Ok((event, fields.unknown() + properties.unknown()))
}

fn session(properties: &mut Fields<'_>, context: &mut Fields<'_>) -> Result<Option<String>, Refusal> {
    if let Some(session) = properties.name(&["session_id"])? {
        return Ok(Some(session));
    }
    context.name(&["sessionId"])
}

/// The time by the sender's clock, corrected by how wrong that clock was when it sent (as Segment does with `sentAt`).
fn at(fields: &mut Fields<'_>, now_ms: i64) -> Result<i64, Refusal> {
    if let Some(at) = fields.time(&["timestamp"])? {
        return Ok(at);
    }
    let (original, sent) = (fields.time(&["originalTimestamp"])?, fields.time(&["sentAt"])?);
    Ok(match (original, sent) {
        (Some(original), Some(sent)) => now_ms - (sent - original).max(0),
        (Some(original), None) => original,
        _ => now_ms,
    })
}

fn track(name: &str) -> EventKind {
    match name.to_ascii_lowercase().as_str() {
        "products searched" => EventKind::Search,
        "product list viewed" | "product list filtered" => EventKind::Impression,
        "promotion viewed" => EventKind::PromoView,
        "promotion clicked" => EventKind::PromoClick,
        "product clicked" => EventKind::Click,
        "product viewed" => EventKind::View,
        "product added" => EventKind::AddToCart,
        "product removed" => EventKind::RemoveFromCart,
        "cart viewed" => EventKind::CartView,
        "checkout started" => EventKind::Checkout,
        "order completed" => EventKind::Purchase,
        "order refunded" => EventKind::Refund,
        "product added to wishlist" => EventKind::Wishlist,
        "product reviewed" => EventKind::Rating,
        "signed in" | "signed up" => EventKind::Identify,
        _ => EventKind::Custom,
    }
}

fn items(properties: &mut Fields<'_>, currency: Option<Currency>) -> Result<Vec<EventItem>, Refusal> {
    let mut items = Vec::new();
    for (value, pointer) in properties.list(&["products"], EVENT_ITEMS_MAX)? {
        let Value::Object(map) = value else { return Err(refusal(pointer, "invalid_value", "must be an object")) };
        if let Some(item) = item(&mut Fields::new(map, pointer), currency)? {
            items.push(item);
        }
    }
    if items.is_empty()
        && let Some(item) = item(properties, currency)?
    {
        items.push(item);
    }
    Ok(items)
}

/// `product_id` names the product; a shop that has only SKUs sends those.
fn item(fields: &mut Fields<'_>, currency: Option<Currency>) -> Result<Option<EventItem>, Refusal> {
    let Some(product) = fields.product(&["product_id", "sku"])? else { return Ok(None) };
    let currency = fields.currency(&["currency"])?.or(currency);
    let variant = fields.name(&["variant"])?;
    let quantity = fields.count(&["quantity"], 1)?.unwrap_or(1);
    Ok(Some(EventItem {
        product,
        variant,
        quantity,
        price: fields.money(&["price"], currency)?,
        position: fields.count(&["position"], 1)?,
    }))
}
