//! When to look at the catalog and when to learn: decided from what is seen and from the clock, so that an import is not slowed down and
//! a correction counts soon.

/// After a change, nothing is done until nothing has changed for so long: an import has the machine to itself.
const QUIET_MS: i64 = 2_000;
/// An import that never pauses is followed all the same.
const PATIENCE_MS: i64 = 60_000;
/// A record may be written a moment after its count is seen: the catalog is looked at once more so long after the last change.
const SETTLED_MS: i64 = 10_000;
/// The catalog is looked at this often even where nothing seems to have changed.
const INTERVAL_MS_MAX: i64 = 300_000;
/// After each piece of work, a rest of so many times its duration.
const REST: i64 = 3;

/// When to look at the catalog.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    /// When the first change that has not been looked at was seen.
    first_change_ms: Option<i64>,
    last_change_ms: Option<i64>,
    started_ms: Option<i64>,
    rests_until_ms: i64,
}

impl Pace {
    /// Something is different from before.
    pub(crate) fn changed(&mut self, now_ms: i64) {
        self.first_change_ms.get_or_insert(now_ms);
        self.last_change_ms = Some(now_ms);
    }

    /// Whether to look now.
    pub(crate) fn is_due(&self, now_ms: i64) -> bool {
        let Some(started_ms) = self.started_ms else { return true };
        if now_ms < self.rests_until_ms {
            return false;
        }
        let is_quiet = self.last_change_ms.is_none_or(|at| now_ms - at >= QUIET_MS);
        let has_waited = self.first_change_ms.is_some_and(|at| now_ms - at >= PATIENCE_MS);
        let is_new = self.first_change_ms.is_some() && (is_quiet || has_waited);
        let is_unsettled = self.last_change_ms.is_some_and(|at| started_ms < at + SETTLED_MS && now_ms >= at + SETTLED_MS);
        is_new || is_unsettled || now_ms - started_ms >= INTERVAL_MS_MAX
    }

    /// Everything seen so far is looked at from now on.
    pub(crate) fn starts(&mut self, now_ms: i64) {
        self.started_ms = Some(now_ms);
        self.first_change_ms = None;
    }

    /// It has been looked at.
    pub(crate) fn ended(&mut self, now_ms: i64) {
        let took_ms = self.started_ms.map_or(0, |started| (now_ms - started).max(0));
        self.rests_until_ms = now_ms.saturating_add(took_ms.saturating_mul(REST).min(INTERVAL_MS_MAX));
    }
}

/// What can be learned from: how much, and a digest that changes with any of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Labelled products with a picture.
    pub(crate) count: u64,
    /// Of who has which picture and which labels.
    pub(crate) digest: u64,
    /// Of people's corrections alone.
    pub(crate) corrections: u64,
}

/// How soon is learned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LessonTimes {
    /// Never sooner than this after the last time.
    pub(crate) interval_ms_min: i64,
    /// Corrections are waited for until none has come for so long.
    pub(crate) correction_settle_ms: i64,
    /// Labelled rows likewise, unless there are a quarter more.
    pub(crate) rows_settle_ms: i64,
}

/// When to learn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lessons {
    /// What the teacher in force learned from.
    taught: Option<Rows>,
    seen: Rows,
    rows_changed_ms: i64,
    corrections_changed_ms: i64,
    rests_until_ms: i64,
}

impl Lessons {
    /// The teacher in force learned from `rows`.
    pub(crate) fn taught(&mut self, rows: Option<Rows>) {
        self.taught = rows;
    }

    /// Notes what there is to learn from.
    pub(crate) fn sees(&mut self, rows: Rows, now_ms: i64) {
        if rows.corrections != self.seen.corrections {
            self.corrections_changed_ms = now_ms;
        }
        if rows.digest != self.seen.digest {
            self.rows_changed_ms = now_ms;
        }
        self.seen = rows;
    }

    /// What there is to learn from.
    pub(crate) fn seen(&self) -> Rows {
        self.seen
    }

    /// Whether to learn now.
    pub(crate) fn is_due(&self, rows_min: u64, now_ms: i64, times: LessonTimes) -> bool {
        if self.seen.count < rows_min || now_ms < self.rests_until_ms {
            return false;
        }
        let Some(taught) = self.taught else { return true };
        let has_corrections = self.seen.corrections != taught.corrections;
        let has_rows = self.seen.digest != taught.digest;
        let has_many = has_rows && self.seen.count * 4 >= taught.count * 5;
        (has_corrections && now_ms - self.corrections_changed_ms >= times.correction_settle_ms)
            || (has_rows && now_ms - self.rows_changed_ms >= times.rows_settle_ms)
            || has_many
    }

    /// Learning has ended, well or not.
    pub(crate) fn ended(&mut self, started_ms: i64, now_ms: i64, times: LessonTimes) {
        let rest = (now_ms - started_ms).max(0).saturating_mul(REST).max(times.interval_ms_min);
        self.rests_until_ms = now_ms.saturating_add(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_is_looked_at_after_an_import_and_once_more() {
        let mut pace = Pace::default();
        assert!(pace.is_due(0), "after a start");
        pace.starts(0);
        pace.ended(100);
        assert!(!pace.is_due(1_000) && !pace.is_due(299_999) && pace.is_due(300_000), "now and then without a change");
        for at in (1_000..50_000).step_by(1_000) {
            pace.changed(at);
            assert!(!pace.is_due(at + 500), "the import has the machine to itself");
        }
        assert!(pace.is_due(51_500));
        pace.starts(51_500);
        pace.ended(52_500);
        assert!(!pace.is_due(53_000) && pace.is_due(59_000) && !pace.is_due(58_999), "once more, when everything is written");
        pace.starts(59_000);
        pace.ended(59_000);
        assert!(!pace.is_due(80_000));
    }

    #[test]
    fn an_import_without_a_pause_is_followed_and_work_is_followed_by_rest() {
        let mut pace = Pace::default();
        pace.starts(0);
        pace.ended(0);
        for at in (0..=60_000).step_by(1_000) {
            pace.changed(at);
        }
        assert!(pace.is_due(60_000));
        pace.starts(60_000);
        pace.ended(70_000);
        pace.changed(70_000);
        assert!(!pace.is_due(99_999) && pace.is_due(100_000), "three times as long as it took");
    }

    #[test]
    fn learning_by_table() {
        const TIMES: LessonTimes = LessonTimes { interval_ms_min: 10_000, correction_settle_ms: 3_000, rows_settle_ms: 30_000 };
        let rows = |count, digest, corrections| Rows { count, digest, corrections };
        let at = |taught: Option<Rows>, seen: Rows, now_ms: i64| {
            let mut lessons = Lessons::default();
            lessons.taught(taught);
            lessons.sees(taught.unwrap_or_default(), 0);
            lessons.sees(seen, 100_000);
            lessons.is_due(20, now_ms, TIMES)
        };
        let taught = Some(rows(100, 1, 1));
        for (what, taught, seen, now_ms, expected) in [
            ("too few", None, rows(19, 2, 0), 900_000, false),
            ("the first", None, rows(20, 2, 0), 100_000, true),
            ("nothing new", taught, rows(100, 1, 1), 900_000, false),
            ("a correction, just now", taught, rows(100, 2, 2), 102_999, false),
            ("a correction", taught, rows(100, 2, 2), 103_000, true),
            ("rows, just now", taught, rows(101, 2, 1), 129_999, false),
            ("rows", taught, rows(101, 2, 1), 130_000, true),
            ("a quarter more", taught, rows(125, 2, 1), 100_000, true),
        ] {
            assert_eq!(at(taught, seen, now_ms), expected, "{what}");
        }
        let mut lessons = Lessons::default();
        lessons.sees(rows(50, 1, 0), 0);
        lessons.ended(0, 8_000, TIMES);
        assert!(!lessons.is_due(20, 31_999, TIMES) && lessons.is_due(20, 32_000, TIMES));
    }
}
