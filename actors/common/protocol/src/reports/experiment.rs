//! What an experiment showed.

use serde::Serialize;

/// An estimate with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

/// How an arm differs from the control.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Arm minus control, with its 95 % confidence interval.
    pub absolute: Estimate,
    /// Arm by control, less 1; `None` where the control has 0.
    pub relative: Option<f64>,
    /// Two-sided: with which probability a difference as large as this comes about by chance alone.
    pub p_value: f64,
}

/// One arm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmResult {
    /// Its name.
    pub arm: String,
    /// Whether the others are compared with it.
    pub is_control: bool,
    /// Shoppers whose first exposure was to this arm.
    pub shoppers: u64,
    /// Of them, those who bought after it.
    pub buyers: u64,
    /// Their purchase events.
    pub purchases: u64,
    /// `buyers` by `shoppers`: Wilson interval.
    pub conversion_rate: Option<Estimate>,
    /// Products shown in the arm's lists, and clicked there.
    pub impressions: u64,
    /// Products clicked in the arm's lists.
    pub clicks: u64,
    /// `clicks` by `impressions`: interval by the delta method over shoppers, for one shopper's clicks are not independent.
    pub click_rate: Option<Estimate>,
    /// Paid by one shopper after the first exposure, in the experiment's currency; those who bought nothing count as 0.
    pub revenue_per_shopper: Option<Estimate>,
    /// Newcombe's interval (1998, method 10), two-proportion z test. None for the control.
    pub conversion_difference: Option<Difference>,
    /// Normal interval and test of the difference of two ratios.
    pub click_rate_difference: Option<Difference>,
    /// Welch's interval and t test.
    pub revenue_difference: Option<Difference>,
}

/// Whether shoppers were split as they should have been.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SampleRatio {
    /// Pearson's statistic over the arms.
    pub chi_square: f64,
    /// With which probability chance alone splits as unevenly.
    pub p_value: f64,
    /// Below .001: something other than chance splits, and the other numbers are not to be trusted.
    pub is_mismatch: bool,
}

/// What an experiment showed up to now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExperimentResult {
    /// Its name.
    pub experiment: String,
    /// Time of the first exposure, in milliseconds since the Unix epoch.
    pub first_exposed_at_ms: i64,
    /// The arms in the order of the definition, the control first; then those that only the log knows.
    pub arms: Vec<ArmResult>,
    /// The ISO 4217 code of the revenue's currency: the first that was paid in. `None` while nobody has bought.
    pub currency: Option<String>,
    /// Purchases in other currencies: in no revenue here.
    pub foreign_purchases: u64,
    /// Lists that showed a shopper another arm than the first, for which alone the shopper counts.
    pub lists_crossed: u64,
    /// Lists of shoppers over the bound, whom nothing was counted of; one shopper may have had several.
    pub lists_left_out: u64,
    /// `None` without exposed shoppers or with one arm.
    pub sample_ratio: Option<SampleRatio>,
}
