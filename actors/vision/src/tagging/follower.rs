//! The tagging thread's work: look through the catalog, measure what is new, learn when it is due, and tag what has changed.
//!
//! Everything is idempotent and bounded by a page: whatever ends a step early leaves records that say what they were made from, and the
//! next step goes on where they end.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use attributes::Label;
use domain::{ContentHash, ProductId};
use protocol::catalog::{CatalogSnapshot, ProductRevision};
use protocol::tags::{FactIndex, Tag};
use protocol::vision::{Embedding, Space, VisionCounts};
use store::{Durability, Keyspace, Op, Record as _, StoreError};

use super::agreement::Compared;
use super::measure::Measured;
use super::pace::{Lessons, Pace, Rows};
use super::records::{KeptCorrections, KeptTags};
use super::review::{self, ReviewList};
use super::shared::{Maker, Making, Shared};
use super::{agreement, convert, keep, lesson, measure};

/// Products of the catalog that are looked at at a time.
const PAGE_PRODUCTS: usize = 256;
/// A product that changed so long ago is in the index as it is.
const SETTLED_MS: i64 = 10_000;
/// Changes that are written together.
const OPS_MAX: usize = 128;

/// The state of the thread; all of it can be made anew.
pub(crate) struct Follower {
    pub(crate) shared: Arc<Shared>,
    index: Arc<dyn FactIndex>,
    pub(crate) known: BTreeMap<ProductId, Known>,
    pub(crate) lessons: Lessons,
    pub(crate) compared: Compared,
    pace: Pace,
    seen: Option<Seen>,
    surveys: u64,
    /// Whether tags may differ from what makes them now.
    is_stale: bool,
}

/// A product with a picture.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Its first picture.
    pub(crate) content: ContentHash,
    measured: Measured,
    /// Of what the catalog says.
    labels: u64,
    /// Whether it can be learned from.
    pub(crate) is_labelled: bool,
    /// What its tags were made from, where it has been tagged.
    tagged: Option<[u8; 16]>,
    /// Attributes without a fact, by place in the vocabulary, and how sure their first suggestion is.
    unsure: Vec<(u8, f32)>,
    survey: u64,
}

/// What shows that something may have changed.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    catalog: u64,
    vision: VisionCounts,
    making: Making,
    corrected: u64,
}

/// A product whose tags are about to be on disk, from which inputs, and how unsure each attribute is.
type Written = (ProductId, [u8; 16], Vec<(u8, f32)>);

impl Follower {
    pub(crate) fn new(shared: Arc<Shared>, index: Arc<dyn FactIndex>) -> Self {
        Self {
            shared,
            index,
            known: BTreeMap::new(),
            lessons: Lessons::default(),
            compared: Compared::default(),
            pace: Pace::default(),
            seen: None,
            surveys: 0,
            is_stale: true,
        }
    }

    /// Does what is due by the clock.
    pub(crate) fn step(&mut self) -> Result<(), StoreError> {
        let now_ms = self.shared.clock.now_ms();
        let seen = self.look();
        if self.seen.as_ref() != Some(&seen) {
            self.pace.changed(now_ms);
            self.seen = Some(seen.clone());
        }
        self.make_by(&seen.making);
        if seen.making.model.is_empty() {
            return Ok(());
        }
        let is_due = self.pace.is_due(now_ms);
        if is_due {
            self.pace.starts(now_ms);
            let rows = self.survey()?;
            self.pace.ended(self.shared.clock.now_ms());
            let Some(rows) = rows else { return Ok(()) };
            self.lessons.sees(rows, now_ms);
        }
        if self.surveys == 0 || self.shared.is_stopping() {
            return Ok(());
        }
        let (times, started_ms) = (self.shared.config.times(), self.shared.clock.now_ms());
        if self.has_new_words() || self.lessons.is_due(lesson::ROWS_MIN, started_ms, times) {
            lesson::learn(self)?;
            self.lessons.ended(started_ms, self.shared.clock.now_ms(), times);
            self.is_stale = true;
        }
        if is_due || self.is_stale {
            self.tag_all()?;
            self.count();
        }
        self.tell();
        agreement::look(self)
    }

    fn look(&self) -> Seen {
        let shared = &self.shared;
        Seen {
            catalog: shared.catalog.snapshot().version(),
            vision: shared.vision.counts(),
            making: shared.making(),
            corrected: shared.counts.corrected.load(Ordering::Relaxed),
        }
    }

    /// Tags are made so from now on, and with what was learned so before.
    fn make_by(&mut self, making: &Making) {
        let before = self.shared.maker.load_full();
        if before.making == *making {
            return;
        }
        let vocabulary = self.shared.vocabularies.get(&making.vocabulary);
        if vocabulary != before.vocabulary {
            // Labels are read in other words, and colours have other names: everything is looked at anew.
            self.known.clear();
            self.surveys = 0;
            self.pace = Pace::default();
        }
        let teacher = keep::load(&self.shared, making, &vocabulary);
        self.lessons.taught(teacher.as_ref().map(|teacher| Rows {
            count: teacher.mark.rows,
            digest: teacher.mark.rows_digest,
            corrections: teacher.mark.corrections_digest,
        }));
        let words = keep::load_words(&self.shared, making).map(Arc::new);
        self.shared.maker.store(Arc::new(Maker::new(making.clone(), vocabulary, teacher, words)));
        self.is_stale = true;
    }

    /// Whether words have come that are not in force yet.
    fn has_new_words(&self) -> bool {
        let maker = self.shared.maker.load();
        maker.words.is_none() && self.shared.answered.load().as_ref().is_some_and(|answered| answered.is_for(&maker.making))
    }

    /// Looks through the whole catalog and measures new pictures. What there is to learn from; `None` where there is no catalog yet, or
    /// the thread is to end.
    pub(crate) fn survey(&mut self) -> Result<Option<Rows>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let catalog = shared.catalog.snapshot();
        if catalog.is_empty() && catalog.version() == 0 {
            return Ok(None);
        }
        let corrections = shared.all_corrections()?;
        let said: usize = corrections.values().map(|kept| kept.corrections.len()).sum();
        shared.counts.corrections.store(said as u64, Ordering::Relaxed);
        let number = self.surveys + 1;
        let mut rows = Rows::default();
        let mut after: Option<ProductId> = None;
        loop {
            let page = catalog.page(after.as_ref().map(ProductId::as_str), PAGE_PRODUCTS);
            let Some(last) = page.last() else { break };
            after = Some(last.product.id.clone());
            let mut ops = Vec::new();
            for revision in &page {
                if shared.is_stopping() {
                    return Ok(None);
                }
                ops.extend(self.look_at(revision, corrections.get(&revision.product.id), number, &mut rows)?);
                self.write(&mut ops, OPS_MAX)?;
            }
            self.write(&mut ops, 1)?;
        }
        self.surveys = number;
        self.known.retain(|_, known| known.survey == number);
        self.forget(catalog.as_ref(), &corrections)?;
        self.is_stale = true;
        Ok(Some(rows))
    }

    fn look_at(
        &mut self,
        revision: &ProductRevision,
        said: Option<&KeptCorrections>,
        survey: u64,
        rows: &mut Rows,
    ) -> Result<Option<Op>, StoreError> {
        let product = &revision.product;
        let Some(picture) = self.shared.vision.vectors(product.id.as_str(), Space::Image).into_iter().next() else { return Ok(None) };
        let content = picture.content;
        let before = self.known.get(&product.id).filter(|known| known.content == content);
        let (measured, op) = match before {
            Some(known) if known.measured != Measured::Missing => (known.measured, None),
            _ => measure::ensure(&self.shared, product.id.as_str(), content)?,
        };
        let stated = self.shared.labels(product);
        let taught = lesson::taught_labels(stated.clone(), said);
        let is_labelled = !taught.is_empty();
        if is_labelled {
            rows.count += 1;
            // Added up, so that the order does not matter.
            rows.digest = rows.digest.wrapping_add(digest(&(product.id.as_str(), &content.0, measured == Measured::Yes), &taught));
        }
        for correction in said.iter().flat_map(|said| &said.corrections) {
            let one = [Label { attribute: correction.attribute.clone(), value: correction.value.clone().unwrap_or_default(), human: true }];
            rows.corrections = rows.corrections.wrapping_add(digest(&(product.id.as_str(), &content.0, correction.value.is_some()), &one));
        }
        let (tagged, unsure) = before.map(|known| (known.tagged, known.unsure.clone())).unwrap_or_default();
        let labels = digest(&("", &content.0, false), &stated);
        self.known.insert(product.id.clone(), Known { content, measured, labels, is_labelled, tagged, unsure, survey });
        Ok(op)
    }

    /// Takes away what belonged to products that are gone.
    fn forget(&self, catalog: &dyn CatalogSnapshot, corrections: &HashMap<ProductId, KeptCorrections>) -> Result<(), StoreError> {
        let mut ops = Vec::new();
        self.shared.each(KeptTags::keys(), |key, _| {
            let is_known = std::str::from_utf8(&key[1..]).is_ok_and(|id| self.known.contains_key(id));
            if !is_known {
                // A product that is still there has lost its picture.
                let id = std::str::from_utf8(&key[1..]).ok().and_then(|id| id.parse().ok());
                id.into_iter().for_each(|id| self.shared.changed(id));
                ops.push(Op::Delete { space: Keyspace::Embeddings, key: key.to_vec() });
            }
        })?;
        for ops in ops.chunks(OPS_MAX) {
            self.shared.store.commit(ops.to_vec(), Durability::Applied).wait()?;
        }
        let gone = corrections.iter().filter(|(id, kept)| catalog.get(id.as_str()).is_none() && catalog.version() >= kept.catalog_version);
        for (id, _) in gone {
            self.shared.forget_corrections(id)?;
        }
        Ok(())
    }

    /// Writes changes once there are enough of them.
    fn write(&self, ops: &mut Vec<Op>, ops_min: usize) -> Result<(), StoreError> {
        if ops.len() >= ops_min.max(1) {
            // Can be made again from what is on disk: it need not be waited for until it is flushed.
            self.shared.store.commit(std::mem::take(ops), Durability::Applied).wait()?;
        }
        Ok(())
    }

    /// Tags every product whose tags were made from something else than there is now.
    pub(crate) fn tag_all(&mut self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let (maker, catalog) = (shared.maker.load_full(), shared.catalog.snapshot());
        let mut ops = Vec::new();
        let mut written: Vec<Written> = Vec::new();
        let (mut was_passed_over, mut told) = (false, Vec::new());
        let due: Vec<ProductId> =
            self.known.iter().filter(|(_, known)| known.tagged != Some(known.inputs(&maker))).map(|(id, _)| id.clone()).collect();
        for id in due {
            if shared.is_stopping() {
                return Ok(());
            }
            let (Some(known), Some(revision)) = (self.known.get(&id), catalog.get(id.as_str())) else { continue };
            let inputs = known.inputs(&maker);
            let kept = shared.kept_tags(id.as_str())?;
            let before = kept.iter().flat_map(|kept| &kept.tags).filter_map(convert::kept_tag).collect::<Vec<Tag>>();
            if kept.is_some_and(|kept| kept.inputs == inputs) {
                written.push((id, inputs, self.unsure(&before)));
            } else if let Some((tags, op)) = tag_one(&shared, &maker, known, &revision, inputs)? {
                if facts(&tags).ne(facts(&before)) {
                    told.push(id.clone());
                }
                written.push((id, inputs, self.unsure(&tags)));
                ops.push(op);
            } else {
                was_passed_over = true;
            }
            if ops.len() >= OPS_MAX {
                self.write(&mut ops, 1)?;
                self.note(&mut written);
                told.drain(..).for_each(|id| shared.changed(id));
                self.count();
            }
        }
        self.write(&mut ops, 1)?;
        self.note(&mut written);
        told.into_iter().for_each(|id| shared.changed(id));
        self.is_stale = was_passed_over;
        let names: Vec<&str> = maker.vocabulary.attributes().iter().map(|attribute| attribute.name.as_str()).collect();
        let unsure = self.known.iter().map(|(id, known)| (id, known.unsure.as_slice()));
        shared.review.store(Arc::new(ReviewList::of(&names, unsure)));
        Ok(())
    }

    /// Tells the index of products whose facts have changed. One that has just changed in the catalog, too, waits: the index may be about
    /// to take it in as it was before.
    fn tell(&self) {
        let shared = &self.shared;
        let (catalog, now_ms) = (shared.catalog.snapshot(), shared.clock.now_ms());
        let untold = std::mem::take(&mut *shared.untold.lock().unwrap_or_else(PoisonError::into_inner));
        let is_settled = |id: &ProductId| catalog.get(id.as_str()).is_none_or(|revision| now_ms - revision.changed_at_ms >= SETTLED_MS);
        let (due, early): (Vec<ProductId>, Vec<ProductId>) = untold.into_iter().partition(is_settled);
        due.chunks(OPS_MAX).for_each(|products| self.index.refresh(shared.catalog.as_ref(), products));
        early.into_iter().for_each(|id| shared.changed(id));
    }

    fn unsure(&self, tags: &[Tag]) -> Vec<(u8, f32)> {
        let vocabulary = self.shared.vocabulary();
        let attributes = vocabulary.attributes();
        review::unsure(tags, |name| attributes.iter().position(|attribute| attribute.name == name))
    }

    fn note(&mut self, written: &mut Vec<Written>) {
        for (id, inputs, unsure) in written.drain(..) {
            if let Some(known) = self.known.get_mut(&id) {
                (known.tagged, known.unsure) = (Some(inputs), unsure);
            }
        }
    }

    fn count(&self) {
        let maker = self.shared.maker.load();
        let counts = &self.shared.counts;
        let tagged = self.known.values().filter(|known| known.tagged == Some(known.inputs(&maker))).count();
        let failed = self.known.values().filter(|known| known.measured == Measured::Failed).count();
        for (count, gauge, value) in [
            (&counts.products, "gotham_tags_products", self.known.len()),
            (&counts.tagged, "gotham_tags_products_tagged", tagged),
            (&counts.failed, "gotham_tags_pictures_failed", failed),
        ] {
            count.store(value as u64, Ordering::Relaxed);
            metrics::gauge!(gauge).set(value as f64);
        }
    }
}

impl Known {
    /// Names everything that its tags are made from.
    fn inputs(&self, maker: &Maker) -> [u8; 16] {
        let parts =
            [&self.content.0[..], &self.labels.to_le_bytes(), &[u8::from(self.measured == Measured::Yes)], maker.version.as_bytes()];
        ContentHash::of(&parts.concat()).0
    }
}

fn facts(tags: &[Tag]) -> impl Iterator<Item = (&str, &str)> {
    tags.iter().filter(|tag| tag.is_fact).map(|tag| (tag.attribute.as_str(), tag.value.as_str()))
}

/// Tags one product. `None` where its picture has just been replaced: it is looked at again.
fn tag_one(
    shared: &Shared,
    maker: &Maker,
    known: &Known,
    revision: &ProductRevision,
    inputs: [u8; 16],
) -> Result<Option<(Vec<Tag>, Op)>, StoreError> {
    let id = revision.product.id.as_str();
    // By what the teacher knows: another release may have taken office since.
    let is_it = |picture: &Embedding| picture.content == known.content && *picture.fingerprint == *maker.making.model;
    let Some(picture) = shared.vision.vectors(id, Space::Image).into_iter().find(is_it) else { return Ok(None) };
    let measurements = if known.measured == Measured::Yes { measure::kept(shared, known.content)? } else { None };
    let stated = shared.labels(&revision.product);
    if digest(&("", &known.content.0, false), &stated) != known.labels {
        return Ok(None);
    }
    let look = maker.look(&picture.vector, measurements.as_ref(), &stated);
    let mut tags = shared.tag(maker, &look);
    // A labelled product is no evidence for itself.
    tags.iter_mut().for_each(|tag| tag.evidence.retain(|other| other.as_str() != id));
    let (colours, colour_names) = measurements.as_ref().map(convert::colours).unwrap_or_default();
    let kept = KeptTags {
        inputs,
        model_version: maker.version.clone(),
        tags: tags.iter().map(convert::keep_tag).collect(),
        colours: colours.into_iter().map(|colour| (colour.srgb, colour.share)).collect(),
        colour_names: colour_names.into_iter().map(|named| (named.name, named.share)).collect(),
    };
    let key = KeptTags::key(id);
    Ok(seal(kept, &key).map(|value| (tags, Op::Put { space: Keyspace::Embeddings, key, value })))
}

/// The record within the store's bound: evidence is left out where ids are long, then suggestions.
fn seal(mut kept: KeptTags, key: &[u8]) -> Option<Vec<u8>> {
    for round in 0..3 {
        match round {
            0 => {}
            1 => kept.tags.iter_mut().for_each(|tag| tag.evidence.clear()),
            _ => kept.tags.retain(|tag| tag.is_fact),
        }
        match kept.seal(key) {
            Ok(value) if value.len() <= store::store::VALUE_BYTES_MAX => return Some(value),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "tags cannot be written"),
        }
    }
    None
}

/// Of who, what and labels.
fn digest(who: &(&str, &[u8; 16], bool), labels: &[Label]) -> u64 {
    let mut bytes = who.0.as_bytes().to_vec();
    bytes.extend_from_slice(&[0, u8::from(who.2)]);
    bytes.extend_from_slice(who.1);
    for label in labels {
        for part in [&label.attribute, &label.value] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.push(u8::from(label.human));
    }
    let hash = ContentHash::of(&bytes).0;
    u64::from_le_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]])
}
