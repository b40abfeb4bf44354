//! What readers see without asking the actor: the newest days in memory, older ones one read of the store away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use kit::Progress;
use protocol::experiments::Experiment;
use protocol::reports::{AttributionRow, DailyReport, Date, DaySummary, DayTotals, ExperimentResult, ReportReader};
use store::Store;

use crate::config::Config;
use crate::effects::read_day;
use crate::logic::day::{Day, RowCounts, RowKey};
use crate::logic::fold::State;
use crate::logic::report::{HISTORY_DAYS, attribution, daily};
use crate::logic::result::result;
use crate::logic::trial::Trial;

/// A day in memory and its report, which is made when it is first asked for.
struct OpenDay {
    day: Arc<Day>,
    report: OnceLock<Arc<DailyReport>>,
}

#[derive(Default)]
struct Published {
    totals: BTreeMap<Date, Arc<DayTotals>>,
    days: BTreeMap<Date, Arc<OpenDay>>,
    trials: BTreeMap<String, Trial>,
}

/// The read models. They outlive their actor: while it is restarted, readers see them as they were.
pub struct View {
    config: Config,
    store: Arc<dyn Store>,
    published: ArcSwap<Published>,
    progress: Progress,
    /// Held by whoever writes: the actor's latest life.
    seat: Mutex<()>,
    life: AtomicU64,
}

impl View {
    /// An empty view, until the actor has started. `store` is the one that the actor keeps its records in.
    pub fn new(config: Config, store: Arc<dyn Store>) -> Self {
        let (published, progress, seat, life) = Default::default();
        Self { config, store, published, progress, seat, life }
    }

    /// A new life of the actor begins: work that an earlier one left on other threads comes to nothing from now on.
    pub(crate) fn begin_life(&self) -> u64 {
        self.life.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The seat of the one who writes; `None` when a later life has begun.
    pub(crate) fn seat(&self, life: u64) -> Option<MutexGuard<'_, ()>> {
        // A panic of its last holder has ended that life, and the next one loads everything anew.
        let guard = self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        (self.life.load(Ordering::SeqCst) == life).then_some(guard)
    }

    /// Shows a state whose totals are up to date.
    pub(crate) fn publish(&self, state: &State) {
        let before = self.published.load();
        let mut days = BTreeMap::new();
        // A report looks back: when a day has changed, those after it are made anew too.
        let mut has_changed = false;
        for (date, day) in &state.days {
            let known = before.days.get(date).filter(|known| Arc::ptr_eq(&known.day, day));
            has_changed |= known.is_none();
            let open = known.filter(|_| !has_changed).cloned();
            days.insert(*date, open.unwrap_or_else(|| Arc::new(OpenDay { day: Arc::clone(day), report: OnceLock::new() })));
        }
        self.published.store(Arc::new(Published { totals: state.totals.clone(), days, trials: state.trials.by_name.clone() }));
        self.progress.set(state.offset);
    }

    fn day(&self, published: &Published, date: Date) -> Option<Arc<Day>> {
        if !published.totals.contains_key(&date) {
            return None;
        }
        let open = published.days.get(&date).map(|open| Arc::clone(&open.day));
        open.or_else(|| read_day(&*self.store, date).map(Arc::new))
    }

    fn report(&self, published: &Published, date: Date, day: &Day) -> Arc<DailyReport> {
        let before: Vec<Arc<Day>> = (1..=HISTORY_DAYS).filter_map(|back| self.day(published, date.plus(-back))).collect();
        Arc::new(daily(date, day, &before, &self.config))
    }
}

impl ReportReader for View {
    fn daily(&self, date: Date) -> Option<Arc<DailyReport>> {
        let published = self.published.load_full();
        if let Some(open) = published.days.get(&date) {
            return Some(Arc::clone(open.report.get_or_init(|| self.report(&published, date, &open.day))));
        }
        self.day(&published, date).map(|day| self.report(&published, date, &day))
    }

    fn days(&self, from: Date, to: Date) -> Vec<DaySummary> {
        if from > to {
            return Vec::new();
        }
        let published = self.published.load();
        published.totals.range(from..=to).map(|(date, totals)| DaySummary { date: *date, totals: DayTotals::clone(totals) }).collect()
    }

    fn attribution(&self, from: Date, to: Date) -> Vec<AttributionRow> {
        if from > to {
            return Vec::new();
        }
        let published = self.published.load_full();
        let mut rows: BTreeMap<RowKey, RowCounts> = BTreeMap::new();
        for day in published.totals.range(from..=to).filter_map(|(date, _)| self.day(&published, *date)) {
            for (key, counts) in &day.rows {
                rows.entry(RowKey::clone(key)).or_default().add(counts);
            }
        }
        attribution(rows.iter())
    }

    fn experiments(&self) -> Vec<String> {
        self.published.load().trials.keys().cloned().collect()
    }

    fn experiment(&self, definition: &Experiment) -> Option<ExperimentResult> {
        self.published.load().trials.get(&definition.name).map(|trial| result(trial, definition))
    }

    fn reach(&self) -> Option<(Date, Date)> {
        let published = self.published.load();
        Some((*published.totals.keys().next()?, *published.totals.keys().next_back()?))
    }

    fn date_of(&self, at_ms: i64) -> Date {
        Date::of_ms(at_ms, self.config.utc_offset_minutes)
    }

    fn progress(&self) -> Progress {
        self.progress.clone()
    }
}
