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
/// Unrelated texts of sentence models lie mostly below this, whatever the sample says: the floor is never lower.
const FLOOR_MIN: f32 = 0.28;
/// Related texts lie mostly above this: where half of the catalog is related, as shoes are in a shoe shop, the sample is no
/// background, so the floor is never higher. Beside keywords, and alone.
const FLOOR_MAX: [f32; 2] = [0.42, 0.35];
/// The background taken for granted where it is not known.
const MEAN_OF_FEW: f32 = 0.1;

/// What is less like the query than this share of the best hit's likeness is another thing.
const BEST_SHARE: f32 = 0.75;

impl Background {
    /// The cosine below which likeness is no better than chance.
    /// `best` is the cosine of the nearest product.
    pub fn floor(&self, beside_keywords: bool, best: f32) -> f32 {
        self.floor_of_strangers(beside_keywords).max(BEST_SHARE * best)
    }

    fn floor_of_strangers(&self, beside_keywords: bool) -> f32 {
        if !self.is_known {
            return FLOOR_MIN;
        }
        let (deviations, most) =
            if beside_keywords { (DEVIATIONS_BESIDE_KEYWORDS, FLOOR_MAX[0]) } else { (DEVIATIONS_ALONE, FLOOR_MAX[1]) };
        (self.mean + deviations * self.deviation).clamp(FLOOR_MIN, most)
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
    fn the_floor_by_table() {
        let background = |mean, deviation| Background { mean, deviation, is_known: true };
        for (background, beside_keywords, expected) in [
            (background(0.1, 0.07), false, 0.31),
            (background(0.1, 0.07), true, 0.38),
            (background(0.02, 0.03), false, FLOOR_MIN),
            (background(0.4, 0.1), false, FLOOR_MAX[1]),
            (background(0.4, 0.1), true, FLOOR_MAX[0]),
            (Background { is_known: false, ..background(0.4, 0.1) }, true, FLOOR_MIN),
        ] {
            assert!((background.floor(beside_keywords, 0.3) - expected).abs() < 1e-6, "{background:?} {beside_keywords}");
        }
        assert!((background(0.4, 0.1).floor(true, 0.8) - 0.6).abs() < 1e-6, "beside a near one the far ones are another thing");
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
