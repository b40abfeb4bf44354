//! The journal's changes become jobs.

use domain::{PartHashes, Parts};
use protocol::ingest::RunId;
use protocol::journal::{CatalogChange, KIND_CATALOG_CHANGE};
use store::{Durability, NewRecord, Record};

use super::*;
use crate::CONSUMERS;
use crate::shop::product;

fn change(number: u8, parts: Parts, is_deleted: bool) -> NewRecord {
    let product = product(number, 0);
    let (id, hashes) = (product.id.clone(), PartHashes::of(&product));
    let product = (!is_deleted).then_some(product);
    let change = CatalogChange { id, revision: 2, parts, product, hashes, source: "shop".into(), run: Some(RunId(1)), changed_at_ms: 0 };
    NewRecord { kind: KIND_CATALOG_CHANGE, body: change.seal(&[]).expect("sealed") }
}

impl House {
    async fn append(&self, records: Vec<NewRecord>) {
        self.args.journal.append(records).await.expect("durable");
    }

    async fn caught_up(&self) {
        until("following", || self.args.view.journal_offset() == self.args.journal.end()).await;
    }

    async fn work_off(&self, queue: QueueName) -> Vec<String> {
        let mut worked = Vec::new();
        loop {
            let jobs = self.lease_of(queue, 3).await;
            if jobs.is_empty() {
                return worked;
            }
            worked.extend(products(&jobs).into_iter().map(str::to_owned));
            self.settle(&jobs, Settlement::Done).await;
        }
    }
}

#[tokio::test]
async fn each_change_makes_the_jobs_of_its_parts_once() {
    let mut house = House::new().await;
    let records = vec![
        change(1, Parts::ALL, false),
        change(2, Parts::TEXT, false),
        change(3, Parts::IMAGE, false),
        change(4, Parts::PRICE.with(Parts::STOCK), false),
        change(5, Parts::ALL, true),
        NewRecord { kind: 999, body: b"not Gordon's".to_vec() },
        NewRecord { kind: KIND_CATALOG_CHANGE, body: b"damaged".to_vec() },
    ];
    house.append(records).await;
    house.caught_up().await;
    house.restart().await;
    assert_eq!(house.args.view.journal_offset(), 7);
    assert_eq!(house.args.journal.consumers(), CONSUMERS.map(|name| (name, 7)));
    assert_eq!(house.work_off(QueueName::EmbedText).await, ["p1", "p2", "p5"]);
    assert_eq!(house.work_off(QueueName::EmbedImage).await, ["p1", "p3", "p5"]);
    house.restart().await;
    house.append(vec![change(6, Parts::TEXT, false)]).await;
    house.caught_up().await;
    assert_eq!(house.work_off(QueueName::EmbedText).await, ["p6"], "nothing is done twice");
    house.end().await;
}

#[tokio::test]
async fn a_full_queue_waits_with_the_journal_and_does_not_hold_up_the_other() {
    let config = Config { embed_text: QueueConfig { jobs_max: 100, ..QueueConfig::default() }, ..config() };
    let house = House::with(config, Arc::new(MemoryStore::new())).await;
    house.append((0..50).map(|number| change(number, Parts::ALL, false)).collect()).await;
    until("the other queue", || house.depth(QueueName::EmbedText).ready == 50).await;
    assert_eq!(house.depth(QueueName::EmbedImage).open(), 8, "at its bound");
    assert_eq!(house.args.view.journal_offset(), 8);
    assert_eq!(house.args.journal.consumers(), [(CONSUMERS[0], 8), (CONSUMERS[1], 50)]);
    let mut worked = Vec::new();
    while worked.len() < 50 {
        worked.extend(house.work_off(QueueName::EmbedImage).await);
        assert!(house.depth(QueueName::EmbedImage).open() <= 8);
        tokio::task::yield_now().await;
    }
    let expected: Vec<_> = (0..50).map(|number| format!("p{number}")).collect();
    assert_eq!(worked, expected, "nothing is lost, nothing is done twice");
    house.end().await;
}

#[tokio::test]
async fn a_kill_while_following_loses_nothing_and_doubles_nothing() {
    let config = Config { follow_records_max: 3, embed_text: QueueConfig { jobs_max: 1000, ..QueueConfig::default() }, ..config() };
    let config = Config { embed_image: config.embed_text.clone(), ..config };
    let mut house = House::with(config, Arc::new(MemoryStore::new())).await;
    let mut worked = Vec::new();
    for round in 0..10_u8 {
        house.append((0..10).map(|number| change(10 * round + number, Parts::ALL, false)).collect()).await;
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        house.restart().await;
        worked.extend(house.work_off(QueueName::EmbedText).await);
    }
    house.caught_up().await;
    worked.extend(house.work_off(QueueName::EmbedText).await);
    let expected: Vec<_> = (0..100).map(|number| format!("p{number}")).collect();
    assert_eq!(worked, expected);
    assert_eq!(house.depth(QueueName::EmbedImage).ready, 100);
    house.end().await;
}

#[tokio::test]
async fn a_journal_that_does_not_fit_the_offset_is_made_up_for_from_the_catalog() {
    let mut house = House::new().await;
    house.kill().await;
    for number in 0..20 {
        house.shop.apply(vec![Shop::upsert(product(number, 0), "shop", None)]);
    }
    let ops = CONSUMERS.map(|name| store::consumer::offset_op(name, 1000).expect("sealed")).to_vec();
    house.args.store.commit(ops, Durability::Flushed).await.expect("written");
    house.args.config.follow_records_max = 7;
    house.start().await;
    for queue in QueueName::ALL {
        let mut worked = Vec::new();
        while worked.len() < 20 {
            worked.extend(house.work_off(queue).await);
            tokio::task::yield_now().await;
        }
        worked.sort();
        worked.dedup();
        assert_eq!(worked.len(), 20);
    }
    house.caught_up().await;
    house.append(vec![change(21, Parts::TEXT, false)]).await;
    house.caught_up().await;
    assert_eq!(house.work_off(QueueName::EmbedText).await, ["p21"]);
    house.end().await;
}
