//! Single decisions, by table and by property.

use proptest::prelude::*;

use super::*;

const MS: Micros = 1_000;
const LATE: Micros = Micros::MAX;

fn limits(threads: usize) -> Limits {
    Limits { threads, query_latency_target_us: 20 * MS, import_share_min: 0.1, queries_max: 64, imports_max: 64, import_works_max: 64 }
}

/// A schedule with one model whose runs take `time_us(units)`, as measured by a few of them.
pub(super) fn measured(limits: Limits, place: Place, time_us: impl Fn(usize) -> Micros) -> Schedule {
    let mut schedule = Schedule::new(limits);
    let model = schedule.register(place, ModelLimits { batch_max: 64, units_max: 64 }, 0).expect("room");
    for units in [1, 2, 4, 8, 16, 32, 64] {
        (0..3).for_each(|_| schedule.models[model].times.record(units, time_us(units)));
    }
    schedule
}

fn submit(schedule: &mut Schedule, lane: Lane, tickets: std::ops::Range<Ticket>, now: Micros) {
    let items: Vec<(Ticket, usize)> = tickets.map(|ticket| (ticket, 1)).collect();
    schedule.submit(0, lane, &items, LATE, now, false);
}

fn run(next: Next) -> Batch {
    if let Next::Run(batch) = next { batch } else { panic!("no run but {next:?}") }
}

#[test]
fn a_lone_query_of_an_idle_house_runs_at_once() {
    for place in [Place::Cpu, Place::Gpu] {
        let mut schedule = measured(limits(1), place, |_| 5 * MS);
        submit(&mut schedule, Lane::Query, 7..8, 1_000_000);
        assert_eq!(run(schedule.next(place, 1_000_000)).tickets, [7]);
        assert_eq!(schedule.next(place, 1_000_000), Next::Wait(None));
    }
}

#[test]
fn queries_go_before_imports_and_run_together_within_half_of_the_target() {
    // 1 ms, and half a millisecond for each input: 18 of them take 10 ms.
    let mut schedule = measured(limits(1), Place::Gpu, |units| MS + units as Micros * MS / 2);
    submit(&mut schedule, Lane::Import, 100..140, 0);
    submit(&mut schedule, Lane::Query, 0..30, 0);
    let first = run(schedule.next(Place::Gpu, 0));
    assert_eq!((first.lane, first.tickets), (Lane::Query, (0..18).collect()));
    assert_eq!(run(schedule.next(Place::Gpu, 0)).tickets, (18..30).collect::<Vec<_>>());
    let import = run(schedule.next(Place::Gpu, 0));
    assert_eq!((import.lane, import.tickets.len()), (Lane::Import, 18));
    assert_eq!(schedule.next(Place::Gpu, 0), Next::Wait(None), "one import's run at a time");
}

#[test]
fn runs_stay_single_where_one_takes_more_than_half_of_the_target_or_nothing_is_known() {
    let mut slow = measured(limits(4), Place::Cpu, |units| 12 * MS * units as Micros);
    let mut unknown = Schedule::new(limits(4));
    unknown.register(Place::Cpu, ModelLimits { batch_max: 64, units_max: 64 }, 0);
    for schedule in [&mut slow, &mut unknown] {
        submit(schedule, Lane::Import, 0..8, 0);
        assert_eq!(run(schedule.next(Place::Cpu, 0)).tickets, [0]);
        assert_eq!(run(schedule.next(Place::Cpu, 0)).tickets, [1]);
    }
}

#[test]
fn queries_wait_for_one_another_only_where_that_is_better_for_all() {
    // (time of a run, interval of the stream, whether the second of two messages waits for the third)
    for (flat, interval, waits) in [(true, MS, true), (true, 4 * MS, false), (false, MS / 10, false), (true, 400 * MS, false)] {
        let time = move |units: usize| if flat { 6 * MS } else { 6 * MS * units as Micros };
        let mut schedule = measured(limits(1), Place::Cpu, time);
        for message in 0..6 {
            submit(&mut schedule, Lane::Query, message..message + 1, message * interval);
            if message < 5 {
                // By then nobody is waited for any more.
                let later = (message + 3) * interval;
                let next = schedule.next(Place::Cpu, later);
                schedule.run_done(run(next).run, Outcome::Done, later + time(1));
            }
        }
        let now = 5 * interval;
        match schedule.next(Place::Cpu, now) {
            Next::Wait(Some(until)) => {
                assert!(waits, "flat {flat}, every {interval} us");
                assert!(until > now && until <= now + 2 * interval + 1, "{until}");
                assert_eq!(run(schedule.next(Place::Cpu, until)).tickets, [5], "no longer than that");
            }
            next => assert!(!waits && matches!(next, Next::Run(_)), "flat {flat}, every {interval} us: {next:?}"),
        }
    }
}

#[test]
fn a_thread_is_kept_free_of_imports_only_while_queries_come_and_need_it() {
    for (threads, run_ms, has_query, expected) in [(4, 12, true, 3), (4, 12, false, 4), (4, 2, true, 4), (1, 12, true, 1)] {
        let mut schedule = measured(limits(threads), Place::Cpu, |units| run_ms * MS * units as Micros);
        submit(&mut schedule, Lane::Import, 100..164, 0);
        let mut now = 0;
        if has_query {
            submit(&mut schedule, Lane::Query, 0..1, now);
            let query = run(schedule.next(Place::Cpu, now));
            now += run_ms * MS;
            schedule.run_done(query.run, Outcome::Done, now);
        }
        let started = (0..8).filter(|_| matches!(schedule.next(Place::Cpu, now), Next::Run(_))).count();
        assert_eq!(started, expected, "{threads} threads, {run_ms} ms, a query: {has_query}");
        if expected < threads {
            let Next::Wait(Some(until)) = schedule.next(Place::Cpu, now) else { panic!("it is free for good") };
            assert!(matches!(schedule.next(Place::Cpu, until), Next::Run(_)));
        }
    }
}

#[test]
fn a_glance_goes_before_runs_and_decoding_behind_them() {
    let mut schedule = measured(limits(1), Place::Cpu, |units| 5 * MS * units as Micros);
    submit(&mut schedule, Lane::Import, 100..101, 0);
    schedule.submit_work(Lane::Import, Effort::Heavy, 101, LATE, 0);
    schedule.submit_work(Lane::Query, Effort::Heavy, 2, LATE, 0);
    submit(&mut schedule, Lane::Query, 1..2, 0);
    schedule.submit_work(Lane::Query, Effort::Glance, 0, LATE, 0);
    let order: Vec<Ticket> = (0..4)
        .map(|_| match schedule.next(Place::Cpu, 0) {
            Next::Work { run, ticket, .. } => {
                schedule.work_done(run, 0);
                ticket
            }
            next => {
                let batch = run(next);
                schedule.run_done(batch.run, Outcome::Done, 0);
                batch.tickets[0]
            }
        })
        .collect();
    assert_eq!(order, [0, 1, 2, 101], "preparation of imports first, as long as it can make a larger run");
    assert_eq!(run(schedule.next(Place::Cpu, 2_000_000)).tickets, [100]);
}

#[test]
fn texts_of_one_length_are_imported_together() {
    let mut schedule = measured(limits(1), Place::Gpu, |units| 100 * units as Micros);
    let lengths = [1, 9, 2, 1, 12, 3, 1];
    let items: Vec<(Ticket, usize)> = lengths.into_iter().enumerate().map(|(ticket, units)| (ticket as Ticket, units)).collect();
    schedule.submit(0, Lane::Import, &items, LATE, 0, false);
    let mut runs = vec![];
    while let Next::Run(batch) = schedule.next(Place::Gpu, 0) {
        schedule.run_done(batch.run, Outcome::Done, 100);
        runs.push(batch.tickets);
    }
    assert_eq!(runs, [vec![0, 3, 6], vec![1, 4], vec![2], vec![5]]);
}

#[test]
fn what_is_late_or_unwanted_is_never_run() {
    let mut schedule = measured(limits(1), Place::Cpu, |_| MS);
    schedule.submit(0, Lane::Query, &[(1, 1), (2, 1)], 50, 0, false);
    schedule.submit(0, Lane::Query, &[(3, 1), (4, 1)], 500, 0, false);
    schedule.submit_work(Lane::Import, Effort::Heavy, 5, 50, 0);
    schedule.purge(50, &|ticket| ticket != 3);
    let mut dropped = schedule.take_dropped();
    dropped.sort_unstable();
    assert_eq!(dropped, [1, 2, 3, 5]);
    assert_eq!(run(schedule.next(Place::Cpu, 50)).tickets, [4]);
    assert!(schedule.take_dropped().is_empty() && !schedule.is_waiting(Place::Cpu));
}

#[test]
fn there_is_room_for_so_many_and_no_more() {
    let mut schedule = measured(limits(1), Place::Cpu, |_| MS);
    submit(&mut schedule, Lane::Query, 0..60, 0);
    assert!(schedule.has_room(0, Lane::Query, 4) && !schedule.has_room(0, Lane::Query, 5) && schedule.has_room(0, Lane::Import, 64));
    (0..64).for_each(|ticket| schedule.submit_work(Lane::Query, Effort::Glance, 100 + ticket, LATE, 0));
    assert!(!schedule.has_room_for_work(Lane::Query) && schedule.has_room_for_work(Lane::Import));
    assert_eq!((schedule.length(Lane::Query), schedule.length(Lane::Import)), (124, 0));
}

#[test]
fn too_little_memory_halves_the_batch_and_loses_nothing() {
    let mut schedule = measured(limits(1), Place::Gpu, |_| MS);
    submit(&mut schedule, Lane::Import, 0..64, 0);
    let (mut sizes, mut done) = (vec![], vec![]);
    while let Next::Run(batch) = schedule.next(Place::Gpu, 0) {
        let outcome = if batch.tickets.len() > 10 { Outcome::OutOfMemory } else { Outcome::Done };
        let ended = schedule.run_done(batch.run, outcome, MS);
        assert!(ended.failed.is_empty());
        sizes.push(batch.tickets.len());
        if outcome == Outcome::Done {
            done.extend(batch.tickets);
        }
    }
    assert_eq!(sizes, [64, 32, 16, 8, 8, 8, 8, 8, 8, 8, 8]);
    assert_eq!(done, (0..64).collect::<Vec<_>>());
    assert_eq!(schedule.cap(0, 1), (8, 3));
    // One that does not fit alone fails; after a while more is tried again.
    submit(&mut schedule, Lane::Import, 64..65, 0);
    let alone = run(schedule.next(Place::Gpu, MS)).run;
    assert_eq!(schedule.run_done(alone, Outcome::OutOfMemory, MS).failed, [64]);
    assert!(schedule.set_place(0, Place::Cpu) && !schedule.set_place(0, Place::Cpu));
    assert_eq!(schedule.cap(0, 1), (64, 0), "another place has another memory");
}

#[test]
fn the_number_of_an_idle_model_goes_on_to_a_new_one() {
    let mut schedule = Schedule::new(limits(1));
    let limits = ModelLimits { batch_max: 4, units_max: 4 };
    for now in 0..MODELS_MAX as Micros {
        let model = schedule.register(Place::Cpu, limits, now).expect("room");
        schedule.submit(model, Lane::Import, &[(now, 1)], LATE, now, false);
    }
    assert_eq!(schedule.register(Place::Cpu, limits, 100), None, "all have work");
    let batch = run(schedule.next(Place::Cpu, 200));
    assert_eq!(schedule.register(Place::Cpu, limits, 201), None, "it runs");
    schedule.run_done(batch.run, Outcome::Done, 202);
    assert_eq!(schedule.register(Place::Cpu, limits, 203), Some(batch.model));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Some inputs make every run fail that they are in.
    #[test]
    fn only_the_culprits_fail(count in 1_u64..64, culprits in prop::collection::hash_set(0_u64..64, 0..6), fresh in 0_u64..20) {
        let mut schedule = measured(limits(1), Place::Gpu, |_| MS);
        submit(&mut schedule, Lane::Import, 0..count, 0);
        let (mut failed, mut done, mut runs) = (vec![], vec![], 0);
        while let Next::Run(batch) = schedule.next(Place::Gpu, 0) {
            runs += 1;
            if runs == 3 && fresh > 0 {
                submit(&mut schedule, Lane::Import, 1_000..1_000 + fresh, 0);
            }
            let is_bad = batch.tickets.iter().any(|ticket| culprits.contains(ticket));
            let ended = schedule.run_done(batch.run, if is_bad { Outcome::Failed } else { Outcome::Done }, MS);
            failed.extend(ended.failed);
            if !is_bad {
                done.extend(batch.tickets);
            }
            prop_assert!(runs <= 2 * (count + fresh) + 1, "it comes to an end");
        }
        failed.sort_unstable();
        let mut expected: Vec<u64> = culprits.into_iter().filter(|culprit| *culprit < count).collect();
        expected.sort_unstable();
        prop_assert_eq!(failed.len() + done.len(), (count + if runs >= 3 { fresh } else { 0 }) as usize);
        prop_assert_eq!(failed, expected);
    }

    /// Whatever was measured: a batch is within every bound, or a single input.
    #[test]
    fn a_batch_is_never_above_its_bounds(
        times in prop::collection::vec((1_usize..64, 1_u64..200_000), 0..40), batch_max in 1_usize..64, units_max in 1_usize..128,
        units in prop::collection::vec(1_usize..9, 1..64), is_query: bool, halvings in 0_usize..4,
    ) {
        let mut schedule = Schedule::new(limits(1));
        let model = schedule.register(Place::Gpu, ModelLimits { batch_max, units_max }, 0).expect("room");
        times.iter().for_each(|(units, time)| schedule.models[model].times.record(*units, *time));
        (0..halvings).for_each(|_| { let units = schedule.models[model].cap.units(); schedule.models[model].cap.halve(units, 0) });
        let items: Vec<(Ticket, usize)> = units.iter().enumerate().map(|(ticket, units)| (ticket as Ticket, *units)).collect();
        let lane = if is_query { Lane::Query } else { Lane::Import };
        schedule.submit(model, lane, &items, LATE, 0, false);
        let Next::Run(batch) = schedule.next(Place::Gpu, 0) else { return Err(TestCaseError::fail("nothing runs")) };
        let count = batch.tickets.len();
        let in_it = count * batch.tickets.iter().map(|ticket| units[*ticket as usize]).max().unwrap_or(0);
        prop_assert!(count <= batch_max);
        prop_assert!(count == 1 || in_it <= schedule.models[model].cap.units());
        prop_assert!(count == 1 || schedule.models[model].times.late(in_it).is_some_and(|late| late <= 10_000.0));
        prop_assert_eq!(batch.tickets[0], 0, "the oldest is in it");
    }
}
