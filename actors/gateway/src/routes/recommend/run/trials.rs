//! A few places are left to what is new or rising, for as long as it does well there.

use std::collections::HashSet;

use domain::{ProductId, Shopper};
use protocol::recommend::Logic;

use super::{Kitchen, Narrow, SPARE, TRENDING};
use crate::logic::proposals::{Proposal, Trial, once_each, try_out};
use crate::problem::Answer;
use crate::routes::recommend::LogicName;

/// The first place that may be left to a trial: the top of a list is not experimented with.
const TRIAL_PLACE_MIN: usize = 4;
/// Shoppers of a day by whom the probability of a trial is estimated.
const PROPENSITY_DRAWS: usize = 64;

impl Kitchen<'_> {
    /// Leaves a few places to what is new or rising, for as long as it does well there.
    pub(super) async fn try_out(&self, mut list: Vec<Proposal>) -> Answer<Vec<Proposal>> {
        let budget = self.question.explore_share.unwrap_or(self.app.config.explore_share);
        let is_open = matches!(self.question.logic, LogicName::ForYou | LogicName::Popular | LogicName::Trending);
        if budget <= 0.0 || !is_open || self.question.limit <= TRIAL_PLACE_MIN || self.question.shopper.is_none() || self.catalog.is_empty()
        {
            list.truncate(self.question.limit);
            return Ok(list);
        }
        let (two_face, shopper) = (&self.app.house.personalizer, self.question.shopper.as_ref());
        let places = two_face.places_to_try(self.question.limit, budget, shopper, self.now_ms);
        let mut left = if places.is_empty() { Vec::new() } else { self.untried(&list).await? };
        let mut trials = Vec::new();
        for place in places.into_iter().filter(|place| *place >= TRIAL_PLACE_MIN) {
            left.retain(|(_, proposals)| !proposals.is_empty());
            if left.is_empty() {
                break;
            }
            let names: Vec<&str> = left.iter().map(|(name, _)| *name).collect();
            let chosen = two_face.choose(&self.question.placement, &names, shopper, self.now_ms).min(left.len() - 1);
            let draws = (0..PROPENSITY_DRAWS).filter(|draw| {
                let other = Shopper::session(&format!("draw {draw}"));
                two_face.choose(&self.question.placement, &names, Some(&other), self.now_ms) == chosen
            });
            let propensity = (draws.count() + 1) as f32 / (PROPENSITY_DRAWS + 1) as f32;
            let strategy = names[chosen].to_owned();
            if let Some(proposal) = left[chosen].1.pop() {
                trials.push(Trial { place, proposal: Proposal { strategy, ..proposal }, propensity });
            }
        }
        try_out(&mut list, trials, budget);
        // Two trials may be variants of one another.
        let mut list = once_each(list, |id| self.kind_of(id));
        list.truncate(self.question.limit);
        Ok(list)
    }

    /// What may be tried beside a list, by what proposes it, the best last: nothing that the list shows in another variant.
    async fn untried(&self, list: &[Proposal]) -> Answer<Vec<(&'static str, Vec<Proposal>)>> {
        let shown = || list.iter().take(self.question.limit);
        let products: HashSet<&ProductId> = shown().map(|proposal| &proposal.product).collect();
        let kinds: HashSet<String> = shown().filter_map(|proposal| self.kind_of(&proposal.product)).collect();
        let mut untried = Vec::new();
        for (name, logic) in [(TRENDING, Logic::Trending), ("popular", Logic::Popular)] {
            let mut proposals = self.behaviour(logic, self.question.limit + SPARE);
            if let Narrow::By(filter) = &self.narrow {
                proposals = self.fitting(proposals, filter).await?;
            }
            proposals.retain(|proposal| {
                !products.contains(&proposal.product) && self.kind_of(&proposal.product).is_none_or(|kind| !kinds.contains(&kind))
            });
            proposals.reverse();
            if !proposals.is_empty() {
                untried.push((name, proposals));
            }
        }
        Ok(untried)
    }
}
