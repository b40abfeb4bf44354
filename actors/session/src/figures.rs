//! How fast the tables are on this machine: what `gotham bench flash` prints.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use domain::{Availability, Event, EventItem, EventKind, Money, Product, ProductId, Shopper};
use protocol::journal::LogBody;
use protocol::session::{OfferReader, SessionReader};
use serde::Serialize;
use store::MemoryStore;

use crate::logic::entry::Entry;
use crate::logic::ledger::{Key, Ledger};
use crate::logic::offer::offer_state;
use crate::table::Table;
use crate::view::View;

/// Events applied together, as the actor does by default.
const BATCH_EVENTS: usize = 256;
/// Operations between two looks at the clock.
const STRIDE: usize = 1024;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Products with an offer.
    pub products: usize,
    /// Sessions, each of a visitor of its own.
    pub sessions: usize,
    /// Items in each history.
    pub items: usize,
    /// Threads that read.
    pub threads: usize,
    /// How long each figure is measured.
    pub duration: Duration,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was done.
    pub what: &'static str,
    /// Threads that did it.
    pub threads: usize,
    /// Operations a second, all threads together.
    pub per_second: f64,
    /// Nanoseconds of processor time that one operation takes: on a busy machine less than the time that passes. 0 where the
    /// kernel does not tell.
    pub nanoseconds: f64,
}

/// Fills the tables and measures.
pub fn measure(options: &Options) -> Result<Vec<Figure>, domain::IdError> {
    let view = View::new(Arc::new(MemoryStore::new()));
    let products: Vec<Product> = (0..options.products).map(|index| product(index, 0)).collect::<Result<_, _>>()?;
    for product in &products {
        view.set(&product.id, 1, Some(offer_state(product)));
    }
    let ids: Vec<ProductId> = products.iter().map(|product| product.id.clone()).collect();
    let table = Arc::new(Table::new(false));
    view.show(Arc::clone(&table), 0);
    let sessions: Vec<String> = (0..options.sessions).map(|index| format!("session-{index}")).collect();
    let shoppers: Vec<Shopper> = (0..options.sessions).map(|index| Shopper::visitor(&index.to_string())).collect();
    let mut offset = 0;
    for round in 0..options.items {
        let first = (0..options.sessions).map(|index| view_event(index, &ids[(index * 31 + round) % ids.len()], round));
        offset += apply(&table, &first.collect::<Vec<_>>(), offset);
    }

    let Options { threads, duration, .. } = *options;
    let mut figures = vec![
        each("offer: read", threads, duration, |at| usize::from(view.offer(ids[at % ids.len()].as_str()).is_some())),
        each("session: read", threads, duration, |at| view.session(&sessions[at % sessions.len()]).map_or(0, |state| state.items.len())),
        each("shopper: read", threads, duration, |at| view.shopper(&shoppers[at % shoppers.len()]).map_or(0, |state| state.items.len())),
        each("session: read the newest 100", threads, duration, |at| {
            let state = view.session(&sessions[at % sessions.len()]);
            state.map_or(0, |state| state.items.iter().rev().take(100).map(|item| item.product.as_str().len()).sum())
        }),
    ];
    let write_event = |at: usize| view_event(at % sessions.len(), &ids[at % ids.len()], options.items + at);
    figures.push(events("event: apply to session and shopper", duration, &table, &mut offset, write_event));
    let is_over = AtomicBool::new(false);
    let beside = thread::scope(|scope| {
        let reader = scope.spawn(|| while_not(&is_over, |at| usize::from(view.session(&sessions[at % sessions.len()]).is_some())));
        let written = events("event: apply, beside a reader", duration, &table, &mut offset, write_event);
        is_over.store(true, Ordering::Relaxed);
        reader.join().map(|read| [written, Figure { what: "session: read, beside the writer", ..read }])
    });
    figures.extend(beside.into_iter().flatten());
    let changed: Vec<Product> = (0..options.products).map(|index| product(index, 1)).collect::<Result<_, _>>()?;
    let states: Vec<_> =
        [&products, &changed].map(|products| products.iter().map(offer_state).collect()).into_iter().collect::<Vec<Vec<_>>>();
    figures.push(each("offer: write", 1, duration, |at| {
        let (index, revision) = (at % ids.len(), 2 + (at / ids.len()) as u64);
        usize::from(view.set(&ids[index], revision, Some(states[revision as usize % 2][index])))
    }));
    Ok(figures)
}

/// An operation for as long as `duration` on each thread. It is told a number that jumps about the tables (a full period of a
/// multiplicative step), so that neighbours in time are no neighbours in memory; on one thread numbers count up.
fn each(what: &'static str, threads: usize, duration: Duration, operation: impl Fn(usize) -> usize + Sync) -> Figure {
    let started = Instant::now();
    let (done, busy) = thread::scope(|scope| {
        let work = |thread: usize| {
            let operation = &operation;
            move || {
                let before = processor_time();
                let mut done = 0;
                let mut sink = 0_usize;
                while started.elapsed() < duration {
                    for at in done..done + STRIDE {
                        sink = sink.wrapping_add(operation(if threads == 1 {
                            at
                        } else {
                            (at + thread * 7_919).wrapping_mul(2_654_435_761) >> 4
                        }));
                    }
                    done += STRIDE;
                }
                std::hint::black_box(sink);
                (done, processor_time().saturating_sub(before))
            }
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(work(thread))).collect();
        let ended = running.into_iter().filter_map(|thread| thread.join().ok());
        ended.fold((0, Duration::ZERO), |(done, busy), (more, longer)| (done + more, busy + longer))
    });
    figure(what, threads, done, started.elapsed(), busy)
}

fn while_not(is_over: &AtomicBool, operation: impl Fn(usize) -> usize) -> Figure {
    let (started, before) = (Instant::now(), processor_time());
    let (mut done, mut sink) = (0, 0_usize);
    while !is_over.load(Ordering::Relaxed) {
        for at in done..done + STRIDE {
            sink = sink.wrapping_add(operation(at.wrapping_mul(2_654_435_761) >> 4));
        }
        done += STRIDE;
    }
    std::hint::black_box(sink);
    figure("", 1, done, started.elapsed(), processor_time().saturating_sub(before))
}

fn events(what: &'static str, duration: Duration, table: &Table, offset: &mut u64, event: impl Fn(usize) -> LogBody) -> Figure {
    let (mut took, mut busy, mut done) = (Duration::ZERO, Duration::ZERO, 0);
    while took < duration {
        let batch: Vec<LogBody> = (done..done + BATCH_EVENTS).map(|at| event(at.wrapping_mul(2_654_435_761) >> 4)).collect();
        let (started, before) = (Instant::now(), processor_time());
        *offset += apply(table, &batch, *offset);
        took += started.elapsed();
        busy += processor_time().saturating_sub(before);
        done += BATCH_EVENTS;
    }
    figure(what, 1, done, took, busy)
}

fn figure(what: &'static str, threads: usize, done: usize, took: Duration, busy: Duration) -> Figure {
    Figure { what, threads, per_second: done as f64 / took.as_secs_f64(), nanoseconds: busy.as_nanos() as f64 / done.max(1) as f64 }
}

/// How long this thread has been on a processor; zero where there is no such file.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or(0))
}

/// As the actor applies a batch, checkpoints left out.
fn apply(table: &Table, batch: &[LogBody], offset: u64) -> u64 {
    let before = |key: &Key| -> Option<Entry> { table.entry(key).flatten() };
    for (batch, from) in batch.chunks(BATCH_EVENTS).zip((offset..).step_by(BATCH_EVENTS)) {
        let mut ledger = Ledger::new(&before);
        batch.iter().zip(from..).for_each(|(body, offset)| ledger.apply(body, offset));
        for (key, entry) in ledger.into_changed() {
            table.set(&key, entry);
        }
    }
    batch.len() as u64
}

fn product(index: usize, cents: i64) -> Result<Product, domain::IdError> {
    let mut product = Product::new(format!("product-{index}").parse()?, "Shoe");
    product.offer.price = "EUR".parse().ok().map(|currency| Money { amount_e4: 100 * (index as i64 + cents), currency });
    product.offer.availability = Availability::InStock;
    Ok(product)
}

fn view_event(index: usize, product: &ProductId, at_ms: usize) -> LogBody {
    LogBody::Event(Arc::new(Event {
        visitor: Some(index.to_string()),
        session: Some(format!("session-{index}")),
        items: vec![EventItem { product: product.clone(), variant: None, quantity: 1, price: None, position: None }],
        ..Event::new(String::new(), EventKind::View, at_ms as i64)
    }))
}
