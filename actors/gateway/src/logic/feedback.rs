//! A query moved towards examples that are liked and away from others.

/// What the query itself weighs, what the mean of the liked examples and what the mean of the disliked ones: the usual weights of
/// Rocchio's relevance feedback (Manning, Raghavan, Schütze: Introduction to Information Retrieval, 2008, chapter 9.1.1).
pub(crate) const QUERY_WEIGHT: f32 = 1.0;
pub(crate) const POSITIVE_WEIGHT: f32 = 0.75;
pub(crate) const NEGATIVE_WEIGHT: f32 = 0.15;

/// `QUERY_WEIGHT * query + POSITIVE_WEIGHT * mean(positive) - NEGATIVE_WEIGHT * mean(negative)`, brought to length 1; all are
/// `[dimensions]`, others are passed over. `None` without anything to move towards, or when nothing is left.
pub(crate) fn rocchio(query: Option<&[f32]>, positive: &[Vec<f32>], negative: &[Vec<f32>]) -> Option<Vec<f32>> {
    let dimensions = query.map(<[f32]>::len).or_else(|| positive.first().map(Vec::len))?;
    let mut sum = vec![0.0_f32; dimensions];
    let mut add = |vectors: &[&[f32]], weight: f32| {
        let fitting: Vec<_> = vectors.iter().filter(|vector| vector.len() == dimensions).collect();
        for vector in &fitting {
            sum.iter_mut().zip(vector.iter()).for_each(|(sum, number)| *sum += weight / fitting.len() as f32 * number);
        }
    };
    add(query.as_slice(), QUERY_WEIGHT);
    add(&positive.iter().map(Vec::as_slice).collect::<Vec<_>>(), POSITIVE_WEIGHT);
    add(&negative.iter().map(Vec::as_slice).collect::<Vec<_>>(), -NEGATIVE_WEIGHT);
    normalised(&sum)
}

/// The mean of a product's vectors, brought to length 1.
pub(crate) fn mean<'a>(vectors: impl IntoIterator<Item = &'a [f32]>) -> Option<Vec<f32>> {
    let mut vectors = vectors.into_iter();
    let mut sum = vectors.next()?.to_vec();
    vectors.for_each(|vector| sum.iter_mut().zip(vector).for_each(|(sum, number)| *sum += number));
    normalised(&sum)
}

/// Brought to length 1; `None` for what has no direction.
pub(crate) fn normalised(vector: &[f32]) -> Option<Vec<f32>> {
    let norm = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    (norm.is_finite() && norm > 0.0).then(|| vector.iter().map(|number| (f64::from(*number) / norm) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moves_by_table() {
        let (east, north, west) = (vec![1.0, 0.0], vec![0.0, 1.0], vec![-1.0, 0.0]);
        let is = |found: Option<Vec<f32>>, expected: [f32; 2]| {
            let norm = expected[0].hypot(expected[1]);
            let found = found.expect("a vector");
            found.iter().zip(expected).for_each(|(found, expected)| assert!((found - expected / norm).abs() < 1e-6, "{found} {expected}"));
        };
        is(rocchio(Some(&east), &[], &[]), [1.0, 0.0]);
        is(rocchio(Some(&east), std::slice::from_ref(&north), &[]), [1.0, 0.75]);
        is(rocchio(Some(&east), &[], std::slice::from_ref(&north)), [1.0, -0.15]);
        is(rocchio(None, &[east.clone(), north.clone()], std::slice::from_ref(&north)), [0.375, 0.225]);
        is(rocchio(Some(&east), &[north.clone(), vec![1.0, 0.0, 0.0]], &[]), [1.0, 0.75]);
        assert_eq!(rocchio(None, &[], std::slice::from_ref(&north)), None, "away from something is no direction");
        assert_eq!(mean([east.as_slice(), west.as_slice()]), None, "nothing is left");
        is(mean([east.as_slice(), north.as_slice()]), [1.0, 1.0]);
        assert_eq!(normalised(&[f32::NAN, 1.0]), None);
        assert_eq!(normalised(&[]), None);
    }

    proptest! {
        #[test]
        fn any_numbers_give_length_one_or_nothing(query in prop::collection::vec(-1e6_f32..1e6, 0..5), positive in prop::collection::vec(prop::collection::vec(-1.0_f32..1.0, 3), 0..4)) {
            if let Some(moved) = rocchio(Some(&query), &positive, &[]) {
                let norm = moved.iter().map(|number| number * number).sum::<f32>().sqrt();
                prop_assert!((norm - 1.0).abs() < 1e-3);
            }
        }
    }
}
