//! Releases: built behind live work, live with the next question, gone with their vectors.

use kit::{Context, Priority};
use protocol::queue::{QueueName, Settlement};
use protocol::releases::{Order, Rank};
use protocol::vision::{Space, VisionError, VisionMsg, VisionReader as _};

use super::context;
use super::house::{House, model, product};
use crate::logic::picture::tests::jpeg;

fn promote(to: Rank) -> Order {
    Order::Promote { to: Some(to), share: None, is_complete: true, force: false }
}

/// A house with two products, embedded by the first generation.
async fn house() -> House {
    let mut house = House::new().await;
    house.file("1.jpg", &jpeg(30, 30, 1));
    house.put(product("a", &[house.image("1.jpg")]));
    house.put(product("b", &[]));
    house.start().await;
    house.enqueue(QueueName::EmbedImage, &["a", "b"]);
    house.enqueue(QueueName::EmbedText, &["a", "b"]);
    house.settled(4).await;
    house
}

/// The width of the vector that a text is embedded to.
async fn width_of(house: &House, generation: Option<usize>) -> Result<usize, VisionError> {
    let model = generation.map(|generation| model(Space::Text, generation).fingerprint.into());
    let texts = vec!["a query".to_owned()];
    let answers = house
        .nightwing
        .call(&context(), |reply| VisionMsg::EmbedTexts { texts, space: Space::Text, model, reply })
        .await
        .expect("an answer");
    answers.into_iter().next().expect("one answer").map(|embedding| embedding.vector.len())
}

#[tokio::test]
async fn a_release_is_built_beside_the_live_one_and_follows_what_changes() {
    let house = house().await;
    house.release(2);
    house.built(2).await;
    assert_eq!(house.embedded(), 6, "two texts and a picture, twice");
    for (generation, width) in [(1, 4), (2, 5)] {
        for (space, id) in [(Space::Image, "a"), (Space::Text, "a"), (Space::Text, "b")] {
            let vectors = house.indexed_by(generation, space, id);
            assert_eq!(vectors.iter().map(|vector| vector.len()).collect::<Vec<_>>(), [width], "{generation} {space:?} {id}");
            let model = model(space, generation);
            assert_eq!(house.view.vectors_by(&model, id)[0].vector, vectors[0]);
            let listed = house.view.embedded(&model, None, 10);
            assert!(listed.iter().any(|(product, own)| product.as_str() == id && *own == vectors), "{listed:?}");
        }
    }
    assert_eq!(house.view.vectors("a", Space::Text)[0].vector.len(), 4, "the first one is live");
    assert_eq!((house.view.models().len(), house.view.kept().len()), (2, 4));

    let mut changed = product("b", &[house.image("1.jpg")]);
    changed.title = "imported anew".to_owned();
    house.put(changed);
    house.put(product("c", &[]));
    house.delete("a");
    let before = house.indexed_by(2, Space::Text, "b");
    house.enqueue(QueueName::EmbedText, &["a", "b", "c"]);
    house.enqueue(QueueName::EmbedImage, &["a", "b", "c"]);
    house.settled(10).await;
    let has = |space, id| house.indexed_by(2, space, id).len();
    house.until(|| has(Space::Text, "c") == 1 && has(Space::Image, "b") == 1 && has(Space::Image, "a") + has(Space::Text, "a") == 0).await;
    house.until(|| house.indexed_by(2, Space::Text, "b") != before).await;
    assert_eq!(house.embedded(), 6 + 4, "two new texts, twice; the picture was known");
    house.end().await;
}

#[tokio::test]
async fn a_promotion_and_a_rollback_are_in_force_with_the_next_question() {
    let house = house().await;
    assert_eq!(width_of(&house, Some(2)).await.ok(), None, "no release has that model");
    house.release(2);
    house.built(2).await;
    assert_eq!((width_of(&house, None).await.ok(), width_of(&house, Some(2)).await.ok()), (Some(4), Some(5)));
    house.releases.give("g2", promote(Rank::Commissioner));
    assert_eq!((width_of(&house, None).await.ok(), width_of(&house, Some(1)).await.ok()), (Some(5), Some(4)));
    assert_eq!(house.view.models()[0], model(Space::Image, 2));
    assert_eq!(house.view.vectors("a", Space::Image)[0].vector.len(), 5);

    // Live work is the new one's now, and the old one is kept up behind it.
    house.put(product("c", &[]));
    house.enqueue(QueueName::EmbedText, &["c"]);
    house.settled(5).await;
    assert_eq!(house.indexed_by(2, Space::Text, "c").len(), 1);
    house.until(|| house.indexed_by(1, Space::Text, "c").len() == 1).await;
    house.releases.give("g2", Order::Rollback);
    assert_eq!(width_of(&house, None).await.ok(), Some(4));
    assert_eq!(house.view.vectors("c", Space::Text)[0].vector.len(), 4);
    house.end().await;
}

#[tokio::test]
async fn a_killed_build_goes_on_where_it_was() {
    let mut house = House::new().await;
    let ids: Vec<String> = (0..100).map(|number| format!("p{number:03}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for id in &ids {
        house.put(product(id, &[]));
    }
    house.config.text_batch_max = 4;
    house.start().await;
    house.enqueue(QueueName::EmbedText, &ids);
    house.settled(100).await;
    let gate = house.models.close_gate("imported p050");
    house.release(2);
    gate.reached().await;
    house.kill().await;
    let half = house.embedded();
    assert!((100 + 32..=199).contains(&half), "{half}");
    gate.open();
    house.restart_killed().await;
    house.built(2).await;
    for id in &ids {
        assert_eq!(house.indexed_by(2, Space::Text, id).len(), 1, "{id}");
    }
    // The batches that were under way may not have reached the disk; no other text was embedded twice.
    assert!((200..=200 + 64).contains(&house.embedded()), "{}", house.embedded());
    let done = house.embedded();
    house.restart().await;
    house.built(2).await;
    assert_eq!(house.embedded(), done, "the next start finds all of it");
    house.end().await;
}

#[tokio::test]
async fn live_work_does_not_wait_for_a_build() {
    let house = house().await;
    let gate = house.models.close_gate("imported a");
    house.release(2);
    gate.reached().await;
    house.put(product("new", &[]));
    house.enqueue(QueueName::EmbedText, &["new"]);
    house.settled(5).await;
    assert_eq!((house.settlement("new"), house.indexed_by(2, Space::Text, "a").len()), (Settlement::Done, 0));
    gate.open();
    house.built(2).await;
    house.until(|| house.indexed_by(2, Space::Text, "new").len() == 1).await;
    house.end().await;
}

#[tokio::test]
async fn every_rank_outlives_a_restart_and_one_that_retires_takes_its_vectors_along() {
    let mut house = house().await;
    house.release(2);
    house.built(2).await;
    let steps = [
        ("g2", promote(Rank::Inspector), 4),
        ("g2", promote(Rank::AssistantCommissioner), 4),
        ("g2", Order::Hold, 4),
        ("g2", promote(Rank::Commissioner), 5),
        ("g2", Order::Rollback, 4),
        ("g2", promote(Rank::Commissioner), 5),
    ];
    for (name, order, live) in steps {
        house.order(name, order.clone());
        house.restart().await;
        assert_eq!(house.view.vectors("a", Space::Text)[0].vector.len(), live, "{order:?}");
        house.built(1).await;
        house.built(2).await;
        assert_eq!((width_of(&house, Some(1)).await.ok(), width_of(&house, Some(2)).await.ok()), (Some(4), Some(5)), "{order:?}");
    }
    assert_eq!(house.embedded(), 6 + 2 * 6, "nothing but the queries was embedded since");
    assert!(house.vector_file(Space::Text, 1).exists());
    house.order("first", Order::Retire);
    house.until(|| !house.vector_file(Space::Text, 1).exists() && !house.vector_file(Space::Image, 1).exists()).await;
    assert!(house.vector_file(Space::Text, 2).exists());
    assert_eq!((house.view.kept().len(), house.build(Space::Text, 1)), (2, None));
    assert!(matches!(width_of(&house, Some(1)).await, Err(VisionError::NoModel(Space::Text))));
    house.end().await;
}

#[tokio::test]
async fn a_constable_who_is_held_is_not_built_until_it_is_on_duty_again() {
    let house = house().await;
    let gate = house.models.close_gate("imported a");
    house.release(2);
    gate.reached().await;
    house.order("g2", Order::Hold);
    // Answered behind the look at the releases.
    let late = Context::new(Priority::Serving, std::time::Duration::from_secs(20));
    house.nightwing.ping(&late).await.expect("it answers");
    gate.open();
    assert!(house.build(Space::Text, 2).is_some_and(|build| !build.is_complete));
    house.order("g2", promote(Rank::Constable));
    house.built(2).await;
    assert_eq!(house.indexed_by(2, Space::Text, "b").len(), 1);
    house.end().await;
}
