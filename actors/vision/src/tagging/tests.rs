//! Tagging with a made-up catalog and made-up vectors, step by step on a clock that the tests turn.

mod agreement;
mod house;
mod sight;
mod words;

use std::time::Duration;

use attributes::Vocabulary;
use kit::{Context, Priority, Scene};
use protocol::releases::{Order, Settings};
use protocol::tags::{TagError, TagSource, Verdict};
use protocol::vision::{Crop, PictureQuery, Space, VisionError, VisionMsg};
use store::{Keyspace, Store as _};

use crate::logic::picture::tests::jpeg;
use house::House;

pub(super) fn vocabulary() -> Vocabulary {
    Vocabulary::parse(VOCABULARY, "test").expect("a vocabulary")
}

const VOCABULARY: &str = r##"
[[attribute]]
name = "colour"
title = "Colour"
taught_by = ["color"]
[[attribute.value]]
name = "red"
[[attribute.value]]
name = "blue"
[[attribute]]
name = "pattern"
title = "Pattern"
taught_by = ["pattern"]
[[attribute.value]]
name = "plain"
[[attribute.value]]
name = "striped"
"##;

#[test]
fn products_are_measured_learned_from_and_tagged() {
    let mut house = House::new();
    house.shop(40);
    house.put("unknown", 1, None);
    house.step();
    let known = house.tagger().product("unknown").expect("tagged");
    let colour = known.tags.iter().find(|tag| tag.attribute == "colour").expect("a colour");
    assert_eq!((colour.value.as_str(), colour.source), ("blue", TagSource::Learned), "{known:?}");
    assert!(colour.threshold.is_some() && !colour.evidence.is_empty() && colour.evidence.iter().all(|id| id.as_str() != "unknown"));
    assert!(!known.colours.is_empty() && known.colours.iter().map(|colour| colour.share).sum::<f32>() <= 1.001);
    let stated = house.tagger().product("p00").expect("tagged");
    assert_eq!(
        stated.tags.iter().find(|tag| tag.attribute == "colour").map(|tag| (tag.source, tag.is_fact)),
        Some((TagSource::Catalog, true))
    );
    assert!(house.facts("p00").contains(&("colour".to_owned(), "red".to_owned())));
    assert!(house.told().len() >= 40, "the index learns of facts");
    let progress = house.tagger().progress();
    assert_eq!((progress.products, progress.tagged, progress.measured, progress.failed), (41, 41, 41, 0));
    let report = house.tagger().vocabulary();
    let lesson = report.attributes[0].lesson.as_ref().expect("a lesson");
    assert_eq!((lesson.rows, lesson.classes, report.rows), (40, 2, 40));
    assert!(lesson.accuracy > 0.9, "{lesson:?}");
    assert!(report.attributes[1].lesson.is_none());
}

#[test]
fn nothing_is_done_twice_and_a_kill_loses_nothing() {
    let mut house = House::new();
    house.shop(40);
    house.stop_after(15);
    house.step();
    assert!(house.measured() < 40, "it was interrupted");
    house.restart();
    house.step();
    assert_eq!((house.measured(), house.tagger().progress().tagged), (40, 40));
    let (before, version) = (house.records(), house.tagger().vocabulary().model_version);
    let reads = house.thumbnail_reads();
    house.restart();
    house.step();
    assert_eq!(house.tagger().vocabulary().model_version, version, "what was learned is in force again");
    assert_eq!((house.records(), house.thumbnail_reads()), (before, reads), "nothing is written or measured again");
    assert_eq!(house.tagger().progress().tagged, 40);
    house.told();
    house.later(400_000);
    house.step();
    assert!(house.told().is_empty(), "no fact has changed");
}

#[test]
fn a_bad_picture_fails_alone() {
    let mut house = House::new();
    house.shop(30);
    house.thumbnail("p03", b"<html>".to_vec());
    house.no_thumbnail("p04");
    house.step();
    let progress = house.tagger().progress();
    assert_eq!((progress.products, progress.tagged, progress.failed), (30, 30, 1));
    for id in ["p03", "p04"] {
        let known = house.tagger().product(id).expect("tagged by its vector");
        assert!(known.colours.is_empty() && !known.tags.is_empty());
    }
    // The picture that was not there yet is measured once it is.
    house.shop_picture("p04");
    house.later(400_000);
    house.step();
    assert!(!house.tagger().product("p04").expect("tagged").colours.is_empty());
}

#[test]
fn corrections_win_at_once_teach_soon_and_stay() {
    let mut house = House::new();
    house.shop(40);
    house.put("odd", 1, None);
    house.step();
    let version = house.tagger().vocabulary().model_version;
    let verdicts = vec![("colour".to_owned(), Verdict::Is("Red".into()))];
    let told = house.correct("odd", verdicts).expect("taken");
    let colour: Vec<_> = told.tags.iter().filter(|tag| tag.attribute == "colour").collect();
    assert_eq!((colour.len(), colour[0].value.as_str(), colour[0].source), (1, "red", TagSource::Human));
    assert_eq!(told.corrections[0].by, "ann");
    house.told();
    house.step();
    assert!(house.told().contains(&"odd".to_owned()) && house.facts("odd") == [("colour".to_owned(), "red".to_owned())]);
    assert!(house.tagger().review(Some("colour"), 0, 10).items.iter().all(|item| item.product.as_str() != "odd"));

    for _ in 0..10 {
        house.later(1_000);
        house.step();
    }
    assert_ne!(house.tagger().vocabulary().model_version, version, "it was learned from");
    assert_eq!(house.tagger().vocabulary().rows, 41);
    house.put("odd", 1, Some("blue"));
    house.restart();
    house.later(20_000);
    house.step();
    let known = house.tagger().product("odd").expect("tagged");
    assert_eq!(known.tags.iter().find(|tag| tag.attribute == "colour").map(|tag| tag.value.as_str()), Some("red"), "the catalog says blue");
    assert_eq!(house.tagger().progress().corrections, 1);

    let told = house.correct("odd", vec![("colour".to_owned(), Verdict::HasNone)]).expect("taken");
    assert!(told.tags.iter().all(|tag| tag.attribute != "colour"));
    let told = house.correct("odd", vec![("colour".to_owned(), Verdict::Withdrawn)]).expect("taken");
    assert!(told.corrections.is_empty() && told.tags.iter().any(|tag| tag.attribute == "colour"));
}

#[test]
fn corrections_are_refused_by_table() {
    let mut house = House::new();
    house.shop(1);
    house.step();
    let is = |attribute: &str, value: &str| vec![(attribute.to_owned(), Verdict::Is(value.to_owned()))];
    assert_eq!(house.correct("nobody", is("colour", "red")), Err(TagError::UnknownProduct));
    assert_eq!(house.correct("p00", Vec::new()), Err(TagError::Count(0)));
    assert!(
        matches!(house.correct("p00", is("color", "red")), Err(TagError::Refused(refusals)) if refusals[0].code == "unknown_attribute")
    );
    house.store.fail("no disk");
    assert!(matches!(house.correct("p00", is("colour", "red")), Err(TagError::Storage(_))));
}

#[test]
fn what_belonged_to_a_deleted_product_goes_with_it() {
    let mut house = House::new();
    house.shop(30);
    house.step();
    let verdicts = vec![("colour".to_owned(), Verdict::Is("red".into()))];
    house.correct("p07", verdicts).expect("taken");
    // A catalog that is not read yet is no catalog without products.
    house.hide_catalog(true);
    house.later(400_000);
    house.step();
    house.hide_catalog(false);
    assert_eq!(house.tagger().product("p07").expect("still there").corrections.len(), 1);
    house.delete("p07");
    house.later(400_000);
    house.step();
    assert_eq!(house.tagger().product("p07"), None);
    assert!(house.store.get(Keyspace::Embeddings, b"\x12p07").expect("the store").is_none());
    assert_eq!(house.tagger().progress().products, 29);
}

#[test]
fn another_model_learns_anew_and_one_that_comes_back_is_known() {
    let mut house = House::new();
    house.shop(40);
    house.step();
    let version = house.tagger().vocabulary().model_version;
    house.model("second");
    house.later(20_000);
    house.step();
    let second = house.tagger().vocabulary();
    assert!(second.model_version != version && second.attributes[0].lesson.is_some());
    assert_eq!(house.tagger().product("p00").expect("tagged").model_version, second.model_version);
    house.model("first");
    house.later(20_000);
    house.step();
    assert_eq!(house.tagger().product("p00").expect("tagged").model_version, version);
}

#[test]
fn a_release_brings_its_vocabulary_and_its_precision_and_a_rollback_brings_them_back() {
    const OWN: &str = "[[attribute]]\nname = \"shade\"\ntaught_by = [\"color\"]\nopen = true\n";
    let mut house = House::new();
    let first = house.first_release(0.95);
    house.shop(40);
    house.step();
    let before = (house.tagger().vocabulary(), house.records());
    assert!(matches!(house.keep_vocabulary("[[attribute]]\nname = \"A B\"\n"), Err(TagError::Vocabulary(_))));
    let mut settings = Settings { vocabulary: house.keep_vocabulary(OWN).expect("kept"), ..first };
    settings.rules.fact_precision = 0.6;
    house.release("own", settings);
    house.later(20_000);
    house.step();
    let report = house.tagger().vocabulary();
    let shade = report.attributes.iter().find(|attribute| attribute.name == "shade").expect("the shop's own attribute");
    assert_eq!(shade.lesson.as_ref().map(|lesson| lesson.classes), Some(2));
    let own = house.tagger().product("p00").expect("tagged");
    assert!(own.tags.iter().any(|tag| tag.attribute == "shade" && tag.value == "red"), "{own:?}");

    house.order("own", Order::Rollback);
    house.restart();
    house.step();
    assert_eq!((house.tagger().vocabulary(), house.records()), before, "what was learned and told before is in force again");
}

#[test]
fn without_a_model_nothing_is_done() {
    let mut house = House::new();
    house.shop(30);
    house.model("");
    house.step();
    assert_eq!((house.tagger().progress(), house.tagger().product("p00")), (Default::default(), None));
}

#[tokio::test]
async fn a_callers_picture_is_measured_embedded_and_tagged() {
    let mut scene = Scene::new();
    let (nightwing, mut probe) = scene.probe::<VisionMsg>("nightwing").await;
    let house = tokio::task::spawn_blocking(|| {
        let mut house = House::with_nightwing(nightwing);
        house.shop(40);
        house.step();
        house
    });
    let house = house.await.expect("a house");
    let context = Context::new(Priority::Serving, Duration::from_secs(30));
    let crop = Crop { x: 0.25, y: 0.25, width: 0.5, height: 0.5 };
    let query = |bytes: Vec<u8>, crop| PictureQuery { bytes: bytes.into(), crop };
    let blue = house.embedding("p01");
    let answers = async {
        let (_, message) = probe.next().await;
        let VisionMsg::EmbedImages { images, reply, .. } = message else { panic!("Nightwing is asked {message:?}") };
        assert_eq!(images[0].crop, Some(crop), "what the caller's rectangle holds");
        reply.send(images.iter().map(|_| Ok(blue.clone())).collect());
        images.len()
    };
    let asked = house.tagger().picture(&context, query(jpeg(90, 60, 3), Some(crop)), true);
    let (told, embedded) = tokio::join!(asked, answers);
    let told = told.expect("tagged");
    assert_eq!((told.main.region, told.objects.len() + 1), (crop, embedded));
    let colour = told.main.tags.iter().find(|tag| tag.attribute == "colour").expect("a colour");
    assert_eq!((colour.value.as_str(), told.model_version), ("blue", house.tagger().vocabulary().model_version));
    assert!(!told.main.colours.is_empty());

    let refused = house.tagger().picture(&context, query(b"<html>".to_vec(), Some(crop)), false).await;
    assert!(matches!(refused, Err(VisionError::BadPicture { code: "not_a_picture", .. })), "{refused:?}");
    let late = Context::new(Priority::Serving, Duration::ZERO);
    let refused = house.tagger().picture(&late, query(jpeg(90, 60, 3), Some(crop)), false).await;
    assert!(matches!(refused, Err(VisionError::Busy(_))), "{refused:?}");
    house.model("");
    let refused = house.tagger().picture(&context, query(jpeg(90, 60, 3), None), false).await;
    assert!(matches!(refused, Err(VisionError::NoModel(Space::Image))), "{refused:?}");
    scene.end().await;
}
