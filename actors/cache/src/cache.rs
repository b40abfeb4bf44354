//! The cache: answers with the versions of what they are made of.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::Shopper;
use protocol::cache::{Answer, AnswerCache, CacheKey, CacheSize, EndpointCounts, Flight, Lookup, Versions};
use quick_cache::sync::{EntryAction, EntryResult, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::config::Config;
use crate::counts::{Counts, Outcome};

/// What the map needs for an entry beside key and answer, about.
const OVERHEAD_BYTES: usize = 128;
/// What an answer usually takes with its key: from it the map's first size is worked out, and it grows where they are smaller.
const TYPICAL_BYTES: u64 = 8 << 10;

/// A cached answer.
#[derive(Clone)]
struct Kept {
    answer: Answer,
    versions: Versions,
    /// How many erasures there had been when its computation began.
    erasures: u64,
}

#[derive(Clone)]
struct Weight;

impl Weighter<CacheKey, Kept> for Weight {
    fn weight(&self, key: &CacheKey, kept: &Kept) -> u64 {
        let shopper = key.shopper().map_or(0, |shopper| shopper.as_str().len());
        (OVERHEAD_BYTES + shopper + key.request().len() + kept.answer.bytes()) as u64
    }
}

type Lifecycle = quick_cache::sync::DefaultLifecycle<CacheKey, Kept>;
type Map = quick_cache::sync::Cache<CacheKey, Kept, Weight, DefaultHashBuilder, Lifecycle>;
type Guard<'a> = PlaceholderGuard<'a, CacheKey, Kept, Weight, DefaultHashBuilder, Lifecycle>;

/// Finished answers, bounded in bytes.
pub struct Cache {
    map: Map,
    bytes_max: u64,
    answer_bytes_max: usize,
    erasures: AtomicU64,
    counts: Counts,
}

/// How an entry stands to a question.
enum Standing {
    /// Made of the very same.
    Same(Answer),
    /// Made of something newer: the asker is late and computes for itself alone.
    Newer,
}

impl Cache {
    /// An empty cache.
    pub fn new(config: &Config) -> Self {
        let bytes_max = config.memory_mib_max << 20;
        // Few parts: each has its own share of the bytes, and an answer must fit into one.
        let options = OptionsBuilder::new()
            .estimated_items_capacity((bytes_max / TYPICAL_BYTES).max(16) as usize)
            .weight_capacity(bytes_max)
            .shards(4)
            .build();
        let map = match options {
            Ok(options) => Map::with_options(options, Weight, DefaultHashBuilder::default(), Lifecycle::default()),
            // Only a missing field makes it fail; the plain constructor needs none.
            Err(_) => Map::with(
                (bytes_max / TYPICAL_BYTES).max(16) as usize,
                bytes_max,
                Weight,
                DefaultHashBuilder::default(),
                Lifecycle::default(),
            ),
        };
        let (erasures, counts) = Default::default();
        Self { map, bytes_max, answer_bytes_max: (config.answer_kib_max as usize) << 10, erasures, counts }
    }

    fn is_same(&self, key: &CacheKey, kept: &Kept, versions: &Versions) -> bool {
        kept.versions == *versions && (key.shopper().is_none() || kept.erasures == self.erasures.load(Ordering::Acquire))
    }

    async fn find<'a>(&'a self, key: &'a CacheKey, versions: &'a Versions) -> Lookup<'a> {
        if let Some(answer) = self.get(key, versions) {
            return Lookup::Hit(answer);
        }
        if self.bytes_max == 0 {
            self.counts.add(key.endpoint(), Outcome::Miss);
            return Lookup::Miss(Box::new(Computing { cache: self, key, versions: *versions, erasures: 0, guard: None }));
        }
        // Before the computation begins: an erasure after this may not see what is computed.
        let erasures = self.erasures.load(Ordering::Acquire);
        let stand = |_: &CacheKey, kept: &mut Kept| {
            if self.is_same(key, kept, versions) {
                EntryAction::Retain(Standing::Same(kept.answer.clone()))
            } else if is_newer(&kept.versions, versions) {
                EntryAction::Retain(Standing::Newer)
            } else {
                EntryAction::ReplaceWithGuard
            }
        };
        let (outcome, guard) = match self.map.entry_async(key, stand).await {
            EntryResult::Retained(Standing::Same(answer)) => {
                self.counts.add(key.endpoint(), Outcome::Hit);
                return Lookup::Hit(answer);
            }
            EntryResult::Retained(Standing::Newer) => (Outcome::Stale, None),
            EntryResult::Replaced(guard, _) => (Outcome::Stale, Some(guard)),
            EntryResult::Vacant(guard) => (Outcome::Miss, Some(guard)),
            // Neither is asked for above.
            EntryResult::Removed(..) | EntryResult::Timeout => (Outcome::Miss, None),
        };
        self.counts.add(key.endpoint(), outcome);
        Lookup::Miss(Box::new(Computing { cache: self, key, versions: *versions, erasures, guard }))
    }
}

/// Whether nothing of `these` is older than in `those`, and something is newer.
fn is_newer(these: &Versions, those: &Versions) -> bool {
    let numbers = |versions: &Versions| {
        let Versions { catalog, availability, rules, model, behaviour, shopper } = *versions;
        [catalog, availability, rules, model, behaviour, shopper]
    };
    these != those && numbers(these).iter().zip(numbers(those)).all(|(this, that)| *this >= that)
}

/// A computation under way; others who ask the same wait for its guard.
struct Computing<'a> {
    cache: &'a Cache,
    key: &'a CacheKey,
    versions: Versions,
    erasures: u64,
    guard: Option<Guard<'a>>,
}

impl Flight for Computing<'_> {
    fn land(self: Box<Self>, answer: Answer) {
        let Self { cache, key, versions, erasures, guard } = *self;
        let Some(guard) = guard else { return };
        let is_overtaken = || key.shopper().is_some() && cache.erasures.load(Ordering::Acquire) != erasures;
        if answer.bytes() > cache.answer_bytes_max || is_overtaken() {
            return;
        }
        // A guard that is no longer wanted was overtaken by another answer: nothing is lost.
        let _ = guard.insert(Kept { answer, versions, erasures });
        if is_overtaken() {
            // The erasure went over the map before this was in it. Nobody was given it meanwhile: it stands for an older count.
            cache.map.remove_if(key, |kept| kept.erasures == erasures);
        }
    }
}

impl AnswerCache for Cache {
    fn get(&self, key: &CacheKey, versions: &Versions) -> Option<Answer> {
        let kept = self.map.get(key).filter(|kept| self.is_same(key, kept, versions))?;
        self.counts.add(key.endpoint(), Outcome::Hit);
        Some(kept.answer)
    }

    fn lookup<'a>(&'a self, key: &'a CacheKey, versions: &'a Versions) -> Pin<Box<dyn Future<Output = Lookup<'a>> + Send + 'a>> {
        Box::pin(self.find(key, versions))
    }

    fn erase(&self, shoppers: &[Shopper]) {
        // First the count, which makes every personal answer out of date, then the memory of those who are forgotten.
        self.erasures.fetch_add(1, Ordering::AcqRel);
        self.map.retain(|key, _| !key.shopper().is_some_and(|shopper| shoppers.contains(shopper)));
    }

    fn counts(&self) -> Vec<EndpointCounts> {
        self.counts.all()
    }

    fn size(&self) -> CacheSize {
        let size = CacheSize { entries: self.map.len() as u64, bytes: self.map.weight(), bytes_max: self.bytes_max };
        metrics::gauge!("gotham_cache_bytes").set(size.bytes as f64);
        metrics::gauge!("gotham_cache_entries").set(size.entries as f64);
        size
    }
}
