//! The one writer of vectors: checks them, sets them, publishes the result. Runs on the indexer's thread.

use std::collections::HashSet;
use std::sync::Arc;

use domain::ProductId;
use protocol::catalog::CatalogReader;
use protocol::search::{SearchError, UPSERT_VECTORS_MAX, VectorEntry};
use protocol::vision::{Space, VisionReader};

use crate::logic::vectors::{SpaceWriter, unit};
use crate::view::Shared;

/// The most numbers in a vector.
const DIMENSIONS_MAX: usize = 8_192;
/// The most vectors of one product.
const PRODUCT_VECTORS_MAX: usize = 256;
/// Products that are taken from Nightwing at a time when a space is filled.
const FILL_PAGE: usize = 256;

/// The writers of all spaces; a space without vectors has none.
#[derive(Debug, Default)]
pub(crate) struct Indexer {
    spaces: [Option<SpaceWriter>; Space::ALL.len()],
}

impl Indexer {
    /// Goes on from what searches see.
    pub(crate) fn resume(shared: &Shared) -> Self {
        Self { spaces: Space::ALL.map(|space| shared.space(space).map(|snapshot| SpaceWriter::resume(&snapshot))) }
    }
}

/// Sets the vectors of products that are in the catalog; all or, when one does not check out, none.
pub(crate) fn upsert(
    shared: &Shared,
    catalog: &dyn CatalogReader,
    space: Space,
    fingerprint: &str,
    entries: &[VectorEntry],
    dead_ratio_max: f32,
) -> Result<(), SearchError> {
    let most = entries.iter().map(|entry| entry.vectors.len()).max().unwrap_or(0);
    if entries.len() > UPSERT_VECTORS_MAX || most > PRODUCT_VECTORS_MAX {
        return Err(SearchError::TooMany(most.max(entries.len())));
    }
    let mut indexer = shared.indexer();
    let writer = &mut indexer.spaces[space as usize];
    let Some(first) = entries.iter().find_map(|entry| entry.vectors.first()) else {
        let removed = entries.iter().filter(|entry| writer.as_mut().is_some_and(|writer| writer.remove(entry.product.as_str()))).count();
        return publish_if(removed > 0, shared, space, writer.as_mut(), dead_ratio_max);
    };
    let known = writer.as_ref().filter(|writer| writer.fingerprint() == fingerprint);
    let expected = known.map_or(first.len().min(DIMENSIONS_MAX), SpaceWriter::dimensions);
    let checked = entries.iter().map(|entry| units(space, expected, &entry.vectors)).collect::<Result<Vec<_>, _>>()?;
    let mut changed = start_space(writer, space, fingerprint, expected);
    let products = catalog.snapshot();
    if let Some(writer) = writer {
        for (entry, vectors) in entries.iter().zip(&checked) {
            changed |= match products.get(entry.product.as_str()) {
                Some(known) => writer.set(&known.product.id, vectors),
                None => writer.remove(entry.product.as_str()),
            };
        }
    }
    publish_if(changed, shared, space, writer.as_mut(), dead_ratio_max)
}

/// Takes products out of every space.
pub(crate) fn remove(shared: &Shared, products: &[ProductId], dead_ratio_max: f32) {
    let mut indexer = shared.indexer();
    for space in Space::ALL {
        if let Some(writer) = &mut indexer.spaces[space as usize] {
            let removed = products.iter().filter(|product| writer.remove(product.as_str())).count();
            if removed > 0 {
                publish(shared, space, writer, dead_ratio_max);
            }
        }
    }
}

/// Makes a space what Nightwing's store and the catalog say: sets what is missing or other, takes out what is too much. Searches see
/// the state before until it is done. `false` while the space's model is not known.
pub(crate) fn fill(shared: &Shared, catalog: &dyn CatalogReader, vision: &dyn VisionReader, space: Space, dead_ratio_max: f32) -> bool {
    let Some(model) = vision.models().into_iter().find(|model| model.space == space) else { return false };
    let mut indexer = shared.indexer();
    let writer = &mut indexer.spaces[space as usize];
    let mut changed = start_space(writer, space, &model.fingerprint, model.dimensions);
    let Some(writer) = writer else { return false };
    let products = catalog.snapshot();
    let mut surplus: HashSet<ProductId> = writer.products().cloned().collect();
    let mut after: Option<ProductId> = None;
    loop {
        let page = vision.embedded(space, after.as_ref().map(ProductId::as_str), FILL_PAGE);
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (product, vectors) in &page {
            let Some(known) = products.get(product.as_str()) else { continue };
            match units(space, model.dimensions, vectors) {
                Ok(vectors) => {
                    changed |= writer.set(&known.product.id, &vectors);
                    surplus.remove(product);
                }
                Err(error) => tracing::warn!(space = space.as_str(), %error, "stored vectors of a product are left out"),
            }
        }
    }
    for product in surplus {
        changed |= writer.remove(product.as_str());
    }
    if changed {
        publish(shared, space, writer, dead_ratio_max);
    }
    true
}

/// Vectors of another model than before, or of other dimensions, empty the space. `true` when that changed it.
fn start_space(writer: &mut Option<SpaceWriter>, space: Space, fingerprint: &str, dimensions: usize) -> bool {
    if writer.as_ref().is_some_and(|writer| writer.fingerprint() == fingerprint && writer.dimensions() == dimensions) {
        return false;
    }
    if writer.is_some() {
        tracing::info!(space = space.as_str(), fingerprint, "another model: the space starts empty");
    }
    *writer = Some(SpaceWriter::new(fingerprint, dimensions));
    true
}

fn units(space: Space, expected: usize, vectors: &[Arc<[f32]>]) -> Result<Vec<Vec<f32>>, SearchError> {
    let check = |vector: &Arc<[f32]>| {
        if vector.is_empty() || vector.len() != expected {
            return Err(SearchError::Dimensions { space, expected, got: vector.len() });
        }
        unit(vector).ok_or(SearchError::NotFinite)
    };
    vectors.iter().map(check).collect()
}

fn publish_if(
    changed: bool,
    shared: &Shared,
    space: Space,
    writer: Option<&mut SpaceWriter>,
    dead_ratio_max: f32,
) -> Result<(), SearchError> {
    if let Some(writer) = writer.filter(|_| changed) {
        publish(shared, space, writer, dead_ratio_max);
    }
    Ok(())
}

fn publish(shared: &Shared, space: Space, writer: &mut SpaceWriter, dead_ratio_max: f32) {
    if writer.compact_if_due(dead_ratio_max) {
        metrics::counter!("gotham_search_compactions_total", "space" => space.as_str()).increment(1);
    }
    shared.publish_space(space, writer.snapshot());
}
