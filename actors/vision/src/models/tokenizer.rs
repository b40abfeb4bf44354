//! Texts to token ids, by the rules of a `tokenizer.json`.

use super::ModelError;
use tokenizers::{Tokenizer, TruncationParams};

/// Bytes of a text that are looked at: far beyond what the longest list of tokens can stand for, so that a huge text costs
/// no more than a long one.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// A tokenizer that cuts at the model's length and never pads: the executor needs no padding, and the file's own settings
/// (often a fixed length) would change the vectors of long texts.
pub(super) struct TextTokenizer {
    tokenizer: Tokenizer,
}

impl TextTokenizer {
    pub(super) fn new(json: &[u8], length_max: usize) -> Result<TextTokenizer, ModelError> {
        let format = |error: tokenizers::Error| ModelError::Format { format: "tokenizer.json", reason: error.to_string() };
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(format)?;
        tokenizer.with_truncation(Some(TruncationParams { max_length: length_max, ..TruncationParams::default() })).map_err(format)?;
        tokenizer.with_padding(None);
        Ok(TextTokenizer { tokenizer })
    }

    /// The ids of a text with its marks of beginning and end.
    pub(super) fn ids(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let end = text.floor_char_boundary(TEXT_BYTES_MAX);
        let encoding = self.tokenizer.encode_fast(&text[..end], true).map_err(|error| ModelError::Tokenize(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }
}
