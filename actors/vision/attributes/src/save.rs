//! The saved form of what was taught: one versioned stream with a checksum, the same bytes for the same state.
//!
//! `magic, version, state, BLAKE3 of all before`. Numbers are little-endian. A reader trusts no number in it: memory grows only with
//! bytes that were really there, and every length and index is checked before it is used.

use thiserror::Error;

use crate::teacher::{Block, CLASSES_MAX, DIMENSIONS_MAX, Mix, Probe, Projection, Taught, TaughtAttribute, unpacked};
use crate::vocabulary::{ATTRIBUTES_MAX, Measure, VALUES_MAX};
use crate::zero_shot::{Directions, ZeroShot};

/// The first bytes of a saved state.
const MAGIC: [u8; 8] = *b"GOTHattr";
/// The first bytes of saved directions of words.
const WORDS_MAGIC: [u8; 8] = *b"GOTHword";
/// The version that is written; others are refused.
const VERSION: u32 = 2;
/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 32;

/// Why a saved state cannot be taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LoadError {
    /// Another kind of file.
    #[error("not a saved state")]
    Magic,
    /// Written by another version.
    #[error("version {0} is not known here")]
    Version(u32),
    /// The checksum is another one: damaged.
    #[error("the checksum does not match")]
    Checksum,
    /// A number that cannot be.
    #[error("malformed: {0}")]
    Malformed(&'static str),
}

impl Taught {
    /// The saved form.
    pub fn save(&self) -> Vec<u8> {
        let mut output = Output::new(MAGIC);
        output.text(&self.model);
        output.text(&self.vocabulary);
        output.number(self.neighbours as u32);
        output.floats(&[self.human_weight]);
        output.number(self.projection.dimensions as u32);
        output.floats(&self.projection.mean);
        output.floats(&self.projection.basis);
        output.texts(&self.products);
        output.floats(&self.codes);
        output.number(self.attributes.len() as u32);
        self.attributes.iter().for_each(|attribute| output.attribute(attribute));
        output.finish()
    }

    /// Reads a saved state.
    ///
    /// # Errors
    /// It is none, is of another version, was damaged, or does not add up.
    pub fn load(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut input = Input::new(bytes, MAGIC)?;
        let taught = input.taught()?;
        if input.bytes.is_empty() { Ok(taught) } else { Err(LoadError::Malformed("more than a state")) }
    }
}

impl ZeroShot {
    /// The saved form.
    pub fn save(&self) -> Vec<u8> {
        let mut output = Output::new(WORDS_MAGIC);
        output.number(self.dimensions as u32);
        output.number(self.attributes.len() as u32);
        for (name, own) in &self.attributes {
            output.text(name);
            output.texts(&own.values);
            output.floats(&own.directions);
            output.floats(&[own.temperature, own.threshold, own.accuracy]);
        }
        output.finish()
    }

    /// Reads saved directions.
    ///
    /// # Errors
    /// As [`Taught::load`].
    pub fn load(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut input = Input::new(bytes, WORDS_MAGIC)?;
        let (dimensions, count) = (input.length()?, input.length()?);
        if !(1..=DIMENSIONS_MAX).contains(&dimensions) || count > ATTRIBUTES_MAX {
            return Err(LoadError::Malformed("the directions"));
        }
        let attributes = (0..count).map(|_| Ok((input.text()?, input.directions(dimensions)?))).collect::<Result<_, LoadError>>()?;
        if input.bytes.is_empty() { Ok(Self { dimensions, attributes }) } else { Err(LoadError::Malformed("more than directions")) }
    }
}

struct Output {
    bytes: Vec<u8>,
}

impl Output {
    fn new(magic: [u8; 8]) -> Self {
        let mut output = Self { bytes: magic.to_vec() };
        output.number(VERSION);
        output
    }

    fn finish(mut self) -> Vec<u8> {
        let checksum = *blake3::hash(&self.bytes).as_bytes();
        self.bytes.extend(checksum);
        self.bytes
    }

    fn number(&mut self, number: u32) {
        self.bytes.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.bytes.extend(text.as_bytes());
    }

    fn texts(&mut self, texts: &[String]) {
        self.number(texts.len() as u32);
        texts.iter().for_each(|text| self.text(text));
    }

    fn floats(&mut self, floats: &[f32]) {
        self.number(floats.len() as u32);
        floats.iter().for_each(|float| self.bytes.extend(float.to_le_bytes()));
    }

    fn attribute(&mut self, attribute: &TaughtAttribute) {
        self.text(&attribute.name);
        self.number(match attribute.measure {
            None => 0,
            Some(Measure::Palette) => 1,
            Some(Measure::Pattern) => 2,
        });
        self.texts(&attribute.classes);
        self.floats(&attribute.frequency);
        self.floats(&attribute.block.mean);
        self.floats(&attribute.block.scale);
        self.floats(&attribute.probe.weights);
        let Mix { temperature, neighbours, measured, heard } = attribute.mix;
        self.floats(&[temperature, neighbours, measured, heard, attribute.threshold, attribute.accuracy]);
        self.number(attribute.class_of.len() as u32);
        attribute.class_of.iter().for_each(|class| self.bytes.extend(class.to_le_bytes()));
    }
}

struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// What stands between a whole stream's version and its checksum.
    fn new(bytes: &'a [u8], magic: [u8; 8]) -> Result<Self, LoadError> {
        if bytes.len() < magic.len() + 4 + CHECKSUM_BYTES || bytes[..magic.len()] != magic {
            return Err(LoadError::Magic);
        }
        let (state, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        let mut input = Self { bytes: &state[magic.len()..] };
        match input.number()? {
            VERSION => {}
            version => return Err(LoadError::Version(version)),
        }
        if blake3::hash(state).as_bytes()[..] != *checksum {
            return Err(LoadError::Checksum);
        }
        Ok(input)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], LoadError> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(LoadError::Malformed("it breaks off"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, LoadError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn length(&mut self) -> Result<usize, LoadError> {
        Ok(self.number()? as usize)
    }

    fn text(&mut self) -> Result<String, LoadError> {
        let length = self.length()?;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| LoadError::Malformed("a text"))
    }

    fn texts(&mut self) -> Result<Vec<String>, LoadError> {
        let count = self.length()?;
        // Each takes its length at least.
        if count > self.bytes.len() / 4 {
            return Err(LoadError::Malformed("a count"));
        }
        (0..count).map(|_| self.text()).collect()
    }

    fn floats(&mut self) -> Result<Vec<f32>, LoadError> {
        let bytes = self.length()?.checked_mul(4).ok_or(LoadError::Malformed("a length"))?;
        let floats: Vec<f32> =
            self.take(bytes)?.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
        if floats.iter().all(|float| float.is_finite()) { Ok(floats) } else { Err(LoadError::Malformed("a number")) }
    }

    fn taught(&mut self) -> Result<Taught, LoadError> {
        let (model, vocabulary) = (self.text()?, self.text()?);
        let (neighbours, weight) = (self.length()?, self.floats()?);
        let [human_weight] = weight[..] else { return Err(LoadError::Malformed("a weight")) };
        let dimensions = self.length()?;
        let (mean, basis) = (self.floats()?, self.floats()?);
        let is_basis = (1..=DIMENSIONS_MAX).contains(&dimensions) && mean.len() == dimensions;
        if !is_basis
            || basis.is_empty()
            || !basis.len().is_multiple_of(dimensions)
            || !(1..=100).contains(&neighbours)
            || human_weight <= 0.0
        {
            return Err(LoadError::Malformed("the projection"));
        }
        let projection = Projection { dimensions, mean, basis };
        let (products, codes) = (self.texts()?, self.floats()?);
        if codes.len() != products.len() * projection.components() {
            return Err(LoadError::Malformed("the codes"));
        }
        let count = self.length()?;
        if count > ATTRIBUTES_MAX {
            return Err(LoadError::Malformed("the attributes"));
        }
        let attributes =
            (0..count).map(|_| self.attribute(projection.components(), products.len())).collect::<Result<Vec<_>, LoadError>>()?;
        Ok(Taught { model, vocabulary, neighbours, human_weight, projection, products, codes, attributes })
    }

    fn directions(&mut self, dimensions: usize) -> Result<Directions, LoadError> {
        let (values, directions, numbers) = (self.texts()?, self.floats()?, self.floats()?);
        let [temperature, threshold, accuracy] = numbers[..] else { return Err(LoadError::Malformed("a calibration")) };
        let is_sound = (1..=VALUES_MAX).contains(&values.len()) && directions.len() == values.len() * dimensions;
        if !is_sound || temperature <= 0.0 || threshold < 0.0 || accuracy < 0.0 {
            return Err(LoadError::Malformed("directions"));
        }
        Ok(Directions { values, directions, temperature, threshold, accuracy })
    }

    fn attribute(&mut self, components: usize, rows: usize) -> Result<TaughtAttribute, LoadError> {
        let name = self.text()?;
        let measure = match self.number()? {
            0 => None,
            1 => Some(Measure::Palette),
            2 => Some(Measure::Pattern),
            _ => return Err(LoadError::Malformed("a measure")),
        };
        let (classes, frequency) = (self.texts()?, self.floats()?);
        let (mean, scale) = (self.floats()?, self.floats()?);
        let block = Block { measure: measure.filter(|_| !mean.is_empty()), mean, scale };
        let probe = Probe { classes: classes.len(), weights: self.floats()? };
        let is_known = (2..=CLASSES_MAX).contains(&classes.len()) && classes.is_sorted() && frequency.len() == classes.len();
        let is_block = block.scale.len() == block.mean.len();
        if !is_known || !is_block || probe.weights.len() != (components + block.len() + 1) * classes.len() {
            return Err(LoadError::Malformed("an attribute"));
        }
        let numbers = self.floats()?;
        let [temperature, neighbours, measured, heard, threshold, accuracy] = numbers[..] else {
            return Err(LoadError::Malformed("a mix"));
        };
        if temperature <= 0.0 || [neighbours, measured, heard, threshold, accuracy].iter().any(|number| *number < 0.0) {
            return Err(LoadError::Malformed("a mix"));
        }
        let count = self.length()?;
        let class_of: Vec<u16> =
            self.take(count.saturating_mul(2))?.chunks_exact(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]])).collect();
        let is_class = |packed: &u16| unpacked(*packed).is_none_or(|(class, _)| class < classes.len());
        if class_of.len() != rows || !class_of.iter().all(is_class) {
            return Err(LoadError::Malformed("a class"));
        }
        let mix = Mix { temperature, neighbours, measured, heard };
        Ok(TaughtAttribute { name, measure, classes, frequency, block, probe, mix, threshold, accuracy, class_of })
    }
}
