//! Killed in the middle, and storage that fails.

use std::io::Write;
use std::ops::Bound;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use store::{Ack, Durability, ExportSummary, Keyspace, Op, Page, StoreError, StoreStats, VerifyReport};
use tokio::sync::oneshot;

use super::*;

/// A store that, when told so, writes and keeps the acknowledgement to itself.
#[derive(Default)]
struct Stalling {
    inner: MemoryStore,
    stalls: AtomicBool,
    kept: Mutex<Vec<oneshot::Sender<Result<u64, StoreError>>>>,
}

impl Store for Stalling {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(space, key)
    }

    fn range(&self, space: Keyspace, bounds: (Bound<&[u8]>, Bound<&[u8]>), limit: usize) -> Result<Page, StoreError> {
        self.inner.range(space, bounds, limit)
    }

    fn commit(&self, ops: Vec<Op>, durability: Durability) -> Ack<u64> {
        let written = self.inner.commit(ops, durability);
        if !self.stalls.load(Ordering::SeqCst) {
            return written;
        }
        let (sender, ack) = Ack::channel();
        self.kept.lock().expect("no test panics in between").push(sender);
        ack
    }

    fn export(&self, to: &mut dyn Write) -> Result<ExportSummary, StoreError> {
        self.inner.export(to)
    }

    fn verify(&self) -> Result<VerifyReport, StoreError> {
        self.inner.verify()
    }

    fn stats(&self) -> StoreStats {
        self.inner.stats()
    }
}

impl Stalling {
    fn has_stalled(&self) -> bool {
        !self.kept.lock().expect("no test panics in between").is_empty()
    }
}

/// Sends a message whose write succeeds and whose acknowledgement never comes, and kills Gordon while he waits for it.
async fn kill_between_write_and_acknowledgement<T: Send + 'static>(
    house: &mut House,
    store: &Stalling,
    message: impl FnOnce(Reply<T>) -> QueueMsg,
) {
    store.stalls.store(true, Ordering::SeqCst);
    let (reply, answer) = Reply::channel();
    house.address.cast(&context(), message(reply)).expect("sent");
    until("the write", || store.has_stalled()).await;
    house.kill().await;
    assert!(answer.await.is_err(), "the caller is told nothing but that nobody answered");
    store.stalls.store(false, Ordering::SeqCst);
    store.kept.lock().expect("no test panics in between").clear();
    house.start().await;
}

#[tokio::test(start_paused = true)]
async fn kill_between_write_and_acknowledgement_of_an_enqueue() {
    let store = Arc::new(Stalling::default());
    let mut house = House::with(config(), Arc::clone(&store) as Arc<dyn Store>).await;
    kill_between_write_and_acknowledgement(&mut house, &store, |reply| QueueMsg::Enqueue { jobs: vec![job("a")], reply }).await;
    house.enqueue(&["a"]).await.expect("the caller tries again");
    let jobs = house.lease(9).await;
    assert_eq!(products(&jobs), ["a"], "once, not twice");
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn kill_between_write_and_acknowledgement_of_a_lease() {
    let store = Arc::new(Stalling::default());
    let mut house = House::with(config(), Arc::clone(&store) as Arc<dyn Store>).await;
    house.enqueue(&["a"]).await.expect("fits");
    let lease = |reply| QueueMsg::Lease { queue: QueueName::EmbedText, jobs_max: 1, visibility_timeout_ms: LEASE_MS, reply };
    kill_between_write_and_acknowledgement(&mut house, &store, lease).await;
    assert_eq!(house.lease(9).await, [], "somebody may hold it");
    house.pass(LEASE_MS).await;
    assert_eq!(house.lease(9).await, [], "the lease has just run out: it backs off");
    house.pass(1000).await;
    let jobs = house.lease(9).await;
    assert_eq!((products(&jobs), jobs[0].attempt), (vec!["a"], 2));
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn kill_between_write_and_acknowledgement_of_a_settlement() {
    let store = Arc::new(Stalling::default());
    let mut house = House::with(config(), Arc::clone(&store) as Arc<dyn Store>).await;
    house.enqueue(&["a", "b"]).await.expect("fits");
    let held = house.lease(2).await;
    let done: Vec<_> = held.iter().map(|job| (job.id, job.lease, Settlement::Done)).collect();
    let again = done.clone();
    kill_between_write_and_acknowledgement(&mut house, &store, |reply| QueueMsg::Settle { jobs: done, reply }).await;
    assert_eq!(house.depth(QueueName::EmbedText), QueueDepth::default());
    house.enqueue(&["a"]).await.expect("fits");
    let newer = house.lease(1).await;
    house.ask(|reply| QueueMsg::Settle { jobs: again, reply }).await.expect("settling again does nothing");
    assert_eq!(house.depth(QueueName::EmbedText).leased, 1, "a number of before the restart never names a job of after it");
    assert!(newer[0].lease > held[1].lease && newer[0].id > held[1].id);
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_storage_failure_is_answered_and_ends_the_actor() {
    let store = MemoryStore::new();
    let house = House::with(config(), Arc::new(store.clone())).await;
    house.enqueue(&["a"]).await.expect("fits");
    store.fail("the disk is gone");
    assert!(matches!(house.enqueue(&["b"]).await, Err(QueueError::Storage(reason)) if reason.contains("the disk is gone")));
    until("the restart", || house.gordon.get_status() == ractor::ActorStatus::Stopped).await;
    assert_eq!(house.depth(QueueName::EmbedText).open(), 1, "what was not stored was not shown");
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_job_is_left_aside_and_the_others_go_on() {
    let store = MemoryStore::new();
    let mut house = House::with(config(), Arc::new(store.clone())).await;
    house.enqueue(&["a", "b"]).await.expect("fits");
    let key = store.range(Keyspace::Jobs, (Bound::Unbounded, Bound::Unbounded), 1).expect("read").entries.remove(0).0;
    let put = Op::Put { space: Keyspace::Jobs, key, value: b"rubbish".to_vec() };
    store.commit(vec![put], Durability::Flushed).await.expect("written");
    house.restart().await;
    assert_eq!(products(&house.lease(9).await), ["b"]);
    house.end().await;
}
