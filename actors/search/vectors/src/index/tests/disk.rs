//! What can happen to a folder: kills at every step, damage at every place, a full disk.

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;

use super::*;
use crate::file::SectionFile;
use crate::segment::SectionKind;

const DIMENSIONS: usize = 12;

type Change = fn(&mut Options);

fn vector(seed: u32) -> Vec<f32> {
    clustered(&mut Random::new(u64::from(seed)), DIMENSIONS, 9)
}

/// Owners `range`, each with one vector that is its own.
fn fill(index: &Index, model: &mut Model, range: std::ops::Range<u32>) {
    for owner in range {
        set(index, owner, &[vector(owner)]);
        model.insert(owner, vec![vector(owner)]);
    }
}

/// A folder with three segments, one of them with a graph, and what is in it: a copy of one that is made once.
fn folder_of_three() -> (tempfile::TempDir, Model) {
    static ORIGINAL: OnceLock<(tempfile::TempDir, Model)> = OnceLock::new();
    let (original, model) = ORIGINAL.get_or_init(make_folder_of_three);
    (copy(original.path()), model.clone())
}

fn copy(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for path in files(folder, "vectors").into_iter().chain([folder.join("manifest")]) {
        fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    copy
}

fn make_folder_of_three() -> (tempfile::TempDir, Model) {
    let (folder, mut model) = (tempfile::tempdir().expect("a folder"), Model::new());
    let (index, _) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
    fill(&index, &mut model, 0..1200);
    settle(&index);
    for range in [1200..1300, 1300..1400] {
        fill(&index, &mut model, range);
        index.flush().expect("flushed");
    }
    index.remove(5);
    model.remove(&5);
    index.flush().expect("flushed");
    let stats = index.stats();
    assert!(stats.segments >= 3 && stats.graph_segments >= 1, "{stats:?}");
    (folder, model)
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    found.sort();
    found
}

/// Everything that is found agrees with the model, and what is not found is not in the index.
fn agrees(index: &Index, model: &Model) {
    let held: Model = index.owners().map(|owner| (owner, model.get(&owner).unwrap_or_else(|| panic!("{owner} is back")).clone())).collect();
    for (owner, vectors) in &held {
        assert_eq!(index.stamp_of(*owner), Some(stamp_of(vectors)), "{owner}");
    }
    for seed in 0..5 {
        let asked = vector(seed * 31);
        for effort in [Effort::Exact, Effort::Thorough] {
            let query = query(&asked, 20, effort);
            let found = check(&find(index, &query), &by_definition(&held, Metric::Cosine, &query), 20, 3e-5);
            assert!(effort != Effort::Exact || found == 20.min(held.len()));
        }
    }
}

#[test]
fn reopened_it_is_as_before() {
    let (folder, model) = folder_of_three();
    let (index, report) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
    assert_eq!((report.owners, report.rows, report.damaged.len(), report.unknown_owners), (model.len(), model.len(), 0, 0));
    assert_eq!(index.owners().collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
    agrees(&index, &model);
    let stats = index.stats();
    assert!(stats.mapped_bytes > 0 && stats.graph_segments >= 1, "{stats:?}");
}

#[test]
fn owners_that_are_no_more_are_dropped_and_numbers_may_change() {
    let (folder, model) = folder_of_three();
    let mut other_number = |id: &str| owner_of(id).filter(|owner| owner % 2 == 0).map(|owner| 10_000 - owner);
    let (index, report) = Index::open(Some(folder.path()), options(DIMENSIONS, Metric::Cosine), &mut other_number).expect("open");
    let even = model.keys().filter(|owner| *owner % 2 == 0).count();
    assert_eq!((report.owners, report.unknown_owners), (even, model.len() - even));
    let found = find(&index, &query(&vector(800), 1, Effort::Exact));
    assert_eq!(found[0].owner, 10_000 - 800);
    assert!(index.owners().all(|owner| owner > 8000));
}

#[test]
fn a_kill_between_temporary_file_and_rename_leaves_the_state_before() {
    let (folder, model) = folder_of_three();
    fs::write(folder.path().join("0000000099.vectors.writing"), b"half a segm").expect("written");
    fs::write(folder.path().join("manifest.writing"), b"half a mani").expect("written");
    let (index, report) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
    assert!(report.damaged.is_empty());
    assert!(files(folder.path(), "writing").is_empty());
    assert_eq!(index.owners().count(), model.len());
    agrees(&index, &model);
}

#[test]
fn a_kill_between_segment_and_manifest_leaves_the_state_before() {
    let (folder, mut model) = folder_of_three();
    let manifest = fs::read(folder.path().join("manifest")).expect("bytes");
    let kept: Vec<(PathBuf, Vec<u8>)> =
        files(folder.path(), "vectors").into_iter().map(|path| (path.clone(), fs::read(path).expect("bytes"))).collect();
    let (index, _) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
    let before = model.clone();
    fill(&index, &mut model, 2000..2600);
    assert_eq!((0..300).filter(|owner| index.remove(*owner)).count(), 299);
    settle(&index);
    index.flush().expect("flushed");
    drop(index);
    // As if the new segments had been written, and neither the manifest nor the removal of the old ones.
    kept.iter().for_each(|(path, bytes)| fs::write(path, bytes).expect("written"));
    fs::write(folder.path().join("manifest"), manifest).expect("written");
    let (index, report) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
    assert!(report.damaged.is_empty(), "{report:?}");
    assert_eq!(index.owners().collect::<Vec<_>>(), before.keys().copied().collect::<Vec<_>>());
    agrees(&index, &before);
    assert_eq!(files(folder.path(), "vectors").len(), kept.len(), "segments that no manifest names are removed");
}

#[test]
fn without_a_manifest_the_newest_vectors_of_an_owner_count() {
    for damage in [true, false] {
        let (folder, mut model) = folder_of_three();
        let (index, _) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
        for owner in 0..50 {
            set(&index, owner, &[vector(owner + 5000)]);
            model.insert(owner, vec![vector(owner + 5000)]);
        }
        index.flush().expect("flushed");
        drop(index);
        let manifest = folder.path().join("manifest");
        if damage {
            let mut bytes = fs::read(&manifest).expect("bytes");
            bytes[80] ^= 1;
            fs::write(&manifest, bytes).expect("written");
        } else {
            fs::remove_file(&manifest).expect("removed");
        }
        let (index, report) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
        assert_eq!(report.damaged.len(), usize::from(damage), "{report:?}");
        assert_eq!(index.owners().collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
        agrees(&index, &model);
    }
}

#[test]
fn a_bit_that_flips_in_any_kind_of_section_costs_that_segment_and_no_other() {
    let (folder, model) = folder_of_three();
    let graph = files(folder.path(), "vectors").remove(0);
    let whole = fs::read(&graph).expect("bytes");
    let file = SectionFile::open(&graph).expect("open");
    let segment = SectionKind::ALL.into_iter().map(|kind| kind as u32);
    let kinds: Vec<u32> = segment.chain(101..=103).filter(|kind| file.section_bytes(*kind) > 0).collect();
    assert_eq!(kinds.len(), 15, "the first segment has a graph and so every kind of section");
    for kind in kinds {
        let mut bytes = whole.clone();
        let (at, count) = file.place_of(kind).expect("there");
        bytes[at + count / 2] ^= 4;
        fs::write(&graph, bytes).expect("written");
        let copy = copy(folder.path());
        let (index, report) = in_folder(copy.path(), options(DIMENSIONS, Metric::Cosine));
        assert_eq!(report.damaged.len(), 1, "section {kind}");
        assert!(report.damaged[0].0.exists() && report.damaged[0].1.contains(&format!("section {kind}")), "{:?}", report.damaged);
        assert!((200..400).contains(&report.owners), "section {kind}: {}", report.owners);
        agrees(&index, &model);
    }
}

#[test]
fn a_segment_cut_short_or_gone_costs_that_segment_and_no_other() {
    for cut in [Some(1000), Some(10), Some(0), None] {
        let (folder, model) = folder_of_three();
        let graph = files(folder.path(), "vectors").remove(0);
        match cut {
            Some(bytes) => fs::OpenOptions::new().write(true).open(&graph).and_then(|file| file.set_len(bytes)).expect("cut"),
            None => fs::remove_file(&graph).expect("removed"),
        }
        let (index, report) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
        assert_eq!(report.damaged.len(), 1, "{cut:?}");
        agrees(&index, &model);
        // The owners come back by being set again, and the next start is whole.
        fill(&index, &mut Model::new(), 0..1200);
        index.remove(5);
        index.flush().expect("flushed");
        drop(index);
        let (index, report) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
        assert_eq!((report.damaged.len(), report.owners), (0, model.len()));
        agrees(&index, &model);
    }
}

#[test]
fn exact_rows_that_rot_while_serving_are_dropped_and_told() {
    let (folder, model) = folder_of_three();
    let (index, _) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
    let segment = index.shared.snapshot.load().segments().next().cloned().expect("a segment");
    // As it is with files that are too large to be checked at once.
    segment.checked.store(0, Relaxed);
    let file = segment.file.as_ref().expect("a file");
    let (at, count) = file.place_of(SectionKind::Exact as u32).expect("there");
    let mut bytes = fs::read(file.path()).expect("bytes");
    bytes[at + count / 3] ^= 1;
    fs::write(file.path(), &bytes).expect("written");
    settle(&index);
    let lost = index.take_lost();
    assert_eq!((lost.files.len(), lost.owners.len() + index.owners().count()), (1, model.len()));
    assert!(!lost.owners.is_empty());
    agrees(&index, &model);
    assert_eq!(index.take_lost(), Lost::default());
    drop(index);
    let (index, report) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
    assert!(report.damaged.is_empty() && report.owners == model.len() - lost.owners.len(), "the manifest does not name it any more");
    agrees(&index, &model);
}

#[test]
fn damaged_exact_rows_are_found_before_a_merge_gives_them_a_new_checksum() {
    let (folder, model) = folder_of_three();
    let (index, _) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
    let segment = index.shared.snapshot.load().segments().next().cloned().expect("a segment");
    segment.checked.store(0, Relaxed);
    let file = segment.file.as_ref().expect("a file");
    let (at, _) = file.place_of(SectionKind::Exact as u32).expect("there");
    let mut bytes = fs::read(file.path()).expect("bytes");
    bytes[at] ^= 0x40;
    fs::write(file.path(), &bytes).expect("written");
    // So many dead rows that the segment is due.
    let before = index.owners().count();
    let removed = (0..600).filter(|owner| index.remove(*owner)).count();
    assert_eq!(index.maintain().expect("maintained"), Maintenance::Checked);
    let lost = index.take_lost();
    assert_eq!((lost.files.len(), lost.owners.len() + index.owners().count()), (1, before - removed));
    agrees(&index, &model);
}

#[test]
fn the_vectors_of_another_model_or_shape_are_removed() {
    let change: [(&str, Change); 2] =
        [("fingerprint", |options| options.fingerprint = "other".into()), ("dimensions", |options| options.dimensions = 13)];
    for (name, change) in change {
        let (folder, _) = folder_of_three();
        let mut options = options(DIMENSIONS, Metric::Cosine);
        change(&mut options);
        let (index, report) = in_folder(folder.path(), options);
        assert!(report.other_model && report.owners == 0, "{name}");
        assert!(files(folder.path(), "vectors").is_empty(), "{name}");
        assert_eq!(index.stats().rows, 0, "{name}");
    }
}

#[test]
fn a_file_of_another_format_version_is_refused_and_left_alone() {
    for name in ["manifest", "segment"] {
        let (folder, model) = folder_of_three();
        let path = if name == "manifest" { folder.path().join(name) } else { files(folder.path(), "vectors").remove(1) };
        let whole = fs::read(&path).expect("bytes");
        let mut bytes = whole.clone();
        bytes[8] = 77;
        let checksum = crc32c::crc32c(&bytes[..60]).to_le_bytes();
        bytes[60..64].copy_from_slice(&checksum);
        fs::write(&path, bytes).expect("written");
        let refused = Index::open(Some(folder.path()), options(DIMENSIONS, Metric::Cosine), &mut owner_of).expect_err("refused");
        assert!(refused.to_string().contains("format version 77"), "{refused}");
        fs::write(&path, whole).expect("written");
        let (index, report) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
        assert_eq!((report.owners, report.damaged.len()), (model.len(), 0), "nothing was removed");
        agrees(&index, &model);
    }
}

#[test]
fn a_full_disk_leaves_the_folder_as_it_was_and_memory_serving() {
    let (folder, model) = folder_of_three();
    let (index, _) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
    let room = &index.shared.folder.as_ref().expect("a folder").room_bytes;
    room.store(3000, Relaxed);
    let mut grown = model.clone();
    fill(&index, &mut grown, 3000..5000);
    assert!(matches!(index.flush(), Err(IndexError::File(_))));
    while !matches!(index.maintain(), Err(IndexError::File(_)) | Ok(Maintenance::Idle)) {}
    assert_eq!(index.owners().count(), grown.len());
    agrees(&index, &grown);
    let copy = copy(folder.path());
    let (before, report) = in_folder(copy.path(), options(DIMENSIONS, Metric::Cosine));
    assert_eq!((report.owners, report.damaged.len()), (model.len(), 0));
    agrees(&before, &model);
    // With room again everything gets there.
    room.store(u64::MAX, Relaxed);
    settle(&index);
    index.flush().expect("flushed");
    drop(index);
    let (index, report) = in_folder(folder.path(), options(DIMENSIONS, Metric::Cosine));
    assert_eq!((report.owners, report.damaged.len()), (grown.len(), 0));
    agrees(&index, &grown);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn random_damage_is_never_a_panic_and_never_a_wrong_answer(
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let (folder, model) = folder_of_three();
        let mut paths = files(folder.path(), "vectors");
        paths.push(folder.path().join("manifest"));
        for (file, at, value) in hits {
            let path = &paths[file.index(paths.len())];
            let mut bytes = fs::read(path).expect("bytes");
            let at = at.index(bytes.len());
            bytes[at] = value;
            fs::write(path, bytes).expect("written");
        }
        if let Some((file, at)) = cut {
            let path = &paths[file.index(paths.len())];
            let mut bytes = fs::read(path).expect("bytes");
            bytes.truncate(at.index(bytes.len()));
            fs::write(path, bytes).expect("written");
        }
        // Without the manifest a removed owner may come back; whoever opens the index knows that it is gone.
        let mut known = |id: &str| owner_of(id).filter(|owner| model.contains_key(owner));
        if let Ok((index, _)) = Index::open(Some(folder.path()), options(DIMENSIONS, Metric::Cosine), &mut known) {
            agrees(&index, &model);
        }
    }
}
