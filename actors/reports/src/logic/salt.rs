//! Hashes in place of names. Shoppers' are keyed by the installation's salt: without it, they lead back to nobody.

/// The installation's secret.
#[derive(Clone)]
pub(crate) struct Salt(pub(crate) [u8; 32]);

impl Salt {
    /// The first eight bytes of a keyed BLAKE3 hash.
    pub(crate) fn of(&self, text: &str) -> u64 {
        let hash = blake3::keyed_hash(&self.0, text.as_bytes());
        let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// FNV-1a, 64 bits: for ids of products, which are no secret and are hashed by the dozen.
pub(crate) fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
