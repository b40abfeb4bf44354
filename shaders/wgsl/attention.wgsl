// Self-attention with an online softmax (Milakov and Gimelshein 2018; Dao 2022): a workgroup takes QUERIES queries of one item
// and one head; LANES invocations share a query, each holding some quads of it and of its result in registers. Keys and values
// pass through workgroup memory, CHUNK of them scored at a time, so that no score leaves the chip.
// The twin on the CPU is src/kernels/attention.rs. Behind this text stand the accesses, by quads or by scalars.

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
@group(0) @binding(2) var<storage, read> work: array<vec4<u32>>;      // of each tile: first position, positions, first query

var<workgroup> keys: array<vec4<f32>, KEYS * HEAD_QUADS>;
var<workgroup> values: array<vec4<f32>, KEYS * HEAD_QUADS>;
var<workgroup> shared_scores: array<f32, SHARED_SCORES>;

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
    var segment = vec3<u32>(tile / max(params.item_tiles, 1u) * params.positions, params.positions, tile % max(params.item_tiles, 1u) * QUERIES);
    if params.positions == 0u {
        segment = work[tile].xyz;
    }
    let part = lane % LANES;
    let query = segment.z + lane / LANES;
    let query_position = segment.x + min(query, segment.y - 1u);
    let first = head * params.head_width;
    let q{n} = load(query_position, first, part * LANE_QUADS + {n}u) * params.scale;
    var result{n} = vec4<f32>();
    var greatest = -1e30;
    var total = 0.0;
    var key_end = segment.y;
    if CAUSAL {
        key_end = min(key_end, segment.z + QUERIES);
    }
    for (var key_first = 0u; key_first < key_end; key_first += KEYS) {
        for (var item = lane; item < KEYS * HEAD_QUADS; item += WORKGROUP) {
            let position = segment.x + min(key_first + item / HEAD_QUADS, segment.y - 1u);
            keys[item] = load(position, params.width + first, item % HEAD_QUADS);
            values[item] = load(position, 2u * params.width + first, item % HEAD_QUADS);
        }
        workgroupBarrier();
        for (var chunk = 0u; chunk < KEYS; chunk += CHUNK) {
            var dots{k} = vec4<f32>();
            dots{k} = fma(q{n}, keys[(chunk + {k}u) * HEAD_QUADS + part * LANE_QUADS + {n}u], dots{k});
            var score{k} = (dots{k}.x + dots{k}.y) + (dots{k}.z + dots{k}.w);
            if LANES > 1u {
                shared_scores[{k}u * WORKGROUP + lane] = score{k};
                workgroupBarrier();
                score{k} = add_up({k}u * WORKGROUP + lane / LANES * LANES);
                workgroupBarrier();
            }
            score{k} = select(-1e30, score{k}, allowed(key_first + chunk + {k}u, query, segment.y));
            var highest = greatest;
            highest = max(highest, score{k});
            let shrink = exp(greatest - highest);
            greatest = highest;
            let weight{k} = select(0.0, exp(score{k} - highest), score{k} > -1e29);
            total *= shrink;
            total += weight{k};
            result{n} *= shrink;
            result{n} = fma(vec4<f32>(weight{k}), values[(chunk + {k}u) * HEAD_QUADS + part * LANE_QUADS + {n}u], result{n});
        }
        workgroupBarrier();
    }
    if query < segment.y {
        store(query_position, first, part * LANE_QUADS + {n}u, result{n} / total);
        if head == 0u && part == 0u {
            pad(query_position);
        }
    }
}

fn allowed(key: u32, query: u32, length: u32) -> bool {
    return key < length && (!CAUSAL || key <= query);
}

fn add_up(first: u32) -> f32 {
    var sum = 0.0;
    for (var part = 0u; part < LANES; part++) {
        sum += shared_scores[first + part];
    }
    return sum;
}
