//! Prints figures: `cargo test -p reports --release -- --ignored --nocapture figures`.

use domain::{EventKind, Shopper};
use protocol::journal::LogBody;
use protocol::reports::Date;

use super::{entries, event, log_event, log_served, served};
use crate::config::Config;
use crate::logic::day::Day;
use crate::logic::fold::State;
use crate::logic::report::daily;
use crate::logic::salt::Salt;
use crate::records::{seal_day, unseal_day};

/// A visit: a list of 20, ten of it seen, a click, a product page, every eighth time a search, every twentieth an order.
fn visit(number: u64, draw: &mut impl FnMut(u64) -> u64, bodies: &mut Vec<LogBody>) {
    let at_ms = number as i64 * 20;
    let shopper = draw(20_000).to_string();
    let names: Vec<String> = (0..20).map(|_| format!("product-{}", draw(200) * draw(250))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let token = format!("token-{number}");
    let mut list = served(&token, at_ms, ["home", "product_page", "cart"][draw(3) as usize], &names);
    list.shopper = Some(Shopper::visitor(&shopper));
    list.experiments = vec![("ranking".into(), format!("arm-{}", draw(2)))];
    if draw(8) == 0 {
        (list.placement, list.query) = ("search".into(), Some(format!("query {}", draw(100) * draw(100))));
    }
    bodies.push(log_served(list));
    let mut push = |kind: EventKind, names: &[&str], has_token: bool| {
        let mut event = event(&format!("{number}-{}", bodies.len()), kind, at_ms + 1_000, names);
        (event.visitor, event.session) = (Some(shopper.clone()), Some(format!("session-{shopper}")));
        event.attribution_token = has_token.then(|| token.clone());
        bodies.push(log_event(event));
    };
    push(EventKind::Impression, &names[..10], true);
    push(EventKind::Click, &names[..1], true);
    push(EventKind::View, &names[..1], true);
    if draw(20) == 0 {
        push(EventKind::AddToCart, &names[..1], false);
        push(EventKind::Purchase, &names[..2], false);
    }
}

/// Processor time of this thread, in seconds: other work on the machine does not count.
fn processor_seconds() -> f64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    statistics.split_whitespace().next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

#[test]
#[ignore = "measures, asserts nothing"]
fn figures() {
    let mut random = 1_u64;
    let mut draw = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let config = Config::default();
    let mut state = State::new(config.clone(), Salt([3; 32]));
    let (mut applied, mut seconds) = (0, 0.0);
    let before = resident_mib();
    for piece in 0..20 {
        let mut bodies = Vec::new();
        (0..5_000).for_each(|number| visit(piece * 5_000 + number, &mut draw, &mut bodies));
        let mut entries = entries(bodies);
        entries.iter_mut().for_each(|entry| entry.offset += state.offset);
        let started = processor_seconds();
        entries.iter().for_each(|entry| state.apply(entry));
        seconds += processor_seconds() - started;
        applied += entries.len();
    }
    println!("apply: {:.2} us an entry over {applied} entries of 100,000 visits", seconds * 1e6 / applied as f64);
    println!("memory: {:.0} MiB more than before, {} lists in the join", resident_mib() - before, state.join.len());
    let date = Date::of_day(0);
    let day = state.days[&date].clone();
    let started = processor_seconds();
    let sealed = seal_day(date, &day).expect("sealed");
    let bytes: usize = sealed.iter().map(|(_, value)| value.len()).sum();
    println!("day: {} KiB in {} records, sealed in {:.1} ms", bytes / 1024, sealed.len(), (processor_seconds() - started) * 1e3);
    let started = processor_seconds();
    let again = unseal_day(date, &sealed).expect("whole");
    println!("day: read back in {:.1} ms", (processor_seconds() - started) * 1e3);
    let started = processor_seconds();
    let report = daily(date, &again, &vec![day.clone(); 7], &config);
    let elapsed = (processor_seconds() - started) * 1e3;
    println!(
        "report: {elapsed:.1} ms, {} products, {} queries, {} rows",
        report.products.len(),
        report.queries.len(),
        report.attribution.len()
    );
    let started = processor_seconds();
    let copy = Day::clone(&day);
    println!("copy on write: {:.1} ms, {} products", (processor_seconds() - started) * 1e3, copy.products.iter().count());
}
