//! The cache as Robin uses it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use domain::Shopper;
use proptest::prelude::*;
use protocol::cache::{Answer, AnswerBytes, AnswerCache, CacheKey, Lookup, Versions, get_or_compute};
use tokio::sync::oneshot;

use crate::{Cache, Config};

fn cache() -> Arc<Cache> {
    Arc::new(Cache::new(&Config { memory_mib_max: 1, answer_kib_max: 64 }))
}

fn versions(catalog: u64) -> Versions {
    Versions { catalog, ..Versions::default() }
}

fn shared(request: &str) -> CacheKey {
    CacheKey::shared("search", request)
}

/// Asks; a computation answers with this text. Gives the answer and whether it was computed.
async fn ask(cache: &Cache, key: &CacheKey, versions: &Versions, text: &str) -> (String, bool) {
    let computed = AtomicBool::new(false);
    let compute = async {
        computed.store(true, Ordering::Relaxed);
        Ok::<_, Infallible>(Arc::new(Bytes::copy_from_slice(text.as_bytes())))
    };
    let Ok(answer) = get_or_compute(cache, key, versions, compute).await;
    (String::from_utf8_lossy(&answer).into_owned(), computed.load(Ordering::Relaxed))
}

fn kept(text: &str) -> (String, bool) {
    (text.to_owned(), false)
}

fn computed(text: &str) -> (String, bool) {
    (text.to_owned(), true)
}

#[tokio::test]
async fn an_answer_is_given_again_until_an_input_changes() {
    let cache = cache();
    assert_eq!(ask(&cache, &shared("a"), &versions(1), "one").await, computed("one"));
    assert_eq!(ask(&cache, &shared("a"), &versions(1), "other").await, kept("one"));
    assert_eq!(ask(&cache, &shared("a"), &versions(2), "two").await, computed("two"));
    assert_eq!(ask(&cache, &shared("a"), &versions(1), "late").await, computed("late"), "an asker with older versions computes");
    assert_eq!(ask(&cache, &shared("a"), &versions(2), "other").await, kept("two"), "and does not push out the newer answer");
    let counts = cache.counts();
    assert_eq!((counts.len(), counts[0].endpoint, counts[0].hits, counts[0].misses, counts[0].stale), (1, "search", 2, 1, 2));
    assert!((counts[0].hit_ratio() - 0.4).abs() < 1e-9);
}

#[tokio::test]
async fn every_input_counts() {
    let all = [
        Versions { catalog: 1, ..Versions::default() },
        Versions { availability: 1, ..Versions::default() },
        Versions { rules: 1, ..Versions::default() },
        Versions { model: 1, ..Versions::default() },
        Versions { behaviour: 1, ..Versions::default() },
        Versions { shopper: 1, ..Versions::default() },
    ];
    for changed in all {
        let cache = cache();
        assert_eq!(ask(&cache, &shared("a"), &Versions::default(), "before").await, computed("before"));
        assert_eq!(ask(&cache, &shared("a"), &changed, "after").await, computed("after"), "{changed:?}");
    }
}

#[tokio::test]
async fn keys_are_told_apart_by_endpoint_shopper_and_request() {
    let cache = cache();
    let keys = [
        CacheKey::shared("search", "a"),
        CacheKey::shared("similar", "a"),
        CacheKey::shared("search", "b"),
        CacheKey::personal("search", Shopper::user("7"), "a"),
        CacheKey::personal("search", Shopper::visitor("7"), "a"),
    ];
    for (index, key) in keys.iter().enumerate() {
        assert_eq!(ask(&cache, key, &versions(1), &index.to_string()).await, computed(&index.to_string()));
    }
    for (index, key) in keys.iter().enumerate() {
        assert_eq!(ask(&cache, key, &versions(1), "other").await, kept(&index.to_string()));
    }
}

#[tokio::test]
async fn one_computes_for_all_who_ask_meanwhile() {
    let cache = cache();
    let (release, wait) = oneshot::channel::<()>();
    let first = tokio::spawn({
        let cache = Arc::clone(&cache);
        async move {
            get_or_compute(&*cache, &shared("a"), &versions(1), async {
                wait.await.expect("released");
                Ok::<_, Infallible>(Arc::new(Bytes::from_static(b"first")))
            })
            .await
        }
    });
    tokio::task::yield_now().await;
    let others: Vec<_> = (0..3)
        .map(|_| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move { ask(&cache, &shared("a"), &versions(1), "another").await })
        })
        .collect();
    tokio::task::yield_now().await;
    // Another question does not wait.
    assert_eq!(ask(&cache, &shared("b"), &versions(1), "b").await, computed("b"));
    release.send(()).expect("the first waits");
    let Ok(answer) = first.await.expect("no panic");
    assert_eq!(&answer[..], b"first");
    for other in others {
        assert_eq!(other.await.expect("no panic"), kept("first"));
    }
    assert_eq!(cache.counts()[0].hits, 3);
}

#[tokio::test]
async fn an_error_or_a_caller_that_goes_away_is_not_kept_and_the_next_computes() {
    let cache = cache();
    for is_cancelled in [false, true] {
        let key = shared(if is_cancelled { "cancelled" } else { "failed" });
        let (fail, wait) = oneshot::channel::<()>();
        let first = tokio::spawn({
            let (cache, key) = (Arc::clone(&cache), key.clone());
            async move {
                get_or_compute(&*cache, &key, &versions(1), async {
                    let _ = wait.await;
                    Err::<Arc<Bytes>, _>("no")
                })
                .await
            }
        });
        tokio::task::yield_now().await;
        let second = tokio::spawn({
            let (cache, key) = (Arc::clone(&cache), key.clone());
            async move { ask(&cache, &key, &versions(1), "second").await }
        });
        tokio::task::yield_now().await;
        if is_cancelled {
            first.abort();
        } else {
            fail.send(()).expect("the first waits");
            assert_eq!(first.await.expect("no panic"), Err("no"));
        }
        assert_eq!(second.await.expect("no panic"), computed("second"));
        assert_eq!(ask(&cache, &key, &versions(1), "third").await, kept("second"));
    }
}

#[tokio::test]
async fn the_forgotten_are_forgotten_also_while_something_is_computed_for_them() {
    let cache = cache();
    let (anna, bert) = (CacheKey::personal("home", Shopper::user("anna"), ""), CacheKey::personal("home", Shopper::user("bert"), ""));
    for key in [&anna, &bert, &shared("a")] {
        ask(&cache, key, &versions(1), "before").await;
    }
    cache.erase(&[Shopper::user("anna"), Shopper::visitor("x")]);
    assert_eq!(cache.size().entries, 2);
    assert!(cache.get(&anna, &versions(1)).is_none());
    assert!(cache.get(&shared("a"), &versions(1)).is_some());

    let versions = versions(2);
    let Lookup::Miss(flight) = cache.lookup(&anna, &versions).await else { panic!("nothing is kept") };
    cache.erase(&[Shopper::user("anna")]);
    flight.land(Answer::new(Arc::new(Bytes::from_static(b"from before"))));
    assert!(cache.get(&anna, &versions).is_none());
    assert_eq!(ask(&cache, &anna, &versions, "after").await, computed("after"));
    assert_eq!(ask(&cache, &anna, &versions, "other").await, kept("after"));
}

struct Large(usize);

impl AnswerBytes for Large {
    fn answer_bytes(&self) -> usize {
        self.0
    }
}

#[tokio::test]
async fn memory_is_bounded_and_what_is_too_large_is_not_kept() {
    let cache = cache();
    for index in 0..1_000 {
        let key = shared(&index.to_string());
        let Ok(_) = get_or_compute(&*cache, &key, &versions(1), async { Ok::<_, Infallible>(Arc::new(Large(16 << 10))) }).await;
        let size = cache.size();
        assert!(size.bytes <= size.bytes_max, "{size:?}");
    }
    assert!(cache.size().entries > 30);
    for bytes in [65 << 10, 1 << 30] {
        let Ok(_) = get_or_compute(&*cache, &shared("large"), &versions(1), async { Ok::<_, Infallible>(Arc::new(Large(bytes))) }).await;
        assert!(cache.get(&shared("large"), &versions(1)).is_none());
    }
    let none = Cache::new(&Config { memory_mib_max: 0, ..Config::default() });
    assert_eq!(ask(&none, &shared("a"), &versions(1), "one").await, computed("one"));
    assert_eq!(ask(&none, &shared("a"), &versions(1), "two").await, computed("two"));
}

#[tokio::test]
async fn an_answer_of_another_type_is_none() {
    let cache = cache();
    assert_eq!(ask(&cache, &shared("a"), &versions(1), "bytes").await, computed("bytes"));
    let large = get_or_compute(&*cache, &shared("a"), &versions(1), async { Ok::<_, Infallible>(Arc::new(Large(5))) }).await;
    assert_eq!(large.map(|large| large.0), Ok(5));
}

#[test]
fn settings_are_checked() {
    assert!(Config::default().problems().is_empty());
    let config = Config { memory_mib_max: 65_537, answer_kib_max: 0 };
    assert_eq!(config.problems().into_iter().map(|(field, _)| field).collect::<Vec<_>>(), ["memory_mib_max", "answer_kib_max"]);
}

/// What happens, one step after another: inputs change, a caller begins to ask, a caller's computation ends.
#[derive(Clone, Debug)]
enum Step {
    Change(usize),
    Begin(usize),
    End { caller: usize, fails: bool },
    Erase,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..3_usize).prop_map(Step::Change),
        5 => (0..4_usize).prop_map(Step::Begin),
        5 => (0..8_usize, prop::bool::weighted(0.2)).prop_map(|(caller, fails)| Step::End { caller, fails }),
        1 => Just(Step::Erase),
    ]
}

/// The inputs that an answer was made of, as it saw them while it was computed.
struct Made {
    versions: Versions,
    erasures: u64,
}

impl AnswerBytes for Made {
    fn answer_bytes(&self) -> usize {
        100
    }
}

/// A caller: what it was told when it asked, and what it got.
type Asked = (Versions, Option<u64>, Result<Arc<Made>, &'static str>);

/// The inputs as they are, and how many erasures there were.
#[derive(Default)]
struct World(std::sync::Mutex<(Versions, u64)>);

impl World {
    fn now(&self) -> (Versions, u64) {
        *self.0.lock().expect("no test panics holding it")
    }

    fn change(&self, change: impl FnOnce(&mut Versions, &mut u64)) {
        let mut now = self.0.lock().expect("no test panics holding it");
        let (versions, erasures) = &mut *now;
        change(versions, erasures);
    }

    /// A caller with the versions of now, whose computation reads the inputs when it begins and ends when it is told to.
    fn ask(self: &Arc<Self>, cache: &Arc<Cache>, which: usize, ended: oneshot::Receiver<bool>) -> tokio::task::JoinHandle<Asked> {
        let (asked, erasures) = self.now();
        let is_personal = which < 2;
        let request = which.to_string();
        let key = if is_personal { CacheKey::personal("home", Shopper::user("0"), request) } else { CacheKey::shared("home", request) };
        let (cache, world) = (Arc::clone(cache), Arc::clone(self));
        tokio::spawn(async move {
            let compute = async {
                let (versions, erasures) = world.now();
                if ended.await == Ok(true) { Err("no") } else { Ok(Arc::new(Made { versions, erasures })) }
            };
            let made = get_or_compute(&*cache, &key, &asked, compute).await;
            (asked, is_personal.then_some(erasures), made)
        })
    }
}

/// Plays the steps and gives what every caller was told.
async fn play(steps: Vec<Step>) -> Vec<Asked> {
    let (cache, world) = (cache(), Arc::new(World::default()));
    let (mut ends, mut callers) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Change(input) => {
                world.change(|Versions { catalog, availability, shopper, .. }, _| *[catalog, availability, shopper][input] += 1)
            }
            Step::Erase => {
                world.change(|_, erasures| *erasures += 1);
                cache.erase(&[Shopper::user("0")]);
            }
            Step::Begin(which) => {
                let (end, ended) = oneshot::channel();
                ends.push(end);
                callers.push(world.ask(&cache, which, ended));
            }
            Step::End { caller, fails } => {
                if !ends.is_empty() {
                    // One that waits for another has not begun to compute: told now, it ends when it does.
                    let _ = ends.remove(caller % ends.len()).send(fails);
                }
            }
        }
        tokio::task::yield_now().await;
    }
    drop(ends);
    let mut told = Vec::new();
    for caller in callers {
        told.push(caller.await.expect("no caller panics"));
    }
    told
}

proptest! {
    /// However changes, erasures, questions and computations interleave: nobody is given what was made of older inputs than there
    /// were when they asked, and nothing personal outlives an erasure.
    #[test]
    fn an_older_answer_is_never_given(steps in prop::collection::vec(any_step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for (asked, erasures, made) in runtime.block_on(play(steps)) {
            let Ok(made) = made else { continue };
            let Made { versions, .. } = &*made;
            let is_new = versions.catalog >= asked.catalog && versions.availability >= asked.availability && versions.shopper >= asked.shopper;
            prop_assert!(is_new, "asked {:?}, made of {:?}", asked, versions);
            prop_assert!(erasures.is_none_or(|erasures| made.erasures >= erasures), "an erasure was overlooked");
        }
    }
}

/// Prints figures: `cargo test -p cache --release -- --ignored --nocapture`.
#[test]
#[ignore = "measures, asserts nothing"]
fn figures() {
    let cache = Cache::new(&Config::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let keys: Vec<CacheKey> = (0..5_000).map(|index| shared(&format!("{{\"q\":\"rote schuhe {index}\",\"limit\":20}}"))).collect();
    let all = versions(1);
    runtime.block_on(async {
        for key in &keys {
            ask(&cache, key, &all, &"x".repeat(4 << 10)).await;
        }
        let rounds = 100;
        let started = std::time::Instant::now();
        let found = (0..rounds).flat_map(|_| &keys).filter(|key| cache.get(key, &all).is_some()).count();
        println!("get: {:.0} ns, {found} found", started.elapsed().as_nanos() as f64 / (rounds * keys.len()) as f64);
        let started = std::time::Instant::now();
        for round in 0..rounds as u64 {
            for key in &keys {
                ask(&cache, key, &versions(2 + round), "").await;
            }
        }
        println!("replace a stale answer: {:.0} ns", started.elapsed().as_nanos() as f64 / (rounds * keys.len()) as f64);
    });
}
