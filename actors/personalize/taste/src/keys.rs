//! Keys: everything that is named is named by a 64-bit hash that the caller makes, and mixed here into keys of combinations.

/// An item, type, brand, attribute value, store, session, shopper or list, as the caller hashes it. Nothing here depends on how.
pub type Id = u64;

/// One key out of two: the finaliser of SplitMix64 (Steele, Lea, Flood 2014) over both.
pub(crate) const fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.rotate_left(29) ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x632B_E59B_D9B4_E019);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A type in 32 bits: a profile remembers the type of each of its items, and two types that share the key only share a count.
pub(crate) const fn short(id: Id) -> u32 {
    (mix(id, 1) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_differ_by_either_part_and_by_order() {
        let keys = [mix(1, 2), mix(2, 1), mix(1, 3), mix(3, 2), mix(0, 0), mix(0, 1), mix(1, 0)];
        for (n, key) in keys.iter().enumerate() {
            assert!(!keys[..n].contains(key), "{n}");
        }
    }
}
