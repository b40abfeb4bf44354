//! A device that fails on command, and a real one that is destroyed.

use super::*;
use crate::gpu::{AdapterChoice, Precision};
use crate::synthetic::{small_text, small_texts};
use std::sync::atomic::{AtomicU64, AtomicUsize};

/// What the pretended device does with its next runs; when empty it works.
#[derive(Default)]
struct Script {
    errors: Mutex<Vec<RunError>>,
    /// Most items that fit; 0: any number.
    items_max: AtomicUsize,
    /// What opening says; empty: it works.
    openings: Mutex<Vec<GpuError>>,
    opened: AtomicUsize,
    largest: AtomicUsize,
    unfit: bool,
    leaves_half: AtomicBool,
}

/// Runs on the CPU, as the script says.
struct Pretended(Arc<Script>);

struct PretendedProgram(Arc<Script>, Arc<dyn Program>);

impl Executor for Pretended {
    fn describe(&self) -> String {
        "pretended".into()
    }

    fn prepare(&self, plan: Plan) -> Result<Arc<dyn Program>, PlanError> {
        if self.0.unfit {
            return Err(PlanError::Plan { name: plan.name().to_owned(), reason: "too large".into() });
        }
        Ok(Arc::new(PretendedProgram(Arc::clone(&self.0), CpuExecutor::new(1).prepare(plan)?)))
    }
}

impl Program for PretendedProgram {
    fn run(&self, input: Input<'_>) -> Result<Vec<Vec<f32>>, RunError> {
        if let Some(error) = self.0.errors.lock().expect("not poisoned").pop() {
            return Err(error);
        }
        let Input::Tokens(texts) = input else { return self.1.run(input) };
        let items_max = self.0.items_max.load(Ordering::Relaxed);
        if items_max > 0 && texts.len() > items_max {
            return Err(RunError::OutOfMemory("full".into()));
        }
        self.0.largest.fetch_max(texts.len(), Ordering::Relaxed);
        self.1.run(input)
    }

    fn memory_bytes(&self) -> u64 {
        7
    }

    fn has_left_half_precision(&self) -> bool {
        self.0.leaves_half.load(Ordering::Relaxed)
    }
}

/// An executor over a pretended device, its clock in seconds, and what it has told.
struct House {
    failover: Failover,
    seconds: Arc<AtomicU64>,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl House {
    fn new(script: &Arc<Script>) -> House {
        let seconds = Arc::new(AtomicU64::new(1000));
        let notices = Arc::new(Mutex::new(Vec::new()));
        let (time, heard, script) = (Arc::clone(&seconds), Arc::clone(&notices), Arc::clone(script));
        let open = move || match script.openings.lock().expect("not poisoned").pop() {
            Some(error) => Err(error),
            None => {
                script.opened.fetch_add(1, Ordering::Relaxed);
                Ok(Arc::new(Pretended(Arc::clone(&script))) as Arc<dyn Executor>)
            }
        };
        let failover = Failover::new(
            Arc::new(CpuExecutor::new(1)),
            open,
            move || Duration::from_secs(time.load(Ordering::Relaxed)),
            move |notice| heard.lock().expect("not poisoned").push(notice.clone()),
        );
        House { failover, seconds, notices }
    }

    fn program(&self) -> Arc<dyn Program> {
        self.failover.prepare(small_text().expect("valid")).expect("has outputs")
    }

    fn told(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock().expect("not poisoned"))
    }

    fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    fn backend(&self) -> Backend {
        self.failover.state().backend
    }
}

/// Runs twelve texts; whoever answers, the answer is the CPU's.
fn run(program: &dyn Program) {
    let texts = small_texts(12);
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let want = CpuExecutor::new(1).prepare(small_text().expect("valid")).expect("has outputs").run(Input::Tokens(&texts)).expect("fits");
    let got = program.run(Input::Tokens(&texts)).expect("answers");
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(&want) {
        assert_eq!(got.len(), want.len());
        assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-4));
    }
}

fn lost() -> RunError {
    RunError::Device("gone".into())
}

#[test]
fn a_failure_moves_the_same_call_to_the_cpu_and_the_device_comes_back_after_a_pause() {
    let script = Arc::new(Script::default());
    let house = House::new(&script);
    assert_eq!(house.told(), [Notice::ToGpu { device: "pretended".into() }]);
    let program = house.program();
    run(program.as_ref());
    assert_eq!(program.memory_bytes(), 7, "the CPU's copy is not made before it is needed");

    script.errors.lock().expect("not poisoned").push(lost());
    run(program.as_ref());
    assert_eq!(house.told(), [Notice::ToCpu { error: "gone".into() }], "told once");
    let state = house.failover.state();
    assert_eq!((state.backend, state.failures, state.last_error.as_deref()), (Backend::Cpu, 1, Some("gone")));
    assert_eq!(state.retry_after, Some(PAUSE));

    house.pass(59);
    run(program.as_ref());
    house.failover.settle();
    assert_eq!((house.backend(), script.opened.load(Ordering::Relaxed)), (Backend::Cpu, 1));
    house.pass(1);
    run(program.as_ref());
    house.failover.settle();
    assert_eq!(house.told(), [Notice::ToGpu { device: "pretended".into() }]);
    script.largest.store(0, Ordering::Relaxed);
    run(program.as_ref());
    assert_eq!((house.backend(), script.largest.load(Ordering::Relaxed)), (Backend::Gpu, 12), "the device runs it again");
}

#[test]
fn pauses_double_to_ten_minutes_and_begin_anew_after_success() {
    let script = Arc::new(Script::default());
    let house = House::new(&script);
    let program = house.program();
    script.errors.lock().expect("not poisoned").push(lost());
    run(program.as_ref());
    for pause in [60, 120, 240, 480, 600, 600] {
        assert_eq!(house.failover.state().retry_after, Some(Duration::from_secs(pause)));
        script.openings.lock().expect("not poisoned").push(GpuError::Open("not yet".into()));
        house.pass(pause);
        run(program.as_ref());
        house.failover.settle();
    }
    assert_eq!(house.failover.state().last_error.as_deref(), Some("the graphics device cannot be opened: not yet"));
    house.pass(600);
    run(program.as_ref());
    house.failover.settle();
    run(program.as_ref());
    script.errors.lock().expect("not poisoned").push(lost());
    run(program.as_ref());
    assert_eq!(house.failover.state().retry_after, Some(PAUSE));
}

#[test]
fn full_memory_halves_the_batch_and_is_remembered() {
    let script = Arc::new(Script::default());
    script.items_max.store(4, Ordering::Relaxed);
    let house = House::new(&script);
    let program = house.program();
    run(program.as_ref());
    let less = |items_max| Notice::LessMemory { plan: "small text".into(), items_max };
    assert_eq!(house.told()[1..], [less(6), less(3)]);
    run(program.as_ref());
    assert_eq!(house.told(), []);
    let state = house.failover.state();
    assert_eq!((state.backend, state.memory_shortages, state.failures), (Backend::Gpu, 2, 0));
    assert_eq!(script.largest.load(Ordering::Relaxed), 3);
}

#[test]
fn more_is_tried_after_a_pause_that_doubles_while_it_fails() {
    let script = Arc::new(Script::default());
    script.items_max.store(4, Ordering::Relaxed);
    let house = House::new(&script);
    let program = house.program();
    let less = |items_max| Notice::LessMemory { plan: "small text".into(), items_max };
    let more = |items_max| Notice::MoreMemory { plan: "small text".into(), items_max };
    run(program.as_ref());
    assert_eq!(house.told()[1..], [less(6), less(3)]);
    for pause in [60, 120, 240, 480, 600, 600] {
        house.pass(pause - 1);
        run(program.as_ref());
        assert_eq!(house.told(), [], "too early");
        house.pass(1);
        run(program.as_ref());
        assert_eq!(house.told(), [more(6), less(3)]);
    }
    // Another process has gone: everything fits again, step by step.
    script.items_max.store(0, Ordering::Relaxed);
    house.pass(600);
    run(program.as_ref());
    assert_eq!((house.told(), script.largest.load(Ordering::Relaxed)), (vec![more(6)], 6));
    house.pass(600);
    run(program.as_ref());
    assert_eq!((house.told(), script.largest.load(Ordering::Relaxed)), (vec![more(usize::MAX)], 12));
    house.pass(10_000);
    run(program.as_ref());
    assert_eq!(house.told(), []);
}

#[test]
fn a_plan_that_leaves_half_precision_is_told_once_and_one_that_the_device_cannot_run_is_left() {
    let script = Arc::new(Script::default());
    let house = House::new(&script);
    let program = house.program();
    house.told();
    script.leaves_half.store(true, Ordering::Relaxed);
    run(program.as_ref());
    run(program.as_ref());
    assert_eq!(house.told(), [Notice::SinglePrecision { plan: "small text".into() }]);
    assert!(program.has_left_half_precision());
    script.errors.lock().expect("not poisoned").push(RunError::Unfit("no".into()));
    run(program.as_ref());
    assert_eq!(house.told(), [Notice::Unfit { plan: "small text".into(), error: "no".into() }]);
    script.largest.store(0, Ordering::Relaxed);
    run(program.as_ref());
    assert_eq!((house.backend(), script.largest.load(Ordering::Relaxed)), (Backend::Gpu, 0), "the CPU runs it, the device stays");
}

#[test]
fn without_room_for_one_item_the_cpu_answers_and_the_device_stays() {
    let script = Arc::new(Script::default());
    let house = House::new(&script);
    let program = house.program();
    *script.errors.lock().expect("not poisoned") = vec![RunError::OutOfMemory("full".into()); 8];
    run(program.as_ref());
    assert_eq!((house.backend(), house.failover.state().memory_shortages), (Backend::Gpu, 4));
}

#[test]
fn a_plan_that_does_not_fit_the_device_runs_on_the_cpu() {
    let script = Arc::new(Script { unfit: true, ..Script::default() });
    let house = House::new(&script);
    let program = house.program();
    run(program.as_ref());
    let unfit = Notice::Unfit { plan: "small text".into(), error: "plan small text: too large".into() };
    assert_eq!(house.told()[1..], [unfit], "told once");
}

#[test]
fn a_machine_without_a_device_is_not_asked_again() {
    let script = Arc::new(Script::default());
    script.openings.lock().expect("not poisoned").push(GpuError::NoAdapter);
    let house = House::new(&script);
    let program = house.program();
    house.pass(100_000);
    run(program.as_ref());
    house.failover.settle();
    assert_eq!((house.backend(), script.opened.load(Ordering::Relaxed)), (Backend::Cpu, 0));
    assert_eq!((house.told(), house.failover.state().retry_after), (vec![], None));
}

#[test]
fn wrong_inputs_are_refused_by_either_side() {
    let house = House::new(&Arc::default());
    assert_eq!(house.program().run(Input::Pixels(&[])), Err(RunError::Kind));
    assert_eq!((house.backend(), house.failover.state().failures), (Backend::Gpu, 0));
}

#[test]
fn a_destroyed_device_is_left() {
    let options =
        GpuOptions { adapter: AdapterChoice::Software, precision: Some(Precision::F32), measure_seconds_max: 0.0, ..GpuOptions::default() };
    let executor = match GpuExecutor::open(options) {
        Ok(executor) => Arc::new(executor),
        Err(GpuError::NoAdapter) if std::env::var_os("GOTHAM_REQUIRE_GPU_TESTS").is_none() => {
            eprintln!("SKIPPED: no software Vulkan driver");
            return;
        }
        Err(error) => panic!("the software driver is needed: {error}"),
    };
    let opened = Arc::clone(&executor);
    let open = move || Ok(Arc::clone(&opened) as Arc<dyn Executor>);
    let failover = Failover::new(Arc::new(CpuExecutor::new(1)), open, || Duration::ZERO, |_| {});
    let program = failover.prepare(small_text().expect("valid")).expect("has outputs");
    run(program.as_ref());
    assert_eq!(failover.state().backend, Backend::Gpu);
    executor.lose();
    run(program.as_ref());
    let state = failover.state();
    assert_eq!((state.backend, state.failures), (Backend::Cpu, 1), "{state:?}");
}
