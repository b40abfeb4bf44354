//! Everything that Robin needs of the rest of the house: addresses to write to, snapshots to read.

use std::path::PathBuf;
use std::sync::Arc;

use kit::{Address, Clock};
use protocol::catalog::{CatalogMsg, CatalogReader};
use protocol::ingest::{FeedRunReader, IngestMsg};
use protocol::queue::{QueueMsg, QueueReader};
use protocol::registry::RegistryReader;
use protocol::search::Searcher;
use protocol::session::OfferReader;
use protocol::vision::{VisionMsg, VisionReader};

/// The neighbours. Cheap to clone; survives a restart of Robin.
#[derive(Clone)]
pub struct House {
    /// Watchtower's snapshot.
    pub catalog: Arc<dyn CatalogReader>,
    /// Watchtower, for single changes of price, stock and for deletions.
    pub catalog_address: Address<CatalogMsg>,
    /// Joker, for feeds and single products.
    pub joker: Address<IngestMsg>,
    /// Joker's runs.
    pub runs: Arc<dyn FeedRunReader>,
    /// How full Gordon's queues are.
    pub queues: Arc<dyn QueueReader>,
    /// Gordon, for dead letters.
    pub gordon: Address<QueueMsg>,
    /// Flash's prices and stock.
    pub offers: Arc<dyn OfferReader>,
    /// Nightwing, to embed what a shopper asks with.
    pub nightwing: Address<VisionMsg>,
    /// Nightwing's vectors and thumbnails.
    pub vision: Arc<dyn VisionReader>,
    /// Batman's index.
    pub searcher: Arc<dyn Searcher>,
    /// Wayne's view of the actors and the settings.
    pub registry: Arc<dyn RegistryReader>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Where uploads are written before Joker takes them.
    pub spool: PathBuf,
    /// The only folder whose files a remote caller may name as a feed.
    pub inbox: PathBuf,
    /// The parts that are not ready to serve, by name; empty when all are.
    pub readiness: Arc<dyn Fn() -> Vec<&'static str> + Send + Sync>,
    /// The metrics in Prometheus text format.
    pub metrics_text: Arc<dyn Fn() -> String + Send + Sync>,
    /// The appliance's version.
    pub version: &'static str,
}
