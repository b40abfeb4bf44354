//! From what is asked to what Batman takes: words and vectors. What cannot be embedded is left out and named, never an error, unless
//! it is the caller's mistake.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{Filter, ProductId};
use kit::Context;
use protocol::search::SearchQuery;
use protocol::vision::{Crop, PictureQuery, Space, VisionError, VisionMsg};

use super::ask::Ask;
use super::body::Mode;
use crate::logic::feedback;
use crate::problem::{Answer, Problem};
use crate::routes::App;

/// Words are answered by keywords alone when the text model takes longer than this.
const TEXT_EMBEDDING_MAX: Duration = Duration::from_millis(1_500);

/// What Batman is asked, and the parts that could not be.
#[derive(Clone, Default)]
pub(crate) struct Prepared {
    pub query: SearchQuery,
    pub degraded: Vec<&'static str>,
}

/// Everything of a query but `limit`, `offset`.
pub(crate) async fn prepare(app: &App, context: &Context, ask: &Ask) -> Answer<Prepared> {
    let mut prepared = Prepared { query: plain(app, ask), degraded: Vec::new() };
    if let Some(bytes) = &ask.image {
        let picture = PictureQuery { bytes: bytes.clone(), crop: ask.crop };
        let vector =
            embed_pictures(app, context, vec![picture]).await?.pop().ok_or_else(|| Problem::internal("no answer for a picture"))?;
        prepared.query.vectors.push((Space::Image, vector.map_err(|error| picture_problem(error, "/box"))?));
    }
    if let Some(text) = &ask.text {
        let vector = if ask.mode == Mode::Keyword { None } else { embed_text(app, context, text).await };
        // Meaning alone, without a model for it, is better answered by keywords than not at all.
        prepared.query.words = (ask.mode != Mode::Meaning || vector.is_none()).then(|| text.clone());
        prepared.query.cut_off = vector.is_some();
        match vector {
            Some(vector) => prepared.query.vectors.push((Space::Text, vector)),
            None if ask.mode != Mode::Keyword => prepared.degraded.push("text_embedding"),
            None => {}
        }
    }
    if let Some(vector) = &ask.vector {
        prepared.query.vectors.push(given(app, vector)?);
    }
    if let Some(product) = &ask.product {
        match own_vector(app, product).await? {
            Some(own) => prepared.query.vectors.push(own),
            None => prepared.degraded.push("not_embedded"),
        }
    }
    if !ask.positive.is_empty() || !ask.negative.is_empty() {
        move_towards(app, ask, &mut prepared).await?;
    }
    Ok(prepared)
}

/// One vector for each box of the picture, from one message.
pub(crate) async fn prepare_look(app: &App, context: &Context, ask: &Ask, crops: &[Crop]) -> Answer<Vec<Prepared>> {
    let bytes = ask.image.clone().unwrap_or_default();
    let pictures = crops.iter().map(|crop| PictureQuery { bytes: bytes.clone(), crop: Some(*crop) }).collect();
    let vectors = embed_pictures(app, context, pictures).await?;
    if vectors.len() != crops.len() {
        return Err(Problem::internal("not every box was answered"));
    }
    let prepared = vectors.into_iter().enumerate().map(|(index, vector)| {
        let mut query = plain(app, ask);
        query.vectors.push((Space::Image, vector.map_err(|error| picture_problem(error, &format!("/boxes/{index}")))?));
        Ok(Prepared { query, degraded: Vec::new() })
    });
    prepared.collect()
}

/// What needs no embedding.
fn plain(app: &App, ask: &Ask) -> SearchQuery {
    SearchQuery {
        language: ask.language.clone(),
        colour: ask.colour,
        filter: filter(ask),
        only_available: !ask.include_unavailable,
        exclude: excluded(app, ask),
        facets: ask.facets.clone(),
        sort: ask.sort.clone(),
        boost: ask.boost.clone(),
        group_by: ask.group_by.clone(),
        diversity: ask.diversity.clone(),
        is_exact: ask.is_exact,
        explain: ask.explain,
        explain_missing: ask.explain_missing.clone(),
        ..SearchQuery::default()
    }
}

/// The filter that was given, and every attribute that is asked for in place of the product's own.
fn filter(ask: &Ask) -> Option<Filter> {
    let asked = |(attribute, values): &(String, Vec<String>)| Filter::In { attribute: attribute.clone(), values: values.clone() };
    let mut all: Vec<Filter> = ask.filter.iter().cloned().chain(ask.overrides.iter().map(asked)).collect();
    if all.len() > 1 { Some(Filter::All(all)) } else { all.pop() }
}

/// What is never shown: what the caller names, examples, the product asked with and its group. Asked for with another value of an
/// attribute, the group stays: its members are what the filter looks for.
fn excluded(app: &App, ask: &Ask) -> Vec<ProductId> {
    let mut excluded: Vec<ProductId> = [&ask.exclude, &ask.positive, &ask.negative].into_iter().flatten().cloned().collect();
    if let Some(product) = &ask.product {
        excluded.push(product.clone());
        if ask.overrides.is_empty() {
            let catalog = app.house.catalog.snapshot();
            let group = catalog.get(product.as_str()).and_then(|revision| revision.product.group_id.clone());
            excluded.extend(group.map(|group| catalog.group(&group)).unwrap_or_default());
        }
    }
    excluded.sort_unstable();
    excluded.dedup();
    excluded
}

type Vectors = Vec<Result<Arc<[f32]>, VisionError>>;

async fn embed_pictures(app: &App, context: &Context, images: Vec<PictureQuery>) -> Answer<Vectors> {
    let answers = app.house.nightwing.call(context, |reply| VisionMsg::EmbedImages { images, reply }).await?;
    Ok(answers.into_iter().map(|answer| answer.map(|embedding| embedding.vector)).collect())
}

/// A mistake in a box is told apart from one in the picture.
fn picture_problem(error: VisionError, pointer: &str) -> Problem {
    match error {
        VisionError::BadPicture { code: code @ ("crop_outside_picture" | "crop_too_small"), detail } => {
            Problem::field(pointer, code, detail)
        }
        other => other.into(),
    }
}

async fn embed_text(app: &App, context: &Context, text: &str) -> Option<Arc<[f32]>> {
    if !app.house.vision.models().iter().any(|model| model.space == Space::Text) {
        return None;
    }
    let context = context.with_timeout(TEXT_EMBEDDING_MAX.min(context.remaining()));
    let texts = vec![text.to_owned()];
    let answers: Result<Vec<Result<_, VisionError>>, _> =
        app.house.nightwing.call(&context, |reply| VisionMsg::EmbedTexts { texts, space: Space::Text, reply }).await;
    answers.ok()?.into_iter().next()?.ok().map(|embedding| embedding.vector)
}

/// A vector as the caller gives it belongs to the model that makes vectors of its width.
fn given(app: &App, vector: &[f32]) -> Answer<(Space, Arc<[f32]>)> {
    let models = app.house.vision.models();
    let refused = |detail: String| Problem::field("/vector", "invalid_vector", detail);
    let model = models.iter().find(|model| model.dimensions == vector.len());
    let model = model.ok_or_else(|| refused(format!("no loaded model has vectors of {} numbers", vector.len())))?;
    let vector = feedback::normalised(vector).ok_or_else(|| refused("must hold finite numbers that are not all zero".to_owned()))?;
    Ok((model.space, vector.into()))
}

/// The vector of the product's main picture, or else of its text.
async fn own_vector(app: &App, product: &ProductId) -> Answer<Option<(Space, Arc<[f32]>)>> {
    let (vision, product) = (app.house.vision.clone(), product.clone());
    let read = move || {
        let first = |space: Space| vision.vectors(product.as_str(), space).into_iter().next().map(|embedding| (space, embedding.vector));
        first(Space::Image).or_else(|| first(Space::Text))
    };
    tokio::task::spawn_blocking(read).await.map_err(Problem::internal)
}

/// One mean vector a product, by space.
type Means = BTreeMap<Space, Vec<Vec<f32>>>;

/// Rocchio, space by space: what is asked in a space is moved; a space in which nothing is asked is asked for the liked examples.
async fn move_towards(app: &App, ask: &Ask, prepared: &mut Prepared) -> Answer<()> {
    let (vision, liked, disliked) = (app.house.vision.clone(), ask.positive.clone(), ask.negative.clone());
    let read = move || {
        let means = |ids: &[ProductId]| -> Means {
            let of = |space: Space| {
                let one = |id: &ProductId| feedback::mean(vision.vectors(id.as_str(), space).iter().map(|own| own.vector.as_ref()));
                (space, ids.iter().filter_map(one).collect())
            };
            Space::ALL.into_iter().map(of).collect()
        };
        (means(&liked), means(&disliked))
    };
    let (positive, negative) = tokio::task::spawn_blocking(read).await.map_err(Problem::internal)?;
    if positive.values().chain(negative.values()).all(Vec::is_empty) {
        prepared.degraded.push("not_embedded");
    }
    for space in Space::ALL {
        let (positive, negative) = (&positive[&space], &negative[&space]);
        let is_asked = prepared.query.vectors.iter().any(|(asked, _)| *asked == space);
        if !is_asked {
            prepared.query.vectors.extend(feedback::rocchio(None, positive, negative).map(|vector| (space, vector.into())));
        }
        for (_, vector) in prepared.query.vectors.iter_mut().filter(|(asked, _)| is_asked && *asked == space) {
            if let Some(moved) = feedback::rocchio(Some(&**vector), positive, negative) {
                *vector = moved.into();
            }
        }
    }
    Ok(())
}
