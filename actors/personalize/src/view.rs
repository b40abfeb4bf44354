//! What readers see: everything learned so far, on their own thread.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use domain::{ProductId, Shopper};
use kit::Progress;
use protocol::catalog::CatalogReader;
use protocol::personalize::{DueProduct, Personalizer, ProfileSummary, RANKED_MAX, RankQuery, RankedProduct};
use protocol::releases::ReleaseReader;
use protocol::vision::VisionReader;
use store::{Store, StoreError};
use taste::{Ask, Candidate, Feature, ITEMS_MAX, Id, Page, Profile, Seed};

use crate::config::Config;
use crate::effects::checkpoint;
use crate::effects::profiles::{self, Profiles};
use crate::effects::shelf::{Models, Shelf};
use crate::logic::ids::{id, id_of_shopper};
use crate::logic::learned::Learned;

const _: () = assert!(RANKED_MAX == taste::CANDIDATES_MAX, "every candidate has features");

/// Who may change what readers see, and how far that has come.
#[derive(Default)]
pub(crate) struct Writer {
    /// Of the actor: a predecessor's work that is still queued does nothing.
    pub(crate) incarnation: u64,
    /// The next record of the event log.
    pub(crate) offset: u64,
    /// What the last checkpoint stands for.
    pub(crate) stored: u64,
    /// Whether a shopper was erased since.
    pub(crate) has_erased: bool,
}

/// Everything learned. It outlives the actor, which alone changes it. Of the locks, `checkpointing` is taken before `writer`, and
/// that before all others.
pub struct View {
    pub(crate) learned: RwLock<Learned>,
    pub(crate) profiles: Profiles,
    pub(crate) shelf: Shelf,
    pub(crate) progress: Progress,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) checkpointing: Mutex<()>,
    pub(crate) store: Arc<dyn Store>,
    strength: f32,
}

impl View {
    /// A view of nothing, until the actor has started.
    pub fn new(
        config: &Config,
        store: Arc<dyn Store>,
        catalog: Arc<dyn CatalogReader>,
        vision: Arc<dyn VisionReader>,
        releases: Arc<dyn ReleaseReader>,
    ) -> Self {
        Self {
            learned: RwLock::new(Learned::new(config.names_max)),
            profiles: Profiles::new(Arc::clone(&store), config.profiles_max),
            shelf: Shelf::new(catalog, vision, releases, config.facts_max, Duration::from_millis(config.facts_age_ms_max)),
            progress: Progress::default(),
            writer: Mutex::default(),
            checkpointing: Mutex::default(),
            store,
            strength: config.strength,
        }
    }

    fn learned(&self) -> RwLockReadGuard<'_, Learned> {
        self.learned.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shopper of whom nothing can be read is nobody.
    fn find(&self, shopper: &Shopper) -> Option<Arc<Profile>> {
        self.profiles.get(shopper).unwrap_or_else(|error| {
            tracing::error!(%error, "a profile was not read");
            None
        })
    }
}

impl Personalizer for View {
    fn rank(&self, query: &RankQuery) -> Vec<RankedProduct> {
        let products: Vec<&ProductId> = query.candidates.iter().take(RANKED_MAX).map(|(product, _)| product).collect();
        let named = (!query.models.is_empty()).then(|| Models::of(query.models.clone()));
        let known = self.shelf.of(&named.unwrap_or_else(|| self.shelf.models(query.shopper.as_ref())), &products);
        let scores = query.candidates.iter().map(|(_, score)| *score);
        let candidates: Vec<Candidate> = known.iter().zip(scores).map(|(known, score)| Candidate { item: known.item, score }).collect();
        let profile = query.shopper.as_ref().and_then(|shopper| self.find(shopper));
        let strength = if profile.is_some() { query.strength.clamp(0.0, 1.0) * self.strength } else { 0.0 };
        let ask = Ask { at_ms: query.at_ms, store: query.store.as_deref().map(id), candidates: &candidates };
        let ranked = {
            let learned = self.learned();
            let page = Page::new(&profile.unwrap_or_default(), &learned.shop, &ask, |at| known[at].facts());
            learned.learner.rank(&page, id(&query.surface), strength)
        };
        let mut all: Vec<RankedProduct> =
            ranked.into_iter().map(|ranked| RankedProduct { at: ranked.at, score: ranked.score, shares: shares(&ranked.shares) }).collect();
        // What is more than is ranked stays behind, as it came.
        let last = all.last().map_or(0.0, |last| last.score);
        all.extend((all.len()..query.candidates.len()).map(|at| RankedProduct { at, score: last, shares: Vec::new() }));
        all
    }

    fn choose(&self, place: &str, arms: &[&str], shopper: Option<&Shopper>, at_ms: i64) -> usize {
        let arms: Vec<Id> = arms.iter().map(|arm| id(arm)).collect();
        self.learned().bandit.choose(id(place), &arms, seed(shopper, at_ms))
    }

    fn places_to_try(&self, places: usize, budget: f32, shopper: Option<&Shopper>, at_ms: i64) -> Vec<usize> {
        taste::places_to_try(places.min(RANKED_MAX), budget, seed(shopper, at_ms))
    }

    fn buy_again(&self, shopper: &Shopper, at_ms: i64, limit: usize) -> Vec<DueProduct> {
        let Some(profile) = self.find(shopper) else { return Vec::new() };
        let learned = self.learned();
        let due = taste::buy_again(&profile, &learned.shop, at_ms, ITEMS_MAX).into_iter().filter_map(|again| {
            let product = learned.names.get(again.item)?.clone();
            Some(DueProduct { product, score: again.score, purchases: again.purchases, due: again.due, days: again.days })
        });
        due.take(limit).collect()
    }

    fn profile(&self, shopper: &Shopper) -> Option<ProfileSummary> {
        let profile = self.find(shopper)?;
        let at_ms = profile.updated_ms();
        Some(ProfileSummary {
            updated_at_ms: at_ms,
            purchases: profile.purchases(at_ms),
            products_bought: profile.bought(at_ms).count(),
            products_seen: profile.seen(at_ms).count(),
            products_refused: profile.refused(at_ms).count(),
            bytes: profiles::stored_bytes(&profile),
        })
    }

    fn digest(&self) -> Result<[u8; 32], StoreError> {
        checkpoint::digest(self)
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// Everybody without a name is one shopper.
fn seed(shopper: Option<&Shopper>, at_ms: i64) -> Seed {
    Seed::new(shopper.map_or(0, id_of_shopper), at_ms)
}

/// By name, the largest first, those that speak against the product among them by their size.
fn shares(shares: &taste::Features) -> Vec<(&'static str, f32)> {
    let mut named: Vec<(&'static str, f32)> =
        Feature::ALL.into_iter().zip(shares).filter(|(_, share)| **share != 0.0).map(|(feature, share)| (feature.name(), *share)).collect();
    named.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    named
}
