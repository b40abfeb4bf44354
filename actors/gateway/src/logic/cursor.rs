//! Opaque cursors of lists: callers hand them back as they are and learn nothing from them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The longest cursor that is taken back, in bytes: a product id of four-byte characters fits.
const CURSOR_BYTES_MAX: usize = 1024;
/// Changes with the meaning of cursors, so that an old one is refused and not misread.
const VERSION: char = '1';

/// A cursor that stands behind `position`.
pub(crate) fn encode(position: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{VERSION}{position}"))
}

/// The position of a cursor; `None` when it is none of ours.
pub(crate) fn decode(cursor: &str) -> Option<String> {
    if cursor.len() > CURSOR_BYTES_MAX {
        return None;
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix(VERSION).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(position in "\\PC{0,128}") {
            prop_assert_eq!(decode(&encode(&position)), Some(position));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,64}") {
            let _ = decode(&text);
        }
    }

    #[test]
    fn foreign_cursors_are_refused() {
        for text in ["", "!", "eA", &"A".repeat(2000)] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
