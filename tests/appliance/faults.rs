//! Faults by name: each actor killed in the middle of an import, a restart of the whole house, bad input of every kind.

use std::collections::BTreeMap;
use std::io::Write;

use gotham::house::House;
use kit::{Address, Context, Priority};
use protocol::catalog::CatalogMsg;
use protocol::ingest::{FeedMode, IngestMsg, RunStatus};
use protocol::queue::QueueName;

use crate::support::{PATIENCE, Rig, file_feed, ndjson, product_json};

/// Products in the feeds of these tests: enough batches for a kill to come in the middle.
const PRODUCTS: usize = 3_000;

/// Kills one actor again and again while a feed is read, and checks that the end is the same as without.
async fn kill_during_import(kill: fn(&House)) {
    let rig = Rig::new(None).await;
    let file = rig.folder.path().join("feed.ndjson");
    std::fs::write(&file, ndjson(PRODUCTS)).expect("written");
    let request = file_feed(&file, FeedMode::Full);
    let context = Context::new(Priority::Bulk, PATIENCE);
    let id = rig.house.joker.call(&context, |reply| IngestMsg::Start { request, reply }).await.expect("Joker answers").expect("taken");
    for kills in 1..=3 {
        let is_under_way = |house: &House| {
            house.runs.get(id).is_some_and(|run| run.status.is_final()) || house.catalog.snapshot().len() >= kills * PRODUCTS / 5
        };
        rig.until("progress", is_under_way).await;
        kill(&rig.house);
        rig.until("the restart", |house| house.not_ready().is_empty()).await;
    }
    rig.until("the end of the feed", |house| house.runs.get(id).is_some_and(|run| run.status.is_final())).await;
    let run = rig.house.runs.get(id).expect("the run");
    assert_eq!((run.status, &run.error), (RunStatus::Succeeded, &None));
    let counts = run.counts;
    let expected = (PRODUCTS as u64, PRODUCTS as u64, 0, 0, 0, 0);
    assert_eq!(
        (counts.records, counts.created, counts.updated, counts.unchanged, counts.deleted, counts.rejected),
        expected,
        "counted once, whatever was read again"
    );
    rig.until_followed().await;
    assert_whole(&rig);
    let folder = rig.close().await;
    let rig = Rig::open(folder, None).await;
    rig.until_followed().await;
    assert_whole(&rig);
    rig.close().await;
}

/// Every product is there once, everywhere.
fn assert_whole(rig: &Rig) {
    let snapshot = rig.house.catalog.snapshot();
    assert_eq!(snapshot.len(), PRODUCTS);
    let revisions: BTreeMap<u64, usize> = snapshot.page(None, PRODUCTS + 1).iter().fold(BTreeMap::new(), |mut counts, product| {
        *counts.entry(product.revision).or_default() += 1;
        counts
    });
    assert_eq!(revisions, BTreeMap::from([(1, PRODUCTS)]), "no product was written twice");
    assert_eq!(rig.house.journal.end(), PRODUCTS as u64, "one journal record a product");
    assert_eq!(rig.house.searcher.stats().keyword_products, PRODUCTS);
    assert!((0..PRODUCTS).all(|number| rig.house.offers.offer(&format!("p-{number:05}")).is_some_and(|offer| offer.is_available)));
    assert_eq!(rig.house.queues.depth(QueueName::EmbedText).open(), PRODUCTS as u64, "one job a product");
}

fn kill<M: Send + 'static>(address: &Address<M>) {
    address.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_joker_in_the_middle_of_an_import() {
    kill_during_import(|house| kill(&house.addresses.joker)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_gordon_in_the_middle_of_an_import() {
    kill_during_import(|house| kill(&house.addresses.gordon)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_watchtower_in_the_middle_of_an_import() {
    kill_during_import(|house| kill(&house.addresses.watchtower)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nightwing_in_the_middle_of_an_import() {
    kill_during_import(|house| kill(&house.addresses.nightwing)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_batman_in_the_middle_of_an_import() {
    kill_during_import(|house| kill(&house.addresses.batman)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_flash_in_the_middle_of_an_import() {
    kill_during_import(|house| kill(&house.addresses.flash)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_wayne_in_the_middle_of_an_import() {
    kill_during_import(|house| kill(&house.addresses.wayne)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_robin_in_the_middle_of_an_import() {
    kill_during_import(|house| kill(&house.addresses.robin)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_rows_are_rejected_one_by_one_and_the_rest_goes_in() {
    let rig = Rig::new(None).await;
    let file = rig.folder.path().join("feed.csv");
    let mut feed = std::fs::File::create(&file).expect("a file");
    writeln!(feed, "id,title,price,availability,link").expect("written");
    writeln!(feed, "a,Good lamp,10.00 EUR,in stock,https://shop.example/a").expect("written");
    writeln!(feed, ",No id,10.00 EUR,in stock,https://shop.example/b").expect("written");
    feed.write_all(b"c,Caf\xe9 lamp,11.00 EUR,in stock,https://shop.example/c\n").expect("written");
    writeln!(feed, "d,{},12.00 EUR", "x,".repeat(1_000_000)).expect("written");
    writeln!(feed, "e,Last lamp,13.00 EUR,in stock,https://shop.example/e").expect("written");
    drop(feed);
    let run = rig.feed(file_feed(&file, FeedMode::Delta)).await;
    assert_eq!(run.status, RunStatus::Succeeded, "{:?}", run.error);
    let snapshot = rig.house.catalog.snapshot();
    assert_eq!(snapshot.get("c").expect("the Latin-1 row goes in").product.title, "Café lamp");
    assert!(snapshot.get("a").is_some() && snapshot.get("e").is_some(), "rows around the bad ones go in");
    let rejects = rig.house.runs.rejects(run.id, 0, 100).expect("rejects");
    let refused: Vec<(u64, bool)> =
        rejects.iter().filter(|reject| !reject.is_warning).map(|reject| (reject.row, reject.code.is_empty())).collect();
    assert_eq!(refused, [(2, false), (4, false)], "{rejects:?}");
    assert!(rejects.iter().all(|reject| reject.raw.len() < 4_096), "raw text is cut");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_feed_fails_with_a_code_and_changes_nothing() {
    let rig = Rig::new(None).await;
    let cases: [(&str, &[u8]); 4] = [
        ("error.xml", b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0"),
        ("empty.ndjson", b""),
        ("zeros.csv", &[0; 512]),
    ];
    for (name, bytes) in cases {
        let file = rig.folder.path().join(name);
        std::fs::write(&file, bytes).expect("written");
        let run = rig.feed(file_feed(&file, FeedMode::Full)).await;
        assert_eq!(run.status, RunStatus::Failed, "{name}");
        assert!(run.error.as_ref().is_some_and(|error| !error.code.is_empty() && !error.detail.is_empty()), "{name}: {:?}", run.error);
    }
    assert_eq!(rig.house.catalog.snapshot().len(), 0);
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_full_feed_deletes_nothing_and_a_shrunken_one_is_refused() {
    let rig = Rig::new(None).await;
    let file = rig.folder.path().join("feed.ndjson");
    std::fs::write(&file, ndjson(100)).expect("written");
    assert_eq!(rig.feed(file_feed(&file, FeedMode::Full)).await.counts.created, 100);
    let whole = ndjson(90);
    std::fs::write(&file, &whole[..whole.len() - 20]).expect("written");
    let run = rig.feed(file_feed(&file, FeedMode::Full)).await;
    assert_eq!((run.status, run.error.map(|error| error.code)), (RunStatus::Failed, Some("truncated".to_owned())));
    assert_eq!(rig.house.catalog.snapshot().len(), 100);
    std::fs::write(&file, ndjson(10)).expect("written");
    let run = rig.feed(file_feed(&file, FeedMode::Full)).await;
    assert_eq!((run.status, run.error.map(|error| error.code)), (RunStatus::Failed, Some("shrunken_feed".to_owned())));
    assert_eq!(rig.house.catalog.snapshot().len(), 100);
    let mut forced = file_feed(&file, FeedMode::Full);
    forced.force = true;
    assert_eq!(rig.feed(forced).await.counts.deleted, 90);
    assert_eq!(rig.house.catalog.snapshot().len(), 10);
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_price_touches_no_index_and_is_visible_at_once() {
    let rig = Rig::new(None).await;
    let file = rig.folder.path().join("feed.ndjson");
    std::fs::write(&file, ndjson(50)).expect("written");
    rig.feed(file_feed(&file, FeedMode::Full)).await;
    rig.until_followed().await;
    let (index, jobs) = (rig.house.searcher.stats().version, rig.house.queues.depth(QueueName::EmbedText).open());
    let changed: String = (0..50).map(|number| product_json(number, "12.50", "in_stock") + "\n").collect();
    std::fs::write(&file, changed).expect("written");
    let counts = rig.feed(file_feed(&file, FeedMode::Full)).await.counts;
    assert_eq!((counts.updated, counts.created, counts.unchanged), (50, 0, 0));
    rig.until_followed().await;
    let offer = rig.house.offers.offer("p-00007").expect("an offer");
    assert_eq!(offer.price.expect("a price").amount(), "12.50");
    assert_eq!((rig.house.searcher.stats().version, rig.house.queues.depth(QueueName::EmbedText).open()), (index, jobs));
    let again = rig.feed(file_feed(&file, FeedMode::Full)).await.counts;
    assert_eq!((again.unchanged, again.updated, again.created), (50, 0, 0));
    assert_eq!(rig.house.journal.end(), 100, "an unchanged feed writes nothing");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroyed_store_is_rebuilt_from_the_journal() {
    let rig = Rig::new(None).await;
    let file = rig.folder.path().join("feed.ndjson");
    std::fs::write(&file, ndjson(200)).expect("written");
    rig.feed(file_feed(&file, FeedMode::Full)).await;
    let folder = rig.close().await;
    let store = folder.path().join("data/store");
    for name in ["conf", "db"] {
        std::fs::write(store.join(name), [0x55; 4_096]).expect("overwritten");
    }
    let rig = Rig::open(folder, None).await;
    rig.until_followed().await;
    assert_eq!((rig.house.catalog.snapshot().len(), rig.house.journal.end()), (200, 200));
    assert_eq!(rig.feed(file_feed(&file, FeedMode::Full)).await.counts.unchanged, 200);
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroyed_store_is_rebuilt_from_the_last_export_and_the_journal_behind_it() {
    let rig = Rig::new(None).await;
    let file = rig.folder.path().join("feed.ndjson");
    std::fs::write(&file, ndjson(100)).expect("written");
    rig.feed(file_feed(&file, FeedMode::Full)).await;
    rig.until_followed().await;
    let context = Context::new(Priority::Bulk, PATIENCE);
    let checkpoint = rig.house.addresses.watchtower.call(&context, |reply| CatalogMsg::Checkpoint { reply }).await;
    checkpoint.expect("Watchtower answers").expect("an export is written");
    std::fs::write(&file, ndjson(150)).expect("written");
    rig.feed(file_feed(&file, FeedMode::Full)).await;
    let folder = rig.close().await;
    for name in ["conf", "db"] {
        std::fs::write(folder.path().join("data/store").join(name), [0x55; 4_096]).expect("overwritten");
    }
    let rig = Rig::open(folder, None).await;
    rig.until_followed().await;
    assert_eq!((rig.house.catalog.snapshot().len(), rig.house.journal.end()), (150, 150));
    rig.close().await;
}
