//! Answering: Superman (or Batman) proposes, Flash says what can be had, Two Face puts it in order, the catalog says what it is.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use domain::{Filter, ProductId, Served, ServedItem, Shopper};
use kit::Context;
use protocol::cache::{AnswerBytes, CacheKey, Versions, get_or_compute};
use protocol::catalog::CatalogSnapshot;
use protocol::experiments::assign_all;
use protocol::personalize::{RANKED_MAX, RankQuery};
use protocol::recommend::{CANDIDATES_MAX, Candidate, Logic, RecommendQuery};
use protocol::search::{HITS_MAX, SearchQuery};
use uuid::Uuid;

use super::body::{LogicName, Question};
use super::{ArmName, Recommended, RecommendedItem, RecommendedReason};
use crate::logic::proposals::{Proposal, Trial, fill, once_each, spoken, try_out};
use crate::problem::Answer;
use crate::routes::{App, search};
use crate::schema::Card;

/// Proposals that an order is made of.
const POOL: usize = RANKED_MAX;
/// Proposals beyond the limit where none is picked among them.
const SPARE: usize = 20;
/// Products in one question to Batman about a filter.
const CHUNK: usize = 256;
/// The first place that may be left to a trial: the top of a list is not experimented with.
const TRIAL_PLACE_MIN: usize = 4;
/// Shoppers of a day by whom the probability of a trial is estimated.
const PROPENSITY_DRAWS: usize = 64;
/// A shop whose newest event is older than this plays back a history.
const PLAYED_BACK_MS_MIN: i64 = 36 * 3_600_000;
/// A reason's size, about.
const REASON_BYTES: usize = 96;
const TRENDING: &str = "trending";
const ID: &str = "id";
const CATEGORY: &str = "category";

/// What narrows a list down.
enum Narrow {
    No,
    /// These alone.
    To(HashSet<ProductId>),
    /// So much that proposals are asked about it one by one.
    By(Filter),
}

/// Everything that one answer is made with.
struct Kitchen<'a> {
    app: &'a App,
    context: &'a Context,
    question: &'a Question,
    catalog: Arc<dyn CatalogSnapshot>,
    banned: HashSet<ProductId>,
    cart: Vec<ProductId>,
    narrow: Narrow,
    now_ms: i64,
}

/// Answers one question: as asked, but for what the experiments that its shopper takes part in change.
pub(crate) async fn run(app: &App, context: &Context, question: &Question) -> Answer<Recommended> {
    let started = Instant::now();
    let mut stages = BTreeMap::new();
    let defined = app.house.registry.experiments();
    let arms = question.shopper.as_ref().map(|shopper| assign_all(&*defined, &question.placement, shopper)).unwrap_or_default();
    let question = question.clone().treated(&defined, &arms);
    let kitchen = Kitchen::of(app, context, &question).await?;
    let proposals = kitchen.shared_or_own().await?;
    stages.insert("propose", ms(started));
    let ordering = Instant::now();
    let proposals = kitchen.try_out(kitchen.order(proposals));
    stages.insert("order", ms(ordering));
    let answer = kitchen.plate(proposals, arms, stages, started);
    metrics::histogram!("gotham_recommend_seconds", "logic" => question.logic.name()).record(started.elapsed().as_secs_f64());
    Ok(answer)
}

/// The list that a question would be answered with now, without trials; nothing is logged.
pub(crate) async fn rank_again(app: &App, context: &Context, question: &Question) -> Answer<Vec<ProductId>> {
    let kitchen = Kitchen::of(app, context, question).await?;
    let list = kitchen.order(kitchen.propose().await?);
    Ok(list.into_iter().take(question.limit).map(|proposal| proposal.product).collect())
}

/// Proposals as they are kept for all who ask the same.
struct Kept(Vec<Proposal>);

impl AnswerBytes for Kept {
    fn answer_bytes(&self) -> usize {
        let names = |proposal: &Proposal| proposal.product.as_str().len() + proposal.strategy.len() + REASON_BYTES * proposal.reasons.len();
        self.0.iter().map(|proposal| size_of::<Proposal>() + names(proposal)).sum()
    }
}

fn ms(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

impl<'a> Kitchen<'a> {
    async fn of(app: &'a App, context: &'a Context, question: &'a Question) -> Answer<Self> {
        let cart = question.cart.clone().unwrap_or_else(|| known_cart(app, question));
        let mut banned: HashSet<ProductId> = question.exclude.iter().chain(&cart).cloned().collect();
        // A visit may well lead back to what was seen in it; a page does not propose itself.
        if !matches!(question.logic, LogicName::ForYou | LogicName::RecentlyViewed) {
            banned.extend(question.products.iter().cloned());
        }
        let narrow = match &question.filter {
            None => Narrow::No,
            Some(filter) => narrow(app, context, filter).await?,
        };
        let now_ms = question.at_ms.unwrap_or_else(|| now_ms(app.house.clock.now_ms(), app.house.recommender.latest_ms()));
        Ok(Self { app, context, question, catalog: app.house.catalog.snapshot(), banned, cart, narrow, now_ms })
    }

    /// Whether a product may be shown, as far as that can be told at once. A shop without a catalog, which sends events alone, is
    /// answered with what its events name.
    fn allows(&self, id: &str) -> bool {
        let is_narrowed_in = match &self.narrow {
            Narrow::To(products) => products.contains(id),
            Narrow::No | Narrow::By(_) => true,
        };
        is_narrowed_in
            && !self.banned.contains(id)
            && (self.catalog.is_empty() || self.app.house.offers.offer(id).is_some_and(|offer| offer.is_available))
    }

    /// Of questions without a shopper one is answered for all who ask the same until anything that it is made of changes: with
    /// the next event that teaches something, in a busy shop within milliseconds.
    async fn shared_or_own(&self) -> Answer<Vec<Proposal>> {
        if self.question.shopper.is_some() || self.question.at_ms.is_some() {
            return self.propose().await;
        }
        let house = &self.app.house;
        let versions = Versions {
            catalog: self.catalog.version(),
            availability: house.offers.version(),
            model: house.searcher.stats().version,
            behaviour: house.recommender.stats().events,
            ..Versions::default()
        };
        let key = CacheKey::shared("recommendations", self.question.canonical.as_str());
        let compute = async { self.propose().await.map(|list| Arc::new(Kept(list))) };
        Ok(get_or_compute(&*house.cache, &key, &versions, compute).await?.0.clone())
    }

    async fn propose(&self) -> Answer<Vec<Proposal>> {
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
            _ if self.question.logic.is_reranked() => POOL,
            _ => self.question.limit + SPARE,
        }
    }

    fn behaviour(&self, logic: Logic, limit: usize) -> Vec<Proposal> {
        let about = if self.question.products.is_empty() && matches!(logic, Logic::BoughtTogether | Logic::ForCart) {
            &self.cart
        } else {
            &self.question.products
        };
        let query = RecommendQuery { logic, shopper: self.question.shopper.clone(), products: about.clone(), limit };
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
        let ranked = search::run(self.app, self.context, ask).await?;
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
    async fn fitting(&self, list: Vec<Proposal>, filter: &Filter) -> Answer<Vec<Proposal>> {
        let mut taken = HashSet::new();
        for chunk in list.chunks(CHUNK) {
            let values = chunk.iter().map(|proposal| proposal.product.to_string()).collect();
            let these = Filter::In { attribute: ID.to_owned(), values };
            let query = SearchQuery { filter: Some(Filter::All(vec![these, filter.clone()])), limit: HITS_MAX, ..SearchQuery::default() };
            taken.extend(search::find(self.app, self.context, query).await?.hits.into_iter().map(|hit| hit.product));
        }
        Ok(list.into_iter().filter(|proposal| taken.contains(&proposal.product)).collect())
    }

    /// The shopper's own order, where what proposed the list knows nothing of the shopper.
    /// Variants of one product are shown once.
    fn order(&self, list: Vec<Proposal>) -> Vec<Proposal> {
        let kind_of = |id: &ProductId| self.catalog.get(id.as_str()).and_then(|known| known.product.group_id.clone());
        once_each(self.reorder(list), kind_of)
    }

    fn reorder(&self, list: Vec<Proposal>) -> Vec<Proposal> {
        let strength = self.question.strength.unwrap_or(self.app.config.personal_strength);
        if !self.question.logic.is_reranked()
            || list.is_empty()
            || (self.question.shopper.is_none() && self.question.logic != LogicName::Rank)
        {
            return list;
        }
        let has_scores = self.question.logic != LogicName::Rank;
        let query = RankQuery {
            shopper: self.question.shopper.clone(),
            surface: self.question.placement.clone(),
            store: self.question.store.clone(),
            at_ms: self.now_ms,
            strength,
            candidates: list.iter().map(|proposal| (proposal.product.clone(), has_scores.then_some(proposal.score))).collect(),
        };
        let mut list: Vec<Option<Proposal>> = list.into_iter().map(Some).collect();
        let ranked = self.app.house.personalizer.rank(&query).into_iter();
        let ordered = ranked.filter_map(|ranked| {
            let proposal = list.get_mut(ranked.at)?.take()?;
            Some(Proposal { score: ranked.score, rest: 0.0, shares: ranked.shares, ..proposal })
        });
        ordered.collect()
    }

    /// Leaves a few places to what is new or rising, for as long as it does well there.
    fn try_out(&self, mut list: Vec<Proposal>) -> Vec<Proposal> {
        let budget = self.question.explore_share.unwrap_or(self.app.config.explore_share);
        let is_open = matches!(self.question.logic, LogicName::ForYou | LogicName::Popular | LogicName::Trending);
        if budget <= 0.0 || !is_open || self.question.limit <= TRIAL_PLACE_MIN || self.question.shopper.is_none() || self.catalog.is_empty()
        {
            list.truncate(self.question.limit);
            return list;
        }
        let (two_face, shopper) = (&self.app.house.personalizer, self.question.shopper.as_ref());
        let places = two_face.places_to_try(self.question.limit, budget, shopper, self.now_ms);
        let shown: HashSet<ProductId> = list.iter().take(self.question.limit).map(|proposal| proposal.product.clone()).collect();
        let arms = [(TRENDING, Logic::Trending), ("popular", Logic::Popular)];
        let mut left: Vec<(&str, Vec<Proposal>)> = Vec::new();
        for (name, logic) in arms.into_iter().filter(|_| !places.is_empty()) {
            let mut proposals = self.behaviour(logic, POOL);
            proposals.retain(|proposal| !shown.contains(&proposal.product));
            proposals.reverse();
            if !proposals.is_empty() {
                left.push((name, proposals));
            }
        }
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
        list.truncate(self.question.limit);
        list
    }

    /// Asks for what can be had once more, says what it is and why, and logs what is shown.
    fn plate(
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
        self.app.house.log.record(Served {
            token: token.clone(),
            at_ms: self.now_ms,
            placement: self.question.placement.clone(),
            shopper: self.question.shopper.clone(),
            session: self.question.session.clone(),
            context: self.question.products.clone(),
            items: served,
            experiments: experiments.clone(),
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
            took_ms: ms(started),
            stages,
            catalog_version: self.catalog.version(),
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

/// The time of a question: the clock's, unless the newest event is so long ago that a history is being played back; then it is asked in
/// the history's own time.
fn now_ms(clock_ms: i64, latest_ms: i64) -> i64 {
    if latest_ms > 0 && clock_ms - latest_ms > PLAYED_BACK_MS_MIN { latest_ms } else { clock_ms }
}

/// What the session's events, or else the shopper's, have put into the cart.
fn known_cart(app: &App, question: &Question) -> Vec<ProductId> {
    let session = question.session.as_deref().and_then(|session| app.house.sessions.session(session));
    let state = session.or_else(|| app.house.sessions.shopper(question.shopper.as_ref()?));
    state.map(|state| state.cart.iter().map(|line| line.product.clone()).collect()).unwrap_or_default()
}

async fn narrow(app: &App, context: &Context, filter: &Filter) -> Answer<Narrow> {
    let query = SearchQuery { filter: Some(filter.clone()), only_available: true, limit: HITS_MAX, ..SearchQuery::default() };
    let found = search::find(app, context, query).await?;
    let is_all = found.total <= found.hits.len();
    Ok(if is_all { Narrow::To(found.hits.into_iter().map(|hit| hit.product).collect()) } else { Narrow::By(filter.clone()) })
}
