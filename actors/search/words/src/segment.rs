//! One segment of the index as a search sees it: tantivy's postings, beside what is held in memory of it.

use std::sync::Arc;

use tantivy::fastfield::AliveBitSet;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::TermInfo;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocSet, InvertedIndexReader, SegmentReader, TERMINATED, TantivyError};

use crate::document::Fields;
use crate::names::Names;
use crate::vocabulary::Vocabulary;

/// The slot of a document whose product has none yet.
pub(crate) const NO_SLOT: u32 = u32::MAX;
/// Codes that one beginning of a code finds.
const CODES_MAX: usize = 64;

/// What never changes of a segment.
pub(crate) struct Fixed {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) names: Names,
    ids: String,
    /// Where each document's id begins in `ids`, and the end of the last.
    id_starts: Vec<u32>,
}

impl Fixed {
    pub(crate) fn read(reader: &SegmentReader, fields: &Fields) -> tantivy::Result<Self> {
        let vocabulary = Vocabulary::read(reader.inverted_index(fields.words)?.terms())?;
        let names = Names::read(reader, fields, &vocabulary)?;
        let (ids, id_starts) = read_ids(reader, fields)?;
        Ok(Self { vocabulary, names, ids, id_starts })
    }

    pub(crate) fn id(&self, doc: u32) -> &str {
        let doc = doc as usize;
        &self.ids[self.id_starts[doc] as usize..self.id_starts[doc + 1] as usize]
    }

    pub(crate) fn docs(&self) -> u32 {
        (self.id_starts.len() - 1) as u32
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.vocabulary.memory_bytes() + self.names.memory_bytes() + self.ids.capacity() + 4 * self.id_starts.len()
    }
}

fn read_ids(reader: &SegmentReader, fields: &Fields) -> tantivy::Result<(String, Vec<u32>)> {
    let name = reader.schema().get_field_name(fields.id).to_owned();
    let column = reader.fast_fields().str(&name)?;
    let (mut ids, mut starts) = (String::new(), vec![0]);
    // The dictionary is read once from beginning to end: ordinals are in its order.
    let mut known = Vec::new();
    if let Some(column) = &column {
        let mut stream = column.dictionary().stream()?;
        while stream.advance() {
            known.push(String::from_utf8_lossy(stream.key()).into_owned());
        }
    }
    for doc in 0..reader.max_doc() {
        let ordinal = column.as_ref().and_then(|column| column.ords().first(doc));
        if let Some(id) = ordinal.and_then(|ordinal| known.get(ordinal as usize)) {
            ids.push_str(id);
        }
        starts.push(u32::try_from(ids.len()).map_err(|_| TantivyError::SystemError("ids of a segment above 4 GiB".into()))?);
    }
    Ok((ids, starts))
}

/// A segment at one commit.
pub(crate) struct Segment {
    pub(crate) fixed: Arc<Fixed>,
    /// By document.
    pub(crate) slots: Arc<[u32]>,
    words: Arc<InvertedIndexReader>,
    sequences: Arc<InvertedIndexReader>,
    codes: Arc<InvertedIndexReader>,
    norms: FieldNormReader,
    alive: Option<AliveBitSet>,
}

impl Segment {
    pub(crate) fn open(reader: &SegmentReader, fields: &Fields, fixed: Arc<Fixed>, slots: Arc<[u32]>) -> tantivy::Result<Self> {
        Ok(Self {
            fixed,
            slots,
            words: reader.inverted_index(fields.words)?,
            sequences: reader.inverted_index(fields.sequences)?,
            codes: reader.inverted_index(fields.code)?,
            norms: reader.get_fieldnorms_reader(fields.words)?,
            alive: reader.alive_bitset().cloned(),
        })
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.fixed.vocabulary
    }

    /// The length of its texts as they weigh, over all documents, deleted ones too.
    pub(crate) fn tokens(&self) -> u64 {
        self.words.total_num_tokens()
    }

    /// Calls with each living document that holds the word, its weighted frequency, and the code of its weighted length.
    pub(crate) fn each_posting(&self, info: &TermInfo, mut each: impl FnMut(u32, u32, u8)) -> tantivy::Result<()> {
        let mut postings = self.words.read_block_postings_from_terminfo(info, IndexRecordOption::WithFreqs)?;
        while postings.block_len() > 0 {
            for (doc, freq) in postings.docs().iter().zip(postings.freqs()) {
                if self.is_alive(*doc) {
                    each(*doc, *freq, self.norms.fieldnorm_id(*doc));
                }
            }
            postings.advance();
        }
        Ok(())
    }

    /// Whether a document holds a word as it is.
    pub(crate) fn has_word(&self, doc: u32, word: &str) -> tantivy::Result<bool> {
        for number in self.vocabulary().exact(word) {
            let info = self.vocabulary().term_info(number);
            let mut postings = self.words.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
            // Postings only go forward, and begin at their first document.
            if postings.doc() <= doc && postings.seek(doc) == doc {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The living documents whose title has these two words (a blank between) after one another, in order.
    pub(crate) fn sequence(&self, words: &str) -> tantivy::Result<Vec<u32>> {
        let Some(info) = self.sequences.terms().get(words)? else { return Ok(Vec::new()) };
        docs(&self.sequences, &info, |doc| self.is_alive(doc))
    }

    /// The living documents that are called so by a code.
    pub(crate) fn code(&self, code: &str) -> tantivy::Result<Vec<u32>> {
        let Some(info) = self.codes.terms().get(code)? else { return Ok(Vec::new()) };
        docs(&self.codes, &info, |doc| self.is_alive(doc))
    }

    /// The living documents of which a code begins so, at most those of the first codes; in order.
    pub(crate) fn code_beginning(&self, beginning: &str) -> tantivy::Result<Vec<u32>> {
        let mut found = Vec::new();
        let mut stream = self.codes.terms().range().ge(beginning).into_stream()?;
        let mut left = CODES_MAX;
        while left > 0 && stream.advance() && stream.key().starts_with(beginning.as_bytes()) {
            left -= 1;
            found.extend(docs(&self.codes, stream.value(), |doc| self.is_alive(doc))?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn is_alive(&self, doc: u32) -> bool {
        self.alive.as_ref().is_none_or(|alive| alive.is_alive(doc))
    }
}

fn docs(reader: &InvertedIndexReader, info: &TermInfo, is_alive: impl Fn(u32) -> bool) -> tantivy::Result<Vec<u32>> {
    let mut postings = reader.read_postings_from_terminfo(info, IndexRecordOption::Basic)?;
    let mut found = Vec::with_capacity(info.doc_freq as usize);
    while postings.doc() != TERMINATED {
        if is_alive(postings.doc()) {
            found.push(postings.doc());
        }
        postings.advance();
    }
    Ok(found)
}
