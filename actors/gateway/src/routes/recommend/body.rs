//! What a recommendation is asked with: read, and every field checked against its bound.

use domain::{Filter, ProductId, Shopper};
use protocol::experiments::Experiment;
use protocol::personalize::RANKED_MAX;
use protocol::recommend::Logic;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::extract;
use crate::problem::{Answer, Problem};
use crate::routes::App;
use crate::routes::search::{ids, parsed_filter, product_id};

const LIMIT_DEFAULT: usize = 10;
const PRODUCTS_MAX: usize = 200;
const EXCLUDE_IDS_MAX: usize = 1_000;
/// Questions of one call.
pub(crate) const QUESTIONS_MAX: usize = 16;

/// What kind of list is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogicName {
    /// For this shopper or visit, now. With `product_ids`, these (oldest first) stand for the visit.
    #[default]
    ForYou,
    /// Products that look or read like `product_ids`' last.
    Similar,
    /// What others see who see `product_ids`.
    AlsoViewed,
    /// What is bought after the last of `product_ids` was viewed.
    ViewedThenBought,
    /// What is bought in one order with `product_ids` (or the cart): only what chance does not explain.
    BoughtTogether,
    /// What to add to the cart (`product_ids`, else `cart`): every pair counts, and popularity beside.
    ForCart,
    /// What goes with a product in other categories: from orders, and by style.
    CompleteTheLook,
    /// What this shopper buys regularly, the more it is due the higher.
    BuyAgain,
    /// What this shopper saw last.
    RecentlyViewed,
    /// What is rising now.
    Trending,
    /// What is popular.
    Popular,
    /// `candidates` in the order for this shopper: a category page, a search result.
    Rank,
}

impl LogicName {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ForYou => "for_you",
            Self::Similar => "similar",
            Self::AlsoViewed => "also_viewed",
            Self::ViewedThenBought => "viewed_then_bought",
            Self::BoughtTogether => "bought_together",
            Self::ForCart => "for_cart",
            Self::CompleteTheLook => "complete_the_look",
            Self::BuyAgain => "buy_again",
            Self::RecentlyViewed => "recently_viewed",
            Self::Trending => "trending",
            Self::Popular => "popular",
            Self::Rank => "rank",
        }
    }

    /// What Superman is asked for it, where he is.
    pub(crate) fn behaviour(self) -> Option<Logic> {
        Some(match self {
            Self::ForYou => Logic::ForYou,
            Self::AlsoViewed => Logic::AlsoViewed,
            Self::ViewedThenBought => Logic::ViewedThenBought,
            Self::BoughtTogether | Self::CompleteTheLook => Logic::BoughtTogether,
            Self::ForCart => Logic::ForCart,
            Self::RecentlyViewed => Logic::RecentlyViewed,
            Self::Trending => Logic::Trending,
            Self::Popular => Logic::Popular,
            Self::Similar | Self::BuyAgain | Self::Rank => return None,
        })
    }

    /// Whether Two Face puts it in order: where what proposes the products knows nothing of the shopper. What shoppers do (`for_you`),
    /// orders and times have their own order.
    pub(crate) fn is_reranked(self) -> bool {
        matches!(self, Self::Rank | Self::Trending | Self::Popular | Self::Similar | Self::CompleteTheLook)
    }

    fn needs_products(self) -> bool {
        matches!(self, Self::Similar | Self::AlsoViewed | Self::ViewedThenBought | Self::CompleteTheLook)
    }
}

/// One question.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RecommendBody {
    /// Where the list is to be shown: `home`, `product_page`. Reports, experiments and learning go by it; by default the logic's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<String>,
    pub logic: Option<LogicName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visitor_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The page's product, or the visit's, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub product_ids: Vec<String>,
    /// What is in the cart: never proposed. Absent: what the session's events say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cart: Option<Vec<String>>,
    /// For `rank`: what to put in order, at most 400.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// Only these products: `brand = "A" AND price < 50`, or the JSON form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// Never in the answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Whether a list that is too short is filled up: from the shopper, the category, the shop. True by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<bool>,
    /// How much the shopper counts in the order, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f32>,
    /// The branch or web shop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_id: Option<String>,
    /// As of when, in milliseconds since 1970; by default now (or, while a history is played back, the time of its newest event).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<i64>,
    /// Say how each score came about.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub explain: bool,
}

/// A question as the house understands it.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub placement: String,
    pub logic: LogicName,
    pub shopper: Option<Shopper>,
    pub session: Option<String>,
    pub products: Vec<ProductId>,
    pub cart: Option<Vec<ProductId>>,
    pub candidates: Vec<ProductId>,
    pub filter: Option<Filter>,
    pub exclude: Vec<ProductId>,
    pub limit: usize,
    pub is_filled: bool,
    pub strength: Option<f32>,
    /// The share of places that is left to trials, where an experiment says so.
    pub explore_share: Option<f32>,
    pub store: Option<String>,
    pub at_ms: Option<i64>,
    pub explain: bool,
    /// The question in canonical JSON, without its shopper: what can be cached by, and asked again by the replay lab.
    pub canonical: String,
}

impl Question {
    /// Checks a body.
    pub(crate) fn of(app: &App, body: RecommendBody) -> Answer<Self> {
        let name = |text: Option<String>, pointer: &str| text.map(|text| extract::name(text, pointer)).transpose();
        let logic = body.logic.unwrap_or(if body.candidates.is_empty() { LogicName::ForYou } else { LogicName::Rank });
        let anonymous = RecommendBody { user_id: None, visitor_id: None, session_id: None, ..body.clone() };
        let canonical = serde_json::to_string(&anonymous).map_err(Problem::internal)?;
        let (user, visitor) = (name(body.user_id, "/user_id")?, name(body.visitor_id, "/visitor_id")?);
        let session = name(body.session_id, "/session_id")?;
        let limit_max = app.config.limit_max.max(if logic == LogicName::Rank { RANKED_MAX } else { 0 });
        let limit = body.limit.unwrap_or(LIMIT_DEFAULT.min(limit_max));
        if !(1..=limit_max).contains(&limit) {
            return Err(Problem::field("/limit", "out_of_range", format!("must be between 1 and {limit_max}")));
        }
        if body.strength.is_some_and(|strength| !(0.0..=1.0).contains(&strength)) {
            return Err(Problem::field("/strength", "out_of_range", "must be between 0 and 1"));
        }
        let question = Self {
            placement: name(body.placement, "/placement")?.unwrap_or_else(|| logic.name().to_owned()),
            logic,
            shopper: Shopper::of(user.as_deref(), visitor.as_deref(), session.as_deref()),
            session,
            products: ids(&body.product_ids, "/product_ids", PRODUCTS_MAX)?,
            cart: body.cart.map(|cart| ids(&cart, "/cart", PRODUCTS_MAX)).transpose()?,
            candidates: ids(&body.candidates, "/candidates", RANKED_MAX)?,
            filter: body.filter.as_ref().map(parsed_filter).transpose()?,
            exclude: ids(&body.exclude_ids, "/exclude_ids", EXCLUDE_IDS_MAX)?,
            limit,
            is_filled: body.fallback.unwrap_or(true),
            strength: body.strength,
            explore_share: None,
            store: name(body.store_id, "/store_id")?,
            at_ms: body.at_ms,
            explain: body.explain,
            canonical,
        };
        if logic.needs_products() && question.products.is_empty() {
            return Err(Problem::field("/product_ids", "missing", format!("`{}` needs a product to begin with", logic.name())));
        }
        if logic == LogicName::Rank && question.candidates.is_empty() {
            return Err(Problem::field("/candidates", "missing", "`rank` needs candidates to put in order"));
        }
        Ok(question)
    }

    /// The question as the arms of experiments change it.
    pub(crate) fn treated(mut self, experiments: &[Experiment], arms: &[(String, String)]) -> Self {
        for (experiment, arm) in arms {
            let known = experiments.iter().find(|known| known.name == *experiment);
            let Some(arm) = known.and_then(|known| known.arms.iter().find(|known| known.name == *arm)) else { continue };
            let treatment = &arm.treatment;
            let logic = treatment.logic.as_deref().and_then(|name| serde_json::from_value(name.into()).ok());
            // A list of another kind needs what it begins with.
            if let Some(logic) = logic.filter(|logic: &LogicName| !logic.needs_products() || !self.products.is_empty()) {
                self.logic = if logic == LogicName::Rank && self.candidates.is_empty() { self.logic } else { logic };
            }
            self.strength = treatment.strength.or(self.strength);
            self.explore_share = treatment.explore_share.or(self.explore_share);
        }
        self
    }

    /// A question about one product.
    pub(crate) fn beside(app: &App, logic: LogicName, id: &str, params: super::BesideParams) -> Answer<Self> {
        product_id(id, "")?;
        let body = RecommendBody {
            placement: params.placement,
            logic: Some(logic),
            user_id: params.user_id,
            visitor_id: params.visitor_id,
            session_id: params.session_id,
            product_ids: vec![id.to_owned()],
            filter: params.filter.filter(|text| !text.trim().is_empty()).map(crate::routes::search::filter_value),
            limit: params.limit,
            // A pair that was bought together is shown for itself or not at all.
            fallback: (logic == LogicName::BoughtTogether).then_some(false),
            explain: params.explain,
            ..RecommendBody::default()
        };
        Self::of(app, body)
    }
}
