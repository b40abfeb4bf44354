//! Which products of a batch are new, changed or as before, and how each is counted.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{PartHashes, Parts, Product};
use protocol::catalog::{CatalogError, CatalogSnapshot, Change, Outcome, ProductRevision};
use protocol::ingest::RunId;
use protocol::queue::Routed;

use crate::logic::runs::Run;

/// A product beside what the catalog has of it.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) product: Arc<Product>,
    pub(crate) hashes: PartHashes,
    pub(crate) current: Option<Arc<ProductRevision>>,
}

/// Hashes every product: off the async threads.
pub(crate) fn compare(products: Vec<Arc<Product>>, snapshot: &dyn CatalogSnapshot) -> Vec<Compared> {
    let compare =
        |product: Arc<Product>| Compared { hashes: PartHashes::of(&product), current: snapshot.get(product.id.as_str()), product };
    products.into_iter().map(compare).collect()
}

/// What is to be done about a batch.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One for each product; those to be asked for are filled in by [`Plan::answered`].
    routed: Vec<Option<Routed>>,
    /// For Watchtower, in the feed's order.
    pub(crate) changes: Vec<Change>,
    /// Which product each change is, and whether the run meets it for the first time.
    asked: Vec<(usize, bool)>,
}

/// Decides a batch that writes. Within a batch, what was passed on already differs from the snapshot: later rows of the same product follow it.
pub(crate) fn plan(run: Option<&Run>, source: &Arc<str>, batch: &[Compared]) -> Plan {
    let id = run.map(|run| run.id);
    let mut plan = Plan { routed: Vec::with_capacity(batch.len()), changes: vec![], asked: vec![] };
    let mut passed_on: HashMap<&str, bool> = HashMap::new();
    for (at, Compared { product, hashes, current }) in batch.iter().enumerate() {
        let earlier = passed_on.get(product.id.as_str()).copied();
        let is_first = earlier.is_none() && run.is_none_or(|run| !run.has_seen(product.id.as_str()));
        let same = current.as_ref().filter(|current| current.hashes == *hashes && current.source == *source);
        let routed = match same {
            Some(current) if earlier != Some(true) => Some(Ok(if is_first { counted(id, current) } else { Outcome::Unchanged })),
            _ => {
                let (product, source) = (Arc::clone(product), Arc::clone(source));
                plan.changes.push(Change::Upsert { product, hashes: *hashes, source, run: id });
                plan.asked.push((at, is_first));
                None
            }
        };
        passed_on.insert(product.id.as_str(), earlier == Some(true) || routed.is_none());
        plan.routed.push(routed);
    }
    plan
}

/// How a product counts that is as the feed says and that the run meets for the first time: as what this very run did to it before it was
/// interrupted, else as unchanged.
fn counted(run: Option<RunId>, current: &ProductRevision) -> Outcome {
    match current.last_run {
        Some((last, outcome)) if Some(last) == run => outcome,
        _ => Outcome::Unchanged,
    }
}

impl Plan {
    /// Fills in Watchtower's answers. A change that turns out to be none may be the work of an earlier attempt whose answer was lost:
    /// then it counts as what that attempt did, which `snapshot` tells.
    pub(crate) fn answered(
        mut self,
        run: Option<RunId>,
        batch: &[Compared],
        answers: Vec<Result<Outcome, CatalogError>>,
        snapshot: &dyn CatalogSnapshot,
    ) -> Result<Vec<Routed>, String> {
        if answers.len() != self.asked.len() {
            return Err(format!("watchtower gave {} answers to {} changes", answers.len(), self.asked.len()));
        }
        for ((at, is_first), answer) in self.asked.into_iter().zip(answers) {
            let routed = match answer {
                Ok(Outcome::Unchanged) if is_first => {
                    let current = snapshot.get(batch[at].product.id.as_str()).filter(|current| current.hashes == batch[at].hashes);
                    Ok(current.map_or(Outcome::Unchanged, |current| counted(run, &current)))
                }
                Ok(outcome) => Ok(outcome),
                Err(CatalogError::Storage(error)) => return Err(format!("watchtower: storage: {error}")),
                Err(error) => Err(error.to_string()),
            };
            self.routed[at] = Some(routed);
        }
        Ok(self.routed.into_iter().map(|routed| routed.unwrap_or(Ok(Outcome::Unchanged))).collect())
    }
}

/// Counts a batch of a dry run, as the same batch would be counted if it wrote.
pub(crate) fn rehearse(run: &mut Run, batch: &[Compared]) -> Vec<Routed> {
    let outcome = |Compared { product, hashes, current }: &Compared| {
        let before = run.see(product.id.as_str(), hashes);
        match before.or_else(|| current.as_ref().map(|current| current.hashes.difference(hashes))) {
            None => Outcome::Created,
            Some(Parts::NONE) => Outcome::Unchanged,
            Some(parts) => Outcome::Updated(parts),
        }
    };
    batch.iter().map(outcome).map(Ok).collect()
}
