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
    let mut rehearsed = Vec::with_capacity(batch.len());
    for Compared { product, hashes, current } in batch {
        let earlier = run.see(product.id.as_str(), hashes);
        // A product that comes from another source than before is written though nothing of it differs.
        let moves = earlier.is_none() && current.as_ref().is_some_and(|current| current.source != run.source);
        rehearsed.push(Ok(match earlier.or_else(|| current.as_ref().map(|current| current.hashes.difference(hashes))) {
            None => Outcome::Created,
            Some(Parts::NONE) if !moves => Outcome::Unchanged,
            Some(parts) => Outcome::Updated(parts),
        }));
    }
    rehearsed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use protocol::catalog::CatalogReader;
    use protocol::ingest::FeedMode;

    use super::*;
    use crate::logic::runs::Runs;
    use crate::shop::{Shop, product};

    const RUN: RunId = RunId(7);

    /// A feed: batches of products by number and version.
    type Feed = Vec<Vec<(u8, u8)>>;

    fn feeds(versions: u8) -> impl Strategy<Value = Feed> {
        proptest::collection::vec(proptest::collection::vec((0..8_u8, 0..versions), 1..6), 1..6)
    }

    fn begun(dry_run: bool) -> Runs {
        let mut runs = Runs::default();
        runs.begin(RUN, "shop", FeedMode::Full, dry_run);
        runs
    }

    fn read(batch: &[(u8, u8)], shop: &Shop) -> Vec<Compared> {
        compare(batch.iter().map(|(number, version)| Arc::new(product(*number, *version))).collect(), &*shop.snapshot())
    }

    /// One batch as the shell routes it. With `loses_answer`, Watchtower does the work and its answer is lost.
    fn route(run: &mut Run, batch: &[(u8, u8)], shop: &Shop, loses_answer: bool) -> Option<Vec<Routed>> {
        let batch = read(batch, shop);
        let mut plan = plan(Some(run), &"shop".into(), &batch);
        let answers = shop.apply(std::mem::take(&mut plan.changes));
        if loses_answer {
            return None;
        }
        let routed = plan.answered(Some(RUN), &batch, answers, &*shop.snapshot()).expect("answered");
        batch.iter().for_each(|Compared { product, hashes, .. }| {
            run.see(product.id.as_str(), hashes);
        });
        Some(routed)
    }

    fn outcomes(routed: Vec<Routed>) -> Vec<Outcome> {
        routed.into_iter().map(|routed| routed.expect("taken")).collect()
    }

    fn whole(feed: &Feed, shop: &Shop) -> Vec<Outcome> {
        let mut runs = begun(false);
        let run = runs.get_mut(RUN).expect("begun");
        feed.iter().flat_map(|batch| outcomes(route(run, batch, shop, false).expect("answered"))).collect()
    }

    fn stocked(known: &[(u8, u8)], source: &str) -> Shop {
        let shop = Shop::default();
        shop.apply(known.iter().map(|(number, version)| Shop::upsert(product(*number, *version), source, Some(RunId(1)))).collect());
        shop
    }

    #[test]
    fn outcomes_by_table() {
        use Outcome::{Created, Unchanged, Updated};
        type Case = (&'static [(u8, u8)], &'static [Outcome]);
        let cases: [Case; 6] = [
            (&[(1, 0)], &[Unchanged]),
            (&[(1, 1)], &[Updated(Parts::TEXT)]),
            (&[(9, 0)], &[Created]),
            (&[(9, 0), (9, 0)], &[Created, Unchanged]),
            (&[(9, 0), (9, 1)], &[Created, Updated(Parts::TEXT)]),
            (&[(1, 1), (1, 0)], &[Updated(Parts::TEXT), Updated(Parts::TEXT)]),
        ];
        for (batch, expected) in cases {
            assert_eq!(whole(&vec![batch.to_vec()], &stocked(&[(1, 0)], "shop")), expected, "{batch:?}");
        }
        assert_eq!(whole(&vec![vec![(1, 0)]], &stocked(&[(1, 0)], "other")), [Updated(Parts::NONE)], "it changes its source");
    }

    #[test]
    fn unchanged_products_do_not_reach_watchtower() {
        let shop = stocked(&[(1, 0), (2, 0)], "shop");
        let plan = plan(None, &"shop".into(), &read(&[(1, 0), (2, 1), (1, 0)], &shop));
        assert_eq!((plan.changes.len(), plan.asked), (1, vec![(1, true)]));
    }

    #[test]
    fn an_over_large_product_is_refused_alone_and_a_storage_failure_refuses_all() {
        let shop = Shop::default();
        let batch = read(&[(1, 0), (2, 0)], &shop);
        let too_large = CatalogError::TooLarge { id: product(1, 0).id, bytes: 9, bytes_max: 5 };
        let routed =
            plan(None, &"shop".into(), &batch).answered(None, &batch, vec![Err(too_large), Ok(Outcome::Created)], &*shop.snapshot());
        assert!(matches!(&routed.as_deref(), Ok([Err(reason), Ok(Outcome::Created)]) if reason.contains("9 bytes")), "{routed:?}");
        for answers in [vec![], vec![Ok(Outcome::Created), Err(CatalogError::Storage("disk".into()))]] {
            assert!(plan(None, &"shop".into(), &batch).answered(None, &batch, answers, &*shop.snapshot()).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_dry_run_counts_as_the_run_does_and_writes_nothing(feed in feeds(3), known in proptest::collection::vec((0..8_u8, 0..3_u8), 0..6), is_own: bool) {
            let shop = stocked(&known, if is_own { "shop" } else { "other" });
            let before = shop.snapshot().version();
            let mut runs = begun(true);
            let run = runs.get_mut(RUN).expect("begun");
            let rehearsed: Vec<_> = feed.iter().flat_map(|batch| outcomes(rehearse(run, &read(batch, &shop)))).collect();
            prop_assert_eq!(shop.snapshot().version(), before);
            prop_assert_eq!(rehearsed, whole(&feed, &shop));
        }

        #[test]
        fn a_run_that_was_interrupted_counts_as_one_that_was_not(
            feed in feeds(1), known in proptest::collection::vec((0..8_u8, 0..2_u8), 0..6), done in 0..6_usize, lost: BTreeSet<u8>
        ) {
            let expected = whole(&feed, &stocked(&known, "shop"));
            let shop = stocked(&known, "shop");
            // Some batches go through, then the run starts again; now each lost answer makes the same batch come twice.
            let mut runs = begun(false);
            for batch in feed.iter().take(done) {
                route(runs.get_mut(RUN).expect("begun"), batch, &shop, false);
            }
            runs.begin(RUN, "shop", FeedMode::Full, false);
            let run = runs.get_mut(RUN).expect("begun");
            let mut counted = Vec::new();
            for (at, batch) in feed.iter().enumerate() {
                if lost.contains(&(at as u8)) {
                    prop_assert!(route(run, batch, &shop, true).is_none());
                }
                counted.extend(outcomes(route(run, batch, &shop, false).expect("answered")));
            }
            prop_assert_eq!(counted, expected);
        }
    }
}
