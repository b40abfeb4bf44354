//! Experiments: who sees which arm. The split is a function of the definition and the shopper alone, so it needs no memory, and
//! several experiments at once split independently of one another.

use std::collections::BTreeSet;

use domain::{ContentHash, Shopper};
use serde::{Deserialize, Serialize};

/// The most arms of an experiment.
pub const ARMS_MAX: usize = 16;
/// The largest weight of an arm.
pub const WEIGHT_MAX: u32 = 1_000_000;
/// The longest name of an experiment or an arm, and the longest salt, in characters.
pub const NAME_CHARS_MAX: usize = 64;

/// What an arm changes in the recommendations of this house; what is absent stays as asked and set. An arm that changes nothing here
/// is for what the shop's own pages do differently.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Treatment {
    /// Another kind of list, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logic: Option<String>,
    /// How much the shopper counts in the order, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f32>,
    /// The share of places that is left to trials, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explore_share: Option<f32>,
}

/// One way to answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Its name, unique in the experiment.
    pub name: String,
    /// Its share of the shoppers, relative to the other arms'. 0: nobody.
    pub weight: u32,
    /// What it changes.
    #[serde(default)]
    pub treatment: Treatment,
}

/// A comparison of ways to answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Its name.
    pub name: String,
    /// The first is the control.
    pub arms: Vec<Arm>,
    /// Part of the split: another salt splits anew. Empty: the name alone.
    #[serde(default)]
    pub salt: String,
    /// Whether anybody is assigned.
    pub is_active: bool,
    /// Only in these placements; empty: in all.
    #[serde(default)]
    pub placements: Vec<String>,
}

impl Experiment {
    /// What is wrong with the definition: field and reason.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let is_name = |name: &str| !name.trim().is_empty() && name.chars().count() <= NAME_CHARS_MAX && !name.chars().any(char::is_control);
        if !is_name(&self.name) {
            problems.push(("name", format!("must have 1 to {NAME_CHARS_MAX} printable characters")));
        }
        if self.salt.chars().count() > NAME_CHARS_MAX {
            problems.push(("salt", format!("is longer than {NAME_CHARS_MAX} characters")));
        }
        if !(2..=ARMS_MAX).contains(&self.arms.len()) {
            problems.push(("arms", format!("must be 2 to {ARMS_MAX}, not {}", self.arms.len())));
        }
        if !self.arms.iter().all(|arm| is_name(&arm.name)) {
            problems.push(("arms", format!("must each have a name of 1 to {NAME_CHARS_MAX} printable characters")));
        }
        if self.arms.iter().map(|arm| &arm.name).collect::<BTreeSet<_>>().len() < self.arms.len() {
            problems.push(("arms", "two have the same name".into()));
        }
        if self.arms.iter().any(|arm| arm.weight > WEIGHT_MAX) || self.arms.iter().all(|arm| arm.weight == 0) {
            problems.push(("arms", format!("weights must be 0 to {WEIGHT_MAX} and not all 0")));
        }
        let is_share = |share: Option<f32>| share.is_none_or(|share| (0.0..=1.0).contains(&share));
        if !self.arms.iter().all(|arm| is_share(arm.treatment.strength) && is_share(arm.treatment.explore_share)) {
            problems.push(("arms", "strength and explore_share must be between 0 and 1".into()));
        }
        problems
    }

    /// Whether lists of this placement take part.
    pub fn applies_to(&self, placement: &str) -> bool {
        self.is_active && (self.placements.is_empty() || self.placements.iter().any(|known| known == placement))
    }

    /// The arm of a shopper; `None` when no arm has a weight. The shopper's place is a BLAKE3 hash over salt, name and shopper.
    pub fn assign(&self, shopper: &Shopper) -> Option<&Arm> {
        let total: u64 = self.arms.iter().map(|arm| u64::from(arm.weight)).sum();
        let mut key = Vec::with_capacity(self.salt.len() + self.name.len() + shopper.as_str().len() + 8);
        for part in [&self.salt, &self.name] {
            // Lengths first: salt `a` with name `bc` is not salt `ab` with name `c`.
            key.extend_from_slice(&(part.len() as u32).to_le_bytes());
            key.extend_from_slice(part.as_bytes());
        }
        key.extend_from_slice(shopper.as_str().as_bytes());
        let ContentHash([a, b, c, d, e, f, g, h, ..]) = ContentHash::of(&key);
        let point = (u128::from(u64::from_le_bytes([a, b, c, d, e, f, g, h])) * u128::from(total)) >> 64;
        let mut behind = 0;
        self.arms.iter().find(|arm| {
            behind += u128::from(arm.weight);
            point < behind
        })
    }
}

/// Experiments and arms in force for a shopper's list, as a served list logs them.
pub fn assign_all<'a>(experiments: impl IntoIterator<Item = &'a Experiment>, placement: &str, shopper: &Shopper) -> Vec<(String, String)> {
    let applying = experiments.into_iter().filter(|experiment| experiment.applies_to(placement));
    applying.filter_map(|experiment| Some((experiment.name.clone(), experiment.assign(shopper)?.name.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(name: &str, weights: &[u32]) -> Experiment {
        let arms =
            weights.iter().enumerate().map(|(at, weight)| Arm { name: format!("arm-{at}"), weight: *weight, ..Arm::default() }).collect();
        Experiment { name: name.into(), arms, salt: String::new(), is_active: true, placements: Vec::new() }
    }

    fn shopper(number: usize) -> Shopper {
        Shopper::visitor(&number.to_string())
    }

    #[test]
    fn the_split_follows_the_weights_and_stays() {
        let experiment = experiment("ranking", &[1, 0, 3]);
        let mut counts = [0_usize; 3];
        for number in 0..20_000 {
            let arm = experiment.assign(&shopper(number)).expect("an arm");
            assert_eq!(Some(arm), experiment.assign(&shopper(number)));
            counts[arm.name["arm-".len()..].parse::<usize>().expect("a number")] += 1;
        }
        // Five standard deviations of a binomial with 20,000 draws at 1/4 are 306.
        assert!(counts[1] == 0 && counts[0].abs_diff(5_000) < 306, "{counts:?}");
    }

    #[test]
    fn experiments_and_salts_split_independently() {
        let (one, other) = (experiment("one", &[1, 1]), experiment("other", &[1, 1]));
        let salted = Experiment { salt: "again".into(), ..one.clone() };
        for second in [other, salted] {
            let same = (0..10_000).filter(|number| one.assign(&shopper(*number)) == second.assign(&shopper(*number))).count();
            assert!(same.abs_diff(5_000) < 250, "{same}");
        }
    }

    #[test]
    fn inactive_ones_and_other_placements_take_no_part() {
        let resting = Experiment { is_active: false, ..experiment("resting", &[1, 1]) };
        let here = Experiment { placements: vec!["home".into()], ..experiment("here", &[1]) };
        let empty = experiment("empty", &[0, 0]);
        let all = [resting, here, empty, experiment("all", &[1])];
        let names = |placement| assign_all(&all, placement, &shopper(1)).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("home"), ["here", "all"]);
        assert_eq!(names("search"), ["all"]);
    }

    #[test]
    fn definitions_are_checked() {
        assert!(experiment("fine", &[1, 1]).problems().is_empty());
        let fields = |experiment: Experiment| experiment.problems().into_iter().map(|(field, _)| field).collect::<Vec<_>>();
        assert_eq!(fields(experiment(" ", &[1])), ["name", "arms"]);
        assert_eq!(fields(experiment("n", &[0, 0])), ["arms"]);
        assert_eq!(fields(experiment("n", &[1; 17])), ["arms"]);
        let mut twins = experiment("n", &[1, 1]);
        twins.arms[1].name = twins.arms[0].name.clone();
        twins.salt = "s".repeat(65);
        assert_eq!(fields(twins), ["salt", "arms"]);
    }
}
