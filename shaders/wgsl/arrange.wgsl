// Positions for a transformer: learned rows in front of each item and behind it, learned rows added. The twin on the CPU is
// src/kernels/arrange.rs.

struct Params {
    quads_all: u32, // of the output
    quads: u32,     // of a position
    positions: u32, // of an item of the output; 0: a text, whose tokens say their places
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Quad>;        // [item, position, quads]
@group(0) @binding(2) var<storage, read> tokens: array<vec2<u32>>;  // id and place of each token of the texts
@group(0) @binding(3) var<storage, read> around: array<vec4<f32>>;  // [FRONT + BEHIND, quads]
@group(0) @binding(4) var<storage, read> places: array<vec4<f32>>;  // [position, quads]
@group(0) @binding(5) var<storage, read_write> output: array<Quad>; // [item, FRONT + position + BEHIND, quads]

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP + lane;
    if index >= params.quads_all {
        return;
    }
    let quad = index % params.quads;
    let row = index / params.quads;
    var place = row % max(params.positions, 1u);
    var source = row;
    if params.positions == 0u {
        place = tokens[row].y;
    } else {
        source = row / params.positions * (params.positions - FRONT - BEHIND) + place - FRONT;
    }
    var value: vec4<f32>;
    if params.positions != 0u && place < FRONT {
        value = around[place * params.quads + quad];
    } else if params.positions != 0u && place >= params.positions - BEHIND {
        value = around[(place + FRONT + BEHIND - params.positions) * params.quads + quad];
    } else {
        value = vec4<f32>(input[source * params.quads + quad]);
    }
    if PLACES {
        value += places[place * params.quads + quad];
    }
    output[index] = Quad(value);
}
