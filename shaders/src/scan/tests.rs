//! One suite for all backends: the CPU's variants against plain sums, the GPU's against the CPU, on a software driver.

use super::self_test::{disagreement, halves, numbers};
use super::*;
use crate::simd::Isa;
use proptest::prelude::*;

/// The plain truth: sums in double precision, all of them sorted.
fn reference(dim: usize, rows: &[f16], bias: Option<&[f32]>, request: &Request<'_>) -> Vec<Vec<Hit>> {
    let queries = request.queries.chunks_exact(dim);
    let score = |query: &[f32], row: &[f16]| query.iter().zip(row).map(|(a, b)| f64::from(*a) * f64::from(b.to_f32())).sum::<f64>();
    let allowed = |row: &usize| request.allow.is_none_or(|allow| allow.get(row / 32).is_some_and(|word| word >> (row % 32) & 1 == 1));
    queries
        .map(|query| {
            let rows = rows.chunks_exact(dim).enumerate().filter(|(row, _)| allowed(row));
            let mut hits: Vec<Hit> = rows
                .map(|(row, values)| {
                    let score = score(query, values) + bias.map_or(0.0, |bias| f64::from(bias[row]));
                    Hit { score: score as f32, row: row as u32 }
                })
                .collect();
            hits.sort_by(Hit::order);
            hits.truncate(request.k);
            hits
        })
        .collect()
}

/// A problem, reproducible from its numbers.
#[derive(Clone, Copy, Debug)]
struct Case {
    dim: usize,
    rows: usize,
    queries: usize,
    k: usize,
    /// Of 8 rows so many are allowed.
    allowed: Option<u32>,
    bias: bool,
}

impl Case {
    fn allow(&self) -> Option<Vec<u32>> {
        let seed = numbers(7, self.rows.div_ceil(32) * 32);
        let words = seed.chunks_exact(32).map(|chunk| {
            chunk.iter().enumerate().fold(0u32, |word, (bit, number)| {
                let drawn = ((number + 1.0) * 4.0) as u32;
                word | u32::from(self.allowed.is_some_and(|allowed| drawn < allowed)) << bit
            })
        });
        self.allowed.map(|_| words.collect())
    }

    /// Puts the rows into `backend` and compares its answer with the truth.
    fn check(&self, name: &str, backend: &mut ScanBackend) {
        let (rows, bias) = (halves(1, self.rows * self.dim), numbers(2, self.rows));
        let bias = self.bias.then_some(bias.as_slice());
        let (queries, allow) = (numbers(3, self.queries * self.dim), self.allow());
        let request = Request { queries: &queries, k: self.k, allow: allow.as_deref() };
        backend.truncate(0);
        backend.write(0, &rows, bias).expect("rows fit");
        let got = backend.search(&request).expect("the request fits");
        let want = reference(self.dim, &rows, bias, &request);
        if let Some(text) = disagreement(self.dim, &rows, bias, &request, &got, &want) {
            panic!("{name}, {self:?}: {text}");
        }
        assert_eq!(got, backend.search(&request).expect("as before"), "{name}, {self:?}: another answer the second time");
    }
}

/// Odd and even sizes, one row to several spans, few results to all, every kind of filter.
fn cases(dim: usize) -> Vec<Case> {
    let case = |rows, queries, k, allowed, bias| Case { dim, rows, queries, k, allowed, bias };
    vec![
        case(1, 1, 1, None, false),
        case(63, 3, 10, None, true),
        case(64, 8, 32, Some(4), false),
        case(65, 9, 33, None, true),
        case(500, 5, 100, Some(1), true),
        case(777, 65, 7, Some(6), false),
        case(1500, 17, K_MAX, None, true),
        case(300, 4, 5, Some(0), false),
        case(0, 4, 5, None, false),
        case(200, 0, 5, None, false),
    ]
}

/// The backends of one row width. `chunk_rows` makes the GPU's buffers small, so that there are several.
fn backends(dim: usize, chunk_rows: usize) -> Vec<(String, ScanBackend)> {
    let mut backends = vec![];
    for threads in [1, 3] {
        backends.push((format!("CPU, {threads} threads"), ScanBackend::Cpu(CpuScan::new(dim, threads).expect("a possible width"))));
    }
    for native_f16 in [true, false] {
        let chunk_bytes_max = (chunk_rows * dim.next_multiple_of(4) * size_of::<f16>()) as u64;
        let options = GpuOptions { adapter: AdapterChoice::Software, native_f16, chunk_bytes_max };
        if let Some(scan) = software(dim, &options) {
            assert!(native_f16 || !scan.native_f16());
            backends.push((format!("GPU, native f16: {}", scan.native_f16()), ScanBackend::Gpu(Box::new(scan))));
        }
    }
    backends
}

/// A device of the software driver; `None`, said aloud, where there is none and the environment does not demand it.
fn software(dim: usize, options: &GpuOptions) -> Option<GpuScan> {
    match GpuScan::open(dim, options) {
        Ok(scan) => Some(scan),
        Err(ScanError::Gpu(GpuError::NoAdapter)) if std::env::var_os("GOTHAM_REQUIRE_GPU_TESTS").is_none() => {
            eprintln!("no software Vulkan driver: the GPU path is not tested here");
            None
        }
        Err(error) => panic!("the software driver is needed: {error}"),
    }
}

#[test]
fn every_backend_finds_what_a_full_sort_finds() {
    for (dim, chunk_rows) in [(64, 128), (1, 64), (97, 320), (384, 1 << 20), (1280, 512)] {
        for (name, mut backend) in backends(dim, chunk_rows) {
            for case in cases(dim) {
                case.check(&name, &mut backend);
            }
        }
    }
}

#[test]
fn every_instruction_set_finds_what_a_full_sort_finds() {
    for dim in [1, 15, 64, 130, 1280] {
        for case in cases(dim) {
            let (rows, bias) = (halves(1, case.rows * dim), numbers(2, case.rows));
            let (queries, allow) = (numbers(3, case.queries * dim), case.allow());
            let request = Request { queries: &queries, k: case.k, allow: allow.as_deref() };
            let want = reference(dim, &rows, Some(&bias), &request);
            for isa in Isa::available() {
                let view = Rows::new(dim, &rows, Some(&bias)).expect("rows fit");
                let got = cpu::scan_topk_with(isa, view, &request, 2).expect("the request fits");
                if let Some(text) = disagreement(dim, &rows, Some(&bias), &request, &got, &want) {
                    panic!("{}, {case:?}: {text}", isa.name());
                }
            }
        }
    }
}

#[test]
fn equal_rows_come_in_order_however_they_are_spread() {
    let dim = 20;
    // Three different rows in turn: each query's results are all rows of one kind, lowest first, then those of the next.
    let kinds = halves(5, 3 * dim);
    let rows: Vec<f16> = kinds.iter().copied().cycle().take(1000 * dim).collect();
    let queries: Vec<f32> = kinds.iter().map(|value| value.to_f32()).collect();
    for (name, mut backend) in backends(dim, 192) {
        backend.write(0, &rows, None).expect("rows fit");
        for k in [1, 10, 100, K_MAX] {
            let found = backend.search(&Request { queries: &queries, k, allow: None }).expect("the request fits");
            for (kind, hits) in found.iter().enumerate() {
                let rows: Vec<usize> = hits.iter().map(|hit| hit.row as usize).collect();
                assert_eq!(rows, (0..k).map(|rank| 3 * rank + kind).collect::<Vec<_>>(), "{name}, {k} results");
                assert!(hits.iter().all(|hit| hit.score == hits[0].score), "{name}: equal rows have unequal scores");
            }
        }
    }
}

#[test]
fn many_rows_take_several_passes_and_spans() {
    // More spans than a workgroup merges at once; more blocks than there may be workgroups, so that spans grow.
    let case = |rows, queries, k, allowed| Case { dim: 4, rows, queries, k, allowed, bias: true };
    for (name, mut backend) in backends(4, 1 << 20) {
        for case in [case(40_001, 3, 10, Some(6)), case(80_000, 64, 40, None)] {
            case.check(&name, &mut backend);
        }
    }
}

#[test]
fn lists_that_never_stop_filling_keep_the_best() {
    let count = 3000;
    for rising in [true, false] {
        // The bias alone decides; where it rises, every row is better than all before it.
        let bias: Vec<f32> = (0..count).map(|row| if rising { row as f32 } else { -(row as f32) }).collect();
        for (name, mut backend) in backends(1, 1024) {
            backend.write(0, &vec![f16::ZERO; count], Some(&bias)).expect("rows fit");
            for k in [1, 32, 33, K_MAX] {
                let found = backend.search(&Request { queries: &[1.0; 10], k, allow: None }).expect("the request fits");
                let want: Vec<u32> = (0..k).map(|rank| (if rising { count - 1 - rank } else { rank }) as u32).collect();
                assert_eq!(found.len(), 10);
                for hits in found {
                    assert_eq!(hits.iter().map(|hit| hit.row).collect::<Vec<_>>(), want, "{name}, rising: {rising}");
                }
            }
        }
    }
}

#[test]
fn rows_are_replaced_appended_and_forgotten() {
    let dim = 12;
    let (old, new) = (halves(1, 500 * dim), halves(9, 500 * dim));
    let (old_bias, new_bias) = (numbers(2, 500), numbers(8, 500));
    let queries = numbers(3, 6 * dim);
    let request = Request { queries: &queries, k: 20, allow: None };
    for (name, mut backend) in backends(dim, 192) {
        let (mut rows, mut bias) = (Vec::new(), Vec::new());
        // First row and count of each write: growing, over the end, in the middle, over several buffers, after a cut.
        for (first, count, cut) in [(0, 100, 100), (64, 200, 264), (256, 244, 500), (64, 64, 500), (128, 320, 450), (448, 30, 470)] {
            let end = first + count;
            backend.write(first, &new[first * dim..end * dim], Some(&new_bias[first..end])).expect("the place fits");
            rows.resize(rows.len().max(end * dim), f16::ZERO);
            bias.resize(bias.len().max(end), 0.0);
            rows[first * dim..end * dim].copy_from_slice(&new[first * dim..end * dim]);
            bias[first..end].copy_from_slice(&new_bias[first..end]);
            backend.truncate(cut);
            rows.truncate(cut * dim);
            bias.truncate(cut);
            assert_eq!(backend.rows(), bias.len(), "{name}");
            let got = backend.search(&request).expect("the request fits");
            let want = reference(dim, &rows, Some(&bias), &request);
            assert_eq!(disagreement(dim, &rows, Some(&bias), &request, &got, &want), None, "{name} after {first}..{end}");
        }
        backend.write(0, &old, Some(&old_bias)).expect("the place fits");
        let got = backend.search(&request).expect("the request fits");
        let want = reference(dim, &old, Some(&old_bias), &request);
        assert_eq!(disagreement(dim, &old, Some(&old_bias), &request, &got, &want), None, "{name} after all");
    }
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let dim = 8;
    let rows = halves(1, 100 * dim);
    let with = |at: usize, value: f32| {
        let mut rows = rows.clone();
        rows[at] = f16::from_f32(value);
        rows
    };
    assert_eq!(GpuScan::open(0, &GpuOptions::default()).err(), Some(ScanError::Dim { dim: 0 }));
    assert_eq!(CpuScan::new(DIM_MAX + 1, 1).err(), Some(ScanError::Dim { dim: DIM_MAX + 1 }));
    for (name, mut backend) in backends(dim, 1 << 20) {
        backend.write(0, &rows, None).expect("rows fit");
        let value = |what| Some(ScanError::Value { what });
        assert_eq!(backend.write(0, &with(3, f32::NAN), None).err(), value("a row"), "{name}");
        assert_eq!(backend.write(0, &with(799, f32::INFINITY), None).err(), value("a row"), "{name}");
        assert_eq!(backend.write(0, &rows[..8], Some(&[f32::MAX])).err(), value("a bias"), "{name}");
        assert_eq!(backend.write(0, &rows, Some(&[0.0; 99])).err(), Some(ScanError::Biases { biases: 99, rows: 100 }));
        assert!(matches!(backend.write(0, &rows[1..], None), Err(ScanError::Length { what: "rows", .. })), "{name}");
        for (first, count) in [(1, 1), (0, 10), (64, 1), (128, 1), (usize::MAX & !63, 64)] {
            assert!(matches!(backend.write(first, &rows[..count * dim], None), Err(ScanError::Place { .. })), "{name} {first} {count}");
        }
        let query = [0.5; 8];
        for k in [0, K_MAX + 1] {
            let request = Request { queries: &query, k, allow: None };
            assert_eq!(backend.search(&request), Err(ScanError::Results { k }), "{name}");
        }
        let ragged = Request { queries: &query[1..], k: 1, allow: None };
        assert!(matches!(backend.search(&ragged), Err(ScanError::Length { what: "queries", .. })), "{name}");
        for wrong in [f32::NAN, f32::INFINITY, 2e30] {
            let request = Request { queries: &[wrong; 8], k: 1, allow: None };
            assert_eq!(backend.search(&request).err(), value("a query"), "{name}");
        }
        assert_eq!(backend.rows(), 100, "{name}");
        let request = Request { queries: &query, k: 3, allow: None };
        let want = reference(dim, &rows, None, &request);
        assert_eq!(disagreement(dim, &rows, None, &request, &backend.search(&request).expect("it works"), &want), None, "{name}");
    }
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let dim = 16;
    let rows = [f16::MAX, f16::MIN].map(|value| [value; 16]).concat();
    for (name, mut backend) in backends(dim, 1 << 20) {
        backend.write(0, &rows, Some(&[MAGNITUDE_MAX, -MAGNITUDE_MAX])).expect("rows fit");
        let request = Request { queries: &[MAGNITUDE_MAX; 16], k: 2, allow: None };
        let found = backend.search(&request).expect("the request fits");
        assert_eq!(found[0].iter().map(|hit| hit.row).collect::<Vec<_>>(), [0, 1], "{name}");
        assert!(found[0].iter().all(|hit| hit.score.is_finite()), "{name}: {found:?}");
    }
}

#[test]
fn without_a_gpu_the_cpu_is_chosen_and_the_reason_given() {
    // Software drivers do not count as a GPU, so the choice depends on the machine only where it has one.
    let (backend, reason) = ScanBackend::choose(32, &GpuOptions::default(), 1).expect("a possible width");
    match (&backend, &reason) {
        (ScanBackend::Cpu(_), Reason::NoGpu(_)) => {}
        (ScanBackend::Gpu(scan), Reason::Measured(measured)) => assert!(scan.adapter().hardware && measured.gpu_wins()),
        (ScanBackend::Cpu(_), Reason::Measured(measured)) => assert!(!measured.gpu_wins()),
        other => panic!("{other:?}"),
    }
    assert_eq!((backend.rows(), backend.dim()), (0, 32));
}

#[test]
fn a_buffer_too_small_for_one_block_is_an_error() {
    let options = GpuOptions { adapter: AdapterChoice::Software, native_f16: false, chunk_bytes_max: 1000 };
    match GpuScan::open(8, &options) {
        Err(ScanError::Gpu(GpuError::NoAdapter)) if std::env::var_os("GOTHAM_REQUIRE_GPU_TESTS").is_none() => {}
        other => {
            assert_eq!(other.err(), Some(ScanError::Gpu(GpuError::Limit { what: "bytes of a storage buffer", need: 1024, have: 1000 })))
        }
    }
}

#[test]
fn a_device_lost_between_calls_is_an_error() {
    let options = GpuOptions { adapter: AdapterChoice::Software, ..GpuOptions::default() };
    for write in [true, false] {
        let Some(mut scan) = software(8, &options) else { return };
        scan.write(0, &halves(1, 800), None).expect("rows fit");
        scan.lose();
        let request = Request { queries: &[1.0; 8], k: 3, allow: None };
        let result = if write { scan.write(0, &halves(1, 800), None) } else { scan.search(&request).map(|_| ()) };
        assert!(matches!(result, Err(ScanError::Gpu(_))), "{result:?}");
        // It stays one, also for the rows that a failed write has taken away.
        assert!(matches!(scan.search(&request), Err(ScanError::Gpu(_))));
    }
}

#[test]
fn a_measurement_times_both_and_leaves_no_rows() {
    let options = GpuOptions { adapter: AdapterChoice::Software, ..GpuOptions::default() };
    let Some(mut scan) = software(24, &options) else { return };
    let measured = measure(&mut scan, &Load { rows: 1000, batch: 3, k: 10, repeats: 1 }, 1).expect("it works");
    assert_eq!((measured.rows, measured.bytes, scan.rows()), (1000, 48_000, 0));
    assert!(measured.rows_per_second().into_iter().chain(measured.bytes_per_second()).all(|rate| rate.is_finite() && rate > 0.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_small_problem(
        rows in 0usize..400, queries in 0usize..20, k in 1usize..=K_MAX, allowed in prop::option::of(0u32..9), bias in any::<bool>(),
    ) {
        thread_local!(static BACKENDS: std::cell::RefCell<Vec<(String, ScanBackend)>> = std::cell::RefCell::new(backends(33, 192)));
        BACKENDS.with_borrow_mut(|backends| {
            for (name, backend) in backends {
                Case { dim: 33, rows, queries, k, allowed, bias }.check(name, backend);
            }
        });
    }
}
