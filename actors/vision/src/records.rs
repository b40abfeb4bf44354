//! What Nightwing keeps in the store: which vectors a product has, and what each picture's location held.

use bincode::{Decode, Encode};
use domain::{ContentHash, ImageRef};
use protocol::vision::Space;
use store::Record;

/// A product's vectors in one space.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ProductVectors {
    /// The model that made them.
    pub(crate) fingerprint: String,
    /// In the order of the product's pictures; `None` for a picture that could not be used. One entry for a text.
    pub(crate) contents: Vec<Option<ContentHash>>,
}

impl Record for ProductVectors {
    const KIND: u16 = 40;
    const SCHEMA: u16 = 1;
}

impl ProductVectors {
    /// The key: the space's byte, then the product's id, so that one space's products stand together in id order.
    pub(crate) fn key(space: Space, product: &str) -> Vec<u8> {
        let mut key = Vec::with_capacity(product.len() + 1);
        key.push(space_byte(space));
        key.extend_from_slice(product.as_bytes());
        key
    }

    /// The first key behind all products of a space.
    pub(crate) fn end_key(space: Space) -> Vec<u8> {
        vec![space_byte(space) + 1]
    }
}

/// Never changes its meaning: it is in keys.
const fn space_byte(space: Space) -> u8 {
    match space {
        Space::Image => 1,
        Space::Text => 2,
    }
}

/// What a picture's location held when it was last read.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct PictureState {
    /// Of the bytes.
    pub(crate) content: ContentHash,
    /// The server's entity tag; for a file its size and time of change.
    pub(crate) etag: Option<String>,
    /// The server's time of change.
    pub(crate) last_modified: Option<String>,
    /// When, in milliseconds since the Unix epoch.
    pub(crate) fetched_at_ms: i64,
}

impl Record for PictureState {
    const KIND: u16 = 41;
    const SCHEMA: u16 = 1;
}

impl PictureState {
    /// The key: a hash, as a reference may be longer than a key.
    pub(crate) fn key(image: &ImageRef) -> Vec<u8> {
        ContentHash::of(image.0.as_bytes()).0.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the first release wrote; a change of these bytes needs a new schema.
    #[test]
    fn golden_bytes() {
        let vectors = ProductVectors { fingerprint: "f".into(), contents: vec![Some(ContentHash([7; 16])), None] };
        let key = ProductVectors::key(Space::Text, "p");
        assert_eq!(key, [2, b'p']);
        let sealed = vectors.seal(&key).expect("a record");
        let body = [&[1, 0, 0, 0, 0, 0, 0, 0, b'f', 2, 0, 0, 0, 0, 0, 0, 0, 1][..], &[7; 16], &[0]].concat();
        assert_eq!(sealed[..6], [b'G', b'R', 40, 0, 1, 0]);
        assert_eq!(sealed[store::record::HEADER_BYTES..], body);
        assert_eq!(ProductVectors::unseal(&key, &sealed), Ok(vectors));

        let picture = PictureState { content: ContentHash([9; 16]), etag: Some("e".into()), last_modified: None, fetched_at_ms: 258 };
        let sealed = picture.seal(b"k").expect("a record");
        let body = [&[9; 16][..], &[1, 1, 0, 0, 0, 0, 0, 0, 0, b'e', 0, 2, 1, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(sealed[store::record::HEADER_BYTES..], body);
        assert_eq!(PictureState::unseal(b"k", &sealed), Ok(picture));
        assert!(PictureState::unseal(b"other key", &sealed).is_err());
    }
}
