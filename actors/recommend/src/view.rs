//! What readers ask, on their own thread; it outlives the actor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use behaviour::{Behaviour, Blend, Candidate as Found, History, Likeness, Request, Shared, Strategy, Window, with_scratch};
use domain::{ProductId, Shopper};
use kit::Progress;
use protocol::recommend::{BehaviourStats, CANDIDATES_MAX, Candidate, Logic, REASONS_MAX, Reason, RecommendQuery, Recommender};

use crate::config::Config;
use crate::logic::regression::Regressions;
use crate::newcomers::{Newcomers, NewcomersByModels};

mod blended;

/// Everything learned, and how to ask it.
pub struct View {
    pub(crate) state: Shared,
    /// New products and what they are like.
    pub(crate) newcomers: ArcSwap<NewcomersByModels>,
    /// What the blends were tuned to.
    pub(crate) blends: ArcSwap<Blends>,
    /// How often anything but the state was replaced.
    replaced: AtomicU64,
    /// What the nightly regression found; `None` until there is one.
    pub(crate) regressions: ArcSwap<Option<Regressions>>,
    pub(crate) progress: Progress,
}

impl View {
    /// Nothing learned yet.
    pub fn new(config: &Config) -> Self {
        Self {
            state: Shared::new(Behaviour::new(config.settings())),
            newcomers: ArcSwap::default(),
            blends: ArcSwap::default(),
            replaced: AtomicU64::new(0),
            regressions: ArcSwap::from_pointee(None),
            progress: Progress::default(),
        }
    }

    /// Puts something in the place of what stands beside the state: answers may change by it as by an event.
    pub(crate) fn replace<T>(&self, place: &ArcSwap<T>, with: T) {
        place.store(Arc::new(with));
        self.replaced.fetch_add(1, Ordering::Release);
    }
}

/// What the nightly tuning chose for each placement; `None` is as shipped.
#[derive(Debug, Default)]
pub(crate) struct Blends {
    /// For a visit's own list.
    pub(crate) visit: Option<Blend>,
    /// Beside a product.
    pub(crate) beside: Option<Blend>,
}

/// A question and what it is asked of.
struct Asking<'a> {
    state: &'a Behaviour,
    newcomers: &'a Newcomers,
    blends: &'a Blends,
    query: &'a RecommendQuery,
    items: Vec<u32>,
}

impl Asking<'_> {
    fn found(&self, limit: usize, allowed: &dyn Fn(&str) -> bool) -> Vec<Found> {
        let allow = |item: u32| self.name(item).is_some_and(allowed);
        let like = |item: u32, visit: &mut dyn FnMut(u32, f32)| self.newcomers.like(item, visit);
        let likeness = Likeness { items: self.newcomers.numbers(), like: &like };
        let request = Request {
            likeness: (!self.newcomers.is_empty()).then_some(&likeness),
            ..Request::new(limit.min(CANDIDATES_MAX)).allowing(&allow)
        };
        let shopper = self.query.shopper.as_ref().map_or("", Shopper::as_str);
        with_scratch(|scratch| match self.query.logic {
            Logic::ForYou if self.query.products.is_empty() => {
                self.state.for_you(History::Shopper(shopper), self.blends.visit.as_ref(), &request, scratch)
            }
            Logic::ForYou => self.state.for_you(History::Items(&self.items), self.blends.visit.as_ref(), &request, scratch),
            Logic::AlsoViewed => {
                let other = |item: u32| !self.items.contains(&item) && allow(item);
                self.state.for_you(History::Items(&self.items), self.blends.beside.as_ref(), &request.allowing(&other), scratch)
            }
            Logic::ViewedThenBought => {
                self.items.last().map(|item| self.state.viewed_then_bought(*item, &request, scratch)).unwrap_or_default()
            }
            Logic::BoughtTogether => self.state.for_cart(&self.items, &request, scratch),
            Logic::ForCart => self.state.complete_cart(&self.items, &request, scratch),
            Logic::RecentlyViewed => self.state.recently_viewed(shopper, &request),
            Logic::Trending => self.state.popular(Window::Hours, &request),
            Logic::Popular => self.state.popular(Window::Weeks, &request),
        })
    }

    fn name(&self, item: u32) -> Option<&str> {
        self.state.name(item).or_else(|| self.newcomers.name(item))
    }

    fn candidate(&self, found: Found) -> Option<Candidate> {
        let reasons = found.reasons.iter().take(REASONS_MAX).map(|reason| self.reason(reason)).collect();
        Some(Candidate { product: self.product(found.item)?, score: found.score, reasons, rest: found.rest })
    }

    fn product(&self, item: u32) -> Option<ProductId> {
        self.name(item)?.parse().ok()
    }

    fn reason(&self, reason: &behaviour::Reason) -> Reason {
        Reason {
            strategy: strategy(reason.strategy),
            source: reason.source.and_then(|item| self.product(item)),
            score: reason.score,
            together: reason.together,
            of: reason.of,
        }
    }
}

fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Visits => "visits",
        Strategy::Pairs => "pairs",
        Strategy::Taste => "taste",
        Strategy::Together => "together",
        Strategy::Bought => "viewed_then_bought",
        Strategy::Popular => "popular",
        Strategy::Like => "content",
        Strategy::Again => "again",
        Strategy::Recent => "recent",
    }
}

impl Recommender for View {
    fn candidates(&self, query: &RecommendQuery, allowed: &dyn Fn(&str) -> bool) -> Vec<Candidate> {
        let (newcomers, blends, regressions) = (self.newcomers.load().of(&query.models), self.blends.load(), self.regressions.load());
        let state = self.state.read();
        let items = query.products.iter().filter_map(|product| state.item(product.as_str())).collect();
        let asking = Asking { state: &state, newcomers: &newcomers, blends: &blends, query, items };
        // What a shopper asked not to see is in no list, whatever it is made of.
        let dismissed = query.shopper.as_ref().map(|shopper| state.dismissed(shopper.as_str())).unwrap_or_default();
        let is_dismissed = |name: &str| !dismissed.is_empty() && state.item(name).is_some_and(|item| dismissed.contains(&item));
        let allowed = |name: &str| allowed(name) && !is_dismissed(name);
        if let Some(list) = regressions.as_ref().as_ref().and_then(|regressions| asking.blended(regressions, &allowed)) {
            return list;
        }
        asking.found(query.limit, &allowed).into_iter().filter_map(|found| asking.candidate(found)).collect()
    }

    fn popularity(&self, products: &[ProductId]) -> Vec<f32> {
        let state = self.state.read();
        let of = |product: &ProductId| state.item(product.as_str()).map_or(0.0, |item| state.popularity_of(Window::Weeks, item));
        products.iter().map(of).collect()
    }

    fn stats(&self) -> BehaviourStats {
        let counts = self.state.read().counts();
        BehaviourStats {
            events: counts.events,
            version: counts.events + self.replaced.load(Ordering::Acquire),
            products: counts.items,
            shoppers: counts.shoppers,
            orders: counts.orders,
            new_products: self.newcomers.load().of(&[]).numbers().len(),
        }
    }

    fn latest_ms(&self) -> i64 {
        i64::try_from(self.state.read().latest_ms()).unwrap_or(i64::MAX)
    }

    fn digest(&self) -> [u8; 32] {
        self.state.read().digest()
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}
