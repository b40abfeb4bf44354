//! Which models stay in memory.

/// What a model is to the house.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It answers queries: it is never put out.
    Live,
    /// It is being tried: it can be loaded again.
    Candidate,
}

/// A model in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// What it is.
    pub role: Role,
    /// What it takes.
    pub bytes: u64,
    /// Larger is later.
    pub last_used_at: u64,
    /// Whether a run is using it.
    pub is_in_use: bool,
}

/// The places of the models to put out so that `needed` more bytes fit into `budget`, the ones unused for longest first. Never a live
/// one or one in use: what is left may be more than the budget, which then is too small for the house.
pub fn to_evict(residents: &[Resident], needed: u64, budget: u64) -> Vec<usize> {
    let mut total = residents.iter().fold(needed, |total, resident| total.saturating_add(resident.bytes));
    let mut candidates: Vec<usize> =
        (0..residents.len()).filter(|at| residents[*at].role == Role::Candidate && !residents[*at].is_in_use).collect();
    candidates.sort_by_key(|at| residents[*at].last_used_at);
    let mut evicted = Vec::new();
    for at in candidates {
        if total <= budget {
            break;
        }
        total -= residents[at].bytes;
        evicted.push(at);
    }
    evicted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resident(role: Role, bytes: u64, last_used_at: u64) -> Resident {
        Resident { role, bytes, last_used_at, is_in_use: false }
    }

    #[test]
    fn the_ones_unused_for_longest_go_and_the_live_ones_stay() {
        let residents = [
            resident(Role::Live, 50, 0),
            resident(Role::Candidate, 30, 9),
            resident(Role::Candidate, 20, 3),
            resident(Role::Candidate, 10, 5),
        ];
        for (needed, budget, expected) in [
            (0, 110, vec![]),
            (0, 109, vec![2]),
            (10, 100, vec![2]),
            (11, 100, vec![2, 3]),
            (0, 10, vec![2, 3, 1]),
            (u64::MAX, 10, vec![2, 3, 1]),
        ] {
            assert_eq!(to_evict(&residents, needed, budget), expected, "{needed} into {budget}");
        }
    }

    proptest! {
        #[test]
        fn never_a_live_one_never_one_in_use_and_never_more_than_needed(
            models in prop::collection::vec((any::<bool>(), any::<bool>(), 1_u64..100, 0_u64..100), 0..12), needed in 0_u64..100, budget in 0_u64..600,
        ) {
            let residents: Vec<Resident> = models
                .into_iter()
                .map(|(live, is_in_use, bytes, last_used_at)| Resident { role: if live { Role::Live } else { Role::Candidate }, bytes, last_used_at, is_in_use })
                .collect();
            let evicted = to_evict(&residents, needed, budget);
            let left = |without: &[usize]| (0..residents.len()).filter(|at| !without.contains(at)).map(|at| residents[at].bytes).sum::<u64>() + needed;
            prop_assert!(evicted.iter().all(|at| residents[*at].role == Role::Candidate && !residents[*at].is_in_use));
            if let Some((_, but_last)) = evicted.split_last() {
                prop_assert!(left(but_last) > budget);
            }
            let free = (0..residents.len()).filter(|at| residents[*at].role == Role::Candidate && !residents[*at].is_in_use).count();
            prop_assert!(left(&evicted) <= budget || evicted.len() == free);
        }
    }
}
