//! The release that is wanted live, with everybody else made up.

use std::sync::Mutex;

use domain::ProductId;
use kit::Scene;
use protocol::releases::{Definition, FIRST, Settings};
use protocol::search::{AttributeInfo, IndexStats, SearchError, SearchQuery, Searching, Suggestion};
use protocol::vision::{Build, Embedding, ModelInfo, Space, Thumbnail, VisionCounts};

use super::*;

struct World {
    ledger: Mutex<Arc<Ledger>>,
    is_built: Mutex<bool>,
}

fn model(name: &str) -> ModelInfo {
    ModelInfo { name: name.into(), space: Space::Image, dimensions: 2, fingerprint: name.into(), reads_texts: false }
}

fn command(name: &str, order: Order) -> Command {
    Command { name: name.into(), order, by: String::new(), reason: String::new() }
}

impl World {
    fn new(is_built: bool) -> Arc<Self> {
        let definition = |name: &str| Definition::of_first(&[model(name)], Settings::default());
        let ledger = Ledger::first(definition("old"), 0).after(&command("second", Order::Create(definition("new"))), 0).expect("made");
        Arc::new(Self { ledger: Mutex::new(Arc::new(ledger)), is_built: Mutex::new(is_built) })
    }

    fn follow(&self, command: &Command) -> Result<Arc<Ledger>, protocol::releases::Refusal> {
        let mut ledger = self.ledger.lock().expect("no panic");
        *ledger = Arc::new(ledger.after(command, 1)?);
        Ok(Arc::clone(&ledger))
    }

    fn live(&self) -> String {
        self.ledger().commissioner().expect("one is live").name.clone()
    }

    fn office(self: &Arc<Self>, wayne: &Address<RegistryMsg>) -> Office {
        Office { releases: self.clone(), vision: self.clone(), searcher: self.clone(), wayne: wayne.clone() }
    }
}

impl ReleaseReader for World {
    fn ledger(&self) -> Arc<Ledger> {
        self.ledger.lock().expect("no panic").clone()
    }
}

impl VisionReader for World {
    fn models(&self) -> Vec<ModelInfo> {
        Vec::new()
    }
    fn thumbnail(&self, _: &str, _: usize) -> Option<Thumbnail> {
        None
    }
    fn vectors(&self, _: &str, _: Space) -> Vec<Embedding> {
        Vec::new()
    }
    fn embedded(&self, _: &ModelInfo, _: Option<&str>, _: usize) -> Vec<(ProductId, Vec<Arc<[f32]>>)> {
        Vec::new()
    }
    fn builds(&self) -> Vec<Build> {
        let is_complete = *self.is_built.lock().expect("no panic");
        vec![Build { model: model("new"), is_loaded: true, done: 1, total: 1, behind: 0, failed: 0, is_complete }]
    }
    fn counts(&self) -> VisionCounts {
        VisionCounts::default()
    }
}

impl Searcher for World {
    fn search<'a>(&'a self, _: &'a Context, _: SearchQuery) -> Searching<'a> {
        Box::pin(async { Err(SearchError::NotFinite) })
    }
    fn suggest(&self, _: &str, _: usize) -> Vec<Suggestion> {
        Vec::new()
    }
    fn attributes(&self) -> Vec<AttributeInfo> {
        Vec::new()
    }
    fn stats(&self) -> IndexStats {
        IndexStats::default()
    }
}

/// A Wayne who follows orders.
async fn wayne(scene: &mut Scene, world: &Arc<World>) -> Address<RegistryMsg> {
    let (address, probe) = scene.probe::<RegistryMsg>("wayne").await;
    let world = Arc::clone(world);
    probe.answer_all(move |message| {
        if let RegistryMsg::Command { command, reply } = message {
            reply.send(Ok(world.follow(&command)));
        }
    });
    address
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_wanted_takes_office_once_it_is_complete() {
    let mut scene = Scene::new();
    let world = World::new(false);
    let address = wayne(&mut scene, &world).await;
    let filling = tokio::spawn(world.office(&address).fill("second".into()));
    tokio::time::sleep(LOOK_INTERVAL * 10).await;
    assert_eq!(world.live(), FIRST, "not before it is complete");
    *world.is_built.lock().expect("no panic") = true;
    filling.await.expect("it ends");
    assert_eq!(world.live(), "second");
    let change = world.ledger().history.last().expect("a change").clone();
    assert_eq!((change.by.as_str(), change.reason.as_str()), ("gotham", "`releases.live` says so"));
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_live_or_unknown_or_ordered_otherwise_stays_as_it_is() {
    let mut scene = Scene::new();
    for name in [FIRST, "nothing"] {
        let world = World::new(true);
        let address = wayne(&mut scene, &world).await;
        world.office(&address).fill(name.into()).await;
        assert_eq!((world.live().as_str(), world.ledger().revision), (FIRST, 2), "{name}");
    }
    let world = World::new(false);
    let address = wayne(&mut scene, &world).await;
    let filling = tokio::spawn(world.office(&address).fill("second".into()));
    tokio::time::sleep(LOOK_INTERVAL * 2).await;
    world.follow(&command("second", Order::Hold)).expect("held");
    *world.is_built.lock().expect("no panic") = true;
    filling.await.expect("it ends");
    assert_eq!(world.live(), FIRST, "from the first order on the orders count");
    scene.end().await;
}
