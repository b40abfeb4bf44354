//! Where a feed's bytes come from: a file, the spool, or a download into the spool.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fetch::Fetcher;
use protocol::ingest::{FeedRun, FeedSource, RunError};

use crate::actor::Args;
use crate::logic::feed::Feed;
use crate::logic::format::FeedFormat;
use crate::logic::read::bytes::Meter;
use crate::logic::record::Settings;

/// The local file of a run's feed; a download that is there already is not repeated.
pub(crate) async fn fetch(args: &Args, run: &FeedRun) -> Result<PathBuf, RunError> {
    let url = match &run.request.from {
        FeedSource::File(path) | FeedSource::Spooled(path) => return Ok(path.clone()),
        FeedSource::Url(url) => url,
    };
    let path = download_path(args, run);
    if tokio::fs::try_exists(&path).await.unwrap_or(false) {
        return Ok(path);
    }
    let unreadable = |error: &dyn std::fmt::Display| RunError { code: "unreadable".into(), detail: error.to_string() };
    tokio::fs::create_dir_all(&args.spool).await.map_err(|error| unreadable(&error))?;
    let fetcher = Fetcher::new(args.config.download.clone()).map_err(|error| unreadable(&error))?;
    let mut attempt = 1;
    loop {
        match fetcher.download(url, &path, args.config.download_bytes_max).await {
            Ok(_) => return Ok(path),
            Err(error) if error.is_transient() && attempt < args.config.download_attempts_max => {
                tracing::warn!(run = %run.id, attempt, %error, "a feed's download is tried again");
                tokio::time::sleep(Duration::from_millis(args.config.retry_delay_ms_max) * attempt).await;
                attempt += 1;
            }
            Err(error) => return Err(RunError { code: error.code().into(), detail: error.to_string() }),
        }
    }
}

/// What opens the feed, on a thread that may block: the feed and the bytes of its file.
pub(crate) fn opener(
    args: &Args,
    run: &FeedRun,
    path: PathBuf,
    meter: Meter,
) -> impl FnOnce() -> Result<(Feed, u64), RunError> + Send + 'static {
    let request = run.request.clone();
    let (mut settings, inbox) = (settings(args, request.default_currency.as_deref()), args.inbox.clone());
    move || {
        let unreadable = |what: &str, error: std::io::Error| RunError { code: "unreadable".into(), detail: format!("{what}: {error}") };
        let root = match &request.image_root {
            Some(root) => Some(root.canonicalize().map_err(|error| unreadable("the image folder", error))?),
            None => inbox.canonicalize().ok(),
        };
        if let Some(root) = root {
            settings = settings.with_image_root(root, canonical);
        }
        let metadata = std::fs::metadata(&path).map_err(|error| unreadable("the feed", error))?;
        if !metadata.is_file() {
            return Err(RunError { code: "unreadable".into(), detail: "the feed is not a file".into() });
        }
        let file = File::open(&path).map_err(|error| unreadable("the feed", error))?;
        let asked = request.format.as_deref().and_then(FeedFormat::from_name);
        let feed = Feed::open(file, &request.name, asked, request.mode, settings, meter)?;
        Ok((feed, metadata.len()))
    }
}

/// Bounds and defaults, without an image folder.
pub(crate) fn settings(args: &Args, currency: Option<&str>) -> Settings {
    let currency = currency.or(args.config.default_currency.as_deref());
    Settings { limits: args.config.limits(), default_currency: currency.and_then(|code| code.parse().ok()), image_root: None }
}

/// Removes what was uploaded or downloaded for a run that has ended; the caller's own files are only read.
pub(crate) async fn clean_up(args: &Args, run: &FeedRun) {
    let path = match &run.request.from {
        FeedSource::File(_) => return,
        FeedSource::Spooled(path) => path.clone(),
        FeedSource::Url(_) => download_path(args, run),
    };
    match tokio::fs::remove_file(&path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(run = %run.id, %error, "a spooled feed was not removed")
        }
        Ok(()) | Err(_) => {}
    }
}

fn download_path(args: &Args, run: &FeedRun) -> PathBuf {
    args.spool.join(format!("{}.feed", run.id))
}

fn canonical(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}
