//! Searches in the event log: what was asked for, what was shown, and the token by which clicks are told to have come from it.

use domain::{ProductId, Served, ServedItem, Shopper};
use kit::Context;
use protocol::experiments::assign_all;
use uuid::Uuid;

use super::ask::Ask;
use super::{COMPARISON, Ranked, run};
use crate::problem::Answer;
use crate::routes::App;

/// What is logged of a question.
struct Trace {
    placement: &'static str,
    shopper: Option<Shopper>,
    session: Option<String>,
    context: Vec<ProductId>,
    query: Option<String>,
}

impl Trace {
    fn of(ask: &Ask) -> Self {
        let placement = match ask {
            Ask { image: Some(_), .. } => "photo_search",
            Ask { text: Some(_), .. } => "search",
            _ if ask.is_browsing() => "browse",
            _ => "similar",
        };
        let (shopper, session) = (ask.shopper.clone(), ask.session.clone());
        Self { placement, shopper, session, context: ask.product.iter().cloned().collect(), query: ask.text.clone() }
    }

    fn log(self, app: &App, ranked: &mut Ranked) {
        let token = Uuid::now_v7().simple().to_string();
        let item = |item: &super::Item| {
            let product = item.id.parse().ok()?;
            Some(ServedItem { product, strategy: item.strategy.clone(), score: item.score, propensity: 1.0 })
        };
        let experiments = self.shopper.as_ref().map(|shopper| assign_all(&*app.house.registry.experiments(), self.placement, shopper));
        let mut experiments = experiments.unwrap_or_default();
        if ranked.is_compared {
            experiments.push((COMPARISON.to_owned(), ranked.release.clone()));
        }
        app.house.log.record(Served {
            token: token.clone(),
            at_ms: app.house.clock.now_ms(),
            placement: self.placement.to_owned(),
            shopper: self.shopper,
            session: self.session,
            context: self.context,
            items: ranked.items.iter().filter_map(item).collect(),
            experiments,
            rules: Vec::new(),
            query: self.query,
            found: u32::try_from(ranked.total).unwrap_or(u32::MAX),
            request: "{}".to_owned(),
        });
        ranked.attribution_token = Some(token);
    }
}

/// Answers a search and logs it.
pub(crate) async fn run_logged(app: &App, context: &Context, ask: Ask) -> Answer<Ranked> {
    let trace = Trace::of(&ask);
    let mut ranked = run(app, context, ask).await?;
    trace.log(app, &mut ranked);
    Ok(ranked)
}
