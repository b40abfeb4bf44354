//! The supervisor's promises, each by name, in paused time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::address::CallError;
use crate::clock::ManualClock;
use crate::context::{Context, Priority};

enum Msg {
    Count(Reply<usize>),
    Panic,
    Fail,
    Stop,
}

/// Shared over restarts, so that a test can see them.
#[derive(Clone, Default)]
struct Shared {
    starts: Arc<AtomicUsize>,
    failing_starts: Arc<AtomicUsize>,
    log: Arc<Mutex<Vec<&'static str>>>,
}

struct Counter(&'static str);

impl Actor for Counter {
    type Msg = Mail<Msg>;
    type State = usize;
    type Arguments = Shared;

    async fn pre_start(&self, _: ActorRef<Mail<Msg>>, shared: Shared) -> Result<usize, ActorProcessingErr> {
        shared.starts.fetch_add(1, Ordering::SeqCst);
        shared.log.lock().expect("log").push(self.0);
        let left = shared.failing_starts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() { Err("not yet".into()) } else { Ok(0) }
    }

    async fn handle(&self, myself: ActorRef<Mail<Msg>>, mail: Mail<Msg>, count: &mut usize) -> Result<(), ActorProcessingErr> {
        let Some((_, message)) = mail.open() else { return Ok(()) };
        match message {
            Msg::Count(reply) => {
                *count += 1;
                reply.send(*count);
                Ok(())
            }
            Msg::Panic => panic!("on purpose"),
            Msg::Fail => Err("on purpose".into()),
            Msg::Stop => {
                myself.stop(None);
                Ok(())
            }
        }
    }
}

struct House {
    tree: Tree,
    board: Board,
    addresses: Vec<Address<Msg>>,
    shared: Vec<Shared>,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

async fn house(policy: RestartPolicy) -> House {
    house_where(policy, |_| ()).await
}

async fn house_where(policy: RestartPolicy, prepare: impl Fn(&[Shared])) -> House {
    let board = Board::new(Arc::new(ManualClock::new(0)));
    let addresses: Vec<Address<Msg>> = NAMES.iter().map(|name| Address::new(name, 8)).collect();
    let log = Arc::<Mutex<Vec<&'static str>>>::default();
    let shared: Vec<Shared> = NAMES.iter().map(|_| Shared { log: Arc::clone(&log), ..Shared::default() }).collect();
    prepare(&shared);
    let children = addresses.iter().zip(&shared).map(|(address, shared)| {
        let (name, shared) = (address.name(), shared.clone());
        ChildSpec::actor(address, "counts", move || (Counter(name), shared.clone()))
    });
    let tree = Tree::start(SupervisorArgs { children: children.collect(), policy, board: board.clone() }).await.expect("the root starts");
    House { tree, board, addresses, shared }
}

fn context() -> Context {
    Context::new(Priority::Serving, Duration::from_secs(1))
}

impl House {
    /// Asks until the actor answers; paused time passes meanwhile.
    async fn count(&self, index: usize) -> usize {
        loop {
            match self.addresses[index].call(&context(), Msg::Count).await {
                Ok(count) => return count,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    fn starts(&self) -> Vec<usize> {
        self.shared.iter().map(|shared| shared.starts.load(Ordering::SeqCst)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_child_comes_back_behind_the_same_address_and_its_siblings_go_on() {
    type Blow = fn(&House);
    let blows: [(&str, Blow); 4] = [
        ("panic", |house| house.addresses[1].cast(&context(), Msg::Panic).expect("sent")),
        ("error", |house| house.addresses[1].cast(&context(), Msg::Fail).expect("sent")),
        ("stop", |house| house.addresses[1].cast(&context(), Msg::Stop).expect("sent")),
        ("kill", |house| house.addresses[1].kill()),
    ];
    for (name, blow) in blows {
        let house = house(RestartPolicy::default()).await;
        assert_eq!((house.count(0).await, house.count(1).await, house.count(2).await), (1, 1, 1), "{name}");
        blow(&house);
        while house.starts()[1] == 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(house.count(1).await, 1, "{name}: a restarted actor starts afresh");
        assert_eq!((house.count(0).await, house.count(2).await), (2, 2), "{name}: siblings keep their state");
        assert_eq!(house.starts(), [1, 2, 1], "{name}");
        let status = &house.board.statuses()[1];
        assert_eq!((status.state, status.restarts), (ActorState::Running, 1), "{name}");
        assert!(status.last_error.is_some(), "{name}");
        house.tree.shut_down().await;
    }
}

#[tokio::test(start_paused = true)]
async fn callers_see_unavailable_while_the_actor_is_down() {
    let policy = RestartPolicy { backoff_min: Duration::from_secs(5), ..RestartPolicy::default() };
    let house = house(policy).await;
    house.count(0).await;
    house.addresses[0].cast(&context(), Msg::Panic).expect("sent");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answer = house.addresses[0].call(&context(), Msg::Count).await;
    assert_eq!(answer, Err(CallError::Unavailable { actor: "a" }));
    assert_eq!(house.board.not_running(), ["a"]);
    assert_eq!(house.count(0).await, 1);
    house.tree.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_restarts_those_that_were_started_later() {
    let house = house(RestartPolicy { strategy: Strategy::RestForOne, ..RestartPolicy::default() }).await;
    house.count(2).await;
    house.addresses[1].cast(&context(), Msg::Panic).expect("sent");
    while house.starts()[2] == 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(house.count(2).await, 1);
    assert_eq!(house.starts(), [1, 2, 2]);
    house.tree.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_whose_start_fails_is_tried_again_and_those_behind_it_wait() {
    let house = house_where(RestartPolicy::default(), |shared| shared[0].failing_starts.store(3, Ordering::SeqCst)).await;
    assert_eq!(house.count(2).await, 1);
    assert_eq!(house.starts(), [4, 1, 1]);
    assert_eq!(*house.shared[0].log.lock().expect("log"), ["a", "a", "a", "a", "b", "c"]);
    house.tree.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn too_many_restarts_in_the_window_end_the_root_and_slow_ones_do_not() {
    let policy = RestartPolicy { restarts_max: 3, window: Duration::from_secs(10), ..RestartPolicy::default() };
    let mut house = house(policy).await;
    for _ in 0..6 {
        house.count(0).await;
        house.addresses[0].cast(&context(), Msg::Panic).expect("sent");
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    for _ in 0..4 {
        house.count(0).await;
        house.addresses[0].cast(&context(), Msg::Panic).expect("sent");
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(60), house.tree.failed()).await.expect("the root ends");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_gives_up_is_restarted_by_its_parent() {
    let board = Board::new(Arc::new(ManualClock::new(0)));
    let address: Address<Msg> = Address::new("inner", 8);
    let shared = Shared::default();
    let child = {
        let shared = shared.clone();
        ChildSpec::actor(&address, "counts", move || (Counter("inner"), shared.clone()))
    };
    let strict = RestartPolicy { restarts_max: 0, ..RestartPolicy::default() };
    let group = ChildSpec::group("group", "one counter", SupervisorArgs { children: vec![child], policy: strict, board: board.clone() });
    let tree = Tree::start(SupervisorArgs { children: vec![group], policy: RestartPolicy::default(), board: board.clone() })
        .await
        .expect("the root starts");
    for expected in 1..=3 {
        while address.call(&context(), Msg::Count).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(shared.starts.load(Ordering::SeqCst), expected);
        address.kill();
        while address.is_connected() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let restarts: Vec<_> = board.statuses().iter().map(|status| (status.name, status.restarts)).collect();
    assert!(restarts.contains(&("group", 2)), "{restarts:?}");
    tree.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_works_off_the_mailboxes_and_marks_everyone_stopped() {
    let house = house(RestartPolicy::default()).await;
    house.count(2).await;
    let (reply, answer) = Reply::channel();
    house.addresses[2].cast(&context(), Msg::Count(reply)).expect("sent");
    let House { tree, board, addresses, .. } = house;
    tree.shut_down().await;
    assert_eq!(answer.await, Ok(2), "a message sent before the shutdown is answered");
    assert!(board.statuses().iter().all(|status| status.state == ActorState::Stopped));
    assert!(addresses.iter().all(|address| !address.is_connected()));
}

#[test]
fn backoff_doubles_up_to_its_bound() {
    let policy = RestartPolicy { backoff_min: Duration::from_millis(100), backoff_max: Duration::from_secs(3), ..RestartPolicy::default() };
    let waits: Vec<u128> = (0..7).map(|earlier| policy.backoff(earlier, 0.0).as_millis()).collect();
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3000, 3000]);
    assert_eq!(policy.backoff(3, 1.0).as_millis(), 400);
    assert_eq!(policy.backoff(usize::MAX, 0.0), policy.backoff_max);
}

#[tokio::test(start_paused = true)]
async fn a_group_starts_only_when_the_group_before_it_is_up() {
    let board = Board::new(Arc::new(ManualClock::new(0)));
    let log = Arc::<Mutex<Vec<&'static str>>>::default();
    let group = |group: &'static str, name: &'static str, failing_starts: usize| {
        let shared = Shared { log: Arc::clone(&log), failing_starts: Arc::new(AtomicUsize::new(failing_starts)), ..Shared::default() };
        let child = ChildSpec::actor(&Address::new(name, 8), "counts", move || (Counter(name), shared.clone()));
        ChildSpec::group(
            group,
            "one counter",
            SupervisorArgs { children: vec![child], policy: RestartPolicy::default(), board: board.clone() },
        )
    };
    let children = vec![group("first", "a", 2), group("second", "b", 0)];
    let tree =
        Tree::start(SupervisorArgs { children, policy: RestartPolicy::default(), board: board.clone() }).await.expect("the root starts");
    while log.lock().expect("log").len() < 4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(*log.lock().expect("log"), ["a", "a", "a", "b"]);
    tree.shut_down().await;
}
