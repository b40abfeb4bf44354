//! The one writer of the keyword index: tantivy in a folder of its own, with the journal offset inside each commit.

use std::fs;
use std::path::Path;

use domain::Product;
use tantivy::directory::MmapDirectory;
use tantivy::indexer::IndexWriterOptions;
use tantivy::query::AllQuery;
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyError, Term};

use crate::logic::words::{FORMAT, WordTokenizer};
use crate::searcher::keywords::{Fields, KeywordSnapshot, TOKENIZER, schema};

/// The writer and the state it has committed.
pub(crate) struct KeywordWriter {
    writer: IndexWriter,
    reader: IndexReader,
    fields: Fields,
    /// The journal offset inside the last commit; `None` when the index is new or was made of other words.
    pub(crate) committed: Option<u64>,
}

impl KeywordWriter {
    /// Opens the index in `dir`. One that is damaged or of another shape is thrown away: it can be made anew. One that
    /// another process has open is an error.
    pub(crate) fn open(dir: &Path, memory_bytes_max: usize) -> tantivy::Result<Self> {
        fs::create_dir_all(dir)?;
        let opened = open_index(dir).and_then(|index| Self::new(index, memory_bytes_max));
        opened.or_else(|error| {
            if matches!(error, TantivyError::LockFailure(..)) {
                return Err(error);
            }
            tracing::warn!(%error, "the keyword index does not open and is made anew");
            fs::remove_dir_all(dir)?;
            fs::create_dir_all(dir)?;
            Self::new(open_index(dir)?, memory_bytes_max)
        })
    }

    fn new(index: Index, memory_bytes_max: usize) -> tantivy::Result<Self> {
        let (_, fields) = schema();
        let options =
            IndexWriterOptions::builder().memory_budget_per_thread(memory_bytes_max).num_worker_threads(1).num_merge_threads(1).build();
        let committed = index.load_metas()?.payload.as_deref().and_then(parse_payload);
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { writer: index.writer_with_options(options)?, reader, fields, committed })
    }

    /// Puts a product in place of what the index has of it.
    pub(crate) fn put(&self, product: &Product) -> tantivy::Result<()> {
        self.delete(product.id.as_str());
        self.add(product)
    }

    /// Adds a product that the index does not have.
    pub(crate) fn add(&self, product: &Product) -> tantivy::Result<()> {
        self.writer.add_document(self.fields.document(product)).map(drop)
    }

    /// Takes a product out.
    pub(crate) fn delete(&self, product: &str) {
        self.writer.delete_term(Term::from_field_text(self.fields.id, product));
    }

    /// Takes everything out.
    pub(crate) fn clear(&self) -> tantivy::Result<()> {
        self.writer.delete_query(Box::new(AllQuery)).map(drop)
    }

    /// Makes all of it durable together with the offset it stands for.
    pub(crate) fn commit(&mut self, offset: u64) -> tantivy::Result<()> {
        let mut commit = self.writer.prepare_commit()?;
        commit.set_payload(&format!("{FORMAT} {offset}"));
        commit.commit()?;
        self.reader.reload()?;
        self.committed = Some(offset);
        Ok(())
    }

    /// The last committed state.
    pub(crate) fn snapshot(&self, is_complete: bool) -> KeywordSnapshot {
        KeywordSnapshot { searcher: self.reader.searcher(), fields: self.fields, is_complete }
    }
}

fn open_index(dir: &Path) -> tantivy::Result<Index> {
    let index = Index::open_or_create(MmapDirectory::open(dir)?, schema().0)?;
    index.tokenizers().register(TOKENIZER, WordTokenizer);
    let damaged = index.validate_checksum()?;
    if damaged.is_empty() { Ok(index) } else { Err(TantivyError::SystemError(format!("{} damaged files", damaged.len()))) }
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
