//! This product's own dialect: flat, snake_case, generous about names that other tools use for the same thing.

use domain::event::EVENT_ITEMS_MAX;
use domain::{Currency, Dialect, Event, EventItem, EventKind};
use serde_json::{Map, Value};

use super::{Fields, Refusal, Terms, is_robot, refusal};
use crate::logic::nearest::nearest;

const PRODUCT: [&str; 4] = ["product_id", "product", "item_id", "item"];
const ITEMS: [&str; 3] = ["items", "products", "product_ids"];

/// Reads one event and counts its unknown fields.
pub(super) fn read(map: &Map<String, Value>, terms: &mut Terms<'_>) -> Result<(Event, usize), Refusal> {
    let mut fields = Fields::new(map, "");
    let kind = kind(&mut fields)?;
    let currency = fields.currency(&["currency"])?;
    let mut event = Event {
        id: fields.name(&["event_id", "id"])?.unwrap_or_else(|| (terms.new_id)()),
        kind,
        visitor: fields.name(&["visitor_id", "visitor", "anonymous_id"])?,
        user: fields.name(&["user_id", "user"])?,
        session: fields.name(&["session_id", "session"])?,
        at_ms: fields.time(&["at", "time", "timestamp", "ts"])?.unwrap_or(terms.now_ms),
        received_at_ms: terms.now_ms,
        items: items(&mut fields, currency)?,
        order: fields.name(&["order_id", "order"])?,
        value: fields.money(&["value", "revenue", "total"], currency)?,
        query: fields.query(&["query", "q"]),
        results: fields.count(&["results", "results_count"], 0)?,
        surface: fields.name(&["surface", "placement", "page"])?,
        store: fields.name(&["store_id", "store"])?,
        attribution_token: fields.name(&["attribution_token"])?,
        experiment: fields.name(&["experiment"])?,
        consent: fields.flag(&["consent"])?,
        rating: fields.number(&["rating"])?,
        is_bot: fields.flag(&["is_bot"])?.unwrap_or(false),
        dialect: Dialect::Native,
        raw: String::new(),
    };
    event.is_bot |= fields.text(&["user_agent"], 1024)?.is_some_and(|agent| is_robot(&agent));
    if event.shopper().is_none() {
        return Err(refusal("", "no_shopper", "needs one of user_id, visitor_id and session_id"));
    }
    check_items(&event)?;
    Ok((event, fields.unknown()))
}

fn kind(fields: &mut Fields<'_>) -> Result<EventKind, Refusal> {
    let Some(name) = fields.name(&["type", "kind", "event"])? else {
        return Err(refusal("/type", "missing", "an event needs a type"));
    };
    let lower = name.to_ascii_lowercase().replace([' ', '-'], "_");
    let alias = match lower.as_str() {
        "cart" | "add" | "addtocart" => "add_to_cart",
        "buy" | "order" | "transaction" => "purchase",
        "product_view" | "detail" | "pageview" => "view",
        "return" => "refund",
        "show" => "impression",
        "not_interested" => "dismiss",
        "login" => "identify",
        other => other,
    };
    EventKind::of_name(alias).ok_or_else(|| {
        let names = EventKind::ALL.map(EventKind::name);
        let hint =
            nearest(&lower, names).map_or_else(|| format!("known are: {}", names.join(", ")), |near| format!("did you mean `{near}`?"));
        refusal("/type", "unknown_type", format!("`{name}` is no type of event: {hint}"))
    })
}

/// Events about products must say which.
pub(super) fn check_items(event: &Event) -> Result<(), Refusal> {
    use EventKind::{AddToCart, Click, Dismiss, Impression, Purchase, Rating, Refund, RemoveFromCart, View, Wishlist};
    let needs =
        matches!(event.kind, Impression | Click | View | AddToCart | RemoveFromCart | Wishlist | Purchase | Refund | Rating | Dismiss);
    if needs && event.items.is_empty() && event.order.is_none() {
        return Err(refusal("/product_id", "missing", format!("a {} needs a product_id or items", event.kind.name())));
    }
    Ok(())
}

fn items(fields: &mut Fields<'_>, currency: Option<Currency>) -> Result<Vec<EventItem>, Refusal> {
    let mut items = Vec::new();
    for (value, pointer) in fields.list(&ITEMS, EVENT_ITEMS_MAX)? {
        items.push(match value {
            Value::Object(map) => {
                let mut item = Fields::new(map, pointer.clone());
                let currency = item.currency(&["currency"])?.or(currency);
                one_item(&mut item, currency, &["id"])?.ok_or_else(|| refusal(pointer, "missing", "needs a product_id"))?
            }
            Value::String(_) | Value::Number(_) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let product = text.parse().map_err(|error: domain::IdError| refusal(pointer, "invalid_id", error.to_string()))?;
                EventItem { product, variant: None, quantity: 1, price: None, position: None }
            }
            _ => return Err(refusal(pointer, "invalid_value", "must be an object or an id")),
        });
    }
    if let Some(item) = one_item(fields, currency, &[])? {
        items.insert(0, item);
    }
    Ok(items)
}

/// The product that an object's own fields name. `id` means it in a list alone: at the top it is the event's.
fn one_item(fields: &mut Fields<'_>, currency: Option<Currency>, also: &[&'static str]) -> Result<Option<EventItem>, Refusal> {
    let names: Vec<&'static str> = PRODUCT.iter().chain(also).copied().collect();
    let product = fields.product(&names)?;
    let (variant, quantity) = (fields.name(&["variant_id", "variant", "sku"])?, fields.count(&["quantity", "qty"], 1)?);
    let (price, position) = (fields.money(&["price", "unit_price"], currency)?, fields.count(&["position"], 1)?);
    Ok(product.map(|product| EventItem { product, variant, quantity: quantity.unwrap_or(1), price, position }))
}
