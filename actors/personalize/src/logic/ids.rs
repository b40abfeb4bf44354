//! Names as 64-bit hashes: the first bytes of BLAKE3, the same over restarts, machines and versions of the program.

use domain::Shopper;
use taste::Id;

/// The hash of a text as it is: products, shoppers, tokens, places.
pub(crate) fn id(text: &str) -> Id {
    let hash = blake3::hash(text.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    Id::from_le_bytes(bytes)
}

/// The hash of a text as people compare it, without regard to case and outer blanks: brands, categories, attribute values. `None`
/// where nothing is left.
pub(crate) fn id_of_words(text: &str) -> Option<Id> {
    let text = text.trim();
    (!text.is_empty()).then(|| id(&text.to_lowercase()))
}

/// A shopper's hash.
pub(crate) fn id_of_shopper(shopper: &Shopper) -> Id {
    id(shopper.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_stay_what_they_are() {
        // What is kept on disk is found by these.
        assert_eq!(id(""), 0xA6A1_F9F5_B949_13AF);
        assert_eq!(id_of_words("  Grün "), id_of_words("GRÜN"));
        assert_eq!(id_of_words(" "), None);
        assert_ne!(id_of_shopper(&Shopper::user("1")), id_of_shopper(&Shopper::visitor("1")));
    }
}
