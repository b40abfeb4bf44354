//! Figures of one state in memory, on generated events: `cargo run --release -p behaviour --example behaviour -- [users] [items] [events]`.
//!
//! Prints events per second of one writer by the clock and by processor time, resident memory by part, query times with and without a writer beside, and the time to save,
//! load and rebuild. The events are the same at every run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use behaviour::{Behaviour, Event, History, Kind, Request, Scratch, Settings, Shared};

/// Items that are visited together.
const CLUSTER_ITEMS: u64 = 200;
const QUERIES: usize = 20_000;
/// Events made at a time, so that making them is not measured.
const BATCH: usize = 20_000;
/// Events applied under one hold of the lock, as in the house.
const HOLD_EVENTS: usize = 32;

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn unit(&mut self) -> f64 {
        self.below(1 << 32) as f64 / (1u64 << 32) as f64
    }
}

struct Made {
    shopper: String,
    item: String,
    kind: Kind,
    at_ms: u64,
}

/// Visits of 2 to 9 events, mostly within one cluster of items, popular clusters and items more often; one in twenty events buys.
struct Shop {
    random: Random,
    users: u64,
    items: u64,
    now_ms: u64,
}

impl Shop {
    fn make(&mut self, events: &mut Vec<Made>, count: usize) {
        events.clear();
        let clusters = (self.items / CLUSTER_ITEMS).max(1);
        while events.len() < count {
            self.now_ms += 700;
            let (shopper, cluster) = (self.random.below(self.users), (self.random.unit().powi(2) * clusters as f64) as u64);
            for step in 0..2 + self.random.below(8) {
                let own = if self.random.below(10) < 8 { cluster } else { self.random.below(clusters) };
                let item = (own * CLUSTER_ITEMS + (self.random.unit().powi(3) * CLUSTER_ITEMS as f64) as u64).min(self.items - 1);
                let kind = if self.random.below(20) == 0 { Kind::Purchase } else { Kind::View };
                events.push(Made { shopper: format!("u{shopper}"), item: format!("sku-{item}"), kind, at_ms: self.now_ms + step * 20_000 });
            }
        }
    }
}

fn event(made: &Made) -> Event<'_> {
    Event { shopper: &made.shopper, session: None, item: &made.item, kind: made.kind, at_ms: made.at_ms, quantity: 1, order: None }
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096 / 1_000_000
}

/// Processor time of this thread, which other work on the machine does not count against.
fn processor_seconds() -> f64 {
    let status = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    status.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn quantiles(mut micros: Vec<f64>) -> String {
    micros.sort_by(f64::total_cmp);
    let at = |share: f64| micros[((micros.len() - 1) as f64 * share) as usize];
    format!("p50 {:.0} us, p90 {:.0} us, p99 {:.0} us, p99.9 {:.0} us, most {:.0} us", at(0.5), at(0.9), at(0.99), at(0.999), at(1.0))
}

fn ask(shared: &Shared, users: u64, items: u64, label: &str) {
    let (mut random, mut scratch, request) = (Random(99), Scratch::default(), Request::new(20));
    let (mut session, mut shopper, mut cart) = (Vec::new(), Vec::new(), Vec::new());
    let processor = processor_seconds();
    for _ in 0..QUERIES {
        let cluster = (random.unit().powi(2) * (items / CLUSTER_ITEMS) as f64) as u64 * CLUSTER_ITEMS;
        let mut item = || (cluster + (random.unit().powi(3) * CLUSTER_ITEMS as f64) as u64).min(items - 1) as u32;
        let visit = [item(), item(), item(), item()];
        let name = format!("u{}", random.below(users));
        let mut time = |micros: &mut Vec<f64>, query: &mut dyn FnMut(&Behaviour, &mut Scratch) -> usize| {
            let start = Instant::now();
            std::hint::black_box(query(&shared.read(), &mut scratch));
            micros.push(start.elapsed().as_secs_f64() * 1e6);
        };
        time(&mut session, &mut |state, scratch| state.for_you(History::Items(&visit), None, &request, scratch).len());
        time(&mut shopper, &mut |state, scratch| state.for_you(History::Shopper(&name), None, &request, scratch).len());
        time(&mut cart, &mut |state, scratch| state.for_cart(&visit, &request, scratch).len());
    }
    println!("{label}: mean processor time of the three together {:.0} us", (processor_seconds() - processor) * 1e6 / QUERIES as f64);
    println!("{label}: a visit's list     {}", quantiles(session));
    println!("{label}: a shopper's list   {}", quantiles(shopper));
    println!("{label}: a cart's list      {}", quantiles(cart));
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>().expect("a number"));
    let mut next = |default: u64| arguments.next().unwrap_or(default);
    let (users, items, wanted) = (next(1_000_000), next(100_000), next(10_000_000));
    let mut shop = Shop { random: Random(88_172_645_463_325_252), users, items, now_ms: 1_700_000_000_000 };
    let (mut state, mut made) = (Behaviour::new(Settings::default()), Vec::new());
    let (mut seconds, mut processor) = (0.0, 0.0);
    let before_mb = resident_mb();
    while state.counts().events < wanted {
        shop.make(&mut made, BATCH);
        let (start, before) = (Instant::now(), processor_seconds());
        for made in &made {
            let _taken = state.apply(&event(made));
        }
        seconds += start.elapsed().as_secs_f64();
        processor += processor_seconds() - before;
    }
    let counts = state.counts();
    println!("{users} users, {items} items: {counts:?}");
    let rate = |seconds: f64| counts.events as f64 / seconds;
    println!("one writer: {seconds:.1} s, {:.0} events/s; of processor time {:.0} events/s", rate(seconds), rate(processor));
    println!("resident: {} MB (before: {before_mb} MB)", resident_mb());
    for (part, bytes) in state.memory() {
        println!("  {part}: {} MB", bytes / 1_000_000);
    }
    let shared = Shared::new(state);
    ask(&shared, users, items, "quiet");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut made = Vec::new();
            while !done.load(Ordering::Relaxed) {
                shop.make(&mut made, 1_000);
                for part in made.chunks(HOLD_EVENTS) {
                    shared.write(|state| {
                        for made in part {
                            let _taken = state.apply(&event(made));
                        }
                    });
                }
            }
        });
        ask(&shared, users, items, "while a writer applies without pause");
        done.store(true, Ordering::Relaxed);
    });
    let (start, mut bytes) = (Instant::now(), Vec::new());
    let digest = shared.read().save(&mut bytes).expect("memory");
    println!("save to memory: {:.2} s, {} MB", start.elapsed().as_secs_f64(), bytes.len() / 1_000_000);
    drop(shared);
    let start = Instant::now();
    let loaded = Behaviour::load(Settings::default(), &mut &bytes[..]).expect("what was saved");
    println!("load from memory: {:.2} s, the same state: {}", start.elapsed().as_secs_f64(), loaded.digest() == digest);
}
