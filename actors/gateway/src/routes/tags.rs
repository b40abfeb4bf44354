//! Tags: what pictures show, what is known of a product, and what people say of it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Request, State};
use bytes::Bytes;
use protocol::tags::{
    AttributeReport, CORRECTOR_CHARS_MAX, LessonReport, NamedColour, ObjectTags, PictureTags, ProductTags, REVIEW_MAX, Refusal, Tag,
    TagError, TagProgress, TagSource, Verdict,
};
use protocol::vision::{Crop, PictureQuery};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::edge::Ctx;
use crate::extract::{self, JsonBody, Params, media_type};
use crate::problem::{Answer, FieldError, Problem, storage};
use crate::routes::search::{self, escaped, listed};
use crate::routes::{App, products};
use crate::schema::{image_path, rfc3339};

/// Who corrects, where nobody is named.
const CORRECTOR_DEFAULT: &str = "api";
const REVIEW_DEFAULT: usize = 20;

/// One value of one attribute.
#[derive(Serialize, ToSchema)]
pub(crate) struct TagDoc {
    pub attribute: String,
    pub value: String,
    /// `human` (a person looked), `catalog` (its own attribute or title), `learned` (from labelled products), `measured` (from the
    /// pixels), `zero_shot` (a model that knows pictures and words).
    #[schema(value_type = String)]
    pub source: TagSource,
    /// How often such a tag is right, 0 to 1; 1 where it is stated.
    pub confidence: f32,
    /// At this confidence and above it is a fact; above 1 where none is sure enough; absent where it is stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Ids of the nearest labelled products that have the value.
    pub evidence: Vec<String>,
}

impl TagDoc {
    fn of(tag: &Tag) -> Self {
        Self {
            attribute: tag.attribute.clone(),
            value: tag.value.clone(),
            source: tag.source,
            confidence: tag.confidence,
            threshold: tag.threshold,
            evidence: tag.evidence.iter().map(ToString::to_string).collect(),
        }
    }

    /// Facts and suggestions apart.
    pub(crate) fn apart(tags: &[Tag]) -> (Vec<Self>, Vec<Self>) {
        let of = |is_fact: bool| tags.iter().filter(|tag| tag.is_fact == is_fact).map(Self::of).collect();
        (of(true), of(false))
    }
}

/// One dominant colour.
#[derive(Serialize, ToSchema)]
pub(crate) struct ColourDoc {
    /// `#rrggbb`.
    pub hex: String,
    /// Share of the product, 0 to 1.
    pub share: f32,
}

pub(crate) fn colours(found: &[protocol::tags::Colour]) -> Vec<ColourDoc> {
    let one = |colour: &protocol::tags::Colour| {
        let [red, green, blue] = colour.srgb;
        ColourDoc { hex: format!("#{red:02x}{green:02x}{blue:02x}"), share: colour.share }
    };
    found.iter().map(one).collect()
}

/// A colour's name.
#[derive(ToSchema)]
#[schema(as = NamedColour)]
#[expect(dead_code, reason = "describes protocol::tags::NamedColour in the contract")]
pub(crate) struct NamedColourDoc {
    /// From the vocabulary.
    name: String,
    /// Share of the product, 0 to 1.
    share: f32,
}

/// What a person said.
#[derive(Serialize, ToSchema)]
pub(crate) struct CorrectionDoc {
    pub attribute: String,
    /// `null`: the product has no such attribute.
    pub value: Option<String>,
    /// Who, as they call themselves.
    pub by: String,
    pub at: String,
}

/// Everything that is known of a product.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProductTagsDoc {
    pub product_id: String,
    /// What made them: vocabulary, teacher and image model; empty while the product has not been tagged yet.
    pub model_version: String,
    /// What can be relied on.
    pub facts: Vec<TagDoc>,
    /// What is not sure enough to be told as a fact.
    pub suggestions: Vec<TagDoc>,
    /// Dominant colours of the product without its background, the greatest share first.
    pub colours: Vec<ColourDoc>,
    /// Names of colours, the greatest share first.
    #[schema(value_type = Vec<NamedColourDoc>)]
    pub colour_names: Vec<NamedColour>,
    /// What people said: it wins over everything.
    pub corrections: Vec<CorrectionDoc>,
}

impl ProductTagsDoc {
    pub(crate) fn of(product_id: &str, known: ProductTags) -> Self {
        let (facts, suggestions) = TagDoc::apart(&known.tags);
        let said = known.corrections.into_iter();
        let said = said.map(|said| CorrectionDoc { attribute: said.attribute, value: said.value, by: said.by, at: rfc3339(said.at_ms) });
        Self {
            product_id: product_id.to_owned(),
            model_version: known.model_version,
            facts,
            suggestions,
            colours: colours(&known.colours),
            colour_names: known.colour_names,
            corrections: said.collect(),
        }
    }
}

/// Tags of a product: facts, suggestions, colours, and what people said.
#[utoipa::path(get, path = "/v1/products/{id}/tags", tag = "tags", params(("id" = String, Path)), responses((status = 200, body = ProductTagsDoc), (status = 404, body = crate::problem::ProblemBody)))]
pub(crate) async fn of_product(State(app): State<App>, Path(id): Path<String>) -> Answer<Json<ProductTagsDoc>> {
    products::find(&app, &id)?;
    let (tagger, product) = (app.house.tagger.clone(), id.clone());
    let known = tokio::task::spawn_blocking(move || tagger.product(&product)).await.map_err(Problem::internal)?;
    Ok(Json(ProductTagsDoc::of(&id, known.unwrap_or_default())))
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CorrectParams {
    /// Who corrects.
    by: Option<String>,
}

/// Corrects tags: for each attribute its value, or `null` where the product has no such attribute. Durable when answered; wins over
/// everything, and teaches.
#[utoipa::path(put, path = "/v1/products/{id}/tags", tag = "tags", params(("id" = String, Path), CorrectParams), request_body = BTreeMap<String, Option<String>>,
    responses((status = 200, body = ProductTagsDoc), (status = 404, body = crate::problem::ProblemBody), (status = 422, body = crate::problem::ProblemBody), (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn correct(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(params): Params<CorrectParams>,
    JsonBody(body): JsonBody<BTreeMap<String, Option<String>>>,
) -> Answer<Json<ProductTagsDoc>> {
    let verdicts = body.into_iter().map(|(attribute, value)| (attribute, value.map_or(Verdict::HasNone, Verdict::Is))).collect();
    judge(&app, &id, verdicts, params.by).await.map(Json)
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WithdrawParams {
    /// Whose corrections are taken back, between commas; without it those of every attribute.
    attribute: Option<String>,
    /// Who does it.
    by: Option<String>,
}

/// Takes corrections back: the tags are again what was found.
#[utoipa::path(delete, path = "/v1/products/{id}/tags", tag = "tags", params(("id" = String, Path), WithdrawParams),
    responses((status = 200, body = ProductTagsDoc), (status = 404, body = crate::problem::ProblemBody), (status = 422, body = crate::problem::ProblemBody), (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn withdraw(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(params): Params<WithdrawParams>,
) -> Answer<Json<ProductTagsDoc>> {
    let attributes = match &params.attribute {
        Some(names) => listed(names),
        None => {
            products::find(&app, &id)?;
            let (tagger, product) = (app.house.tagger.clone(), id.clone());
            let known = tokio::task::spawn_blocking(move || tagger.product(&product)).await.map_err(Problem::internal)?;
            let known = known.unwrap_or_default();
            if known.corrections.is_empty() {
                return Ok(Json(ProductTagsDoc::of(&id, known)));
            }
            known.corrections.into_iter().map(|correction| correction.attribute).collect()
        }
    };
    let verdicts = attributes.into_iter().map(|attribute| (attribute, Verdict::Withdrawn)).collect();
    judge(&app, &id, verdicts, params.by).await.map(Json)
}

/// Hands verdicts over; what is refused is named by attribute.
pub(crate) async fn judge(app: &App, id: &str, verdicts: Vec<(String, Verdict)>, by: Option<String>) -> Answer<ProductTagsDoc> {
    let by = by.unwrap_or_else(|| CORRECTOR_DEFAULT.to_owned());
    let chars = by.chars().count();
    if chars == 0 || chars > CORRECTOR_CHARS_MAX || by.chars().any(char::is_control) {
        let detail = format!("must have 1 to {CORRECTOR_CHARS_MAX} characters and no control characters");
        return Err(Problem::field("?by", "invalid_value", detail));
    }
    let product = products::product_id(id)?;
    let known = app.house.tagger.correct(&product, verdicts, by).await?;
    Ok(ProductTagsDoc::of(id, known))
}

impl From<TagError> for Problem {
    fn from(error: TagError) -> Self {
        match error {
            TagError::UnknownProduct => Self::not_found("such product"),
            TagError::Count(_) => Self::field("", "out_of_range", error.to_string()),
            TagError::Refused(refusals) => {
                let one = |Refusal { attribute, code, detail }: Refusal| FieldError {
                    pointer: format!("/{}", escaped(&attribute)),
                    code: code.into(),
                    detail,
                };
                let errors: Vec<FieldError> = refusals.into_iter().map(one).collect();
                let (code, detail) = errors.first().map_or_else(Default::default, |first| (first.code.clone(), first.detail.clone()));
                Self { errors, ..Self::new(http::StatusCode::UNPROCESSABLE_ENTITY, code, detail) }
            }
            TagError::Storage(_) => storage(&error),
        }
    }
}

/// A picture to tag.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PictureBody {
    /// A picture (JPEG, PNG, WebP, GIF), base64 or a data URL.
    pub image: Option<String>,
    /// Where the product is: left, top, width, height as shares (0 to 1) of the picture's width and height.
    #[serde(rename = "box")]
    pub crop: Option<[f32; 4]>,
    /// Tag every object of the picture, too.
    #[serde(default)]
    pub objects: bool,
}

/// Where something is in a picture.
#[derive(Serialize, ToSchema)]
pub(crate) struct FoundDoc {
    /// Left, top, width, height as shares (0 to 1) of the picture's width and height.
    #[serde(rename = "box")]
    pub crop: [f32; 4],
    /// How sure the detector is, 0 to 1.
    pub score: f32,
}

impl FoundDoc {
    fn of(crop: &Crop, score: f32) -> Self {
        Self { crop: [crop.x, crop.y, crop.width, crop.height], score }
    }
}

/// One object and its tags.
#[derive(Serialize, ToSchema)]
pub(crate) struct ObjectDoc {
    #[serde(flatten)]
    pub found: FoundDoc,
    pub facts: Vec<TagDoc>,
    pub suggestions: Vec<TagDoc>,
    pub colours: Vec<ColourDoc>,
    #[schema(value_type = Vec<NamedColourDoc>)]
    pub colour_names: Vec<NamedColour>,
}

impl ObjectDoc {
    fn of(object: ObjectTags) -> Self {
        let (facts, suggestions) = TagDoc::apart(&object.tags);
        Self {
            found: FoundDoc::of(&object.region, object.score),
            facts,
            suggestions,
            colours: colours(&object.colours),
            colour_names: object.colour_names,
        }
    }
}

/// What a picture shows.
#[derive(Serialize, ToSchema)]
pub(crate) struct PictureTagsDoc {
    pub request_id: String,
    pub model_version: String,
    /// The whole picture, or what the given box holds; `box` is where its main object is.
    pub main: ObjectDoc,
    /// Where objects are, the surest first.
    pub found: Vec<FoundDoc>,
    /// Each object tagged by itself, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<ObjectDoc>>,
}

/// Tags any picture now: main object, colours, facts and suggestions with evidence. As JSON, or as `multipart/form-data` with a file `image`.
#[utoipa::path(post, path = "/v1/tags", tag = "tags", request_body(content((PictureBody = "application/json"), (PictureBody = "multipart/form-data"))),
    responses((status = 200, body = PictureTagsDoc), (status = 422, body = crate::problem::ProblemBody), (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn of_picture(State(app): State<App>, Ctx(context): Ctx, request: Request) -> Answer<Json<PictureTagsDoc>> {
    let (body, image): (PictureBody, Option<Bytes>) = match media_type(request.headers()).as_str() {
        "multipart/form-data" => search::from_form(&app, request).await?,
        "application/json" => (extract::parse_json(&extract::read_body(request).await?)?, None),
        _ => return Err(Problem::unsupported_media("this address takes application/json or multipart/form-data")),
    };
    let image = match image {
        Some(image) => image,
        None => {
            let text = body.image.as_deref().ok_or_else(|| Problem::field("/image", "missing", "give a picture"))?;
            search::picture(text)?
        }
    };
    let crop = body.crop.map(|edges| search::crop(edges, "/box")).transpose()?;
    tagged(&app, &context, image, crop, body.objects).await.map(Json)
}

/// Tags a picture.
pub(crate) async fn tagged(app: &App, context: &kit::Context, image: Bytes, crop: Option<Crop>, each: bool) -> Answer<PictureTagsDoc> {
    if image.len() as u64 > app.config.image_bytes_max {
        return Err(Problem::too_large(app.config.image_bytes_max));
    }
    let answer = app.house.tagger.picture(context, PictureQuery { bytes: image, crop }, each).await;
    let PictureTags { model_version, main, found, objects } = answer.map_err(|error| search::picture_problem(error, "/box"))?;
    Ok(PictureTagsDoc {
        request_id: context.request_id.to_string(),
        model_version,
        main: ObjectDoc::of(main),
        found: found.iter().map(|(crop, score)| FoundDoc::of(crop, *score)).collect(),
        objects: each.then(|| objects.into_iter().map(ObjectDoc::of).collect()),
    })
}

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
