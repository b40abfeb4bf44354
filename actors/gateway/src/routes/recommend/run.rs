//! Answering: Superman (or Batman) proposes, Flash says what can be had, Two Face puts it in order, the catalog says what it is.

mod plate;
mod propose;
mod trials;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use domain::{Filter, ProductId};
use kit::Context;
use protocol::cache::{AnswerBytes, CacheKey, Versions, get_or_compute};
use protocol::catalog::CatalogSnapshot;
use protocol::experiments::assign_all;
use protocol::personalize::{RANKED_MAX, RankQuery};
use protocol::search::{HITS_MAX, SearchQuery};

use super::Recommended;
use super::body::{LogicName, Question};
use crate::logic::proposals::{Proposal, once_each};
use crate::problem::Answer;
use crate::routes::App;
use crate::routes::search::{self, Answering, ms};

/// Proposals that another order is made of, or that conditions pick among.
const POOL: usize = 200;
const _: () = assert!(POOL <= RANKED_MAX);
/// Proposals beyond the limit where none is picked among them.
const SPARE: usize = 20;
/// A shop whose newest event is older than this plays back a history.
const PLAYED_BACK_MS_MIN: i64 = 36 * 3_600_000;
/// A reason's size, about.
const REASON_BYTES: usize = 96;
const TRENDING: &str = "trending";

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
    /// The release that answers the whole of it.
    answering: Answering,
    now_ms: i64,
    /// Of everything that the proposals are made of, read before any of it; `None` for an answer that is nobody else's.
    versions: Option<Versions>,
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
    stages.insert("propose", ms(started.elapsed()));
    let ordering = Instant::now();
    let proposals = kitchen.try_out(kitchen.order(proposals)).await?;
    stages.insert("order", ms(ordering.elapsed()));
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

impl<'a> Kitchen<'a> {
    async fn of(app: &'a App, context: &'a Context, question: &'a Question) -> Answer<Self> {
        let versions = (question.shopper.is_none() && question.at_ms.is_none()).then(|| versions(app));
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
        let answering = Answering::serving(app, context, question.shopper.as_ref(), question.session.as_deref());
        Ok(Self { app, context, question, catalog: app.house.catalog.snapshot(), banned, cart, narrow, answering, now_ms, versions })
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

    /// Of questions without a shopper one is answered for all who ask the same of the same release until anything that it is made of changes: with
    /// the next event that teaches something, in a busy shop within milliseconds.
    async fn shared_or_own(&self) -> Answer<Vec<Proposal>> {
        let Some(versions) = &self.versions else { return self.propose().await };
        let key = CacheKey::shared("recommendations", format!("{}\n{}", self.answering.name, self.question.canonical));
        let compute = async { self.propose().await.map(|list| Arc::new(Kept(list))) };
        Ok(get_or_compute(&*self.app.house.cache, &key, versions, compute).await?.0.clone())
    }

    /// What a product is a variant of.
    fn kind_of(&self, id: &ProductId) -> Option<String> {
        self.catalog.get(id.as_str()).and_then(|known| known.product.group_id.clone())
    }

    /// The list in order, variants of one product once.
    fn order(&self, list: Vec<Proposal>) -> Vec<Proposal> {
        once_each(self.reorder(list), |id| self.kind_of(id))
    }

    /// The shopper's own order, where what proposed the list knows nothing of the shopper.
    fn reorder(&self, list: Vec<Proposal>) -> Vec<Proposal> {
        let strength = self.question.strength.unwrap_or(1.0);
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
            models: self.answering.models().to_vec(),
        };
        let mut list: Vec<Option<Proposal>> = list.into_iter().map(Some).collect();
        let ranked = self.app.house.personalizer.rank(&query).into_iter();
        let ordered = ranked.filter_map(|ranked| {
            let proposal = list.get_mut(ranked.at)?.take()?;
            Some(Proposal { score: ranked.score, rest: 0.0, shares: ranked.shares, ..proposal })
        });
        ordered.collect()
    }
}

/// The versions of everything that proposals for everybody are made of.
fn versions(app: &App) -> Versions {
    let house = &app.house;
    Versions {
        catalog: house.catalog.snapshot().version(),
        availability: house.offers.version(),
        // A promotion is another model at once, also where the index has not noticed yet.
        model: house.searcher.stats().version.wrapping_add(house.releases.ledger().revision << 40),
        behaviour: house.recommender.stats().version,
        ..Versions::default()
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
