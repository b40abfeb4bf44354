//! What the probe, the neighbours and the pixels say, as one calibrated distribution over the classes.

use super::probe::softmax;
use crate::report::Answer;

/// Weights that are tried for what stands beside the probe.
const WEIGHTS: [f32; 6] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5];
/// Temperatures that are tried, ascending; each a twelfth more than the one before.
const TEMPERATURE_MIN: f32 = 0.3;
const TEMPERATURES: usize = 36;
/// No class is given less.
const SHARE_MIN: f32 = 1e-6;

/// How the sources are mixed: `(1 - n - m) softmax(scores / t) + n neighbours + m measured`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mix {
    pub(crate) temperature: f32,
    pub(crate) neighbours: f32,
    pub(crate) measured: f32,
}

/// What the sources say of some rows, each `[rows, classes]`; what is not there is empty.
pub(crate) struct Said<'a> {
    pub(crate) classes: usize,
    pub(crate) scores: &'a [f32],
    pub(crate) neighbours: &'a [f32],
    pub(crate) measured: &'a [f32],
    /// The label of each row and its weight.
    pub(crate) truth: &'a [(usize, f32)],
}

impl Mix {
    /// The mix under which the labels are likeliest.
    pub(crate) fn fit(said: &Said<'_>) -> (Self, f64) {
        let mut best = (Self { temperature: 1.0, neighbours: 0.0, measured: 0.0 }, f64::INFINITY);
        let measured: &[f32] = if said.measured.is_empty() { &WEIGHTS[..1] } else { &WEIGHTS };
        let mut temperature = TEMPERATURE_MIN;
        for _ in 0..TEMPERATURES {
            let own = said.of_truth(temperature);
            for (neighbours, measured) in WEIGHTS.iter().flat_map(|n| measured.iter().map(move |m| (*n, *m))).filter(|(n, m)| n + m <= 0.8)
            {
                let mix = Self { temperature, neighbours, measured };
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
    pub(crate) fn shares(&self, mut scores: Vec<f32>, neighbours: &[f32], measured: Option<&[f32]>) -> Vec<f32> {
        softmax(&mut scores, self.temperature);
        // Nothing measured: the probe speaks for the pixels, too.
        let weight = if measured.is_some() { self.measured } else { 0.0 };
        let own = 1.0 - self.neighbours - weight;
        for (class, share) in scores.iter_mut().enumerate() {
            *share = own * *share + self.neighbours * neighbours[class] + weight * measured.map_or(0.0, |measured| measured[class]);
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
            let measured = self.measured.get(at).copied().unwrap_or(0.0);
            let share = (1.0 - mix.neighbours - mix.measured) * own + mix.neighbours * self.neighbours[at] + mix.measured * measured;
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
            let measured = (!self.measured.is_empty()).then(|| part(self.measured));
            let shares = mix.shares(part(self.scores), &part(self.neighbours), measured.as_deref());
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
        let said = Said { classes: 2, scores: &scores, neighbours: &neighbours, measured: &[], truth: &truth };
        let (mix, loss) = Mix::fit(&said);
        assert!(mix.temperature > 2.0 && mix.neighbours == 0.5 && loss < 0.4, "{mix:?} {loss}");
        let right = said.answers(&mix).iter().filter(|answer| answer.is_right).count();
        assert!(right >= 70, "{right}");
    }

    #[test]
    fn shares_stay_together_one_without_measurements() {
        let mix = Mix { temperature: 2.0, neighbours: 0.3, measured: 0.4 };
        for measured in [None, Some(&[0.5, 0.25, 0.25][..])] {
            let shares = mix.shares(vec![1.0, 0.0, -3.0], &[0.0, 1.0, 0.0], measured);
            assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{shares:?}");
        }
    }
}
