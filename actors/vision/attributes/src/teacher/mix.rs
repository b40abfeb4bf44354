//! What the probe, the neighbours, the pixels and words say, as one calibrated distribution over the classes.

use super::probe::softmax;
use crate::report::Answer;

/// Weights that are tried for what stands beside the probe.
const WEIGHTS: [f32; 6] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5];
/// Temperatures that are tried, ascending; each a twelfth more than the one before.
const TEMPERATURE_MIN: f32 = 0.3;
const TEMPERATURES: usize = 36;
/// The probe keeps at least a fifth.
const BESIDE_MAX: f32 = 0.8;
/// No class is given less.
const SHARE_MIN: f32 = 1e-6;

/// How the sources are mixed: `(1 - n - m - h) softmax(scores / t) + n neighbours + m measured + h heard`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mix {
    pub(crate) temperature: f32,
    pub(crate) neighbours: f32,
    pub(crate) measured: f32,
    /// Of what a model with one space for pictures and words says.
    pub(crate) heard: f32,
}

impl Default for Mix {
    /// The probe alone.
    fn default() -> Self {
        Self { temperature: 1.0, neighbours: 0.0, measured: 0.0, heard: 0.0 }
    }
}

/// What the sources say of some rows, each `[rows, classes]`; what is not there is empty.
pub(crate) struct Said<'a> {
    pub(crate) classes: usize,
    pub(crate) scores: &'a [f32],
    pub(crate) neighbours: &'a [f32],
    pub(crate) measured: &'a [f32],
    pub(crate) heard: &'a [f32],
    /// The label of each row and its weight.
    pub(crate) truth: &'a [(usize, f32)],
}

impl Mix {
    /// The mix under which the labels are likeliest.
    pub(crate) fn fit(said: &Said<'_>) -> (Self, f64) {
        let mut best = (Self::default(), f64::INFINITY);
        let tried = |values: &[f32]| if values.is_empty() { &WEIGHTS[..1] } else { &WEIGHTS };
        let (measured, heard) = (tried(said.measured), tried(said.heard));
        let beside: Vec<[f32; 3]> = WEIGHTS
            .iter()
            .flat_map(|n| measured.iter().flat_map(move |m| heard.iter().map(move |h| [*n, *m, *h])))
            .filter(|weights| weights.iter().sum::<f32>() <= BESIDE_MAX)
            .collect();
        let mut temperature = TEMPERATURE_MIN;
        for _ in 0..TEMPERATURES {
            let own = said.of_truth(temperature);
            for [neighbours, measured, heard] in beside.iter().copied() {
                let mix = Self { temperature, neighbours, measured, heard };
                let loss = said.loss(&own, &mix);
                if loss < best.1 {
                    best = (mix, loss);
                }
            }
            temperature *= 13.0 / 12.0;
        }
        best
    }

    /// Shares of the classes for one row.
    pub(crate) fn shares(&self, mut scores: Vec<f32>, neighbours: &[f32], measured: Option<&[f32]>, heard: Option<&[f32]>) -> Vec<f32> {
        softmax(&mut scores, self.temperature);
        let beside = [(self.neighbours, Some(neighbours)), (self.measured, measured), (self.heard, heard)];
        // What was not measured or heard: the probe speaks for it, too.
        let beside: Vec<(f32, &[f32])> = beside.into_iter().filter_map(|(weight, shares)| Some((weight, shares?))).collect();
        let own = 1.0 - beside.iter().map(|(weight, _)| weight).sum::<f32>();
        for (class, share) in scores.iter_mut().enumerate() {
            *share = own * *share + beside.iter().map(|(weight, shares)| weight * shares[class]).sum::<f32>();
        }
        scores
    }
}

impl Said<'_> {
    /// What the probe gives the labelled class of each row.
    fn of_truth(&self, temperature: f32) -> Vec<f32> {
        let rows = self.scores.chunks_exact(self.classes).zip(self.truth);
        rows.map(|(scores, (class, _))| {
            let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = scores.iter().map(|score| ((score - greatest) / temperature).exp()).sum();
            ((scores[*class] - greatest) / temperature).exp() / sum
        })
        .collect()
    }

    fn loss(&self, own: &[f32], mix: &Mix) -> f64 {
        let (mut loss, mut all) = (0f64, 0f64);
        for (row, (own, (class, weight))) in own.iter().zip(self.truth).enumerate() {
            let at = row * self.classes + class;
            let at_truth = |values: &[f32]| values.get(at).copied().unwrap_or(0.0);
            let beside = mix.neighbours * self.neighbours[at] + mix.measured * at_truth(self.measured) + mix.heard * at_truth(self.heard);
            let share = (1.0 - mix.neighbours - mix.measured - mix.heard) * own + beside;
            loss -= f64::from(*weight) * f64::from(share.max(SHARE_MIN)).ln();
            all += f64::from(*weight);
        }
        loss / all.max(1e-12)
    }

    /// What the mix answers for each row, and whether that is the label.
    pub(crate) fn answers(&self, mix: &Mix) -> Vec<Answer> {
        let rows = self.truth.iter().enumerate();
        rows.map(|(row, (class, _))| {
            let part = |values: &[f32]| values[row * self.classes..][..self.classes].to_vec();
            let given = |values: &[f32]| (!values.is_empty()).then(|| part(values));
            let (measured, heard) = (given(self.measured), given(self.heard));
            let shares = mix.shares(part(self.scores), &part(self.neighbours), measured.as_deref(), heard.as_deref());
            let (said, confidence) = greatest(&shares);
            Answer { confidence, is_right: said == *class }
        })
        .collect()
    }
}

/// The class of the greatest share; the first of equal ones.
pub(crate) fn greatest(shares: &[f32]) -> (usize, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (class, share) in shares.iter().enumerate() {
        if *share > best.1 {
            best = (class, *share);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_is_too_sure_is_cooled_and_better_sources_get_weight() {
        // Of 100 rows the probe is right in 70 but says it as if in all; neighbours are right in 95.
        let (mut scores, mut neighbours, mut truth) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..100 {
            let class = row % 2;
            let toward = |is_right: bool, by: f32| if is_right == (class == 0) { [by, 1.0 - by] } else { [1.0 - by, by] };
            scores.extend(toward(row % 10 < 7, 1.0).map(|value| 20.0 * value));
            neighbours.extend(toward(row % 20 != 19, 0.9));
            truth.push((class, 1.0));
        }
        let said = Said { classes: 2, scores: &scores, neighbours: &neighbours, measured: &[], heard: &[], truth: &truth };
        let (mix, loss) = Mix::fit(&said);
        assert!(mix.temperature > 2.0 && mix.neighbours == 0.5 && loss < 0.4, "{mix:?} {loss}");
        let right = said.answers(&mix).iter().filter(|answer| answer.is_right).count();
        assert!(right >= 70, "{right}");
    }

    #[test]
    fn what_is_heard_gets_weight_by_how_often_it_is_right() {
        // The probe and the neighbours toss; words are right in 9 of 10 rows, or in 5.
        for (right, is_used) in [(9, true), (5, false)] {
            let truth: Vec<(usize, f32)> = (0..100).map(|row| (row % 2, 1.0)).collect();
            let heard: Vec<f32> =
                (0..100).flat_map(|row| if (row / 2 % 10 < right) == (row % 2 == 0) { [0.95, 0.05] } else { [0.05, 0.95] }).collect();
            let said = Said { classes: 2, scores: &[0.0; 200], neighbours: &[0.5; 200], measured: &[], heard: &heard, truth: &truth };
            let (mix, _) = Mix::fit(&said);
            assert_eq!(mix.heard > 0.0, is_used, "{right}: {mix:?}");
        }
    }

    #[test]
    fn shares_stay_together_one_without_measurements() {
        let mix = Mix { temperature: 2.0, neighbours: 0.3, measured: 0.4, heard: 0.1 };
        let given = Some(&[0.5, 0.25, 0.25][..]);
        for (measured, heard) in [(None, None), (given, None), (None, given), (given, given)] {
            let shares = mix.shares(vec![1.0, 0.0, -3.0], &[0.0, 1.0, 0.0], measured, heard);
            assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{shares:?}");
        }
    }
}
