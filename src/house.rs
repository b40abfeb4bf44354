//! Opening the house: data folder, storage and journal first, then views, addresses and the tree of actors; and closing it
//! in order.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use events::EventLog;
use kit::{Address, Board, CallError, Clock, Context, Priority, SystemClock, TaskGuard, Tree};
use protocol::catalog::CatalogReader;
use protocol::gateway::GatewayMsg;
use protocol::ingest::{FeedRunReader, IngestMsg};
use protocol::personalize::Personalizer;
use protocol::queue::QueueReader;
use protocol::recommend::Recommender;
use protocol::registry::{RegistryMsg, Setting};
use protocol::reports::ReportReader;
use protocol::search::Searcher;
use protocol::session::OfferReader;
use protocol::vision::VisionReader;
use registry::Loaded;
use store::{DataDir, Journal, JournalConfig, SledConfig, Store, StoreError};

use crate::config::Config;
use crate::live::Office;
use crate::supervision::{Casts, tree};
use crate::telemetry::MetricsText;
use crate::watchdog::{Ping, Watched};
use crate::wiring::Addresses;

/// How long requests under way may take after the order to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a house is opened with.
pub struct HouseArgs {
    /// The validated configuration and where its settings come from.
    pub loaded: Loaded<Config>,
    /// Holds all state.
    pub data_dir: PathBuf,
    /// Holds the model files.
    pub models_dir: PathBuf,
    /// Whether to listen.
    pub has_gateway: bool,
}

/// Why a house does not open.
#[derive(Debug)]
pub enum HouseError {
    /// The data folder is in use, of a newer format, damaged or not writable.
    Data(String),
    /// The address cannot be listened on.
    Listen(String),
    /// Something else on this machine: threads, memory.
    Machine(String),
}

impl HouseError {
    /// Whether another command line or configuration would cure it.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Listen(_))
    }
}

impl fmt::Display for HouseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Data(text) | Self::Listen(text) | Self::Machine(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for HouseError {}

impl From<StoreError> for HouseError {
    fn from(error: StoreError) -> Self {
        Self::Data(error.to_string())
    }
}

/// A running house.
pub struct House {
    /// Joker's address: feeds.
    pub joker: Address<IngestMsg>,
    /// Everybody's address.
    pub addresses: Addresses,
    /// Joker's runs.
    pub runs: Arc<dyn FeedRunReader>,
    /// Gordon's queues.
    pub queues: Arc<dyn QueueReader>,
    /// Batman's index.
    pub searcher: Arc<dyn Searcher>,
    /// Nightwing's models and counts.
    pub vision: Arc<dyn VisionReader>,
    /// Watchtower's catalog.
    pub catalog: Arc<dyn CatalogReader>,
    /// Flash's offers.
    pub offers: Arc<dyn OfferReader>,
    /// The spine.
    pub journal: Journal,
    /// What shoppers did.
    pub events: EventLog,
    /// Superman's proposals.
    pub recommender: Arc<dyn Recommender>,
    /// Two Face's order.
    pub personalizer: Arc<dyn Personalizer>,
    /// Mocha's reports.
    pub reports: Arc<dyn ReportReader>,
    store: Arc<dyn Store>,
    readiness: Arc<Readiness>,
    listener: Option<SocketAddr>,
    silence_max: Duration,
    tree: Tree,
    // Has the release take office that the configuration wants live, as long as the house stands.
    _live: Option<TaskGuard>,
    // Locks the folder as long as the house stands.
    _data: DataDir,
}

/// Asks whether everybody is up.
struct Readiness {
    board: Board,
    actors: usize,
    store: Arc<dyn Store>,
}

impl Readiness {
    fn not_ready(&self) -> Vec<&'static str> {
        let mut missing = self.board.not_running();
        // The board fills as the groups start.
        if self.board.statuses().len() < self.actors {
            missing.push("supervisor");
        }
        if self.store.stats().poisoned.is_some() {
            missing.push("storage");
        }
        missing
    }
}

/// The views: made once, they outlive every restart of their actors.
struct Views {
    wayne: Arc<registry::View>,
    watchtower: Arc<catalog::View>,
    flash: Arc<session::View>,
    gordon: Arc<queue::View>,
    batman: Arc<search::View>,
    nightwing: Arc<vision::View>,
    joker: Arc<ingest::View>,
    superman: Arc<recommend::View>,
    two_face: Arc<personalize::View>,
    mocha: Arc<reports::View>,
    gcpd: Arc<cache::Cache>,
    models: Arc<vision::InstalledModels>,
    threads: Arc<vision::Threads>,
    tagging: Arc<vision::Tagging>,
}

/// What everybody stands on.
struct Ground {
    data: DataDir,
    store: Arc<dyn Store>,
    journal: Journal,
    events: EventLog,
    clock: Arc<dyn Clock>,
    board: Board,
}

impl House {
    /// Opens everything and starts the actors; they become ready one after another ([`House::not_ready`]).
    pub async fn start(args: HouseArgs) -> Result<Self, HouseError> {
        let HouseArgs { loaded, data_dir, models_dir, has_gateway } = args;
        let Loaded { config, settings } = loaded;
        let listener =
            if has_gateway { Some(gateway::bind(&config.gateway).map_err(|error| HouseError::Listen(error.to_string()))?) } else { None };
        let listening_on = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let metrics_text = crate::telemetry::start_metrics();
        let ground = {
            let config = config.clone();
            let opened = tokio::task::spawn_blocking(move || Ground::open(&config, data_dir)).await;
            opened.map_err(|error| HouseError::Machine(error.to_string()))??
        };
        let addresses = Addresses::default();
        let settings: Arc<[Setting]> = settings.into();
        let views = Views::open(&config, &ground, &addresses, models_dir, Arc::clone(&settings))?;
        let mut casts = views.casts(&config, &ground, &addresses);
        let actors = 14 + usize::from(has_gateway) + 1;
        let readiness = Arc::new(Readiness { board: ground.board.clone(), actors: actors - 1, store: Arc::clone(&ground.store) });
        if let Some(listener) = listener {
            let house = views.for_robin(&config, &ground, &addresses, Arc::clone(&readiness), metrics_text);
            casts.robin = Some(gateway::Args { config: config.gateway.clone(), house, listener });
        }
        let silence_max = Duration::from_secs(config.storage.watchdog_silence_seconds_max);
        let tree = Tree::start(tree(&addresses, casts, &ground.board)).await.map_err(HouseError::Machine)?;
        record_config(addresses.wayne.clone(), settings);
        let live = views.office(&config, &addresses);
        let Views { watchtower, flash, gordon, batman, nightwing, joker, superman, two_face, mocha, .. } = views;
        let Ground { data, store, journal, events, .. } = ground;
        Ok(Self {
            joker: addresses.joker.clone(),
            addresses,
            runs: joker,
            queues: gordon,
            searcher: batman,
            vision: nightwing,
            catalog: watchtower,
            offers: flash,
            journal,
            events,
            recommender: superman,
            personalizer: two_face,
            reports: mocha,
            store,
            readiness,
            listener: listening_on,
            silence_max,
            tree,
            _live: live,
            _data: data,
        })
    }

    /// The parts that are not ready to serve, by name.
    pub fn not_ready(&self) -> Vec<&'static str> {
        self.readiness.not_ready()
    }

    /// Where the house listens; unspecified where it does not.
    pub fn listening_on(&self) -> SocketAddr {
        self.listener.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// What the watchdog looks at.
    pub fn watched(&self) -> Watched {
        let Addresses { robin, joker, mocha, two_face, superman, nightwing, batman, gordon, flash, alfred, watchtower, wayne } =
            &self.addresses;
        let mut actors = vec![ping(joker), ping(mocha), ping(two_face), ping(superman), ping(nightwing), ping(batman), ping(gordon)];
        actors.extend([ping(flash), ping(alfred), ping(watchtower), ping(wayne)]);
        if self.listener.is_some() {
            actors.push(ping(robin));
        }
        Watched { actors, store: Arc::clone(&self.store), silence_max: self.silence_max }
    }

    /// Resolves when the tree has given up.
    pub async fn failed(&mut self) {
        self.tree.failed().await;
    }

    /// Ends in order: no new connections, requests under way answered, then the actors from top to bottom, each with its
    /// mailbox worked off.
    pub async fn shut_down(self) {
        if self.listener.is_some() {
            let context = Context::new(Priority::Serving, DRAIN_TIMEOUT * 2);
            let drained = self.addresses.robin.call(&context, |reply| GatewayMsg::Drain { timeout: DRAIN_TIMEOUT, reply }).await;
            tracing::info!(?drained, "connections drained");
        }
        self.tree.shut_down().await;
    }
}

fn ping<M: Send + 'static>(address: &Address<M>) -> Ping {
    let address = address.clone();
    Arc::new(move |context| {
        let address = address.clone();
        Box::pin(async move { address.ping(&context).await })
    })
}

/// Lets Wayne keep the configuration, as soon as he is up.
fn record_config(wayne: Address<RegistryMsg>, settings: Arc<[Setting]>) {
    tokio::spawn(async move {
        loop {
            let context = Context::new(Priority::Bulk, Duration::from_secs(10));
            match wayne.call(&context, |reply| RegistryMsg::RecordConfig { settings: settings.to_vec(), reply }).await {
                Err(CallError::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
                recorded => return tracing::debug!(?recorded, "configuration recorded"),
            }
        }
    });
}

impl Ground {
    fn open(config: &Config, data_dir: PathBuf) -> Result<Self, HouseError> {
        let storage = &config.storage;
        let data = DataDir::open(&data_dir).map_err(|error| HouseError::Data(error.to_string()))?;
        let sled = SledConfig { cache_bytes_max: storage.cache_mib << 20, ..SledConfig::default() };
        let mut consumers = vec![catalog::NAME, session::NAME, search::NAME];
        consumers.extend(queue::CONSUMERS);
        let journal_config = JournalConfig { segment_bytes_max: storage.journal_segment_mib << 20, consumers, ..JournalConfig::default() };
        let journal = Journal::open(&data.journal(), journal_config)?;
        let store: Arc<dyn Store> = Arc::new(crate::recovery::open_store(&data, sled, &journal)?);
        let followers = vec![session::EVENTS_CONSUMER, recommend::NAME, personalize::NAME, reports::NAME];
        let events = EventLog::open_with_warehouse(&data.events(), &data.warehouse(), &config.events, followers)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Self { data, store, journal, events, board: Board::new(Arc::clone(&clock)), clock })
    }
}

impl Views {
    fn open(
        config: &Config,
        ground: &Ground,
        addresses: &Addresses,
        models_dir: PathBuf,
        settings: Arc<[Setting]>,
    ) -> Result<Self, HouseError> {
        let machine = |error: std::io::Error| HouseError::Machine(error.to_string());
        let devices = vision::Devices::new(config.vision.device, Some(ground.data.root().join("gpu")));
        let models =
            Arc::new(vision::InstalledModels::new(&models_dir).on(devices).choosing(&config.vision.image_model, &config.vision.text_model));
        let (vectors, pictures) = (ground.data.vectors(), ground.data.pictures());
        let vocabularies = vision::Vocabularies::open(&vectors.join("vocabularies"), &config.vision.tags).map_err(machine)?;
        let configured = config.release_settings(vocabularies.configured());
        let wayne = Arc::new(registry::View::new(ground.board.clone(), settings));
        wayne.open_releases(ground.store.as_ref(), &vision::ModelSource::known(models.as_ref()), &configured, ground.clock.now_ms())?;
        let nightwing =
            vision::View::open(&vectors, &pictures, Arc::clone(&ground.store), Arc::clone(&wayne) as _, Arc::clone(&models) as _);
        let nightwing = Arc::new(nightwing.map_err(|error| HouseError::Data(error.to_string()))?);
        let watchtower = Arc::new(catalog::View::new());
        let (catalog, vision): (Arc<dyn CatalogReader>, Arc<dyn VisionReader>) =
            (Arc::clone(&watchtower) as _, Arc::clone(&nightwing) as _);
        let store = &ground.store;
        let batman = search::View::open(&config.search).map_err(machine)?;
        let tagging = vision::Tagging::start(vision::TagSources {
            config: Arc::new(config.vision.clone()),
            store: Arc::clone(store),
            catalog: Arc::clone(&catalog),
            vision: Arc::clone(&vision),
            index: Arc::clone(&batman) as _,
            nightwing: addresses.nightwing.clone(),
            clock: Arc::clone(&ground.clock),
            dir: vectors.join("tags"),
            releases: Arc::clone(&wayne) as _,
            vocabularies: Arc::new(vocabularies),
            models: Arc::clone(&models) as _,
        });
        let tagging = Arc::new(tagging.map_err(machine)?);
        batman.use_facts(tagging.facts());
        Ok(Self {
            superman: Arc::new(recommend::View::new(&config.recommend)),
            two_face: Arc::new(personalize::View::new(&config.personalize, Arc::clone(store), catalog, vision, Arc::clone(&wayne) as _)),
            mocha: Arc::new(reports::View::new(config.reports.clone(), Arc::clone(store))),
            gcpd: Arc::new(cache::Cache::new(&config.cache)),
            wayne,
            watchtower,
            flash: Arc::new(session::View::new(Arc::clone(store))),
            gordon: Arc::new(queue::View::new()),
            batman,
            nightwing,
            joker: Arc::new(ingest::View::new(Arc::clone(&ground.store))),
            models,
            threads: Arc::new(vision::Threads::spawn(&config.vision).map_err(machine)?),
            tagging,
        })
    }

    /// Sees to it that the release that is wanted takes office.
    fn office(&self, config: &Config, addresses: &Addresses) -> Option<TaskGuard> {
        let wayne = addresses.wayne.clone();
        let (releases, vision, searcher) = (self.wayne.clone(), self.nightwing.clone(), self.batman.clone());
        Office { releases, vision, searcher, wayne }.open(&config.releases.live)
    }

    /// What each actor starts with; Robin's part is added where the house listens.
    fn casts(&self, config: &Config, ground: &Ground, addresses: &Addresses) -> Casts {
        let Ground { data, store, journal, events, clock, .. } = ground;
        let catalog: Arc<dyn CatalogReader> = Arc::clone(&self.watchtower) as _;
        Casts {
            wayne: registry::Args { store: Arc::clone(store), clock: Arc::clone(clock), view: Arc::clone(&self.wayne) },
            watchtower: catalog::Args {
                config: config.catalog.clone(),
                store: Arc::clone(store),
                journal: journal.clone(),
                exports: data.exports(),
                clock: Arc::clone(clock),
                view: Arc::clone(&self.watchtower),
            },
            flash: session::Args {
                config: config.session.clone(),
                journal: journal.clone(),
                events: events.clone(),
                catalog: Arc::clone(&catalog),
                view: Arc::clone(&self.flash),
            },
            alfred: archive::Args { config: config.archive.clone(), log: events.clone(), clock: Arc::clone(clock) },
            superman: self.superman(config, ground),
            two_face: personalize::Args {
                config: config.personalize.clone(),
                log: events.clone(),
                dir: data.recommend().join(personalize::NAME),
                view: Arc::clone(&self.two_face),
            },
            mocha: reports::Args {
                config: config.reports.clone(),
                log: events.clone(),
                store: Arc::clone(store),
                view: Arc::clone(&self.mocha),
            },
            gordon: queue::Args {
                config: config.queue.clone(),
                store: Arc::clone(store),
                journal: journal.clone(),
                watchtower: addresses.watchtower.clone(),
                catalog: Arc::clone(&catalog),
                clock: Arc::clone(clock),
                view: Arc::clone(&self.gordon),
            },
            batman: search::Args {
                config: config.search.clone(),
                keywords_dir: data.keywords(),
                spaces_dir: data.spaces(),
                journal: journal.clone(),
                catalog: Arc::clone(&catalog),
                vision: Arc::clone(&self.nightwing) as _,
                releases: Arc::clone(&self.wayne) as _,
                view: Arc::clone(&self.batman),
            },
            nightwing: vision::Args {
                config: Arc::new(config.vision.clone()),
                store: Arc::clone(store),
                queue: addresses.gordon.clone(),
                queue_reader: Arc::clone(&self.gordon) as _,
                search: addresses.batman.clone(),
                catalog,
                clock: Arc::clone(clock),
                models: Arc::clone(&self.models) as _,
                view: Arc::clone(&self.nightwing),
                threads: Arc::clone(&self.threads),
            },
            joker: ingest::Args {
                config: config.ingest.clone(),
                store: Arc::clone(store),
                gordon: addresses.gordon.clone(),
                view: Arc::clone(&self.joker),
                clock: Arc::clone(clock),
                spool: data.spool(),
                inbox: data.inbox(),
            },
            robin: None,
        }
    }

    fn superman(&self, config: &Config, ground: &Ground) -> recommend::Args {
        recommend::Args {
            config: config.recommend.clone(),
            log: ground.events.clone(),
            dir: ground.data.recommend().join(recommend::NAME),
            catalog: Arc::clone(&self.watchtower) as _,
            vision: Arc::clone(&self.nightwing) as _,
            searcher: Arc::clone(&self.batman) as _,
            releases: Arc::clone(&self.wayne) as _,
            view: Arc::clone(&self.superman),
        }
    }

    /// What Robin sees of the others.
    fn for_robin(
        &self,
        config: &Config,
        ground: &Ground,
        addresses: &Addresses,
        readiness: Arc<Readiness>,
        metrics_text: MetricsText,
    ) -> gateway::House {
        gateway::House {
            catalog: Arc::clone(&self.watchtower) as _,
            catalog_address: addresses.watchtower.clone(),
            joker: addresses.joker.clone(),
            runs: Arc::clone(&self.joker) as _,
            queues: Arc::clone(&self.gordon) as _,
            gordon: addresses.gordon.clone(),
            offers: Arc::clone(&self.flash) as _,
            nightwing: addresses.nightwing.clone(),
            vision: Arc::clone(&self.nightwing) as _,
            tagger: Arc::clone(&self.tagging) as _,
            searcher: Arc::clone(&self.batman) as _,
            log: ground.events.clone(),
            recommender: Arc::clone(&self.superman) as _,
            personalizer: Arc::clone(&self.two_face) as _,
            sessions: Arc::clone(&self.flash) as _,
            cache: Arc::clone(&self.gcpd) as _,
            reports: Arc::clone(&self.mocha) as _,
            lab: Arc::new(reports::Lab::new(config.reports.clone(), ground.events.clone())),
            wayne: addresses.wayne.clone(),
            registry: Arc::clone(&self.wayne) as _,
            releases: Arc::clone(&self.wayne) as _,
            clock: Arc::clone(&ground.clock),
            spool: ground.data.spool(),
            inbox: ground.data.inbox(),
            readiness: Arc::new(move || readiness.not_ready()),
            metrics_text,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}
