//! Feed runs through the actor.

use domain::{Parts, Product};
use protocol::catalog::Outcome::{self, Created, Unchanged, Updated};
use protocol::catalog::{CatalogError, CatalogReader, Change};
use protocol::ingest::{FeedMode, RunId};
use protocol::queue::ROUTE_PRODUCTS_MAX;

use super::*;
use crate::shop::{product, stocked};

const RUN: RunId = RunId(9);

impl House {
    async fn begin(&self, mode: FeedMode, dry_run: bool) {
        self.ask(|reply| QueueMsg::BeginRun { run: RUN, source: "shop".into(), mode, dry_run, reply }).await.expect("begun");
    }

    async fn try_route(&self, run: Option<RunId>, products: Vec<Product>) -> Result<Vec<Result<Outcome, String>>, QueueError> {
        let products = products.into_iter().map(Arc::new).collect();
        self.ask(|reply| QueueMsg::Route { run, source: "shop".into(), products, reply }).await
    }

    async fn route(&self, products: Vec<Product>) -> Vec<Outcome> {
        let routed = self.try_route(Some(RUN), products).await.expect("routed");
        routed.into_iter().map(|routed| routed.expect("taken")).collect()
    }

    async fn finish(&self, force: bool) -> Result<u64, QueueError> {
        self.ask(|reply| QueueMsg::FinishRun { run: RUN, force, reply }).await
    }

    fn stock(&self, numbers: std::ops::Range<u8>, source: &str) {
        self.shop.apply(numbers.map(|number| Shop::upsert(product(number, 0), source, None)).collect());
    }

    fn known(&self) -> usize {
        self.shop.snapshot().len()
    }
}

fn all(numbers: std::ops::Range<u8>) -> Vec<Product> {
    numbers.map(|number| product(number, 0)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_second_time_everything_is_unchanged_and_nobody_is_asked() {
    let mut house = House::new().await;
    let shop = house.shop.clone();
    let (asked, mut asks) = tokio::sync::mpsc::unbounded_channel();
    house.watchtower.take().expect("idle").answer_all(move |message| {
        if let CatalogMsg::Apply { changes, reply } = message {
            asked.send(changes.len()).expect("the test listens");
            reply.send(Ok(shop.apply(changes)));
        }
    });
    house.begin(FeedMode::Full, false).await;
    assert_eq!(house.route(all(0..3)).await, [Created; 3]);
    assert_eq!(house.finish(false).await.expect("finished"), 0);
    house
        .ask(|reply| QueueMsg::BeginRun { run: RunId(10), source: "shop".into(), mode: FeedMode::Full, dry_run: false, reply })
        .await
        .expect("begun");
    let routed = house.try_route(Some(RunId(10)), all(0..3)).await.expect("routed");
    assert_eq!(routed, vec![Ok(Unchanged); 3]);
    assert_eq!((asks.try_recv().ok(), asks.try_recv().ok()), (Some(3), None));
    let routed = house.try_route(None, vec![stocked(0, 5), product(1, 1), product(2, 0)]).await.expect("routed");
    assert_eq!(routed, [Ok(Updated(Parts::STOCK)), Ok(Updated(Parts::TEXT)), Ok(Unchanged)]);
    assert_eq!(asks.try_recv().ok(), Some(2));
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_failed_counts_when_it_comes_again() {
    let mut house = House::new().await;
    house.begin(FeedMode::Full, false).await;
    let mut watchtower = house.watchtower.take().expect("idle");
    // Watchtower's mailbox is gone, then it dies before the work, then after it; then its storage fails.
    house.args.watchtower.disconnect();
    let refused = house.try_route(Some(RUN), all(0..2)).await;
    assert!(matches!(refused, Err(QueueError::Unavailable(reason)) if reason == "watchtower is not available"));
    house.restart().await;
    let refused = house.try_route(Some(RUN), all(0..2)).await;
    assert!(matches!(refused, Err(QueueError::UnknownRun(RUN))), "Gordon has forgotten it: {refused:?}");
    let (address, probe) = house.scene.probe("watchtower").await;
    drop(std::mem::replace(&mut watchtower, probe));
    house.args.watchtower = address;
    house.restart().await;
    house.begin(FeedMode::Full, false).await;
    let shop = house.shop.clone();
    let failures = async {
        for attempt in 0..3 {
            let (_, CatalogMsg::Apply { changes, reply }) = watchtower.next().await else { panic!("asked for something else") };
            match attempt {
                0 => drop(reply),
                1 => {
                    let _ = shop.apply(changes);
                    drop(reply);
                }
                _ => reply.send(Err(CatalogError::Storage("disk".into()))),
            }
        }
        watchtower
    };
    let feed = async {
        for products in [all(0..2), all(0..2), all(2..3)] {
            assert!(matches!(house.try_route(Some(RUN), products).await, Err(QueueError::Unavailable(_))));
        }
    };
    let (watchtower, ()) = tokio::join!(failures, feed);
    house.watchtower = Some(watchtower);
    house.watchtower_works();
    assert_eq!(house.route(all(0..3)).await, [Created; 3], "what an unanswered attempt did counts as this run's work");
    assert_eq!(house.route(all(0..3)).await, [Unchanged; 3], "and once");
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn watchtower_that_does_not_answer_in_time_is_unavailable() {
    let house = House::with(Config { apply_timeout_ms_max: 5_000, ..config() }, Arc::new(MemoryStore::new())).await;
    house.begin(FeedMode::Delta, false).await;
    let refused = house.try_route(Some(RUN), all(0..1)).await;
    assert!(matches!(refused, Err(QueueError::Unavailable(reason)) if reason == "watchtower did not answer in time"));
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_read_again_after_a_kill_counts_the_same() {
    let mut house = House::new().await;
    house.watchtower_works();
    house.stock(0..2, "shop");
    let feed = || vec![all(0..1), vec![product(1, 1), product(2, 0)], all(2..4)];
    let expected = [vec![Unchanged], vec![Updated(Parts::TEXT), Created], vec![Unchanged, Created]];
    for done in 0..=3 {
        house.begin(FeedMode::Delta, false).await;
        for (batch, expected) in feed().into_iter().zip(&expected).take(done) {
            assert_eq!(house.route(batch).await, *expected);
        }
        house.restart().await;
    }
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_feed_deletes_what_it_does_not_have_but_only_of_its_own_source() {
    let mut house = House::new().await;
    house.watchtower_works();
    house.stock(0..10, "shop");
    house.stock(10..15, "other");
    house.begin(FeedMode::Full, false).await;
    house.route(all(0..7)).await;
    assert_eq!(house.finish(false).await.expect("finished"), 3);
    assert_eq!(house.finish(false).await.expect("asked again"), 3);
    assert_eq!(house.known(), 12);
    house.begin(FeedMode::Delta, false).await;
    house.route(all(0..1)).await;
    assert_eq!((house.finish(false).await.expect("finished"), house.known()), (0, 12), "changes alone delete nothing");
    house.ask_cast(QueueMsg::AbandonRun { run: RUN });
    assert!(matches!(house.finish(false).await, Err(QueueError::UnknownRun(RUN))));
    house.end().await;
}

impl House {
    fn ask_cast(&self, message: QueueMsg) {
        self.address.cast(&context(), message).expect("sent");
    }
}

#[tokio::test(start_paused = true)]
async fn the_guard_holds_back_an_empty_or_shrunken_feed() {
    // In the feed, where ten are known and others are new; forced; what is deleted, or how many known ones were seen.
    let cases: [(Vec<Product>, bool, Result<u64, u64>); 6] = [
        (vec![], false, Err(0)),
        (all(100..200), false, Err(0)),
        (all(0..4), false, Err(4)),
        (all(0..5), false, Ok(5)),
        (vec![], true, Ok(10)),
        (all(9..20), true, Ok(9)),
    ];
    for (products, force, expected) in cases {
        let mut house = House::new().await;
        house.watchtower_works();
        house.stock(0..10, "shop");
        for dry_run in [true, false] {
            house.begin(FeedMode::Full, dry_run).await;
            house.route(products.clone()).await;
            let before = house.known();
            match (house.finish(force).await, expected) {
                (Err(QueueError::ShrunkenFeed { known: 10, seen }), Err(expected)) => assert_eq!((seen, house.known()), (expected, before)),
                (Ok(deleted), Ok(expected)) => {
                    assert_eq!(deleted, expected);
                    assert_eq!(house.known(), if dry_run { 10 } else { before - expected as usize });
                }
                (finished, _) => panic!("{finished:?} instead of {expected:?}, dry run: {dry_run}"),
            }
        }
        house.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_end_was_interrupted_goes_on_deleting() {
    let mut house = House::new().await;
    house.stock(0..4, "shop");
    house.begin(FeedMode::Full, false).await;
    house.route(all(0..2)).await;
    let mut watchtower = house.watchtower.take().expect("idle");
    let shop = house.shop.clone();
    let dies = async {
        let (_, CatalogMsg::Apply { mut changes, reply }) = watchtower.next().await else { panic!("asked for something else") };
        changes.truncate(1);
        assert!(matches!(changes[..], [Change::Delete { run: Some(RUN), .. }]));
        let _ = shop.apply(changes);
        drop(reply);
        watchtower
    };
    let (watchtower, finished) = tokio::join!(dies, house.finish(false));
    assert!(matches!(finished, Err(QueueError::Unavailable(_))));
    house.watchtower = Some(watchtower);
    house.watchtower_works();
    assert_eq!((house.finish(false).await.expect("finished"), house.known()), (2, 2));
    // Joker did not hear of it and reads the feed again.
    house.begin(FeedMode::Full, false).await;
    assert_eq!(house.route(all(0..2)).await, [Unchanged; 2]);
    assert_eq!((house.finish(false).await.expect("finished"), house.known()), (2, 2), "what the run deleted stays counted");
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn messages_over_the_bound_are_refused() {
    let house = House::new().await;
    let products = vec![product(0, 0); ROUTE_PRODUCTS_MAX + 1];
    assert!(matches!(house.try_route(None, products).await, Err(QueueError::TooMany(257))));
    assert!(matches!(house.try_route(Some(RUN), all(0..1)).await, Err(QueueError::UnknownRun(RUN))));
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_over_its_bound_of_products_is_refused() {
    let mut house = House::with(Config { run_products_max: 3, ..config() }, Arc::new(MemoryStore::new())).await;
    house.watchtower_works();
    house.begin(FeedMode::Full, false).await;
    house.route(all(0..3)).await;
    assert!(matches!(house.try_route(Some(RUN), all(3..4)).await, Err(QueueError::TooMany(4))));
    house.end().await;
}
