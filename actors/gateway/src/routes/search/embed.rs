//! From what is asked to what Batman takes: words and vectors. What cannot be embedded is left out and named, never an error, unless
//! it is the caller's mistake.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{Filter, ProductId};
use futures_util::future::join_all;
use kit::Context;
use protocol::search::{QueryVector, SearchQuery};
use protocol::vision::{Crop, Embedding, ModelInfo, PictureQuery, Space, VisionError, VisionMsg};

use super::ask::Ask;
use super::body::Mode;
use super::release::Answering;
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

/// Everything of a query but `limit`, `offset`; every vector is by the models of one release.
pub(crate) async fn prepare(app: &App, context: &Context, ask: &Ask, answering: &Answering) -> Answer<Prepared> {
    let mut prepared = Prepared { query: plain(app, ask, answering), degraded: Vec::new() };
    if let Some(bytes) = &ask.image {
        let picture = PictureQuery { bytes: bytes.clone(), crop: ask.crop };
        let vector = embed_pictures(app, context, answering, vec![picture])
            .await?
            .pop()
            .ok_or_else(|| Problem::internal("no answer for a picture"))?;
        prepared.query.vectors.push(vector.map_err(|error| picture_problem(error, "/box"))?);
    }
    if let Some(text) = &ask.text {
        let vectors = if ask.mode == Mode::Keyword { Vec::new() } else { embed_text(app, context, answering, text).await };
        // Meaning alone, without a model for it, is better answered by keywords than not at all.
        prepared.query.words = (ask.mode != Mode::Meaning || vectors.is_empty()).then(|| text.clone());
        prepared.query.cut_off = !vectors.is_empty();
        if vectors.is_empty() && ask.mode != Mode::Keyword {
            prepared.degraded.push("text_embedding");
        }
        prepared.query.vectors.extend(vectors);
    }
    if let Some(vector) = &ask.vector {
        prepared.query.vectors.push(given(answering, vector)?);
    }
    if let Some(product) = &ask.product {
        match own_vector(app, answering, product).await? {
            Some(own) => prepared.query.vectors.push(own),
            None => prepared.degraded.push("not_embedded"),
        }
    }
    if !ask.positive.is_empty() || !ask.negative.is_empty() {
        move_towards(app, ask, answering, &mut prepared).await?;
    }
    Ok(prepared)
}

/// One vector for each box of the picture, from one message.
pub(crate) async fn prepare_look(app: &App, context: &Context, ask: &Ask, crops: &[Crop], answering: &Answering) -> Answer<Vec<Prepared>> {
    let bytes = ask.image.clone().unwrap_or_default();
    let pictures = crops.iter().map(|crop| PictureQuery { bytes: bytes.clone(), crop: Some(*crop) }).collect();
    let vectors = embed_pictures(app, context, answering, pictures).await?;
    if vectors.len() != crops.len() {
        return Err(Problem::internal("not every box was answered"));
    }
    let prepared = vectors.into_iter().enumerate().map(|(index, vector)| {
        let mut query = plain(app, ask, answering);
        query.vectors.push(vector.map_err(|error| picture_problem(error, &format!("/boxes/{index}")))?);
        Ok(Prepared { query, degraded: Vec::new() })
    });
    prepared.collect()
}

/// What needs no embedding.
fn plain(app: &App, ask: &Ask, answering: &Answering) -> SearchQuery {
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
        by: answering.settings(),
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

type Vectors = Vec<Result<QueryVector, VisionError>>;

fn of_query(space: Space, embedding: Embedding) -> QueryVector {
    QueryVector { space, fingerprint: embedding.fingerprint, vector: embedding.vector }
}

async fn embed_pictures(app: &App, context: &Context, answering: &Answering, images: Vec<PictureQuery>) -> Answer<Vectors> {
    let model = answering.model(Space::Image).ok_or(VisionError::NoModel(Space::Image))?;
    let model = Some(Arc::from(model.fingerprint.as_str()));
    let answers = app.house.nightwing.call(context, |reply| VisionMsg::EmbedImages { images, model, reply }).await?;
    Ok(answers.into_iter().map(|answer| answer.map(|embedding| of_query(Space::Image, embedding))).collect())
}

/// A mistake in a box is told apart from one in the picture.
pub(crate) fn picture_problem(error: VisionError, pointer: &str) -> Problem {
    match error {
        VisionError::BadPicture { code: code @ ("crop_outside_picture" | "crop_too_small"), detail } => {
            Problem::field(pointer, code, detail)
        }
        other => other.into(),
    }
}

/// The words in every space whose model reads them: among the texts, and, by a model with a tower for each, among the pictures.
async fn embed_text(app: &App, context: &Context, answering: &Answering, text: &str) -> Vec<QueryVector> {
    let context = &context.with_timeout(TEXT_EMBEDDING_MAX.min(context.remaining()));
    let embed = |model: &ModelInfo| {
        let (space, texts, model) = (model.space, vec![text.to_owned()], Some(Arc::from(model.fingerprint.as_str())));
        async move {
            let answers: Result<Vec<Result<_, VisionError>>, _> =
                app.house.nightwing.call(context, |reply| VisionMsg::EmbedTexts { texts, space, model, reply }).await;
            answers.ok()?.into_iter().next()?.ok().map(|embedding| of_query(space, embedding))
        }
    };
    let reading = answering.models().iter().filter(|model| model.reads_texts);
    join_all(reading.map(embed)).await.into_iter().flatten().collect()
}

/// A vector as the caller gives it belongs to the model that makes vectors of its width.
fn given(answering: &Answering, vector: &[f32]) -> Answer<QueryVector> {
    let refused = |detail: String| Problem::field("/vector", "invalid_vector", detail);
    let model = answering.models().iter().find(|model| model.dimensions == vector.len());
    let model = model.ok_or_else(|| refused(format!("no loaded model has vectors of {} numbers", vector.len())))?;
    let vector = feedback::normalised(vector).ok_or_else(|| refused("must hold finite numbers that are not all zero".to_owned()))?;
    Ok(QueryVector::new(model.space, model.fingerprint.as_str(), vector))
}

/// The vector of the product's main picture, or else of its text.
async fn own_vector(app: &App, answering: &Answering, product: &ProductId) -> Answer<Option<QueryVector>> {
    let (vision, product) = (app.house.vision.clone(), product.clone());
    let models: Vec<ModelInfo> = Space::ALL.into_iter().filter_map(|space| answering.model(space).cloned()).collect();
    let first = move |model: &ModelInfo| {
        let own = vision.vectors_by(model, product.as_str()).into_iter().next();
        own.map(|embedding| of_query(model.space, embedding))
    };
    tokio::task::spawn_blocking(move || models.iter().find_map(first)).await.map_err(Problem::internal)
}

/// One mean vector a product, by space.
type Means = BTreeMap<Space, Vec<Vec<f32>>>;

/// Rocchio, space by space: what is asked in a space is moved; a space in which nothing is asked is asked for the liked examples.
async fn move_towards(app: &App, ask: &Ask, answering: &Answering, prepared: &mut Prepared) -> Answer<()> {
    let (vision, liked, disliked) = (app.house.vision.clone(), ask.positive.clone(), ask.negative.clone());
    let models = answering.models().to_vec();
    let read = move || {
        let means = |ids: &[ProductId]| -> Means {
            let of = |model: &ModelInfo| {
                let one = |id: &ProductId| feedback::mean(vision.vectors_by(model, id.as_str()).iter().map(|own| own.vector.as_ref()));
                (model.space, ids.iter().filter_map(one).collect())
            };
            models.iter().map(of).collect()
        };
        (means(&liked), means(&disliked))
    };
    let (positive, negative) = tokio::task::spawn_blocking(read).await.map_err(Problem::internal)?;
    if positive.values().chain(negative.values()).all(Vec::is_empty) {
        prepared.degraded.push("not_embedded");
    }
    for model in answering.models() {
        let (positive, negative) = (&positive[&model.space], &negative[&model.space]);
        let is_asked = prepared.query.vectors.iter().any(|asked| asked.space == model.space);
        if !is_asked {
            let asked = feedback::rocchio(None, positive, negative);
            prepared.query.vectors.extend(asked.map(|vector| QueryVector::new(model.space, model.fingerprint.as_str(), vector)));
        }
        for asked in prepared.query.vectors.iter_mut().filter(|asked| is_asked && asked.space == model.space) {
            if let Some(moved) = feedback::rocchio(Some(&*asked.vector), positive, negative) {
                asked.vector = moved.into();
            }
        }
    }
    Ok(())
}
