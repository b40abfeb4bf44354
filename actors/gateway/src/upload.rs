//! Bodies that are too large for memory go to a file in the spool folder, decompressed on the way, within a bound.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use crate::problem::Problem;

/// Pieces of a body that wait for the disk.
const PIECES_MAX: usize = 8;
/// Uploads that are not complete yet; removed at the next start when they were left behind.
const PART: &str = "part";
/// The longest first bytes of a compressed file.
const MAGIC_BYTES: usize = 4;

/// A complete upload on disk. Removed when dropped, unless somebody else has taken it over.
pub(crate) struct Spooled {
    path: PathBuf,
    is_kept: bool,
}

impl Spooled {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file is another's now.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Bounds of one upload.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// After decompression.
    pub bytes_max: u64,
    /// Between two pieces.
    pub stall_max: Duration,
}

/// Writes a body to a file; gzip and zstd are known by their first bytes and decompressed. The file is on the disk when this
/// returns.
pub(crate) async fn spool<S, E>(folder: &Path, pieces: S, bounds: Bounds, problem: impl Fn(&E) -> Problem) -> Result<Spooled, Problem>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let folder = folder.to_owned();
    let writing = tokio::task::spawn_blocking(move || write(&folder, receiver, bounds.bytes_max));
    let mut pieces = std::pin::pin!(pieces);
    let failure = loop {
        match tokio::time::timeout(bounds.stall_max, pieces.next()).await {
            Ok(Some(Ok(piece))) => {
                // A closed channel means that the writer has given up; its own result says why.
                if sender.send(Some(piece)).await.is_err() {
                    break None;
                }
            }
            Ok(Some(Err(error))) => break Some(problem(&error)),
            Ok(None) => {
                let _ = sender.send(None).await;
                break None;
            }
            Err(_) => break Some(Problem::bad_request("upload_stalled", "the upload sent nothing for too long")),
        }
    };
    drop(sender);
    let written = writing.await.map_err(Problem::internal)?;
    match failure {
        Some(problem) => Err(problem),
        None => written,
    }
}

/// The blocking half: `None` ends the body; a channel that closes without it means that the body broke off.
fn write(folder: &Path, mut pieces: mpsc::Receiver<Option<Bytes>>, bytes_max: u64) -> Result<Spooled, Problem> {
    let name = uuid::Uuid::now_v7();
    let mut part = Spooled { path: folder.join(format!("{name}.{PART}")), is_kept: false };
    let file = File::create_new(&part.path).map_err(Problem::internal)?;
    let mut first = Vec::new();
    let mut sink: Option<Sink> = None;
    let mut is_complete = false;
    let fail = |error: io::Error| write_problem(&error, bytes_max);
    while let Some(piece) = pieces.blocking_recv() {
        let Some(piece) = piece else {
            is_complete = true;
            break;
        };
        if let Some(sink) = sink.as_mut() {
            sink.write_all(&piece).map_err(fail)?;
            continue;
        }
        first.extend_from_slice(&piece);
        if first.len() >= MAGIC_BYTES {
            sink.insert(Sink::open(file.try_clone().map_err(Problem::internal)?, &first, bytes_max).map_err(fail)?)
                .write_all(&first)
                .map_err(fail)?;
        }
    }
    if !is_complete {
        return Err(Problem::bad_request("body_broken_off", "the body ended before it was complete"));
    }
    match sink {
        Some(sink) => sink.finish().map_err(fail)?,
        None => (&file).write_all(&first).map_err(fail)?,
    }
    file.sync_all().map_err(Problem::internal)?;
    let path = folder.join(format!("{name}.feed"));
    fs::rename(&part.path, &path).map_err(Problem::internal)?;
    part.path = path;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Problem::internal)?;
    Ok(part)
}

fn write_problem(error: &io::Error, bytes_max: u64) -> Problem {
    match error.kind() {
        io::ErrorKind::FileTooLarge => Problem::too_large(bytes_max),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Problem::unavailable("storage_full", "there is no room for the upload")
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::Other => {
            Problem::bad_request("damaged_compression", "the compressed body is damaged")
        }
        _ => Problem::internal(error),
    }
}

/// Decompresses a whole body in memory, within a bound.
pub(crate) fn inflate(body: &Bytes, bytes_max: u64) -> Result<Bytes, Problem> {
    let fail = |error: io::Error| write_problem(&error, bytes_max);
    let mut out = Vec::new();
    let mut sink = Sink::open(&mut out, body, bytes_max).map_err(fail)?;
    sink.write_all(body).map_err(fail)?;
    sink.finish().map_err(fail)?;
    Ok(out.into())
}

/// Where a body's bytes go, decompressed where they are compressed.
enum Sink<'a, W: Write = File> {
    Plain(Bounded<W>),
    Gzip(Box<MultiGzDecoder<Bounded<W>>>),
    Zstd(zstd::stream::write::Decoder<'a, Bounded<W>>),
}

impl<W: Write> Sink<'_, W> {
    fn open(out: W, first: &[u8], bytes_max: u64) -> io::Result<Self> {
        let bounded = Bounded { out, bytes_left: bytes_max };
        Ok(match first {
            [0x1f, 0x8b, ..] => Self::Gzip(Box::new(MultiGzDecoder::new(bounded))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd(zstd::stream::write::Decoder::new(bounded)?),
            _ => Self::Plain(bounded),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.write_all(bytes),
            Self::Gzip(out) => out.write_all(bytes),
            Self::Zstd(out) => out.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut out) => out.flush(),
            Self::Gzip(out) => out.finish()?.flush(),
            Self::Zstd(mut out) => out.flush(),
        }
    }
}

/// A writer with room for so many bytes.
struct Bounded<W> {
    out: W,
    bytes_left: u64,
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.bytes_left {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let written = self.out.write(bytes)?;
        self.bytes_left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Removes incomplete uploads that an earlier process left behind: none is under way for longer than `age_min`.
pub(crate) fn sweep(folder: &Path, age_min: Duration) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_part = entry.path().extension().is_some_and(|extension| extension == PART);
        let age = entry.metadata()?.modified().ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if is_part && age.is_some_and(|age| age >= age_min) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes_max: 1_000, stall_max: Duration::from_secs(5) };

    async fn spooled(folder: &Path, bytes: &[u8], piece: usize, bounds: Bounds) -> Result<Spooled, Problem> {
        let pieces: Vec<_> = bytes.chunks(piece).map(|piece| Ok::<_, io::Error>(Bytes::copy_from_slice(piece))).collect();
        spool(folder, futures_util::stream::iter(pieces), bounds, |_| Problem::internal("no piece fails")).await
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    #[tokio::test]
    async fn every_form_of_a_body_becomes_the_same_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = b"{\"id\":\"1\"}\n{\"id\":\"2\"}\n".as_slice();
        let two_members = [gzip(&text[..11]), gzip(&text[11..])].concat();
        for bytes in [text.to_vec(), gzip(text), two_members, zstd::encode_all(text, 0).expect("memory")] {
            for piece in [1, 3, 1_000] {
                let file = spooled(folder.path(), &bytes, piece, BOUNDS).await.expect("a file");
                assert_eq!(fs::read(file.path()).expect("the file"), text);
            }
        }
        for short in [b"".as_slice(), b"{}"] {
            let file = spooled(folder.path(), short, 1, BOUNDS).await.expect("a file");
            assert_eq!(fs::read(file.path()).expect("the file"), short);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0, "dropped uploads leave nothing behind");
    }

    #[tokio::test]
    async fn a_bomb_and_a_damaged_body_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let zeros = vec![b' '; 1_001];
        let truncated = &gzip(&[b'x'; 500])[..20];
        let cases = [
            (zeros.clone(), "body_too_large"),
            (gzip(&zeros), "body_too_large"),
            (zstd::encode_all(zeros.as_slice(), 0).expect("memory"), "body_too_large"),
            (truncated.to_vec(), "damaged_compression"),
            ([&[0x1f, 0x8b][..], &[7; 50]].concat(), "damaged_compression"),
        ];
        for (bytes, code) in cases {
            let problem = spooled(folder.path(), &bytes, 64, BOUNDS).await.err().expect("a refusal");
            assert_eq!(problem.code, code);
            assert_eq!(inflate(&bytes.into(), BOUNDS.bytes_max).expect_err("a refusal").code, code);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
    }

    /// Paused time stands still while the writer's thread waits, so the stall under test is short instead.
    #[tokio::test]
    async fn a_body_that_breaks_off_or_stalls_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let broken = futures_util::stream::iter([Ok(Bytes::from_static(b"half")), Err(io::Error::other("gone"))]);
        let problem = spool(folder.path(), broken, BOUNDS, |_| Problem::bad_request("gone", "gone")).await.err().expect("a refusal");
        assert_eq!(problem.code, "gone");
        let stalled = futures_util::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"half"))]).chain(futures_util::stream::pending());
        let bounds = Bounds { stall_max: Duration::from_millis(30), ..BOUNDS };
        let problem = spool(folder.path(), stalled, bounds, |_| Problem::internal("no piece fails")).await.err().expect("a refusal");
        assert_eq!(problem.code, "upload_stalled");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
    }

    #[test]
    fn the_sweep_takes_old_parts_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["a.part", "b.feed"] {
            fs::write(folder.path().join(name), "x").expect("a file");
        }
        sweep(folder.path(), Duration::from_secs(3600)).expect("swept");
        assert!(folder.path().join("a.part").exists(), "perhaps still being written");
        sweep(folder.path(), Duration::ZERO).expect("swept");
        assert!(!folder.path().join("a.part").exists() && folder.path().join("b.feed").exists());
    }
}
