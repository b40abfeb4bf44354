//! Jobs through the actor: handed out, settled, given up, revived, and shown to readers.

use protocol::queue::{ENQUEUE_JOBS_MAX, LEASE_JOBS_MAX};

use super::recorder::Recorder;
use super::*;

#[tokio::test(start_paused = true)]
async fn a_poison_job_goes_to_the_dead_letters_and_a_redrive_gives_it_a_new_life() {
    let house = House::new().await;
    house.enqueue(&["poison", "good"]).await.expect("fits");
    for attempt in 1..=3 {
        let jobs = house.lease(9).await;
        let (poison, good): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.spec.product.as_str() == "poison");
        assert_eq!((poison.len(), poison[0].attempt), (1, attempt));
        house.settle(&good, Settlement::Done).await;
        house.settle(&poison, Settlement::Retry { error: format!("attempt {attempt} crashed") }).await;
        house.pass(1000).await;
    }
    assert_eq!(house.depth(QueueName::EmbedText), QueueDepth { dead: 1, ..QueueDepth::default() });
    let letters = house.ask(|reply| QueueMsg::DeadLetters { queue: QueueName::EmbedText, limit: 9, reply }).await.expect("letters");
    assert_eq!(
        (letters.len(), letters[0].product.as_str(), letters[0].attempts, letters[0].error.as_str()),
        (1, "poison", 3, "attempt 3 crashed")
    );
    assert_eq!(letters[0].died_at_ms, 1_002_000);
    assert_eq!(house.ask(|reply| QueueMsg::DeadLetters { queue: QueueName::EmbedImage, limit: 9, reply }).await.expect("letters"), []);

    assert_eq!(house.ask(|reply| QueueMsg::Redrive { queue: QueueName::EmbedText, reply }).await.expect("revived"), 1);
    let jobs = house.lease(9).await;
    assert_eq!((products(&jobs), jobs[0].attempt), (vec!["poison"], 1));
    assert_eq!(house.depth(QueueName::EmbedText), QueueDepth { leased: 1, ..QueueDepth::default() });
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn leases_outlive_a_restart_and_come_back_when_they_run_out() {
    let mut house = House::new().await;
    house.enqueue(&["a", "b", "c"]).await.expect("fits");
    let held = house.lease(1).await;
    house.restart().await;
    assert_eq!(house.depth(QueueName::EmbedText), QueueDepth { ready: 2, leased: 1, ..QueueDepth::default() });
    assert_eq!(products(&house.lease(9).await), ["b", "c"], "the restart gave nothing out twice");
    // By Gordon's own timer, no message needed.
    house.pass(LEASE_MS - 1).await;
    assert_eq!(house.depth(QueueName::EmbedText).leased, 3);
    house.pass(1000).await;
    house.pass(1000).await;
    until("the leases' end", || house.depth(QueueName::EmbedText).ready == 3).await;
    let again = house.lease(9).await;
    assert!(again.len() == 3 && again.iter().all(|job| job.attempt == 2));
    house.settle(&held, Settlement::Done).await;
    assert_eq!(house.depth(QueueName::EmbedText).leased, 3, "the lease is no longer the job's current one");
    house.settle(&again, Settlement::Done).await;
    assert_eq!(house.depth(QueueName::EmbedText), QueueDepth::default());
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_moves_no_lease() {
    let house = House::new().await;
    for jump_ms in [-86_400_000, 86_400_000] {
        house.enqueue(&["a"]).await.expect("fits");
        let held = house.lease(1).await;
        house.clock.advance_ms(jump_ms);
        assert_eq!(house.lease(1).await, [], "handed out twice after a jump of {jump_ms} ms");
        house.settle(&held, Settlement::Done).await;
    }
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn waiting_workers_are_woken_when_jobs_become_due() {
    let house = House::new().await;
    let mut ready = house.args.view.ready();
    ready.mark_unchanged();
    let later = JobSpec { not_before_ms: 1_005_000, ..job("later") };
    house.ask(|reply| QueueMsg::Enqueue { jobs: vec![later], reply }).await.expect("fits");
    assert!(!ready.has_changed().expect("open"), "nothing is due yet");
    house.enqueue(&["now"]).await.expect("fits");
    assert!(ready.has_changed().expect("open"));
    ready.mark_unchanged();
    house.pass(5_000).await;
    tokio::time::timeout(TIMEOUT, ready.changed()).await.expect("woken").expect("open");
    assert_eq!(house.depth(QueueName::EmbedText).ready, 2);
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn bounds_are_kept() {
    let config = Config { embed_text: QueueConfig { jobs_max: 2 * LEASE_JOBS_MAX, ..QueueConfig::default() }, ..config() };
    let house = House::with(config, Arc::new(MemoryStore::new())).await;
    let jobs = |count: usize| -> Vec<JobSpec> { (0..count).map(|n| job(&format!("p{n}"))).collect() };
    for (count, expected) in
        [(ENQUEUE_JOBS_MAX + 1, "1025 in one message is too many"), (2 * LEASE_JOBS_MAX + 1, "queue embed_text holds 0 jobs, its bound")]
    {
        let refused = house.ask(|reply| QueueMsg::Enqueue { jobs: jobs(count), reply }).await.expect_err("too many");
        assert_eq!(refused.to_string(), expected);
    }
    house.ask(|reply| QueueMsg::Enqueue { jobs: jobs(2 * LEASE_JOBS_MAX), reply }).await.expect("fits");
    assert!(matches!(house.enqueue(&["one more"]).await, Err(QueueError::Full { queue: "embed_text", jobs: 512 })));
    let leased = house.lease(usize::MAX).await;
    assert_eq!(leased.len(), LEASE_JOBS_MAX);
    let settled = vec![(leased[0].id, leased[0].lease, Settlement::Done); protocol::queue::SETTLE_JOBS_MAX + 1];
    let refused = house.ask(|reply| QueueMsg::Settle { jobs: settled, reply }).await;
    assert!(matches!(refused, Err(QueueError::TooMany(_))));
    house.end().await;
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_depths_ages_and_dead_letters() {
    let recorder = Recorder::default();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let house = House::new().await;
    house.enqueue(&["a", "b", "c"]).await.expect("fits");
    let jobs = house.lease(2).await;
    house.settle(&jobs[..1], Settlement::Dead { error: "no picture".into() }).await;
    house.pass(4_000).await;
    house.settle(&[], Settlement::Done).await;
    for (metric, expected) in [
        ("gotham_queue_jobs{queue=embed_text,state=ready}", 1.0),
        ("gotham_queue_jobs{queue=embed_text,state=leased}", 1.0),
        ("gotham_queue_jobs{queue=embed_text,state=dead}", 1.0),
        ("gotham_queue_jobs{queue=embed_image,state=ready}", 0.0),
        ("gotham_queue_oldest_job_age_seconds{queue=embed_text}", 4.0),
        ("gotham_queue_dead_letters_total{queue=embed_text}", 1.0),
        ("gotham_queue_events_total{event=enqueued,queue=embed_text}", 3.0),
        ("gotham_queue_events_total{event=leased,queue=embed_text}", 2.0),
    ] {
        assert_eq!(recorder.get(metric), Some(expected), "{metric}");
    }
    house.end().await;
}
