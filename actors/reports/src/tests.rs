//! Mocha over an event log of her own.

mod counting;
mod figures;
mod rebuilding;

use std::sync::Arc;

use domain::{Event, EventItem, EventKind, Money, ProductId, Served, ServedItem, Shopper};
use events::{Entry, EventLog};
use protocol::journal::LogBody;
use store::{Durability, Keyspace, MemoryStore, Op, Record, Store};

use crate::config::Config;
use crate::effects::Engine;
use crate::records::{SALT_KEY, SaltRecord};
use crate::{Args, View};

pub(crate) fn id(name: &str) -> ProductId {
    name.parse().expect("an id")
}

pub(crate) fn euros(amount: i64) -> Money {
    Money { amount_e4: amount * 10_000, currency: "EUR".parse().expect("a currency") }
}

/// An event of visitor `v` with single pieces at 10 euros each.
pub(crate) fn event(id_: &str, kind: EventKind, at_ms: i64, products: &[&str]) -> Event {
    let item = |name: &&str| EventItem { product: id(name), variant: None, quantity: 1, price: Some(euros(10)), position: None };
    Event { visitor: Some("v".into()), items: products.iter().map(item).collect(), ..Event::new(id_, kind, at_ms) }
}

/// A list for visitor `v`, all proposed by `s`.
pub(crate) fn served(token: &str, at_ms: i64, placement: &str, products: &[&str]) -> Served {
    let item = |name: &&str| ServedItem { product: id(name), strategy: "s".into(), score: 1.0, propensity: 1.0 };
    Served {
        token: token.into(),
        at_ms,
        placement: placement.into(),
        shopper: Some(Shopper::visitor("v")),
        session: None,
        context: Vec::new(),
        items: products.iter().map(item).collect(),
        experiments: Vec::new(),
        rules: Vec::new(),
        query: None,
        found: products.len() as u32,
        request: "{}".into(),
    }
}

/// Entries as the log would give them, written when they happened.
pub(crate) fn entries(bodies: Vec<LogBody>) -> Vec<Entry> {
    let at_ms = |body: &LogBody| match body {
        LogBody::Event(event) => event.received_at_ms,
        LogBody::Served(served) => served.at_ms,
        LogBody::Erasure(erasure) => erasure.at_ms,
    };
    (0..).zip(bodies).map(|(offset, body)| Entry { offset, written_at_ms: at_ms(&body), body: Some(body) }).collect()
}

pub(crate) fn log_event(event: Event) -> LogBody {
    LogBody::Event(Arc::new(event))
}

pub(crate) fn log_served(served: Served) -> LogBody {
    LogBody::Served(Arc::new(served))
}

/// A store with a known secret, so that what is kept can be compared.
pub(crate) fn new_store() -> Arc<dyn Store> {
    let store = MemoryStore::new();
    let value = SaltRecord { salt: [3; 32] }.seal(SALT_KEY).expect("sealed");
    // Its acknowledgement is not waited for: the memory twin applies at once.
    drop(store.commit(vec![Op::Put { space: Keyspace::Meta, key: SALT_KEY.to_vec(), value }], Durability::Applied));
    Arc::new(store)
}

pub(crate) fn args(config: Config, log: &EventLog, store: &Arc<dyn Store>) -> Args {
    let view = Arc::new(View::new(config.clone(), Arc::clone(store)));
    Args { config, log: log.clone(), store: Arc::clone(store), view }
}

/// Applies the whole log.
pub(crate) fn catch_up(engine: &mut Engine) {
    while engine.step().expect("a step") {}
}
