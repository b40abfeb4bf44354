//! Which address leads where, in which class of requests, and the contract of it all.

pub(crate) mod availability;
pub(crate) mod events;
pub(crate) mod experiments;
pub(crate) mod feeds;
pub(crate) mod operations;
pub(crate) mod products;
pub(crate) mod recommend;
pub(crate) mod releases;
pub(crate) mod reports;
pub(crate) mod search;
pub(crate) mod shop;
pub(crate) mod shoppers;
pub(crate) mod tags;
pub(crate) mod tasks;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post, put};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;

use crate::config::Config;
use crate::edge::{self, Admission, Class};
use crate::house::House;
use crate::pages;
use crate::pages::assets;
use crate::problem::ProblemBody;

/// What every handler sees.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    pub config: Config,
    pub house: House,
    pub started: Instant,
    pub shelf: shop::Shelf,
    pub shadow: search::Shadow,
}

impl App {
    pub(crate) fn new(config: Config, house: House) -> Self {
        Self(Arc::new(Shared { config, house, started: Instant::now(), shelf: shop::Shelf::default(), shadow: search::Shadow::default() }))
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The whole HTTP service.
pub(crate) fn router(app: App) -> Router {
    metrics::counter!("gotham_unavailable_shown_total").increment(0);
    let in_class = |class: Class, routes: Router<App>| routes.layer(from_fn_with_state(Admission::new(class, &app.config), edge::admit));
    Router::new()
        .merge(in_class(Class::Serving, serving()))
        .merge(in_class(Class::Events, Router::new().route("/v1/events", post(events::record))))
        .merge(in_class(Class::Write, writes()))
        .merge(in_class(Class::Bulk, bulk()))
        .merge(in_class(Class::Stream, Router::new().route("/v1/tasks/{id}/events", get(tasks::events))))
        .merge(in_class(Class::Operations, operations()))
        .layer(CatchPanicLayer::custom(edge::panicked))
        .layer(map_response(plain))
        .layer(from_fn_with_state(app.clone(), edge::edge))
        .with_state(app)
}

/// The panic layer has a body type of its own.
async fn plain(response: Response) -> Response {
    response
}

fn serving() -> Router<App> {
    Router::new()
        .route("/", get(pages::store::root))
        .route("/store", get(pages::store::browse).post(pages::store::by_photo))
        .route("/store/p/{id}", get(pages::store::detail))
        .route("/assets/{name}", get(assets::asset))
        .route("/v1/search", get(search::simple).post(search::full))
        .route("/v1/search:look", post(search::full_look))
        .route("/v1/suggest", get(search::suggest))
        .route("/v1/attributes", get(search::attributes))
        .route("/v1/products", get(products::list))
        .route("/v1/products/{id}", get(products::one))
        .route("/v1/products/{id}/similar", get(search::similar))
        .route("/v1/products/{id}/tags", get(tags::of_product))
        .route("/v1/tags", post(tags::of_picture))
        .route("/console/tags", post(pages::tags::try_out))
        .route("/v1/products/{id}/variants", get(products::variants))
        .route("/v1/products/{id}/image", get(products::image))
        .route("/v1/products/{id}/bought-together", get(recommend::bought_together))
        .route("/v1/products/{id}/also-viewed", get(recommend::also_viewed))
        .route("/v1/products/{id}/complete-the-look", get(recommend::complete_the_look))
        .route("/v1/recommendations", get(recommend::simple).post(recommend::recommend))
        .route("/v1/sessions/{id}", get(shoppers::session))
}

fn writes() -> Router<App> {
    Router::new()
        .route("/v1/products/{id}", put(products::put).patch(products::patch).delete(products::delete))
        .route("/v1/products/{id}/tags", put(tags::correct).delete(tags::withdraw))
        .route("/console/tags/judge", post(pages::tags::judge))
        .route("/v1/availability/{id}", put(availability::put))
        .route("/v1/tasks/{id}", post(tasks::act))
        .route("/v1/queues/{name}", post(operations::act_on_queue))
        .route("/v1/users:merge", post(shoppers::merge))
        .route("/v1/releases", post(releases::create))
        .route("/v1/models/{name}", post(releases::act))
        .route("/v1/experiments/{name}", put(experiments::put).delete(experiments::delete))
}

fn bulk() -> Router<App> {
    Router::new()
        .route("/v1/feeds", post(feeds::create))
        .route("/v1/products:batch", post(feeds::products_batch))
        .route("/v1/products:export", get(products::export))
        .route("/v1/availability:batch", post(availability::batch))
        .route("/v1/users/{id}", get(shoppers::user).delete(shoppers::erase))
        .route("/v1/lab:replay", post(experiments::replay))
}

fn operations() -> Router<App> {
    Router::new()
        .route("/livez", get(operations::livez))
        .route("/readyz", get(operations::readyz))
        .route("/version", get(operations::version))
        .route("/metrics", get(operations::metrics_text))
        .route("/openapi.json", get(operations::openapi_json))
        .route("/docs", get(pages::docs::docs))
        .route("/console", get(pages::console::console))
        .route("/console/search", get(pages::search::panel))
        .route("/console/reports", get(pages::reports::daily))
        .route("/console/tags", get(pages::tags::panel))
        .route("/v1/vocabulary", get(tags::known::vocabulary))
        .route("/v1/tags/review", get(tags::known::review))
        .route("/v1/reports/daily", get(reports::daily))
        .route("/v1/reports/days", get(reports::days))
        .route("/v1/reports/attribution", get(reports::attribution))
        .route("/v1/experiments", get(experiments::list))
        .route("/v1/experiments/{name}/results", get(experiments::results))
        .route("/console/feeds/{id}", get(pages::console::feed))
        .route("/v1/registry", get(operations::registry))
        .route("/v1/config", get(operations::config))
        .route("/v1/models", get(releases::models))
        .route("/v1/models/{name}/shadow-report", get(releases::shadow_report))
        .route("/v1/queues/{name}/dead-letters", get(operations::dead_letters))
        .route("/v1/feeds/{id}", get(feeds::one))
        .route("/v1/feeds/{id}/rejects", get(feeds::rejects))
        .route("/v1/feeds/{id}/report", get(feeds::report))
        .route("/v1/tasks", get(tasks::list))
        .route("/v1/tasks/{id}", get(tasks::one))
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Gotham", description = "A self-hosted retail appliance: feeds and shopper events in; search, recommendations, personal answers and reports out."),
    paths(
        search::simple, search::full, search::full_look, search::similar, search::suggest, search::attributes,
        products::list, products::one, products::put, products::patch, products::delete, products::variants, products::image, products::export,
        availability::put, availability::batch,
        feeds::create, feeds::products_batch, feeds::one, feeds::rejects, feeds::report,
        tasks::list, tasks::one, tasks::events, tasks::cancel,
        tags::of_picture, tags::of_product, tags::correct, tags::withdraw, tags::known::vocabulary, tags::known::review,
        events::record,
        recommend::recommend, recommend::simple, recommend::bought_together, recommend::also_viewed, recommend::complete_the_look,
        shoppers::user, shoppers::erase, shoppers::merge, shoppers::session,
        reports::daily, reports::days, reports::attribution,
        experiments::list, experiments::put, experiments::delete, experiments::results, experiments::replay,
        operations::livez, operations::readyz, operations::version, operations::metrics_text, operations::openapi_json,
        operations::registry, operations::config, operations::dead_letters, operations::redrive,
        releases::models, releases::create, releases::promote, releases::activate, releases::hold, releases::rollback, releases::retire, releases::shadow_report,
    ),
    components(schemas(ProblemBody, recommend::LogicName, reports::Format)),
    tags(
        (name = "search", description = "Ranked answers: by words, picture, product or vector"),
        (name = "products", description = "The catalog, one product or all of them"),
        (name = "availability", description = "Price and stock alone: visible everywhere within a second"),
        (name = "feeds", description = "Whole catalogs and changes, read in the background"),
        (name = "events", description = "What shoppers do: durable when acknowledged, and in the next answer"),
        (name = "recommendations", description = "What to show this shopper, beside this product, for this cart"),
        (name = "shoppers", description = "All that is held of a shopper, login, erasure, sessions"),
        (name = "reports", description = "The day in numbers, and what lists brought"),
        (name = "experiments", description = "Which way to answer is better, and what another one would have shown"),
        (name = "models", description = "Which models answer, and how a new set of them takes office"),
        (name = "tags", description = "What pictures show, as values of a vocabulary's attributes; corrections win and teach"),
        (name = "tasks", description = "How far background work is"),
        (name = "operations", description = "Health, metrics, queues, settings"),
    )
)]
struct Contract;

/// The contract, OpenAPI 3.1, as JSON with a line break at the end: what `/openapi.json` answers and `data/openapi.json` holds.
pub fn openapi() -> String {
    let mut document = Contract::openapi();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let mut json = document.to_pretty_json().expect("the contract holds strings, numbers and lists alone");
    json.push('\n');
    json
}
