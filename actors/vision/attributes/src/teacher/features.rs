//! What the probe of an attribute looks at: the embedding's code, and for colours and patterns what was measured.

use crate::pixels::{HISTOGRAM_LEN, Measurements};
use crate::vocabulary::Measure;

/// How much what was measured weighs against the code, whose numbers' mean square is 1.
const SCALE: f32 = 1.0;
/// Deviations below this are those of numbers that do not vary.
const DEVIATION_MIN: f32 = 0.02;
/// Numbers of a pattern.
const PATTERN_LEN: usize = 6;

/// Measured numbers, brought to the code's scale.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Block {
    pub(crate) measure: Option<Measure>,
    pub(crate) mean: Vec<f32>,
    pub(crate) scale: Vec<f32>,
}

impl Block {
    /// For an attribute that this measures, from the rows that were measured.
    pub(crate) fn fit(measure: Option<Measure>, rows: &[Option<&Measurements>]) -> Self {
        let measured: Vec<Vec<f32>> = rows.iter().flatten().filter_map(|row| Some(numbers(measure?, row))).collect();
        let Some(first) = measured.first() else { return Self::default() };
        let count = measured.len() as f64;
        let mut sums = vec![(0f64, 0f64); first.len()];
        for row in &measured {
            sums.iter_mut().zip(row).for_each(|((sum, squares), value)| {
                *sum += f64::from(*value);
                *squares += f64::from(*value).powi(2);
            });
        }
        let mean = sums.iter().map(|(sum, _)| (sum / count) as f32).collect();
        let deviation = |(sum, squares): &(f64, f64)| (squares / count - (sum / count).powi(2)).max(0.0).sqrt() as f32;
        let scale = sums.iter().map(|sums| SCALE / deviation(sums).max(DEVIATION_MIN).sqrt()).collect();
        Self { measure, mean, scale }
    }

    /// Numbers that it adds.
    pub(crate) fn len(&self) -> usize {
        self.mean.len()
    }

    /// Appends a picture's numbers; one that was not measured is average in all.
    pub(crate) fn append(&self, measurements: Option<&Measurements>, to: &mut Vec<f32>) {
        let end = to.len() + self.len();
        if let (Some(measure), Some(measurements)) = (self.measure, measurements) {
            let numbers = numbers(measure, measurements);
            if numbers.len() == self.len() {
                to.extend(numbers.iter().zip(&self.mean).zip(&self.scale).map(|((value, mean), scale)| (value - mean) * scale));
            }
        }
        to.resize(end, 0.0);
    }
}

fn numbers(measure: Measure, measurements: &Measurements) -> Vec<f32> {
    match measure {
        Measure::Palette => {
            let mut numbers = measurements.histogram.clone();
            numbers.resize(HISTOGRAM_LEN, 0.0);
            numbers
        }
        Measure::Pattern => {
            let numbers = measurements.pattern.numbers();
            debug_assert_eq!(numbers.len(), PATTERN_LEN);
            numbers.to_vec()
        }
    }
}

/// What was measured as shares of classes: a colour's name and how much of the product bears it. `None` where nothing was measured.
pub(crate) fn shares(measure: Measure, measurements: &Measurements, classes: &[String]) -> Option<Vec<f32>> {
    let named: Vec<(&str, f32)> = match measure {
        Measure::Palette => measurements.names.iter().map(|named| (named.name.as_str(), named.share)).collect(),
        Measure::Pattern => measurements.pattern.kinds().to_vec(),
    };
    if named.is_empty() {
        return None;
    }
    let share_of = |class: &String| named.iter().find(|(name, _)| name == class).map_or(0.0, |(_, share)| *share);
    let mut shares: Vec<f32> = classes.iter().map(share_of).collect();
    // What no class bears is spread over all of them.
    let rest = (1.0 - shares.iter().sum::<f32>()).max(0.0) / classes.len().max(1) as f32;
    shares.iter_mut().for_each(|share| *share += rest);
    Some(shares)
}
