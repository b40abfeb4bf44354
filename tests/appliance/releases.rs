//! Releases of a house as a shop runs it: settings, vocabularies, restarts.

use serde_json::{Value, json};

use crate::support::Rig;

impl Rig {
    async fn order(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.client.post(self.url(path)).json(body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// The live release.
    async fn live(&self) -> Value {
        let (_, models) = self.get("/v1/models").await;
        let releases = models["releases"].as_array().expect("releases").clone();
        releases.into_iter().find(|release| release["rank"] == "commissioner").expect("one is live")
    }

    async fn has_attribute(&self, name: &str) -> bool {
        let (_, vocabulary) = self.get("/v1/vocabulary").await;
        vocabulary["attributes"].as_array().expect("attributes").iter().any(|attribute| attribute["name"] == name)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_setting_is_a_release_that_a_rollback_takes_back() {
    let rig = Rig::new(None).await;
    let first = rig.live().await;
    assert_eq!((first["name"].as_str(), first["rules"]["words_weight"].as_f64()), (Some("first"), Some(2.0)));
    let folder = rig.close().await;
    let settings = [("search.words_weight", "3.5"), ("search.graph_degree", "32")];
    let rig = Rig::configured(folder, None, &settings).await;
    let live = rig.live().await;
    let name = live["name"].as_str().expect("a name").to_owned();
    assert!(name.starts_with("configured-"), "{live}");
    assert_eq!((live["rules"]["words_weight"].as_f64(), live["index"]["graph_degree"].as_u64()), (Some(3.5), Some(32)));
    let (status, answer) = rig.order(&format!("/v1/models/{name}:rollback"), &json!({"by": "ann"})).await;
    assert_eq!(status, 200, "{answer}");
    let folder = rig.close().await;
    let rig = Rig::configured(folder, None, &settings).await;
    assert_eq!(rig.live().await["name"], "first", "an order outlives a restart");
    let folder = rig.close().await;
    let wanted = [settings[0], settings[1], ("releases.live", name.as_str())];
    let rig = Rig::configured(folder, None, &wanted).await;
    let is_live = async {
        while rig.live().await["name"] != name.as_str() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, is_live).await.expect("the configuration says who is live");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_brings_its_vocabulary_along_and_a_rollback_the_one_before() {
    let rig = Rig::new(None).await;
    let (status, refused) = rig.order("/v1/releases", &json!({"name": "own", "vocabulary": "[[attribute]]\nname = \"A b\"\n"})).await;
    assert_eq!((status, refused["errors"][0]["pointer"].as_str()), (422, Some("/vocabulary")), "{refused}");
    assert!(refused["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains("vocabulary:2")), "{refused}");
    let own = json!({"name": "own", "vocabulary": "[[attribute]]\nname = \"hem\"\ntaught_by = [\"hem\"]\n"});
    assert_eq!(rig.order("/v1/releases", &own).await.0, 200);
    assert!(!rig.has_attribute("hem").await);
    let (status, live) = rig.order("/v1/models/own:activate", &json!({})).await;
    assert_eq!((status, live["rank"].as_str()), (200, Some("commissioner")), "{live}");
    let folder = rig.close().await;
    let rig = Rig::open(folder, None).await;
    assert_eq!(rig.live().await["name"], "own", "what is configured has not changed");
    assert!(rig.has_attribute("hem").await, "by the fingerprint in the release, from its file");
    assert_eq!(rig.order("/v1/models/own:rollback", &json!({})).await.0, 200);
    let is_gone = async {
        while rig.has_attribute("hem").await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, is_gone).await.expect("the vocabulary before is in force");
    rig.close().await;
}
