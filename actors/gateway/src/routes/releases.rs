//! Models and releases: what is installed, who is live, and the orders that change it.

use axum::Json;
use axum::extract::{Path, Request, State};
use kit::Context;
use protocol::experiments::{Arm, Experiment, WEIGHT_MAX};
use protocol::registry::RegistryMsg;
use protocol::releases::{Command, Definition, IndexSettings, Ledger, Order, Rank, RankChange, Release, Rules, Settings};
use protocol::vision::{Build, EngineStatus, ModelInfo, Space};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::edge::Ctx;
use crate::extract::{self, JsonBody};
use crate::problem::{self, Answer, Problem};
use crate::routes::App;
use crate::routes::search::{self, COMPARISON, ShadowReport};
use crate::schema::rfc3339;

/// Whose order it is where nobody says so.
const ANYBODY: &str = "operator";

/// A model that a release can be made of.
#[derive(Serialize, ToSchema)]
pub(crate) struct KnownModel {
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub model: ModelInfo,
    /// Whether its files are there: `gotham model pull` fetches them.
    pub is_installed: bool,
}

/// A release, its rank and how far its vectors are.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReleaseState {
    pub name: String,
    /// `constable`, `inspector`, `assistant_commissioner`, `commissioner`.
    #[schema(value_type = String)]
    pub rank: Rank,
    /// Whether it takes part in nothing for now.
    pub is_held: bool,
    /// Of those who ask, as assistant commissioner.
    pub share: f32,
    /// Since when rank and hold are so.
    pub since: String,
    pub created_at: String,
    pub fingerprint: String,
    #[schema(value_type = Option<Object>)]
    pub image_model: Option<ModelInfo>,
    #[schema(value_type = Option<Object>)]
    pub text_model: Option<ModelInfo>,
    /// `recall_target`, `graph_degree`, `graph_rows_min`.
    #[schema(value_type = Object)]
    pub index: IndexSettings,
    /// `words_weight`, `some_words_weight`, `image_weight`, `text_weight`, `fact_precision`.
    #[schema(value_type = Object)]
    pub rules: Rules,
    /// Fingerprint of the vocabulary that tags are made with.
    pub vocabulary: String,
    /// Whether all vectors of all its models are there and indexed, so that it may serve.
    pub is_complete: bool,
    /// Whether a rollback of the live release brings this one back.
    pub is_predecessor: bool,
    /// By model: `name`, `space`, `dimensions`, `fingerprint`, `is_loaded`, `done`, `total`, `behind`, `failed`, `is_complete`.
    #[schema(value_type = Vec<Object>)]
    pub builds: Vec<Build>,
}

/// A change of rank.
#[derive(Serialize, ToSchema)]
pub(crate) struct Promotion {
    pub at: String,
    pub release: String,
    /// Absent for a new release.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub from: Option<Rank>,
    /// Absent for one that retired.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub to: Option<Rank>,
    pub is_held: bool,
    pub by: String,
    pub reason: String,
}

/// Models and releases.
#[derive(Serialize, ToSchema)]
pub(crate) struct Models {
    /// The live ones: `name`, `space`, `dimensions`, `fingerprint`.
    #[schema(value_type = Vec<Object>)]
    pub models: Vec<ModelInfo>,
    /// How those in memory do: `name`, `space`, `device`, `fallback`, `memory_bytes`, `batch_max`, `out_of_memory`, `per_second`,
    /// `query_p50_ms`, `query_p99_ms`.
    #[schema(value_type = Vec<Object>)]
    pub engines: Vec<EngineStatus>,
    /// All that a release can be made of.
    pub known: Vec<KnownModel>,
    pub releases: Vec<ReleaseState>,
    /// Changes of rank, the latest first.
    pub history: Vec<Promotion>,
}

impl ReleaseState {
    fn of(app: &App, release: &Release, ledger: &Ledger, builds: &[Build]) -> Self {
        let Settings { index, rules, vocabulary } = release.definition.settings.clone();
        let own: Vec<Build> =
            release.definition.models().filter_map(|model| builds.iter().find(|build| build.model == *model)).cloned().collect();
        Self {
            name: release.name.clone(),
            rank: release.rank,
            is_held: release.is_held,
            share: release.share,
            since: rfc3339(release.since_ms),
            created_at: rfc3339(release.created_at_ms),
            fingerprint: release.fingerprint.clone(),
            image_model: release.definition.image_model.clone(),
            text_model: release.definition.text_model.clone(),
            index,
            rules,
            vocabulary,
            is_complete: is_complete(app, release, ledger, builds),
            is_predecessor: ledger.predecessors.last() == Some(&release.name),
            builds: own,
        }
    }
}

fn is_complete(app: &App, release: &Release, ledger: &Ledger, builds: &[Build]) -> bool {
    ledger.is_complete(release, builds, |model, settings| app.house.searcher.is_indexed(model, settings))
}

/// The live release and the assistant commissioner as an experiment: the log knows who answered whom.
pub(crate) fn comparison(ledger: &Ledger) -> Option<Experiment> {
    let (live, assistant) = ledger.commissioner().zip(ledger.on_duty(Rank::AssistantCommissioner))?;
    let weight = (assistant.share * WEIGHT_MAX as f32) as u32;
    let arm = |release: &Release, weight: u32| Arm { name: release.name.clone(), weight, ..Arm::default() };
    let arms = vec![arm(live, WEIGHT_MAX - weight.min(WEIGHT_MAX)), arm(assistant, weight)];
    Some(Experiment { name: COMPARISON.to_owned(), arms, salt: String::new(), is_active: true, placements: Vec::new() })
}

/// All releases as they are now.
pub(crate) fn states(app: &App) -> Vec<ReleaseState> {
    let (ledger, builds) = (app.house.releases.ledger(), app.house.vision.builds());
    ledger.releases.iter().map(|release| ReleaseState::of(app, release, &ledger, &builds)).collect()
}

async fn known(app: &App) -> Answer<Vec<(ModelInfo, bool)>> {
    let vision = app.house.vision.clone();
    tokio::task::spawn_blocking(move || vision.known()).await.map_err(Problem::internal)
}

/// The live models, all that are known, the releases with their ranks and progress, and the changes of rank.
#[utoipa::path(get, path = "/v1/models", tag = "models", responses((status = 200, body = Models)))]
pub(crate) async fn models(State(app): State<App>) -> Answer<Json<Models>> {
    let known = known(&app).await?.into_iter().map(|(model, is_installed)| KnownModel { model, is_installed }).collect();
    let history = app.house.releases.ledger().history.iter().rev().cloned().map(promotion).collect();
    Ok(Json(Models { models: app.house.vision.models(), engines: app.house.vision.engines(), known, releases: states(&app), history }))
}

fn promotion(RankChange { at_ms, release, from, to, is_held, by, reason }: RankChange) -> Promotion {
    Promotion { at: rfc3339(at_ms), release, from, to, is_held, by, reason }
}

/// What a new release is made of.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleaseBody {
    /// Letters, digits, `-`, `_`, `.`; never given to another definition.
    name: String,
    /// By name; the live release's where none is given.
    #[serde(default)]
    image_model: Option<String>,
    /// By name; the live release's where none is given.
    #[serde(default)]
    text_model: Option<String>,
    /// How vectors are indexed and searched; the live release's in what is not given.
    #[serde(default)]
    index: IndexBody,
    /// How parts of a search are weighed and when a tag is a fact; the live release's in what is not given.
    #[serde(default)]
    rules: RulesBody,
    /// The shop's own attributes, TOML as the file of `vision.tags.vocabulary_file`, laid over the built-in ones; empty for those alone.
    /// The live release's vocabulary where none is given.
    #[serde(default)]
    vocabulary: Option<String>,
    /// Who makes it.
    #[serde(default)]
    by: Option<String>,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// How vectors are indexed and searched.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct IndexBody {
    /// 0.95, 0.99 or 0.999; to 1 every row is compared.
    recall_target: Option<f32>,
    /// Neighbours of a row in a graph, 8 to 96: another number is another index over the same vectors.
    graph_degree: Option<u32>,
    /// Rows that are searched without a graph, likewise.
    graph_rows_min: Option<u32>,
}

/// How parts of a search are weighed, and when a tag is a fact.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RulesBody {
    /// Of keywords, where products have all of the words.
    words_weight: Option<f32>,
    /// Of keywords, where none has all of them.
    some_words_weight: Option<f32>,
    /// Of likeness to pictures.
    image_weight: Option<f32>,
    /// Of likeness to texts.
    text_weight: Option<f32>,
    /// A tag is a fact where it is right at least this often, 0.5 to 1.
    fact_precision: Option<f64>,
}

impl IndexBody {
    fn over(self, live: IndexSettings) -> Answer<IndexSettings> {
        let settings = IndexSettings {
            recall_target: self.recall_target.unwrap_or(live.recall_target),
            graph_degree: self.graph_degree.unwrap_or(live.graph_degree),
            graph_rows_min: self.graph_rows_min.unwrap_or(live.graph_rows_min),
        };
        sound("/index", settings.problems()).map(|()| settings)
    }
}

impl RulesBody {
    fn over(self, live: Rules) -> Answer<Rules> {
        let rules = Rules {
            words_weight: self.words_weight.unwrap_or(live.words_weight),
            some_words_weight: self.some_words_weight.unwrap_or(live.some_words_weight),
            image_weight: self.image_weight.unwrap_or(live.image_weight),
            text_weight: self.text_weight.unwrap_or(live.text_weight),
            fact_precision: self.fact_precision.unwrap_or(live.fact_precision),
        };
        sound("/rules", rules.problems()).map(|()| rules)
    }
}

fn sound(within: &str, problems: Vec<(&'static str, String)>) -> Answer<()> {
    let first = problems.into_iter().next();
    first.map_or(Ok(()), |(field, detail)| Err(Problem::field(format!("{within}/{field}"), "out_of_range", detail)))
}

/// Makes a release: immutable, a constable, built in the background. The same again changes nothing.
#[utoipa::path(post, path = "/v1/releases", tag = "models", request_body = ReleaseBody, responses((status = 200, body = ReleaseState), (status = 409, body = crate::problem::ProblemBody), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn create(State(app): State<App>, Ctx(context): Ctx, JsonBody(body): JsonBody<ReleaseBody>) -> Answer<Json<ReleaseState>> {
    let ReleaseBody { name, image_model, text_model, index, rules, vocabulary, by, reason } = body;
    let known = known(&app).await?;
    let live = app.house.releases.ledger().commissioner().map(|live| live.definition.clone()).unwrap_or_default();
    let pick = |wanted: Option<String>, space: Space| match wanted {
        None => Ok(live.model(space).cloned()),
        Some(wanted) => by_name(&known, space, &wanted).map(Some),
    };
    let (image_model, text_model) = (pick(image_model, Space::Image)?, pick(text_model, Space::Text)?);
    let (index, rules) = (index.over(live.settings.index)?, rules.over(live.settings.rules)?);
    let vocabulary = match vocabulary {
        Some(own) => app.house.tagger.keep_vocabulary(own).await?,
        None => live.settings.vocabulary.clone(),
    };
    let definition = Definition { image_model, text_model, settings: Settings { index, rules, vocabulary } };
    give(&app, &context, name, Order::Create(definition), (by, reason)).await
}

fn by_name(known: &[(ModelInfo, bool)], space: Space, name: &str) -> Answer<ModelInfo> {
    let pointer = format!("/{}_model", space.as_str());
    let of_space = known.iter().filter(|(model, _)| model.space == space);
    match of_space.clone().find(|(model, _)| model.name == name) {
        Some((model, true)) => Ok(model.clone()),
        Some(_) => Err(Problem::field(pointer, "not_installed", format!("`{name}` is not installed: run `gotham model pull`"))),
        None => {
            let names: Vec<&str> = of_space.map(|(model, _)| model.name.as_str()).collect();
            Err(Problem::field(
                pointer,
                "unknown_model",
                format!("no {} model is called `{name}`; there are: {}", space.as_str(), names.join(", ")),
            ))
        }
    }
}

/// How a rank changes.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OrderBody {
    /// `inspector`, `assistant_commissioner` or `commissioner`; by default the next rank, or the same for one that is held.
    #[schema(value_type = Option<String>)]
    to: Option<Rank>,
    /// Of an assistant commissioner: the share of those who ask, above 0 and at most 1.
    share: Option<f32>,
    /// Let it serve although not all its vectors are there.
    force: bool,
    /// Who gives the order.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// `POST /v1/models/{name}:promote` and the like: routes know no suffixes, so the verb is taken off here.
pub(crate) async fn act(
    State(app): State<App>,
    Ctx(context): Ctx,
    Path(segment): Path<String>,
    request: Request,
) -> Answer<Json<ReleaseState>> {
    let Some((name, verb)) = segment.rsplit_once(':') else {
        return Err(Problem::not_found("such action; releases know `:promote`, `:activate`, `:hold`, `:rollback` and `:retire`"));
    };
    let bytes = extract::read_body(request).await?;
    let body: OrderBody = if bytes.is_empty() { OrderBody::default() } else { extract::parse_json(&bytes)? };
    match verb {
        "promote" => promote(&app, &context, name, body).await,
        "activate" => promote(&app, &context, name, OrderBody { to: Some(Rank::Commissioner), ..body }).await,
        "hold" => give(&app, &context, name.to_owned(), Order::Hold, (body.by, body.reason)).await,
        "rollback" => give(&app, &context, name.to_owned(), Order::Rollback, (body.by, body.reason)).await,
        "retire" => give(&app, &context, name.to_owned(), Order::Retire, (body.by, body.reason)).await,
        _ => Err(Problem::not_found("such action; releases know `:promote`, `:activate`, `:hold`, `:rollback` and `:retire`")),
    }
}

/// Raises a release by a rank, or to the one named: at once, with the next question. The live release before it is held and kept up.
#[utoipa::path(post, path = "/v1/models/{name}:promote", tag = "models", params(("name" = String, Path)), request_body = OrderBody, responses((status = 200, body = ReleaseState), (status = 404, body = crate::problem::ProblemBody), (status = 409, body = crate::problem::ProblemBody)))]
async fn promote(app: &App, context: &Context, name: &str, body: OrderBody) -> Answer<Json<ReleaseState>> {
    let (ledger, builds) = (app.house.releases.ledger(), app.house.vision.builds());
    let is_complete = ledger.get(name).is_some_and(|release| is_complete(app, release, &ledger, &builds));
    let order = Order::Promote { to: body.to, share: body.share, is_complete, force: body.force };
    give(app, context, name.to_owned(), order, (body.by, body.reason)).await
}

/// Makes a release live: `:promote` to commissioner.
#[utoipa::path(post, path = "/v1/models/{name}:activate", tag = "models", params(("name" = String, Path)), request_body = OrderBody, responses((status = 200, body = ReleaseState), (status = 404, body = crate::problem::ProblemBody), (status = 409, body = crate::problem::ProblemBody)))]
#[expect(dead_code, reason = "describes the call in the contract; `act` answers it")]
pub(crate) fn activate() {}

/// A release keeps its rank and its vectors and takes part in nothing.
#[utoipa::path(post, path = "/v1/models/{name}:hold", tag = "models", params(("name" = String, Path)), request_body = OrderBody, responses((status = 200, body = ReleaseState), (status = 404, body = crate::problem::ProblemBody), (status = 409, body = crate::problem::ProblemBody)))]
#[expect(dead_code, reason = "describes the call in the contract; `act` answers it")]
pub(crate) fn hold() {}

/// The live release gives way to the one before it, at once; any other is a constable again.
#[utoipa::path(post, path = "/v1/models/{name}:rollback", tag = "models", params(("name" = String, Path)), request_body = OrderBody, responses((status = 200, body = ReleaseState), (status = 404, body = crate::problem::ProblemBody), (status = 409, body = crate::problem::ProblemBody)))]
#[expect(dead_code, reason = "describes the call in the contract; `act` answers it")]
pub(crate) fn rollback() {}

/// A release that is not live goes for good, with its vectors.
#[utoipa::path(post, path = "/v1/models/{name}:retire", tag = "models", params(("name" = String, Path)), request_body = OrderBody, responses((status = 200, body = ReleaseState), (status = 404, body = crate::problem::ProblemBody), (status = 409, body = crate::problem::ProblemBody)))]
#[expect(dead_code, reason = "describes the call in the contract; `act` answers it")]
pub(crate) fn retire() {}

/// Has Wayne follow an order, and gives the release as it is then; one that retired as it was.
async fn give(
    app: &App,
    context: &Context,
    name: String,
    order: Order,
    (by, reason): (Option<String>, Option<String>),
) -> Answer<Json<ReleaseState>> {
    let before = states(app).into_iter().find(|release| release.name == name);
    let command = Command { name: name.clone(), order, by: by.unwrap_or_else(|| ANYBODY.to_owned()), reason: reason.unwrap_or_default() };
    let followed = app.house.wayne.call(context, |reply| RegistryMsg::Command { command, reply }).await?;
    let ledger = followed.map_err(|error| problem::storage(&error))??;
    let builds = app.house.vision.builds();
    let after = ledger.get(&name).map(|release| ReleaseState::of(app, release, &ledger, &builds));
    after.or(before).map(Json).ok_or_else(|| Problem::not_found(format!("release `{name}`")))
}

/// How an inspector's answers compare with the live release's: overlap of the first 10 and 50, agreement in order, time of both; where
/// it makes tags in another way, how far they agree.
#[utoipa::path(get, path = "/v1/models/{name}/shadow-report", tag = "models", params(("name" = String, Path)), responses((status = 200, body = ShadowReport), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn shadow_report(State(app): State<App>, Path(name): Path<String>) -> Answer<Json<ShadowReport>> {
    if app.house.releases.ledger().get(&name).is_none() {
        return Err(Problem::not_found(format!("release `{name}`")));
    }
    let report = search::shadow_report(&app, &name);
    report.map(Json).ok_or_else(|| Problem::not_found("shadow report yet: nothing was mirrored to this release"))
}
