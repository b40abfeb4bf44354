//! The named tensors of a model's file, taken out one by one by the builders; until then they stay in the file.

use super::ModelError;
use super::weights::WeightFile;
use safetensors::{Dtype, SafeTensors};
use shaders::plan::{Data, Floats, Stored};
use std::collections::HashMap;

/// Tensors of one file whose numbers are floats.
pub(super) struct Tensors {
    file: WeightFile,
    by_name: HashMap<String, Tensor>,
}

/// Where a tensor's numbers lie.
pub(super) struct Tensor {
    shape: Vec<usize>,
    floats: Floats,
    /// Byte of the first number.
    start: usize,
    /// In numbers, one for each axis; `None` where the numbers are dense and row-major.
    strides: Option<Vec<usize>>,
}

impl Tensor {
    /// Row-major numbers from byte `start` on.
    fn dense(shape: Vec<usize>, floats: Floats, start: usize) -> Tensor {
        Tensor { shape, floats, start, strides: None }
    }

    /// A view of `held` numbers that begin at byte `start`: from number `offset` on, with these strides.
    pub(super) fn strided(
        shape: Vec<usize>,
        strides: Vec<usize>,
        floats: Floats,
        [start, held]: [usize; 2],
        offset: usize,
    ) -> Result<Tensor, &'static str> {
        let count = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side)).ok_or("its shape is too large")?;
        let mut axes = shape.iter().zip(&strides);
        let reach = axes.try_fold(offset, |reach, (side, stride)| side.saturating_sub(1).checked_mul(*stride)?.checked_add(reach));
        if count > held || (count > 0 && reach.is_none_or(|reach| reach >= held)) {
            return Err("it reaches beyond its storage");
        }
        if count == 0 {
            return Ok(Tensor::dense(shape, floats, start));
        }
        let is_dense =
            (0..shape.len()).rev().try_fold(1, |wanted, axis| (shape[axis] == 1 || strides[axis] == wanted).then(|| wanted * shape[axis]));
        let strides = is_dense.is_none().then_some(strides);
        Ok(Tensor { shape, floats, start: start + offset * floats.bytes(), strides })
    }

    /// How many numbers it has.
    pub(super) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its numbers, row-major, and the bytes they were read from.
    fn read(&self, bytes: &[u8]) -> (Vec<f32>, usize) {
        let (count, size) = (self.count(), self.floats.bytes());
        let Some(strides) = &self.strides else {
            return (self.floats.read(&bytes[self.start..self.start + count * size]), count * size);
        };
        let reach: usize = self.shape.iter().zip(strides).map(|(side, stride)| (side - 1) * stride).sum();
        let held = self.floats.read(&bytes[self.start..self.start + (reach + 1) * size]);
        let mut numbers = Vec::with_capacity(count);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..count {
            numbers.push(held[index.iter().zip(strides).map(|(index, stride)| index * stride).sum::<usize>()]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        (numbers, (reach + 1) * size)
    }
}

impl Tensors {
    /// Tensors of a file, which reaches as far as they do.
    pub(super) fn new(file: WeightFile, by_name: HashMap<String, Tensor>) -> Tensors {
        Tensors { file, by_name }
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
        Tensors { by_name: self.by_name.into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect(), ..self }
    }

    /// Takes a tensor out. Its shape must be `shape`, its numbers finite.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let tensor = self.remove(name, shape)?;
        let (numbers, bytes) = tensor.read(self.file.bytes());
        self.file.forget(tensor.start..tensor.start + bytes);
        if numbers.iter().all(|number| number.is_finite()) { Ok(numbers) } else { Err(not_finite(name)) }
    }

    /// Takes a large table out of which a run reads few rows: it stays in the file.
    pub(super) fn take_table(&mut self, name: &str, shape: &[usize]) -> Result<Data, ModelError> {
        if self.by_name.get(name).is_none_or(|tensor| tensor.strides.is_some()) {
            return self.take(name, shape).map(Data::from);
        }
        let tensor = self.remove(name, shape)?;
        let (start, count) = (tensor.start, tensor.count());
        let stored = Stored::new(self.file.shared(), start, count, tensor.floats);
        let stored = stored.ok_or_else(|| ModelError::Tensor { name: name.to_owned(), reason: "reaches beyond the file".into() })?;
        let is_finite = stored.is_finite();
        self.file.forget(start..start + count * tensor.floats.bytes());
        if is_finite { Ok(stored.into()) } else { Err(not_finite(name)) }
    }

    fn remove(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let error = |reason: String| ModelError::Tensor { name: name.to_owned(), reason };
        let tensor = self.by_name.remove(name).ok_or_else(|| error("is not in the file".into()))?;
        if tensor.shape == shape { Ok(tensor) } else { Err(error(format!("is {:?}, the model needs {shape:?}", tensor.shape))) }
    }
}

fn not_finite(name: &str) -> ModelError {
    ModelError::Tensor { name: name.to_owned(), reason: "holds numbers that are not finite".into() }
}

/// Reads a safetensors file; tensors that hold no floats are left out.
pub(super) fn from_safetensors(file: &WeightFile) -> Result<Tensors, ModelError> {
    let bytes = file.bytes();
    let error = |reason: String| ModelError::Format { format: "safetensors", reason };
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|problem| error(problem.to_string()))?;
    // Eight bytes of the header's length stand before it; the numbers begin behind it.
    let first = header + 8;
    let mut by_name = HashMap::new();
    for (name, tensor) in metadata.tensors() {
        let floats = match tensor.dtype {
            Dtype::F32 => Floats::F32,
            Dtype::F16 => Floats::F16,
            Dtype::BF16 => Floats::Bf16,
            _ => continue,
        };
        let (start, end) = tensor.data_offsets;
        let count = tensor.shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side));
        if count.and_then(|count| count.checked_mul(floats.bytes())) != end.checked_sub(start) || first + end > bytes.len() {
            return Err(error(format!("tensor {name} does not fill its bytes")));
        }
        by_name.insert(name, Tensor::dense(tensor.shape.clone(), floats, first + start));
    }
    Ok(Tensors::new(file.clone(), by_name))
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

    /// One tensor `w` of two rows, in a safetensors file.
    fn file(numbers: &[f32]) -> Vec<u8> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new(Dtype::F32, vec![2, numbers.len() / 2], &bytes).expect("fits");
        safetensors::serialize([("w", view)], None).expect("serializes")
    }

    fn tensors(numbers: &[f32]) -> Tensors {
        from_safetensors(&file(numbers).into()).expect("sound")
    }

    #[test]
    fn a_tensor_is_taken_once_and_only_as_needed() {
        let mut file = tensors(&[1.5, -2.0]);
        assert_eq!((file.has("w"), file.shape("w")), (true, Some(&[2, 1][..])));
        assert_eq!(file.take("w", &[2, 1]).expect("there"), [1.5, -2.0]);
        assert_eq!(file.take("w", &[2, 1]).expect_err("gone").to_string(), "tensor w: is not in the file");
        assert_eq!(tensors(&[0.0; 4]).take("w", &[4]).expect_err("shape").to_string(), "tensor w: is [2, 2], the model needs [4]");
        assert!(tensors(&[f32::NAN, 0.0]).take("w", &[2, 1]).is_err());
    }

    #[test]
    fn a_table_stays_in_the_file() {
        let table = tensors(&[1.0, 2.0, 3.0, 4.0]).take_table("w", &[2, 2]).expect("there");
        assert_eq!((&table.numbers()[..], table.memory_bytes()), (&[1.0, 2.0, 3.0, 4.0][..], 0));
        let refused = |numbers: &[f32], shape: &[usize]| tensors(numbers).take_table("w", shape).expect_err("refused").to_string();
        assert_eq!(refused(&[0.0; 4], &[4]), "tensor w: is [2, 2], the model needs [4]");
        assert_eq!(refused(&[0.0, f32::INFINITY], &[2, 1]), "tensor w: holds numbers that are not finite");
    }

    #[test]
    fn transposing_twice_is_nothing() {
        assert_eq!(transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(transpose(&transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3), 3, 2), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn a_broken_safetensors_file_is_named() {
        let bytes = file(&[1.5, -2.0]);
        for cut in 0..bytes.len() {
            assert!(from_safetensors(&bytes[..cut].to_vec().into()).is_err(), "cut at {cut}");
        }
    }
}
