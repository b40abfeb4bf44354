//! The models in memory. Those that answer queries stay; others are put out when there are too many, and loaded again when they are used.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use protocol::vision::ModelInfo;

use crate::devices::DeviceState;
use crate::embedder::{EmbedError, Embedder, Input};
use crate::logic::preprocessing::Preprocessing;
use crate::logic::residency::{self, Resident, Role};
use crate::logic::schedule::Place;
use crate::models::Sight;

/// Loads a model again.
pub(crate) type Load = Box<dyn Fn() -> Result<Arc<dyn Embedder>, String> + Send + Sync>;

/// Every model in memory, and what all of them may take.
pub(crate) struct Residents {
    budget_bytes: u64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    uses: u64,
}

struct Entry {
    model: Weak<Evictable>,
    role: Role,
    last_used_at: u64,
}

/// A model that may be put out of memory between two runs.
struct Evictable {
    info: ModelInfo,
    preprocessing: Preprocessing,
    sight: Option<Sight>,
    bytes: u64,
    load: Load,
    /// Held for moments only.
    loaded: Mutex<Option<Arc<dyn Embedder>>>,
    /// Held while it is loaded, so that it is loaded once.
    loading: Mutex<()>,
    residents: Weak<Residents>,
}

impl Residents {
    /// Models may take `budget_bytes` together; 0 for no bound.
    pub(crate) fn new(budget_bytes: u64) -> Self {
        let budget_bytes = if budget_bytes == 0 { u64::MAX } else { budget_bytes };
        Self { budget_bytes, table: Mutex::default() }
    }

    /// Takes a model up and loads it. It leaves the table when nobody holds it any more. Blocks.
    pub(crate) fn admit(self: &Arc<Self>, role: Role, load: Load) -> Result<Arc<dyn Embedder>, String> {
        let loaded = load()?;
        let (info, preprocessing, sight) = (loaded.info().clone(), loaded.preprocessing(), loaded.sight());
        let bytes = loaded.memory_bytes();
        let residents = Arc::downgrade(self);
        let model = Arc::new(Evictable {
            info,
            preprocessing,
            sight,
            bytes,
            load,
            loaded: Mutex::new(Some(loaded)),
            loading: Mutex::default(),
            residents,
        });
        let mut table = self.lock();
        table.entries.retain(|entry| entry.model.strong_count() > 0);
        table.uses += 1;
        let last_used_at = table.uses;
        table.entries.push(Entry { model: Arc::downgrade(&model), role, last_used_at });
        self.make_room(&table, &model);
        Ok(model)
    }

    /// A model's role from now on.
    pub(crate) fn set_role(&self, model: &ModelInfo, role: Role) {
        let mut table = self.lock();
        let is_it = |entry: &Entry| entry.model.upgrade().is_some_and(|known| known.info == *model);
        table.entries.iter_mut().filter(|entry| is_it(entry)).for_each(|entry| entry.role = role);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used(&self, model: &Evictable) {
        let mut table = self.lock();
        table.uses += 1;
        let now = table.uses;
        table.entries.iter_mut().filter(|entry| std::ptr::eq(entry.model.as_ptr(), model)).for_each(|entry| entry.last_used_at = now);
    }

    /// Puts out what must go for the models in memory to keep to the budget, but never `kept`.
    fn make_room(&self, table: &Table, kept: &Evictable) {
        let models: Vec<(Arc<Evictable>, Resident)> = table.entries.iter().filter_map(Entry::resident).collect();
        let residents: Vec<Resident> = models
            .iter()
            .map(|(model, resident)| Resident { is_in_use: resident.is_in_use || std::ptr::eq(&raw const **model, kept), ..*resident })
            .collect();
        let evicted = residency::to_evict(&residents, 0, self.budget_bytes);
        for at in &evicted {
            let (model, _) = &models[*at];
            *model.slot() = None;
            tracing::info!(model = model.info.name, fingerprint = model.info.fingerprint, "put out of memory");
            metrics::counter!("gotham_vision_evictions_total").increment(1);
        }
        let bytes: u64 = (0..residents.len()).filter(|at| !evicted.contains(at)).map(|at| residents[at].bytes).sum();
        metrics::gauge!("gotham_vision_model_memory_bytes").set(bytes as f64);
        if self.budget_bytes < u64::MAX {
            metrics::gauge!("gotham_vision_model_memory_budget_bytes").set(self.budget_bytes as f64);
        }
    }
}

impl Entry {
    /// What stands in memory of it, if anything.
    fn resident(&self) -> Option<(Arc<Evictable>, Resident)> {
        let model = self.model.upgrade()?;
        // Held by its slot alone unless a run has taken it.
        let is_in_use = Arc::strong_count(model.slot().as_ref()?) > 1;
        let resident = Resident { role: self.role, bytes: model.bytes, last_used_at: self.last_used_at, is_in_use };
        Some((model, resident))
    }
}

impl Evictable {
    fn slot(&self) -> MutexGuard<'_, Option<Arc<dyn Embedder>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What runs it; loads it when it was put out.
    fn loaded(&self) -> Result<Arc<dyn Embedder>, EmbedError> {
        let residents = self.residents.upgrade();
        residents.iter().for_each(|residents| residents.used(self));
        let there = self.slot().clone();
        let loaded = match there {
            Some(loaded) => loaded,
            None => self.load_again(residents)?,
        };
        if *loaded.info() == self.info { Ok(loaded) } else { Err(EmbedError::Failed("the model's files have changed".to_owned())) }
    }
}

impl Evictable {
    fn load_again(&self, residents: Option<Arc<Residents>>) -> Result<Arc<dyn Embedder>, EmbedError> {
        let _loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = self.slot().clone() {
            return Ok(loaded);
        }
        let loaded = (self.load)()?;
        *self.slot() = Some(Arc::clone(&loaded));
        if let Some(residents) = residents {
            residents.make_room(&residents.lock(), self);
        }
        Ok(loaded)
    }
}

impl Embedder for Evictable {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn preprocessing(&self) -> Preprocessing {
        self.preprocessing
    }

    fn sight(&self) -> Option<Sight> {
        self.sight
    }

    fn embed(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.loaded()?.embed(inputs)
    }

    fn place(&self) -> Place {
        // One that is not there is loaded by a thread of the CPU.
        self.slot().as_ref().map_or(Place::Cpu, |loaded| loaded.place())
    }

    fn device(&self) -> DeviceState {
        match &*self.slot() {
            Some(loaded) => loaded.device(),
            None => DeviceState { name: "not in memory".to_owned(), ..DeviceState::default() },
        }
    }

    fn memory_bytes(&self) -> u64 {
        self.slot().as_ref().map_or(0, |loaded| loaded.memory_bytes())
    }
}
