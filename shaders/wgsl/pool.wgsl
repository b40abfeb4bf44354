// The mean over the positions of an item: a workgroup takes LANES quads of channels of one item, its other invocations share
// the positions. The twin on the CPU is src/kernels/pool.rs.

struct Params {
    items: u32,
    quads: u32,     // of a row
    groups: u32,    // of LANES quads, in a row
    positions: u32, // of each item; 0: the table says
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Quad>;          // [positions of all items, quads]
@group(0) @binding(2) var<storage, read> segments: array<vec2<u32>>;  // first position and number of them, of each item
@group(0) @binding(5) var<storage, read_write> output: array<Quad>;   // [items, quads]

var<workgroup> parts: array<vec4<f32>, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.x + workgroup.y * workgroups.x;
    let item = index / params.groups;
    if item >= params.items {
        return;
    }
    let quad = index % params.groups * LANES + lane % LANES;
    var segment = vec2<u32>(item * params.positions, params.positions);
    if params.positions == 0u {
        segment = segments[item];
    }
    var sum = vec4<f32>();
    if quad < params.quads {
        for (var position = lane / LANES; position < segment.y; position += WORKGROUP / LANES) {
            sum += vec4<f32>(input[(segment.x + position) * params.quads + quad]);
        }
    }
    parts[lane] = sum;
    workgroupBarrier();
    for (var step = WORKGROUP / 2u; step >= LANES; step /= 2u) {
        if lane < step {
            parts[lane] += parts[lane + step];
        }
        workgroupBarrier();
    }
    if lane < LANES && quad < params.quads {
        output[item * params.quads + quad] = Quad(parts[lane] / f32(segment.y));
    }
}
