//! Two Face with a catalog, a log and a store of its own.

mod figures;
mod releases;
mod shelf;
mod stage;

use domain::{EventKind, Shopper};
use protocol::personalize::{NAME, Personalizer};
use store::consumer;

use crate::logic::ids::id;
use stage::{NOW, Stage, click, event, order, query, served};

/// Events and lists in one history.
macro_rules! told {
    ($($told:expr),*) => { vec![$(stage::Told::from($told)),*] };
}

#[tokio::test]
async fn a_new_visitors_first_click_changes_the_next_order() {
    let mut stage = Stage::new(&["red 1", "blue 2", "red 3", "blue 4", "red 5", "blue 6"]);
    stage.start().await;
    let ask = query(Some(Shopper::visitor("ann")), &stage.products);
    let before = order(&stage.args.view.rank(&ask));
    assert_eq!(before, [0, 1, 2, 3, 4, 5], "nothing is known: everybody's order is the proposer's");

    // Others buy everything alike: from that the shop knows which colours there are.
    let bought = stage.products.clone();
    stage.happen(bought.iter().map(|product| event("other", EventKind::Purchase, product.as_str())).collect()).await;
    assert_eq!(order(&stage.args.view.rank(&ask)), before);
    stage.happen(vec![click("ann", "blue 4")]).await;
    let after = stage.args.view.rank(&ask);
    assert!(order(&after).iter().take(3).all(|at| at % 2 == 1), "{after:?}");
    assert!(after[0].shares.iter().any(|(name, share)| *name == "attributes" && *share > 0.0), "{:?}", after[0].shares);
    assert_eq!(after.iter().map(|ranked| ranked.at).collect::<std::collections::BTreeSet<_>>().len(), 6);
    let everybody = order(&stage.args.view.rank(&query(None, &stage.products)));
    let stranger = order(&stage.args.view.rank(&query(Some(Shopper::visitor("bob")), &stage.products)));
    assert_eq!(everybody, stranger, "whoever is not known sees everybody's order");
    let mut indifferent = ask.clone();
    indifferent.strength = 0.0;
    assert_eq!(order(&stage.args.view.rank(&indifferent)), everybody);
    stage.scene.end().await;
}

#[tokio::test]
async fn what_the_visitor_did_is_the_users_after_the_login() {
    let mut stage = Stage::new(&["red 1", "blue 2"]);
    stage.start().await;
    stage.happen(told![event("ann", EventKind::Purchase, "blue 2"), served("t", "ann", &stage.products)]).await;
    let mut login = event("ann", EventKind::Identify, "");
    login.user = Some("17".into());
    // The click comes after, under the user's name, from the list that was shown to the visitor.
    let mut after = event("ann", EventKind::Click, "red 1");
    (after.user, after.attribution_token) = (Some("17".into()), Some("t".into()));
    stage.happen(vec![login, after]).await;
    assert_eq!(stage.args.view.profile(&Shopper::visitor("ann")), None);
    let user = stage.args.view.profile(&Shopper::user("17")).expect("known");
    assert_eq!((user.products_bought, user.products_seen), (1, 1));
    assert_eq!(stage.choices(), 1);
    let again = stage.args.view.buy_again(&Shopper::user("17"), NOW, 10);
    assert_eq!(again.iter().map(|due| due.product.as_str()).collect::<Vec<_>>(), ["blue 2"]);
    stage.checkpoint().await;
    assert_eq!(stage.stored_shoppers(), ["u:17"]);
    stage.scene.end().await;
}

#[tokio::test]
async fn an_erased_shopper_leaves_nothing_in_memory_or_store() {
    let mut stage = Stage::new(&["red 1", "blue 2"]);
    stage.start().await;
    stage.happen(told![click("ann", "red 1"), click("bob", "red 1"), served("t", "ann", &stage.products)]).await;
    stage.checkpoint().await;
    assert_eq!(stage.stored_shoppers(), ["v:ann", "v:bob"]);
    stage.happen(vec![click("ann", "blue 2")]).await;
    stage.erase("ann").await;
    assert_eq!(stage.args.view.profile(&Shopper::visitor("ann")), None, "in memory at once");
    // No interval passes: an erasure's checkpoint does not wait.
    stage.until(|stage| stage.stored() == stage.args.log.end()).await;
    assert_eq!(stage.stored_shoppers(), ["v:bob"]);
    assert!(!stage.args.view.profiles.is_in_memory(&Shopper::visitor("ann")));
    assert_eq!(stage.lists(), 0);
    let mut chosen = click("ann", "blue 2");
    chosen.attribution_token = Some("t".into());
    let before = stage.choices();
    stage.happen(vec![chosen]).await;
    assert_eq!(stage.choices(), before, "the list is forgotten as well");
    stage.scene.end().await;
}

#[tokio::test]
async fn robots_and_who_does_not_consent_leave_nothing() {
    let mut stage = Stage::new(&["red 1", "blue 2"]);
    stage.start().await;
    let nothing = stage.args.view.digest().expect("readable");
    let mut robot = click("robot", "red 1");
    robot.is_bot = true;
    let mut shy = click("shy", "red 1");
    shy.consent = Some(false);
    let mut shy_login = shy.clone();
    (shy_login.id, shy_login.user) = ("shy-2".into(), Some("7".into()));
    let mut nobody = click("x", "red 1");
    nobody.visitor = None;
    let seen = event("ann", EventKind::Impression, "red 1");
    stage.happen(vec![robot, shy, shy_login, nobody, seen]).await;
    assert_eq!(stage.args.view.digest().expect("readable"), nothing);
    stage.checkpoint().await;
    assert!(stage.stored_shoppers().is_empty());
    stage.scene.end().await;
}

#[tokio::test]
async fn choices_teach_weights_and_strategies() {
    let mut stage = Stage::new(&["red 1", "blue 2", "red 3"]);
    stage.start().await;
    for n in 0..30 {
        let shopper = format!("v{n}");
        let mut chosen = click(&shopper, "blue 2");
        chosen.attribution_token = Some(format!("t{n}"));
        let twice = event(&shopper, EventKind::AddToCart, "blue 2");
        stage.happen(told![served(&format!("t{n}"), &shopper, &stage.products), chosen, twice]).await;
    }
    assert_eq!(stage.choices(), 30);
    let counts = |arm: &str| stage.args.view.learned.read().expect("whole").bandit.counts(id("home"), id(arm));
    assert_eq!((counts("even"), counts("odd")), ((30, 0), (30, 30)));
    let view = &stage.args.view;
    let odd = (0..100).filter(|n| view.choose("home", &["even", "odd"], Some(&Shopper::user(&n.to_string())), NOW) == 1).count();
    assert!(odd > 90, "{odd}");
    let tried = view.places_to_try(20, 0.1, Some(&Shopper::user("1")), NOW);
    assert_eq!((tried.len(), &tried), (2, &view.places_to_try(20, 0.1, Some(&Shopper::user("1")), NOW + 5)));
    stage.scene.end().await;
}

#[tokio::test]
async fn a_product_that_the_catalog_does_not_know_works_by_its_id() {
    let mut stage = Stage::new(&[]);
    stage.start().await;
    stage.happen(vec![event("ann", EventKind::Purchase, "beyond 1")]).await;
    let ask = query(Some(Shopper::visitor("ann")), &["beyond 0", "beyond 1"].map(|name| name.parse().expect("an id")));
    assert_eq!(order(&stage.args.view.rank(&ask)), [1, 0]);
    stage.scene.end().await;
}

/// Everything that a history may hold.
fn history(stage: &Stage) -> Vec<stage::Told> {
    let mut told = Vec::new();
    for n in 0..120_usize {
        let shopper = format!("v{}", n % 7);
        let product = stage.products[n * 5 % stage.products.len()].as_str().to_owned();
        let kind = [EventKind::View, EventKind::Click, EventKind::AddToCart, EventKind::Purchase, EventKind::Dismiss, EventKind::Refund];
        let mut event = event(&shopper, kind[n % kind.len()], &product);
        (event.id, event.at_ms, event.received_at_ms) = (format!("e{n}"), NOW + n as i64 * 60_000, NOW + n as i64 * 60_000);
        if n % 3 == 0 {
            told.push(served(&format!("t{n}"), &shopper, &stage.products));
            event.attribution_token = Some(format!("t{n}"));
        }
        if n % 40 == 39 {
            event.user = Some(format!("u{}", n % 2));
        }
        told.push(event.into());
    }
    told
}

#[tokio::test]
async fn killed_anywhere_it_ends_where_a_rebuild_ends() {
    let products = ["red 1", "blue 2", "red 3", "blue 4", "green 5", "red 6", "blue 7"];
    let mut stage = Stage::new(&products);
    let told = history(&stage);
    let mut actor = stage.start().await;
    for (n, chunk) in told.chunks(9).enumerate() {
        stage.tell(chunk.to_vec()).await;
        if n % 4 == 1 {
            stage.erase("v3").await;
        }
        match n % 5 {
            0 => stage.caught_up().await,
            1 => stage.checkpoint().await,
            2 => {
                // The power goes: what memory holds is lost, and whatever the actor was at.
                actor.kill_and_wait(None).await.expect("killed");
                stage.forget_memory();
                actor = stage.start().await;
            }
            3 => {
                actor.kill_and_wait(None).await.expect("killed");
                actor = stage.start().await;
            }
            _ => {}
        }
    }
    stage.caught_up().await;
    let lived = stage.args.view.digest().expect("readable");
    stage.checkpoint().await;
    assert_eq!(stage.args.view.digest().expect("readable"), lived, "a checkpoint changes nothing");
    actor.kill_and_wait(None).await.expect("killed");
    stage.forget_memory();
    actor = stage.start().await;
    assert_eq!(stage.args.view.progress().get(), stage.args.log.end(), "nothing is left to be read again");
    assert_eq!(stage.args.view.digest().expect("readable"), lived, "from file and store");
    actor.kill_and_wait(None).await.expect("killed");

    stage.lose_everything();
    stage.start().await;
    stage.caught_up().await;
    assert_eq!(stage.args.view.digest().expect("readable"), lived, "from offset 0");
    stage.scene.end().await;
}

#[tokio::test]
async fn killed_between_the_file_and_the_commit_it_goes_on_from_the_pair_before() {
    let mut stage = Stage::new(&["red 1", "blue 2"]);
    let actor = stage.start().await;
    stage.happen(vec![click("ann", "red 1")]).await;
    stage.checkpoint().await;
    let mut second = click("ann", "blue 2");
    second.id = "second".into();
    stage.happen(vec![second]).await;
    let lived = stage.args.view.digest().expect("readable");
    // The file of the next checkpoint is there, but the commit never came.
    actor.kill_and_wait(None).await.expect("killed");
    let files = stage.files();
    files.write(stage.args.log.end(), b"whatever it says").expect("written");
    stage.forget_memory();
    stage.start().await;
    stage.caught_up().await;
    assert_eq!(stage.args.view.digest().expect("readable"), lived);
    assert_eq!(consumer::load_offset(&stage.store, NAME).ok(), Some(1));
    stage.checkpoint().await;
    assert_eq!(files.offsets().expect("readable"), [2]);
    stage.scene.end().await;
}

#[tokio::test]
async fn a_damaged_file_is_learned_anew() {
    let mut stage = Stage::new(&["red 1", "blue 2"]);
    let actor = stage.start().await;
    stage.happen(vec![click("ann", "red 1"), event("bob", EventKind::Purchase, "blue 2")]).await;
    stage.checkpoint().await;
    let lived = stage.args.view.digest().expect("readable");
    actor.kill_and_wait(None).await.expect("killed");
    stage.files().write(2, b"rubbish").expect("written");
    stage.forget_memory();
    stage.start().await;
    stage.caught_up().await;
    assert_eq!(stage.args.view.digest().expect("readable"), lived);
    stage.scene.end().await;
}

#[tokio::test]
async fn more_shoppers_than_memory_holds_are_read_from_the_store() {
    let mut stage = Stage::new(&["red 1", "blue 2"]);
    stage.args.config.dirty_profiles_max = 50;
    stage.start().await;
    for n in 0..300 {
        stage.tell(vec![click(&format!("v{n}"), if n % 2 == 0 { "red 1" } else { "blue 2" })]).await;
    }
    stage.caught_up().await;
    stage.checkpoint().await;
    let view = &stage.args.view;
    assert!(view.profiles.in_memory() <= stage.args.config.profiles_max, "{}", view.profiles.in_memory());
    for n in 0..300 {
        let ask = query(Some(Shopper::visitor(&format!("v{n}"))), &stage.products);
        assert_eq!(order(&view.rank(&ask))[0], n % 2, "{n}");
    }
    stage.scene.end().await;
}

#[tokio::test]
async fn a_poisoned_store_ends_the_actor_and_nothing_is_lost() {
    let mut stage = Stage::new(&["red 1"]);
    stage.args.config.dirty_profiles_max = 2;
    let actor = stage.start().await;
    stage.happen(vec![click("ann", "red 1")]).await;
    stage.store.fail("the disk is gone");
    stage.tell(vec![click("bob", "red 1")]).await;
    stage.until(|_| actor.get_status() == ractor::ActorStatus::Stopped).await;
    assert!(stage.args.view.profile(&Shopper::visitor("ann")).is_some(), "readers see what there was");
    stage.scene.end().await;
}
