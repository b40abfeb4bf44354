//! The named tensors of a model's file, taken out one by one by the builders.

use super::ModelError;
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;

/// Tensors of one file whose numbers are f32.
pub(super) struct Tensors {
    by_name: HashMap<String, Tensor>,
}

/// Row-major numbers and their shape.
pub(super) struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<f32>,
}

impl Tensors {
    pub(super) fn new(by_name: HashMap<String, Tensor>) -> Tensors {
        Tensors { by_name }
    }

    /// The shape of a tensor, if it is there.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.by_name.get(name).map(|tensor| &tensor.shape[..])
    }

    /// Whether a tensor is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The same tensors under other names.
    pub(super) fn renamed(self, rename: impl Fn(&str) -> String) -> Tensors {
        Tensors { by_name: self.by_name.into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect() }
    }

    /// Takes a tensor out. Its shape must be `shape`, its numbers finite.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let error = |reason: String| ModelError::Tensor { name: name.to_owned(), reason };
        let tensor = self.by_name.remove(name).ok_or_else(|| error("is not in the file".into()))?;
        if tensor.shape != shape {
            return Err(error(format!("is {:?}, the model needs {shape:?}", tensor.shape)));
        }
        if !tensor.data.iter().all(|number| number.is_finite()) {
            return Err(error("holds numbers that are not finite".into()));
        }
        Ok(tensor.data)
    }
}

/// Reads a safetensors file; tensors that hold no floats are left out.
pub(super) fn from_safetensors(bytes: &[u8]) -> Result<Tensors, ModelError> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| ModelError::Format { format: "safetensors", reason: error.to_string() })?;
    let floats = file.iter().filter_map(|(name, view)| {
        let kind = match view.dtype() {
            Dtype::F32 => Floats::F32,
            Dtype::F16 => Floats::F16,
            Dtype::BF16 => Floats::Bf16,
            _ => return None,
        };
        Some((name.to_owned(), Tensor { shape: view.shape().to_vec(), data: kind.read(view.data()) }))
    });
    Ok(Tensors::new(floats.collect()))
}

/// How a file writes floats, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Floats {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
}

impl Floats {
    pub(super) fn bytes(self) -> usize {
        if self == Floats::F32 { 4 } else { 2 }
    }

    /// The numbers of `bytes`; what is left over is passed by.
    pub(super) fn read(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Floats::F32 => bytes.as_chunks().0.iter().map(|number| f32::from_le_bytes(*number)).collect(),
            Floats::F16 => bytes.as_chunks().0.iter().map(|number| f16::from_le_bytes(*number).to_f32()).collect(),
            Floats::Bf16 => bytes.as_chunks().0.iter().map(|number| bf16::from_le_bytes(*number).to_f32()).collect(),
        }
    }
}

/// `[rows, columns]` to `[columns, rows]`.
pub(super) fn transpose(data: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut result = vec![0.0; data.len()];
    for (row, values) in data.chunks_exact(columns).enumerate() {
        for (column, value) in values.iter().enumerate() {
            result[column * rows + row] = *value;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(data: Vec<f32>) -> Tensors {
        Tensors::new(HashMap::from([("w".to_owned(), Tensor { shape: vec![2, data.len() / 2], data })]))
    }

    #[test]
    fn a_tensor_is_taken_once_and_only_as_needed() {
        let mut file = tensors(vec![1.0, 2.0]);
        assert_eq!(file.take("w", &[2, 1]).expect("there"), [1.0, 2.0]);
        assert_eq!(file.take("w", &[2, 1]).expect_err("gone").to_string(), "tensor w: is not in the file");
        assert_eq!(tensors(vec![0.0; 4]).take("w", &[4]).expect_err("shape").to_string(), "tensor w: is [2, 2], the model needs [4]");
        assert!(tensors(vec![f32::NAN, 0.0]).take("w", &[2, 1]).is_err());
    }

    #[test]
    fn transposing_twice_is_nothing() {
        assert_eq!(transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(transpose(&transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3), 3, 2), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn a_safetensors_file_is_read_and_a_broken_one_named() {
        let numbers: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|number| number.to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new(Dtype::F32, vec![2], &numbers).expect("fits");
        let bytes = safetensors::serialize([("w", view)], None).expect("serializes");
        assert_eq!(from_safetensors(&bytes).expect("sound").take("w", &[2]).expect("there"), [1.5, -2.0]);
        for cut in 0..bytes.len() {
            assert!(from_safetensors(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
