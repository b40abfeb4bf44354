//! The one writer of the index: tantivy in a folder of its own, with an offset inside each commit, so that what the offset stands
//! for takes effect exactly once however often the process is killed.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use domain::Product;
use tantivy::directory::MmapDirectory;
use tantivy::index::SegmentId;
use tantivy::indexer::IndexWriterOptions;
use tantivy::query::AllQuery;
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyError, Term};

use crate::WordsError;
use crate::detect::{Prior, detect};
use crate::document::{Fields, TOKENIZER, WeightedTokenizer, schema};
use crate::language::Language;
use crate::segment::{Fixed, NO_SLOT, Segment};
use crate::snapshot::Snapshot;
use crate::synonyms::Synonyms;

/// Changes whenever the same product gives other terms than before: an index made by another is made anew.
pub const FORMAT: u32 = 2;

/// What is kept of a segment from one snapshot to the next.
struct Known {
    fixed: Arc<Fixed>,
    slots: Arc<[u32]>,
}

/// The writer and the state it has committed.
pub struct Writer {
    writer: IndexWriter,
    reader: IndexReader,
    fields: Fields,
    committed: Option<u64>,
    prior: Prior,
    synonyms: Arc<Synonyms>,
    known: HashMap<SegmentId, Known>,
}

impl Writer {
    /// Opens the index in `dir`, with so many bytes for what is not committed yet (at least 15 MB). One that is damaged or of
    /// another format is thrown away: it can be made anew.
    ///
    /// # Errors
    /// When another process has it open, or the folder cannot be written.
    pub fn open(dir: &Path, memory_bytes: usize) -> Result<Self, WordsError> {
        fs::create_dir_all(dir)?;
        let opened = open_index(dir).and_then(|index| Self::new(index, memory_bytes));
        let opened = opened.or_else(|error| {
            if matches!(error, TantivyError::LockFailure(..)) {
                return Err(error);
            }
            tracing::warn!(%error, "the keyword index does not open and is made anew");
            fs::remove_dir_all(dir)?;
            fs::create_dir_all(dir)?;
            Self::new(open_index(dir)?, memory_bytes)
        })?;
        Ok(opened)
    }

    fn new(index: Index, memory_bytes: usize) -> tantivy::Result<Self> {
        let (_, fields) = schema();
        let options =
            IndexWriterOptions::builder().memory_budget_per_thread(memory_bytes).num_worker_threads(1).num_merge_threads(1).build();
        let payload = index.load_metas()?.payload;
        let committed = payload.as_deref().and_then(parse_payload);
        if payload.is_some() && committed.is_none() {
            return Err(TantivyError::SystemError("another format".into()));
        }
        let reader: IndexReader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let writer = index.writer_with_options(options)?;
        let prior = Prior(languages(&reader.searcher(), &fields)?);
        let synonyms = Arc::new(Synonyms::built_in());
        let mut new = Self { writer, reader, fields, committed, prior, synonyms, known: HashMap::new() };
        // Everything that a search reads is read once, so that damage is found now.
        new.read_segments(&|_| None)?;
        new.known.clear();
        Ok(new)
    }

    /// The offset inside the last commit; `None` when the index is new or was made anew and has to be filled.
    pub fn committed(&self) -> Option<u64> {
        self.committed
    }

    /// Words that mean the same, from the next snapshot on; the built-in list alone until then.
    pub fn set_synonyms(&mut self, synonyms: Arc<Synonyms>) {
        self.synonyms = synonyms;
    }

    /// Puts a product in place of what the index has of it.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn put(&mut self, product: &Product) -> Result<(), WordsError> {
        self.delete(product.id.as_str());
        let named = product.locale.as_deref().map(Language::from_locale);
        let language = named.unwrap_or_else(|| detect(&product.title, &product.description, &self.prior));
        self.prior.count(language, 1);
        self.writer.add_document(self.fields.document(product, language))?;
        Ok(())
    }

    /// Takes a product out.
    pub fn delete(&mut self, id: &str) {
        self.writer.delete_term(Term::from_field_text(self.fields.id, id));
    }

    /// Takes everything out.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn clear(&mut self) -> Result<(), WordsError> {
        self.writer.delete_query(Box::new(AllQuery))?;
        self.prior = Prior::default();
        Ok(())
    }

    /// Makes all of it durable together with the offset it stands for.
    ///
    /// # Errors
    /// When the index cannot be written: nothing of it counts then.
    pub fn commit(&mut self, offset: u64) -> Result<(), WordsError> {
        let mut commit = self.writer.prepare_commit()?;
        commit.set_payload(&format!("{FORMAT} {offset}"));
        commit.commit()?;
        self.reader.reload()?;
        self.committed = Some(offset);
        Ok(())
    }

    /// Slots have been given anew: the next snapshot asks for all of them.
    pub fn forget_slots(&mut self) {
        for known in self.known.values_mut() {
            known.slots = vec![NO_SLOT; known.slots.len()].into();
        }
    }

    /// The last committed state. `resolve` gives the slot of a product id; it is asked once for each document of a new segment,
    /// and again for those that had none. A document without a slot is not found.
    ///
    /// # Errors
    /// When the files of the index cannot be read.
    pub fn snapshot(&mut self, resolve: &dyn Fn(&str) -> Option<u32>) -> Result<Snapshot, WordsError> {
        let segments = self.read_segments(resolve)?;
        let searcher = self.reader.searcher();
        let mut languages = languages(&searcher, &self.fields)?;
        languages.sort_by_key(|(language, products)| (std::cmp::Reverse(*products), language.code()));
        Ok(Snapshot::new(segments, Arc::clone(&self.synonyms), languages, searcher.num_docs()))
    }

    fn read_segments(&mut self, resolve: &dyn Fn(&str) -> Option<u32>) -> tantivy::Result<Vec<Arc<Segment>>> {
        let searcher = self.reader.searcher();
        let mut known = HashMap::new();
        let mut segments = Vec::new();
        for reader in searcher.segment_readers() {
            let before = self.known.remove(&reader.segment_id());
            let (fixed, slots) = match before {
                Some(Known { fixed, slots }) => (fixed, slots),
                None => {
                    let fixed = Arc::new(Fixed::read(reader, &self.fields)?);
                    let slots = vec![NO_SLOT; fixed.docs() as usize].into();
                    (fixed, slots)
                }
            };
            let slots = resolved(&fixed, slots, |doc| !reader.is_deleted(doc), resolve);
            segments.push(Arc::new(Segment::open(reader, &self.fields, Arc::clone(&fixed), Arc::clone(&slots))?));
            known.insert(reader.segment_id(), Known { fixed, slots });
        }
        self.known = known;
        Ok(segments)
    }
}

fn resolved(fixed: &Fixed, slots: Arc<[u32]>, is_alive: impl Fn(u32) -> bool, resolve: &dyn Fn(&str) -> Option<u32>) -> Arc<[u32]> {
    let is_open = |doc: u32| slots[doc as usize] == NO_SLOT && is_alive(doc);
    let new: Vec<_> = (0..fixed.docs()).filter(|doc| is_open(*doc)).filter_map(|doc| Some((doc, resolve(fixed.id(doc))?))).collect();
    if new.is_empty() {
        return slots;
    }
    let mut slots = slots.to_vec();
    for (doc, slot) in new {
        slots[doc as usize] = slot;
    }
    slots.into()
}

fn open_index(dir: &Path) -> tantivy::Result<Index> {
    let index = Index::open_or_create(MmapDirectory::open(dir)?, schema().0)?;
    index.tokenizers().register(TOKENIZER, WeightedTokenizer);
    let damaged = index.validate_checksum()?;
    if damaged.is_empty() { Ok(index) } else { Err(TantivyError::SystemError(format!("{} damaged files", damaged.len()))) }
}

/// How many products there are of each language, deleted ones too.
fn languages(searcher: &Searcher, fields: &Fields) -> tantivy::Result<Vec<(Language, u64)>> {
    let mut found = Vec::new();
    for (language, code) in Language::ALL {
        let products = searcher.doc_freq(&Term::from_field_text(fields.language, code))?;
        if products > 0 {
            found.push((language, products));
        }
    }
    Ok(found)
}

/// `None` when the words of the index were made in another way than they would be today.
fn parse_payload(payload: &str) -> Option<u64> {
    let (format, offset) = payload.split_once(' ')?;
    (format.parse() == Ok(FORMAT)).then(|| offset.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_by_table() {
        for (payload, expected) in [
            (format!("{FORMAT} 7"), Some(7)),
            (format!("{} 7", FORMAT + 1), None),
            ("7".into(), None),
            ("".into(), None),
            (format!("{FORMAT} x"), None),
        ] {
            assert_eq!(parse_payload(&payload), expected, "{payload:?}");
        }
    }
}
