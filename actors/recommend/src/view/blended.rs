//! Lists in which the nightly regression has its say.

use std::collections::HashMap;

use behaviour::{Candidate as Found, Request, Strategy, with_scratch};
use ease::{Blended, POOL_MAX, Sums, blend};
use protocol::recommend::{CANDIDATES_MAX, Candidate, Logic, REASONS_MAX, Reason};

use super::Asking;
use crate::logic::regression::{Regression, Regressions};

impl Asking<'_> {
    /// The answer, where the regression has a say in it: what goes with a cart, and what is for a shopper without a visit under way.
    pub(super) fn blended(&self, regressions: &Regressions, allowed: &dyn Fn(&str) -> bool) -> Option<Vec<Candidate>> {
        let limit = self.query.limit.min(CANDIDATES_MAX);
        match self.query.logic {
            Logic::ForCart => {
                let regression = regressions.carts.as_ref()?;
                let history: Vec<u32> = self.items.iter().rev().copied().collect();
                let mixing = Mixing::new(self, regression, &history)?;
                let allow = |item: u32| self.name(item).is_some_and(allowed);
                let request = Request::new(POOL_MAX.max(limit)).allowing(&allow);
                let own = with_scratch(|scratch| self.state.complete_cart(&self.items, &request, scratch));
                Some(mixing.list(own, limit, allowed))
            }
            Logic::ForYou if self.query.products.is_empty() => {
                let regression = regressions.histories.as_ref()?;
                let shopper = self.query.shopper.as_ref()?.as_str();
                let history: Vec<u32> =
                    self.state.recently_viewed(shopper, &Request::new(CANDIDATES_MAX)).into_iter().map(|found| found.item).collect();
                let mixing = Mixing::new(self, regression, &history)?;
                let own = self.found(limit, allowed);
                let is_of_visit =
                    |found: &Found| found.reasons.iter().any(|reason| matches!(reason.strategy, Strategy::Visits | Strategy::Pairs));
                if own.iter().any(is_of_visit) {
                    return Some(own.into_iter().filter_map(|found| self.candidate(found)).collect());
                }
                Some(mixing.list(self.found(POOL_MAX.max(limit), allowed), limit, allowed))
            }
            _ => None,
        }
    }
}

/// A history as the regression sees it.
struct Mixing<'a> {
    asking: &'a Asking<'a>,
    regression: &'a Regression,
    /// Newest first, by the regression's numbers.
    history: Vec<u32>,
    sums: Sums,
}

impl<'a> Mixing<'a> {
    /// `history`: newest first, by the state's numbers. `None` where the regression has nothing to say of it.
    fn new(asking: &'a Asking<'a>, regression: &'a Regression, history: &[u32]) -> Option<Self> {
        let history = history.iter().filter_map(|item| regression.number(asking.state.name(*item)?)).collect();
        let mut mixing = Self { asking, regression, history, sums: Sums::default() };
        regression.model.score(&mixing.history, regression.choice.decay, &mut mixing.sums);
        let has_say = mixing.sums.iter().any(|(_, sum)| sum > 0.0);
        has_say.then_some(mixing)
    }

    /// Puts what the regression says beside a list of the state.
    fn list(&self, own: Vec<Found>, limit: usize, allowed: &dyn Fn(&str) -> bool) -> Vec<Candidate> {
        let Regression { names, choice, .. } = self.regression;
        // What the regression does not know is numbered behind what it knows.
        let number = |place: usize, found: &Found| {
            let known = self.asking.name(found.item).and_then(|name| self.regression.number(name));
            known.unwrap_or((names.len() + place) as u32)
        };
        let scored: Vec<(u32, f32)> = own.iter().enumerate().map(|(place, found)| (number(place, found), found.score)).collect();
        let name = |number: u32| names.get(number as usize).map(AsRef::as_ref);
        let allow = |number: u32| !self.history.contains(&number) && name(number).is_some_and(allowed);
        let mut mixed = Vec::new();
        blend(&scored, &self.sums, choice.weight, &allow, &mut mixed);
        let own: HashMap<u32, Found> = scored.into_iter().map(|(number, _)| number).zip(own).collect();
        mixed.into_iter().take(limit).filter_map(|item| self.candidate(item, own.get(&item.item))).collect()
    }

    fn candidate(&self, item: Blended, own: Option<&Found>) -> Option<Candidate> {
        let Regression { model, names, choice, .. } = self.regression;
        let (mut reasons, mut rest) = (Vec::new(), item.ease);
        if let Some(own) = own {
            let share = if own.score > 0.0 { item.own / own.score } else { 0.0 };
            reasons.extend(own.reasons.iter().map(|reason| Reason { score: reason.score * share, ..self.asking.reason(reason) }));
            rest += own.rest * share;
        }
        let sum = self.sums.get(item.item);
        if sum > 0.0
            && let Some((source, term)) = model.greatest_term(&self.history, choice.decay, item.item)
        {
            let score = term * item.ease / sum;
            rest -= score;
            reasons.push(Reason { strategy: "ease", source: names[source as usize].parse().ok(), score, together: 0, of: 0 });
        }
        reasons.sort_by(|a, b| b.score.total_cmp(&a.score));
        rest += reasons.iter().skip(REASONS_MAX).map(|reason| reason.score).sum::<f32>();
        reasons.truncate(REASONS_MAX);
        let name = own.map_or_else(|| names.get(item.item as usize).map(AsRef::as_ref), |own| self.asking.name(own.item))?;
        Some(Candidate { product: name.parse().ok()?, score: item.score(), reasons, rest })
    }
}
