//! The answer itself: what can still be had, what it is and why, and the record of it in the event log.

use std::collections::BTreeMap;
use std::time::Instant;

use domain::{ProductId, Served, ServedItem};
use uuid::Uuid;

use super::Kitchen;
use crate::logic::proposals::{Proposal, spoken};
use crate::routes::recommend::{ArmName, Recommended, RecommendedItem, RecommendedReason};
use crate::routes::search::{COMPARISON, ms};
use crate::schema::Card;

impl Kitchen<'_> {
    /// Asks for what can be had once more, says what it is and why, and logs what is shown.
    pub(super) fn plate(
        &self,
        list: Vec<Proposal>,
        experiments: Vec<(String, String)>,
        stages: BTreeMap<&'static str, f64>,
        started: Instant,
    ) -> Recommended {
        let found = list.len();
        let token = Uuid::now_v7().simple().to_string();
        let mut items = Vec::with_capacity(list.len());
        let mut served = Vec::with_capacity(list.len());
        for proposal in list {
            let offer = self.app.house.offers.offer(proposal.product.as_str());
            let revision = self.catalog.get(proposal.product.as_str());
            let product = revision.as_ref().zip(offer.as_ref()).map(|(revision, offer)| Card::of(revision, offer));
            // What was sold out while the list was made is dropped here.
            let can_be_had = self.catalog.is_empty() || product.as_ref().is_some_and(|card| card.is_available);
            if !can_be_had {
                metrics::counter!("gotham_unavailable_dropped_total").increment(1);
                continue;
            }
            served.push(ServedItem {
                product: proposal.product.clone(),
                strategy: proposal.strategy.clone(),
                score: proposal.score,
                propensity: proposal.propensity,
            });
            items.push(self.item(proposal, items.len() + 1, product));
        }
        let mut degraded = Vec::new();
        if self.catalog.is_empty() {
            degraded.push("no_catalog");
        }
        let mut exposures = experiments.clone();
        if self.answering.is_compared {
            exposures.push((COMPARISON.to_owned(), self.answering.name.clone()));
        }
        self.app.house.log.record(Served {
            token: token.clone(),
            at_ms: self.now_ms,
            placement: self.question.placement.clone(),
            shopper: self.question.shopper.clone(),
            session: self.question.session.clone(),
            context: self.question.products.clone(),
            items: served,
            experiments: exposures,
            rules: Vec::new(),
            query: None,
            found: found as u32,
            request: self.question.canonical.clone(),
        });
        Recommended {
            request_id: self.context.request_id.to_string(),
            attribution_token: token,
            placement: self.question.placement.clone(),
            logic: self.question.logic,
            took_ms: ms(started.elapsed()),
            stages,
            catalog_version: self.catalog.version(),
            release: self.answering.name.clone(),
            experiments: experiments.into_iter().map(|(experiment, arm)| ArmName { experiment, arm }).collect(),
            degraded,
            total: items.len(),
            items,
        }
    }

    fn item(&self, proposal: Proposal, rank: usize, product: Option<Card>) -> RecommendedItem {
        let title = |id: &ProductId| {
            let known = self.catalog.get(id.as_str()).map(|revision| revision.product.title.clone());
            known.or_else(|| Some(id.to_string()))
        };
        let mut reasons: Vec<String> = proposal.reasons.iter().map(|reason| spoken(reason, title)).collect();
        if reasons.is_empty() {
            let source = self.question.products.last().and_then(title).unwrap_or_default();
            reasons.extend(match proposal.strategy.as_str() {
                "similar" => Some(format!("looks like “{source}”")),
                "style" => Some(format!("in the style of “{source}”")),
                "again" => Some("bought before".to_owned()),
                "popular" => Some("popular".to_owned()),
                _ => None,
            });
        }
        let explain = self.question.explain.then(|| {
            let behind = proposal.reasons.iter().map(|reason| (reason.strategy.to_owned(), reason.source.as_ref(), reason.score));
            let mut parts: Vec<RecommendedReason> = if proposal.shares.is_empty() {
                behind.map(|(name, source, share)| RecommendedReason { name, source: source.map(ToString::to_string), share }).collect()
            } else {
                proposal
                    .shares
                    .iter()
                    .map(|(name, share)| RecommendedReason { name: (*name).to_owned(), source: None, share: *share })
                    .collect()
            };
            if proposal.rest != 0.0 {
                parts.push(RecommendedReason { name: "other".to_owned(), source: None, share: proposal.rest });
            }
            parts
        });
        RecommendedItem {
            id: proposal.product.to_string(),
            score: proposal.score,
            rank,
            strategy: proposal.strategy,
            reasons,
            explain,
            product,
        }
    }
}
