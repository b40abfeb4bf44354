//! What a list is made of: Superman's proposals, Batman's likenesses, and what a short list is filled up with.

use std::collections::HashSet;

use domain::{Filter, ProductId};
use protocol::recommend::{CANDIDATES_MAX, Candidate, Logic, RecommendQuery};
use protocol::search::{HITS_MAX, SearchQuery};

use super::{Kitchen, Narrow, POOL, SPARE, TRENDING};
use crate::logic::proposals::{Proposal, fill};
use crate::problem::Answer;
use crate::routes::recommend::LogicName;
use crate::routes::search;

/// Products in one question to Batman about a filter.
const CHUNK: usize = 256;
const ID: &str = "id";
const CATEGORY: &str = "category";

impl Kitchen<'_> {
    pub(super) async fn propose(&self) -> Answer<Vec<Proposal>> {
        let mut list = match self.question.logic {
            LogicName::Similar => self.similar(POOL).await?,
            LogicName::CompleteTheLook => self.look().await?,
            LogicName::BuyAgain => self.again(),
            LogicName::Rank => {
                let allowed = self.question.candidates.iter().filter(|id| self.allows(id.as_str()));
                allowed.map(|id| Proposal::of(id.clone(), 0.0, "rank")).collect()
            }
            other => other.behaviour().map(|logic| self.behaviour(logic, self.pool())).unwrap_or_default(),
        };
        if let Narrow::By(filter) = &self.narrow {
            list = self.fitting(list, filter).await?;
        }
        let has_own_end = matches!(self.question.logic, LogicName::BuyAgain | LogicName::RecentlyViewed | LogicName::Rank);
        if self.question.is_filled && !has_own_end && list.len() < self.question.limit {
            self.fall_back(&mut list).await?;
        }
        Ok(list)
    }

    /// How many proposals the list is made of: many where a filter or another order picks among them, else a few to spare for variants
    /// and what is sold out meanwhile. Asking for more costs time: behind what is known of the shopper the whole shop is looked at.
    fn pool(&self) -> usize {
        match &self.narrow {
            Narrow::By(_) => CANDIDATES_MAX,
            _ if self.question.logic.is_reranked() => POOL.max(self.question.limit + SPARE),
            _ => self.question.limit + SPARE,
        }
    }

    pub(super) fn behaviour(&self, logic: Logic, limit: usize) -> Vec<Proposal> {
        let about = if self.question.products.is_empty() && matches!(logic, Logic::BoughtTogether | Logic::ForCart) {
            &self.cart
        } else {
            &self.question.products
        };
        let query = RecommendQuery {
            logic,
            shopper: self.question.shopper.clone(),
            products: about.clone(),
            limit,
            models: self.answering.models().to_vec(),
        };
        let candidates = self.app.house.recommender.candidates(&query, &|id| self.allows(id)).into_iter();
        let proposal = |mut candidate: Candidate| {
            if logic == Logic::Trending {
                candidate.reasons.iter_mut().for_each(|reason| reason.strategy = TRENDING);
            }
            Proposal::from(candidate)
        };
        candidates.map(proposal).collect()
    }

    /// What looks or reads like the last of the products asked about.
    async fn similar(&self, limit: usize) -> Answer<Vec<Proposal>> {
        let Some(product) = self.question.products.last().filter(|id| self.catalog.get(id.as_str()).is_some()) else {
            return Ok(Vec::new());
        };
        let ask = search::Ask {
            product: Some(product.clone()),
            filter: self.question.filter.clone(),
            limit: Some(limit.min(self.app.config.limit_max)),
            ..search::Ask::default()
        };
        let ranked = search::run_by(self.app, self.context, ask, self.answering.clone()).await?;
        let proposal = |item: search::Item| Some(Proposal::of(item.id.parse().ok()?, item.score, "similar"));
        Ok(ranked.items.into_iter().filter_map(proposal).filter(|proposal| self.allows(proposal.product.as_str())).collect())
    }

    /// Bought together or of the same style, and of another category.
    async fn look(&self) -> Answer<Vec<Proposal>> {
        let category = |id: &ProductId| {
            let known = self.catalog.get(id.as_str())?;
            known.product.categories.first().and_then(|path| path.0.last().cloned())
        };
        let own: HashSet<Option<String>> = self.question.products.iter().map(category).collect();
        let is_other = |proposal: &Proposal| !own.contains(&category(&proposal.product));
        let mut list: Vec<Proposal> = self.behaviour(Logic::BoughtTogether, POOL).into_iter().filter(is_other).collect();
        let styles =
            self.similar(POOL).await?.into_iter().filter(is_other).map(|proposal| Proposal { strategy: "style".into(), ..proposal });
        fill(&mut list, styles, POOL);
        Ok(list)
    }

    fn again(&self) -> Vec<Proposal> {
        let Some(shopper) = &self.question.shopper else { return Vec::new() };
        let due = self.app.house.personalizer.buy_again(shopper, self.now_ms, POOL).into_iter();
        due.filter(|due| self.allows(due.product.as_str())).map(|due| Proposal::of(due.product, due.score, "again")).collect()
    }

    /// The category of what was asked about, then the shop, then whatever there is.
    async fn fall_back(&self, list: &mut Vec<Proposal>) -> Answer<()> {
        let limit = self.question.limit;
        let path = self.question.products.iter().rev().find_map(|id| self.catalog.get(id.as_str())?.product.categories.first().cloned());
        if let Some(path) = path {
            let category = Filter::Under { attribute: CATEGORY.to_owned(), path: path.0 };
            let filter = Filter::All(self.question.filter.iter().cloned().chain([category]).collect());
            let found = self.browse(Some(filter)).await?;
            fill(list, self.by_popularity(found), limit);
        }
        if list.len() < limit {
            let popular = self.behaviour(Logic::Popular, self.pool());
            let popular = match &self.narrow {
                Narrow::By(filter) => self.fitting(popular, filter).await?,
                _ => popular,
            };
            fill(list, popular, limit);
        }
        if list.len() < limit {
            let found = self.browse(self.question.filter.clone()).await?;
            fill(list, self.by_popularity(found), limit);
        }
        Ok(())
    }

    /// Products that pass a filter and can be had, the index's first ones.
    async fn browse(&self, filter: Option<Filter>) -> Answer<Vec<ProductId>> {
        if self.catalog.is_empty() {
            return Ok(Vec::new());
        }
        let query = SearchQuery { filter, only_available: true, limit: HITS_MAX, ..SearchQuery::default() };
        // A shop whose products have no categories has no such attribute: then there is nothing to fall back to here.
        let Ok(found) = search::find(self.app, self.context, query).await else { return Ok(Vec::new()) };
        Ok(found.hits.into_iter().map(|hit| hit.product).filter(|id| self.allows(id.as_str())).collect())
    }

    fn by_popularity(&self, products: Vec<ProductId>) -> Vec<Proposal> {
        let counts = self.app.house.recommender.popularity(&products);
        let mut list: Vec<(f32, ProductId)> = counts.into_iter().zip(products).collect();
        list.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        list.into_iter().map(|(count, product)| Proposal::of(product, 1.0 + count, "popular")).collect()
    }

    /// Those that a filter takes.
    pub(super) async fn fitting(&self, list: Vec<Proposal>, filter: &Filter) -> Answer<Vec<Proposal>> {
        let mut taken = HashSet::new();
        for chunk in list.chunks(CHUNK) {
            let values = chunk.iter().map(|proposal| proposal.product.to_string()).collect();
            let these = Filter::In { attribute: ID.to_owned(), values };
            let query = SearchQuery { filter: Some(Filter::All(vec![these, filter.clone()])), limit: HITS_MAX, ..SearchQuery::default() };
            taken.extend(search::find(self.app, self.context, query).await?.hits.into_iter().map(|hit| hit.product));
        }
        Ok(list.into_iter().filter(|proposal| taken.contains(&proposal.product)).collect())
    }
}
