// Self-attention of items of at most LENGTH positions by cooperative matrices of 16 x 16: a workgroup takes QUERIES queries of
// one item and one head, each of its subgroups 16 of them. All scores of its queries lie in workgroup memory, so that the
// softmax is plain: the greatest of a row is taken before the first exponential.
// The twin on the CPU is src/kernels/attention.rs. Behind this text stand the accesses by quads.

struct Params {
    tiles: u32,     // of QUERIES queries, in all
    heads: u32,
    positions: u32, // of each item; 0: the table says
    item_tiles: u32,
    width: u32,     // heads times the width of a head
    input_stride: u32,
    output_stride: u32,
    head_width: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> work: array<vec4<u32>>; // of each tile: first position, positions, first query

var<workgroup> queries: array<vec4<f16>, QUERIES * HEAD_STRIDE>;  // [query][quad of the head]
var<workgroup> others: array<vec4<f16>, KEYS * HEAD_STRIDE>;      // [key][quad], of keys and then of values
var<workgroup> scores: array<vec4<f32>, QUERIES * SCORE_STRIDE>;  // [query][quad of keys], and then results
var<workgroup> shares: array<vec4<f16>, QUERIES * SHARE_STRIDE>;  // [query][quad of keys]
var<workgroup> totals: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.x + workgroup.y * workgroups.x;
    let tile = index / params.heads;
    if tile >= params.tiles {
        return;
    }
    let head = index % params.heads;
    let first = head * params.head_width;
    var segment = vec3<u32>(tile / max(params.item_tiles, 1u) * params.positions, params.positions, tile % max(params.item_tiles, 1u) * QUERIES);
    if params.positions == 0u {
        segment = work[tile].xyz;
    }
    var key_end = segment.y;
    if CAUSAL {
        key_end = min(key_end, segment.z + QUERIES);
    }
    for (var item = lane; item < QUERIES * HEAD_QUADS; item += WORKGROUP) {
        let position = segment.x + min(segment.z + item / HEAD_QUADS, segment.y - 1u);
        queries[item / HEAD_QUADS * HEAD_STRIDE + item % HEAD_QUADS] = vec4<f16>(load(position, first, item % HEAD_QUADS));
    }
    workgroupBarrier();
    let row_first = lane / SUBGROUP * 16u;
    let q{j} = coopLoadT<coop_mat16x16<f16, A>>(&queries[row_first * HEAD_STRIDE + {j}u * 4u], HEAD_STRIDE);
    for (var key_first = 0u; key_first < key_end; key_first += KEYS) {
        fetch_others(lane, segment.xy, key_first, params.width + first);
        workgroupBarrier();
        for (var block = 0u; block < KEYS; block += 16u) {
            var score = coop_mat16x16<f32, C>();
            let k{j} = coopLoad<coop_mat16x16<f16, B>>(&others[block * HEAD_STRIDE + {j}u * 4u], HEAD_STRIDE);
            score = coopMultiplyAdd(q{j}, k{j}, score);
            coopStoreT(score, &scores[row_first * SCORE_STRIDE + (key_first + block) / 4u], SCORE_STRIDE);
        }
        workgroupBarrier();
    }
    let total = softmax(lane, segment.z + lane / LANES, key_end);
    workgroupBarrier();
    var result{j} = coop_mat16x16<f32, C>();
    for (var key_first = 0u; key_first < key_end; key_first += KEYS) {
        fetch_others(lane, segment.xy, key_first, 2u * params.width + first);
        workgroupBarrier();
        for (var block = 0u; block < KEYS; block += 16u) {
            let share = coopLoadT<coop_mat16x16<f16, A>>(&shares[row_first * SHARE_STRIDE + (key_first + block) / 4u], SHARE_STRIDE);
            let v{j} = coopLoadT<coop_mat16x16<f16, B>>(&others[block * HEAD_STRIDE + {j}u * 4u], HEAD_STRIDE);
            result{j} = coopMultiplyAdd(share, v{j}, result{j});
        }
        workgroupBarrier();
    }
    coopStoreT(result{j}, &scores[row_first * SCORE_STRIDE + {j}u * 4u], SCORE_STRIDE);
    totals[lane] = total;
    workgroupBarrier();
    for (var item = lane; item < QUERIES * HEAD_QUADS; item += WORKGROUP) {
        let line = item / HEAD_QUADS;
        if segment.z + line < segment.y {
            let position = segment.x + segment.z + line;
            store(position, first, item % HEAD_QUADS, scores[line * SCORE_STRIDE + item % HEAD_QUADS] / totals[line * LANES]);
            if head == 0u && item % HEAD_QUADS == 0u {
                pad(position);
            }
        }
    }
}

// Brings keys or values there; those past the item's end repeat its last one and get no share.
fn fetch_others(lane: u32, segment: vec2<u32>, key_first: u32, column: u32) {
    for (var item = lane; item < KEYS * HEAD_QUADS; item += WORKGROUP) {
        let position = segment.x + min(key_first + item / HEAD_QUADS, segment.y - 1u);
        others[item / HEAD_QUADS * HEAD_STRIDE + item % HEAD_QUADS] = vec4<f16>(load(position, column, item % HEAD_QUADS));
    }
}

// What of each score of a row is seen.
fn seen(quad: u32, query: u32, key_end: u32) -> vec4<bool> {
    let key = vec4<u32>(4u * quad, 4u * quad + 1u, 4u * quad + 2u, 4u * quad + 3u);
    var end = key_end;
    if CAUSAL {
        end = min(key_end, query + 1u);
    }
    return key < vec4<u32>(end);
}

// Turns the scores of a row into shares, not yet divided by their sum, which it gives: LANES invocations a row.
fn softmax(lane: u32, query: u32, key_end: u32) -> f32 {
    let line = lane / LANES;
    let quads = (key_end + KEYS - 1u) / KEYS * (KEYS / 4u);
    var highest = vec4<f32>(-1e30);
    for (var quad = lane % LANES; quad < quads; quad += LANES) {
        highest = max(highest, select(vec4<f32>(-1e30), scores[line * SCORE_STRIDE + quad], seen(quad, query, key_end)));
    }
    totals[lane] = max(max(highest.x, highest.y), max(highest.z, highest.w));
    workgroupBarrier();
    var greatest = -1e30;
    for (var part = 0u; part < LANES; part++) {
        greatest = max(greatest, totals[line * LANES + part]);
    }
    workgroupBarrier();
    var sums = vec4<f32>();
    for (var quad = lane % LANES; quad < quads; quad += LANES) {
        let share = exp((scores[line * SCORE_STRIDE + quad] - greatest) * params.scale);
        let kept = select(vec4<f32>(), share, seen(quad, query, key_end));
        sums += kept;
        shares[line * SHARE_STRIDE + quad] = vec4<f16>(kept);
    }
    totals[lane] = (sums.x + sums.y) + (sums.z + sums.w);
    workgroupBarrier();
    var total = 0.0;
    for (var part = 0u; part < LANES; part++) {
        total += totals[line * LANES + part];
    }
    workgroupBarrier();
    return total;
}
