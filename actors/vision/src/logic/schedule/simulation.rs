//! The schedule in front of devices of some speed, over simulated time: what holds whatever comes, and what latency is reached.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::measured;
use super::*;

const MS: Micros = 1_000;
const SECOND: Micros = 1_000_000;

/// A repeatable source of numbers below 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Time until the next of a Poisson stream.
    fn interval(&mut self, per_second: f64) -> Micros {
        if per_second <= 0.0 { Micros::MAX / 2 } else { (-(1.0 - self.next()).ln() / per_second * SECOND as f64) as Micros }
    }
}

#[derive(Clone, Copy)]
struct Scene {
    place: Place,
    threads: usize,
    /// A run of `n` takes `fixed + n * each` microseconds, behind `n * send` on the way to a GPU, which may compute another meanwhile.
    fixed: Micros,
    each: Micros,
    send: Micros,
    queries_per_second: f64,
    has_import: bool,
    share: f64,
    seconds: u64,
}

#[derive(Default)]
struct Seen {
    latencies: Vec<Micros>,
    imported: u64,
    query_runs: u64,
    /// Of imports' runs, and of queries', in microseconds.
    import_us: u64,
    query_us: u64,
    /// The most imports' runs that stood between a query and its run, those left out that began when it had missed the target.
    imports_before_max: usize,
    /// And how long all of them took together.
    imports_us_before_max: Micros,
}

impl Seen {
    fn p99(&mut self) -> Micros {
        self.latencies.sort_unstable();
        self.latencies[self.latencies.len() * 99 / 100]
    }
}

/// A run under way.
struct Under {
    ends_at: Micros,
    started_at: Micros,
    batch: Batch,
}

fn limits(scene: &Scene) -> Limits {
    Limits {
        threads: scene.threads,
        query_latency_target_us: 20 * MS,
        import_share_min: scene.share,
        queries_max: 256,
        imports_max: 64,
        import_works_max: 1,
    }
}

fn simulate(scene: Scene, seed: u64) -> Seen {
    let Scene { place, threads, fixed, each, send, .. } = scene;
    let limits = limits(&scene);
    let time = move |items: usize| fixed + each * items as Micros;
    let mut schedule = measured(limits, place, |items| time(items) + send * items as Micros);
    let slots = if place == Place::Gpu { 2 } else { threads };
    let (mut random, mut seen) = (Random(seed), Seen::default());
    // When each waiting query came, how many imports' runs it has waited behind, and how long these take.
    let mut waiting: BTreeMap<Ticket, (Micros, usize, Micros)> = BTreeMap::new();
    let mut under: Vec<Under> = Vec::new();
    let (mut now, mut ticket, mut next_query) = (0, 0, random.interval(scene.queries_per_second));
    while now < scene.seconds * SECOND {
        if now >= next_query {
            next_query = now + random.interval(scene.queries_per_second).max(1);
            if schedule.has_room(0, Lane::Query, 1) {
                ticket += 1;
                let imports = || under.iter().filter(|run| run.batch.lane == Lane::Import);
                let (stands, took) = (imports().count(), imports().map(|run| run.ends_at - run.started_at).sum());
                // Of several threads the first to be free takes it.
                let stands = if place == Place::Cpu { usize::from(stands > 0 && under.len() == slots) } else { stands };
                waiting.insert(ticket, (now, stands, took));
                schedule.submit(0, Lane::Query, &[(ticket, 1)], Micros::MAX, now, false);
            }
        }
        let mut wake = next_query;
        while under.len() < slots {
            while scene.has_import && schedule.has_room(0, Lane::Import, 1) {
                ticket += 1;
                schedule.submit(0, Lane::Import, &[(ticket, 1)], Micros::MAX, now, false);
            }
            match schedule.next(place, now) {
                Next::Run(batch) => {
                    // A GPU does one after the other.
                    let busy_until = under.iter().map(|run| run.ends_at).max().filter(|_| place == Place::Gpu).unwrap_or(now);
                    let jitter = 0.95 + 0.1 * random.next();
                    let took = (time(batch.tickets.len()) as f64 * jitter) as Micros;
                    let begins = busy_until.max(now + send * batch.tickets.len() as Micros);
                    if batch.lane == Lane::Import {
                        let waiting = waiting.values_mut().filter(|(came, ..)| now - *came <= 20 * MS);
                        waiting.for_each(|(_, before, us)| (*before, *us) = (*before + 1, *us + took));
                    }
                    batch.tickets.iter().filter_map(|ticket| waiting.get(ticket)).for_each(|(_, before, us)| {
                        seen.imports_before_max = seen.imports_before_max.max(*before);
                        seen.imports_us_before_max = seen.imports_us_before_max.max(*us);
                    });
                    under.push(Under { ends_at: begins + took, started_at: begins, batch });
                }
                Next::Wait(until) => {
                    wake = until.map_or(wake, |until| wake.min(until.max(now + 1)));
                    break;
                }
                Next::Work { .. } => panic!("nothing is prepared here"),
            }
        }
        now = under.iter().map(|run| run.ends_at).min().map_or(wake, |ends_at| ends_at.min(wake)).max(now);
        while let Some(at) = under.iter().position(|run| run.ends_at <= now) {
            let Under { started_at, ends_at, batch } = under.swap_remove(at);
            schedule.run_done(batch.run, Outcome::Done, now);
            match batch.lane {
                Lane::Import => {
                    seen.imported += batch.tickets.len() as u64;
                    seen.import_us += ends_at - started_at;
                }
                Lane::Query => {
                    seen.query_runs += 1;
                    seen.query_us += ends_at - started_at;
                    let came = batch.tickets.iter().filter_map(|ticket| waiting.remove(ticket));
                    seen.latencies.extend(came.map(|(came, ..)| now - came));
                }
            }
        }
    }
    seen
}

const GPU: Scene = Scene {
    place: Place::Gpu,
    threads: 4,
    fixed: 2 * MS,
    each: 100,
    send: 0,
    queries_per_second: 100.0,
    has_import: true,
    share: 0.05,
    seconds: 30,
};

/// Pictures on two cores.
const CPU: Scene = Scene { place: Place::Cpu, threads: 2, fixed: 0, each: 12 * MS, queries_per_second: 8.0, ..GPU };

#[test]
fn the_latency_target_is_kept_during_an_import() {
    for (name, scene, imported_min) in [
        ("a GPU, few queries", Scene { queries_per_second: 10.0, ..GPU }, 5_000.0),
        ("a GPU, 100 queries/s", GPU, 3_000.0),
        ("a GPU, 1,000 queries/s", Scene { queries_per_second: 1_000.0, ..GPU }, 300.0),
        ("two cores, texts", Scene { fixed: 300, each: 1_200, queries_per_second: 100.0, ..CPU }, 600.0),
        ("two cores, pictures", CPU, 60.0),
    ] {
        let mut seen = simulate(scene, 7);
        let (p99, imported) = (seen.p99(), seen.imported as f64 / scene.seconds as f64);
        println!("{name}: p99 {p99} us, {imported} imported/s, {} queries in {} runs", seen.latencies.len(), seen.query_runs);
        assert!(p99 <= if scene.place == Place::Cpu && scene.each > 10 * MS { 26 * MS } else { 20 * MS }, "{name}: p99 {p99} us");
        assert!(imported >= imported_min, "{name}: {imported} imported/s");
    }
}

#[test]
fn an_import_keeps_a_gpu_busy_that_nobody_asks() {
    let scene = Scene { fixed: 300, each: 45, send: 15, queries_per_second: 0.0, ..GPU };
    let seen = simulate(scene, 9);
    // Runs of 64, each sent when the one before has ended.
    let one_by_one = 64 * SECOND * scene.seconds / (scene.fixed + 64 * (scene.each + scene.send));
    assert!(seen.imported * 10 >= one_by_one * 12, "{} of {one_by_one}", seen.imported);
    // Where half a run takes nearly as long as a whole one, whole ones do more.
    let scene = Scene { fixed: 3 * MS, each: 10, send: 1, ..scene };
    let seen = simulate(scene, 9);
    let one_by_one = 64 * SECOND * scene.seconds / (scene.fixed + 64 * (scene.each + scene.send));
    assert!(seen.imported * 100 >= one_by_one * 90, "{} of {one_by_one}", seen.imported);
}

#[test]
fn a_lone_query_waits_for_nothing_and_many_share_runs() {
    let mut idle = simulate(Scene { queries_per_second: 5.0, has_import: false, ..GPU }, 3);
    assert!(idle.p99() <= 2 * MS * 12 / 10 + 2 * MS, "{}", idle.p99());
    // Twenty times what single runs could do.
    let mut many = simulate(Scene { queries_per_second: 4_000.0, has_import: false, seconds: 5, ..GPU }, 3);
    assert!(many.latencies.len() as u64 > 5 * many.query_runs, "{} in {} runs", many.latencies.len(), many.query_runs);
    assert!(many.p99() <= 20 * MS, "{}", many.p99());
}

#[test]
fn an_import_gets_its_share_of_a_device_that_queries_would_fill() {
    for scene in [GPU, CPU, Scene { threads: 1, ..CPU }] {
        let overload = Scene { queries_per_second: 20_000.0, seconds: 20, ..scene };
        for share in [0.0, 0.05, 0.2] {
            let seen = simulate(Scene { share, ..overload }, 5);
            let got = seen.import_us as f64 / (seen.import_us + seen.query_us) as f64;
            // What ran before the first query came is in it.
            assert!((0.6 * share..=1.4 * share + 0.005).contains(&got), "{share} promised, {got} given");
            assert!(seen.imports_before_max <= 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// On any device, under any load: one run, or on a GPU two that are together no longer.
    #[test]
    fn at_most_one_imports_run_of_a_bounded_time_stands_before_a_query(
        is_gpu: bool, threads in 1_usize..5, fixed in 0_u64..20_000, each in 1_u64..20_000, rate in 0.0_f64..2_000.0, share in 0.0_f64..0.5, seed: u64,
    ) {
        let place = if is_gpu { Place::Gpu } else { Place::Cpu };
        let scene = Scene { place, threads, fixed, each, send: if is_gpu { each / 3 } else { 0 }, queries_per_second: rate, has_import: true, share, seconds: 3 };
        let seen = simulate(scene, seed);
        prop_assert!(seen.imports_before_max <= if is_gpu { 2 } else { 1 }, "{} before one query", seen.imports_before_max);
        let longest = (10 * MS).max(fixed + each);
        prop_assert!(!is_gpu || seen.imports_us_before_max <= longest * 5 / 4, "{} us before one query", seen.imports_us_before_max);
        prop_assert!(seen.imported > 0 || share == 0.0 || rate > 0.0);
    }
}
