//! From a folder to an index that serves.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwap;

use super::recall::RecallCheck;
use super::save::{self, EXTENSION, Saving};
use super::unit::{Stored, Unit};
use super::{IndexError, OpenReport, Options, Shared, Snapshot, Writer, new_tail};
use crate::file::{FileError, Folder, Manifest, ManifestSegment};
use crate::owners::{OWNERS_MAX, Owners, Place};

pub(super) fn open(
    place: Option<&Path>,
    options: Options,
    owner_of: &mut dyn FnMut(&str) -> Option<u32>,
) -> Result<(Shared, OpenReport), IndexError> {
    options.check()?;
    let started = Instant::now();
    let mut report = OpenReport::default();
    let owners = Owners::default();
    let mut segments = Vec::new();
    let folder = place.map(Folder::open).transpose()?;
    if let Some(folder) = &folder {
        segments = load(folder, &options, &owners, owner_of, &mut report)?;
    }
    let mut writer = Writer { next_number: 1 + segments.iter().map(|stored| stored.number).max().unwrap_or(0) };
    if let Some(folder) = &folder {
        writer.next_number = writer.next_number.max(1 + last_number(folder)?);
    }
    let mut units: Vec<Unit> = segments.into_iter().map(|stored| Unit::Segment(Arc::new(stored))).collect();
    let projection = Snapshot { units: units.clone() }.projection();
    units.push(Unit::Tail(Arc::new(new_tail(&options, writer.number(), projection))));
    report.owners = owners.count();
    report.rows = units.iter().map(|unit| unit.rows() - unit.alive().dead()).sum();
    let recall = RecallCheck::new(options.recall_sample);
    let shared = Shared {
        options,
        owners,
        snapshot: ArcSwap::from_pointee(Snapshot { units }),
        folder,
        writer: Mutex::new(writer),
        folding: Mutex::default(),
        merging: Mutex::default(),
        saving: Mutex::new(Saving::default()),
        stopping: AtomicBool::new(false),
        version: AtomicU64::new(1),
        recall,
        signal: super::maintainer::Signal::default(),
    };
    report.seconds = started.elapsed().as_secs_f64();
    Ok((shared, report))
}

/// The largest number in the name of any file of the folder, those that were moved aside too.
fn last_number(folder: &Folder) -> Result<u32, FileError> {
    let names = [folder.names(EXTENSION)?, folder.names("damaged")?].concat();
    let number = |name: &String| name.split('.').next().and_then(|number| number.parse().ok());
    Ok(names.iter().filter_map(number).max().unwrap_or(0))
}

fn load(
    folder: &Folder,
    options: &Options,
    owners: &Owners,
    owner_of: &mut dyn FnMut(&str) -> Option<u32>,
    report: &mut OpenReport,
) -> Result<Vec<Stored>, IndexError> {
    let manifest = match Manifest::read(folder) {
        Err(FileError::Damaged { what, .. }) => {
            report.damaged.push((Manifest::set_aside(folder)?, what));
            None
        }
        other => other?,
    };
    if manifest.as_ref().is_some_and(|manifest| manifest.fingerprint != options.fingerprint || manifest.dimensions != options.dimensions) {
        report.other_model = true;
        clear(folder)?;
        return Ok(Vec::new());
    }
    let files = folder.names(EXTENSION)?;
    // Without a manifest the segments speak for themselves: all their rows count, and of two vectors of one owner the newer one.
    let named: Vec<(String, Option<&ManifestSegment>)> = match &manifest {
        Some(manifest) => manifest.segments.iter().map(|segment| (segment.name.clone(), Some(segment))).collect(),
        None => files.iter().map(|name| (name.clone(), None)).collect(),
    };
    let mut segments: Vec<Stored> = Vec::new();
    let mut unknown = std::collections::HashSet::new();
    for (name, alive) in &named {
        let known: Vec<_> = segments.iter().map(Stored::projection).collect();
        let mut number = |id: &str| {
            let owner = owner_of(id).filter(|owner| *owner < OWNERS_MAX);
            if owner.is_none() {
                unknown.insert(id.to_owned());
            }
            owner
        };
        match save::read(folder, options, name, *alive, &known, &mut number) {
            Ok(stored) => segments.push(stored),
            Err(error @ FileError::Version { .. }) => return Err(error.into()),
            Err(error) => set_aside(folder, name, error, report)?,
        }
    }
    report.segments = segments.len();
    report.unknown_owners = unknown.len();
    segments.iter().enumerate().for_each(|(at, stored)| settle(owners, &segments[..at], stored));
    if manifest.is_some() {
        for name in files.iter().filter(|name| !named.iter().any(|(named, _)| named == *name)) {
            folder.remove(name)?;
        }
    }
    Ok(segments)
}

/// Tells the owners of a segment's rows where these are; older rows of theirs are dead.
fn settle(owners: &Owners, older: &[Stored], stored: &Stored) {
    let belongings = &stored.belongings;
    for row in belongings.alive.iter() {
        let owner = belongings.owner(row);
        let place = Place { unit: stored.number, row };
        match owners.place(owner) {
            Some(before) if before.unit == stored.number => {}
            before => {
                owners.set(owner, place, belongings.stamp(row));
                let unit = before.and_then(|before| Some((older.iter().find(|older| older.number == before.unit)?, before.row)));
                if let Some((older, row)) = unit {
                    older.belongings.sisters(row).for_each(|row| {
                        older.belongings.alive.kill(row);
                    });
                }
            }
        }
    }
}

fn set_aside(folder: &Folder, name: &str, error: FileError, report: &mut OpenReport) -> Result<(), FileError> {
    let path = match folder.set_aside(name) {
        // The file itself is missing.
        Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => folder.path_of(name),
        other => other?,
    };
    report.damaged.push((path, error.to_string()));
    Ok(())
}

/// Removes everything: the manifest first, so that no moment is half of it.
fn clear(folder: &Folder) -> Result<(), FileError> {
    folder.remove(Manifest::NAME)?;
    for name in folder.names(EXTENSION)? {
        folder.remove(&name)?;
    }
    Ok(())
}
