//! Shoppers: all that is held of one, login, erasure; and sessions.

use axum::Json;
use axum::extract::{Path, State};
use domain::{Erasure, Event, EventKind, Shopper};
use protocol::personalize::ProfileSummary;
use protocol::session::SessionState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{self, JsonBody};
use crate::problem::{Answer, Problem};
use crate::routes::{App, events};
use crate::schema::rfc3339;

/// All that is held of a user beside the recorded events.
#[derive(Serialize, ToSchema)]
pub(crate) struct User {
    pub id: String,
    /// History, cart and searches over all sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub history: Option<SessionState>,
    /// What was learned of the user's taste.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub profile: Option<ProfileSummary>,
}

/// A session as its events tell it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    pub id: String,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub state: SessionState,
}

/// What an erasure can be referred to by.
#[derive(Serialize, ToSchema)]
pub(crate) struct Erased {
    pub receipt: String,
    /// The user and every visitor and session known to be them.
    pub shoppers: Vec<String>,
    pub erased_at: String,
    /// Whether no answer knows them any more. The recorded events lose their names as soon as every follower has passed this point.
    pub is_seen: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MergeBody {
    /// The anonymous visitor, ...
    visitor_id: String,
    /// ... who turned out to be this user.
    user_id: String,
}

/// What became of a login.
#[derive(Serialize, ToSchema)]
pub(crate) struct Merged {
    pub visitor_id: String,
    pub user_id: String,
    /// Whether answers for the user from now on know what the visitor did.
    pub is_seen: bool,
}

/// All that is held of a user. The recorded events themselves are in the warehouse's files (`gotham export events`).
#[utoipa::path(get, path = "/v1/users/{id}", tag = "shoppers", params(("id" = String, Path)), responses((status = 200, body = User), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn user(State(app): State<App>, Path(id): Path<String>) -> Answer<Json<User>> {
    let id = extract::name(id, "")?;
    let (house, shopper) = (app.house.clone(), Shopper::user(&id));
    let read = move || (house.sessions.shopper(&shopper), house.personalizer.profile(&shopper));
    let (history, profile) = tokio::task::spawn_blocking(read).await.map_err(Problem::internal)?;
    if history.is_none() && profile.is_none() {
        return Err(Problem::not_found("such user"));
    }
    Ok(Json(User { id, history: history.map(|history| (*history).clone()), profile }))
}

/// Forgets a user: history, cart, profile and kept answers at once, and every visitor and session known to be the user. What was
/// counted of products alone stays.
#[utoipa::path(delete, path = "/v1/users/{id}", tag = "shoppers", params(("id" = String, Path)), responses((status = 200, body = Erased), (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn erase(State(app): State<App>, Path(id): Path<String>) -> Answer<Json<Erased>> {
    let id = extract::name(id, "")?;
    let (log, user) = (app.house.log.clone(), id.clone());
    let known = tokio::task::spawn_blocking(move || log.known_as(&user)).await.map_err(Problem::internal)?;
    let mut shoppers = known.map_err(|error| events::unstored(&error))?;
    if !shoppers.contains(&Shopper::user(&id)) {
        shoppers.insert(0, Shopper::user(&id));
    }
    let at_ms = app.house.clock.now_ms();
    let receipt = Uuid::now_v7().to_string();
    let erasure = Erasure { shoppers: shoppers.clone(), at_ms, receipt: receipt.clone() };
    let end = app.house.log.erase(erasure).await.map_err(|error| events::unstored(&error))?;
    app.house.cache.erase(&shoppers);
    let is_seen = events::seen(&app, end).await;
    metrics::counter!("gotham_events_erasures_total").increment(1);
    Ok(Json(Erased { receipt, shoppers: shoppers.iter().map(ToString::to_string).collect(), erased_at: rfc3339(at_ms), is_seen }))
}

/// A visitor logged in: what was gathered for the visitor is the user's from now on.
#[utoipa::path(post, path = "/v1/users:merge", tag = "shoppers", request_body = MergeBody, responses((status = 200, body = Merged), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn merge(State(app): State<App>, JsonBody(body): JsonBody<MergeBody>) -> Answer<Json<Merged>> {
    let visitor_id = extract::name(body.visitor_id, "/visitor_id")?;
    let user_id = extract::name(body.user_id, "/user_id")?;
    let now_ms = app.house.clock.now_ms();
    let event = Event {
        visitor: Some(visitor_id.clone()),
        user: Some(user_id.clone()),
        ..Event::new(Uuid::now_v7().to_string(), EventKind::Identify, now_ms)
    };
    let appended = app.house.log.append(vec![event]).await.map_err(|error| events::unstored(&error))?;
    let is_seen = events::seen(&app, appended.end).await;
    Ok(Json(Merged { visitor_id, user_id, is_seen }))
}

/// A session's history, cart and searches.
#[utoipa::path(get, path = "/v1/sessions/{id}", tag = "shoppers", params(("id" = String, Path)), responses((status = 200, body = Session), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn session(State(app): State<App>, Path(id): Path<String>) -> Answer<Json<Session>> {
    let id = extract::name(id, "")?;
    let (house, key) = (app.house.clone(), id.clone());
    let state = tokio::task::spawn_blocking(move || house.sessions.session(&key)).await.map_err(Problem::internal)?;
    let state = state.ok_or_else(|| Problem::not_found("such session"))?;
    Ok(Json(Session { id, state: (*state).clone() }))
}
