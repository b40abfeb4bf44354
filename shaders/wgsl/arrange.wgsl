// Positions for a transformer: a learned row in front of each item, learned rows added. The twin on the CPU is
// src/kernels/arrange.rs.

struct Params {
    quads_all: u32, // of the output
    quads: u32,     // of a position
    positions: u32, // of an item of the output; 0: a text, whose tokens say their places
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Quad>;        // [item, position, quads]
@group(0) @binding(2) var<storage, read> tokens: array<vec2<u32>>;  // id and place of each token of the texts
@group(0) @binding(3) var<storage, read> first: array<vec4<f32>>;   // [quads]
@group(0) @binding(4) var<storage, read> places: array<vec4<f32>>;  // [position, quads]
@group(0) @binding(5) var<storage, read_write> output: array<Quad>; // [item, FIRST + position, quads]

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
        source = row / params.positions * (params.positions - FIRST) + place - FIRST;
    }
    var value: vec4<f32>;
    if FIRST == 1u && place == 0u && params.positions != 0u {
        value = first[quad];
    } else {
        value = vec4<f32>(input[source * params.quads + quad]);
    }
    if PLACES {
        value += places[place * params.quads + quad];
    }
    output[index] = Quad(value);
}
