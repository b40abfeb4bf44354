//! Gordon's own configuration.

use protocol::queue::QueueName;
use serde::{Deserialize, Serialize};

/// Gordon's bounds and policies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The queue of pictures to fetch and embed.
    pub embed_image: QueueConfig,
    /// The queue of texts to embed.
    pub embed_text: QueueConfig,
    /// A full feed with a smaller share of its source's known products than this deletes nothing, unless forced.
    pub shrink_ratio_min: f64,
    /// The most different products in one feed run; their hashed ids are kept in memory while it is under way.
    pub run_products_max: usize,
    /// How long one call of Watchtower may take, within the caller's own deadline. The queues wait meanwhile.
    pub apply_timeout_ms_max: u64,
    /// Expired leases and jobs that have become due are noticed at least this often.
    pub tick_interval_ms_max: u64,
    /// The most journal records that become jobs in one commit.
    pub follow_records_max: usize,
}

/// One queue's bounds and retry policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// The most open jobs: waiting, delayed and leased. At the bound, changes wait in the journal. 100,000 take
    /// about 32 MB of memory.
    pub jobs_max: usize,
    /// The most dead letters kept; over the bound the oldest is dropped.
    pub dead_letters_max: usize,
    /// How often a job is tried before it goes to the dead letters.
    pub attempts_max: u32,
    /// The wait after the first failed attempt; it doubles with each further one.
    pub backoff_ms_min: u64,
    /// The longest wait between two attempts.
    pub backoff_ms_max: u64,
    /// The longest lease that a worker can ask for.
    pub visibility_timeout_ms_max: u64,
    /// How long a job rests that a worker gave back untried, so that a worker that lacks something does not spin.
    pub release_delay_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            embed_image: QueueConfig { attempts_max: 6, backoff_ms_min: 5_000, ..QueueConfig::default() },
            embed_text: QueueConfig::default(),
            shrink_ratio_min: 0.5,
            run_products_max: 10_000_000,
            apply_timeout_ms_max: 10_000,
            tick_interval_ms_max: 500,
            follow_records_max: 512,
        }
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            jobs_max: 100_000,
            dead_letters_max: 100_000,
            attempts_max: 4,
            backoff_ms_min: 1_000,
            backoff_ms_max: 600_000,
            visibility_timeout_ms_max: 3_600_000,
            release_delay_ms: 1_000,
        }
    }
}

impl Config {
    /// The policy of a queue.
    pub fn queue(&self, name: QueueName) -> &QueueConfig {
        match name {
            QueueName::EmbedImage => &self.embed_image,
            QueueName::EmbedText => &self.embed_text,
        }
    }

    /// Every field that is wrong, and why.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !(0.0..=1.0).contains(&self.shrink_ratio_min) {
            problems.push(("shrink_ratio_min", "must be between 0 and 1".to_owned()));
        }
        let at_least_one = [
            ("run_products_max", self.run_products_max as u64),
            ("apply_timeout_ms_max", self.apply_timeout_ms_max),
            ("tick_interval_ms_max", self.tick_interval_ms_max),
            ("follow_records_max", self.follow_records_max as u64),
            ("embed_image.jobs_max", self.embed_image.jobs_max as u64),
            ("embed_text.jobs_max", self.embed_text.jobs_max as u64),
            ("embed_image.dead_letters_max", self.embed_image.dead_letters_max as u64),
            ("embed_text.dead_letters_max", self.embed_text.dead_letters_max as u64),
            ("embed_image.attempts_max", u64::from(self.embed_image.attempts_max)),
            ("embed_text.attempts_max", u64::from(self.embed_text.attempts_max)),
            ("embed_image.backoff_ms_min", self.embed_image.backoff_ms_min),
            ("embed_text.backoff_ms_min", self.embed_text.backoff_ms_min),
            ("embed_image.visibility_timeout_ms_max", self.embed_image.visibility_timeout_ms_max),
            ("embed_text.visibility_timeout_ms_max", self.embed_text.visibility_timeout_ms_max),
        ];
        problems
            .extend(at_least_one.into_iter().filter(|(_, value)| *value == 0).map(|(field, _)| (field, "must be at least 1".to_owned())));
        let backoffs = [("embed_image.backoff_ms_max", &self.embed_image), ("embed_text.backoff_ms_max", &self.embed_text)];
        for (field, queue) in backoffs.into_iter().filter(|(_, queue)| queue.backoff_ms_max < queue.backoff_ms_min) {
            problems.push((field, format!("must not be less than backoff_ms_min, {}", queue.backoff_ms_min)));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_by_table() {
        type Change = fn(&mut Config);
        let cases: [(Change, &[&str]); 5] = [
            (|_| {}, &[]),
            (|c| c.shrink_ratio_min = f64::NAN, &["shrink_ratio_min"]),
            (|c| c.embed_text.backoff_ms_max = 5, &["embed_text.backoff_ms_max"]),
            (|c| (c.embed_image.jobs_max, c.embed_text.attempts_max) = (0, 0), &["embed_image.jobs_max", "embed_text.attempts_max"]),
            (|c| c.follow_records_max = 0, &["follow_records_max"]),
        ];
        for (change, expected) in cases {
            let mut config = Config::default();
            change(&mut config);
            let fields: Vec<_> = config.problems().into_iter().map(|(field, _)| field).collect();
            assert_eq!(fields, expected);
        }
    }
}
