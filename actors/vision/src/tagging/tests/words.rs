//! A model with one space for pictures and words, made up: red and blue pictures stand where the words red and blue do.

use std::time::Duration;

use kit::{Context, Priority, Probe, Scene};
use protocol::tags::{Tag, TagSource};
use protocol::vision::{Crop, EMBED_BATCH_MAX, Embedding, PictureQuery, Space, VisionError, VisionMsg};

use super::house::{DIMENSIONS, House};
use crate::logic::picture::tests::jpeg;

/// Takes one question for words and answers it; the sentences.
async fn answer(probe: &mut Probe<VisionMsg>, refusal: Option<VisionError>) -> Vec<String> {
    let (context, message) = probe.next().await;
    let VisionMsg::EmbedTexts { texts, space, model, reply } = message else { panic!("Nightwing is asked {message:?}") };
    assert_eq!((context.priority, space, model.as_deref()), (Priority::Bulk, Space::Image, Some("first")));
    assert!(!texts.is_empty() && texts.len() <= EMBED_BATCH_MAX);
    let embedding = |text: &String| {
        let axis = ["red", "blue", "plain", "striped"].iter().position(|word| text.contains(word)).expect("a word of the vocabulary");
        let vector: Vec<f32> = (0..DIMENSIONS).map(|at| if at == axis { 1.0 } else { 0.0 }).collect();
        Embedding { vector: vector.into(), content: domain::ContentHash::of(text.as_bytes()), fingerprint: "first".into() }
    };
    reply.send(texts.iter().map(|text| refusal.clone().map_or_else(|| Ok(embedding(text)), Err)).collect());
    texts
}

/// Does something that blocks on the store, off the runtime.
async fn off<T: Send + 'static>(mut house: House, work: impl FnOnce(&mut House) -> T + Send + 'static) -> (House, T) {
    let done = tokio::task::spawn_blocking(move || {
        let result = work(&mut house);
        (house, result)
    });
    done.await.expect("no panic")
}

fn colour(tags: &[Tag]) -> Option<&Tag> {
    tags.iter().find(|tag| tag.attribute == "colour")
}

#[tokio::test]
async fn without_a_labelled_product_words_suggest_and_are_asked_for_once() {
    let mut scene = Scene::new();
    let (nightwing, mut probe) = scene.probe::<VisionMsg>("nightwing").await;
    let house = tokio::task::spawn_blocking(|| House::with_nightwing(nightwing)).await.expect("a house");
    house.read_texts();
    assert_eq!(house.ask_words().await, Ok(()), "nothing is asked before a model makes tags");
    let (house, before) = off(house, |house| {
        (0..6).for_each(|at| house.put(&format!("p{at}"), at, None));
        house.step();
        house.tagger().product("p0").expect("tagged")
    })
    .await;
    assert_eq!(colour(&before.tags), None);

    let refusal = VisionError::NoModel(Space::Image);
    let (asked, _) = tokio::join!(house.ask_words(), answer(&mut probe, Some(refusal)));
    assert!(asked.is_err_and(|error| error.contains("no image model")));
    let (asked, texts) = tokio::join!(house.ask_words(), answer(&mut probe, None));
    assert_eq!((asked, texts.len()), (Ok(()), 12), "two attributes of two values, each in three sentences");
    assert_eq!(house.ask_words().await, Ok(()), "once is enough");
    let (house, after) = off(house, |house| {
        house.step();
        [0, 1].map(|at| house.tagger().product(&format!("p{at}")).expect("tagged"))
    })
    .await;
    for (known, value) in after.iter().zip(["red", "blue"]) {
        let tag = colour(&known.tags).expect("a suggestion");
        assert_eq!((tag.value.as_str(), tag.source, tag.is_fact), (value, TagSource::ZeroShot, false), "{known:?}");
        assert!(tag.threshold > Some(1.0), "nothing vouches for it");
        assert_ne!(known.model_version, before.model_version);
    }

    let context = Context::new(Priority::Serving, Duration::from_secs(30));
    let blue = house.embedding("p1");
    let asked = house.tagger().picture(
        &context,
        PictureQuery { bytes: jpeg(60, 60, 3).into(), crop: Some(Crop { x: 0.1, y: 0.1, width: 0.8, height: 0.8 }) },
        false,
    );
    let picture = async {
        let (_, message) = probe.next().await;
        let VisionMsg::EmbedImages { images, reply, .. } = message else { panic!("Nightwing is asked {message:?}") };
        reply.send(images.iter().map(|_| Ok(blue.clone())).collect());
    };
    let (told, ()) = tokio::join!(asked, picture);
    let told = told.expect("tagged");
    assert_eq!(colour(&told.main.tags).map(|tag| (tag.value.as_str(), tag.source)), Some(("blue", TagSource::ZeroShot)));

    let (house, (records, again)) = off(house, |house| {
        let records = house.records();
        house.restart();
        house.step();
        let again = house.records();
        (records, again)
    })
    .await;
    assert_eq!(records, again, "nothing is written again");
    assert_eq!(house.ask_words().await, Ok(()), "words are kept");
    drop(tokio::task::spawn_blocking(move || drop(house)).await);
    scene.end().await;
}

#[tokio::test]
async fn words_are_checked_on_labelled_products_and_become_part_of_what_is_learned() {
    let mut scene = Scene::new();
    let (nightwing, mut probe) = scene.probe::<VisionMsg>("nightwing").await;
    let house = tokio::task::spawn_blocking(|| House::with_nightwing(nightwing)).await.expect("a house");
    let (house, before) = off(house, |house| {
        house.read_texts();
        house.shop(60);
        house.put("unknown", 1, None);
        house.step();
        house.tagger().product("unknown").expect("tagged")
    })
    .await;
    let (asked, _) = tokio::join!(house.ask_words(), answer(&mut probe, None));
    assert_eq!(asked, Ok(()));
    let (house, (after, version)) = off(house, |house| {
        house.step();
        (house.tagger().product("unknown").expect("tagged"), house.tagger().vocabulary().model_version)
    })
    .await;
    assert_ne!(after.model_version, before.model_version);
    let tag = colour(&after.tags).expect("a colour");
    assert_eq!((tag.value.as_str(), tag.source, tag.is_fact), ("blue", TagSource::Learned, true), "{after:?}");
    let pattern = after.tags.iter().find(|tag| tag.attribute == "pattern").expect("a suggestion");
    assert_eq!((pattern.source, pattern.is_fact), (TagSource::ZeroShot, false), "no product is labelled with a pattern");
    assert_eq!(after.model_version, version);
    let (house, again) = off(house, |house| {
        let records = house.records();
        house.restart();
        house.step();
        (records == house.records(), house.tagger().vocabulary().model_version)
    })
    .await;
    assert_eq!(again, (true, version), "what was checked is in force again after a restart");
    drop(tokio::task::spawn_blocking(move || drop(house)).await);
    scene.end().await;
}
