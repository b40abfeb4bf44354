//! Learning from the catalog's own labelled products and from what people said.

use std::sync::Arc;
use std::time::Instant;

use attributes::{Label, Measurements, Row, TeachSettings, Vocabulary, ZeroShot};
use domain::{ContentHash, ProductId};
use protocol::vision::{Embedding, Space};
use store::StoreError;

use super::follower::Follower;
use super::pace::Rows;
use super::records::{KeptCorrections, KeptLesson, TeacherMark};
use super::shared::{Maker, Making, Shared, Teacher, labels_in};
use super::words::Words;
use super::{keep, measure};

/// Labelled products needed to learn anything.
pub(crate) const ROWS_MIN: u64 = attributes::teacher::ROWS_MIN as u64;

/// One labelled product with all that is learned from.
pub(crate) struct Lesson {
    product: ProductId,
    group: u64,
    embedding: Arc<[f32]>,
    measurements: Option<Measurements>,
    labels: Vec<Label>,
}

impl Lesson {
    fn row(&self) -> Row<'_> {
        let Self { product, group, embedding, measurements, labels } = self;
        Row { product: product.as_str(), group: *group, embedding, measurements: measurements.as_ref(), labels }
    }

    /// The value of an attribute; a person's word goes before the catalog's.
    fn said(&self, attribute: &str) -> Option<&str> {
        let own = self.labels.iter().filter(|label| label.attribute == attribute);
        own.max_by_key(|label| label.human).map(|label| label.value.as_str())
    }
}

/// What is learned of a product: what people said stands in place of the catalog's label.
pub(crate) fn taught_labels(mut stated: Vec<Label>, said: Option<&KeptCorrections>) -> Vec<Label> {
    for correction in said.iter().flat_map(|said| &said.corrections) {
        stated.retain(|label| label.attribute != correction.attribute);
        let human =
            correction.value.iter().map(|value| Label { attribute: correction.attribute.clone(), value: value.clone(), human: true });
        stated.extend(human);
    }
    stated
}

/// Learns, and puts what was learned in force, with the words that are known by now. Where nothing can be learned, what was learned before
/// stays.
pub(crate) fn learn(follower: &mut Follower) -> Result<(), StoreError> {
    let started = Instant::now();
    let shared = Arc::clone(&follower.shared);
    let maker = shared.maker.load_full();
    let (making, vocabulary) = (maker.making.clone(), Arc::clone(&maker.vocabulary));
    let vectors = |id: &ProductId| {
        let mut vectors = shared.vision.vectors(id.as_str(), Space::Image);
        // Another release may have taken office since.
        vectors.retain(|picture| *picture.fingerprint == *making.model);
        vectors
    };
    let (lessons, seen) = collect(follower, &vocabulary, vectors)?;
    // Whatever comes of these rows, they are not learned from again.
    follower.lessons.taught(Some(seen));
    let words = words(&shared, &making, &vocabulary, &lessons);
    let teacher = taught(&shared, &making, &vocabulary, (&lessons, seen), words.as_deref());
    if let Some(teacher) = &teacher {
        let seconds = started.elapsed().as_secs_f64();
        metrics::histogram!("gotham_tags_teach_seconds").record(seconds);
        metrics::gauge!("gotham_tags_rows_taught").set(seen.count as f64);
        tracing::info!(rows = lessons.len(), attributes = teacher.mark.lessons.len(), seconds, "tags were learned");
    }
    let teacher = teacher.or_else(|| maker.teacher.clone());
    shared.maker.store(Arc::new(Maker::new(making, vocabulary, teacher, words)));
    Ok(())
}

/// The directions of words, old or new, checked on what is labelled.
fn words(shared: &Shared, making: &Making, vocabulary: &Vocabulary, lessons: &[Lesson]) -> Option<Arc<Words>> {
    let answered = || Some(shared.answered.load().as_ref().filter(|answered| answered.is_for(making))?.zero_shot.clone());
    let known = shared.maker.load().words.as_ref().map(|words| words.zero_shot.clone());
    let mut zero_shot: ZeroShot = known.or_else(answered)?;
    for attribute in vocabulary.attributes() {
        let rows: Vec<(&[f32], &str)> =
            lessons.iter().filter_map(|lesson| Some((&lesson.embedding[..], lesson.said(&attribute.name)?))).collect();
        zero_shot.calibrate(&attribute.name, &rows, making.precision);
    }
    let words = Words::new(zero_shot);
    if let Err(error) = keep::save_words(shared, making, &words) {
        // In force all the same: after a restart they are asked for again.
        tracing::error!(%error, "words could not be written");
    }
    Some(Arc::new(words))
}

/// What is learned of these products in this way, kept on disk; `None` where they teach nothing.
pub(crate) fn taught(
    shared: &Shared,
    making: &Making,
    vocabulary: &Vocabulary,
    (lessons, seen): (&[Lesson], Rows),
    words: Option<&Words>,
) -> Option<Arc<Teacher>> {
    if (lessons.len() as u64) < ROWS_MIN {
        return None;
    }
    let rows: Vec<Row<'_>> = lessons.iter().map(Lesson::row).collect();
    let settings = TeachSettings { precision: making.precision, threads: shared.config.threads(), ..TeachSettings::default() };
    let zero_shot = words.map(|words| &words.zero_shot);
    let (taught, learned) = attributes::teach_with(zero_shot, vocabulary, &making.model, &rows, &settings)
        .inspect_err(|error| tracing::warn!(%error, rows = rows.len(), "nothing was learned"))
        .ok()?;
    let state = taught.save();
    let lessons = learned.into_iter().map(|lesson| KeptLesson {
        attribute: lesson.attribute,
        rows: lesson.rows as u64,
        classes: lesson.classes as u64,
        threshold: lesson.threshold,
        accuracy: lesson.quality.accuracy,
        coverage: lesson.quality.coverage,
        precision: lesson.quality.precision,
        calibration_error: lesson.quality.calibration_error,
    });
    let mark = TeacherMark {
        model: making.model.clone(),
        vocabulary: vocabulary.fingerprint().to_owned(),
        rows_digest: seen.digest,
        rows: seen.count,
        corrections_digest: seen.corrections,
        taught_at_ms: shared.clock.now_ms(),
        state: ContentHash::of(&state).0,
        lessons: lessons.collect(),
    };
    if let Err(error) = keep::save(shared, making, &mark, &state) {
        // In force all the same: after a restart it is learned again.
        tracing::error!(%error, "what was learned could not be written");
    }
    Some(Arc::new(Teacher { taught, mark }))
}

/// Every product that is labelled in this vocabulary and has a vector, or as many as are learned from at most: those that people
/// corrected, and a fixed part of the others.
pub(crate) fn collect(
    follower: &Follower,
    vocabulary: &Vocabulary,
    vectors: impl Fn(&ProductId) -> Vec<Embedding>,
) -> Result<(Vec<Lesson>, Rows), StoreError> {
    let shared = &follower.shared;
    let (catalog, corrections) = (shared.catalog.snapshot(), shared.all_corrections()?);
    // Whether a product is labelled is known in the vocabulary in force.
    let is_known = *vocabulary == *shared.vocabulary();
    let mut ids: Vec<(bool, ContentHash, &ProductId)> = follower
        .known
        .iter()
        .filter(|(_, known)| known.is_labelled || !is_known)
        .map(|(id, _)| (!corrections.contains_key(id), ContentHash::of(id.as_str().as_bytes()), id))
        .collect();
    ids.sort_unstable_by_key(|(is_taught, place, _)| (*is_taught, place.0));
    let mut lessons = Vec::with_capacity(ids.len().min(shared.config.teach_rows_max));
    for (_, _, id) in ids {
        if lessons.len() == shared.config.teach_rows_max {
            break;
        }
        let (Some(known), Some(revision)) = (follower.known.get(id), catalog.get(id.as_str())) else { continue };
        let Some(picture) = vectors(id).into_iter().find(|picture| picture.content == known.content) else { continue };
        let labels = taught_labels(labels_in(vocabulary, &revision.product), corrections.get(id));
        if labels.is_empty() {
            continue;
        }
        // Equal pictures and variants of one product are one group.
        let group = match &revision.product.group_id {
            Some(group) => ContentHash::of(group.as_bytes()).0,
            None => known.content.0,
        };
        let group = u64::from_le_bytes([group[0], group[1], group[2], group[3], group[4], group[5], group[6], group[7]]);
        let measurements = measure::kept(shared, known.content)?;
        lessons.push(Lesson { product: id.clone(), group, embedding: picture.vector, measurements, labels });
    }
    Ok((lessons, follower.lessons.seen()))
}

#[cfg(test)]
mod tests {
    use super::super::records::KeptCorrection;
    use super::*;

    #[test]
    fn what_people_said_stands_in_place_of_the_catalogs_label() {
        let label = |attribute: &str, value: &str, human| Label { attribute: attribute.into(), value: value.into(), human };
        let said = |attribute: &str, value: Option<&str>| KeptCorrection {
            attribute: attribute.into(),
            value: value.map(str::to_owned),
            by: String::new(),
            at_ms: 0,
        };
        let stated = vec![label("colour", "red", false), label("heel", "flat", false), label("season", "summer", false)];
        let kept = KeptCorrections { catalog_version: 0, corrections: vec![said("colour", Some("blue")), said("heel", None)] };
        assert_eq!(taught_labels(stated.clone(), Some(&kept)), [label("season", "summer", false), label("colour", "blue", true)]);
        assert_eq!(taught_labels(stated.clone(), None), stated);
    }
}
