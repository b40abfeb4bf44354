//! One entry out of an archive, with a bound on what is unpacked to find it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tar::Archive;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::logic::jobs::Failure;
use crate::logic::place::ArchiveFormat;

/// What may be unpacked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Of the entry.
    pub(crate) entry_bytes_max: u64,
    /// Of everything that stands before it.
    pub(crate) archive_bytes_max: u64,
}

/// Reads an entry. A zip goes straight to it; a tar is read up to it.
pub(crate) fn read_entry(archive: &Path, entry: &str, format: ArchiveFormat, limits: Limits) -> Result<Vec<u8>, Failure> {
    let file = File::open(archive).map_err(|error| io_failure(&error))?;
    match format {
        ArchiveFormat::Zip => from_zip(file, entry, limits),
        ArchiveFormat::Tar => from_tar(Archive::new(file).entries_with_seek(), entry, limits),
        ArchiveFormat::TarGz => {
            let unpacked = MultiGzDecoder::new(BufReader::new(file)).take(limits.archive_bytes_max);
            from_tar(Archive::new(unpacked).entries(), entry, limits)
        }
    }
}

/// Reads at most `bytes_max`.
pub(crate) fn read_bounded(source: impl Read, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    source.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| io_failure(&error))?;
    if bytes.len() as u64 > bytes_max { Err(Failure::lasting("too_many_bytes", format!("more than {bytes_max} bytes"))) } else { Ok(bytes) }
}

/// A file that is not there, or damaged, stays so; anything else about a disk may pass.
pub(crate) fn io_failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Failure::lasting("not_found", "there is no such file"),
        io::ErrorKind::PermissionDenied => Failure::lasting("not_readable", "the file may not be read"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => damaged(error),
        _ => Failure::passing("read_failed", error.to_string()),
    }
}

fn damaged(error: impl ToString) -> Failure {
    Failure::lasting("damaged_archive", error.to_string())
}

fn no_entry(entry: &str) -> Failure {
    Failure::lasting("not_found", format!("the archive has no entry {entry:?}"))
}

fn from_zip(file: File, entry: &str, limits: Limits) -> Result<Vec<u8>, Failure> {
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    match archive.by_name(entry) {
        Ok(found) => read_bounded(found, limits.entry_bytes_max),
        Err(ZipError::FileNotFound) => Err(no_entry(entry)),
        Err(error) => Err(damaged(error)),
    }
}

fn from_tar<R: Read>(entries: io::Result<tar::Entries<'_, R>>, entry: &str, limits: Limits) -> Result<Vec<u8>, Failure> {
    for found in entries.map_err(damaged)? {
        let found = found.map_err(damaged)?;
        let path = found.path_bytes();
        let name = path.strip_prefix(b"./").unwrap_or(&path);
        if name == entry.as_bytes() {
            return if found.header().entry_type().is_file() { read_bounded(found, limits.entry_bytes_max) } else { Err(no_entry(entry)) };
        }
    }
    Err(no_entry(entry))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use zip::write::SimpleFileOptions;

    use super::*;

    const LIMITS: Limits = Limits { entry_bytes_max: 100, archive_bytes_max: 1 << 16 };

    fn tar_bytes(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *bytes).expect("an entry");
        }
        builder.into_inner().expect("a tar")
    }

    fn archives(folder: &Path, entries: &[(&str, &[u8])]) -> [(PathBuf, ArchiveFormat); 3] {
        let [zip, tar, tar_gz] = ["a.zip", "a.tar", "a.tar.gz"].map(|name| folder.join(name));
        let mut writer = zip::ZipWriter::new(File::create(&zip).expect("a file"));
        for (name, bytes) in entries {
            writer.start_file(*name, SimpleFileOptions::default()).expect("an entry");
            writer.write_all(bytes).expect("written");
        }
        writer.finish().expect("a zip");
        let bytes = tar_bytes(entries);
        std::fs::write(&tar, &bytes).expect("a tar");
        let mut gzip = GzEncoder::new(File::create(&tar_gz).expect("a file"), Compression::fast());
        gzip.write_all(&bytes).expect("written");
        gzip.finish().expect("a tar.gz");
        [(zip, ArchiveFormat::Zip), (tar, ArchiveFormat::Tar), (tar_gz, ArchiveFormat::TarGz)]
    }

    #[test]
    fn entries_by_table() {
        let folder = tempfile::tempdir().expect("a folder");
        let entries: [(&str, &[u8]); 3] = [("images/1.jpg", b"one"), ("images/big.jpg", &[0; 101]), ("images/2.jpg", b"two")];
        for (path, format) in archives(folder.path(), &entries) {
            let read = |entry| read_entry(&path, entry, format, LIMITS).map_err(|failure| failure.code);
            assert_eq!(read("images/1.jpg"), Ok(b"one".to_vec()), "{format:?}");
            assert_eq!(read("images/2.jpg"), Ok(b"two".to_vec()), "{format:?}");
            assert_eq!(read("images/big.jpg"), Err("too_many_bytes"), "{format:?}");
            assert_eq!(read("images/3.jpg"), Err("not_found"), "{format:?}");
            assert_eq!(read("../1.jpg"), Err("not_found"), "{format:?}");
            let bytes = std::fs::read(&path).expect("the archive");
            std::fs::write(&path, &bytes[..bytes.len() / 3]).expect("cut");
            assert!(read_entry(&path, "images/2.jpg", format, LIMITS).is_err_and(|failure| !failure.is_transient), "{format:?}");
            std::fs::remove_file(&path).expect("removed");
            assert_eq!(read_entry(&path, "x", format, LIMITS).map_err(|failure| failure.code), Err("not_found"));
        }
    }

    #[test]
    fn a_small_file_that_unpacks_to_a_huge_one_is_not_unpacked() {
        let folder = tempfile::tempdir().expect("a folder");
        let zeros = vec![0; 1 << 20];
        let [zip, _, tar_gz] = archives(folder.path(), &[("bomb", &zeros), ("behind", b"x")]);
        assert!(std::fs::metadata(&tar_gz.0).expect("the archive").len() < 20_000);
        assert_eq!(read_entry(&zip.0, "bomb", zip.1, LIMITS).map_err(|failure| failure.code), Err("too_many_bytes"));
        assert!(read_entry(&tar_gz.0, "behind", tar_gz.1, LIMITS).is_err(), "the way to it is over the archive's bound");
        let wide = Limits { archive_bytes_max: 1 << 22, ..LIMITS };
        assert_eq!(read_entry(&tar_gz.0, "behind", tar_gz.1, wide), Ok(b"x".to_vec()));
    }
}
