// Layer normalisation: LANES invocations share a row, ROWS rows a workgroup. The mean is taken before the variance, as on the
// CPU: src/kernels/layernorm.rs. In front of this text stands a reduction.

struct Params {
    rows: u32,
    quads: u32,    // of a row
    channels: u32, // that are not padding
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Quad>;        // [rows, quads]
@group(0) @binding(3) var<storage, read> gain: array<vec4<f32>>;    // [quads], 0 where it is padding
@group(0) @binding(4) var<storage, read> shift: array<vec4<f32>>;   // [quads], likewise
@group(0) @binding(5) var<storage, read_write> output: array<Quad>; // [rows, quads]

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (workgroup.x + workgroup.y * workgroups.x) * (WORKGROUP / LANES) + lane / LANES;
    // Rows past the end repeat the last one; they are not written.
    let first = min(row, params.rows - 1u) * params.quads;
    var sum = vec4<f32>();
    for (var quad = lane % LANES; quad < params.quads; quad += LANES) {
        sum += select(vec4<f32>(), vec4<f32>(input[first + quad]), mask(quad));
    }
    let mean = row_sum(lane, (sum.x + sum.y) + (sum.z + sum.w)) / f32(params.channels);
    var squares = vec4<f32>();
    for (var quad = lane % LANES; quad < params.quads; quad += LANES) {
        let difference = select(vec4<f32>(), vec4<f32>(input[first + quad]) - mean, mask(quad));
        squares = fma(difference, difference, squares);
    }
    let variance = row_sum(lane, (squares.x + squares.y) + (squares.z + squares.w)) / f32(params.channels);
    let scale = 1.0 / sqrt(variance + params.epsilon);
    if row < params.rows {
        for (var quad = lane % LANES; quad < params.quads; quad += LANES) {
            output[first + quad] = Quad((vec4<f32>(input[first + quad]) - mean) * scale * gain[quad] + shift[quad]);
        }
    }
}

fn mask(quad: u32) -> vec4<bool> {
    return vec4<u32>(4u * quad, 4u * quad + 1u, 4u * quad + 2u, 4u * quad + 3u) < vec4<u32>(params.channels);
}
