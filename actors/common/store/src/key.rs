//! Keys on disk: the keyspace's byte, then the owner's key.

use std::ops::Bound;

use crate::store::Keyspace;

/// A range as the engine takes it.
pub(crate) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// A key as the engine holds it.
pub(crate) fn full(space: Keyspace, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(key.len() + 1);
    full.push(space as u8);
    full.extend_from_slice(key);
    full
}

/// The engine's bounds of an owner's range; `None` if nothing can lie between them (an engine may panic over such bounds).
pub(crate) fn bounds(space: Keyspace, (low, high): (Bound<&[u8]>, Bound<&[u8]>)) -> Option<Bounds> {
    use Bound::{Excluded, Included, Unbounded};
    let is_empty = match (low, high) {
        (Included(low), Included(high)) => low > high,
        (Included(low) | Excluded(low), Excluded(high)) | (Excluded(low), Included(high)) => low >= high,
        (Unbounded, _) | (_, Unbounded) => false,
    };
    let low = match low {
        Included(key) => Included(full(space, key)),
        Excluded(key) => Excluded(full(space, key)),
        Unbounded => Included(vec![space as u8]),
    };
    let high = match high {
        Included(key) => Included(full(space, key)),
        Excluded(key) => Excluded(full(space, key)),
        Unbounded => Excluded(vec![space as u8 + 1]),
    };
    (!is_empty).then_some((low, high))
}
