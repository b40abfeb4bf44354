// Exact nearest rows by inner product: every row is scored against every query, the best `k` of each query stay on the chip.
// The twin on the CPU is `scan_topk` in src/scan/cpu.rs.
//
// The host puts in front of this text: `WORKGROUP` (invocations, and rows of a block), `QUERIES` (of a group), `SLOTS` (of
// each query's list), `SCORE_LOWEST`, the type `Piece` (four f16 of a row) and `fn widen(piece: Piece) -> vec4<f32>`.
// A line that names `{q}` stands for QUERIES lines, so that a group's sums are registers rather than an indexed array.

struct Entry {
    score: f32,
    row: u32,
}

struct Params {
    pieces: u32,      // of a row
    rows: u32,        // of this chunk that are there
    row_first: u32,   // of this chunk, a multiple of WORKGROUP
    block_first: u32, // of the chunk's blocks that this pass reads
    block_end: u32,
    span_blocks: u32, // blocks that one workgroup of `scan` reads
    spans: u32,
    k: u32,
    filtered: u32,    // 0: every row is allowed
}

@group(0) @binding(0) var<storage, read> rows: array<Piece>;               // [block, piece, WORKGROUP]
@group(0) @binding(1) var<storage, read> bias: array<f32>;                 // [row of the chunk]
@group(1) @binding(0) var<uniform> params: Params;
@group(1) @binding(1) var<storage, read> queries: array<vec4<f32>>;        // [group, piece, QUERIES]
@group(1) @binding(2) var<storage, read> allow: array<u32>;                // a bit a row
@group(1) @binding(3) var<storage, read_write> partial: array<Entry>;      // [query, rank, span]
@group(1) @binding(4) var<storage, read_write> best: array<Entry>;         // [query, rank], over the passes so far

var<workgroup> scores: array<f32, QUERIES * SLOTS>;
var<workgroup> ids: array<u32, QUERIES * SLOTS>;
var<workgroup> filled: array<atomic<u32>, QUERIES>;
var<workgroup> bounds: array<Entry, QUERIES>; // what an entry must beat
var<workgroup> offered: atomic<u32>;          // entries taken so far, over all queries
var<workgroup> status: vec2<u32>;             // (a list may overflow, `offered`) as one invocation saw them

// The order of results: higher scores first, lower rows first among equals.
fn before(a: Entry, b: Entry) -> bool {
    return a.score > b.score || (a.score == b.score && a.row < b.row);
}

fn offer(q: u32, entry: Entry) {
    if before(entry, bounds[q]) {
        let slot = q * SLOTS + atomicAdd(&filled[q], 1u);
        scores[slot] = entry.score;
        ids[slot] = entry.row;
        atomicAdd(&offered, 1u);
    }
}

// Bitonic sort of all lists at once, empty slots last (K. Batcher, "Sorting networks and their applications", 1968). What
// does not belong to the best k is then dropped, and the bounds rise.
fn compact(lane: u32) {
    for (var item = lane; item < QUERIES * SLOTS; item += WORKGROUP) {
        if item % SLOTS >= atomicLoad(&filled[item / SLOTS]) {
            scores[item] = SCORE_LOWEST;
            ids[item] = 0xffffffffu;
        }
    }
    workgroupBarrier();
    for (var size = 2u; size <= SLOTS; size *= 2u) {
        for (var stride = size / 2u; stride > 0u; stride /= 2u) {
            for (var item = lane; item < QUERIES * SLOTS / 2u; item += WORKGROUP) {
                let pair = item % (SLOTS / 2u);
                let low = 2u * pair - pair % stride;
                let a = item / (SLOTS / 2u) * SLOTS + low;
                let b = a + stride;
                let left = Entry(scores[a], ids[a]);
                let right = Entry(scores[b], ids[b]);
                if before(right, left) == ((low & size) == 0u) {
                    scores[a] = right.score;
                    ids[a] = right.row;
                    scores[b] = left.score;
                    ids[b] = left.row;
                }
            }
            workgroupBarrier();
        }
    }
    if lane < QUERIES {
        atomicMin(&filled[lane], params.k);
        let last = lane * SLOTS + params.k - 1u;
        let worst = Entry(scores[last], ids[last]);
        if before(worst, bounds[lane]) {
            bounds[lane] = worst;
        }
    }
    workgroupBarrier();
}

// Makes room for one more entry of each invocation; returns how many entries have been taken so far.
fn settle(lane: u32) -> u32 {
    workgroupBarrier();
    if lane == 0u {
        var most = 0u;
        for (var q = 0u; q < QUERIES; q++) {
            most = max(most, atomicLoad(&filled[q]));
        }
        status = vec2<u32>(u32(most + WORKGROUP > SLOTS), atomicLoad(&offered));
    }
    let seen = workgroupUniformLoad(&status);
    if seen.x != 0u {
        compact(lane);
    }
    return seen.y;
}

// One workgroup: one group of queries against one span of a chunk's blocks. Equal rows get equal scores wherever they lie,
// since each sum is made by one invocation in the order of the pieces.
@compute @workgroup_size(WORKGROUP)
fn scan(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let query_first = workgroup.x * QUERIES;
    if lane < QUERIES {
        atomicStore(&filled[lane], 0u);
        bounds[lane] = best[(query_first + lane) * params.k + params.k - 1u];
    }
    if lane == 0u {
        atomicStore(&offered, 0u);
    }
    workgroupBarrier();
    let block_first = params.block_first + workgroup.y * params.span_blocks;
    let block_end = min(block_first + params.span_blocks, params.block_end);
    for (var block = block_first; block < block_end; block++) {
        let row = block * WORKGROUP + lane;
        var live = row < params.rows;
        if params.filtered != 0u {
            let word = (params.row_first + block * WORKGROUP) / 32u;
            if (allow[word] | allow[word + 1u]) == 0u {
                continue;
            }
            live = live && ((allow[word + lane / 32u] >> (lane % 32u)) & 1u) != 0u;
        }
        var sum{q} = vec4<f32>();
        var at = block * params.pieces * WORKGROUP + lane;
        var query_at = workgroup.x * params.pieces * QUERIES;
        for (var piece = 0u; piece < params.pieces; piece++) {
            let value = widen(rows[at]);
            sum{q} = fma(queries[query_at + {q}u], value, sum{q});
            at += WORKGROUP;
            query_at += QUERIES;
        }
        if live {
            let shift = bias[row];
            let id = params.row_first + row;
            offer({q}u, Entry((sum{q}.x + sum{q}.y) + (sum{q}.z + sum{q}.w) + shift, id));
        }
        settle(lane);
    }
    compact(lane);
    for (var item = lane; item < QUERIES * params.k; item += WORKGROUP) {
        let q = item % QUERIES;
        let rank = item / QUERIES;
        let slot = q * SLOTS + rank;
        partial[((query_first + q) * params.k + rank) * params.spans + workgroup.y] = Entry(scores[slot], ids[slot]);
    }
}

// One workgroup: the lists of one group of queries, from all spans, into the best so far. The lists are sorted, so once no
// entry of a rank is taken, no later rank's will be.
@compute @workgroup_size(WORKGROUP)
fn merge(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let query_first = workgroup.x * QUERIES;
    for (var item = lane; item < QUERIES * params.k; item += WORKGROUP) {
        let entry = best[query_first * params.k + item];
        let slot = item / params.k * SLOTS + item % params.k;
        scores[slot] = entry.score;
        ids[slot] = entry.row;
    }
    if lane < QUERIES {
        atomicStore(&filled[lane], params.k);
        bounds[lane] = best[(query_first + lane) * params.k + params.k - 1u];
    }
    if lane == 0u {
        atomicStore(&offered, 0u);
    }
    workgroupBarrier();
    var taken = 0u;
    for (var span_first = 0u; span_first < params.spans; span_first += WORKGROUP) {
        let span = span_first + lane;
        for (var rank = 0u; rank < params.k; rank++) {
            if span < params.spans {
                offer({q}u, partial[((query_first + {q}u) * params.k + rank) * params.spans + span]);
            }
            let total = settle(lane);
            if total == taken {
                break;
            }
            taken = total;
        }
    }
    compact(lane);
    for (var item = lane; item < QUERIES * params.k; item += WORKGROUP) {
        let slot = item / params.k * SLOTS + item % params.k;
        best[query_first * params.k + item] = Entry(scores[slot], ids[slot]);
    }
}
