//! How much fits into one run: halved when the device runs out of memory, grown again slowly.

use super::Micros;

/// After an out-of-memory, or the last growth, this long passes before more is tried.
const GROWTH_INTERVAL_US: Micros = 60_000_000;

/// The units that fit into one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cap {
    units: usize,
    units_max: usize,
    changed_at: Micros,
    halvings: u64,
}

impl Cap {
    /// Nothing is known against `units_max`.
    pub(crate) fn new(units_max: usize) -> Self {
        let units_max = units_max.max(1);
        Self { units: units_max, units_max, changed_at: 0, halvings: 0 }
    }

    pub(crate) fn units(self) -> usize {
        self.units
    }

    /// How often memory did not suffice.
    pub(crate) fn halvings(self) -> u64 {
        self.halvings
    }

    /// A run of `units` ran out of memory.
    pub(crate) fn halve(&mut self, units: usize, now: Micros) {
        self.units = (units / 2).clamp(1, self.units);
        self.changed_at = now;
        self.halvings += 1;
    }

    /// A run of `units` had enough: after a while, and when the cap was what kept it small, a quarter more is tried.
    pub(crate) fn grow(&mut self, units: usize, now: Micros) {
        let is_full = units + units / 4 >= self.units;
        if self.units < self.units_max && is_full && now.saturating_sub(self.changed_at) >= GROWTH_INTERVAL_US {
            self.units = (self.units + (self.units / 4).max(1)).min(self.units_max);
            self.changed_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halved_at_once_and_grown_slowly() {
        let mut cap = Cap::new(64);
        cap.halve(64, 0);
        assert_eq!((cap.units(), cap.halvings()), (32, 1));
        cap.grow(32, GROWTH_INTERVAL_US - 1);
        assert_eq!(cap.units(), 32, "too early");
        cap.grow(8, GROWTH_INTERVAL_US);
        assert_eq!(cap.units(), 32, "a small run says nothing of a large one");
        let mut now = 0;
        let mut seen = vec![];
        while cap.units() < 64 {
            now += GROWTH_INTERVAL_US;
            cap.grow(cap.units(), now);
            seen.push(cap.units());
        }
        assert_eq!(seen, [40, 50, 62, 64]);
    }

    proptest! {
        /// A device of some memory: the cap ends within it, and no more than one step in a growth interval is wasted.
        #[test]
        fn it_finds_what_fits(units_max in 1_usize..2_000, fits in 1_usize..2_000, minutes in 1_u64..60) {
            let mut cap = Cap::new(units_max);
            let mut failed = 0;
            for minute in 0..minutes {
                for _ in 0..12 {
                    let now = minute * GROWTH_INTERVAL_US;
                    if cap.units() > fits { cap.halve(cap.units(), now); failed += 1 } else { cap.grow(cap.units(), now) }
                    prop_assert!((1..=units_max).contains(&cap.units()));
                }
            }
            prop_assert!(failed <= 11 + minutes, "{failed} failures in {minutes} minutes");
        }
    }
}
