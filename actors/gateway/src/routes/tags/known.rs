//! The vocabulary, how well it is known, and what people might look at.

use axum::Json;
use axum::extract::State;
use protocol::tags::{AttributeReport, LessonReport, REVIEW_MAX, TagProgress};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::TagDoc;
use crate::extract::Params;
use crate::problem::{Answer, Problem};
use crate::routes::App;
use crate::schema::{image_path, rfc3339};

const REVIEW_DEFAULT: usize = 20;

/// What was learned of an attribute.
#[derive(ToSchema)]
#[schema(as = Lesson)]
#[expect(dead_code, reason = "describes protocol::tags::LessonReport in the contract")]
pub(crate) struct LessonDoc {
    /// Labelled products.
    rows: usize,
    /// Values among them.
    classes: usize,
    /// At this confidence and above a tag is a fact; above 1: never.
    threshold: f32,
    /// Share of right answers on products that had not been learned from.
    accuracy: f64,
    /// Share of answers at or above the threshold.
    coverage: f64,
    /// Share of right ones among those.
    precision: f64,
    /// Mean distance between confidence and accuracy.
    calibration_error: f64,
}

/// One attribute.
#[derive(Serialize, ToSchema)]
#[schema(as = VocabularyAttribute)]
pub(crate) struct AttributeDoc {
    pub name: String,
    /// For people.
    pub title: String,
    /// Labels of the catalog become values of their own.
    pub open: bool,
    /// What measures it: `palette`, `pattern`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<&'static str>,
    /// The catalog's attributes that teach it.
    pub taught_by: Vec<String>,
    pub values: Vec<String>,
    /// What was learned of it, where anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<LessonDoc>)]
    pub lesson: Option<LessonReport>,
}

impl AttributeDoc {
    fn of(report: AttributeReport) -> Self {
        let AttributeReport { name, title, is_open, measured, taught_by, values, lesson } = report;
        Self { name, title, open: is_open, measured, taught_by, values, lesson }
    }
}

/// How far tagging is.
#[derive(ToSchema)]
#[schema(as = TagProgress)]
#[expect(dead_code, reason = "describes protocol::tags::TagProgress in the contract")]
pub(crate) struct TagProgressDoc {
    /// Products with a picture.
    products: u64,
    /// Of these tagged by what makes tags now.
    tagged: u64,
    /// Pictures measured since the start.
    measured: u64,
    /// Pictures that could not be measured.
    failed: u64,
    /// Attributes that people corrected.
    corrections: u64,
}

/// The vocabulary and how well it is known.
#[derive(Serialize, ToSchema)]
#[schema(as = Vocabulary)]
pub(crate) struct VocabularyDoc {
    /// What makes tags now.
    pub model_version: String,
    /// When was last learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taught_at: Option<String>,
    /// Labelled products that it was learned from.
    pub rows: usize,
    #[schema(value_type = TagProgressDoc)]
    pub progress: TagProgress,
    pub attributes: Vec<AttributeDoc>,
}

/// What pictures are tagged with: attributes, values, thresholds, and precision and coverage as measured on labelled products.
#[utoipa::path(get, path = "/v1/vocabulary", tag = "tags", responses((status = 200, body = VocabularyDoc)))]
pub(crate) async fn vocabulary(State(app): State<App>) -> Json<VocabularyDoc> {
    Json(known_vocabulary(&app))
}

pub(crate) fn known_vocabulary(app: &App) -> VocabularyDoc {
    let report = app.house.tagger.vocabulary();
    VocabularyDoc {
        model_version: report.model_version,
        taught_at: report.taught_at_ms.map(rfc3339),
        rows: report.rows,
        progress: app.house.tagger.progress(),
        attributes: report.attributes.into_iter().map(AttributeDoc::of).collect(),
    }
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReviewParams {
    /// Of this attribute alone.
    pub attribute: Option<String>,
    /// At most this many items.
    pub limit: Option<usize>,
    /// Leave out the first so many.
    pub offset: usize,
}

/// A suggestion to confirm or correct.
#[derive(Serialize, ToSchema)]
#[schema(as = ReviewItem)]
pub(crate) struct ReviewItemDoc {
    pub product_id: String,
    /// Absent where the product has just gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The address of its picture on this box.
    pub image: String,
    pub suggestion: TagDoc,
}

/// Suggestions that nobody has judged.
#[derive(Serialize, ToSchema)]
#[schema(as = Review)]
pub(crate) struct ReviewDoc {
    /// The least certain first.
    pub items: Vec<ReviewItemDoc>,
    /// The `offset` of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<usize>,
}

/// Suggestions that nobody has judged, the least certain first.
#[utoipa::path(get, path = "/v1/tags/review", tag = "tags", params(ReviewParams), responses((status = 200, body = ReviewDoc), (status = 422, body = crate::problem::ProblemBody)))]
pub(crate) async fn review(State(app): State<App>, Params(params): Params<ReviewParams>) -> Answer<Json<ReviewDoc>> {
    reviewed(&app, params).await.map(Json)
}

pub(crate) async fn reviewed(app: &App, params: ReviewParams) -> Answer<ReviewDoc> {
    let limit = params.limit.unwrap_or(REVIEW_DEFAULT);
    if limit == 0 || limit > REVIEW_MAX {
        return Err(Problem::field("?limit", "out_of_range", format!("must be between 1 and {REVIEW_MAX}")));
    }
    let (tagger, attribute, offset) = (app.house.tagger.clone(), params.attribute, params.offset);
    let page = tokio::task::spawn_blocking(move || tagger.review(attribute.as_deref(), offset, limit)).await.map_err(Problem::internal)?;
    let catalog = app.house.catalog.snapshot();
    let next = page.has_more.then(|| offset + page.items.len());
    let items = page.items.into_iter().map(|item| ReviewItemDoc {
        title: catalog.get(item.product.as_str()).map(|revision| revision.product.title.clone()),
        image: image_path(item.product.as_str(), 0),
        suggestion: TagDoc::of(&item.tag),
        product_id: item.product.to_string(),
    });
    Ok(ReviewDoc { items: items.collect(), next })
}
