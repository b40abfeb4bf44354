//! What several answers share: walking the catalog within bounds, the attributes on offer, products of one group.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use domain::{Filter, Product, ProductId};
use kit::Context;
use protocol::catalog::{CatalogSnapshot, ProductRevision};
use protocol::search::{AttributeInfo, HITS_MAX, SearchQuery};

use crate::problem::{Answer, Problem};
use crate::routes::{App, search};
use crate::schema::Card;

/// Products looked at for one page of a filtered list; the cursor goes on from there.
const SCANNED_MAX: usize = 20_000;
const SCAN_STEP: usize = 256;
/// The attribute that holds a product's id.
const ID: &str = "id";
/// The attributes are counted again at most this often while products change.
const RECOUNT_INTERVAL_MIN: Duration = Duration::from_secs(5);
/// Other products of a group that are shown.
const SIBLINGS_MAX: usize = 24;

/// Which products to list.
#[derive(Clone, Default)]
pub(crate) struct Takes {
    pub brand: Option<String>,
    pub category: Option<String>,
}

impl Takes {
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

/// The same with a filter, which Batman answers for one stretch of the catalog after another: so the order is that of the ids, and
/// a cursor stays right while products come and go.
pub(crate) async fn filtered(
    app: &App,
    context: &Context,
    mut after: Option<String>,
    limit: usize,
    takes: &Takes,
    filter: &Filter,
) -> Answer<(Vec<Arc<ProductRevision>>, Option<String>)> {
    let catalog = app.house.catalog.snapshot();
    let mut found = Vec::new();
    let mut scanned = 0;
    loop {
        let (snapshot, from) = (Arc::clone(&catalog), after.clone());
        let page = tokio::task::spawn_blocking(move || snapshot.page(from.as_deref(), SCAN_STEP)).await;
        let page = page.map_err(Problem::internal)?;
        let is_last = page.len() < SCAN_STEP;
        let fitting = fitting(app, context, &page, filter).await?;
        scanned += page.len();
        let count = page.len();
        for (index, revision) in page.into_iter().enumerate() {
            let id = revision.product.id.clone();
            if fitting.contains(&id) && takes.takes(&revision.product) {
                found.push(revision);
            }
            if found.len() == limit {
                let is_end = is_last && index + 1 == count;
                return Ok((found, (!is_end).then(|| id.to_string())));
            }
            after = Some(id.to_string());
        }
        if is_last {
            return Ok((found, None));
        }
        if scanned >= SCANNED_MAX {
            return Ok((found, after));
        }
    }
}

/// The products of a stretch that a filter takes.
async fn fitting(app: &App, context: &Context, page: &[Arc<ProductRevision>], filter: &Filter) -> Answer<HashSet<ProductId>> {
    if page.is_empty() {
        return Ok(HashSet::new());
    }
    let values = page.iter().map(|revision| revision.product.id.to_string()).collect();
    let stretch = Filter::In { attribute: ID.to_owned(), values };
    let query = SearchQuery { filter: Some(Filter::All(vec![stretch, filter.clone()])), limit: HITS_MAX, ..SearchQuery::default() };
    Ok(search::find(app, context, query).await?.hits.into_iter().map(|hit| hit.product).collect())
}

/// Other products of the same group, as cards.
pub(crate) fn siblings(app: &App, revision: &ProductRevision) -> Vec<Card> {
    let Some(group) = revision.product.group_id.as_deref() else { return Vec::new() };
    let catalog = app.house.catalog.snapshot();
    let others = catalog.group(group).into_iter().filter(|id| *id != revision.product.id);
    let card = |id: domain::ProductId| Some(Card::of(&*catalog.get(id.as_str())?, &app.house.offers.offer(id.as_str())?));
    others.filter_map(card).take(SIBLINGS_MAX).collect()
}

/// What pages offer for narrowing down: the attributes, counted now and then, since counting walks over all values.
#[derive(Default)]
pub(crate) struct Shelf(ArcSwapOption<Counted>);

struct Counted {
    version: u64,
    at: Instant,
    attributes: Arc<[AttributeInfo]>,
}

impl Shelf {
    /// As the index had them at most a few seconds ago.
    pub(crate) async fn attributes(&self, app: &App) -> Answer<Arc<[AttributeInfo]>> {
        let version = app.house.searcher.stats().version;
        if let Some(counted) = self.0.load_full()
            && (counted.version == version || counted.at.elapsed() < RECOUNT_INTERVAL_MIN)
        {
            return Ok(Arc::clone(&counted.attributes));
        }
        let attributes: Arc<[AttributeInfo]> = search::known_attributes(app).await?.into();
        // Until the first product comes there is nothing to keep.
        if !attributes.is_empty() {
            self.0.store(Some(Arc::new(Counted { version, at: Instant::now(), attributes: Arc::clone(&attributes) })));
        }
        Ok(attributes)
    }
}
