// One position of each item. The twin on the CPU is src/kernels/take.rs.

struct Params {
    quads_all: u32, // of the output
    quads: u32,     // of a position
    positions: u32, // of each item; 0: the table says
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Quad>;         // [positions of all items, quads]
@group(0) @binding(2) var<storage, read> segments: array<vec2<u32>>; // first position and number of them, of each item
@group(0) @binding(5) var<storage, read_write> output: array<Quad>;  // [item, quads]

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP + lane;
    if index < params.quads_all {
        let item = index / params.quads;
        var segment = vec2<u32>(item * params.positions, params.positions);
        if params.positions == 0u {
            segment = segments[item];
        }
        let position = select(segment.x, segment.x + segment.y - 1u, LAST);
        output[index] = input[position * params.quads + index % params.quads];
    }
}
