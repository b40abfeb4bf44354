//! Writers, readers and background work at the same time.

use std::sync::atomic::AtomicBool;

use super::*;

const DIMENSIONS: usize = 16;

fn vector(seed: u32) -> Vec<f32> {
    clustered(&mut Random::new(u64::from(seed)), DIMENSIONS, 9)
}

#[test]
fn rows_that_die_while_they_are_folded_stay_dead() {
    let index = in_memory(options(DIMENSIONS, Metric::Cosine));
    (0..1000).for_each(|owner| assert!(set(&index, owner, &[vector(owner), vector(owner + 1)])));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                index.maintain().expect("maintained");
            }
        });
        for round in 0..6u32 {
            for owner in (0..1000).filter(|owner| owner % 3 == round % 3) {
                index.remove(owner);
            }
            for owner in (0..1000).filter(|owner| owner % 5 == round % 5) {
                set(&index, owner, &[vector(owner + 1000 * round)]);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let mut model = Model::new();
    (0..1000).for_each(|owner| drop(model.insert(owner, vec![vector(owner), vector(owner + 1)])));
    for round in 0..6u32 {
        model.retain(|owner, _| owner % 3 != round % 3);
        (0..1000).filter(|owner| owner % 5 == round % 5).for_each(|owner| drop(model.insert(owner, vec![vector(owner + 1000 * round)])));
    }
    for _ in 0..2 {
        assert_eq!(index.owners().collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
        assert_eq!(index.stats().rows, model.values().map(Vec::len).sum::<usize>());
        let asked = vector(77);
        let query = query(&asked, 30, Effort::Exact);
        assert_eq!(check(&find(&index, &query), &by_definition(&model, Metric::Cosine, &query), 30, 3e-5), 30);
        settle(&index);
    }
}

#[test]
fn a_reader_finds_every_owner_that_stays_whatever_the_writer_does() {
    let index = in_memory(options(DIMENSIONS, Metric::Cosine));
    // These stay; the writer only touches others.
    (0..64).for_each(|owner| assert!(set(&index, owner * 100, &[vector(owner)])));
    let maintainer = index.spawn_maintainer().expect("threads");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2u32)
            .map(|reader| {
                let (index, over) = (&index, &over);
                scope.spawn(move || {
                    let (searches, mut allow) = (index.reader(), vec![0u64; 100]);
                    (0..64u32).for_each(|owner| allow[owner as usize * 100 / 64] |= 1 << (owner * 100 % 64));
                    let (mut hits, mut round) = (Vec::new(), reader);
                    while !over.load(Ordering::Relaxed) {
                        round = (round + 1) % 64;
                        let asked = vector(round);
                        for allow in [None, Some(allow.as_slice())] {
                            // The exact scan, and with the filter a gather: neither misses what is there.
                            let effort = if allow.is_some() { Effort::Thorough } else { Effort::Exact };
                            let query = Query { allow, ..query(&asked, 1, effort) };
                            let outcome = searches.search(&query, &mut hits).expect("an answer");
                            assert!(hits.first().is_some_and(|hit| hit.score > 0.999), "{round}: {hits:?} {outcome:?}");
                            assert!(allow.is_none() || hits[0].owner == round * 100, "{round}: {hits:?}");
                        }
                    }
                })
            })
            .collect();
        for owner in 0..9000u32 {
            if owner % 100 != 0 {
                set(&index, owner, &[vector(owner + 10_000)]);
                if owner % 7 == 3 && owner % 100 > 1 {
                    index.remove(owner - 1);
                }
            }
        }
        over.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().expect("no assertion failed"));
    });
    drop(maintainer);
    settle(&index);
    assert!(index.stats().graph_segments > 0 && index.stats().dead_rows < index.stats().rows / 8);
}

#[test]
fn a_maintainer_that_ends_interrupts_and_loses_nothing() {
    let index = in_memory(options(DIMENSIONS, Metric::Cosine));
    for round in 0..5u32 {
        let maintainer = index.spawn_maintainer().expect("threads");
        (round * 400..(round + 1) * 400).for_each(|owner| assert!(set(&index, owner, &[vector(owner)])));
        drop(maintainer);
        assert_eq!(index.stats().rows, (round as usize + 1) * 400);
    }
    settle(&index);
    assert_eq!(index.stats().rows, 2000);
}
