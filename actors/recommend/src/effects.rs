//! Disk and neighbours: state files, and what new products are like.

use std::collections::HashMap;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use behaviour::{Behaviour, Placement, Tuned};
use domain::ProductId;
use events::EventLog;
use kit::{Context, Priority};
use protocol::catalog::{CatalogReader, CatalogSnapshot};
use protocol::recommend::NAME;
use protocol::releases::{IndexSettings, ReleaseReader, Rules};
use protocol::search::{QueryVector, SearchQuery, Searcher};
use protocol::vision::{ModelInfo, VisionReader};
use store::{StateFiles, StoreError};

use crate::config::Config;
use crate::logic::harvest::Harvest;
use crate::logic::regression::{self, Regressions};
use crate::newcomers::{Near, Newcomer, Newcomers, NewcomersByModels};
use crate::view::{Blends, View};

const READ_BUFFER_BYTES: usize = 1 << 20;
/// Products of the catalog looked at in one piece.
const PAGE_MAX: usize = 256;
/// New products compared in one round; the rest follows in the next.
const ROUND_MAX: usize = 256;
/// Products asked for to find enough known ones among them.
const NEAR_ASKED: usize = 200;
/// Known products that a new one inherits from.
const NEAR_MAX: usize = 100;
/// Events from which on a product is known by what was done with it.
const KNOWN_EVENTS_MIN: u32 = 20;
/// Visits that blends are tried on: the last 3 % of them are foretold from the others.
const TUNE_VISITS_MAX: usize = 50_000;
/// Newest products that a visit's list is made from.
const TUNE_ITEMS: usize = 20;
const TUNE_TRIALS: usize = 50;
const TUNE_QUERIES_MAX: usize = 2_000;
/// Fewer questions say nothing.
const TUNE_QUERIES_MIN: usize = 200;
/// The best of many tries is a little better by chance alone.
const TUNE_GAIN_MIN: f64 = 1.01;
const TUNE_TIME_MAX: Duration = Duration::from_secs(60);
const TUNE_SEED: u64 = 0x5eed;
const SEARCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the newest state file that is sound and not ahead of the log; gives the offset it stands for, 0 without one.
pub(crate) fn load(dir: &Path, config: &Config, view: &View, log_end: u64) -> Result<u64, StoreError> {
    let files = StateFiles::new(dir, NAME)?;
    for offset in files.offsets()?.into_iter().filter(|offset| *offset <= log_end) {
        let mut file = BufReader::with_capacity(READ_BUFFER_BYTES, files.open(offset)?);
        match Behaviour::load(config.settings(), &mut file) {
            Ok(loaded) => {
                view.state.write(|state| *state = loaded);
                return Ok(offset);
            }
            Err(error) => {
                tracing::warn!(%error, offset, "a state file is not sound; an older one or the log itself is taken");
                metrics::counter!("gotham_recommend_state_unsound_total").increment(1);
            }
        }
    }
    view.state.write(|state| *state = Behaviour::new(config.settings()));
    Ok(0)
}

/// The state as it is now, as bytes: copied in memory, so that readers and the next event wait for that alone and not for a disk.
pub(crate) fn copy(view: &View) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    view.state.read().save(&mut bytes).map_err(|error| StoreError::Io(error.to_string().into()))?;
    Ok(bytes)
}

/// Writes what was copied when the state stood at `offset`; older files go.
pub(crate) fn write(dir: &Path, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
    let files = StateFiles::new(dir, NAME)?;
    files.write(offset, bytes)?;
    // A writer that was left over from a killed actor does not take its successor's newer file away.
    let kept: Vec<u64> = files.offsets()?.into_iter().filter(|other| *other >= offset).collect();
    files.keep(&kept)
}

/// Reads the newest events and fits the nightly regression; `None` when it was told to stop. Blocks for seconds to minutes.
pub(crate) fn fit(log: &EventLog, config: &Config, goes_on: &dyn Fn() -> bool) -> Result<Option<Regressions>, StoreError> {
    let mut harvest = Harvest::new(config.ease_events_max);
    let end = log.end();
    let mut next = end.saturating_sub(config.ease_events_max as u64);
    while next < end && goes_on() {
        let entries = log.read(next, config.batch_records_max)?;
        let Some(last) = entries.last() else { break };
        next = last.offset + 1;
        entries.iter().filter_map(|entry| entry.body.as_ref()).for_each(|body| harvest.take(body));
    }
    Ok(regression::fit(&harvest.finish(), &config.plan(), goes_on).ok())
}

/// Where likeness comes from.
#[derive(Clone)]
pub(crate) struct Neighbours {
    pub(crate) catalog: Arc<dyn CatalogReader>,
    pub(crate) vision: Arc<dyn VisionReader>,
    pub(crate) searcher: Arc<dyn Searcher>,
    pub(crate) releases: Arc<dyn ReleaseReader>,
}

/// By whose vectors products are compared, and how is searched for them.
type Serving = (Vec<ModelInfo>, Option<(IndexSettings, Rules)>);

impl Neighbours {
    /// Looks for products that nobody knows yet and compares some of them: those that were compared least often, of these the newest.
    /// So all have their turn, and again when embeddings have come and others have become known.
    pub(crate) async fn acquaint(self, view: Arc<View>, newcomers_max: usize) {
        let (catalog, seen) = (self.catalog.clone(), Arc::clone(&view));
        let Ok(new) = tokio::task::spawn_blocking(move || new_products(&*catalog.snapshot(), &seen, newcomers_max)).await else { return };
        let before = view.newcomers.load_full();
        let mut all = Vec::new();
        for (models, by) in self.serving() {
            let newcomers = self.compare(&new, &before.of(&models), &(models.clone(), by), &view).await;
            all.push((models, Arc::new(newcomers)));
        }
        let newcomers = NewcomersByModels(all);
        metrics::gauge!("gotham_recommend_new_products").set(newcomers.of(&[]).numbers().len() as f64);
        view.replace(&view.newcomers, newcomers);
    }

    /// The live release's models, then those of an assistant commissioner on duty.
    fn serving(&self) -> Vec<Serving> {
        let (ledger, kept) = (self.releases.ledger(), self.vision.kept());
        let Some(live) = ledger.commissioner() else { return vec![(self.vision.models(), None)] };
        let mut serving: Vec<Serving> = Vec::new();
        for release in std::iter::once(live).chain(ledger.assistant(&kept)) {
            let models: Vec<ModelInfo> = release.definition.models().filter(|model| kept.contains(model)).cloned().collect();
            if serving.iter().all(|(known, _)| *known != models) {
                let settings = &release.definition.settings;
                serving.push((models, Some((settings.index, settings.rules))));
            }
        }
        serving
    }

    /// What new products are like by some models, from what was found before.
    async fn compare(&self, new: &[(ProductId, u64)], before: &Newcomers, serving: &Serving, view: &View) -> Newcomers {
        let known: HashMap<&ProductId, &Newcomer> = before.all().map(|newcomer| (&newcomer.product, newcomer)).collect();
        let newcomer = |(product, revision): (ProductId, u64)| {
            let kept = known.get(&product).filter(|kept| kept.revision == revision);
            let (near, compared) = kept.map_or_else(|| (Near::from([]), 0), |kept| (kept.near.clone(), kept.compared));
            Newcomer { product, revision, number: None, near, compared }
        };
        let mut all: Vec<Newcomer> = new.iter().cloned().map(newcomer).collect();
        all.sort_by_key(|newcomer| newcomer.compared);
        for newcomer in all.iter_mut().take(ROUND_MAX) {
            newcomer.near = self.near(&newcomer.product, serving, view).await;
            newcomer.compared = newcomer.compared.saturating_add(1);
        }
        for newcomer in &mut all {
            newcomer.number = view.state.read().item(newcomer.product.as_str());
        }
        Newcomers::new(all)
    }

    /// The known products most like one: by its first picture, else by its text, by these models.
    async fn near(&self, product: &ProductId, (models, by): &Serving, view: &View) -> Near {
        for model in models {
            let (vision, id, by_model) = (Arc::clone(&self.vision), product.clone(), model.clone());
            let vectors = tokio::task::spawn_blocking(move || vision.vectors_by(&by_model, id.as_str())).await.unwrap_or_default();
            let Some(first) = vectors.into_iter().next() else { continue };
            let query = SearchQuery {
                by: *by,
                vectors: vec![QueryVector { space: model.space, fingerprint: first.fingerprint, vector: first.vector }],
                exclude: vec![product.clone()],
                limit: NEAR_ASKED,
                ..SearchQuery::default()
            };
            let context = Context::new(Priority::Bulk, SEARCH_TIMEOUT);
            let Ok(answer) = self.searcher.search(&context, query).await else { continue };
            let state = view.state.read();
            let known = answer.hits.iter().filter_map(|hit| {
                let number = state.item(hit.product.as_str())?;
                (state.events_of(number) > 0).then_some((number, hit.score))
            });
            let near: Vec<(u32, f32)> = known.take(NEAR_MAX).collect();
            if !near.is_empty() {
                return near.into();
            }
        }
        Near::from([])
    }
}

/// The most recently changed products of which too little is known, at most `newcomers_max`, with their revisions.
fn new_products(catalog: &dyn CatalogSnapshot, view: &View, newcomers_max: usize) -> Vec<(ProductId, u64)> {
    let mut found: Vec<(i64, ProductId, u64)> = Vec::new();
    let mut page = catalog.page(None, PAGE_MAX);
    while let Some(last) = page.last() {
        {
            let state = view.state.read();
            for revision in &page {
                let id = &revision.product.id;
                let events = state.item(id.as_str()).map_or(0, |item| state.events_of(item));
                if events < KNOWN_EVENTS_MIN {
                    found.push((revision.changed_at_ms, id.clone(), revision.revision));
                }
            }
        }
        if found.len() > newcomers_max.saturating_mul(2).max(PAGE_MAX) {
            newest(&mut found, newcomers_max);
        }
        page = catalog.page(Some(last.product.id.as_str()), PAGE_MAX);
    }
    newest(&mut found, newcomers_max);
    found.into_iter().map(|(_, id, revision)| (id, revision)).collect()
}

fn newest(found: &mut Vec<(i64, ProductId, u64)>, newcomers_max: usize) {
    found.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    found.truncate(newcomers_max);
}

/// Tries blends on the latest visits, held back, for each placement, and takes one that is better beyond chance. What came out, for a
/// visit's list and beside a product; `None` where there are too few visits.
pub(crate) fn tune(view: &View, goes_on: &dyn Fn() -> bool) -> [Option<Tuned>; 2] {
    let (set, start) = {
        let state = view.state.read();
        (state.tuning_set(TUNE_VISITS_MAX), state.settings().blend.clone())
    };
    let placements = [Placement { items_max: TUNE_ITEMS, novel: false }, Placement { items_max: 1, novel: true }];
    let tuned = placements.map(|placement| {
        let began = Instant::now();
        let goes_on = || goes_on() && began.elapsed() < TUNE_TIME_MAX;
        let tuned = set.tune(&start, placement, TUNE_TRIALS, TUNE_QUERIES_MAX, TUNE_SEED, goes_on)?;
        tracing::info!(
            ?placement,
            ndcg = tuned.ndcg,
            before = tuned.ndcg_before,
            tried = tuned.tried,
            queries = tuned.queries,
            "blends are tried"
        );
        Some(tuned)
    });
    let better = |tuned: &Option<Tuned>| {
        let tuned = tuned.as_ref().filter(|tuned| tuned.queries >= TUNE_QUERIES_MIN && tuned.ndcg > tuned.ndcg_before * TUNE_GAIN_MIN)?;
        Some(tuned.blend.clone())
    };
    view.replace(&view.blends, Blends { visit: better(&tuned[0]), beside: better(&tuned[1]) });
    tuned
}
