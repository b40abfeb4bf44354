//! The container: what was written comes back, and nothing else ever does.

use std::fs;

use proptest::prelude::*;

use super::*;

fn sample(seed: u8, sizes: &[usize]) -> Vec<(u32, Vec<u8>)> {
    let bytes = |section: usize, size: usize| (0..size).map(|at| (at * 31 + at / 251 + section * 7) as u8 ^ seed).collect();
    sizes.iter().enumerate().map(|(section, size)| (section as u32 * 3 + 1, bytes(section, *size))).collect()
}

fn write(folder: &Folder, name: &str, sections: &[(u32, Vec<u8>)]) {
    let sections: Vec<(u32, &[u8])> = sections.iter().map(|(kind, bytes)| (*kind, bytes.as_slice())).collect();
    folder.stage(name, b"{\"a\":1}", &sections).expect("staged").commit().expect("committed");
}

/// Everything the file says, or the first error.
fn read_all(path: &Path, kinds: &[u32]) -> Result<(Vec<u8>, Vec<Vec<u8>>), FileError> {
    let file = SectionFile::open(path)?;
    let sections = kinds.iter().map(|kind| file.read(*kind)).collect::<Result<_, _>>()?;
    Ok((file.header().to_vec(), sections))
}

#[test]
fn sections_come_back_aligned_and_mapped() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(temporary.path()).expect("open");
    let sections = sample(3, &[0, 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 17]);
    write(&folder, "a.vectors", &sections);
    let file = SectionFile::open(&folder.path_of("a.vectors")).expect("open");
    assert_eq!(file.header(), b"{\"a\":1}");
    for (kind, bytes) in &sections {
        assert_eq!(&file.read(*kind).expect("whole"), bytes);
        assert!(file.entry(*kind).expect("there").at.is_multiple_of(64));
        let mut buffer = Vec::new();
        (0..file.blocks(*kind)).for_each(|block| file.check(*kind, block, &mut buffer).expect("whole"));
    }
    assert_eq!(file.map(10).expect("mapped")[..], sections[3].1[..]);
    assert!(file.read_into(4, &mut [0; 2]).is_err(), "another length than the section has");
    assert!(matches!(file.map(99), Err(FileError::Damaged { .. })));
}

#[test]
fn a_kill_between_the_temporary_file_and_the_rename_leaves_the_old_file() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(temporary.path()).expect("open");
    let (old, new) = (sample(1, &[100]), sample(2, &[200]));
    write(&folder, "a.vectors", &old);
    let _never_committed = folder.stage("a.vectors", b"{}", &[(1, &new[0].1)]).expect("staged");
    assert_eq!(folder.names("writing").expect("names").len(), 1);
    let again = Folder::open(temporary.path()).expect("open");
    assert!(again.names("writing").expect("names").is_empty(), "what was left is removed");
    assert_eq!(read_all(&again.path_of("a.vectors"), &[1]).expect("whole").1[0], old[0].1);
}

#[test]
fn a_full_disk_leaves_the_old_file_and_no_other() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(temporary.path()).expect("open");
    let old = sample(1, &[100]);
    write(&folder, "a.vectors", &old);
    folder.room_bytes.store(1000, std::sync::atomic::Ordering::Relaxed);
    let refused = folder.stage("a.vectors", b"{}", &[(1, &[7; 2000])]);
    assert!(matches!(refused, Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::StorageFull));
    assert!(folder.names("writing").expect("names").is_empty());
    assert_eq!(read_all(&folder.path_of("a.vectors"), &[1]).expect("whole").1[0], old[0].1);
}

#[test]
fn another_version_is_refused_by_name() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(temporary.path()).expect("open");
    write(&folder, "a.vectors", &sample(1, &[100]));
    let path = folder.path_of("a.vectors");
    let mut bytes = fs::read(&path).expect("bytes");
    bytes[8] = 9;
    let checksum = crc32c::crc32c(&bytes[..60]).to_le_bytes();
    bytes[60..64].copy_from_slice(&checksum);
    fs::write(&path, bytes).expect("written");
    let refused = SectionFile::open(&path).expect_err("refused");
    assert!(matches!(refused, FileError::Version { found: 9, .. }), "{refused}");
}

#[test]
fn only_the_last_damaged_files_are_kept() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = Folder::open(temporary.path()).expect("open");
    for number in 0..7 {
        write(&folder, &format!("{number}.vectors"), &sample(1, &[10]));
        folder.set_aside(&format!("{number}.vectors")).expect("aside");
    }
    assert_eq!(folder.names("damaged").expect("names"), (3..7).map(|number| format!("{number}.vectors.damaged")).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_flipped_bit_or_a_cut_is_an_error_or_changes_nothing(
        sizes in prop::collection::vec(0usize..3000, 1..5),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(temporary.path()).expect("open");
        let sections = sample(5, &sizes);
        let kinds: Vec<u32> = sections.iter().map(|(kind, _)| *kind).collect();
        write(&folder, "a.vectors", &sections);
        let path = folder.path_of("a.vectors");
        let mut bytes = fs::read(&path).expect("bytes");
        let whole = bytes.clone();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        fs::write(&path, &bytes).expect("written");
        match read_all(&path, &kinds) {
            Ok((header, read)) => {
                prop_assert_eq!(header, b"{\"a\":1}");
                prop_assert_eq!(read, sections.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>());
            }
            Err(error) => prop_assert!(bytes != whole, "{}", error),
        }
    }
}
