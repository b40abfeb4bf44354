//! Queries alone and during an import, on the schedule and on two pools of threads that know nothing of one another. Run by hand, on an
//! otherwise idle machine with models and the shared photos:
//! `cargo test --release -p vision bench -- --ignored --nocapture`, with `GOTHAM_BENCH_SECONDS` for each line, on the GPU with
//! `GOTHAM_BENCH_GPU=1`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kit::{Context, Priority, Workers};
use protocol::vision::Space;

use super::super::Scheduler;
use crate::config::Config;
use crate::devices::{DeviceSetting, Devices};
use crate::effects::query::picture_input;
use crate::embedder::{self, Embedder, Input, InstalledModels, ModelSource as _};
use crate::logic::preprocessing::Preprocessing;
use crate::logic::schedule::{Effort, Lane};

const TITLES: [&str; 6] = [
    "red running shoes",
    "a warm winter coat for women",
    "Nikon 35mm camera",
    "blue denim jeans",
    "leather wallet",
    "summer dress with flowers",
];

type Job = Box<dyn FnOnce() + Send>;

/// What embeds in one of the two ways.
enum Way {
    Schedule(Scheduler),
    /// One pool for queries, two threads; one for imports, a thread for each core; every query and batch is a job.
    Pools {
        queries: Workers<Job, ()>,
        imports: Workers<Job, ()>,
    },
}

struct Bench {
    way: Way,
    config: Config,
    models: [Option<Arc<dyn Embedder>>; 2],
    photos: Vec<Vec<u8>>,
    cores: usize,
}

fn context() -> Context {
    Context::new(Priority::Serving, Duration::from_secs(30))
}

fn prepared(config: &Config, photos: &[Vec<u8>], space: Space, at: usize) -> Input {
    match space {
        Space::Image => picture_input(config, &Preprocessing::LITE0, &photos[at % photos.len()]).expect("a picture"),
        Space::Text => Input::Text(format!("{} {at}", TITLES[at % TITLES.len()])),
    }
}

impl Bench {
    fn model(&self, space: Space) -> &Arc<dyn Embedder> {
        self.models[usize::from(space == Space::Text)].as_ref().expect("loaded")
    }

    async fn query(self: &Arc<Self>, space: Space, at: usize) -> bool {
        let this = Arc::clone(self);
        match &self.way {
            Way::Schedule(scheduler) => {
                let effort = if space == Space::Text { Effort::Glance } else { Effort::Heavy };
                let handle = scheduler.handle().clone();
                let work = move |turn| {
                    let input = prepared(&this.config, &this.photos, space, at);
                    handle.submit(this.model(space), Lane::Query, &context(), vec![input], Some(turn)).remove(0)
                };
                let Ok(answer) = scheduler.handle().run(Lane::Query, effort, &context(), work).await else { return false };
                answer.await.is_ok_and(|answer| answer.is_ok())
            }
            Way::Pools { queries, .. } => {
                let work = move || {
                    let input = prepared(&this.config, &this.photos, space, at);
                    embedder::embed(this.model(space).as_ref(), &[input]).expect("a vector");
                };
                queries.run(&context(), Box::new(work)).await.is_ok()
            }
        }
    }

    /// Imports pictures until it is told to stop; gives their number.
    async fn import(self: Arc<Self>, stop: Arc<AtomicBool>) -> u64 {
        let done = Arc::new(AtomicU64::new(0));
        let stream = async |lane: usize| {
            for at in (lane..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                let this = Arc::clone(&self);
                match &self.way {
                    Way::Schedule(scheduler) => {
                        let work = move |_| prepared(&this.config, &this.photos, Space::Image, at);
                        let input = scheduler.handle().run(Lane::Import, Effort::Heavy, &context(), work).await.expect("decoded");
                        let answer = scheduler.handle().submit(self.model(Space::Image), Lane::Import, &context(), vec![input], None);
                        for one in answer {
                            assert!(one.await.is_ok_and(|one| one.is_ok()));
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Way::Pools { imports, .. } => {
                        // Eight at a time, as batches of eight were.
                        let work = move || {
                            let inputs: Vec<Input> =
                                (0..8).map(|more| prepared(&this.config, &this.photos, Space::Image, at + more)).collect();
                            embedder::embed(this.model(Space::Image).as_ref(), &inputs).expect("vectors");
                        };
                        imports.run(&context(), Box::new(work)).await.expect("embedded");
                        done.fetch_add(8, Ordering::Relaxed);
                    }
                }
            }
        };
        let streams = if matches!(self.way, Way::Pools { .. }) { 2 * self.cores } else { 8 * self.cores };
        futures_util::future::join_all((0..streams).map(stream)).await;
        done.load(Ordering::Relaxed)
    }

    /// Queries at random times, `per_second`; or, with 0, 16 askers who ask again at once.
    async fn measure(self: &Arc<Self>, space: Space, per_second: f64, has_import: bool, seconds: f64) -> String {
        for at in 0..8 {
            assert!(self.query(space, at).await);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let import = has_import.then(|| tokio::spawn(Arc::clone(self).import(Arc::clone(&stop))));
        let began = Instant::now();
        let mut random: u64 = 88_172_645_463_325_252;
        let mut asked = Vec::new();
        let ask = |at: usize| {
            let this = Arc::clone(self);
            async move {
                let started = Instant::now();
                this.query(space, at).await.then(|| started.elapsed().as_secs_f64() * 1e3)
            }
        };
        if per_second > 0.0 {
            let mut due = 0.0;
            while due < seconds {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                due += -(1.0 - (random >> 11) as f64 / (1_u64 << 53) as f64).ln() / per_second;
                tokio::time::sleep_until((began + Duration::from_secs_f64(due)).into()).await;
                asked.push(tokio::spawn(ask(asked.len())));
            }
        } else {
            let asker = |first: usize| async move {
                let mut times = vec![];
                while began.elapsed().as_secs_f64() < seconds {
                    times.push(ask(first + times.len()).await);
                }
                times
            };
            let times = futures_util::future::join_all((0..16).map(|first| asker(first * 1000))).await;
            asked.extend(times.into_iter().flatten().map(|time| tokio::spawn(async move { time })));
        }
        let mut times: Vec<f64> = Vec::new();
        for one in futures_util::future::join_all(asked).await {
            times.extend(one.expect("no panic"));
        }
        let took = began.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        let imported = if let Some(import) = import { import.await.expect("no panic") } else { 0 };
        let import_took = began.elapsed().as_secs_f64();
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN);
        format!(
            "{:.0} q/s, p50 {:.1} ms, p99 {:.1} ms, imported {:.1}/s",
            times.len() as f64 / took,
            at(0.5),
            at(0.99),
            imported as f64 / import_took
        )
    }
}

fn found() -> Option<(PathBuf, Vec<Vec<u8>>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let models = std::env::var_os("GOTHAM_MODELS").map_or_else(|| root.join("target/models"), PathBuf::from);
    let shared = std::env::var_os("GOTHAM_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    let photos = std::fs::read_dir(shared.join("reference/photos")).ok()?;
    let photos: Vec<Vec<u8>> = photos.filter_map(|photo| std::fs::read(photo.ok()?.path()).ok()).collect();
    Some((models, photos)).filter(|(_, photos)| !photos.is_empty())
}

#[test]
#[ignore = "a measurement, not a check"]
fn bench_of_queries_alone_and_during_an_import() {
    let Some((models_dir, photos)) = found() else { return eprintln!("SKIPPED: no shared data") };
    let is_gpu = std::env::var_os("GOTHAM_BENCH_GPU").is_some();
    let setting = if is_gpu { DeviceSetting::Gpu } else { DeviceSetting::Cpu };
    let source = InstalledModels::new(&models_dir).on(Devices::new(setting, None));
    let models = Space::ALL.map(|space| source.load(&source.installed(space)?).ok());
    for model in models.iter().flatten() {
        println!("{} on {:?}", model.info().name, model.device());
    }
    let seconds = std::env::var("GOTHAM_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5.0);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let pool = |name, threads| Workers::spawn(name, threads, 4096, |_| |_: &Context, job: Job| job()).expect("threads");
    let rates: [f64; 4] = [0.0, 4.0 * cores as f64, 20.0 * cores as f64, 60.0 * cores as f64];
    for (space, has_import, per_second) in [Space::Image, Space::Text]
        .into_iter()
        .flat_map(|space| [false, true].into_iter().flat_map(move |import| rates.map(|rate| (space, import, rate))))
    {
        if models[usize::from(space == Space::Text)].is_none() || (space == Space::Image && per_second > 40.0 * cores as f64) {
            continue;
        }
        for name in ["pools", "schedule"] {
            let config = Config::default();
            let way = if name == "pools" {
                Way::Pools { queries: pool("queries", 2), imports: pool("imports", cores) }
            } else {
                Way::Schedule(Scheduler::spawn(&config).expect("threads"))
            };
            let bench = Arc::new(Bench { way, config, models: models.clone(), photos: photos.clone(), cores });
            let result = runtime.block_on(bench.measure(space, per_second, has_import, seconds));
            let load = if per_second > 0.0 { format!("{per_second:.0} q/s offered") } else { "16 askers".to_owned() };
            let import = if has_import { "during an import" } else { "alone" };
            println!("{:5} {import:16} {load:18} {name:8} {result}", space.as_str());
        }
    }
}

/// How runs share the cores: side by side on one thread each, or one after the other on all.
#[test]
#[ignore = "a measurement, not a check"]
fn bench_of_runs_side_by_side_and_of_runs_over_all_cores() {
    let Some((models_dir, photos)) = found() else { return eprintln!("SKIPPED: no shared data") };
    let weights = models_dir.join("efficientnet-lite0/efficientnet-lite0-57934424.pth");
    let weights = crate::models::WeightFile::open(&weights).expect("the weights");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let Input::Picture(picture) = prepared(&Config::default(), &photos, Space::Image, 0) else { return };
    let runs = 256 / cores * cores;
    for (name, threads, batch) in
        [("side by side", 1, 1), ("side by side", 1, 8), ("all cores", cores, 2 * cores), ("all cores", cores, 8 * cores)]
    {
        let model = crate::models::load_image_model_on(&shaders::CpuExecutor::new(threads), &weights).expect("a model");
        let pixels = picture.0.repeat(batch);
        let side_by_side = cores / threads;
        for turn in 0..3 {
            let started = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..side_by_side {
                    scope.spawn(|| (0..runs / side_by_side / batch).for_each(|_| drop(model.embed(&pixels, batch).expect("vectors"))));
                }
            });
            let per_second = runs as f64 / started.elapsed().as_secs_f64();
            println!("{name:13} batch {batch:3} turn {turn}: {per_second:.1} pictures/s");
        }
    }
}
