//! What the tagging thread, readers and writers of corrections share.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use attributes::{Label, Look, Measurements, Source, TagSettings, Taught, Vocabulary};
use domain::{ContentHash, Product, ProductId};
use kit::Clock;
use protocol::catalog::CatalogReader;
use protocol::releases::ReleaseReader;
use protocol::tags::{FactReader, ProductTags, Tag, TagAgreement, TagError, TagSource, Verdict};
use protocol::vision::{Space, VisionReader};
use store::{Durability, Keyspace, Op, Record as _, Store, StoreError};

use super::config::TagConfig;
use super::records::{KeptCorrections, KeptTags, TeacherMark};
use super::review::ReviewList;
use super::vocabularies::Vocabularies;
use super::words::{Answered, Words};
use super::{TagSources, convert, corrections};

/// Records read at a time.
pub(crate) const PAGE_RECORDS: usize = 512;

/// What everything stands on; survives no restart of the process.
pub(crate) struct Shared {
    pub(crate) config: TagConfig,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) catalog: Arc<dyn CatalogReader>,
    pub(crate) vision: Arc<dyn VisionReader>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The folder of what was learned.
    pub(crate) dir: PathBuf,
    pub(crate) releases: Arc<dyn ReleaseReader>,
    pub(crate) vocabularies: Arc<Vocabularies>,
    pub(crate) maker: ArcSwap<Maker>,
    pub(crate) review: ArcSwap<ReviewList>,
    pub(crate) agreement: ArcSwapOption<TagAgreement>,
    /// Words that a model has just told.
    pub(crate) answered: ArcSwapOption<Answered>,
    pub(crate) counts: Counts,
    /// Products whose facts may have changed, until the index is told.
    pub(crate) untold: Mutex<BTreeSet<ProductId>>,
    /// Held while corrections are read and written anew.
    correcting: Mutex<()>,
    pub(crate) is_stopping: AtomicBool,
}

/// What has been done.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) products: AtomicU64,
    pub(crate) tagged: AtomicU64,
    pub(crate) measured: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) corrections: AtomicU64,
    /// Grows with every correction taken.
    pub(crate) corrected: AtomicU64,
}

/// What a release says of how tags are made.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Making {
    /// Fingerprint of the image model; empty without one.
    pub(crate) model: String,
    /// Fingerprint of the vocabulary.
    pub(crate) vocabulary: String,
    /// A tag is a fact where it is right at least this often.
    pub(crate) precision: f64,
}

/// What makes tags: an image model, a vocabulary and, where there are some, a teacher and words.
#[derive(Clone)]
pub(crate) struct Maker {
    pub(crate) making: Making,
    pub(crate) vocabulary: Arc<Vocabulary>,
    /// What measures pictures: part of every record of measurements.
    pub(crate) measured_by: [u8; 16],
    pub(crate) teacher: Option<Arc<Teacher>>,
    pub(crate) words: Option<Arc<Words>>,
    /// Names all of it.
    pub(crate) version: String,
}

/// What was learned, and from what.
pub(crate) struct Teacher {
    pub(crate) taught: Taught,
    pub(crate) mark: TeacherMark,
}

impl Maker {
    pub(crate) fn new(making: Making, vocabulary: Arc<Vocabulary>, teacher: Option<Arc<Teacher>>, words: Option<Arc<Words>>) -> Self {
        let state = teacher.as_ref().map(|teacher| teacher.mark.state).unwrap_or_default();
        let mut parts = [vocabulary.fingerprint().as_bytes(), b"/", &state, b"/", making.model.as_bytes()].concat();
        words.iter().for_each(|words| parts.extend_from_slice(&words.digest));
        let version = ContentHash::of(&parts).to_hex()[..16].to_owned();
        let palette = format!("{}/{:?}", super::measure::MEASURING, vocabulary.palette());
        Self { making, measured_by: ContentHash::of(palette.as_bytes()).0, vocabulary, teacher, words, version }
    }

    /// Everything that is known of a picture by this maker's model.
    pub(crate) fn look<'a>(&'a self, embedding: &'a [f32], measurements: Option<&'a Measurements>, stated: &'a [Label]) -> Look<'a> {
        Look { embedding, measurements, zero_shot: self.words.as_ref().map(|words| (&words.zero_shot, embedding)), stated }
    }
}

impl Shared {
    pub(crate) fn new(sources: TagSources) -> Self {
        let TagSources { config, store, catalog, vision, clock, dir, releases, vocabularies, .. } = sources;
        let live = releases.ledger().commissioner().map(|live| live.definition.settings.vocabulary.clone());
        let vocabulary = vocabularies.get(live.as_deref().unwrap_or(vocabularies.configured()));
        Self {
            config: config.tags.clone(),
            store,
            catalog,
            vision,
            clock,
            dir,
            releases,
            vocabularies,
            maker: ArcSwap::from_pointee(Maker::new(Making::default(), vocabulary, None, None)),
            review: ArcSwap::default(),
            agreement: ArcSwapOption::empty(),
            answered: ArcSwapOption::empty(),
            counts: Counts::default(),
            untold: Mutex::default(),
            correcting: Mutex::new(()),
            is_stopping: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// How the live release has tags made.
    pub(crate) fn making(&self) -> Making {
        let model = self.vision.models().into_iter().find(|model| model.space == Space::Image);
        let model = model.map(|model| model.fingerprint).unwrap_or_default();
        let ledger = self.releases.ledger();
        match ledger.commissioner().map(|live| &live.definition.settings) {
            Some(settings) => Making { model, vocabulary: settings.vocabulary.clone(), precision: settings.rules.fact_precision },
            None => Making { model, vocabulary: self.vocabularies.configured().to_owned(), precision: self.config.fact_precision },
        }
    }

    /// Fingerprints of the releases' vocabularies.
    pub(crate) fn used_vocabularies(&self) -> BTreeSet<String> {
        self.releases.ledger().releases.iter().map(|release| release.definition.settings.vocabulary.clone()).collect()
    }

    /// The vocabulary in force.
    pub(crate) fn vocabulary(&self) -> Arc<Vocabulary> {
        Arc::clone(&self.maker.load().vocabulary)
    }

    /// What measures pictures.
    pub(crate) fn measured_by(&self) -> [u8; 16] {
        self.maker.load().measured_by
    }

    /// What the sources say of a picture.
    pub(crate) fn tag(&self, maker: &Maker, look: &Look<'_>) -> Vec<Tag> {
        let taught = maker.teacher.as_ref().map(|teacher| &teacher.taught);
        let found = attributes::tag(&maker.vocabulary, taught, look, &TagSettings::default());
        let told = |tag: attributes::Tag| Tag {
            threshold: tag.threshold,
            source: match tag.source {
                Source::Human => TagSource::Human,
                Source::Stated => TagSource::Catalog,
                Source::Learned => TagSource::Learned,
                Source::ZeroShot => TagSource::ZeroShot,
                Source::Measured => TagSource::Measured,
            },
            attribute: tag.attribute,
            value: tag.value,
            confidence: tag.confidence,
            is_fact: tag.is_fact,
            evidence: tag.evidence.iter().filter_map(|id| id.parse().ok()).collect(),
        };
        found.into_iter().map(told).collect()
    }

    /// What the catalog says of a product, in the vocabulary's words.
    pub(crate) fn labels(&self, product: &Product) -> Vec<Label> {
        labels_in(&self.vocabulary(), product)
    }

    pub(crate) fn kept_tags(&self, product: &str) -> Result<Option<KeptTags>, StoreError> {
        self.read(&KeptTags::key(product))
    }

    pub(crate) fn kept_corrections(&self, product: &str) -> Result<Option<KeptCorrections>, StoreError> {
        self.read(&KeptCorrections::key(product))
    }

    /// A record; a damaged one counts as none and is made again.
    pub(crate) fn read<R: store::Record>(&self, key: &[u8]) -> Result<Option<R>, StoreError> {
        let Some(bytes) = self.store.get(Keyspace::Embeddings, key)? else { return Ok(None) };
        Ok(R::unseal(key, &bytes).inspect_err(|error| tracing::warn!(%error, "a record of tags is damaged")).ok())
    }

    /// What people said of all products.
    pub(crate) fn all_corrections(&self) -> Result<HashMap<ProductId, KeptCorrections>, StoreError> {
        let mut found = HashMap::new();
        self.each(KeptCorrections::keys(), |key, value| {
            let id = std::str::from_utf8(&key[1..]).ok().and_then(|id| id.parse::<ProductId>().ok());
            let kept = KeptCorrections::unseal(key, value).inspect_err(|error| tracing::error!(%error, "corrections are damaged")).ok();
            found.extend(id.zip(kept));
        })?;
        Ok(found)
    }

    /// Every record between two keys.
    pub(crate) fn each(&self, (low, high): (Vec<u8>, Vec<u8>), mut take: impl FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let mut from = Bound::Included(low);
        loop {
            let bounds = (from.as_ref().map(Vec::as_slice), Bound::Excluded(high.as_slice()));
            let page = self.store.range(Keyspace::Embeddings, bounds, PAGE_RECORDS)?;
            page.entries.iter().for_each(|(key, value)| take(key, value));
            match page.entries.into_iter().next_back() {
                Some((last, _)) if page.has_more => from = Bound::Excluded(last),
                _ => return Ok(()),
            }
        }
    }

    /// What readers see of a product.
    pub(crate) fn product(&self, product: &str) -> Result<Option<ProductTags>, StoreError> {
        let (tags, said) = (self.kept_tags(product)?, self.kept_corrections(product)?);
        if tags.is_none() && said.is_none() {
            return Ok(None);
        }
        let mut told = ProductTags::default();
        if let Some(kept) = tags {
            (told.colours, told.colour_names) = convert::kept_colours(&kept);
            told.tags = kept.tags.iter().filter_map(convert::kept_tag).collect();
            told.model_version = kept.model_version;
        }
        if let Some(said) = said {
            corrections::lay_over(&mut told.tags, &said, &self.vocabulary());
            told.corrections = corrections::told(&said);
        }
        Ok(Some(told))
    }

    /// Takes verdicts; they are on disk when it returns. Blocks.
    pub(crate) fn correct(&self, product: &ProductId, verdicts: &[(String, Verdict)], by: &str) -> Result<ProductTags, TagError> {
        let storage = |error: StoreError| TagError::Storage(error.to_string());
        let _held = self.correcting.lock().unwrap_or_else(PoisonError::into_inner);
        let catalog = self.catalog.snapshot();
        if catalog.get(product.as_str()).is_none() {
            return Err(TagError::UnknownProduct);
        }
        let mut kept = self.kept_corrections(product.as_str()).map_err(storage)?.unwrap_or_default();
        let before = kept.corrections.len() as u64;
        corrections::apply(&mut kept, &self.vocabulary(), verdicts, by, self.clock.now_ms()).map_err(TagError::Refused)?;
        kept.catalog_version = catalog.version();
        let key = KeptCorrections::key(product.as_str());
        let after = kept.corrections.len() as u64;
        let op = if kept.corrections.is_empty() {
            Op::Delete { space: Keyspace::Embeddings, key }
        } else {
            let value = kept.seal(&key).map_err(|error| TagError::Storage(error.to_string()))?;
            Op::Put { space: Keyspace::Embeddings, key, value }
        };
        self.store.commit(vec![op], Durability::Flushed).wait().map_err(storage)?;
        // Two's complement: the sum is right where it shrinks, too.
        self.counts.corrections.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        self.counts.corrected.fetch_add(1, Ordering::Relaxed);
        self.changed(product.clone());
        metrics::counter!("gotham_tags_corrections_total").increment(verdicts.len() as u64);
        Ok(self.product(product.as_str()).map_err(storage)?.unwrap_or_default())
    }

    /// The index is told of a product.
    pub(crate) fn changed(&self, product: ProductId) {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner).insert(product);
    }

    /// Forgets what people said of a product that the catalog has deleted since.
    pub(crate) fn forget_corrections(&self, product: &ProductId) -> Result<(), StoreError> {
        let _held = self.correcting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = self.kept_corrections(product.as_str())? else { return Ok(()) };
        let catalog = self.catalog.snapshot();
        if catalog.version() < kept.catalog_version || catalog.get(product.as_str()).is_some() {
            return Ok(());
        }
        let op = Op::Delete { space: Keyspace::Embeddings, key: KeptCorrections::key(product.as_str()) };
        self.store.commit(vec![op], Durability::Applied).wait().map(|_| ())
    }
}

impl FactReader for Shared {
    fn facts(&self, product: &str) -> Vec<(String, String)> {
        let known = self.product(product).inspect_err(|error| tracing::error!(%error, "tags were not read")).ok().flatten();
        let tags = known.map(|known| known.tags).unwrap_or_default();
        tags.into_iter().filter(|tag| tag.is_fact).map(|tag| (tag.attribute, tag.value)).collect()
    }
}

/// What the catalog says of a product, in a vocabulary's words.
pub(crate) fn labels_in(vocabulary: &Vocabulary, product: &Product) -> Vec<Label> {
    let labels = labels_of(product);
    let mut stated = vocabulary.read(labels.iter().map(|(name, label)| (name.as_str(), label.as_str())));
    // An attribute of its own says more than a word of the title.
    let by_title = vocabulary.read_title(&product.title);
    let is_open = |word: &attributes::Stated| stated.iter().all(|known| known.attribute != word.attribute);
    let by_title: Vec<attributes::Stated> = by_title.into_iter().filter(is_open).collect();
    stated.extend(by_title);
    stated.into_iter().map(|stated| Label { attribute: stated.attribute, value: stated.value, human: false }).collect()
}

/// The catalog's attributes as names and labels; the widest and the narrowest category stand for attributes of their own.
fn labels_of(product: &Product) -> Vec<(String, String)> {
    let own = product.attributes.iter().flat_map(|(name, values)| {
        let said = values.iter().filter(|value| value.provenance.source != domain::Source::Model);
        said.map(move |value| (name.clone(), value.value.clone()))
    });
    let mut labels: Vec<(String, String)> = own.collect();
    if let Some(path) = product.categories.first() {
        labels.extend(path.0.first().map(|widest| ("category".to_owned(), widest.clone())));
        labels.extend(path.0.get(1..).and_then(<[_]>::last).map(|narrowest| ("product_type".to_owned(), narrowest.clone())));
    }
    labels
}
