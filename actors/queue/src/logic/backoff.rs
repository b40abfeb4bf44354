//! The wait between two attempts: doubles each time up to a bound, half of it spread by job so that jobs which failed together
//! do not come back together.

use protocol::queue::JobId;

use crate::config::QueueConfig;

/// Milliseconds until a job that has failed `attempts` times is tried again: between half of the doubled wait and all of it.
pub(crate) fn backoff_ms(policy: &QueueConfig, id: JobId, attempts: u32) -> u64 {
    let doubled = 1_u64.checked_shl(attempts.saturating_sub(1)).and_then(|factor| policy.backoff_ms_min.checked_mul(factor));
    let wait = doubled.unwrap_or(u64::MAX).min(policy.backoff_ms_max);
    wait - spread(id.0 ^ (u64::from(attempts) << 48)) % (wait / 2 + 1)
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): job and attempt decide, so a test and a restart see the same wait.
fn spread(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_the_bound_and_are_spread() {
        let policy = QueueConfig { backoff_ms_min: 100, backoff_ms_max: 1000, ..QueueConfig::default() };
        for (attempts, most) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (64, 1000), (65, 1000), (u32::MAX, 1000)] {
            let waits: Vec<_> = (0..500).map(|id| backoff_ms(&policy, JobId(id), attempts)).collect();
            let (min, max) = (waits.iter().min().copied(), waits.iter().max().copied());
            assert!(min >= Some(most / 2) && max <= Some(most), "attempt {attempts}: {min:?} to {max:?}");
            assert!(min < Some(most * 6 / 10) && max > Some(most * 9 / 10), "attempt {attempts} is not spread: {min:?} to {max:?}");
        }
    }
}
