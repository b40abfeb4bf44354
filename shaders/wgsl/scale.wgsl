// Each channel of a map times the same channel of its item's vector. The twin on the CPU is src/kernels/scale.rs.

struct Params {
    quads_all: u32, // of the output
    quads: u32,     // of a position
    positions: u32, // of an item
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Quad>;        // [item, position, quads]
@group(0) @binding(2) var<storage, read> factors: array<Quad>;      // [item, quads]
@group(0) @binding(5) var<storage, read_write> output: array<Quad>; // as the input

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP + lane;
    if index < params.quads_all {
        let item = index / params.quads / params.positions;
        output[index] = Quad(vec4<f32>(input[index]) * vec4<f32>(factors[item * params.quads + index % params.quads]));
    }
}
