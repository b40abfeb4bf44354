//! Prints how long one list takes: features, weights and order, for a shopper with a full profile.
//! `rerank [CANDIDATES] [EMBEDDING_LENGTH]`, by default 200 candidates with pictures of 1,280 and texts of 384 elements.

use std::time::Instant;

use taste::{Action, Ask, Candidate, DAY_MS, Event, Facts, Learner, Page, Profile, Shop};

const RUNS: usize = 2_000;
const T0: i64 = 1_700_000_000_000;

fn embedding(seed: u64, length: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..length).map(|_| next()).collect()
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let (count, length) = (numbers.next().unwrap_or(200), numbers.next().unwrap_or(1_280));
    let images: Vec<Vec<f32>> = (0..1_000).map(|item| embedding(item, length)).collect();
    let texts: Vec<Vec<f32>> = (0..1_000).map(|item| embedding(item + 7_000, length * 3 / 10)).collect();
    let attributes: Vec<[(u64, u64); 3]> = (0..1_000).map(|item| [(1, item % 12), (2, item % 7), (3, item % 5)]).collect();
    let facts = |item: u64| {
        let at = item as usize % 1_000;
        Facts {
            kind: Some(item % 5),
            brand: Some(item % 40),
            size: Some(item % 9),
            price: Some(1.0 + item as f32 % 30.0),
            private_label: Some(item.is_multiple_of(4)),
            attributes: &attributes[at],
            image: &images[at],
            image_model: 1,
            text: &texts[at],
            text_model: 2,
        }
    };
    let (mut profile, mut shop, learner) = (Profile::default(), Shop::default(), Learner::default());
    let started = Instant::now();
    let events = 20_000_u64;
    for n in 0..events {
        let action = if n.is_multiple_of(3) { Action::Purchase } else { Action::View };
        let item = n * 7_919 % 1_000;
        let event = Event { action, item, at_ms: T0 + n as i64 * DAY_MS / 100, store: Some(n % 3), facts: facts(item) };
        let step = profile.apply(&event, &shop);
        shop.apply(&event, &step);
    }
    println!("{:.2} us an event, embeddings included", started.elapsed().as_secs_f64() * 1e6 / events as f64);
    let candidates: Vec<Candidate> = (0..count as u64).map(|n| Candidate { item: n * 3, score: Some(n as f32) }).collect();
    let ask = Ask { at_ms: T0 + 201 * DAY_MS, store: Some(1), candidates: &candidates };
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            let page = Page::new(&profile, &shop, &ask, |at| facts(candidates[at].item));
            let ranked = learner.rank(&page, 1, 1.0);
            assert!(ranked.len() == candidates.len().min(taste::CANDIDATES_MAX));
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{count} candidates: p50 {:.3} ms, p99 {:.3} ms", times[RUNS / 2], times[RUNS * 99 / 100]);
}
