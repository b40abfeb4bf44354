//! Tags: what pictures show, what is known of a product, and what people say of it.

pub(crate) mod known;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Request, State};
use bytes::Bytes;
use protocol::tags::{CORRECTOR_CHARS_MAX, NamedColour, ObjectTags, PictureTags, ProductTags, Refusal, Tag, TagError, TagSource, Verdict};
use protocol::vision::{Crop, PictureQuery};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::edge::Ctx;
use crate::extract::{self, JsonBody, Params, media_type};
use crate::problem::{Answer, FieldError, Problem, storage};
use crate::routes::search::{self, escaped, listed};
use crate::routes::{App, products};
use crate::schema::rfc3339;

/// Who corrects, where nobody is named.
const CORRECTOR_DEFAULT: &str = "api";

/// One value of one attribute.
#[derive(Serialize, ToSchema)]
#[schema(as = Tag)]
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
    pub(crate) fn of(tag: &Tag) -> Self {
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
#[schema(as = Colour)]
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
#[schema(as = TagCorrection)]
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
#[schema(as = ProductTags)]
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
            TagError::Vocabulary(detail) => Self::field("/vocabulary", "invalid_vocabulary", detail),
            TagError::Storage(_) => storage(&error),
        }
    }
}

/// A picture to tag.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = PictureToTag)]
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
#[schema(as = FoundObject)]
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
#[schema(as = TaggedObject)]
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
#[schema(as = PictureTags)]
pub(crate) struct PictureTagsDoc {
    pub request_id: String,
    pub model_version: String,
    /// What the given box holds, or the main object: where it is small by itself and in its surroundings, else by the whole picture.
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
