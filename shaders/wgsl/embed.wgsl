// Word embeddings: the row of each token plus the row of its place. The twin on the CPU is src/kernels/embed.rs.

struct Params {
    quads_all: u32, // of the output
    quads: u32,     // of a row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<vec2<u32>>;  // id and place in its text
@group(0) @binding(3) var<storage, read> words: array<Quad>;        // [vocabulary, quads]
@group(0) @binding(4) var<storage, read> positions: array<vec4<f32>>; // [places, quads]
@group(0) @binding(5) var<storage, read_write> output: array<Quad>; // [tokens, quads]

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP + lane;
    if index < params.quads_all {
        let token = tokens[index / params.quads];
        let quad = index % params.quads;
        output[index] = Quad(vec4<f32>(words[token.x * params.quads + quad]) + positions[token.y * params.quads + quad]);
    }
}
