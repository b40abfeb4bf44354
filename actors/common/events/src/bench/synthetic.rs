//! Events like a shop's, the same for the same seed.

use domain::{Event, EventItem, EventKind, Money};

/// 2026-11-26, 00:00 UTC.
const START_MS: i64 = 1_795_651_200_000;

/// A stream of events: views mostly, searches, carts and purchases in between.
#[derive(Clone, Debug)]
pub struct Synthetic {
    state: u64,
    seed: u64,
    count: u64,
}

impl Synthetic {
    /// A stream; streams of different seeds share no event id.
    pub fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5EED, seed, count: 0 }
    }

    /// Batches of events; the last one may be shorter.
    pub fn batches(mut self, events: usize, batch: usize) -> Vec<Vec<Event>> {
        let batch = batch.max(1);
        (0..events.div_ceil(batch)).map(|index| (0..batch.min(events - index * batch)).map(|_| self.event()).collect()).collect()
    }

    /// The next event. `SplitMix64` (Steele, Lea, Flood 2014) behind all choices.
    pub fn event(&mut self) -> Event {
        let shopper = self.below(50_000);
        let kind = match self.below(100) {
            0..60 => EventKind::View,
            60..75 => EventKind::Search,
            75..85 => EventKind::Click,
            85..95 => EventKind::AddToCart,
            _ => EventKind::Purchase,
        };
        let at_ms = START_MS + (self.count as i64) * 7;
        self.count += 1;
        let items: Vec<EventItem> = match kind {
            EventKind::Search => Vec::new(),
            EventKind::Purchase => (0..=self.below(4)).filter_map(|_| self.item()).collect(),
            _ => self.item().into_iter().collect(),
        };
        let query = (kind == EventKind::Search).then(|| format!("red shoes {}", self.below(3_000)));
        let user = shopper.is_multiple_of(5).then(|| format!("customer-{shopper}"));
        let number = self.next();
        let id = format!("{:08x}-{number:016x}", self.seed);
        let raw = format!(
            r#"{{"id":"{id}","event":"{}","visitor":"visitor-{shopper}","timestamp":{at_ms},"items":{},"query":{},"page":"/p/{}"}}"#,
            kind.name(),
            items.len(),
            query.as_deref().map_or("null".to_owned(), |query| format!("\"{query}\"")),
            items.first().map_or("", |item| item.product.as_str()),
        );
        Event {
            visitor: Some(format!("visitor-{shopper}")),
            user,
            session: Some(format!("session-{shopper}-{}", at_ms / 1_800_000)),
            received_at_ms: at_ms + 40,
            order: (kind == EventKind::Purchase).then(|| format!("order-{}-{}", self.seed, self.count)),
            results: query.as_ref().map(|_| 40),
            query,
            items,
            surface: Some("product_page".into()),
            store: Some("web".into()),
            consent: Some(true),
            raw,
            ..Event::new(id, kind, at_ms)
        }
    }

    fn item(&mut self) -> Option<EventItem> {
        let product = self.below(20_000);
        let currency = "EUR".parse().ok()?;
        Some(EventItem {
            product: format!("sku-{product}").parse().ok()?,
            variant: product.is_multiple_of(3).then(|| format!("size-{}", product % 7)),
            quantity: 1 + self.below(2) as u32,
            price: Some(Money { amount_e4: 10_000 * (5 + product as i64 % 200) + 9_900, currency }),
            position: None,
        })
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
