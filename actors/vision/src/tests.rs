//! Nightwing with probes in Gordon's and Batman's places, and a small made-up model.

mod house;
mod reference;
mod releases;
mod sight;
mod towers;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use kit::{Context, Priority};
use protocol::queue::{QueueName, Settlement};
use protocol::vision::{Crop, EMBED_BATCH_MAX, PictureQuery, Space, VisionCounts, VisionError, VisionMsg, VisionReader as _};
use store::{Keyspace, Store as _};

use crate::logic::picture::tests::jpeg;
use house::{House, product};

fn context() -> Context {
    Context::new(Priority::Serving, Duration::from_secs(20))
}

#[tokio::test]
async fn pictures_and_texts_become_vectors_records_and_thumbnails() {
    let mut house = House::new().await;
    house.file("1.jpg", &jpeg(640, 480, 1));
    house.file("2.jpg", &jpeg(50, 60, 2));
    house.put(product("a", &[house.image("1.jpg"), house.image("2.jpg")]));
    house.put(product("b", &[]));
    house.start().await;
    house.enqueue(QueueName::EmbedImage, &["a", "b"]);
    house.enqueue(QueueName::EmbedText, &["a", "b"]);
    house.settled(4).await;

    assert!(house.settlements().iter().all(|(_, settlement)| *settlement == Settlement::Done), "{:?}", house.settlements());
    assert_eq!(house.indexed(Space::Image, "a").len(), 2);
    assert_eq!(house.indexed(Space::Image, "b").len(), 0);
    assert_eq!(house.indexed(Space::Text, "b").len(), 1);
    let norm: f32 = house.indexed(Space::Image, "a")[0].iter().map(|number| number * number).sum();
    assert!((norm - 1.0).abs() < 1e-6);

    let view = &house.view;
    assert_eq!(view.embedded(&house::model(Space::Image, 1), None, 10), [("a".parse().expect("an id"), house.indexed(Space::Image, "a"))]);
    let texts: Vec<_> = view.embedded(&house::model(Space::Text, 1), Some("a"), 10).into_iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(texts, ["b"]);
    assert_eq!(view.vectors("a", Space::Image)[1].content, domain::ContentHash::of(&jpeg(50, 60, 2)));
    let thumbnail = view.thumbnail("a", 0).expect("a thumbnail");
    let small = image::load_from_memory(&thumbnail.jpeg).expect("a JPEG");
    assert_eq!((small.width(), small.height()), (480, 360));
    assert!(view.thumbnail("a", 2).is_none() && view.thumbnail("b", 0).is_none());
    assert_eq!(view.counts(), VisionCounts { images_embedded: 2, texts_embedded: 2, reused: 0, rejected: 0 });
    house.end().await;
}

#[tokio::test]
async fn the_same_bytes_are_never_embedded_twice() {
    let mut house = House::new().await;
    house.file("1.jpg", &jpeg(30, 30, 1));
    house.file("copy.jpg", &jpeg(30, 30, 1));
    house.put(product("a", &[house.image("1.jpg")]));
    house.put(product("b", &[house.image("copy.jpg"), house.image("1.jpg")]));
    house.start().await;
    house.enqueue(QueueName::EmbedImage, &["a", "b"]);
    house.settled(2).await;
    assert_eq!(house.embedded(), 1);
    assert_eq!(house.indexed(Space::Image, "b").len(), 1, "one content is one vector");
    for (round, products) in [["a", "b"], ["b", "a"]].into_iter().enumerate() {
        house.restart().await;
        house.enqueue(QueueName::EmbedImage, &products);
        house.settled(2 * round + 4).await;
    }
    assert_eq!(house.embedded(), 1);
    assert_eq!(house.indexed(Space::Image, "a"), house.indexed(Space::Image, "b"));

    // Another picture under the old name is another content.
    house.file("1.jpg", &jpeg(31, 30, 9));
    house.enqueue(QueueName::EmbedImage, &["a"]);
    house.settled(7).await;
    assert_eq!(house.embedded(), 2);
    assert_ne!(house.indexed(Space::Image, "a"), house.indexed(Space::Image, "b"));
    house.end().await;
}

#[tokio::test]
async fn a_bad_picture_fails_alone() {
    let mut house = House::new().await;
    house.file("good.jpg", &jpeg(30, 30, 1));
    house.file("page.jpg", b"<html>404");
    let whole = jpeg(64, 64, 2);
    house.file("half.jpg", &whole[..whole.len() / 2]);
    house.file("huge.jpg", &jpeg(2000, 1001, 3));
    let nowhere = "https://127.0.0.1/x.jpg";
    let cases = [
        ("page", vec![house.image("page.jpg")], Some("not_a_picture")),
        ("half", vec![house.image("half.jpg")], Some("damaged_picture")),
        ("huge", vec![house.image("huge.jpg")], Some("too_many_pixels")),
        ("gone", vec![house.image("no.jpg")], Some("not_found")),
        ("folder", vec![house.image(".")], Some("not_a_file")),
        ("inside", vec![nowhere.to_owned()], Some("private_address")),
        ("odd", vec!["ftp://a/b".to_owned()], Some("bad_reference")),
        ("mixed", vec![house.image("page.jpg"), house.image("good.jpg")], None),
        ("fine", vec![house.image("good.jpg")], None),
    ];
    for (id, images, _) in &cases {
        house.put(product(id, images));
    }
    house.start().await;
    let ids: Vec<_> = cases.iter().map(|(id, ..)| *id).collect();
    house.enqueue(QueueName::EmbedImage, &ids);
    house.settled(cases.len()).await;
    for (id, _, code) in &cases {
        match (house.settlement(id), code) {
            (Settlement::Dead { error }, Some(code)) => assert!(error.starts_with(code), "{id}: {error}"),
            (settlement, _) => assert_eq!((&settlement, code), (&Settlement::Done, &None), "{id}"),
        }
        assert_eq!(house.indexed(Space::Image, id).len(), usize::from(code.is_none()), "{id}");
    }
    assert!(house.view.thumbnail("mixed", 0).is_none() && house.view.thumbnail("mixed", 1).is_some());
    assert_eq!(house.view.counts().rejected, 7);
    house.end().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again_later() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/1.jpg", listener.local_addr().expect("its address"));
    drop(listener);
    let mut house = House::new().await;
    house.config.fetch.private_addresses_allowed = vec!["127.0.0.1".to_owned()];
    house.put(product("a", &[url]));
    house.start().await;
    house.enqueue(QueueName::EmbedImage, &["a"]);
    house.settled(1).await;
    let Settlement::Retry { error } = house.settlement("a") else { panic!("{:?}", house.settlements()) };
    assert!(error.starts_with("connect_failed"), "{error}");
    house.end().await;
}

#[tokio::test]
async fn a_deleted_product_leaves_the_records_and_the_index() {
    let mut house = House::new().await;
    house.file("1.jpg", &jpeg(30, 30, 1));
    house.put(product("a", &[house.image("1.jpg")]));
    house.start().await;
    house.enqueue(QueueName::EmbedImage, &["a"]);
    house.settled(1).await;
    assert_eq!(house.indexed(Space::Image, "a").len(), 1);
    house.delete("a");
    house.enqueue(QueueName::EmbedImage, &["a"]);
    house.settled(2).await;
    assert_eq!(house.indexed(Space::Image, "a").len(), 0);
    assert!(house.view.embedded(&house::model(Space::Image, 1), None, 10).is_empty());
    assert!(house.store.get(Keyspace::Embeddings, b"\x01a").expect("the store").is_none());
    house.end().await;
}

#[tokio::test]
async fn without_a_model_its_queue_waits_until_one_is_installed() {
    let mut house = House::new().await;
    house.models.text_is_installed.store(false, Ordering::SeqCst);
    house.put(product("a", &[]));
    house.start().await;
    house.enqueue(QueueName::EmbedImage, &["a"]);
    house.enqueue(QueueName::EmbedText, &["a"]);
    house.settled(1).await;
    let texts = house
        .nightwing
        .call(&context(), |reply| VisionMsg::EmbedTexts { texts: vec!["shoe".into()], space: Space::Text, model: None, reply })
        .await
        .expect("an answer");
    assert!(matches!(texts[..], [Err(VisionError::NoModel(Space::Text))]), "{texts:?}");
    assert_eq!(house.waiting(QueueName::EmbedText), 1, "nothing was leased");
    house.models.text_is_installed.store(true, Ordering::SeqCst);
    house.settled(2).await;
    assert_eq!(house.indexed(Space::Text, "a").len(), 1);
    house.end().await;
}

#[tokio::test]
async fn queries_do_not_wait_behind_an_import() {
    let mut house = House::new().await;
    for id in ["a", "b", "c"] {
        house.put(product(id, &[]));
    }
    let gate = house.models.close_gate("imported");
    house.start().await;
    house.enqueue(QueueName::EmbedText, &["a", "b", "c"]);
    gate.reached().await;
    let texts = vec!["a query".to_owned(), String::new()];
    let answers = house
        .nightwing
        .call(&context(), |reply| VisionMsg::EmbedTexts { texts, space: Space::Text, model: None, reply })
        .await
        .expect("an answer");
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(house.settlements().is_empty(), "the import stands still");
    gate.open();
    house.settled(3).await;
    house.end().await;
}

#[tokio::test]
async fn picture_queries_are_answered_one_by_one() {
    let mut house = House::new().await;
    house.start().await;
    let whole = |bytes: Vec<u8>| PictureQuery { bytes: bytes.into(), crop: None };
    let images = vec![whole(jpeg(40, 40, 1)), whole(b"<html>".to_vec()), whole(jpeg(40, 40, 2))];
    let answers = house.nightwing.call(&context(), |reply| VisionMsg::EmbedImages { images, model: None, reply }).await.expect("an answer");
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert!(matches!(&answers[1], Err(VisionError::BadPicture { code: "not_a_picture", .. })), "{:?}", answers[1]);
    let texts = vec!["x".to_owned(); EMBED_BATCH_MAX + 1];
    let answers = house
        .nightwing
        .call(&context(), |reply| VisionMsg::EmbedTexts { texts, space: Space::Text, model: None, reply })
        .await
        .expect("an answer");
    assert!(answers.len() == EMBED_BATCH_MAX + 1 && answers.iter().all(|answer| matches!(answer, Err(VisionError::TooMany(65)))));
    house.end().await;
}

#[tokio::test]
async fn a_picture_is_looked_at_and_embedded_as_ever() {
    let mut house = House::new().await;
    house.start().await;
    let bytes = Bytes::from(jpeg(80, 40, 1));
    let images = vec![PictureQuery { bytes: bytes.clone(), crop: None }];
    let embedded =
        house.nightwing.call(&context(), |reply| VisionMsg::EmbedImages { images, model: None, reply }).await.expect("an answer");
    let embedded = embedded[0].as_ref().expect("a vector");
    let look = |picture: Bytes, model: Option<&str>| {
        let model = model.map(Into::into);
        let (nightwing, context) = (house.nightwing.clone(), context());
        async move { nightwing.call(&context, |reply| VisionMsg::LookAt { picture, model, reply }).await.expect("an answer") }
    };
    let sight = look(bytes.clone(), None).await.expect("a sight");
    assert_eq!((&sight.embedding.vector, sight.embedding.content), (&embedded.vector, embedded.content));
    let map = sight.activations.expect("a map");
    assert_eq!((map.height, map.width, &*map.values), (2, 3, &house::MAP[..]));
    // Twice as wide as high: the centre square, less its margin.
    let seen = Crop { x: 0.28125, y: 0.0625, width: 0.4375, height: 0.875 };
    assert_eq!(map.seen, seen);
    let refused = look(Bytes::from_static(b"<html>"), None).await;
    assert!(matches!(refused, Err(VisionError::BadPicture { code: "not_a_picture", .. })), "{refused:?}");
    let refused = look(bytes, Some("nobody")).await;
    assert!(matches!(refused, Err(VisionError::NoModel(Space::Image))), "{refused:?}");
    let bulk = Context::new(Priority::Bulk, Duration::from_secs(20));
    let texts = || vec!["shoe".to_owned()];
    let ask = |context: Context| {
        let nightwing = house.nightwing.clone();
        async move {
            let asked = nightwing.call(&context, |reply| VisionMsg::EmbedTexts { texts: texts(), space: Space::Text, model: None, reply });
            asked.await.expect("an answer")[0].as_ref().expect("a vector").vector.to_vec()
        }
    };
    assert_eq!(ask(bulk).await, ask(context()).await, "behind the imports, the same");
    house.end().await;
}

#[tokio::test]
async fn crops_are_embedded_apart_from_their_picture_and_from_one_another() {
    let mut house = House::new().await;
    house.start().await;
    let bytes = Bytes::from(jpeg(200, 200, 1));
    let crop = |x: f32, width: f32| PictureQuery { bytes: bytes.clone(), crop: Some(Crop { x, y: 0.25, width, height: 0.5 }) };
    let whole = PictureQuery { bytes: bytes.clone(), crop: None };
    let images = vec![whole, crop(0.0, 0.5), crop(0.5, 0.5), crop(0.0, 0.5), crop(0.8, 0.5), crop(0.0, 0.01)];
    let answers = house.nightwing.call(&context(), |reply| VisionMsg::EmbedImages { images, model: None, reply }).await.expect("an answer");
    let vector = |at: usize| answers[at].as_ref().expect("a vector").vector.to_vec();
    let content = |at: usize| answers[at].as_ref().expect("a vector").content;
    assert_eq!((vector(1), content(1)), (vector(3), content(3)), "the same rectangle");
    for (left, right) in [(0, 1), (0, 2), (1, 2)] {
        assert_ne!(vector(left), vector(right), "{left} {right}");
        assert_ne!(content(left), content(right), "{left} {right}");
    }
    assert!(matches!(&answers[4], Err(VisionError::BadPicture { code: "crop_outside_picture", .. })), "{:?}", answers[4]);
    assert!(matches!(&answers[5], Err(VisionError::BadPicture { code: "crop_too_small", .. })), "{:?}", answers[5]);
    house.end().await;
}

#[tokio::test]
async fn kill_nightwing_before_batman_answers() {
    let mut house = House::new().await;
    house.file("1.jpg", &jpeg(30, 30, 1));
    house.put(product("a", &[house.image("1.jpg")]));
    house.search_answers(false);
    house.start().await;
    house.enqueue(QueueName::EmbedImage, &["a"]);
    house.upserts_seen(1).await;
    house.kill().await;
    assert!(house.settlements().is_empty(), "nothing was settled");
    house.search_answers(true);
    house.give_back_leases();
    house.start().await;
    house.settled(1).await;
    assert_eq!((house.embedded(), house.indexed(Space::Image, "a").len()), (1, 1), "embedded once, and in the index");
    house.end().await;
}

#[tokio::test]
async fn kill_nightwing_while_it_embeds() {
    let mut house = House::new().await;
    for id in ["a", "b", "c"] {
        house.put(product(id, &[]));
    }
    let gate = house.models.close_gate("imported");
    house.start().await;
    house.enqueue(QueueName::EmbedText, &["a", "b", "c"]);
    gate.reached().await;
    house.kill().await;
    gate.open();
    house.give_back_leases();
    house.start().await;
    house.settled(3).await;
    for id in ["a", "b", "c"] {
        assert_eq!((house.indexed(Space::Text, id).len(), house.settlement(id)), (1, Settlement::Done), "{id}");
    }
    assert_eq!(house.view.embedded(&house::model(Space::Text, 1), None, 10).len(), 3);
    house.end().await;
}

#[tokio::test]
async fn a_batman_that_restarts_is_asked_again() {
    let mut house = House::new().await;
    house.put(product("a", &[]));
    house.search_answers(false);
    house.start().await;
    house.enqueue(QueueName::EmbedText, &["a"]);
    house.upserts_seen(1).await;
    house.search_answers(true);
    house.settled(1).await;
    assert_eq!(house.indexed(Space::Text, "a").len(), 1);
    house.end().await;
}

#[tokio::test]
async fn a_model_that_fails_or_panics_costs_an_attempt_and_nothing_more() {
    let mut house = House::new().await;
    for title in ["fails", "panics"] {
        let mut one = product(title, &[]);
        one.title = title.to_owned();
        house.put(one);
    }
    house.put(product("fine", &[]));
    house.start().await;
    house.enqueue(QueueName::EmbedText, &["fails", "panics", "fine"]);
    house.settled(3).await;
    for (id, code) in [("fails", "engine_failed"), ("panics", "engine_crashed")] {
        assert!(matches!(house.settlement(id), Settlement::Retry { error } if error.starts_with(code)), "{:?}", house.settlement(id));
    }
    assert_eq!(house.settlement("fine"), Settlement::Done);
    house.end().await;
}

#[tokio::test]
async fn a_disk_that_fails_stops_the_actor_and_settles_nothing() {
    let mut house = House::new().await;
    house.put(product("a", &[]));
    house.start().await;
    house.store.fail("no disk");
    house.enqueue(QueueName::EmbedText, &["a"]);
    house.stopped().await;
    assert!(house.settlements().is_empty());
    assert!(house.indexed(Space::Text, "a").is_empty());
    house.end().await;
}
