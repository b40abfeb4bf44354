//! A job in memory, and how its times survive clocks that jump and processes that end.

use domain::ProductId;
use protocol::queue::JobId;

use crate::records::{AgainRecord, JobRecord, JobState};

/// Longer errors are cut, in bytes.
pub(crate) const ERROR_BYTES_MAX: usize = 512;

/// One moment on two clocks. Waits are measured by the steady clock, which never jumps; what is stored carries the wall clock's
/// time, which other processes can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// Milliseconds since the Unix epoch.
    pub(crate) wall_ms: i64,
    /// Milliseconds since Gordon started.
    pub(crate) steady_ms: i64,
}

impl Now {
    /// The steady time that is `wait_ms` away.
    pub(crate) fn after_ms(self, wait_ms: u64) -> i64 {
        self.steady_ms.saturating_add(i64::try_from(wait_ms).unwrap_or(i64::MAX))
    }

    /// The steady time of a wall-clock time; what has passed is now.
    pub(crate) fn steady(self, wall_ms: i64) -> i64 {
        self.steady_ms.saturating_add(wall_ms.saturating_sub(self.wall_ms).max(0))
    }

    /// The wall-clock time of a steady time.
    pub(crate) fn wall(self, steady_ms: i64) -> i64 {
        self.wall_ms.saturating_add(steady_ms.saturating_sub(self.steady_ms))
    }

    /// The steady time of a stored time: the wait left is never longer than it was when it was written, so that a clock that
    /// went back in between does not hold a job up.
    fn restored(self, wall_ms: i64, written_at_ms: i64) -> i64 {
        let longest = wall_ms.saturating_sub(written_at_ms).max(0);
        self.steady(wall_ms).min(self.steady_ms.saturating_add(longest))
    }
}

/// An open job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) product: ProductId,
    pub(crate) priority: u8,
    pub(crate) attempts: u32,
    /// Wall clock.
    pub(crate) enqueued_at_ms: i64,
    pub(crate) error: Option<Box<str>>,
    pub(crate) state: State,
}

/// Where an open job stands. Times are steady.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting { due_ms: i64 },
    Leased { lease: u64, until_ms: i64, again: Option<Again> },
}

/// The product changed while the job was in a worker's hands: it must run again after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    pub(crate) priority: u8,
    pub(crate) due_ms: i64,
}

impl Job {
    /// As it is stored.
    pub(crate) fn record(&self, now: Now) -> JobRecord {
        let state = match self.state {
            State::Waiting { due_ms } => JobState::Waiting { due_at_ms: now.wall(due_ms) },
            State::Leased { lease, until_ms, again } => JobState::Leased {
                lease,
                until_ms: now.wall(until_ms),
                again: again.map(|again| AgainRecord { priority: again.priority, due_at_ms: now.wall(again.due_ms) }),
            },
        };
        JobRecord {
            product: self.product.clone(),
            priority: self.priority,
            attempts: self.attempts,
            enqueued_at_ms: self.enqueued_at_ms,
            written_at_ms: now.wall_ms,
            error: self.error.as_deref().map(str::to_owned),
            state,
        }
    }

    /// From what is stored.
    pub(crate) fn restore(record: JobRecord, now: Now) -> Self {
        let steady = |wall_ms| now.restored(wall_ms, record.written_at_ms);
        let state = match record.state {
            JobState::Waiting { due_at_ms } => State::Waiting { due_ms: steady(due_at_ms) },
            JobState::Leased { lease, until_ms, again } => State::Leased {
                lease,
                until_ms: steady(until_ms),
                again: again.map(|again| Again { priority: again.priority, due_ms: steady(again.due_at_ms) }),
            },
        };
        Self {
            product: record.product,
            priority: record.priority,
            attempts: record.attempts,
            enqueued_at_ms: record.enqueued_at_ms,
            error: record.error.map(String::into_boxed_str),
            state,
        }
    }
}

/// Where a job stands in the line of those that are due: priority, then due time, then age.
pub(crate) fn place(job: &Job, due_ms: i64, id: JobId) -> (std::cmp::Reverse<u8>, i64, JobId) {
    (std::cmp::Reverse(job.priority), due_ms, id)
}

/// Cuts an error to [`ERROR_BYTES_MAX`].
pub(crate) fn cut(error: &str) -> &str {
    &error[..error.floor_char_boundary(ERROR_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_wait_is_bounded_by_the_wait_that_was_written() {
        // Written at wall time 1000 with 500 ms to go; read back at these wall times, with this much still to go.
        for (wall_ms, left) in [(1000, 500), (1200, 300), (1500, 0), (9_000_000, 0), (-5_000_000, 500)] {
            let now = Now { wall_ms, steady_ms: 70 };
            assert_eq!(now.restored(1500, 1000) - 70, left, "at {wall_ms}");
        }
        let now = Now { wall_ms: -5_000_000, steady_ms: 70 };
        assert_eq!(now.restored(1000, 1000), 70, "a job that was due when it was written stays due");
    }

    #[test]
    fn errors_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"ü".repeat(400)).len(), ERROR_BYTES_MAX);
        assert_eq!(cut(&format!("x{}", "ü".repeat(400))).len(), ERROR_BYTES_MAX - 1);
    }
}
