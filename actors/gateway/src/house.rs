//! Everything that Robin needs of the rest of the house: addresses to write to, snapshots to read.

use std::path::PathBuf;
use std::sync::Arc;

use events::EventLog;
use kit::{Address, Clock};
use protocol::cache::AnswerCache;
use protocol::catalog::{CatalogMsg, CatalogReader};
use protocol::ingest::{FeedRunReader, IngestMsg};
use protocol::personalize::Personalizer;
use protocol::queue::{QueueMsg, QueueReader};
use protocol::recommend::Recommender;
use protocol::registry::{RegistryMsg, RegistryReader};
use protocol::releases::ReleaseReader;
use protocol::reports::{ReplayLab, ReportReader};
use protocol::search::Searcher;
use protocol::session::{OfferReader, SessionReader};
use protocol::tags::Tagger;
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
    /// Nightwing's tags.
    pub tagger: Arc<dyn Tagger>,
    /// Batman's index.
    pub searcher: Arc<dyn Searcher>,
    /// What shoppers did: written to before an event is acknowledged.
    pub log: EventLog,
    /// Superman's proposals.
    pub recommender: Arc<dyn Recommender>,
    /// Two Face's order.
    pub personalizer: Arc<dyn Personalizer>,
    /// Flash's sessions and carts.
    pub sessions: Arc<dyn SessionReader>,
    /// GCPD's finished answers.
    pub cache: Arc<dyn AnswerCache>,
    /// Mocha's reports.
    pub reports: Arc<dyn ReportReader>,
    /// Mocha's replay lab.
    pub lab: Arc<dyn ReplayLab>,
    /// Wayne, for experiments and releases.
    pub wayne: Address<RegistryMsg>,
    /// Wayne's view of the actors, the settings and the experiments.
    pub registry: Arc<dyn RegistryReader>,
    /// Wayne's releases and their ranks.
    pub releases: Arc<dyn ReleaseReader>,
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
