//! The engine: reads the event log, lets the logic count, keeps what was counted, shows it. Runs on blocking threads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::Entry;
use protocol::journal::LogBody;
use protocol::reports::{Date, NAME};
use ring::rand::{SecureRandom, SystemRandom};
use store::{Durability, Keyspace, Op, Record, Store, StoreError, consumer};

use crate::actor::Args;
use crate::logic::day::Day;
use crate::logic::fold::State;
use crate::logic::report::HISTORY_DAYS;
use crate::logic::salt::Salt;
use crate::logic::trial::Trials;
use crate::records::{self, ExposureRecord, MARK_KEY, MarkRecord, SALT_KEY, SaltRecord, Sealed};

/// Records read from the store at a time.
const PAGE_RECORDS_MAX: usize = 1_024;
/// Days that change between two commits: more are committed at once.
const CHANGED_DAYS_MAX: usize = 32;
/// The newest days stay in memory: the one that is, and those that its report looks back at.
const OPEN_DAYS_MAX: usize = HISTORY_DAYS as usize + 2;

/// The read models with their log and their store.
pub(crate) struct Engine {
    args: Args,
    state: State,
    /// Hashes of what is stored of the days in memory, by key.
    written: BTreeMap<Date, HashMap<Vec<u8>, u64>>,
    trials_written: HashMap<Vec<u8>, u64>,
    committed: u64,
    committed_at: Instant,
    published: Option<(u64, Instant)>,
}

impl Engine {
    /// Loads what is stored, and makes the join again from the log.
    pub(crate) fn open(args: Args) -> Result<Self, StoreError> {
        // A killed predecessor's last commit may still be under way: wait until it has been applied.
        args.store.commit(Vec::new(), Durability::Applied).wait()?;
        let salt = load_salt(&*args.store)?;
        let mut engine = Self::empty(args, salt);
        match engine.load() {
            Ok(()) => {}
            Err(StoreError::Damaged(reason)) => engine.begin_again(&reason)?,
            Err(error) => return Err(error),
        }
        engine.publish();
        Ok(engine)
    }

    fn empty(args: Args, salt: Salt) -> Self {
        let state = State::new(args.config.clone(), salt);
        let (written, trials_written) = Default::default();
        Self { args, state, written, trials_written, committed: 0, committed_at: Instant::now(), published: None }
    }

    fn load(&mut self) -> Result<(), StoreError> {
        let store = Arc::clone(&self.args.store);
        let offset = consumer::load_offset(&*store, NAME)?;
        if offset == 0 {
            // What is kept, is kept with a later offset: anything else was left by a rebuild that ended before all was deleted.
            let left = store.range(Keyspace::Reports, (Bound::Unbounded, Bound::Unbounded), 1)?;
            let reason = "a rebuild ended before everything old was deleted";
            return if left.entries.is_empty() { Ok(()) } else { Err(StoreError::Damaged(reason.into())) };
        }
        let mark = match store.get(Keyspace::Reports, MARK_KEY)? {
            Some(bytes) => MarkRecord::unseal(MARK_KEY, &bytes)?,
            None => return Err(StoreError::Damaged("where the reports stand is not stored".into())),
        };
        if offset > self.args.log.end() {
            return Err(StoreError::Damaged("the event log ends before what was counted".into()));
        }
        for date in stored_dates(&*store)? {
            let head = read_range(&*store, records::head_range(date))?;
            self.state.totals.insert(date, Arc::new(records::unseal_totals(date, &head)?));
        }
        let newest: Vec<Date> = self.state.totals.keys().rev().take(OPEN_DAYS_MAX).copied().collect();
        newest.into_iter().try_for_each(|date| self.open_day(date))?;
        let trials = read_range(&*store, records::trials_range())?;
        self.trials_written = hashes(&trials);
        let mut exposures = HashMap::new();
        for (key, value) in read_range(&*store, records::exposures_range())? {
            let exposure = records::exposure_of_key(&key).ok_or_else(|| StoreError::Damaged("a key is no exposure's".into()))?;
            exposures.insert(exposure, ExposureRecord::unseal(&key, &value)?.0);
        }
        self.state.trials = Trials::restore(records::unseal_trials(&trials)?, mark.next_trial, exposures);
        self.state.offset = offset;
        self.committed = offset;
        self.args.log.consumer_at(NAME, offset);
        self.rejoin(mark.join_from, offset)
    }

    /// Reads the lists that events can still be joined with, and what was done with them.
    fn rejoin(&mut self, from: u64, to: u64) -> Result<(), StoreError> {
        let mut next = from;
        while next < to {
            let entries = read_log(&self.args, &mut next)?;
            for entry in entries.iter().take_while(|entry| entry.offset < to) {
                self.state.rejoin(entry);
            }
            next = entries.last().map_or(to, |entry| entry.offset + 1);
        }
        Ok(())
    }

    /// Everything is counted anew from the log's start.
    fn begin_again(&mut self, reason: &str) -> Result<(), StoreError> {
        tracing::error!(reason, "what is stored of the reports cannot be used: they are made anew from the event log");
        metrics::counter!("gotham_reports_rebuilds_total").increment(1);
        loop {
            let page = self.args.store.range(Keyspace::Reports, (Bound::Unbounded, Bound::Unbounded), PAGE_RECORDS_MAX)?;
            let mut ops: Vec<Op> = page.entries.into_iter().map(|(key, _)| Op::Delete { space: Keyspace::Reports, key }).collect();
            ops.push(consumer::offset_op(NAME, 0)?);
            self.args.store.commit(ops, Durability::Applied).wait()?;
            if !page.has_more {
                break;
            }
        }
        let salt = load_salt(&*self.args.store)?;
        let published = self.published;
        *self = Self { published, ..Self::empty(self.args.clone(), salt) };
        Ok(())
    }

    /// Applies the next records; commits and publishes when it is time to. Whether there may be more.
    pub(crate) fn step(&mut self) -> Result<bool, StoreError> {
        let mut next = self.state.offset;
        let entries = read_log(&self.args, &mut next)?;
        self.state.offset = next;
        for entry in &entries {
            match self.prepare(entry) {
                Ok(()) => self.state.apply(entry),
                Err(StoreError::Damaged(reason)) => {
                    self.begin_again(&reason)?;
                    return Ok(true);
                }
                Err(error) => return Err(error),
            }
            if self.state.changed.len() >= CHANGED_DAYS_MAX {
                self.commit()?;
            }
        }
        let (offset, end) = (self.state.offset, self.args.log.end());
        let config = &self.args.config;
        let waiting = offset - self.committed;
        let commit_interval = Duration::from_millis(config.commit_interval_ms);
        if waiting >= config.commit_records_max || (waiting > 0 && self.committed_at.elapsed() >= commit_interval) {
            self.commit()?;
        }
        self.publish_if_due();
        metrics::gauge!("gotham_reports_lag_records").set(end.saturating_sub(offset) as f64);
        metrics::gauge!("gotham_reports_join_lists").set(self.state.join.len() as f64);
        Ok(offset < end)
    }

    /// Gets what an entry changes into memory. An erasure changes any day: words that only the erased searched for go, which may be
    /// done twice.
    fn prepare(&mut self, entry: &Entry) -> Result<(), StoreError> {
        if let Some(LogBody::Erasure(erasure)) = &entry.body {
            let dates: Vec<Date> = self.state.totals.keys().copied().collect();
            for date in dates {
                if !self.state.days.contains_key(&date) {
                    let sealed = read_range(&*self.args.store, records::queries_range(date))?;
                    if !self.state.has_askers(&records::unseal_queries(date, &sealed)?, erasure) {
                        continue;
                    }
                }
                self.open_day(date)?;
                self.state.forget_words(date, erasure);
                if self.state.changed.len() >= CHANGED_DAYS_MAX {
                    self.commit()?;
                }
            }
        }
        self.state.date_of(entry).map_or(Ok(()), |date| self.open_day(date))
    }

    /// Makes everything that was counted durable, together with the offset it stands for.
    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        // Nothing was read. Records with this offset would be taken for what a rebuild left.
        if self.state.offset == 0 {
            return Ok(());
        }
        let started = Instant::now();
        self.state.total_up();
        let mut ops = Vec::new();
        let put = |key: Vec<u8>, value: Vec<u8>| Op::Put { space: Keyspace::Reports, key, value };
        for date in std::mem::take(&mut self.state.changed) {
            if let Some(day) = self.state.days.get(&date) {
                replace(self.written.entry(date).or_default(), records::seal_day(date, day)?, &mut ops);
            } else {
                // Over the bound: it need not have been in memory.
                replace(&mut hashes(&read_range(&*self.args.store, records::day_range(date))?), Vec::new(), &mut ops);
            }
        }
        replace(&mut self.trials_written, records::seal_trials(&self.state.trials.by_name)?, &mut ops);
        for exposed in std::mem::take(&mut self.state.trials.changed) {
            let key = records::exposure_key(exposed);
            ops.push(match self.state.trials.exposures.get(&exposed) {
                Some(exposure) => {
                    let value = ExposureRecord(exposure.clone()).seal(&key)?;
                    put(key, value)
                }
                None => Op::Delete { space: Keyspace::Reports, key },
            });
        }
        let offset = self.state.offset;
        let join_from = self.state.join.start().unwrap_or(offset);
        let mark = MarkRecord { join_from, next_trial: self.state.trials.next_number };
        ops.push(put(MARK_KEY.to_vec(), mark.seal(MARK_KEY)?));
        ops.push(consumer::offset_op(NAME, offset)?);
        self.args.store.commit(ops, Durability::Flushed).wait()?;
        self.args.log.consumer_at(NAME, offset);
        (self.committed, self.committed_at) = (offset, Instant::now());
        self.close_days();
        metrics::histogram!("gotham_reports_commit_seconds").record(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Shows readers what was counted, if that is new and long enough after the last time.
    fn publish_if_due(&mut self) {
        let interval = Duration::from_millis(self.args.config.publish_interval_ms);
        let is_due = self.published.is_none_or(|(offset, at)| offset != self.state.offset && at.elapsed() >= interval);
        if is_due {
            self.publish();
        }
    }

    /// Shows readers what was counted.
    pub(crate) fn publish(&mut self) {
        self.state.total_up();
        self.args.view.publish(&self.state);
        self.published = Some((self.state.offset, Instant::now()));
    }

    /// A day that is kept must be in memory before it changes.
    fn open_day(&mut self, date: Date) -> Result<(), StoreError> {
        if self.state.days.contains_key(&date) || !self.state.totals.contains_key(&date) {
            return Ok(());
        }
        let sealed = read_range(&*self.args.store, records::day_range(date))?;
        self.state.days.insert(date, Arc::new(records::unseal_day(date, &sealed)?));
        self.written.insert(date, hashes(&sealed));
        Ok(())
    }

    fn close_days(&mut self) {
        let open: BTreeSet<Date> = self.state.totals.keys().rev().take(OPEN_DAYS_MAX).copied().collect();
        self.state.days.retain(|date, _| open.contains(date));
        self.written.retain(|date, _| open.contains(date));
    }
}

/// One day as it is stored; `None` when it is not, or not as one day (while it is being replaced).
pub(crate) fn read_day(store: &dyn Store, date: Date) -> Option<Day> {
    let day = read_range(store, records::day_range(date)).and_then(|sealed| match sealed.is_empty() {
        true => Ok(None),
        false => records::unseal_day(date, &sealed).map(Some),
    });
    day.unwrap_or_else(|error| {
        tracing::warn!(%date, %error, "a day of the reports could not be read");
        None
    })
}

/// BLAKE3 over everything that is stored of the reports, in the order of keys, and the offset that it stands for. Two histories
/// of restarts over the same event log have the same digest, once everything is committed.
pub fn digest(store: &dyn Store) -> Result<[u8; 32], StoreError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&consumer::load_offset(store, NAME)?.to_le_bytes());
    let mut from = Bound::Unbounded;
    loop {
        let page = store.range(Keyspace::Reports, (from.as_ref().map(Vec::as_slice), Bound::Unbounded), PAGE_RECORDS_MAX)?;
        for bytes in page.entries.iter().flat_map(|(key, value)| [key, value]) {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
        let Some((last, _)) = page.entries.into_iter().next_back().filter(|_| page.has_more) else { break };
        from = Bound::Excluded(last);
    }
    Ok(*hasher.finalize().as_bytes())
}

/// The next records of the log. What the log no longer has is left out, and `next` moved behind it.
fn read_log(args: &Args, next: &mut u64) -> Result<Vec<Entry>, StoreError> {
    match args.log.read(*next, args.config.batch_records_max) {
        Err(StoreError::Trimmed { offset, start }) => {
            tracing::error!(offset, start, "the event log no longer has what the reports have not counted");
            *next = start;
            args.log.read(start, args.config.batch_records_max)
        }
        read => read,
    }
}

/// Puts what differs from what is written, and deletes what is no longer.
fn replace(written: &mut HashMap<Vec<u8>, u64>, sealed: Sealed, ops: &mut Vec<Op>) {
    let now = hashes(&sealed);
    let gone = written.keys().filter(|key| !now.contains_key(*key)).cloned();
    ops.extend(gone.map(|key| Op::Delete { space: Keyspace::Reports, key }));
    for (key, value) in sealed {
        if written.get(&key) != now.get(&key) {
            ops.push(Op::Put { space: Keyspace::Reports, key, value });
        }
    }
    *written = now;
}

fn hashes(sealed: &[(Vec<u8>, Vec<u8>)]) -> HashMap<Vec<u8>, u64> {
    let hash = |value: &[u8]| {
        let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(value).as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    };
    sealed.iter().map(|(key, value)| (key.clone(), hash(value))).collect()
}

fn read_range(store: &dyn Store, (from, to): (Vec<u8>, Vec<u8>)) -> Result<Sealed, StoreError> {
    let mut sealed = Vec::new();
    let mut low = Bound::Included(from);
    loop {
        let bounds = (low.as_ref().map(Vec::as_slice), Bound::Excluded(to.as_slice()));
        let page = store.range(Keyspace::Reports, bounds, PAGE_RECORDS_MAX)?;
        sealed.extend(page.entries);
        match sealed.last() {
            Some((last, _)) if page.has_more => low = Bound::Excluded(last.clone()),
            _ => return Ok(sealed),
        }
    }
}

/// The stored days, by jumping from each to the next.
fn stored_dates(store: &dyn Store) -> Result<Vec<Date>, StoreError> {
    let (mut from, to) = records::days_range();
    let mut dates = Vec::new();
    loop {
        let bounds = (Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice()));
        let page = store.range(Keyspace::Reports, bounds, 1)?;
        let Some((key, _)) = page.entries.first() else { return Ok(dates) };
        let date = records::date_of_key(key).ok_or_else(|| StoreError::Damaged("a key is no day's".into()))?;
        dates.push(date);
        from = records::day_range(date).1;
    }
}

/// The installation's secret; made once.
fn load_salt(store: &dyn Store) -> Result<Salt, StoreError> {
    if let Some(bytes) = store.get(Keyspace::Meta, SALT_KEY)? {
        return Ok(Salt(SaltRecord::unseal(SALT_KEY, &bytes)?.salt));
    }
    let mut salt = [0; 32];
    SystemRandom::new().fill(&mut salt).map_err(|_| StoreError::Io("the system gives no random bytes".into()))?;
    let value = SaltRecord { salt }.seal(SALT_KEY)?;
    store.commit(vec![Op::Put { space: Keyspace::Meta, key: SALT_KEY.to_vec(), value }], Durability::Flushed).wait()?;
    Ok(Salt(salt))
}
