//! Bringing a catalog up to date with journal records, some of which may be in it already.

use domain::ProductId;
use protocol::journal::{CatalogChange, KIND_CATALOG_CHANGE};
use store::{JournalEntry, Record, RecordError};

use crate::logic::batch::{Write, seal};
use crate::logic::catalog::Catalog;
use crate::records::{CatalogRecord, Tombstone};

/// What a run of journal records came to.
#[derive(Default)]
pub(crate) struct Replayed {
    /// What they change in the store.
    pub(crate) writes: Vec<Write>,
    /// Records that do not check out, in words.
    pub(crate) damaged: Vec<String>,
}

/// Applies journal records in order. One whose revision, or a newer one, is here already changes nothing; other kinds of record
/// are other actors' business.
pub(crate) fn replay(catalog: &mut Catalog, entries: &[JournalEntry]) -> Replayed {
    let mut replayed = Replayed::default();
    for entry in entries.iter().filter(|entry| entry.kind == KIND_CATALOG_CHANGE) {
        match replay_entry(catalog, &entry.body) {
            Ok(write) => replayed.writes.extend(write),
            Err(error) => replayed.damaged.push(format!("journal record {}: {error}", entry.offset)),
        }
    }
    replayed
}

fn replay_entry(catalog: &mut Catalog, body: &[u8]) -> Result<Option<Write>, RecordError> {
    let change = CatalogChange::unseal(&[], body)?;
    let id = change.id.clone();
    let Some(record) = catalog.resolve(change) else { return Ok(None) };
    let (key, value) = seal(&id, &record)?;
    catalog.insert(&id, &record, &value);
    Ok(Some(Write { journal: Vec::new(), key, value }))
}

/// A product whose record is beyond repair goes on with revisions that no reader has seen: each of its revisions took a place
/// in the journal, so there were never more of them than the journal's end.
pub(crate) fn leave_tombstones(catalog: &mut Catalog, damaged: &[Vec<u8>], end: u64) {
    let ids = damaged.iter().filter_map(|key| std::str::from_utf8(key).ok()?.parse::<ProductId>().ok());
    for id in ids {
        if catalog.revision(id.as_str()) == 0 {
            catalog.insert(&id, &CatalogRecord::Deleted(Tombstone { revision: end, run: None }), &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logic::batch::Batch;
    use crate::testing::{any_changes, entries, product, upsert};

    /// The catalog after changes that came in messages of these sizes, and the journal that they left.
    fn written(changes: &[protocol::catalog::Change], sizes: &[usize]) -> (Catalog, Vec<Write>) {
        let (mut catalog, mut all) = (Catalog::default(), Vec::new());
        let mut changes = changes.iter().cloned();
        for size in sizes.iter().copied().chain(std::iter::repeat(3)) {
            let mut batch = Batch::new(catalog);
            changes.by_ref().take(size.max(1)).for_each(|change| batch.push(change, 7));
            let is_last = batch.outcomes.is_empty();
            catalog = batch.catalog;
            all.extend(batch.writes);
            if is_last {
                break;
            }
        }
        (catalog, all)
    }

    /// What a store holds that has taken these writes.
    fn stored(writes: &[Write]) -> Catalog {
        let mut catalog = Catalog::default();
        for Write { key, value, .. } in writes {
            let id = std::str::from_utf8(key).expect("an id").parse().expect("an id");
            catalog.insert(&id, &CatalogRecord::unseal(key, value).expect("a record"), value);
        }
        catalog
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Whatever part of the journal the store has taken, and in whatever pieces the rest is replayed (even when it starts too
        /// early), the catalog is the one that the changes made.
        #[test]
        fn any_prefix_and_the_replayed_rest_make_the_same_catalog(
            changes in any_changes(40),
            sizes in prop::collection::vec(1..9_usize, 0..6),
            taken in 0..40_usize,
            overlap in 0..10_usize,
            pieces in prop::collection::vec(1..7_usize, 0..10),
        ) {
            let (expected, writes) = written(&changes, &sizes);
            let taken = taken.min(writes.len());
            let mut catalog = stored(&writes[..taken]);
            let journal = entries(&writes);
            let mut rest = &journal[taken.saturating_sub(overlap)..];
            let mut again = writes[..taken].to_vec();
            for piece in pieces.into_iter().chain(std::iter::repeat(5)) {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(piece.min(rest.len()));
                let replayed = replay(&mut catalog, now);
                prop_assert!(replayed.damaged.is_empty());
                again.extend(replayed.writes);
                rest = later;
            }
            prop_assert!(catalog.is_same(&expected));
            prop_assert!(stored(&again).is_same(&expected), "the store took every change once");
        }

        /// Applying twice is applying once, and writes nothing the second time.
        #[test]
        fn the_whole_journal_again_changes_nothing(changes in any_changes(30)) {
            let (expected, writes) = written(&changes, &[]);
            let mut catalog = expected.clone();
            prop_assert!(replay(&mut catalog, &entries(&writes)).writes.is_empty());
            prop_assert!(catalog.is_same(&expected));
        }
    }

    #[test]
    fn foreign_and_damaged_records_are_left_out() {
        let (expected, writes) = written(&[upsert(product("a")), upsert(product("b"))], &[]);
        let mut journal = entries(&writes);
        let (mut foreign, mut damaged) = (journal[0].clone(), journal[0].clone());
        foreign.kind += 1;
        damaged.body = damaged.body.slice(1..);
        journal.insert(0, foreign);
        journal.push(damaged);
        let mut catalog = Catalog::default();
        let replayed = replay(&mut catalog, &journal);
        assert_eq!((replayed.writes.len(), replayed.damaged.len()), (2, 1));
        assert!(catalog.is_same(&expected));
    }

    #[test]
    fn a_lost_product_goes_on_behind_every_revision_it_can_have_had() {
        let mut catalog = written(&[upsert(product("a"))], &[]).0;
        leave_tombstones(&mut catalog, &[b"a".to_vec(), b"lost".to_vec(), b"\xff".to_vec()], 41);
        assert_eq!([catalog.revision("a"), catalog.revision("lost")], [1, 41]);
    }
}
