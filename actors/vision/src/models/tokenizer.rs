//! Texts to token ids, by the rules of a `tokenizer.json`.

use super::ModelError;
use tokenizers::{PaddingParams, PaddingStrategy, Tokenizer, TruncationParams};

/// Bytes of a text that are looked at: far beyond what the longest list of tokens can stand for, so that a huge text costs
/// no more than a long one.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// What a model asks of its tokenizer beside what the file says. The file's own length and padding are passed over: they are
/// often fixed for a batch, and would change the vectors of long texts.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// Longer texts are cut to this.
    pub(super) length_max: usize,
    /// Shorter texts are filled up to this with a token: only for models that were trained to look at it.
    pub(super) filled_with: Option<(usize, String)>,
    /// Whether a text is written small first.
    pub(super) lowercases: bool,
    /// Whether punctuation is taken out and runs of white space become one space first, as SigLIP does.
    pub(super) strips: bool,
}

/// A tokenizer under its model's rules.
pub(super) struct TextTokenizer {
    tokenizer: Tokenizer,
    rules: Rules,
}

impl TextTokenizer {
    pub(super) fn new(json: &[u8], rules: Rules) -> Result<TextTokenizer, ModelError> {
        let format = |error: tokenizers::Error| ModelError::Format { format: "tokenizer.json", reason: error.to_string() };
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(format)?;
        tokenizer
            .with_truncation(Some(TruncationParams { max_length: rules.length_max, ..TruncationParams::default() }))
            .map_err(format)?;
        let padding = match &rules.filled_with {
            None => None,
            Some((length, token)) => {
                let missing =
                    || ModelError::Format { format: "tokenizer.json", reason: format!("it has no token {token:?} to fill texts with") };
                let id = tokenizer.token_to_id(token).ok_or_else(missing)?;
                let strategy = PaddingStrategy::Fixed(*length);
                Some(PaddingParams { strategy, pad_id: id, pad_token: token.clone(), ..PaddingParams::default() })
            }
        };
        tokenizer.with_padding(padding);
        Ok(TextTokenizer { tokenizer, rules })
    }

    /// The ids of a text with its marks of beginning and end.
    pub(super) fn ids(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let mut text = std::borrow::Cow::Borrowed(&text[..text.floor_char_boundary(TEXT_BYTES_MAX)]);
        if self.rules.lowercases {
            text = text.to_lowercase().into();
        }
        if self.rules.strips {
            let kept: String = text.chars().filter(|char| !char.is_ascii_punctuation()).collect();
            text = kept.split_whitespace().collect::<Vec<_>>().join(" ").into();
        }
        let encoding = self.tokenizer.encode_fast(text.as_ref(), true).map_err(|error| ModelError::Tokenize(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }
}
