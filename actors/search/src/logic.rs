//! What decides: plain data in, plain data out.

pub mod cutoff;
pub mod diversify;
pub mod fuse;

/// A product's dense number, the same in columns, words and vectors as long as the process lives.
pub type Slot = u32;

/// The vector scaled to L2 norm 1; `None` when it holds something that is no finite number, or nothing but zeros.
pub fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let norm = vector.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
    (norm.is_finite() && norm > 0.0).then(|| vector.iter().map(|value| (f64::from(*value) / norm) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_vectors_by_table() {
        let cases: [(&[f32], Option<&[f32]>); 6] = [
            (&[3.0, 4.0], Some(&[0.6, 0.8])),
            (&[1e30, 0.0], Some(&[1.0, 0.0])),
            (&[0.0, 0.0], None),
            (&[f32::NAN, 1.0], None),
            (&[f32::INFINITY, 1.0], None),
            (&[], None),
        ];
        for (vector, expected) in cases {
            assert_eq!(unit(vector).as_deref(), expected, "{vector:?}");
        }
    }
}
