//! How near is near enough: a query's own background, the likeness of products that have nothing to do with it, is the measure, not
//! one constant for all queries and models.

/// How like to a query products are that were drawn without looking at it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Background {
    /// Mean of the cosines.
    pub mean: f32,
    /// Their standard deviation.
    pub deviation: f32,
    /// Whether enough products were looked at to tell.
    pub is_known: bool,
}

/// Standard deviations above the background where meaning alone is believed, when keywords found something too.
const DEVIATIONS_BESIDE_KEYWORDS: f32 = 4.0;
/// The same where keywords found nothing: a query in other words is still answered, a meaningless one is not.
const DEVIATIONS_ALONE: f32 = 3.0;
/// The floor where there are too few products to know the background: unrelated texts of sentence models lie mostly below it.
const FLOOR_OF_FEW: f32 = 0.25;
/// The background taken for granted where it is not known.
const MEAN_OF_FEW: f32 = 0.1;
/// The least distance from the background's mean to the floor: a sample of a few alike products has next to no deviation.
const DISTANCE_MIN: f32 = 0.1;

impl Background {
    /// The cosine below which likeness is no better than chance.
    pub fn floor(&self, beside_keywords: bool) -> f32 {
        if !self.is_known {
            return FLOOR_OF_FEW;
        }
        let deviations = if beside_keywords { DEVIATIONS_BESIDE_KEYWORDS } else { DEVIATIONS_ALONE };
        self.mean + (deviations * self.deviation).max(DISTANCE_MIN)
    }

    /// How sure a cosine is: 0 at the background's mean, 1 for what is the same.
    pub fn sureness(&self, cosine: f32) -> f32 {
        let mean = if self.is_known { self.mean } else { MEAN_OF_FEW };
        ((cosine - mean) / (1.0 - mean).max(f32::EPSILON)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_stands_above_the_background_and_higher_beside_keywords() {
        let wide = Background { mean: 0.1, deviation: 0.08, is_known: true };
        assert!(wide.floor(true) > wide.floor(false) && wide.floor(false) > wide.mean);
        let narrow = Background { mean: 0.4, deviation: 0.0, is_known: true };
        assert!((narrow.floor(false) - 0.5).abs() < 1e-6, "a sample without spread keeps a distance");
        let few = Background { is_known: false, ..wide };
        assert_eq!((few.floor(true), few.floor(false)), (FLOOR_OF_FEW, FLOOR_OF_FEW));
    }

    #[test]
    fn sureness_runs_from_the_background_to_the_same() {
        let background = Background { mean: 0.2, deviation: 0.1, is_known: true };
        for (cosine, expected) in [(-1.0, 0.0), (0.2, 0.0), (0.6, 0.5), (1.0, 1.0)] {
            assert!((background.sureness(cosine) - expected).abs() < 1e-6, "{cosine}");
        }
        assert_eq!(Background { mean: 1.0, deviation: 0.0, is_known: true }.sureness(1.0), 0.0);
    }
}
