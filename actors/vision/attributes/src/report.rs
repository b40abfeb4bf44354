//! How good answers are: accuracy, coverage, precision above a threshold, and whether confidences mean what they say.

/// Bars of a reliability diagram.
pub const BINS: usize = 10;
/// A threshold that no confidence reaches: every answer is a suggestion.
pub const NEVER: f32 = 1.01;
/// Answers above a threshold that must be there before it is believed.
const ANSWERS_MIN: usize = 30;
/// By so many standard errors the answers must be better than asked for: few answers flatter.
const MARGIN: f64 = 0.5;

/// One answer and whether it was right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// 0 to 1.
    pub confidence: f32,
    /// The first value said is the one labelled.
    pub is_right: bool,
}

/// What answers come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// Answers looked at.
    pub answers: usize,
    /// Share of right ones.
    pub accuracy: f64,
    /// Share of answers at or above the threshold.
    pub coverage: f64,
    /// Share of right ones among those; 0 without any.
    pub precision: f64,
    /// Expected calibration error: mean distance between confidence and accuracy over [`BINS`] bars, weighted by answers (Guo et al. 2017).
    pub calibration_error: f64,
}

/// One bar of a reliability diagram.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// Answers in it.
    pub answers: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// Share of right ones.
    pub accuracy: f64,
}

/// Measures answers against a threshold.
pub fn quality(answers: &[Answer], threshold: f32) -> Quality {
    let share = |some: usize, all: usize| if all == 0 { 0.0 } else { some as f64 / all as f64 };
    let right = answers.iter().filter(|answer| answer.is_right).count();
    let (mut told, mut told_right) = (0, 0);
    for answer in answers.iter().filter(|answer| answer.confidence >= threshold) {
        told += 1;
        told_right += usize::from(answer.is_right);
    }
    let distances = bins(answers).into_iter().map(|bin| bin.answers as f64 * (bin.confidence - bin.accuracy).abs());
    Quality {
        answers: answers.len(),
        accuracy: share(right, answers.len()),
        coverage: share(told, answers.len()),
        precision: share(told_right, told),
        calibration_error: distances.sum::<f64>() / answers.len().max(1) as f64,
    }
}

/// The bars of a reliability diagram, by confidence from 0 to 1.
pub fn bins(answers: &[Answer]) -> [Bin; BINS] {
    let mut bins = [Bin::default(); BINS];
    for answer in answers {
        let bin = &mut bins[((answer.confidence.clamp(0.0, 1.0) * BINS as f32) as usize).min(BINS - 1)];
        bin.answers += 1;
        bin.confidence += f64::from(answer.confidence);
        bin.accuracy += f64::from(u8::from(answer.is_right));
    }
    for bin in bins.iter_mut().filter(|bin| bin.answers > 0) {
        bin.confidence /= bin.answers as f64;
        bin.accuracy /= bin.answers as f64;
    }
    bins
}

/// The lowest confidence at and above which answers are right at least as often as asked for; [`NEVER`] where there is none, or where
/// too few answers would tell.
pub fn threshold(answers: &[Answer], precision: f64) -> f32 {
    let mut sorted = answers.to_vec();
    sorted.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let (mut right, mut found) = (0usize, NEVER);
    let wanted = |count: usize| {
        let count = count as f64;
        (precision * count + MARGIN * (precision * (1.0 - precision) * count).sqrt()).min(count)
    };
    for (place, answer) in sorted.iter().enumerate() {
        right += usize::from(answer.is_right);
        // Answers of one confidence stand or fall together.
        let is_last = sorted.get(place + 1).is_none_or(|next| next.confidence < answer.confidence);
        if is_last && place + 1 >= ANSWERS_MIN && right as f64 >= wanted(place + 1) {
            found = answer.confidence;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(some: &[(f32, bool, usize)]) -> Vec<Answer> {
        some.iter()
            .flat_map(|(confidence, is_right, count)| vec![Answer { confidence: *confidence, is_right: *is_right }; *count])
            .collect()
    }

    #[test]
    fn quality_by_hand() {
        let found = quality(&answers(&[(0.95, true, 19), (0.95, false, 1), (0.55, true, 10), (0.55, false, 10)]), 0.9);
        assert_eq!((found.answers, found.accuracy, found.coverage, found.precision), (40, 29.0 / 40.0, 0.5, 0.95));
        assert!((found.calibration_error - 0.5 * 0.05).abs() < 1e-6, "{found:?}");
        assert_eq!(quality(&[], 0.5), Quality::default());
    }

    #[test]
    fn thresholds_by_table() {
        for (some, expected) in [
            (&[(0.9, true, 30), (0.4, false, 30)][..], 0.9),
            // 96 of 99 are enough, 96 of 101 are not: half a standard error above 95 in a hundred.
            (&[(0.9, true, 96), (0.8, false, 3), (0.7, false, 2)], 0.8),
            (&[(0.9, true, 29)], NEVER),
            (&[(0.9, false, 50)], NEVER),
            // Right ones further down make up for the wrong ones above.
            (&[(0.9, false, 1), (0.8, true, 60)], 0.8),
        ] {
            assert_eq!(threshold(&answers(some), 0.95), expected, "{some:?}");
        }
    }

    #[test]
    fn confidences_of_zero_and_one_have_bars() {
        let found = bins(&answers(&[(0.0, false, 1), (1.0, true, 2)]));
        assert_eq!((found[0].answers, found[BINS - 1].answers, found[BINS - 1].accuracy), (1, 2, 1.0));
    }
}
