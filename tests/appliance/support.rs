//! What the tests of the whole house share: a house in a temporary folder on a free port, and small catalogs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use gotham::house::{House, HouseArgs};
use kit::{Context, Priority};
use protocol::ingest::{FeedMode, FeedRequest, FeedRun, FeedSource, IngestMsg};
use serde_json::Value;
use tempfile::TempDir;

/// How long any wait in a test may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A file or folder of the shared test data, where that is at hand.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("GOTHAM_SHARED").map(PathBuf::from).unwrap_or_else(|| root().join("..").join("shared"));
    let found = folder.join(path);
    if !found.exists() {
        eprintln!("SKIPPED: no shared data at {}", found.display());
        return None;
    }
    Some(found)
}

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The folder with the model files, where they are installed.
pub(crate) fn models() -> Option<PathBuf> {
    let folder = std::env::var_os("GOTHAM_MODELS").map(PathBuf::from).unwrap_or_else(|| root().join("target/models"));
    let is_there = folder.join("efficientnet-lite0").is_dir() && folder.join("all-minilm-l6-v2").is_dir();
    if !is_there {
        eprintln!("SKIPPED: no models at {}", folder.display());
    }
    is_there.then_some(folder)
}

/// A house in this process.
pub(crate) struct Rig {
    pub(crate) house: House,
    pub(crate) folder: TempDir,
    pub(crate) client: reqwest::Client,
}

impl Rig {
    /// A house with nothing in it.
    pub(crate) async fn new(models: Option<&Path>) -> Self {
        Self::open(tempfile::tempdir().expect("a folder"), models).await
    }

    /// A house over a folder that may hold state.
    pub(crate) async fn open(folder: TempDir, models: Option<&Path>) -> Self {
        Self::configured(folder, models, &[]).await
    }

    /// The same with other settings than the default's.
    pub(crate) async fn configured(folder: TempDir, models: Option<&Path>, settings: &[(&str, &str)]) -> Self {
        let all = [("gateway.listen", "127.0.0.1:0")].iter().chain(settings);
        let all = all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let loaded = gotham::config::load(None, Vec::new(), all).expect("the configuration is valid");
        let data_dir = folder.path().join("data");
        let models_dir = models.map_or_else(|| folder.path().join("no-models"), Path::to_path_buf);
        let house = House::start(HouseArgs { loaded, data_dir, models_dir, has_gateway: true }).await.expect("the house opens");
        // A second test of the process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let rig = Self { house, folder, client: reqwest::Client::new() };
        rig.until("ready", |house| house.not_ready().is_empty()).await;
        rig
    }

    /// Ends in order and hands the folder back.
    pub(crate) async fn close(self) -> TempDir {
        self.house.shut_down().await;
        self.folder
    }

    /// Waits until something holds; fails the test when it does not come to pass.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&House) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(&self.house) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(waited.await.is_ok(), "{what} did not come to pass; not ready: {:?}", self.house.not_ready());
    }

    /// Waits until indexes and queues have followed every change.
    pub(crate) async fn until_followed(&self) {
        let end = self.house.journal.end();
        let has_followed = |house: &House| {
            house.queues.journal_offset() >= end && house.offers.journal_offset() >= end && house.searcher.stats().journal_offset >= end
        };
        self.until("following the journal", has_followed).await;
    }

    /// Waits until no pictures or texts are left to embed.
    pub(crate) async fn until_embedded(&self) {
        self.until_followed().await;
        let is_idle = |house: &House| protocol::queue::QueueName::ALL.iter().all(|queue| house.queues.depth(*queue).open() == 0);
        self.until("embedding", is_idle).await;
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.house.listening_on())
    }

    /// A GET whose answer is JSON: status and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.client.get(self.url(path)).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// Reads a feed to its end.
    pub(crate) async fn feed(&self, request: FeedRequest) -> FeedRun {
        let context = Context::new(Priority::Bulk, PATIENCE);
        let id = self
            .house
            .joker
            .call(&context, |reply| IngestMsg::Start { request, reply })
            .await
            .expect("Joker answers")
            .expect("the feed is taken");
        self.until("the end of the feed", |house| house.runs.get(id).is_some_and(|run| run.status.is_final())).await;
        (*self.house.runs.get(id).expect("the run")).clone()
    }
}

/// A feed file as the command line would read it.
pub(crate) fn file_feed(file: &Path, mode: FeedMode) -> FeedRequest {
    FeedRequest {
        from: FeedSource::File(file.to_path_buf()),
        name: file.file_name().expect("a name").to_string_lossy().into_owned(),
        source: "test".to_owned(),
        mode,
        dry_run: false,
        format: None,
        image_root: file.parent().map(Path::to_path_buf),
        force: false,
        default_currency: Some("EUR".to_owned()),
    }
}

/// `count` products as newline-delimited JSON.
pub(crate) fn ndjson(count: usize) -> String {
    (0..count).map(|number| product_json(number, "10.00", "in_stock") + "\n").collect()
}

pub(crate) fn product_json(number: usize, price: &str, availability: &str) -> String {
    let offer = serde_json::json!({"price": {"amount": price, "currency": "EUR"}, "availability": availability});
    serde_json::json!({"id": format!("p-{number:05}"), "title": format!("Lamp number {number}"), "brand": "Lumen", "offer": offer})
        .to_string()
}

/// Runs the built binary.
pub(crate) fn gotham(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gotham")).args(args).env_remove("GOTHAM_DATA").output().expect("the binary runs")
}

/// The JSON lines that a command printed.
pub(crate) fn json_lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}
