//! The queue against a model: whatever happens, no job is lost, none is handed out twice within a lease, and none is tried more often
//! than it may be. What is stored is at every moment enough to go on from.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::queue::{JobId, JobSpec, LeasedJob, QueueName, Settlement};
use store::{Op, Record};

use crate::config::{Config, QueueConfig};
use crate::logic::job::{Job, Now};
use crate::logic::queue::{Full, Queue};
use crate::logic::queues::Queues;
use crate::records::{DeadRecord, JobRecord, SEQUENCE_KEY, SequenceRecord, Shelf, key_id, shelf_key};

const QUEUE: QueueName = QueueName::EmbedText;
const JOBS_MAX: usize = 6;
const ATTEMPTS_MAX: u32 = 3;
const LEASE_MS: i64 = 1000;
const RELEASE_MS: u64 = 50;

fn config() -> Config {
    let embed_text = QueueConfig {
        jobs_max: JOBS_MAX,
        dead_letters_max: 100,
        attempts_max: ATTEMPTS_MAX,
        backoff_ms_min: 100,
        backoff_ms_max: 400,
        visibility_timeout_ms_max: 10_000,
        release_delay_ms: RELEASE_MS,
    };
    Config { embed_text, ..Config::default() }
}

/// Queues and what they have stored.
struct Bench {
    queues: Queues,
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
    now: Now,
}

impl Bench {
    fn new() -> Self {
        Self { queues: Queues::new(&config(), 0), stored: BTreeMap::new(), now: Now { wall_ms: 1_000_000, steady_ms: 0 } }
    }

    fn queue(&self) -> &Queue {
        self.queues.get(QUEUE)
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut Queues, Now, &mut Vec<Op>) -> T) -> T {
        let mut ops = Vec::new();
        let answer = act(&mut self.queues, self.now, &mut ops);
        for op in ops {
            match op {
                Op::Put { key, value, .. } => self.stored.insert(key, value),
                Op::Delete { key, .. } => self.stored.remove(&key),
            };
        }
        answer
    }

    fn enqueue(&mut self, product: &str, priority: u8, wait_ms: i64) -> Result<(), Full> {
        let (product, not_before_ms) = (product.parse().expect("an id"), self.now.wall_ms + wait_ms);
        self.act(|queues, now, ops| queues.enqueue(now, &JobSpec { queue: QUEUE, product, priority, not_before_ms }, ops))
    }

    fn lease(&mut self, jobs_max: usize) -> Vec<LeasedJob> {
        self.act(|queues, now, ops| queues.lease(now, QUEUE, jobs_max, LEASE_MS as u64, ops))
    }

    fn settle(&mut self, job: &LeasedJob, settlement: Settlement) {
        self.act(|queues, now, ops| queues.settle(now, &[(job.id, job.lease, settlement)], ops));
    }

    fn redrive(&mut self) -> u64 {
        let letters = self.letters();
        self.act(|queues, now, ops| queues.redrive(now, QUEUE, letters, ops))
    }

    fn letters(&self) -> Vec<(JobId, DeadRecord)> {
        shelf(&self.stored, Shelf::Dead)
    }

    fn pass(&mut self, ms: i64) {
        self.now.wall_ms += ms;
        self.now.steady_ms += ms;
        self.act(|queues, now, ops| queues.advance(now, ops));
    }

    /// A new process, whose wall clock may have jumped.
    fn restart(&mut self, clock_jump_ms: i64) {
        let reserved =
            self.stored.get(SEQUENCE_KEY).map_or(0, |bytes| SequenceRecord::unseal(SEQUENCE_KEY, bytes).expect("sealed").reserved);
        self.now = Now { wall_ms: self.now.wall_ms + clock_jump_ms, steady_ms: 0 };
        self.queues = Queues::new(&config(), reserved);
        let queue = self.queues.get_mut(QUEUE);
        for (id, record) in shelf::<JobRecord>(&self.stored, Shelf::Open) {
            queue.restore_job(self.now, id, Job::restore(record, self.now));
        }
        for (id, record) in shelf::<DeadRecord>(&self.stored, Shelf::Dead) {
            queue.restore_dead(id, record.product);
        }
    }

    /// Product, attempts left behind it: `(product, attempt)` of each job handed out.
    fn lease_names(&mut self, jobs_max: usize) -> Vec<(String, u32)> {
        self.lease(jobs_max).into_iter().map(|job| (job.spec.product.to_string(), job.attempt)).collect()
    }
}

fn shelf<R: Record>(stored: &BTreeMap<Vec<u8>, Vec<u8>>, shelf: Shelf) -> Vec<(JobId, R)> {
    let of_shelf = stored.iter().filter(|(key, _)| key.starts_with(&shelf_key(shelf, QUEUE)));
    of_shelf.map(|(key, value)| (key_id(key).expect("a job's key"), R::unseal(key, value).expect("sealed"))).collect()
}

fn error(text: &str) -> String {
    text.to_owned()
}

#[test]
fn higher_priority_goes_first_then_the_earlier_due_time() {
    let mut bench = Bench::new();
    for (product, priority, wait_ms) in [("low", 1, 0), ("late", 9, 500), ("high", 9, 0), ("low too", 1, 0)] {
        bench.enqueue(product, priority, wait_ms).expect("fits");
    }
    assert_eq!(bench.lease_names(9).into_iter().map(|(product, _)| product).collect::<Vec<_>>(), ["high", "low", "low too"]);
    bench.pass(499);
    assert_eq!(bench.lease_names(9), []);
    bench.pass(1);
    assert_eq!(bench.lease_names(9), [("late".to_owned(), 1)]);
}

#[test]
fn one_waiting_job_for_each_product() {
    let mut bench = Bench::new();
    bench.enqueue("p", 1, 500).expect("fits");
    bench.enqueue("p", 5, 900).expect("fits");
    bench.enqueue("p", 2, 700).expect("fits");
    assert_eq!((bench.queue().depth().open(), bench.lease(9).len()), (1, 0));
    bench.pass(500);
    let jobs = bench.lease(9);
    assert_eq!((jobs.len(), jobs[0].spec.priority), (1, 5), "the earliest time and the highest priority of all");
}

#[test]
fn the_bound_refuses_new_products_and_takes_newer_jobs_of_waiting_ones() {
    let mut bench = Bench::new();
    (0..JOBS_MAX).for_each(|n| bench.enqueue(&format!("p{n}"), 1, 0).expect("fits"));
    assert_eq!(bench.enqueue("one more", 1, 0), Err(Full));
    assert_eq!(bench.enqueue("p0", 2, 0), Ok(()));
    let job = &bench.lease(1)[0];
    assert_eq!(bench.enqueue("one more", 1, 0), Err(Full), "a leased job still takes its place");
    bench.settle(job, Settlement::Done);
    assert_eq!(bench.enqueue("one more", 1, 0), Ok(()));
}

#[test]
fn enqueue_takes_all_or_none() {
    let mut bench = Bench::new();
    let jobs: Vec<_> = (0..=JOBS_MAX)
        .map(|n| JobSpec { queue: QUEUE, product: format!("p{n}").parse().expect("an id"), priority: 0, not_before_ms: 0 })
        .collect();
    assert!(bench.act(|queues, now, ops| queues.enqueue_all(now, &jobs, ops)).is_err());
    assert_eq!((bench.queue().depth().open(), bench.stored.len()), (0, 0));
    let twice: Vec<_> = jobs[..JOBS_MAX].iter().chain(&jobs[..1]).cloned().collect();
    assert!(bench.act(|queues, now, ops| queues.enqueue_all(now, &twice, ops)).is_ok(), "the same product twice needs one place");
}

#[test]
fn a_change_during_the_lease_runs_again_however_the_lease_ends() {
    let ends: [(&str, Option<Settlement>); 5] = [
        ("done", Some(Settlement::Done)),
        ("retry", Some(Settlement::Retry { error: error("x") })),
        ("dead", Some(Settlement::Dead { error: error("x") })),
        ("release", Some(Settlement::Release)),
        ("expiry", None),
    ];
    for (name, end) in ends {
        for restarts in [false, true] {
            let mut bench = Bench::new();
            bench.enqueue("p", 1, 0).expect("fits");
            let job = bench.lease(1).remove(0);
            bench.enqueue("p", 7, 0).expect("fits");
            assert_eq!(bench.lease(1), [], "{name}: not while it is in a worker's hands");
            if restarts {
                bench.restart(0);
            }
            match end.clone() {
                Some(end) => bench.settle(&job, end),
                None => bench.pass(LEASE_MS),
            }
            let again = bench.lease(1);
            assert_eq!(again.len(), 1, "{name}, restarts: {restarts}");
            assert_eq!((again[0].attempt, again[0].spec.priority), (1, 7), "{name}: fresh attempts");
            assert_eq!(bench.letters(), [], "{name}");
        }
    }
}

#[test]
fn a_stale_settlement_does_nothing() {
    let mut bench = Bench::new();
    bench.enqueue("p", 1, 0).expect("fits");
    let first = bench.lease(1).remove(0);
    bench.pass(LEASE_MS);
    bench.pass(400);
    let second = bench.lease(1).remove(0);
    assert_eq!((second.id, second.attempt), (first.id, 2));
    assert_ne!(second.lease, first.lease);
    bench.settle(&first, Settlement::Done);
    assert_eq!(bench.queue().depth().leased, 1);
    bench.settle(&second, Settlement::Done);
    bench.settle(&second, Settlement::Dead { error: error("late") });
    assert_eq!((bench.queue().depth(), bench.stored.len()), (Default::default(), 1), "only the sequence is left");
}

#[test]
fn a_failing_job_backs_off_then_dies_and_lives_again() {
    let mut bench = Bench::new();
    bench.enqueue("p", 1, 0).expect("fits");
    for attempt in 1..=ATTEMPTS_MAX {
        let job = bench.lease(1).remove(0);
        assert_eq!(job.attempt, attempt);
        bench.settle(&job, Settlement::Retry { error: format!("failure {attempt}") });
        assert_eq!(bench.lease(1), [], "not at once");
        bench.pass(400);
    }
    let letters = bench.letters();
    assert_eq!((letters.len(), letters[0].1.attempts, letters[0].1.error.as_str()), (1, ATTEMPTS_MAX, "failure 3"));
    assert_eq!(bench.queue().depth().dead, 1);
    assert_eq!(bench.redrive(), 1);
    assert_eq!((bench.letters().len(), bench.lease_names(1)), (0, vec![("p".to_owned(), 1)]));
}

#[test]
fn a_released_job_rests_and_its_attempt_does_not_count() {
    let mut bench = Bench::new();
    bench.enqueue("p", 1, 0).expect("fits");
    for _ in 0..10 * ATTEMPTS_MAX {
        let job = bench.lease(1).remove(0);
        assert_eq!(job.attempt, 1);
        bench.settle(&job, Settlement::Release);
        assert_eq!(bench.lease(1), []);
        bench.pass(RELEASE_MS as i64);
    }
}

#[test]
fn a_later_success_makes_a_dead_letter_pointless_and_a_later_death_replaces_it() {
    let mut bench = Bench::new();
    for (settlement, letters) in [
        (Settlement::Dead { error: error("first") }, vec!["first"]),
        (Settlement::Dead { error: error("second") }, vec!["second"]),
        (Settlement::Done, vec![]),
    ] {
        bench.enqueue("p", 1, 0).expect("fits");
        let job = bench.lease(1).remove(0);
        bench.settle(&job, settlement);
        let errors: Vec<_> = bench.letters().into_iter().map(|(_, letter)| letter.error).collect();
        assert_eq!(errors, letters);
    }
}

#[test]
fn redrive_takes_as_many_as_fit() {
    let mut bench = Bench::new();
    for n in 0..3 {
        bench.enqueue(&format!("dead{n}"), 1, 0).expect("fits");
        let job = bench.lease(1).remove(0);
        bench.settle(&job, Settlement::Dead { error: error("x") });
    }
    (0..JOBS_MAX - 2).for_each(|n| bench.enqueue(&format!("p{n}"), 1, 0).expect("fits"));
    assert_eq!((bench.redrive(), bench.letters().len(), bench.queue().room()), (2, 1, 0));
}

#[test]
fn the_oldest_dead_letter_is_dropped_at_the_bound() {
    let mut bench = Bench::new();
    for n in 0..102 {
        bench.enqueue(&format!("p{n}"), 1, 0).expect("fits");
        let job = bench.lease(1).remove(0);
        bench.settle(&job, Settlement::Dead { error: error("x") });
    }
    let letters = bench.letters();
    assert_eq!((letters.len(), letters[0].1.product.as_str(), bench.queue().depth().dead), (100, "p2", 100));
}

#[test]
fn leases_outlive_a_restart_and_a_clock_that_jumps_back_holds_nothing_up() {
    for (clock_jump_ms, still_held) in [(0, true), (-86_400_000, true), (86_400_000, false)] {
        let mut bench = Bench::new();
        bench.enqueue("p", 1, 0).expect("fits");
        bench.enqueue("waiting", 1, 0).expect("fits");
        let job = bench.lease(1).remove(0);
        assert_eq!(job.spec.product.as_str(), "p");
        bench.restart(clock_jump_ms);
        let names: Vec<_> = bench.lease_names(9).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["waiting"], "a job that was due is due at any time");
        assert_eq!(bench.queue().depth().leased, if still_held { 2 } else { 1 }, "clock jump {clock_jump_ms}");
        bench.pass(LEASE_MS);
        bench.pass(400);
        assert!(bench.lease_names(9).contains(&("p".to_owned(), 2)), "clock jump {clock_jump_ms}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Enqueue { product: u8, priority: u8, wait_ms: i64 },
    Lease { jobs_max: usize },
    Settle { which: usize, how: u8 },
    Pass { ms: i64 },
    Restart { clock_jump_ms: i64 },
    Redrive,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..9_u8, 0..3_u8, prop_oneof![Just(0_i64), 1..500_i64]).prop_map(|(product, priority, wait_ms)| Step::Enqueue { product, priority, wait_ms }),
        4 => (1..4_usize).prop_map(|jobs_max| Step::Lease { jobs_max }),
        4 => (0..64_usize, 0..5_u8).prop_map(|(which, how)| Step::Settle { which, how }),
        2 => (1..1500_i64).prop_map(|ms| Step::Pass { ms }),
        1 => prop_oneof![Just(0_i64), -100_000..0_i64, 1..2000_i64].prop_map(|clock_jump_ms| Step::Restart { clock_jump_ms }),
        1 => Just(Step::Redrive),
    ];
    proptest::collection::vec(step, 1..120)
}

/// What must be true of one product, worked out independently of the queue.
#[derive(Clone, Debug, Default)]
struct Expected {
    /// Changes that no finished attempt has covered: the product must be open or dead.
    is_owed: bool,
    /// A change came while the job was handed out.
    changed_during_lease: bool,
    /// Attempts since the last change, Releases not counted.
    attempts: u32,
    held: Option<Held>,
    is_dead: bool,
}

/// A lease that has not ended.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Held {
    /// When it runs out, on a clock that never jumps.
    until_ms: i64,
    /// When it runs out and when it was last written, on the wall clock of that time.
    stored: (i64, i64),
}

impl Held {
    fn new(clock_ms: i64, wall_ms: i64, left_ms: i64) -> Self {
        Self { until_ms: clock_ms + left_ms, stored: (wall_ms + left_ms, wall_ms) }
    }

    /// After a restart: as long as the wall clock says, and no longer than when it was written.
    fn restored(self, clock_ms: i64, wall_ms: i64) -> Self {
        let (until_ms, written_ms) = self.stored;
        Self { until_ms: clock_ms + (until_ms - wall_ms).min(until_ms - written_ms).max(0), ..self }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_job_is_lost_or_handed_out_twice(steps in steps()) {
        let mut bench = Bench::new();
        let mut model: BTreeMap<String, Expected> = BTreeMap::new();
        let mut handed: Vec<LeasedJob> = Vec::new();
        let mut clock_ms = 0_i64;
        for step in steps {
            match step {
                Step::Enqueue { product, priority, wait_ms } => {
                    let name = format!("p{product}");
                    let result = bench.enqueue(&name, priority, wait_ms);
                    let open = model.values().filter(|expected| expected.is_owed && !expected.is_dead).count();
                    let expected = model.entry(name).or_default();
                    let is_open = expected.is_owed && !expected.is_dead;
                    prop_assert_eq!(result.is_err(), !is_open && open >= JOBS_MAX);
                    if let (Ok(()), Some(held)) = (result, expected.held) {
                        expected.changed_during_lease = true;
                        expected.held = Some(Held::new(clock_ms, bench.now.wall_ms, held.until_ms - clock_ms));
                    } else if result.is_ok() {
                        *expected = Expected { is_owed: true, ..Expected::default() };
                    }
                }
                Step::Lease { jobs_max } => {
                    expire(&mut model, clock_ms);
                    for job in bench.lease(jobs_max) {
                        let expected = model.get_mut(job.spec.product.as_str()).expect("only what was enqueued");
                        prop_assert!(expected.is_owed && !expected.is_dead, "handed out without need: {job:?}");
                        prop_assert_eq!(expected.held, None, "handed out twice: {:?}", job);
                        expected.attempts += 1;
                        prop_assert!(job.attempt == expected.attempts && job.attempt <= ATTEMPTS_MAX);
                        expected.held = Some(Held::new(clock_ms, bench.now.wall_ms, LEASE_MS));
                        handed.push(job);
                    }
                }
                Step::Settle { which, how } if !handed.is_empty() => {
                    let job = handed[which % handed.len()].clone();
                    let is_current = handed.iter().rposition(|other| other.spec.product == job.spec.product).is_some_and(|last| handed[last].lease == job.lease);
                    let settlement = [Settlement::Done, Settlement::Done, Settlement::Retry { error: error("r") }, Settlement::Dead { error: error("d") }, Settlement::Release][how as usize].clone();
                    bench.settle(&job, settlement.clone());
                    let expected = model.get_mut(job.spec.product.as_str()).expect("only what was enqueued");
                    if is_current && expected.held.is_some() {
                        end_lease(expected, &settlement);
                    }
                }
                Step::Settle { .. } => {}
                Step::Pass { ms } => {
                    clock_ms += ms;
                    bench.pass(ms);
                    expire(&mut model, clock_ms);
                }
                Step::Restart { clock_jump_ms } => {
                    bench.restart(clock_jump_ms);
                    for expected in model.values_mut() {
                        expected.held = expected.held.map(|held| held.restored(clock_ms, bench.now.wall_ms));
                    }
                    let leased = bench.queue().depth().leased as usize;
                    prop_assert_eq!(leased, model.values().filter(|expected| expected.held.is_some()).count());
                }
                Step::Redrive => {
                    let letters = bench.letters();
                    let revived = bench.redrive() as usize;
                    for (_, letter) in letters.into_iter().take(revived) {
                        let expected = model.get_mut(letter.product.as_str()).expect("only what was enqueued");
                        revive(expected);
                        expected.held = expected.held.map(|held| Held::new(clock_ms, bench.now.wall_ms, held.until_ms - clock_ms));
                    }
                }
            }
            check(&bench, &model)?;
        }
        // With workers that do their work, every job ends within the longest lease, delay and backoff.
        for _ in 0..3 {
            bench.pass(1000);
            for job in bench.lease(JOBS_MAX) {
                bench.settle(&job, Settlement::Done);
            }
        }
        prop_assert_eq!(bench.queue().depth().open(), 0);
    }
}

fn end_lease(expected: &mut Expected, settlement: &Settlement) {
    expected.held = None;
    let again = std::mem::take(&mut expected.changed_during_lease);
    match settlement {
        _ if again => expected.attempts = 0,
        Settlement::Done => *expected = Expected::default(),
        Settlement::Retry { .. } => expected.is_dead = expected.attempts >= ATTEMPTS_MAX,
        Settlement::Dead { .. } => expected.is_dead = true,
        Settlement::Release => expected.attempts -= 1,
    }
}

fn expire(model: &mut BTreeMap<String, Expected>, clock_ms: i64) {
    for expected in model.values_mut().filter(|expected| expected.held.is_some_and(|held| held.until_ms <= clock_ms)) {
        end_lease(expected, &Settlement::Retry { error: String::new() });
    }
}

fn revive(expected: &mut Expected) {
    if expected.is_dead {
        *expected = Expected { is_owed: true, ..Expected::default() };
    } else if expected.held.is_some() {
        expected.changed_during_lease = true;
    } else {
        expected.attempts = 0;
    }
}

/// Everything owed is open or dead, in memory and in the store alike.
fn check(bench: &Bench, model: &BTreeMap<String, Expected>) -> Result<(), TestCaseError> {
    let names = |dead: bool| -> Vec<String> {
        model.iter().filter(|(_, expected)| expected.is_owed && expected.is_dead == dead).map(|(name, _)| name.clone()).collect()
    };
    let mut open: Vec<_> = shelf::<JobRecord>(&bench.stored, Shelf::Open).into_iter().map(|(_, job)| job.product.to_string()).collect();
    open.sort();
    let depth = bench.queue().depth();
    prop_assert_eq!(&open, &names(false), "stored");
    prop_assert_eq!(depth.open() as usize, open.len(), "in memory");
    prop_assert!(depth.open() as usize <= JOBS_MAX);
    let dead: Vec<_> = shelf::<DeadRecord>(&bench.stored, Shelf::Dead).into_iter().map(|(_, letter)| letter.product.to_string()).collect();
    prop_assert_eq!(dead.len(), depth.dead as usize);
    for name in names(true) {
        prop_assert!(dead.contains(&name), "{name} has neither job nor letter");
    }
    Ok(())
}
