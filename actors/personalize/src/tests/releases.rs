//! Whose vectors a shopper's interests are sums of: those of the release that serves the shopper.

use std::sync::Arc;

use domain::{EventKind, ProductId, Shopper};
use events::EventLog;
use protocol::personalize::{Personalizer, RankQuery};
use protocol::releases::{Definition, FIRST, Order, Rank, Settings};
use protocol::vision::{Embedding, ModelInfo, Space, Thumbnail, VisionCounts, VisionReader};
use store::MemoryStore;

use super::stage::{Catalog, Releases, event, model, product, query};
use crate::effects::follow;
use crate::{Config, View};

/// Two models of one width: what one puts on an axis the other puts on the next one.
struct TwoModels;

impl VisionReader for TwoModels {
    fn models(&self) -> Vec<ModelInfo> {
        vec![model("one", 4), model("two", 4)]
    }
    fn thumbnail(&self, _: &str, _: usize) -> Option<Thumbnail> {
        None
    }
    fn vectors(&self, product: &str, _: Space) -> Vec<Embedding> {
        self.vectors_by(&model("one", 4), product)
    }
    fn vectors_by(&self, model: &ModelInfo, product: &str) -> Vec<Embedding> {
        let kind = product.as_bytes().last().map_or(0, |last| usize::from(last % 2)) + usize::from(model.fingerprint == "two");
        let vector: Vec<f32> = (0..4).map(|at| if at == kind { 1.0 } else { 0.0 }).collect();
        let fingerprint = model.fingerprint.as_str().into();
        vec![Embedding { vector: vector.into(), content: domain::ContentHash::default(), fingerprint }]
    }
    fn embedded(&self, _: &ModelInfo, _: Option<&str>, _: usize) -> Vec<(ProductId, Vec<Arc<[f32]>>)> {
        Vec::new()
    }
    fn counts(&self) -> VisionCounts {
        VisionCounts::default()
    }
}

struct Stage {
    view: View,
    log: EventLog,
    releases: Arc<Releases>,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = EventLog::open(folder.path(), &events::Config::default(), Vec::new()).expect("a log");
        let releases = Releases::first(&[model("one", 4)]);
        let catalog = Arc::new(Catalog::new((0..10).map(|number| product(&format!("red {number}")))));
        let view = View::new(&Config::default(), Arc::new(MemoryStore::new()), catalog, Arc::new(TwoModels), releases.clone());
        Self { view, log, releases, _folder: folder }
    }

    /// A shopper clicks a product; Two Face has seen it.
    async fn clicks(&self, visitor: &str, product: &str) {
        self.log.append(vec![event(visitor, EventKind::Click, product)]).await.expect("appended");
        while follow::follow(&self.view, &self.log, 0, 64).expect("followed").has_more {}
    }

    /// How much likeness to the pictures that the shopper looked at adds to each product's place, by these models.
    fn likeness(&self, visitor: &str, models: Vec<ModelInfo>) -> [f32; 2] {
        let products: Vec<ProductId> = ["red 2", "red 3"].map(|name| name.parse().expect("an id")).to_vec();
        let query = RankQuery { models, ..query(Some(Shopper::visitor(visitor)), &products) };
        let mut all = self.view.rank(&query);
        all.sort_by_key(|ranked| ranked.at);
        let share = |at: usize| all[at].shares.iter().filter(|(name, _)| name.starts_with("look")).map(|(_, share)| share).sum();
        [share(0), share(1)]
    }
}

#[tokio::test]
async fn interests_are_by_the_release_that_serves_the_shopper() {
    let stage = Stage::new();
    let (one, two) = (|| vec![model("one", 4)], || vec![model("two", 4)]);
    stage.clicks("v", "red 4").await;
    let [like, unlike] = stage.likeness("v", one());
    assert!(like > unlike, "{like} {unlike}");
    assert_eq!(stage.likeness("v", Vec::new()), [like, unlike], "by the live model where none is named");
    assert_eq!(stage.likeness("v", two()), [0.0, 0.0], "nothing is compared with another model's vectors");

    // Everybody is served by an assistant with the other model now.
    stage.releases.order("second", Order::Create(Definition::of_first(&two(), Settings::default())));
    let promote = |to| Order::Promote { to: Some(to), share: Some(1.0), is_complete: true, force: false };
    stage.releases.order("second", promote(Rank::AssistantCommissioner));
    assert_eq!(stage.likeness("v", Vec::new()), [0.0, 0.0]);
    stage.clicks("v", "red 4").await;
    let [like, unlike] = stage.likeness("v", two());
    assert!(like > unlike && stage.likeness("v", one()) == [0.0, 0.0], "begun anew by the assistant's: {like} {unlike}");

    // When it takes office the shopper is known by its vectors already.
    stage.releases.order("second", promote(Rank::Commissioner));
    assert_eq!(stage.likeness("v", Vec::new()), [like, unlike]);
    stage.releases.order("second", Order::Rollback);
    assert_eq!(stage.releases.0.lock().expect("no panic").commissioner().map(|live| live.name.clone()), Some(FIRST.to_owned()));
    assert_eq!(stage.likeness("v", Vec::new()), [0.0, 0.0]);
}

/// The digest is of the events, the catalog and the models that were live: with the same, the log's start leads to the same.
#[tokio::test]
async fn a_rebuild_under_the_same_release_gives_the_same_digest() {
    let digest = async |order: bool| {
        let stage = Stage::new();
        if order {
            stage.releases.order("second", Order::Create(Definition::of_first(&[model("two", 4)], Settings::default())));
            stage.releases.order("second", Order::Promote { to: Some(Rank::Commissioner), share: None, is_complete: true, force: false });
        }
        for number in 0..5 {
            stage.clicks("v", &format!("red {number}")).await;
        }
        stage.view.digest().expect("readable")
    };
    assert_eq!(digest(false).await, digest(false).await);
    assert_ne!(digest(false).await, digest(true).await, "another model leaves other sums");
}
