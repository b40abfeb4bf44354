//! Questions about orders: what goes with a cart, and what a shopper buys again.

use crate::baskets::Together;
use crate::history::Bought;
use crate::keys::Key;
use crate::popularity::Window;
use crate::query::{Candidate, Reason, Request, Strategy, keep_best};
use crate::scratch::Scratch;
use crate::state::Behaviour;

impl Behaviour {
    /// How two items stand to one another in the orders; `None` where no order had both.
    pub fn together(&self, first: u32, second: u32) -> Option<Together> {
        self.baskets.together(first, second)
    }

    /// What is bought together with an item: only pairs that chance does not explain, best first. Every reason says in how many of how
    /// many orders.
    pub fn bought_together(&self, item: u32, request: &Request<'_>, scratch: &mut Scratch) -> Vec<Candidate> {
        self.with_cart(&[item], true, request, scratch)
    }

    /// What goes with a cart: summed over its lines; pairs alone where they are significant.
    pub fn for_cart(&self, cart: &[u32], request: &Request<'_>, scratch: &mut Scratch) -> Vec<Candidate> {
        self.with_cart(cart, true, request, scratch)
    }

    /// What to add to a cart, longest list: every pair counts, significant or not, and popularity beside.
    pub fn complete_cart(&self, cart: &[u32], request: &Request<'_>, scratch: &mut Scratch) -> Vec<Candidate> {
        self.with_cart(cart, false, request, scratch)
    }

    fn with_cart(&self, cart: &[u32], gated: bool, request: &Request<'_>, scratch: &mut Scratch) -> Vec<Candidate> {
        let (settings, pairs) = (&self.settings.basket, &self.baskets.pairs);
        let allow = |item: u32| !cart.contains(&item) && (request.allow)(item);
        let reading = crate::settings::Reading {
            popularity: settings.popularity,
            shrink: settings.shrink,
            profile_half_life: f32::INFINITY,
            row_normalised: false,
            sources_max: usize::MAX,
        };
        let passes = |source: u32, item: u32| !gated || self.together(source, item).is_some_and(|found| found.is_significant(settings));
        let scores = &mut scratch.scores;
        for source in cart {
            for (item, score) in pairs.scores_of(*source, &reading).filter(|(item, _)| allow(*item)) {
                if passes(*source, item) {
                    scores.add(item, score);
                }
            }
        }
        let greatest = scores.touched().iter().map(|item| scores.get(*item)).fold(0.0, f32::max);
        let factor = if greatest > 0.0 { 1.0 / greatest } else { 0.0 };
        let popular_greatest = self.popularity.greatest(Window::Weeks);
        let popular_factor = if popular_greatest > 0.0 { settings.popular / popular_greatest } else { 0.0 };
        let mut popular = Vec::new();
        if !gated {
            self.popularity.popular(Window::Weeks, request.count(), &|item| allow(item) && scores.get(item) == 0.0, &mut popular);
        }
        let picked = &mut scratch.picked;
        picked.clear();
        let total = |item: u32| scores.get(item) * factor + self.popularity.weight(item, Window::Weeks) * popular_factor;
        picked.extend(scores.touched().iter().chain(popular.iter().map(|(item, _)| item)).map(|item| (*item, total(*item))));
        keep_best(picked, request.count());
        let answer = picked.iter().map(|(item, score)| {
            let mut candidate = Candidate { item: *item, score: *score, reasons: Vec::new(), rest: 0.0 };
            for source in cart {
                if let Some(reason) = self.cart_reason(*source, *item, &reading, factor).filter(|_| passes(*source, *item)) {
                    candidate.add_reason(reason);
                }
            }
            let weight = self.popularity.weight(*item, Window::Weeks);
            if weight > 0.0 {
                let (strategy, score) = (Strategy::Popular, weight * popular_factor);
                candidate.add_reason(Reason { strategy, source: None, score, together: weight.round() as u32, of: 0 });
            }
            candidate.settle();
            candidate
        });
        let answer = answer.collect();
        scores.clear();
        answer
    }

    fn cart_reason(&self, source: u32, item: u32, reading: &crate::settings::Reading, factor: f32) -> Option<Reason> {
        let pairs = &self.baskets.pairs;
        let (weight, together) = pairs.row(source)?.get(item)?;
        let divisor = pairs.total(source).powf(1.0 - reading.popularity) * pairs.total(item).powf(reading.popularity) + reading.shrink;
        let score = if divisor > 0.0 { weight * pairs.present() / divisor * factor } else { 0.0 };
        Some(Reason { strategy: Strategy::Together, source: Some(source), score, together, of: self.baskets.orders_of(source) })
    }

    /// What a shopper buys again: often bought first, more when it is due by the shopper's own interval; `request.now_ms` is the time.
    pub fn buy_again(&self, shopper: &str, request: &Request<'_>) -> Vec<Candidate> {
        let settings = &self.settings.again;
        let shopper = self.shoppers.find(Key::new(shopper)).and_then(|slot| self.shoppers.get(slot));
        let bought = shopper.map_or(&[][..], |shopper| shopper.bought());
        let own =
            |bought: &Bought| bought.weight_at(request.now_ms, settings.half_life_ms) * (1.0 + settings.due * due(bought, request.now_ms));
        let greatest = bought.iter().map(own).fold(0.0, f32::max);
        if greatest <= 0.0 {
            return Vec::new();
        }
        let popular_greatest = self.popularity.greatest(Window::Weeks);
        let popular = |item: u32| match popular_greatest {
            greatest if greatest > 0.0 => settings.popular * self.popularity.weight(item, Window::Weeks) / greatest,
            _ => 0.0,
        };
        let allowed = bought.iter().filter(|bought| (request.allow)(bought.item));
        let mut answer: Vec<Candidate> = allowed
            .map(|bought| {
                let reason = Reason {
                    strategy: Strategy::Again,
                    source: Some(bought.item),
                    score: own(bought) / greatest,
                    together: bought.times,
                    of: bought.pieces,
                };
                let mut candidate = Candidate::of(bought.item, reason);
                let weight = popular(bought.item);
                if weight > 0.0 {
                    candidate.score += weight;
                    let together = self.popularity.weight(bought.item, Window::Weeks).round() as u32;
                    candidate.add_reason(Reason { strategy: Strategy::Popular, source: None, score: weight, together, of: 0 });
                }
                candidate
            })
            .collect();
        answer.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
        answer.truncate(request.count());
        answer
    }
}

/// 1 at the time when an item is bought again by the shopper's own mean interval, less before and after; 0 without an interval.
fn due(bought: &Bought, now_ms: u64) -> f32 {
    let interval_ms = bought.last_ms.saturating_sub(bought.first_ms) as f64 / f64::from(bought.times.saturating_sub(1).max(1));
    let since_ms = now_ms.saturating_sub(bought.last_ms) as f64;
    if interval_ms <= 0.0 || since_ms <= 0.0 {
        return 0.0;
    }
    (-(since_ms / interval_ms).ln().abs()).exp() as f32
}
