//! `.fbin` and `.ibin`.

use std::path::Path;

use super::CurveError;

/// Rows of f32 numbers.
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Numbers of a row.
    pub dimension: usize,
    values: Vec<f32>,
}

/// The nearest rows of every query.
pub struct Truth {
    /// Number of queries.
    pub queries: usize,
    /// Rows a query.
    pub k: usize,
    /// `k` rows for each query, nearest first.
    pub ids: Vec<u32>,
}

impl Matrix {
    /// Reads an `.fbin`.
    ///
    /// # Errors
    /// [`CurveError`] where the file cannot be read or its length is not what its head says.
    pub fn read(path: &Path) -> Result<Self, CurveError> {
        let (rows, dimension, bytes) = table(path)?;
        let wanted = rows.checked_mul(dimension).and_then(|count| count.checked_mul(4));
        if wanted != Some(bytes.len() - 8) {
            return Err(format(path, format!("{rows} rows of {dimension} numbers in {} bytes", bytes.len())));
        }
        let values: Vec<f32> = numbers(&bytes[8..], f32::from_le_bytes).collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(format(path, "a number is not finite".to_owned()));
        }
        Ok(Self { rows, dimension, values })
    }

    /// Row `index`.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dimension..(index + 1) * self.dimension]
    }
}

impl Truth {
    /// Reads an `.ibin`, with or without scores behind the ids.
    ///
    /// # Errors
    /// [`CurveError`] where the file cannot be read or its length is not what its head says.
    pub fn read(path: &Path) -> Result<Self, CurveError> {
        let (queries, k, bytes) = table(path)?;
        let ids = queries.checked_mul(k).and_then(|count| count.checked_mul(4));
        match ids {
            Some(ids) if bytes.len() - 8 == ids || Some(bytes.len() - 8) == ids.checked_mul(2) => {
                Ok(Self { queries, k, ids: numbers(&bytes[8..8 + ids], u32::from_le_bytes).collect() })
            }
            _ => Err(format(path, format!("{queries} queries with {k} ids in {} bytes", bytes.len()))),
        }
    }
}

fn table(path: &Path) -> Result<(usize, usize, Vec<u8>), CurveError> {
    let bytes = std::fs::read(path).map_err(|source| CurveError::Io { path: path.to_owned(), source })?;
    match bytes[..] {
        [a, b, c, d, e, f, g, h, ..] => Ok((u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize, bytes)),
        _ => Err(format(path, "shorter than its head".to_owned())),
    }
}

fn numbers<T>(bytes: &[u8], read: impl Fn([u8; 4]) -> T) -> impl Iterator<Item = T> {
    bytes.chunks_exact(4).map(move |four| read([four[0], four[1], four[2], four[3]]))
}

fn format(path: &Path, what: String) -> CurveError {
    CurveError::Format { path: path.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), bytes).expect("written");
        file
    }

    #[test]
    fn tables_are_read_and_damaged_ones_refused() {
        let head = |rows: u32, columns: u32| [rows.to_le_bytes(), columns.to_le_bytes()].concat();
        let values: Vec<u8> = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let matrix = Matrix::read(write(&[head(2, 3), values.clone()].concat()).path()).expect("a matrix");
        assert_eq!(matrix.row(1), [4.0, 5.0, 6.0]);
        assert!(Matrix::read(write(&[head(3, 3), values.clone()].concat()).path()).is_err());
        assert!(Matrix::read(write(&[head(u32::MAX, u32::MAX), values].concat()).path()).is_err());
        assert!(Matrix::read(write(&[head(1, 1), f32::NAN.to_le_bytes().to_vec()].concat()).path()).is_err());
        assert!(Matrix::read(write(&[0; 7]).path()).is_err());
        assert!(Matrix::read(Path::new("no such file")).is_err());
        let ids: Vec<u8> = [7u32, 8].iter().flat_map(|id| id.to_le_bytes()).collect();
        for bytes in [[head(1, 2), ids.clone()].concat(), [head(1, 2), ids.clone(), ids.clone()].concat()] {
            assert_eq!(Truth::read(write(&bytes).path()).expect("a truth").ids, [7, 8]);
        }
        assert!(Truth::read(write(&[head(1, 3), ids].concat()).path()).is_err());
    }
}
