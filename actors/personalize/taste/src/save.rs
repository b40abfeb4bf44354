//! One stream of all that is learned of the shop: versioned, in bounded blocks, closed by a BLAKE3 digest over every byte before it.

use std::io::{self, Read, Write};

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};

use crate::bandit::Bandit;
use crate::clock::Clock;
use crate::logit::Learner;
use crate::shop::{Kind, Shop, Sold};

const MAGIC: [u8; 8] = *b"gtaste\0\x01";
/// Of one block: a decoder allocates no more than this whatever the bytes claim.
const BLOCK_BYTES_MAX: usize = 1 << 20;
/// Items and types of one block: none is larger than 8 kB.
const BLOCK_ENTRIES_MAX: usize = 64;
const DIGEST_BYTES: usize = 32;
type Config = Configuration<LittleEndian, Fixint, Limit<BLOCK_BYTES_MAX>>;
const CONFIG: Config = bincode::config::legacy().with_limit::<BLOCK_BYTES_MAX>();

/// Why a stream cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The stream itself.
    #[error("the stream: {0}")]
    Io(#[from] io::Error),
    /// It begins with something else.
    #[error("no state of the tastes, or of another version")]
    Magic,
    /// A block is too long, does not decode, or contradicts another.
    #[error("damaged: {0}")]
    Damaged(&'static str),
    /// The digest does not fit.
    #[error("the digest does not fit the bytes")]
    Digest,
}

/// What is saved together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// Counts of the shop.
    pub shop: Shop,
    /// Weights.
    pub learner: Learner,
    /// Strategies.
    pub bandit: Bandit,
}

#[derive(Encode, Decode)]
struct Head {
    clocks: [Clock; 3],
    items_max: u64,
    items: u64,
    kinds: u64,
}

impl Saved {
    /// Writes the stream. The same state gives the same bytes; the digest is returned.
    pub fn save(&self, to: &mut impl Write) -> Result<[u8; DIGEST_BYTES], SaveError> {
        save(&self.shop, &self.learner, &self.bandit, to)
    }

    /// Reads a stream that [`save`] wrote; whatever else it is is an error.
    pub fn load(from: &mut impl Read) -> Result<Self, SaveError> {
        let mut reader = Reader::new(&MAGIC, from)?;
        let head: Head = reader.block()?;
        let learner: Learner = reader.block()?;
        let bandit: Bandit = reader.block()?;
        let items: Vec<Sold> = reader.blocks(head.items)?;
        let kinds: Vec<Kind> = reader.blocks(head.kinds)?;
        reader.finish()?;
        let items_max = usize::try_from(head.items_max).unwrap_or(usize::MAX);
        let shop = Shop::from_parts(head.clocks, items, kinds, items_max).ok_or(SaveError::Damaged("the shop's counts"))?;
        if !learner.is_sound() || !bandit.is_sound() {
            return Err(SaveError::Damaged("weights or strategies"));
        }
        Ok(Self { shop, learner, bandit })
    }
}

/// Writes the parts as one stream, without owning them; the digest is returned.
pub fn save(shop: &Shop, learner: &Learner, bandit: &Bandit, to: &mut impl Write) -> Result<[u8; DIGEST_BYTES], SaveError> {
    let mut writer = Writer::new(&MAGIC, to)?;
    writer.block(&Head {
        clocks: [shop.week, shop.fast, shop.slow],
        items_max: shop.items_max() as u64,
        items: shop.items.len() as u64,
        kinds: shop.kinds.len() as u64,
    })?;
    writer.block(learner)?;
    writer.block(bandit)?;
    shop.items.chunks(BLOCK_ENTRIES_MAX).try_for_each(|items| writer.block(&items))?;
    shop.kinds.chunks(BLOCK_ENTRIES_MAX).try_for_each(|kinds| writer.block(&kinds))?;
    writer.finish()
}

pub(crate) struct Writer<'a, W> {
    to: &'a mut W,
    hasher: blake3::Hasher,
}

impl<'a, W: Write> Writer<'a, W> {
    /// A stream that begins with these bytes.
    pub(crate) fn new(magic: &[u8], to: &'a mut W) -> Result<Self, SaveError> {
        let mut writer = Self { to, hasher: blake3::Hasher::new() };
        writer.bytes(magic)?;
        Ok(writer)
    }

    /// Closes the stream with its digest, which is returned.
    pub(crate) fn finish(self) -> Result<[u8; DIGEST_BYTES], SaveError> {
        let digest = *self.hasher.finalize().as_bytes();
        self.to.write_all(&digest)?;
        Ok(digest)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), SaveError> {
        self.hasher.update(bytes);
        Ok(self.to.write_all(bytes)?)
    }

    pub(crate) fn block(&mut self, value: &impl Encode) -> Result<(), SaveError> {
        let body = bincode::encode_to_vec(value, CONFIG).map_err(|_| SaveError::Damaged("a block does not encode"))?;
        if body.len() > BLOCK_BYTES_MAX {
            return Err(SaveError::Damaged("a block is too long"));
        }
        self.bytes(&(body.len() as u32).to_le_bytes())?;
        self.bytes(&body)
    }
}

pub(crate) struct Reader<'a, R> {
    from: &'a mut R,
    hasher: blake3::Hasher,
}

impl<'a, R: Read> Reader<'a, R> {
    /// A stream that has to begin with these bytes.
    pub(crate) fn new(magic: &[u8], from: &'a mut R) -> Result<Self, SaveError> {
        let mut reader = Self { from, hasher: blake3::Hasher::new() };
        if reader.bytes(magic.len())? == magic { Ok(reader) } else { Err(SaveError::Magic) }
    }

    /// Compares the digest with which the stream has to end here.
    pub(crate) fn finish(mut self) -> Result<(), SaveError> {
        let digest = self.hasher.finalize();
        if self.bytes(DIGEST_BYTES)? == digest.as_bytes() { Ok(()) } else { Err(SaveError::Digest) }
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, SaveError> {
        let mut bytes = vec![0; length];
        self.from.read_exact(&mut bytes)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    pub(crate) fn block<T: Decode<()>>(&mut self) -> Result<T, SaveError> {
        let length = self.bytes(4)?.try_into().map(u32::from_le_bytes).unwrap_or(u32::MAX) as usize;
        if length > BLOCK_BYTES_MAX {
            return Err(SaveError::Damaged("a block is too long"));
        }
        let body = self.bytes(length)?;
        match bincode::decode_from_slice(&body, CONFIG) {
            Ok((value, read)) if read == body.len() => Ok(value),
            _ => Err(SaveError::Damaged("a block does not decode")),
        }
    }

    fn blocks<T: Decode<()>>(&mut self, count: u64) -> Result<Vec<T>, SaveError> {
        let mut all = Vec::new();
        while (all.len() as u64) < count {
            let block: Vec<T> = self.block()?;
            if block.is_empty() || block.len() > BLOCK_ENTRIES_MAX {
                return Err(SaveError::Damaged("the size of a block"));
            }
            all.extend(block);
        }
        if all.len() as u64 == count { Ok(all) } else { Err(SaveError::Damaged("the number of entries")) }
    }
}

#[cfg(test)]
mod tests;
