//! Forward decay (Cormode et al. 2009): a later event weighs more instead of all earlier ones less, so nothing is touched as time passes.

use crate::save::{Input, LoadError, Output, Saved};

/// Beyond this many half-lives since the origin the kept weights are multiplied down, long before `f32` ends at 2^128.
const HALF_LIVES_MAX: f64 = 40.0;

/// The scale of one family of weights.
#[derive(Clone, Debug)]
pub(crate) struct Decay {
    /// Zero: off.
    half_life_ms: u64,
    origin_ms: Option<u64>,
    latest_ms: u64,
}

impl Decay {
    pub(crate) fn new(half_life_ms: Option<u64>) -> Self {
        Self { half_life_ms: half_life_ms.unwrap_or(0), origin_ms: None, latest_ms: 0 }
    }

    /// Takes note of an event's time. `Some(factor)`: everything kept at this scale is to be multiplied by it first.
    pub(crate) fn advance(&mut self, at_ms: u64) -> Option<f32> {
        self.latest_ms = self.latest_ms.max(at_ms);
        if self.half_life_ms == 0 {
            return None;
        }
        let Some(origin_ms) = self.origin_ms else {
            self.origin_ms = Some(at_ms);
            return None;
        };
        let half_lives = at_ms.saturating_sub(origin_ms) as f64 / self.half_life_ms as f64;
        if half_lives <= HALF_LIVES_MAX {
            return None;
        }
        self.origin_ms = Some(at_ms);
        Some((-half_lives).exp2() as f32)
    }

    /// What an event of weight one at this time is kept as.
    pub(crate) fn weight(&self, at_ms: u64) -> f32 {
        match self.origin_ms {
            Some(origin_ms) if self.half_life_ms > 0 => {
                let elapsed_ms = at_ms as f64 - origin_ms as f64;
                (elapsed_ms / self.half_life_ms as f64).clamp(-HALF_LIVES_MAX, HALF_LIVES_MAX).exp2() as f32
            }
            _ => 1.0,
        }
    }

    /// Multiplies a kept weight into what it is worth at the time of the latest event.
    pub(crate) fn present(&self) -> f32 {
        1.0 / self.weight(self.latest_ms)
    }
}

impl Saved for Decay {
    fn save(&self, output: &mut Output<'_>) {
        output.u64(self.half_life_ms);
        output.u64(self.origin_ms.map_or(0, |origin_ms| origin_ms + 1));
        output.u64(self.latest_ms);
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let half_life_ms = input.u64()?;
        let origin_ms = input.u64()?.checked_sub(1);
        Ok(Self { half_life_ms, origin_ms, latest_ms: input.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_halves_with_each_half_life_and_survives_a_change_of_origin() {
        let mut decay = Decay::new(Some(1_000));
        decay.advance(5_000);
        let mut kept = decay.weight(5_000);
        decay.advance(7_000);
        assert!((kept * decay.present() - 0.25).abs() < 1e-6);
        let factor = decay.advance(46_000).expect("41 half-lives later the origin moves");
        kept *= factor;
        assert!((kept * decay.present() / (-41f32).exp2() - 1.0).abs() < 1e-3);
    }

    #[test]
    fn without_a_half_life_every_event_weighs_the_same() {
        let mut decay = Decay::new(None);
        assert_eq!(decay.advance(1), None);
        assert_eq!(decay.advance(u64::MAX), None);
        assert_eq!((decay.weight(0), decay.weight(u64::MAX), decay.present()), (1.0, 1.0, 1.0));
    }
}
