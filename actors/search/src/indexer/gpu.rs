//! Exact search on a GPU, where there is one that is faster than the CPU: a thread keeps a copy of each space's exact rows on the
//! device, and a search whose space has not changed since is answered from it. What the device finds are candidates; the index
//! itself compares them and the CPU answers whenever they may not be all, so that an answer is the same with and without a GPU.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use half::f16;
use protocol::search::NAME;
use protocol::vision::Space;
use shaders::scan::{AdapterChoice, GpuError, GpuOptions, GpuScan, K_MAX, Load, Request, ScanError, WRITE_ROWS, measure};
use tokio::sync::watch;
use vectors::index::{Outcome, Query};
use vectors::planner::Effort;

use crate::config::{Config, GpuUse};
use crate::view::{Shared, SpaceIndex};

/// A space is copied when it has not changed for so long.
const QUIET: Duration = Duration::from_millis(500);
/// After a failure the CPU answers for so long.
const RETRY_INTERVAL: Duration = Duration::from_secs(300);
/// Rows that are carried to the device together.
const COPY_ROWS: usize = 64 * WRITE_ROWS;
/// Scores of unit vectors differ by less than this between the device's 16-bit numbers (half a unit of 2^-10 each) and the index.
const SCORE_ERROR_MAX: f32 = 6e-4;
/// Searches for more owners leave the device too few rows to spare.
const LIMIT_MAX: usize = K_MAX / 2;

/// What searches see of the GPU.
#[derive(Default)]
pub(crate) struct Gpu {
    copies: [RwLock<Option<DeviceCopy>>; Space::ALL.len()],
    /// The versions of the copies.
    copied: watch::Sender<[Option<u64>; Space::ALL.len()]>,
    has_failed: AtomicBool,
}

/// The rows of a space on the device.
struct DeviceCopy {
    scan: GpuScan,
    /// Of each row.
    owners: Vec<u32>,
    index: Weak<SpaceIndex>,
    /// The index's version that the rows are of; none while they are of no single one.
    version: Option<u64>,
}

impl Gpu {
    /// As [`vectors::index::Reader::search`], of the exact effort. Nothing when the CPU has to answer.
    pub(crate) fn search(
        &self,
        space: Space,
        index: &SpaceIndex,
        query: &Query<'_>,
        hits: &mut Vec<vectors::index::Hit>,
    ) -> Option<Outcome> {
        if query.effort != Effort::Exact || !(1..=LIMIT_MAX).contains(&query.limit) || self.has_failed.load(Ordering::Acquire) {
            return None;
        }
        // Not while the copy is made anew.
        let copy = self.copies[space as usize].try_read().ok()?;
        let copy = copy.as_ref().filter(|copy| copy.is_of(index))?;
        let allow = copy.allow(query);
        let rows = match copy.scan.search(&Request { queries: query.vector, k: K_MAX, allow: allow.as_deref() }) {
            Ok(mut found) => found.pop()?,
            Err(error) => {
                self.fail(&error);
                return None;
            }
        };
        let mut among = Vec::new();
        for owner in rows.iter().filter_map(|hit| copy.owners.get(hit.row as usize)) {
            let at = *owner as usize / 64;
            if at >= among.len() {
                among.resize(at + 1, 0);
            }
            among[at] |= 1 << (owner % 64);
        }
        let outcome = index.reader.search(&Query { allow: Some(&among), ..*query }, hits).ok()?;
        // Rows that are not among them score at most as the last one does.
        let last = rows.last().filter(|_| rows.len() == K_MAX);
        let are_best = last.is_none_or(|last| hits.get(query.limit - 1).is_some_and(|hit| hit.score > last.score + SCORE_ERROR_MAX));
        (outcome.is_late || are_best && copy.is_of(index)).then_some(outcome)
    }

    /// Leaves searches to the CPU for a while.
    fn fail(&self, error: &ScanError) {
        metrics::counter!("gotham_search_gpu_errors_total").increment(1);
        if !self.has_failed.swap(true, Ordering::AcqRel) {
            metrics::gauge!("gotham_search_gpu").set(0.0);
            tracing::warn!(%error, retry_seconds = RETRY_INTERVAL.as_secs(), "the GPU failed; the CPU answers exact searches");
        }
    }

    /// Frees the device's memory.
    fn clear(&self, space: Space) {
        *self.copies[space as usize].write().unwrap_or_else(PoisonError::into_inner) = None;
        self.copied.send_modify(|copied| copied[space as usize] = None);
    }

    #[cfg(test)]
    pub(crate) fn copied(&self) -> watch::Receiver<[Option<u64>; Space::ALL.len()]> {
        self.copied.subscribe()
    }

    /// Makes the next search of a space fail: its rows are of other dimensions than its queries.
    #[cfg(test)]
    pub(crate) fn sabotage(&self, space: Space) {
        let options = GpuOptions { adapter: AdapterChoice::Software, ..GpuOptions::default() };
        let mut copy = self.copies[space as usize].write().expect("no panic");
        copy.as_mut().expect("a copy").scan = GpuScan::open(7, &options).expect("a device");
    }
}

impl DeviceCopy {
    fn is_of(&self, index: &SpaceIndex) -> bool {
        std::ptr::eq(self.index.as_ptr(), index) && self.version == Some(index.reader.version())
    }

    /// The rows of owners that a search may find.
    fn allow(&self, query: &Query<'_>) -> Option<Vec<u32>> {
        if query.allow.is_none() && query.exclude.is_empty() {
            return None;
        }
        let mut exclude = query.exclude.to_vec();
        exclude.sort_unstable();
        let is_in = |set: &[u64], owner: u32| set.get(owner as usize / 64).is_some_and(|word| word >> (owner % 64) & 1 == 1);
        let lets = |owner: u32| query.allow.is_none_or(|allow| is_in(allow, owner)) && exclude.binary_search(&owner).is_err();
        let word = |owners: &[u32]| owners.iter().enumerate().fold(0, |word, (bit, owner)| word | u32::from(lets(*owner)) << bit);
        Some(self.owners.chunks(32).map(word).collect())
    }

    /// Makes the copy anew; at most `rows_max` rows.
    fn renew(&mut self, index: &Arc<SpaceIndex>, rows_max: usize) -> Result<(), ScanError> {
        let version = index.reader.version();
        self.version = None;
        self.index = Arc::downgrade(index);
        self.owners.clear();
        self.scan.truncate(0);
        let (mut rows, mut written) = (Vec::with_capacity(COPY_ROWS * index.dimensions), Ok(()));
        index.reader.for_each_row(|owner, vector| {
            self.owners.push(owner);
            rows.extend(vector.iter().map(|number| f16::from_f32(*number)));
            if rows.len() == COPY_ROWS * index.dimensions {
                written = self.scan.write(self.scan.rows(), &rows, None);
                rows.clear();
            }
            written.is_ok() && self.owners.len() <= rows_max
        });
        written?;
        self.scan.write(self.scan.rows(), &rows, None)?;
        let is_whole = self.owners.len() <= rows_max && index.reader.version() == version;
        self.version = is_whole.then_some(version);
        Ok(())
    }
}

/// The thread that keeps the copies; dropping it ends the thread and waits for it.
pub(crate) struct GpuKeeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl GpuKeeper {
    /// Starts the thread unless the configuration says that there is no GPU to be used.
    pub(crate) fn spawn(config: &Config, shared: &Arc<Shared>) -> io::Result<Self> {
        metrics::gauge!("gotham_search_gpu").set(0.0);
        if config.gpu == GpuUse::Off {
            return Ok(Self { stop: None, thread: None });
        }
        let (stop, stopped) = channel();
        let mut keeping = Keeping {
            choice: config.gpu,
            rows_max: config.gpu_rows_max,
            shared: Arc::clone(shared),
            seen: Default::default(),
            retry_at: None,
        };
        let thread = std::thread::Builder::new().name(format!("{NAME}-gpu")).spawn(move || {
            while stopped.recv_timeout(QUIET) == Err(RecvTimeoutError::Timeout) && keeping.look() {}
            Space::ALL.into_iter().for_each(|space| keeping.shared.gpu.clear(space));
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for GpuKeeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of the thread has been reported where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Keeping {
    choice: GpuUse,
    rows_max: usize,
    shared: Arc<Shared>,
    /// The versions of the indexes at the last look.
    seen: [Option<u64>; Space::ALL.len()],
    retry_at: Option<Instant>,
}

impl Keeping {
    /// Copies what has changed and is quiet. `false` when there is no GPU that is worth it.
    fn look(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        if shared.gpu.has_failed.load(Ordering::Acquire) {
            let at = *self.retry_at.get_or_insert_with(|| {
                Space::ALL.into_iter().for_each(|space| shared.gpu.clear(space));
                Instant::now() + RETRY_INTERVAL
            });
            if Instant::now() < at {
                return true;
            }
            self.retry_at = None;
            shared.gpu.has_failed.store(false, Ordering::Release);
        }
        for space in Space::ALL {
            let Some(index) = shared.space(space).filter(|index| index.reader.owners_len() > 0) else { continue };
            let version = index.reader.version();
            if self.seen[space as usize].replace(version) != Some(version) {
                continue;
            }
            match self.renew(space, &index) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    shared.gpu.fail(&error);
                    return true;
                }
            }
        }
        true
    }

    fn renew(&self, space: Space, index: &Arc<SpaceIndex>) -> Result<bool, ScanError> {
        let gpu = &self.shared.gpu;
        if index.index.stats().rows > self.rows_max {
            gpu.clear(space);
            return Ok(true);
        }
        let mut held = gpu.copies[space as usize].write().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|copy| copy.is_of(index)) {
            return Ok(true);
        }
        if held.as_ref().is_none_or(|copy| copy.scan.dim() != index.dimensions) {
            let Some(scan) = self.open(index.dimensions)? else { return Ok(false) };
            *held = Some(DeviceCopy { scan, owners: Vec::new(), index: Weak::new(), version: None });
        }
        let Some(copy) = held.as_mut() else { return Ok(true) };
        copy.renew(index, self.rows_max)?;
        let version = copy.version;
        // Whoever waits for the copy finds it free.
        drop(held);
        metrics::gauge!("gotham_search_gpu").set(1.0);
        gpu.copied.send_modify(|copied| copied[space as usize] = version);
        Ok(true)
    }

    /// A device for rows of `dim` numbers, if there is one on which a single search is faster than on a thread of the CPU.
    fn open(&self, dim: usize) -> Result<Option<GpuScan>, ScanError> {
        let adapter = if self.choice == GpuUse::Software { AdapterChoice::Software } else { AdapterChoice::Hardware };
        let mut scan = match GpuScan::open(dim, &GpuOptions { adapter, ..GpuOptions::default() }) {
            Err(ScanError::Gpu(GpuError::NoAdapter)) => return Ok(None),
            opened => opened?,
        };
        if self.choice == GpuUse::Software {
            return Ok(Some(scan));
        }
        let measured = measure(&mut scan, &Load { batch: 1, k: K_MAX, ..Load::small(dim) }, 1)?;
        let [gpu, cpu] = measured.rows_per_second();
        tracing::info!(adapter = scan.adapter().name, gpu, cpu, is_used = measured.gpu_wins(), "rows a second of exact search");
        Ok(measured.gpu_wins().then_some(scan))
    }
}
