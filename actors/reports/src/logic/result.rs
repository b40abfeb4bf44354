//! An experiment's results from its sums.

use protocol::experiments::Experiment;
use protocol::reports::{ArmResult, ExperimentResult, SampleRatio};

use crate::logic::stats::{Ratio, Sample, chi_square, mean_difference, rate_difference, ratio_difference};
use crate::logic::trial::{ArmSums, Trial};

/// Below it a split is not the one that was asked for.
const MISMATCH_P: f64 = 0.001;
/// Revenue is summed in 1/10000 of the currency's unit.
const UNIT: f64 = 10_000.0;

/// What an arm's sums amount to.
struct Measured<'a> {
    name: &'a str,
    sums: ArmSums,
    click_rate: Option<Ratio>,
    revenue: Option<Sample>,
    impressions: u64,
}

impl<'a> Measured<'a> {
    fn of(name: &'a str, sums: ArmSums, is_reported: bool) -> Self {
        let shown = if is_reported { sums.seen } else { sums.served };
        let squares = (shown.xx as f64, sums.clicks_squared as f64, shown.xy as f64);
        Self {
            name,
            click_rate: Ratio::of_sums(sums.shoppers, (shown.x as f64, sums.clicks as f64), squares),
            revenue: Sample::of_sums(sums.shoppers, sums.revenue as f64 / UNIT, sums.revenue_squared as f64 / (UNIT * UNIT)),
            impressions: shown.x,
            sums,
        }
    }

    fn result(&self, control: Option<&Self>) -> ArmResult {
        let rate = |arm: &Self| (arm.sums.buyers, arm.sums.shoppers);
        let both = |arm: Option<&Ratio>, control: Option<&Ratio>| Some(ratio_difference(arm?, control?));
        ArmResult {
            arm: self.name.to_owned(),
            is_control: control.is_none(),
            shoppers: self.sums.shoppers,
            buyers: self.sums.buyers,
            purchases: self.sums.purchases,
            conversion_rate: crate::logic::stats::wilson(self.sums.buyers, self.sums.shoppers),
            impressions: self.impressions,
            clicks: self.sums.clicks,
            click_rate: self.click_rate.as_ref().map(Ratio::estimate),
            revenue_per_shopper: self.revenue.as_ref().map(Sample::mean),
            conversion_difference: control.and_then(|control| rate_difference(rate(self), rate(control))),
            click_rate_difference: control.and_then(|control| both(self.click_rate.as_ref(), control.click_rate.as_ref())),
            revenue_difference: control.and_then(|control| Some(mean_difference(self.revenue.as_ref()?, control.revenue.as_ref()?))),
        }
    }
}

/// The results as the definition reads them.
pub(crate) fn result(trial: &Trial, definition: &Experiment) -> ExperimentResult {
    let sums = |name: &str| trial.arms.iter().find(|(known, _)| known == name).map(|(_, sums)| sums.clone()).unwrap_or_default();
    let is_defined = |name: &str| definition.arms.iter().any(|arm| arm.name == name);
    let stray = trial.arms.iter().map(|(name, _)| name.as_str()).filter(|name| !is_defined(name));
    let is_reported = trial.arms.iter().any(|(_, sums)| sums.seen.x > 0);
    let names = definition.arms.iter().map(|arm| arm.name.as_str()).chain(stray);
    let arms: Vec<Measured> = names.map(|name| Measured::of(name, sums(name), is_reported)).collect();
    let (control, others) = match arms.split_first() {
        Some((control, others)) => (Some(control), others),
        None => (None, &[][..]),
    };
    let observed: Vec<u64> = definition.arms.iter().map(|arm| sums(&arm.name).shoppers).collect();
    let weights: Vec<f64> = definition.arms.iter().map(|arm| f64::from(arm.weight)).collect();
    ExperimentResult {
        experiment: definition.name.clone(),
        first_exposed_at_ms: trial.first_exposed_at_ms,
        arms: control.map(|control| control.result(None)).into_iter().chain(others.iter().map(|arm| arm.result(control))).collect(),
        currency: trial.currency.map(|currency| currency.as_str().to_owned()),
        foreign_purchases: trial.foreign_purchases,
        lists_crossed: trial.crossovers,
        lists_left_out: trial.left_out,
        sample_ratio: chi_square(&observed, &weights).map(|(chi_square, p_value)| SampleRatio {
            chi_square,
            p_value,
            is_mismatch: p_value < MISMATCH_P,
        }),
    }
}

#[cfg(test)]
mod tests {
    use domain::Money;

    use super::*;
    use crate::config::Config;
    use crate::logic::trial::{Happened, Trials};

    fn definition(weights: [u32; 2]) -> Experiment {
        let arm = |name: &str, weight: u32| serde_json::from_value(serde_json::json!({"name": name, "weight": weight})).expect("an arm");
        let arms = vec![arm("old", weights[0]), arm("new", weights[1])];
        Experiment { name: "ranking".into(), arms, salt: String::new(), is_active: true, placements: Vec::new() }
    }

    fn euros(amount: f64) -> Money {
        Money { amount_e4: (amount * 10_000.0).round() as i64, currency: "EUR".parse().expect("a currency") }
    }

    /// The sums say what the shoppers one by one say; expected values are SciPy's (1.17.1).
    #[test]
    fn sums_give_what_the_shoppers_give() {
        let spent: [&[f64]; 2] =
            [&[0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 7.5, 0.0, 0.0, 1.25], &[0.0, 0.0, 0.0, 12.5, 0.0, 30.0, 0.0, 0.0, 99.9, 0.0, 4.2, 0.0]];
        let (mut trials, config) = (Trials::default(), Config::default());
        for (at, arm) in ["old", "new"].iter().enumerate() {
            let arms = [("ranking".to_owned(), (*arm).to_owned())];
            for (number, amount) in spent[at].iter().enumerate() {
                let shopper = (at * 100 + number) as u64;
                trials.bought(&[shopper], 5, &[euros(1000.0)]);
                trials.expose(&arms, shopper, 10, &config);
                // Before the exposure, and by somebody who was never exposed: no part of it.
                trials.bought(&[shopper], 9, &[euros(1000.0)]);
                if *amount > 0.0 {
                    trials.bought(&[7777, shopper], 11, &[euros(*amount - 1.0)]);
                    trials.bought(&[shopper], 12, &[euros(1.0)]);
                }
            }
        }
        let result = result(&trials.by_name["ranking"], &definition([1, 1]));
        let [old, new] = &result.arms[..] else { panic!("{result:?}") };
        assert_eq!((old.shoppers, old.buyers, old.purchases, old.is_control), (10, 3, 6, true));
        assert_eq!((new.shoppers, new.buyers, new.purchases, new.is_control), (12, 4, 8, false));
        let difference = new.revenue_difference.expect("two arms");
        let expected = [10.841_666_666_666_667, -7.644_292_512_223_041, 29.327_625_845_556_376, 0.223_763_475_412_370_85];
        let got = [difference.absolute.value, difference.absolute.low, difference.absolute.high, difference.p_value];
        got.iter().zip(expected).for_each(|(got, expected)| assert!((got - expected).abs() < 1e-9, "{got} {expected}"));
        assert_eq!((result.currency.as_deref(), result.foreign_purchases), (Some("EUR"), 0));
        assert!(!result.sample_ratio.expect("two arms").is_mismatch);
    }

    #[test]
    fn clicks_by_shopper_make_a_ratio() {
        let (mut trials, config) = (Trials::default(), Config::default());
        let shoppers = [[10, 1], [20, 3], [5, 0], [40, 4], [8, 2], [12, 0]];
        let arms = [("ranking".to_owned(), "old".to_owned())];
        for (shopper, [seen, clicks]) in shoppers.into_iter().enumerate() {
            trials.expose(&arms, shopper as u64, 0, &config);
            for _ in 0..seen {
                trials.shown(&arms, shopper as u64, Happened::Seen, 1);
            }
            trials.shown(&arms, shopper as u64, Happened::Served, 100);
            trials.shown(&arms, shopper as u64, Happened::Clicked, clicks);
        }
        let result = result(&trials.by_name["ranking"], &definition([1, 1]));
        let rate = result.arms[0].click_rate.expect("shown");
        let expected = [0.105_263_157_894_736_84, 0.059_719_438_717_009_89, 0.150_806_877_072_463_8];
        [rate.value, rate.low, rate.high].iter().zip(expected).for_each(|(got, expected)| assert!((got - expected).abs() < 1e-9));
        assert_eq!((result.arms[0].impressions, result.arms[1].click_rate), (95, None));
    }

    #[test]
    fn a_wrong_split_is_flagged_and_crossovers_are_counted() {
        let (mut trials, config) = (Trials::default(), Config::default());
        let arms = |arm: &str| [("ranking".to_owned(), arm.to_owned())];
        for shopper in 0..300 {
            trials.expose(&arms(if shopper < 200 { "old" } else { "new" }), shopper, 0, &config);
        }
        trials.expose(&arms("new"), 0, 1, &config);
        let found = result(&trials.by_name["ranking"], &definition([1, 1]));
        assert!(found.sample_ratio.expect("two arms").is_mismatch && found.lists_crossed == 1);
        assert!(!result(&trials.by_name["ranking"], &definition([2, 1])).sample_ratio.expect("two arms").is_mismatch);
        trials.erase(0);
        trials.expose(&arms("third"), 0, 1, &config);
        let found = result(&trials.by_name["ranking"], &definition([1, 1]));
        assert_eq!(
            found.arms.iter().map(|arm| (arm.arm.as_str(), arm.shoppers)).collect::<Vec<_>>(),
            [("old", 200), ("new", 100), ("third", 1)]
        );
    }

    #[test]
    fn shoppers_and_experiments_are_bounded() {
        let config = Config { experiment_shoppers_max: 100, experiments_max: 2, ..Config::default() };
        let mut trials = Trials::default();
        for name in ["one", "two", "three"] {
            for shopper in 0..150 {
                trials.expose(&[(name.to_owned(), "a".to_owned())], shopper, 0, &config);
            }
        }
        assert_eq!(trials.by_name.keys().collect::<Vec<_>>(), ["three", "two"]);
        assert_eq!((trials.by_name["two"].left_out, trials.exposures.len()), (50, 200));
    }
}
