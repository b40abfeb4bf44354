//! A file and a commit that together are everything at one offset of the event log.
//!
//! The file is there whole before the commit that names it, and its predecessor is removed after: whatever ends the process, the
//! record in the store names a file that belongs to the profiles in the store.

use std::fs;
use std::ops::Bound;
use std::path::Path;
use std::sync::PoisonError;
use std::time::Instant;

use events::EventLog;
use protocol::personalize::NAME;
use store::{Durability, Keyspace, Op, Record, StateFiles, Store, StoreError, consumer};
use taste::SaveError;

use super::lock;
use super::profiles::Changed;
use crate::logic::learned::Learned;
use crate::records::StateRecord;
use crate::view::View;

/// Profiles removed in one commit when everything is learned anew.
const REMOVED_MAX: usize = 1_000;

/// Makes memory what the store and its file say, and begins an incarnation of the actor, whose number is returned. Whatever its
/// predecessor has under way ends first, or does nothing. Blocks.
pub(crate) fn begin(view: &View, log: &EventLog, dir: &Path, names_max: usize) -> Result<u64, StoreError> {
    let _no_checkpoint = lock(&view.checkpointing);
    let mut writer = lock(&view.writer);
    writer.incarnation += 1;
    let (files, store) = (StateFiles::new(dir, NAME)?, &*view.store);
    let loaded = find(store)?.and_then(|state| match load(&files, &state, names_max) {
        Ok(learned) => Some((state.offset, learned)),
        Err(error) => {
            tracing::error!(%error, offset = state.offset, "the state of the tastes is damaged: all of it is learned anew");
            metrics::counter!("gotham_personalize_rebuilds_total").increment(1);
            None
        }
    });
    let (offset, learned) = match loaded {
        Some(loaded) => loaded,
        None => {
            // Profiles without the file that belongs to them would take in what they have taken in before.
            forget(store)?;
            (0, Learned::new(names_max))
        }
    };
    files.keep(&[offset])?;
    view.profiles.clear();
    *view.learned.write().unwrap_or_else(PoisonError::into_inner) = learned;
    (writer.offset, writer.stored, writer.has_erased) = (offset, offset, false);
    view.progress.set(offset);
    log.consumer_at(NAME, offset);
    Ok(writer.incarnation)
}

/// Writes everything that was learned, for the incarnation that asks. Blocks; batches wait while the file's bytes are made, and for
/// nothing after.
pub(crate) fn write(view: &View, log: &EventLog, dir: &Path, incarnation: u64) -> Result<(), StoreError> {
    let _alone = lock(&view.checkpointing);
    let Some(Taken { offset, bytes, changed }) = take(view, incarnation)? else { return Ok(()) };
    let state = StateRecord { offset, digest: *blake3::hash(&bytes).as_bytes() };
    let files = StateFiles::new(dir, NAME)?;
    files.write(offset, &bytes)?;
    drop(bytes);
    view.store.commit(ops(&state, &changed)?, Durability::Flushed).wait()?;
    view.profiles.stored(&changed);
    lock(&view.writer).stored = offset;
    log.consumer_at(NAME, offset);
    files.keep(&[offset])
}

/// What belongs together.
struct Taken {
    offset: u64,
    bytes: Vec<u8>,
    changed: Vec<Changed>,
}

/// The state between two batches; `None` where there is nothing new.
fn take(view: &View, incarnation: u64) -> Result<Option<Taken>, StoreError> {
    let mut writer = lock(&view.writer);
    if writer.incarnation != incarnation || writer.offset == writer.stored {
        return Ok(None);
    }
    let (started, mut bytes) = (Instant::now(), Vec::new());
    view.learned.read().unwrap_or_else(PoisonError::into_inner).save(&mut bytes).map_err(failed)?;
    let changed = view.profiles.changed();
    writer.has_erased = false;
    metrics::histogram!("gotham_personalize_checkpoint_pause_seconds").record(started.elapsed().as_secs_f64());
    Ok(Some(Taken { offset: writer.offset, bytes, changed }))
}

fn ops(state: &StateRecord, changed: &[Changed]) -> Result<Vec<Op>, StoreError> {
    let mut ops: Vec<Op> = changed.iter().map(Changed::op).collect::<Result<_, _>>()?;
    let (space, key) = (Keyspace::Meta, StateRecord::KEY.to_vec());
    let value = state.seal(&key)?;
    ops.extend([Op::Put { space, key, value }, consumer::offset_op(NAME, state.offset)?]);
    Ok(ops)
}

/// The record of the last checkpoint; `None` for a damaged one as well.
fn find(store: &dyn Store) -> Result<Option<StateRecord>, StoreError> {
    let Some(bytes) = store.get(Keyspace::Meta, StateRecord::KEY)? else { return Ok(None) };
    let state = StateRecord::unseal(StateRecord::KEY, &bytes);
    Ok(state.inspect_err(|error| tracing::error!(%error, "the record of the tastes' state is damaged")).ok())
}

fn load(files: &StateFiles, state: &StateRecord, names_max: usize) -> Result<Learned, SaveError> {
    let bytes = fs::read(files.path(state.offset))?;
    if blake3::hash(&bytes) != state.digest {
        return Err(SaveError::Digest);
    }
    Learned::load(&mut bytes.as_slice(), names_max)
}

/// Removes all that is kept in the store, the record of the state first.
fn forget(store: &dyn Store) -> Result<(), StoreError> {
    let state = Op::Delete { space: Keyspace::Meta, key: StateRecord::KEY.to_vec() };
    let mut ops = vec![state, consumer::offset_op(NAME, 0)?];
    loop {
        let page = store.range(Keyspace::Profiles, (Bound::Unbounded, Bound::Unbounded), REMOVED_MAX)?;
        ops.extend(page.entries.into_iter().map(|(key, _)| Op::Delete { space: Keyspace::Profiles, key }));
        store.commit(std::mem::take(&mut ops), Durability::Flushed).wait()?;
        if !page.has_more {
            return Ok(());
        }
    }
}

fn failed(error: SaveError) -> StoreError {
    StoreError::Io(error.to_string().into())
}

/// BLAKE3 over what was learned and every profile. Blocks, and batches wait meanwhile.
pub(crate) fn digest(view: &View) -> Result<[u8; 32], StoreError> {
    let _no_batch = lock(&view.writer);
    let mut hasher = blake3::Hasher::new();
    view.learned.read().unwrap_or_else(PoisonError::into_inner).save(&mut hasher).map_err(failed)?;
    view.profiles.each(|key, value| {
        for bytes in [key, value] {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        }
    })?;
    Ok(*hasher.finalize().as_bytes())
}
