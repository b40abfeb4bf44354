//! Dialects by table, and hostile bodies by property.

use domain::{Dialect, Event, EventKind};
use proptest::prelude::*;
use serde_json::json;

use super::{BodyError, RAW_BYTES_MAX, Refusal, Terms, Told, read};

const NOW: i64 = 1_790_000_000_000;

fn told(body: &str, is_ndjson: bool) -> Result<Told, BodyError> {
    let mut made = 0;
    let mut new_id = || {
        made += 1;
        format!("made-{made}")
    };
    read(body.as_bytes(), is_ndjson, Terms { now_ms: NOW, events_max: 4, new_id: &mut new_id })
}

fn one(value: serde_json::Value) -> Result<Event, Refusal> {
    let mut told = told(&value.to_string(), false).expect("a body");
    match told.events.pop() {
        Some(event) => Ok(event),
        None => Err(told.refused.remove(0)),
    }
}

#[test]
fn a_body_may_be_one_event_a_list_an_envelope_or_lines() {
    let (a, b) = (r#"{"type":"home","user":"1"}"#, r#"{"type": "view", "user": 2, "item": 17}"#);
    for (body, is_ndjson, count) in [
        (a.to_owned(), false, 1),
        (format!("[{a},{b}]"), false, 2),
        (format!(r#" {{"events":[{a},{b}]}}"#), false, 2),
        (format!(r#"{{"batch":[{b}],"sentAt":"2026-01-01T00:00:00Z"}}"#), false, 1),
        (format!("{a}\n\n{b}\r\n"), true, 2),
        ("[]".to_owned(), false, 0),
    ] {
        let told = told(&body, is_ndjson).expect(&body);
        assert_eq!((told.events.len(), told.refused.len()), (count, 0), "{body}");
    }
    let raw = &told(&format!("[{b}]"), false).expect("a body").events[0].raw;
    assert_eq!(raw, b, "kept letter by letter");
    assert!(matches!(told("{", false), Err(BodyError::Syntax(_))));
    assert_eq!(told("17", false).expect_err("no event"), BodyError::Shape);
    assert_eq!(told(r#"{"events": 3}"#, false).expect_err("no list"), BodyError::Shape);
    assert_eq!(told("[1,2,3,4,5]", false).expect_err("too many"), BodyError::TooMany(5));
}

#[test]
fn one_bad_event_is_named_and_the_rest_taken() {
    let told = told(r#"[{"type":"view","user":"1","item":"a"},{"type":"veiw","user":"1","item":"a"},7]"#, false).expect("a body");
    assert_eq!(told.events.len(), 1);
    assert_eq!(
        told.refused.iter().map(|refusal| (refusal.index, refusal.code)).collect::<Vec<_>>(),
        [(1, "unknown_type"), (2, "invalid_value")]
    );
    assert!(told.refused[0].detail.contains("did you mean `view`"), "{}", told.refused[0].detail);
}

#[test]
fn native_fields_by_table() {
    let event = one(
        json!({"event_id": "e", "type": "purchase", "user_id": "u", "visitor_id": "v", "session_id": "s", "at": "2026-09-21T14:13:20Z",
        "order_id": "o", "currency": "eur", "value": 30, "store": "north", "attribution_token": "t", "consent": true, "shelf": 4,
        "items": [{"product_id": "a", "quantity": 2, "price": "9.95", "position": 3}, {"id": "b", "price": 10.1}, "c"]}),
    )
    .expect("an event");
    assert_eq!((event.id.as_str(), event.kind, event.at_ms, event.received_at_ms), ("e", EventKind::Purchase, NOW, NOW));
    assert_eq!(event.items.iter().map(|item| (item.product.as_str(), item.quantity)).collect::<Vec<_>>(), [("a", 2), ("b", 1), ("c", 1)]);
    let prices: Vec<String> = event.items.iter().filter_map(|item| item.price).map(|price| price.to_string()).collect();
    assert_eq!(prices, ["9.95 EUR", "10.10 EUR"]);
    assert_eq!((event.value.map(|value| value.to_string()).as_deref(), event.items[0].position), (Some("30.00 EUR"), Some(3)));
    assert_eq!((event.store.as_deref(), event.attribution_token.as_deref(), event.consent), (Some("north"), Some("t"), Some(true)));

    for (ts, expected) in [
        (json!(1_400_000_000), 1_400_000_000_000),
        (json!(1_400_000_000_123_i64), 1_400_000_000_123),
        (json!("1400000000"), 1_400_000_000_000),
    ] {
        let event = one(json!({"type": "view", "user": "u", "item": "i", "ts": ts})).expect("an event");
        assert_eq!(event.at_ms, expected);
    }
    let ahead = one(json!({"type": "home", "user": "u", "ts": NOW + 3_600_000})).expect("an event");
    assert_eq!((ahead.at_ms, ahead.id.as_str()), (NOW, "made-1"));
}

#[test]
fn what_is_wrong_is_said_by_field() {
    for (value, pointer, code) in [
        (json!({"user": "u"}), "/type", "missing"),
        (json!({"type": "view", "item": "i"}), "", "no_shopper"),
        (json!({"type": "view", "user": "u"}), "/product_id", "missing"),
        (json!({"type": "view", "user": "u", "item": " "}), "/product_id", "missing"),
        (json!({"type": "view", "user": {"id": 1}, "item": "i"}), "/user", "invalid_value"),
        (json!({"type": "view", "user": "u".repeat(129), "item": "i"}), "/user", "too_long"),
        (json!({"type": "view", "user": "u", "item": "i", "ts": "yesterday"}), "/ts", "invalid_time"),
        (json!({"type": "purchase", "user": "u", "items": [{"product_id": "a", "quantity": 0}]}), "/items/0/quantity", "invalid_value"),
        (json!({"type": "purchase", "user": "u", "items": [{"quantity": 1}]}), "/items/0", "missing"),
        (json!({"type": "purchase", "user": "u", "item": "a", "currency": "EURO"}), "/currency", "invalid_currency"),
        (json!({"type": "purchase", "user": "u", "item": "a", "currency": "EUR", "price": "9,95"}), "/price", "invalid_amount"),
        (json!({"type": "view", "user": "u", "item": "a", "note": "x".repeat(RAW_BYTES_MAX)}), "", "too_large"),
    ] {
        let refused = one(value.clone()).expect_err(&value.to_string());
        assert_eq!((refused.pointer.as_str(), refused.code), (pointer, code), "{value}");
    }
}

#[test]
fn segment_calls_by_table() {
    let event = one(json!({"type": "track", "event": "Order Completed", "messageId": "m", "anonymousId": "a", "userId": "u", "originalTimestamp": "2026-01-01T00:00:00Z",
        "sentAt": "2026-01-01T00:00:05Z", "context": {"userAgent": "Mozilla/5.0 (compatible; Googlebot/2.1)"},
        "properties": {"order_id": "o", "revenue": 25.0, "currency": "USD", "products": [{"product_id": "p", "quantity": 2, "price": 12.5}]}}))
    .expect("an event");
    assert_eq!((event.kind, event.dialect, event.id.as_str(), event.is_bot), (EventKind::Purchase, Dialect::Segment, "m", true));
    assert_eq!((event.at_ms, event.order.as_deref()), (NOW - 5_000, Some("o")), "the sender's clock is a year slow");
    assert_eq!(event.login().map(|(from, to)| (from.to_string(), to.to_string())), Some(("v:a".into(), "u:u".into())));
    for (name, kind) in
        [("Product Viewed", EventKind::View), ("product added", EventKind::AddToCart), ("Coupon Entered", EventKind::Custom)]
    {
        let event = one(json!({"type": "track", "event": name, "anonymousId": "a", "properties": {"product_id": 7}})).expect("an event");
        assert_eq!((event.kind, event.items[0].product.as_str()), (kind, "7"));
    }
    let home = one(json!({"type": "page", "name": "Home", "anonymousId": "a"})).expect("an event");
    assert_eq!(home.kind, EventKind::Home);
    let identify = one(json!({"type": "identify", "anonymousId": "a", "userId": "u", "traits": {"email": "x"}})).expect("an event");
    assert_eq!(identify.kind, EventKind::Identify);
    let refused = one(json!({"type": "track", "event": "Product Viewed", "properties": {}})).expect_err("nobody's");
    assert_eq!(refused.code, "no_shopper");
}

#[test]
fn robots_say_so() {
    for (agent, expected) in
        [("Googlebot/2.1", true), ("curl/8.0", true), ("Mozilla/5.0 (X11) Firefox/140", false), ("Android 9; CUBOT_X19", false)]
    {
        assert_eq!(one(json!({"type": "home", "user": "u", "user_agent": agent})).expect("an event").is_bot, expected, "{agent}");
    }
}

proptest! {
    /// Nothing that is sent can do more than be refused.
    #[test]
    fn any_body_is_events_or_an_error(body in ".{0,200}", is_ndjson: bool) {
        let _ = told(&body, is_ndjson);
    }

    #[test]
    fn any_fields_are_an_event_or_a_refusal(kind in "(view|purchase|track|page)", name in "(item|items|price|ts|quantity|properties|userId|currency|rating)",
        value in prop_oneof![any::<f64>().prop_map(|v| json!(v)), any::<i64>().prop_map(|v| json!(v)), ".{0,20}".prop_map(|v| json!(v)),
            Just(json!([{"id": 1}, 2, null])), Just(json!({"products": [{"product_id": "p"}], "amount": 1})), Just(json!(null)), any::<bool>().prop_map(|v| json!(v))]) {
        let body = json!({"type": kind, "event": "Product Viewed", "user": "u", "item": "i", "currency": "EUR", name.as_str(): value});
        let told = told(&body.to_string(), false).expect("JSON");
        prop_assert_eq!(told.events.len() + told.refused.len(), 1);
    }
}
