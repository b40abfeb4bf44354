//! What sled alone would not give: no blob files, one handle, and errors in place of panics for damaged files.

use std::fs;
use std::path::{Path, PathBuf};

use store::store::VALUE_BYTES_MAX;
use store::{Durability, Keyspace, Op, SledConfig, SledStore, Store, StoreError};

fn open(dir: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(dir, SledConfig::default())
}

/// Large values under few keys, again and again, so that pages grow, are split and are rewritten.
fn fill(store: &SledStore, commits: u32) {
    for commit in 0..commits {
        let ops = (0..40u32).map(|key| {
            let value = vec![(commit ^ key) as u8; VALUE_BYTES_MAX - (key * commit) as usize % 1000];
            Op::Put { space: Keyspace::Catalog, key: ((commit % 5) * 40 + key).to_be_bytes().to_vec(), value }
        });
        store.commit(ops.collect(), Durability::Flushed).wait().expect("a commit");
    }
}

#[test]
fn the_largest_values_make_no_blob_files() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let blobs = || fs::read_dir(dir.path().join("blobs")).expect("sled's folder for blobs").count();
    let store = open(dir.path()).expect("a store that opens");
    fill(&store, 30);
    assert_eq!(blobs(), 0);
    drop(store);
    fill(&open(dir.path()).expect("a store that opens"), 10);
    assert_eq!(blobs(), 0);
}

#[test]
fn one_handle_at_a_time() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path()).expect("a store that opens");
    assert!(matches!(open(dir.path()), Err(StoreError::Locked(_))));
    drop(store);
    assert!(open(dir.path()).is_ok());
}

#[test]
fn damaged_files_give_errors_and_never_a_panic_or_a_wrong_value() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path()).expect("a store that opens");
    let value = |key: u32| vec![key as u8; 1000];
    let ops = (0..200u32).map(|key| Op::Put { space: Keyspace::Catalog, key: key.to_be_bytes().to_vec(), value: value(key) });
    store.commit(ops.collect(), Durability::Flushed).wait().expect("a commit");
    drop(store);
    let files: Vec<PathBuf> = walk(dir.path());
    let (mut refused, mut intact) = (0, 0);
    for path in &files {
        let whole = fs::read(path).expect("a file of the store");
        for step in 0..4 {
            let mut bytes = whole.clone();
            match step {
                0 => bytes.truncate(whole.len() / 2),
                _ if whole.is_empty() => continue,
                _ => bytes[whole.len() * step / 5 % whole.len().min(200_000)] ^= 0x40,
            }
            let copy = copy_of(dir.path(), path, &bytes);
            match open(copy.path()) {
                Err(_) => refused += 1,
                Ok(store) => {
                    intact += 1;
                    for key in 0..200u32 {
                        if let Ok(Some(found)) = store.get(Keyspace::Catalog, &key.to_be_bytes()) {
                            assert_eq!(found, value(key), "a wrong value after damage to {}", path.display());
                        }
                    }
                }
            }
        }
    }
    assert!(refused > 0 && intact > 0, "refused {refused}, opened {intact}");
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

fn copy_of(dir: &Path, changed: &Path, bytes: &[u8]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(copy.path().join("blobs")).expect("a folder");
    for path in walk(dir) {
        let to = copy.path().join(path.strip_prefix(dir).expect("a path below"));
        if path == changed { fs::write(to, bytes).map(|()| 0) } else { fs::copy(&path, to) }.expect("a copied file");
    }
    copy
}
