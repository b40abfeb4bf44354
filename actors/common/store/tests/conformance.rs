//! What every store must do: one suite and one model test for all back ends. A new back end is one line in `suite!`.

use std::collections::BTreeMap;
use std::ops::Bound::{self, Excluded, Included, Unbounded};

use proptest::prelude::*;
use store::store::{COMMIT_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use store::{Durability, Keyspace, MemoryStore, Op, SledConfig, SledStore, Store, StoreError};

/// A back end that can be closed and opened again.
trait Fixture {
    fn new() -> Self;
    fn store(&self) -> &dyn Store;
    fn reopen(&mut self);
}

struct Memory(MemoryStore);

impl Fixture for Memory {
    fn new() -> Self {
        Self(MemoryStore::new())
    }

    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn reopen(&mut self) {
        self.0 = self.0.clone();
    }
}

struct Sled {
    dir: tempfile::TempDir,
    store: Option<SledStore>,
}

impl Fixture for Sled {
    fn new() -> Self {
        let mut sled = Self { dir: tempfile::tempdir().expect("a temporary folder"), store: None };
        sled.reopen();
        sled
    }

    fn store(&self) -> &dyn Store {
        self.store.as_ref().expect("it is open between reopenings")
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(SledStore::open(self.dir.path(), SledConfig::default()).expect("a store that opens"));
    }
}

macro_rules! suite {
    ($($name:ident: $fixture:ty, cases $cases:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn reads_what_was_written() { super::reads_what_was_written(<$fixture>::new()); }
            #[test]
            fn a_commit_spans_keyspaces_and_its_last_word_counts() { super::a_commit_spans_keyspaces_and_its_last_word_counts(<$fixture>::new()); }
            #[test]
            fn ranges_are_sorted_bounded_and_stay_in_their_keyspace() { super::ranges_are_sorted_bounded_and_stay_in_their_keyspace(<$fixture>::new()); }
            #[test]
            fn oversized_commits_are_refused_whole() { super::oversized_commits_are_refused_whole(<$fixture>::new()); }
            #[test]
            fn commits_are_numbered_across_reopening() { super::commits_are_numbered_across_reopening(<$fixture>::new()); }
            #[test]
            fn many_threads_commit() { super::many_threads_commit(<$fixture>::new()); }
            #[test]
            fn the_largest_commit_is_taken() { super::the_largest_commit_is_taken(<$fixture>::new()); }

            proptest! {
                #![proptest_config(ProptestConfig { cases: $cases, failure_persistence: None, ..ProptestConfig::default() })]
                #[test]
                fn behaves_like_a_sorted_map(steps in proptest::collection::vec(step(), 1..40)) {
                    super::behaves_like_a_sorted_map(<$fixture>::new(), steps)?;
                }
            }
        }
    )*};
}

suite! {
    memory: Memory, cases 128;
    sled: Sled, cases 24;
}

fn put(space: Keyspace, key: &[u8], value: &[u8]) -> Op {
    Op::Put { space, key: key.to_vec(), value: value.to_vec() }
}

fn delete(space: Keyspace, key: &[u8]) -> Op {
    Op::Delete { space, key: key.to_vec() }
}

fn commit(store: &dyn Store, ops: Vec<Op>) -> u64 {
    store.commit(ops, Durability::Flushed).wait().expect("a commit")
}

fn get(store: &dyn Store, space: Keyspace, key: &[u8]) -> Option<Vec<u8>> {
    store.get(space, key).expect("a read")
}

fn reads_what_was_written(mut fixture: impl Fixture) {
    let (space, other) = (Keyspace::Catalog, Keyspace::Jobs);
    commit(fixture.store(), vec![put(space, b"a", b"1"), put(space, b"", b"empty key"), put(space, b"empty value", b"")]);
    fixture.store().commit(vec![put(space, b"b", b"2")], Durability::Applied).wait().expect("an applied commit");
    for _ in 0..2 {
        assert_eq!(get(fixture.store(), space, b"a").as_deref(), Some(&b"1"[..]));
        assert_eq!(get(fixture.store(), space, b"b").as_deref(), Some(&b"2"[..]));
        assert_eq!(get(fixture.store(), space, b"").as_deref(), Some(&b"empty key"[..]));
        assert_eq!(get(fixture.store(), space, b"empty value").as_deref(), Some(&b""[..]));
        assert_eq!(get(fixture.store(), other, b"a"), None);
        fixture.reopen();
    }
    commit(fixture.store(), vec![delete(space, b"a"), delete(space, b"never there")]);
    fixture.reopen();
    assert_eq!(get(fixture.store(), space, b"a"), None);
}

fn a_commit_spans_keyspaces_and_its_last_word_counts(fixture: impl Fixture) {
    let store = fixture.store();
    let spaces = [Keyspace::Meta, Keyspace::JobIndex, Keyspace::Config];
    commit(store, spaces.iter().map(|space| put(*space, b"k", &[*space as u8])).collect());
    for space in spaces {
        assert_eq!(get(store, space, b"k"), Some(vec![space as u8]));
    }
    commit(store, vec![put(Keyspace::Meta, b"k", b"old"), delete(Keyspace::Meta, b"k"), put(Keyspace::Meta, b"k", b"new")]);
    assert_eq!(get(store, Keyspace::Meta, b"k").as_deref(), Some(&b"new"[..]));
    commit(store, vec![put(Keyspace::Meta, b"k", b"newer"), delete(Keyspace::Meta, b"k")]);
    assert_eq!(get(store, Keyspace::Meta, b"k"), None);
}

fn ranges_are_sorted_bounded_and_stay_in_their_keyspace(fixture: impl Fixture) {
    let store = fixture.store();
    let mut ops: Vec<Op> = [b"c", b"a", b"e", b"b", b"d"].iter().map(|key| put(Keyspace::Rejects, &key[..], b"v")).collect();
    ops.extend([put(Keyspace::FeedRuns, b"\xFF\xFF", b"before"), put(Keyspace::Jobs, b"", b"behind")]);
    commit(store, ops);
    let keys = |bounds: (Bound<&[u8]>, Bound<&[u8]>), limit: usize| {
        let page = store.range(Keyspace::Rejects, bounds, limit).expect("a range");
        (page.entries.iter().flat_map(|(key, _)| key.iter().map(|byte| char::from(*byte))).collect::<String>(), page.has_more)
    };
    type Case<'a> = ((Bound<&'a [u8]>, Bound<&'a [u8]>), usize, &'a str, bool);
    let cases: [Case; 13] = [
        ((Unbounded, Unbounded), 9, "abcde", false),
        ((Unbounded, Unbounded), 5, "abcde", false),
        ((Unbounded, Unbounded), 4, "abcd", true),
        ((Unbounded, Unbounded), 0, "", true),
        ((Included(b"b"), Excluded(b"d")), 9, "bc", false),
        ((Excluded(b"b"), Included(b"d")), 9, "cd", false),
        ((Included(b"bb"), Unbounded), 2, "cd", true),
        ((Unbounded, Excluded(b"c")), 9, "ab", false),
        ((Included(b"c"), Included(b"c")), 9, "c", false),
        ((Excluded(b"c"), Excluded(b"c")), 9, "", false),
        ((Included(b"d"), Excluded(b"b")), 9, "", false),
        ((Included(b"d"), Included(b"b")), 9, "", false),
        ((Excluded(b"e"), Unbounded), 9, "", false),
    ];
    for (bounds, limit, expected, has_more) in cases {
        assert_eq!(keys(bounds, limit), (expected.to_owned(), has_more), "{bounds:?} limit {limit}");
    }
}

fn oversized_commits_are_refused_whole(fixture: impl Fixture) {
    let store = fixture.store();
    let good = put(Keyspace::Meta, b"good", b"");
    let refused = [
        put(Keyspace::Meta, b"v", &vec![0; VALUE_BYTES_MAX + 1]),
        put(Keyspace::Meta, &vec![0; KEY_BYTES_MAX + 1], b""),
        delete(Keyspace::Meta, &vec![0; KEY_BYTES_MAX + 1]),
    ];
    for op in refused {
        let result = store.commit(vec![good.clone(), op], Durability::Flushed).wait();
        assert!(matches!(result, Err(StoreError::TooLarge { .. })), "{result:?}");
    }
    let ops = (0..COMMIT_BYTES_MAX / VALUE_BYTES_MAX + 1).map(|_| put(Keyspace::Meta, b"v", &vec![0; VALUE_BYTES_MAX])).collect();
    assert!(matches!(store.commit(ops, Durability::Flushed).wait(), Err(StoreError::TooLarge { what: "commit", .. })));
    assert_eq!(get(store, Keyspace::Meta, b"good"), None);
    assert_eq!(store.stats().last_commit, 0);
    commit(store, vec![put(Keyspace::Meta, &vec![1; KEY_BYTES_MAX], &vec![2; VALUE_BYTES_MAX])]);
}

fn commits_are_numbered_across_reopening(mut fixture: impl Fixture) {
    assert_eq!(commit(fixture.store(), vec![put(Keyspace::Meta, b"k", b"1")]), 1);
    assert_eq!(commit(fixture.store(), vec![]), 2);
    fixture.reopen();
    assert_eq!(fixture.store().stats().last_commit, 2);
    assert_eq!(commit(fixture.store(), vec![delete(Keyspace::Meta, b"k")]), 3);
    assert_eq!(fixture.store().stats().poisoned, None);
}

fn many_threads_commit(mut fixture: impl Fixture) {
    let store = fixture.store();
    let mut numbers: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u8)
            .map(|thread| {
                scope.spawn(move || {
                    (0..25u8).map(|key| commit(store, vec![put(Keyspace::Jobs, &[thread, key], &[key])])).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a committing thread")).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=200).collect::<Vec<u64>>());
    fixture.reopen();
    assert_eq!(fixture.store().range(Keyspace::Jobs, (Unbounded, Unbounded), 1000).expect("a range").entries.len(), 200);
}

/// Also shows that a batch of several of sled's segments comes back whole.
fn the_largest_commit_is_taken(mut fixture: impl Fixture) {
    let value = vec![7; VALUE_BYTES_MAX];
    let count = (COMMIT_BYTES_MAX / 2 / (VALUE_BYTES_MAX + 4)) as u32;
    commit(fixture.store(), (0..count).map(|key| put(Keyspace::Catalog, &key.to_be_bytes(), &value)).collect());
    fixture.reopen();
    for key in [0, 1, count / 2, count - 1] {
        assert_eq!(get(fixture.store(), Keyspace::Catalog, &key.to_be_bytes()).as_deref(), Some(&value[..]));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Op>, Durability),
    Range(Keyspace, Bound<Vec<u8>>, Bound<Vec<u8>>, usize),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let space = prop_oneof![Just(Keyspace::Meta), Just(Keyspace::Catalog), Just(Keyspace::FeedRuns)];
    let key = || proptest::collection::vec(prop_oneof![0..4u8, Just(255)], 0..3);
    let bound = || prop_oneof![Just(Unbounded), key().prop_map(Included), key().prop_map(Excluded)];
    let value = proptest::collection::vec(any::<u8>(), 0..40);
    let op = (space.clone(), key(), proptest::option::of(value)).prop_map(|(space, key, value)| match value {
        Some(value) => Op::Put { space, key, value },
        None => Op::Delete { space, key },
    });
    let durability = prop_oneof![Just(Durability::Flushed), Just(Durability::Applied)];
    prop_oneof![
        6 => (proptest::collection::vec(op, 0..8), durability).prop_map(|(ops, durability)| Step::Commit(ops, durability)),
        3 => (space, bound(), bound(), 0..6usize).prop_map(|(space, low, high, limit)| Step::Range(space, low, high, limit)),
        1 => Just(Step::Reopen),
    ]
}

fn behaves_like_a_sorted_map(mut fixture: impl Fixture, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut model: BTreeMap<(Keyspace, Vec<u8>), Vec<u8>> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Commit(ops, durability) => {
                for op in &ops {
                    match op.clone() {
                        Op::Put { space, key, value } => model.insert((space, key), value),
                        Op::Delete { space, key } => model.remove(&(space, key)),
                    };
                }
                fixture.store().commit(ops, durability).wait().expect("a commit");
            }
            Step::Range(space, low, high, limit) => {
                let bounds = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
                let page = fixture.store().range(space, bounds, limit).expect("a range");
                let inside = |key: &Vec<u8>| std::ops::RangeBounds::<[u8]>::contains(&bounds, key.as_slice());
                let found: Vec<_> = model.iter().filter(|((of, key), _)| *of == space && inside(key)).collect();
                prop_assert_eq!(page.has_more, found.len() > limit);
                let expected: Vec<_> = found.iter().take(limit).map(|((_, key), value)| (key.clone(), (*value).clone())).collect();
                prop_assert_eq!(page.entries, expected);
            }
            Step::Reopen => fixture.reopen(),
        }
    }
    for ((space, key), value) in &model {
        prop_assert_eq!(get(fixture.store(), *space, key), Some(value.clone()));
    }
    for space in [Keyspace::Meta, Keyspace::Catalog, Keyspace::FeedRuns] {
        let page = fixture.store().range(space, (Unbounded, Unbounded), usize::MAX).expect("a range");
        prop_assert_eq!(page.entries.len(), model.keys().filter(|(of, _)| *of == space).count());
    }
    Ok(())
}
