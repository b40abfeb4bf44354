//! What several answers share: walking the catalog within bounds, the categories on the shelf, products of one group.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use domain::Product;
use protocol::catalog::{CatalogSnapshot, ProductRevision};

use crate::routes::App;
use crate::schema::Card;

/// Products looked at for one page of a filtered list; the cursor goes on from there.
const SCANNED_MAX: usize = 20_000;
const SCAN_STEP: usize = 256;
/// Categories that are offered for filtering.
const CATEGORIES_MAX: usize = 12;
/// The widest levels of a category path are offered.
const CATEGORY_LEVELS: usize = 2;
/// Counted again at most this often while the catalog changes.
const RECOUNT_INTERVAL_MIN: Duration = Duration::from_secs(5);
/// Other products of a group that are shown.
const SIBLINGS_MAX: usize = 24;

/// Which products to list.
#[derive(Clone, Default)]
pub(crate) struct Filter {
    pub brand: Option<String>,
    pub category: Option<String>,
}

impl Filter {
    pub(crate) fn takes(&self, product: &Product) -> bool {
        let same = |left: &str, right: &str| left.to_lowercase() == right.to_lowercase();
        let by_brand = self.brand.as_deref().is_none_or(|brand| product.brand.as_deref().is_some_and(|own| same(own, brand)));
        let by_category = self
            .category
            .as_deref()
            .is_none_or(|category| product.categories.iter().flat_map(|path| &path.0).any(|name| same(name, category)));
        by_brand && by_category
    }
}

/// Up to `limit` products that `takes` accepts, behind `after`, and where to go on, if there may be more.
pub(crate) fn scan(
    catalog: &dyn CatalogSnapshot,
    mut after: Option<String>,
    limit: usize,
    takes: impl Fn(&ProductRevision) -> bool,
) -> (Vec<Arc<ProductRevision>>, Option<String>) {
    let mut found = Vec::new();
    let mut scanned = 0;
    loop {
        let page = catalog.page(after.as_deref(), SCAN_STEP);
        let is_last = page.len() < SCAN_STEP;
        let count = page.len();
        for (index, revision) in page.into_iter().enumerate() {
            let position = revision.product.id.to_string();
            if takes(&revision) {
                found.push(revision);
            }
            if found.len() == limit {
                let is_end = is_last && index + 1 == count;
                return (found, (!is_end).then_some(position));
            }
            after = Some(position);
        }
        scanned += count;
        if is_last {
            return (found, None);
        }
        if scanned >= SCANNED_MAX {
            return (found, after);
        }
    }
}

/// Other products of the same group, as cards.
pub(crate) fn siblings(app: &App, revision: &ProductRevision) -> Vec<Card> {
    let Some(group) = revision.product.group_id.as_deref() else { return Vec::new() };
    let catalog = app.house.catalog.snapshot();
    let others = catalog.group(group).into_iter().filter(|id| *id != revision.product.id);
    let card = |id: domain::ProductId| Some(Card::of(&*catalog.get(id.as_str())?, &app.house.offers.offer(id.as_str())?));
    others.filter_map(card).take(SIBLINGS_MAX).collect()
}

/// The categories with the most products, counted now and then.
#[derive(Default)]
pub(crate) struct Shelf(ArcSwapOption<Counted>);

struct Counted {
    version: u64,
    at: Instant,
    categories: Vec<(String, usize)>,
}

impl Shelf {
    /// Categories and how many products each has, the largest first.
    pub(crate) async fn categories(&self, app: &App) -> Vec<(String, usize)> {
        let catalog = app.house.catalog.snapshot();
        if let Some(counted) = self.0.load_full()
            && (counted.version == catalog.version() || counted.at.elapsed() < RECOUNT_INTERVAL_MIN)
        {
            return counted.categories.clone();
        }
        let version = catalog.version();
        let categories = tokio::task::spawn_blocking(move || count(&*catalog)).await.unwrap_or_default();
        self.0.store(Some(Arc::new(Counted { version, at: Instant::now(), categories: categories.clone() })));
        categories
    }
}

fn count(catalog: &dyn CatalogSnapshot) -> Vec<(String, usize)> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut after: Option<String> = None;
    loop {
        let page = catalog.page(after.as_deref(), SCAN_STEP);
        let Some(last) = page.last() else { break };
        after = Some(last.product.id.to_string());
        for revision in &page {
            let mut names: Vec<&String> = revision.product.categories.iter().flat_map(|path| path.0.iter().take(CATEGORY_LEVELS)).collect();
            names.sort();
            names.dedup();
            for name in names {
                *counts.entry(name.clone()).or_default() += 1;
            }
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    counts.truncate(CATEGORIES_MAX);
    counts
}
