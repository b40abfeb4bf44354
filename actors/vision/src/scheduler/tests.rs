//! The threads with made-up models that are slow, fail, run out of memory, hang or change their place when a test says so.

mod bench;
mod residents;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use kit::{Context, Priority, WorkError};
use protocol::vision::{ModelInfo, Space};
use tokio::sync::oneshot;

use super::{Answer, Refusal, Scheduler};
use crate::config::Config;
use crate::devices::DeviceState;
use crate::embedder::{EmbedError, Embedder, Input};
use crate::logic::schedule::{Effort, Lane, Place};

/// A door that runs wait at.
#[derive(Default)]
struct Gate {
    is_closed: Mutex<bool>,
    moved: Condvar,
}

impl Gate {
    fn set(&self, is_closed: bool) {
        *self.is_closed.lock().expect("no panic at a gate") = is_closed;
        self.moved.notify_all();
    }

    fn pass(&self) {
        let is_closed = self.is_closed.lock().expect("no panic at a gate");
        drop(self.moved.wait_while(is_closed, |is_closed| *is_closed).expect("no panic at a gate"));
    }
}

/// A model. Texts that contain `fails`, `crashes` or `odd` do so.
struct Fake {
    info: ModelInfo,
    gate: Gate,
    fits: AtomicUsize,
    is_on_gpu: AtomicBool,
    started: Mutex<mpsc::Sender<Vec<String>>>,
    threads: Mutex<Vec<String>>,
}

impl Fake {
    /// The model, and the texts of each of its runs as they start.
    fn new(name: &str) -> (Arc<Self>, mpsc::Receiver<Vec<String>>) {
        let (started, runs) = mpsc::channel();
        let info = ModelInfo { name: name.into(), space: Space::Text, dimensions: 2, fingerprint: name.into(), reads_texts: true };
        let fake = Self {
            info,
            gate: Gate::default(),
            fits: AtomicUsize::new(usize::MAX),
            is_on_gpu: AtomicBool::new(false),
            started: Mutex::new(started),
            threads: Mutex::default(),
        };
        (Arc::new(fake), runs)
    }
}

impl Embedder for Fake {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn embed(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let texts: Vec<String> =
            inputs.iter().map(|input| if let Input::Text(text) = input { text.clone() } else { String::new() }).collect();
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        self.threads.lock().expect("no panic").push(thread);
        let _ = self.started.lock().expect("no panic").send(texts.clone());
        self.gate.pass();
        if texts.len() > self.fits.load(Ordering::SeqCst) {
            return Err(EmbedError::OutOfMemory(format!("{} inputs", texts.len())));
        }
        if texts.iter().any(|text| text.contains("fails")) {
            return Err(EmbedError::Failed("it fails".into()));
        }
        assert!(!texts.iter().any(|text| text.contains("crashes")), "it crashes");
        Ok(texts.iter().map(|text| vec![if text.contains("odd") { f32::NAN } else { text.len() as f32 }, 0.0]).collect())
    }

    fn place(&self) -> Place {
        if self.is_on_gpu.load(Ordering::SeqCst) { Place::Gpu } else { Place::Cpu }
    }

    fn device(&self) -> DeviceState {
        DeviceState { name: "made up".into(), ..DeviceState::default() }
    }
}

/// Runs may take any time: tests do not depend on how busy the machine is.
fn config(threads: usize) -> Config {
    Config { threads, query_latency_target_ms: 60_000, import_share_min: 0.0, ..Config::default() }
}

fn context() -> Context {
    Context::new(Priority::Serving, Duration::from_secs(60))
}

fn submit(scheduler: &Scheduler, model: &Arc<Fake>, lane: Lane, texts: &[&str]) -> Vec<oneshot::Receiver<Answer>> {
    let embedder: Arc<dyn Embedder> = Arc::clone(model) as _;
    let inputs = texts.iter().map(|text| Input::Text((*text).to_owned())).collect();
    scheduler.handle().submit(&embedder, lane, &context(), inputs, None)
}

fn answers(receivers: Vec<oneshot::Receiver<Answer>>) -> Vec<Answer> {
    receivers.into_iter().map(|receiver| receiver.blocking_recv().expect("an answer")).collect()
}

/// A scheduler whose model has been run a few times, so that its times are known.
fn warm(config: &Config, model: &Arc<Fake>, runs: &mpsc::Receiver<Vec<String>>) -> Scheduler {
    let scheduler = Scheduler::spawn(config).expect("threads");
    for _ in 0..3 {
        assert!(answers(submit(&scheduler, model, Lane::Query, &["warm"]))[0].is_ok());
        assert_eq!(runs.recv().expect("a run"), ["warm"]);
    }
    scheduler
}

#[test]
fn queries_overtake_an_import_and_run_together() {
    let (model, runs) = Fake::new("a");
    let scheduler = warm(&config(1), &model, &runs);
    model.gate.set(true);
    let first = submit(&scheduler, &model, Lane::Import, &["import"]);
    assert_eq!(runs.recv().expect("a run"), ["import"]);
    let imports = submit(&scheduler, &model, Lane::Import, &["import 1", "import 2"]);
    let queries = ["query 1", "query 2", "query 3"].map(|text| submit(&scheduler, &model, Lane::Query, &[text]));
    model.gate.set(false);
    for one in queries.into_iter().chain([imports, first]) {
        assert!(answers(one).iter().all(Result::is_ok));
    }
    let order: Vec<Vec<String>> = runs.try_iter().collect();
    assert_eq!(order, [vec!["query 1", "query 2", "query 3"], vec!["import 1", "import 2"]]);
}

#[test]
fn a_bad_input_fails_alone() {
    let (model, runs) = Fake::new("a");
    let scheduler = warm(&config(2), &model, &runs);
    for lane in [Lane::Query, Lane::Import] {
        let texts = ["1", "2", "it fails", "4", "5", "it crashes", "7", "8", "odd", "10"];
        let answers = answers(submit(&scheduler, &model, lane, &texts));
        for (text, answer) in texts.iter().zip(&answers) {
            match *text {
                "it fails" => assert_eq!(answer, &Err(Refusal::Engine("it fails".into()))),
                "it crashes" => assert!(matches!(answer, Err(Refusal::Crashed(reason)) if reason.contains("it crashes")), "{answer:?}"),
                "odd" => assert!(matches!(answer, Err(Refusal::Engine(reason)) if reason.contains("length NaN")), "{answer:?}"),
                _ => assert_eq!(answer.as_deref().expect("a vector"), [1.0, 0.0]),
            }
        }
    }
}

#[test]
fn a_device_of_little_memory_gets_smaller_batches() {
    let (model, runs) = Fake::new("a");
    let scheduler = warm(&config(1), &model, &runs);
    model.fits.store(3, Ordering::SeqCst);
    let answers = answers(submit(&scheduler, &model, Lane::Import, &["x"; 40]));
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let sizes: Vec<usize> = runs.try_iter().map(|run| run.len()).collect();
    assert_eq!(sizes.iter().filter(|size| **size > 3).count(), 4, "40, 20, 10, 5: {sizes:?}");
    let status = &scheduler.handle().engines()[0];
    assert_eq!((status.model.as_str(), status.device.as_str(), status.out_of_memory, status.batch_max), ("a", "made up", 4, 2));
    assert!(status.per_second > 0.0 && status.query_p99_ms >= status.query_p50_ms && status.query_p50_ms.is_some());
    model.fits.store(0, Ordering::SeqCst);
    let [Err(Refusal::Engine(reason))] = &self::answers(submit(&scheduler, &model, Lane::Query, &["x"]))[..] else { panic!("it fits") };
    assert!(reason.starts_with("out of memory"), "{reason}");
}

#[test]
fn what_nobody_waits_for_and_what_is_too_late_is_not_run() {
    let (model, runs) = Fake::new("a");
    let scheduler = warm(&config(1), &model, &runs);
    model.gate.set(true);
    let first = submit(&scheduler, &model, Lane::Query, &["first"]);
    assert_eq!(runs.recv().expect("a run"), ["first"]);
    let mut given_up = submit(&scheduler, &model, Lane::Query, &["given up", "kept"]);
    drop(given_up.remove(0));
    let embedder: Arc<dyn Embedder> = Arc::clone(&model) as _;
    let past = Context::new(Priority::Serving, Duration::ZERO);
    let late = scheduler.handle().submit(&embedder, Lane::Query, &past, vec![Input::Text("late".into())], None);
    model.gate.set(false);
    assert!(answers(first)[0].is_ok() && answers(given_up)[0].is_ok());
    assert_eq!(answers(late), [Err(Refusal::Busy("not done in time".into()))]);
    assert_eq!(runs.try_iter().collect::<Vec<_>>(), [["kept"]]);
}

#[test]
fn a_full_queue_refuses_and_makes_room_of_what_is_given_up() {
    let (model, runs) = Fake::new("a");
    let scheduler = warm(&Config { query_queue_max: 64, ..config(1) }, &model, &runs);
    model.gate.set(true);
    let first = submit(&scheduler, &model, Lane::Query, &["first"]);
    runs.recv().expect("a run");
    let waiting = submit(&scheduler, &model, Lane::Query, &["x"; 64]);
    assert_eq!(answers(submit(&scheduler, &model, Lane::Query, &["y"])), [Err(Refusal::Busy("too much work waiting".into()))]);
    drop(waiting);
    let taken = submit(&scheduler, &model, Lane::Query, &["z"; 64]);
    model.gate.set(false);
    assert!(answers(taken).into_iter().chain(answers(first)).all(|answer| answer.is_ok()));
}

#[test]
fn a_run_that_hangs_holds_up_one_thread_and_nothing_else() {
    let (stuck, stuck_runs) = Fake::new("stuck");
    let (model, runs) = Fake::new("a");
    let scheduler = warm(&config(2), &model, &runs);
    stuck.gate.set(true);
    let hanging = submit(&scheduler, &stuck, Lane::Import, &["x"]);
    stuck_runs.recv().expect("a run");
    assert!(kit::worker::stuck_pools(Duration::ZERO).contains(&super::NAME), "the watchdog sees it");
    for lane in [Lane::Query, Lane::Import] {
        assert!(answers(submit(&scheduler, &model, lane, &["y"]))[0].is_ok());
    }
    stuck.gate.set(false);
    assert!(answers(hanging)[0].is_ok());
}

#[test]
fn a_model_that_leaves_its_gpu_goes_on_on_the_cpu() {
    let (model, runs) = Fake::new("a");
    model.is_on_gpu.store(true, Ordering::SeqCst);
    let scheduler = warm(&config(2), &model, &runs);
    model.gate.set(true);
    let first = submit(&scheduler, &model, Lane::Import, &["x"]);
    runs.recv().expect("a run");
    let waiting = submit(&scheduler, &model, Lane::Import, &["y", "z"]);
    // The device is lost during a run: what waits for it is done elsewhere.
    model.is_on_gpu.store(false, Ordering::SeqCst);
    model.gate.set(false);
    assert!(answers(first).into_iter().chain(answers(waiting)).all(|answer| answer.is_ok()));
    let threads = model.threads.lock().expect("no panic").clone();
    let on_gpu = threads.iter().filter(|thread| thread.starts_with("nightwing-gpu")).count();
    assert_eq!(on_gpu, 4, "{threads:?}");
    assert!(threads[4..].iter().all(|thread| thread.starts_with("nightwing-cpu")) && threads.len() > 4, "{threads:?}");
    model.is_on_gpu.store(true, Ordering::SeqCst);
    assert!(answers(submit(&scheduler, &model, Lane::Query, &["back"]))[0].is_ok());
    assert!(model.threads.lock().expect("no panic").last().is_some_and(|thread| thread.starts_with("nightwing-gpu")));
}

#[tokio::test]
async fn work_is_done_in_the_order_of_the_lanes_and_a_panic_ends_one_alone() {
    let scheduler = Scheduler::spawn(&config(1)).expect("threads");
    let handle = scheduler.handle().clone();
    let (order, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Gate::default()));
    gate.set(true);
    let (began, begins) = oneshot::channel();
    let work = |name: &'static str, began: Option<oneshot::Sender<()>>| {
        let (order, gate) = (Arc::clone(&order), Arc::clone(&gate));
        move |_| {
            began.into_iter().for_each(|began| began.send(()).expect("the test waits"));
            gate.pass();
            order.lock().expect("no panic").push(name);
        }
    };
    let context = context();
    let (threads, theirs, work_of_first) = (handle.clone(), context.clone(), work("first", Some(began)));
    let first = tokio::spawn(async move { threads.run(Lane::Import, Effort::Heavy, &theirs, work_of_first).await });
    begins.await.expect("it begins");
    let import = handle.run(Lane::Import, Effort::Heavy, &context, work("import", None));
    let query = handle.run(Lane::Query, Effort::Heavy, &context, work("query", None));
    let glance = handle.run(Lane::Query, Effort::Glance, &context, work("glance", None));
    let panics = handle.run(Lane::Query, Effort::Heavy, &context, |_| panic!("not this one"));
    // Polled last, when all the others wait.
    let open = async { gate.set(false) };
    let (import, query, glance, panics, ()) = tokio::join!(import, query, glance, panics, open);
    assert_eq!([first.await.expect("no panic"), import, query, glance], [Ok(()), Ok(()), Ok(()), Ok(())]);
    assert_eq!(panics, Err::<(), _>(WorkError::Panicked { pool: super::NAME, message: "not this one".into() }));
    assert_eq!(*order.lock().expect("no panic"), ["first", "glance", "query", "import"]);
    let late = Context::new(Priority::Bulk, Duration::ZERO);
    let never = handle.run(Lane::Import, Effort::Heavy, &late, |_| panic!("must not run")).await;
    assert_eq!(never, Err::<(), _>(WorkError::DeadlineExceeded { pool: super::NAME }));
    drop(scheduler);
    let stopped = handle.run(Lane::Query, Effort::Glance, &context, |_| ()).await;
    assert_eq!(stopped, Err(WorkError::Stopped { pool: super::NAME }));
}

#[test]
fn who_waits_hears_that_the_threads_stop() {
    let (model, runs) = Fake::new("a");
    let scheduler = warm(&config(1), &model, &runs);
    model.gate.set(true);
    let first = submit(&scheduler, &model, Lane::Query, &["first"]);
    runs.recv().expect("a run");
    let waiting = submit(&scheduler, &model, Lane::Query, &["never"]).remove(0);
    let stopping = std::thread::spawn(move || drop(scheduler));
    model.gate.set(false);
    stopping.join().expect("no panic");
    assert!(answers(first)[0].is_ok());
    // It was run before the threads saw that they stop, or it is given up; it is not left waiting.
    assert!(waiting.blocking_recv().is_err() || runs.try_iter().any(|run| run == ["never"]));
}
