//! The replay lab over the event log.

use domain::{ProductId, Served};
use events::EventLog;
use protocol::journal::LogBody;
use protocol::reports::{LabError, ReplayLab, ReplayQuestion, ReplayReport};
use store::StoreError;

use crate::config::Config;
use crate::logic::lab::Replay;

const HOUR_MS: i64 = 3600 * 1000;
/// A record is written at most so long after, or before, the time that it tells of.
const SLACK_MS: i64 = 60 * 1000;

/// The replay lab.
pub struct Lab {
    config: Config,
    log: EventLog,
}

impl Lab {
    /// A lab that reads this log.
    pub fn new(config: Config, log: EventLog) -> Self {
        Self { config, log }
    }

    /// The first offset whose record was written at or after a time: records stand in order of their writing.
    fn first_written(&self, at_ms: i64) -> Result<u64, StoreError> {
        let mut low = match self.log.read(0, 1) {
            Err(StoreError::Trimmed { start, .. }) => start,
            read => read.map(|entries| entries.first().map_or(0, |entry| entry.offset))?,
        };
        let mut high = self.log.end();
        while low < high {
            let middle = low + (high - low) / 2;
            match self.log.read(middle, 1)?.first() {
                Some(entry) if entry.written_at_ms < at_ms => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    fn run(
        &self,
        question: &ReplayQuestion,
        replay: &mut Replay,
        rank: &mut dyn FnMut(&Served) -> Option<Vec<ProductId>>,
    ) -> Result<(), StoreError> {
        let window_ms = i64::from(self.config.click_window_hours) * HOUR_MS;
        let last_ms = question.to_ms.saturating_add(window_ms).saturating_add(SLACK_MS);
        let mut next = self.first_written(question.from_ms.saturating_sub(SLACK_MS))?;
        let end = self.log.end();
        while next < end {
            let entries = self.log.read(next, self.config.batch_records_max)?;
            let Some(last) = entries.last() else { break };
            next = last.offset + 1;
            for entry in entries.iter().take_while(|entry| entry.written_at_ms <= last_ms) {
                match &entry.body {
                    Some(LogBody::Served(served)) if replay.wants(served) => {
                        let ranked = rank(served);
                        replay.list(served, ranked);
                    }
                    Some(LogBody::Event(event)) => replay.event(event),
                    _ => {}
                }
            }
            if last.written_at_ms > last_ms {
                break;
            }
        }
        Ok(())
    }
}

impl ReplayLab for Lab {
    fn replay(&self, question: &ReplayQuestion, rank: &mut dyn FnMut(&Served) -> Option<Vec<ProductId>>) -> Result<ReplayReport, LabError> {
        let window_ms = i64::from(self.config.click_window_hours) * HOUR_MS;
        let mut replay = Replay::new(question, self.config.lab_lists_max, window_ms)?;
        self.run(question, &mut replay, rank).map_err(|error| LabError::Log(error.to_string()))?;
        Ok(replay.finish())
    }
}
