//! What the inspector on duty would say of the catalog's pictures, beside what the live release says: learned from the inspector's own
//! vectors, told of a sample of products, and written nowhere. What was learned is kept, so that it is in force at once when the
//! inspector rises. Pictures are measured as they are for the live release.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{ContentHash, ProductId};
use protocol::releases::{Rank, Release};
use protocol::tags::{AttributeAgreement, Tag, TagAgreement};
use protocol::vision::{ModelInfo, Space};
use store::StoreError;

use super::follower::Follower;
use super::shared::{Maker, Making, Shared};
use super::{keep, lesson, measure};

/// Products that both are asked about, at most: spread over the catalog by the hash of their ids.
const SAMPLE_MAX: usize = 500;
/// A comparison stands for so long, if the live release has not learned since.
const INTERVAL_MS: i64 = 600_000;
/// After one that came to nothing, for want of vectors or labels.
const RETRY_MS: i64 = 30_000;

/// Who was compared last, and when the next time is.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// The inspector's fingerprint and the live release's version of tags.
    pair: (String, String),
    next_ms: i64,
}

/// Compares, where there is an inspector that makes tags in another way, and it is time.
pub(crate) fn look(follower: &mut Follower) -> Result<(), StoreError> {
    let shared = Arc::clone(&follower.shared);
    let (ledger, live) = (shared.releases.ledger(), shared.maker.load_full());
    let inspector = ledger.on_duty(Rank::Inspector).zip(ledger.commissioner());
    let asked = inspector.and_then(|(inspector, commissioner)| {
        let (making, model) = making_of(&shared, inspector)?;
        (making != live.making).then_some((inspector, commissioner, making, model))
    });
    let Some((inspector, commissioner, making, model)) = asked else {
        shared.agreement.store(None);
        return Ok(());
    };
    let (now_ms, pair) = (shared.clock.now_ms(), (inspector.fingerprint.clone(), live.version.clone()));
    let is_other = follower.compared.pair.0 != pair.0;
    if is_other {
        shared.agreement.store(None);
    } else if now_ms < follower.compared.next_ms {
        return Ok(());
    }
    let attributes = match teacher_of(follower, &making, &model)? {
        Some(shadow) => compare(follower, &live, &shadow, &model)?,
        None => None,
    };
    let wait_ms = if attributes.is_some() { INTERVAL_MS } else { RETRY_MS };
    follower.compared = Compared { pair, next_ms: shared.clock.now_ms().saturating_add(wait_ms) };
    if let Some((products, attributes)) = attributes {
        let (release, compared_with) = (inspector.name.clone(), commissioner.name.clone());
        let fingerprint = inspector.fingerprint.clone();
        shared.agreement.store(Some(Arc::new(TagAgreement { release, fingerprint, compared_with, at_ms: now_ms, products, attributes })));
    }
    Ok(())
}

/// How a release would have tags made; `None` where its image model is not installed.
fn making_of(shared: &Shared, release: &Release) -> Option<(Making, ModelInfo)> {
    let model = release.definition.model(Space::Image).filter(|model| shared.vision.kept().contains(model))?;
    let settings = &release.definition.settings;
    let (vocabulary, precision) = (settings.vocabulary.clone(), settings.rules.fact_precision);
    Some((Making { model: model.fingerprint.clone(), vocabulary, precision }, model.clone()))
}

/// What was learned in this way, or is now; `None` where there is nothing to learn from.
fn teacher_of(follower: &Follower, making: &Making, model: &ModelInfo) -> Result<Option<Maker>, StoreError> {
    let shared = &follower.shared;
    let vocabulary = shared.vocabularies.get(&making.vocabulary);
    let known = keep::load(shared, making, &vocabulary).filter(|teacher| teacher.mark.rows_digest == follower.lessons.seen().digest);
    let words = keep::load_words(shared, making).map(Arc::new);
    let teacher = match known {
        Some(teacher) => Some(teacher),
        None => {
            let vectors = |id: &ProductId| shared.vision.vectors_by(model, id.as_str());
            let (lessons, seen) = lesson::collect(follower, &vocabulary, vectors)?;
            lesson::taught(shared, making, &vocabulary, (&lessons, seen), words.as_deref())
        }
    };
    Ok(teacher.map(|teacher| Maker::new(making.clone(), vocabulary, Some(teacher), words)))
}

/// Asks both about the sample. How many products that were; `None` where none has vectors by both.
fn compare(
    follower: &Follower,
    live: &Maker,
    shadow: &Maker,
    model: &ModelInfo,
) -> Result<Option<(usize, Vec<AttributeAgreement>)>, StoreError> {
    let shared = &follower.shared;
    let mut sample: Vec<(ContentHash, &ProductId)> =
        follower.known.keys().map(|id| (ContentHash::of(id.as_str().as_bytes()), id)).collect();
    sample.sort_unstable_by_key(|(place, _)| place.0);
    let mut found: BTreeMap<&str, AttributeAgreement> = BTreeMap::new();
    let mut products = 0;
    for (_, id) in sample {
        if products == SAMPLE_MAX || shared.is_stopping() {
            break;
        }
        let Some(known) = follower.known.get(id) else { continue };
        let of_live = shared.vision.vectors(id.as_str(), Space::Image).into_iter();
        let of_live = of_live.filter(|picture| *picture.fingerprint == *live.making.model).find(|picture| picture.content == known.content);
        let of_shadow = shared.vision.vectors_by(model, id.as_str()).into_iter().find(|picture| picture.content == known.content);
        let Some((of_live, of_shadow)) = of_live.zip(of_shadow) else { continue };
        let measurements = measure::kept(shared, known.content)?;
        // What the catalog states would be the same for both.
        let said_of = |maker: &Maker, vector| shared.tag(maker, &maker.look(vector, measurements.as_ref(), &[]));
        let tags = [said_of(live, &of_live.vector), said_of(shadow, &of_shadow.vector)];
        products += 1;
        for attribute in live.vocabulary.attributes().iter().filter(|own| shadow.vocabulary.attribute(&own.name).is_some()) {
            found.entry(&attribute.name).or_default().add(tags.each_ref().map(|tags| said(tags, &attribute.name)));
        }
    }
    let in_order = live.vocabulary.attributes().iter().filter_map(|own| Some((own.name.clone(), found.remove(own.name.as_str())?)));
    let attributes = in_order.map(|(attribute, agreement)| AttributeAgreement { attribute, ..agreement }).collect();
    Ok((products > 0).then_some((products, attributes)))
}

/// The best guess of an attribute, and whether it is a fact.
fn said<'a>(tags: &'a [Tag], attribute: &str) -> Option<(&'a str, bool)> {
    tags.iter().find(|tag| tag.attribute == attribute).map(|tag| (tag.value.as_str(), tag.is_fact))
}
