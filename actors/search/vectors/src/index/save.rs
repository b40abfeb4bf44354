//! Segments to and from the folder.
//!
//! A segment's file is there before the manifest names it, and the manifest no longer names a file before it goes: whenever the
//! process ends, the folder is at the moment of its manifest.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::belongings::Belongings;
use super::fold::{Maintenance, locked};
use super::unit::{Stored, Unit};
use super::{IndexError, Options, Shared, Snapshot};
use crate::calibration::Calibration;
use crate::codes::Projection;
use crate::file::{FileError, Folder, Manifest, ManifestSegment, SectionFile};
use crate::memory::{Buffer, Column};
use crate::segment::{Meta, SectionKind, Segment};

/// What the names of segment files end in.
pub(super) const EXTENSION: &str = "vectors";
/// Exact rows up to this size are checked when they are opened; larger ones in the background.
const CHECKED_BYTES_MAX: usize = 64 << 20;
/// Blocks that one piece of background work checks.
const BLOCKS_A_CHECK: usize = 32;

/// What writing files needs to know from one time to the next.
#[derive(Debug, Default)]
pub(crate) struct Saving {
    /// The manifest does not say yet what the snapshot is.
    pub(super) is_due: bool,
    /// Owners whose vectors were lost with a damaged file since they were last asked for.
    pub(super) lost: Vec<u32>,
    /// The damaged files, and what was wrong.
    pub(super) damaged: Vec<(PathBuf, String)>,
}

/// The header of a segment file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) fingerprint: String,
    pub(super) number: u32,
    /// Rows that the projection was learned from could be drawn from so many.
    pub(super) projection_rows: usize,
    pub(super) meta: Meta,
    pub(super) calibration: Calibration,
}

pub(super) fn name_of(number: u32) -> String {
    format!("{number:010}.{EXTENSION}")
}

/// Writes a segment and gives it with its exact rows mapped from the file.
pub(super) fn save(folder: &Folder, options: &Options, stored: &Stored) -> Result<Stored, FileError> {
    let (file, exact) = write(folder, options, stored)?;
    let blocks = file.blocks(SectionKind::Exact as u32);
    Ok(Stored {
        number: stored.number,
        segment: Segment { exact, ..stored.segment.clone() },
        belongings: Arc::clone(&stored.belongings),
        calibration: stored.calibration,
        projection_rows: stored.projection_rows,
        file: Some(file),
        checked: AtomicUsize::new(blocks),
    })
}

fn write(folder: &Folder, options: &Options, stored: &Stored) -> Result<(SectionFile, Column<u8>), FileError> {
    let path = folder.path_of(&name_of(stored.number));
    let header = Header {
        fingerprint: options.fingerprint.clone(),
        number: stored.number,
        projection_rows: stored.projection_rows,
        meta: stored.segment.meta().clone(),
        calibration: stored.calibration,
    };
    let header = serde_json::to_vec(&header).map_err(|error| FileError::damaged(&path, error.to_string()))?;
    let mut sections: Vec<(u32, &[u8])> = stored.belongings.sections().to_vec();
    sections.extend(stored.segment.sections().into_iter().map(|(kind, bytes)| (kind as u32, bytes)));
    folder.stage(&name_of(stored.number), &header, &sections)?.commit()?;
    let file = SectionFile::open(&path)?;
    let exact = file.map(SectionKind::Exact as u32)?;
    if exact.len() != stored.segment.exact.len() {
        return Err(FileError::damaged(&path, "exact rows are shorter than they were written"));
    }
    Ok((file, exact))
}

/// Reads a segment. `alive` gives the words of the alive bits.
pub(super) fn read(
    folder: &Folder,
    options: &Options,
    name: &str,
    alive: Option<&ManifestSegment>,
    known: &[Arc<Projection>],
    owner_of: &mut dyn FnMut(&str) -> Option<u32>,
) -> Result<Stored, FileError> {
    let path = folder.path_of(name);
    let damaged = |what: String| FileError::damaged(&path, what);
    let file = SectionFile::open(&path)?;
    let header: Header = serde_json::from_slice(file.header()).map_err(|error| damaged(format!("header: {error}")))?;
    let params = &header.meta.params;
    if header.fingerprint != options.fingerprint || params.dimension != options.dimensions || params.metric != options.metric {
        return Err(damaged("of another model".into()));
    }
    if header.number == 0 || alive.is_some_and(|alive| alive.rows != header.meta.rows) || !header.calibration.is_sound() {
        return Err(damaged("header: out of bounds".into()));
    }
    let mut sections = Vec::new();
    for kind in SectionKind::ALL {
        let code = kind as u32;
        if file.section_bytes(code) == 0 && matches!(kind, SectionKind::Neighbours | SectionKind::Entries) {
            continue;
        }
        let column = if kind.is_cold() {
            file.map(code)?
        } else {
            let mut buffer = Buffer::<u8>::zeroed(file.section_bytes(code));
            file.read_into_by(code, &mut buffer, options.threads)?;
            buffer.into()
        };
        sections.push((kind, column));
    }
    let rows = header.meta.rows;
    let segment = Segment::from_sections(header.meta, &sections, known).map_err(|error| damaged(error.to_string()))?;
    let word = |index: usize| alive.map_or(u64::MAX, |alive| alive.alive[index]);
    let belongings = Belongings::read(&file, rows, word, owner_of)?;
    let exact = SectionKind::Exact as u32;
    let mut checked = 0;
    if file.section_bytes(exact) <= CHECKED_BYTES_MAX {
        checked = file.blocks(exact);
        let mut buffer = Vec::new();
        (0..checked).try_for_each(|block| file.check(exact, block, &mut buffer))?;
    }
    Ok(Stored {
        number: header.number,
        segment,
        belongings: Arc::new(belongings),
        calibration: header.calibration,
        projection_rows: header.projection_rows,
        file: Some(file),
        checked: AtomicUsize::new(checked),
    })
}

/// Tries again to save what the disk had refused.
pub(super) fn save_missing(shared: &Shared) -> Result<Maintenance, IndexError> {
    let Some(folder) = &shared.folder else { return Ok(Maintenance::Idle) };
    let _one_at_a_time = locked(&shared.merging);
    let mut saving = locked(&shared.saving);
    let missing = shared.snapshot.load().segments().find(|stored| stored.file.is_none()).cloned();
    if let Some(stored) = &missing {
        let saved = save(folder, &shared.options, stored)?;
        shared.replace(stored.number, Arc::new(saved));
    }
    if missing.is_none() && !saving.is_due {
        return Ok(Maintenance::Idle);
    }
    write_manifest_held(shared, folder, &mut saving)?;
    Ok(Maintenance::Saved)
}

/// Writes the manifest and removes the files that it does not name.
pub(super) fn write_manifest(shared: &Shared) -> Result<(), IndexError> {
    let Some(folder) = &shared.folder else { return Ok(()) };
    Ok(write_manifest_held(shared, folder, &mut locked(&shared.saving))?)
}

pub(super) fn write_manifest_held(shared: &Shared, folder: &Folder, saving: &mut Saving) -> Result<(), FileError> {
    let snapshot: Arc<Snapshot> = shared.snapshot.load_full();
    // A segment that has no file yet would be missing: then the folder stays at its last moment.
    if snapshot.segments().any(|stored| stored.file.is_none()) {
        return Ok(());
    }
    let manifest = Manifest {
        fingerprint: shared.options.fingerprint.clone(),
        dimensions: shared.options.dimensions,
        segments: snapshot
            .segments()
            .map(|stored| ManifestSegment {
                name: name_of(stored.number),
                rows: stored.rows(),
                alive: stored.belongings.alive.words().collect(),
            })
            .collect(),
    };
    manifest.write(folder)?;
    saving.is_due = false;
    for name in folder.names(EXTENSION)? {
        if !manifest.segments.iter().any(|segment| segment.name == name) {
            folder.remove(&name)?;
        }
    }
    Ok(())
}

/// Compares some exact rows of a segment that was opened with their checksums.
pub(super) fn check_some(shared: &Shared) -> Result<Maintenance, IndexError> {
    let _one_at_a_time = locked(&shared.merging);
    let snapshot = shared.snapshot.load_full();
    let unchecked = snapshot.segments().find(|stored| stored.unchecked_blocks() > 0);
    let Some(stored) = unchecked else { return Ok(Maintenance::Idle) };
    check(shared, stored, BLOCKS_A_CHECK)?;
    Ok(Maintenance::Checked)
}

/// Compares up to `blocks_max` blocks of exact rows with their checksums. `false` when one is damaged: then the segment has been taken
/// out, its file moved aside, and its owners noted as lost. Merges are held.
pub(super) fn check(shared: &Shared, stored: &Arc<Stored>, blocks_max: usize) -> Result<bool, IndexError> {
    let (Some(folder), Some(file)) = (&shared.folder, &stored.file) else { return Ok(true) };
    let first = stored.checked.load(Ordering::Relaxed);
    let last = first + stored.unchecked_blocks().min(blocks_max);
    let mut buffer = Vec::new();
    let found = (first..last).try_for_each(|block| file.check(SectionKind::Exact as u32, block, &mut buffer));
    stored.checked.store(last, Ordering::Relaxed);
    let Err(error) = found else { return Ok(true) };
    let mut saving = locked(&shared.saving);
    let lost = shared.take_out(stored);
    saving.lost.extend(lost);
    let aside = folder.set_aside(&name_of(stored.number))?;
    saving.damaged.push((aside, error.to_string()));
    write_manifest_held(shared, folder, &mut saving)?;
    Ok(false)
}

impl Shared {
    /// Takes a segment out and gives the owners that had rows in it.
    fn take_out(&self, stored: &Arc<Stored>) -> Vec<u32> {
        let _writer = self.writer();
        let units = self.snapshot.load().units.iter().filter(|unit| unit.number() != stored.number).cloned().collect();
        self.snapshot.store(Arc::new(Snapshot { units }));
        let mut lost = Vec::new();
        for row in stored.belongings.alive.iter() {
            let owner = stored.belongings.owner(row);
            if self.owners.place(owner).is_some_and(|place| place.unit == stored.number) && self.owners.remove(owner).is_some() {
                lost.push(owner);
            }
        }
        self.version.fetch_add(1, Ordering::Release);
        lost
    }

    /// Puts a segment in the place of the one with this number.
    fn replace(&self, number: u32, by: Arc<Stored>) {
        let _writer = self.writer();
        let swap = |unit: &Unit| if unit.number() == number { Unit::Segment(Arc::clone(&by)) } else { unit.clone() };
        let units = self.snapshot.load().units.iter().map(swap).collect();
        self.snapshot.store(Arc::new(Snapshot { units }));
    }
}
