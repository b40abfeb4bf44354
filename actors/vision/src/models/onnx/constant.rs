//! Numbers that are known before a model runs, and reading them out of a file.

use super::file::Tensor;
use half::{bf16, f16};
use std::rc::Rc;

/// A known tensor: row-major, outermost first.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    pub(super) numbers: Numbers,
}

/// Booleans are the integers 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numbers {
    Floats(Rc<[f32]>),
    Ints(Rc<[i64]>),
}

impl Constant {
    pub(super) fn floats(shape: Vec<usize>, numbers: Vec<f32>) -> Constant {
        debug_assert_eq!(shape.iter().product::<usize>(), numbers.len());
        Constant { shape, numbers: Numbers::Floats(numbers.into()) }
    }

    pub(super) fn ints(shape: Vec<usize>, numbers: Vec<i64>) -> Constant {
        debug_assert_eq!(shape.iter().product::<usize>(), numbers.len());
        Constant { shape, numbers: Numbers::Ints(numbers.into()) }
    }

    /// A list of integers.
    pub(super) fn list(numbers: Vec<i64>) -> Constant {
        Constant::ints(vec![numbers.len()], numbers)
    }

    pub(super) fn len(&self) -> usize {
        match &self.numbers {
            Numbers::Floats(numbers) => numbers.len(),
            Numbers::Ints(numbers) => numbers.len(),
        }
    }

    /// The number at a place, as a float.
    pub(super) fn float(&self, at: usize) -> f32 {
        match &self.numbers {
            Numbers::Floats(numbers) => numbers[at],
            Numbers::Ints(numbers) => numbers[at] as f32,
        }
    }

    /// All numbers as floats.
    pub(super) fn to_floats(&self) -> Rc<[f32]> {
        match &self.numbers {
            Numbers::Floats(numbers) => Rc::clone(numbers),
            Numbers::Ints(numbers) => numbers.iter().map(|number| *number as f32).collect(),
        }
    }

    /// All numbers as integers, towards zero.
    pub(super) fn to_ints(&self) -> Rc<[i64]> {
        match &self.numbers {
            Numbers::Floats(numbers) => numbers.iter().map(|number| *number as i64).collect(),
            Numbers::Ints(numbers) => Rc::clone(numbers),
        }
    }

    /// The only number, if there is one.
    pub(super) fn scalar(&self) -> Option<f64> {
        (self.len() == 1).then(|| match &self.numbers {
            Numbers::Floats(numbers) => f64::from(numbers[0]),
            Numbers::Ints(numbers) => numbers[0] as f64,
        })
    }

    /// The number that all of them are, if they are.
    pub(super) fn uniform(&self) -> Option<f64> {
        match &self.numbers {
            Numbers::Floats(numbers) => {
                numbers.first().filter(|first| numbers.iter().all(|number| number == *first)).map(|number| f64::from(*number))
            }
            Numbers::Ints(numbers) => {
                numbers.first().filter(|first| numbers.iter().all(|number| number == *first)).map(|number| *number as f64)
            }
        }
    }

    /// The same numbers in another shape.
    pub(super) fn reshaped(&self, shape: Vec<usize>) -> Option<Constant> {
        let count = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side));
        (count == Some(self.len())).then(|| Constant { shape, numbers: self.numbers.clone() })
    }

    /// The numbers at the given places, in a new shape.
    pub(super) fn picked(&self, shape: Vec<usize>, places: impl Iterator<Item = usize>) -> Constant {
        let numbers = match &self.numbers {
            Numbers::Floats(numbers) => Numbers::Floats(places.map(|at| numbers[at]).collect()),
            Numbers::Ints(numbers) => Numbers::Ints(places.map(|at| numbers[at]).collect()),
        };
        Constant { shape, numbers }
    }
}

/// Reads a tensor; `external` gives the bytes of a file beside the model.
pub(super) fn read<'a>(tensor: &Tensor<'a>, external: &dyn Fn(&str) -> Option<&'a [u8]>) -> Result<Constant, String> {
    let count = tensor.shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side)).ok_or("its shape is too large")?;
    let raw = match tensor.external {
        None => tensor.raw,
        Some(place) => {
            let file = external(place.file).ok_or_else(|| format!("its numbers lie in {:?}, which is not there", place.file))?;
            let start = usize::try_from(place.offset).ok().filter(|start| *start <= file.len());
            let rest = &file[start.ok_or("its numbers lie beyond the end of their file")?..];
            let length = place.length.map_or(Some(rest.len()), |length| usize::try_from(length).ok());
            Some(length.and_then(|length| rest.get(..length)).ok_or("its numbers lie beyond the end of their file")?)
        }
    };
    let numbers = match raw {
        Some(raw) => from_bytes(tensor.kind, raw)?,
        None => from_lists(tensor)?,
    };
    let constant = Constant { shape: tensor.shape.clone(), numbers };
    if constant.len() == count { Ok(constant) } else { Err(format!("{} numbers do not fill {:?}", constant.len(), tensor.shape)) }
}

fn from_bytes(kind: i64, raw: &[u8]) -> Result<Numbers, String> {
    fn map<const N: usize, T, R>(raw: &[u8], read: impl Fn([u8; N]) -> R) -> Result<T, String>
    where
        T: FromIterator<R>,
    {
        let (chunks, []) = raw.as_chunks::<N>() else { return Err("its numbers are cut".into()) };
        Ok(chunks.iter().map(|chunk| read(*chunk)).collect())
    }
    Ok(match kind {
        1 => Numbers::Floats(map(raw, f32::from_le_bytes)?),
        10 => Numbers::Floats(map(raw, |bytes| f16::from_le_bytes(bytes).to_f32())?),
        16 => Numbers::Floats(map(raw, |bytes| bf16::from_le_bytes(bytes).to_f32())?),
        11 => Numbers::Floats(map(raw, |bytes| f64::from_le_bytes(bytes) as f32)?),
        7 => Numbers::Ints(map(raw, i64::from_le_bytes)?),
        6 => Numbers::Ints(map(raw, |bytes| i64::from(i32::from_le_bytes(bytes)))?),
        5 => Numbers::Ints(map(raw, |bytes| i64::from(i16::from_le_bytes(bytes)))?),
        4 => Numbers::Ints(map(raw, |bytes| i64::from(u16::from_le_bytes(bytes)))?),
        3 => Numbers::Ints(map(raw, |bytes| i64::from(i8::from_le_bytes(bytes)))?),
        2 | 9 => Numbers::Ints(map(raw, |[byte]| i64::from(byte))?),
        _ => return Err(format!("numbers of kind {kind} are not read")),
    })
}

fn from_lists(tensor: &Tensor<'_>) -> Result<Numbers, String> {
    let halves = |read: fn(u16) -> f32| tensor.ints.iter().map(|bits| read(*bits as u16)).collect();
    Ok(match tensor.kind {
        1 => Numbers::Floats(tensor.floats.as_slice().into()),
        10 => Numbers::Floats(halves(|bits| f16::from_bits(bits).to_f32())),
        16 => Numbers::Floats(halves(|bits| bf16::from_bits(bits).to_f32())),
        11 => Numbers::Floats(tensor.doubles.iter().map(|number| *number as f32).collect()),
        2..=7 | 9 => Numbers::Ints(tensor.ints.as_slice().into()),
        kind => return Err(format!("numbers of kind {kind} are not read")),
    })
}
