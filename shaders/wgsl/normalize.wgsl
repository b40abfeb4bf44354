// Scales each row to length 1; a zero row stays zero. LANES invocations share a row, ROWS rows a workgroup.
// The twin on the CPU is src/kernels/normalize.rs. In front of this text stands a reduction.

struct Params {
    rows: u32,
    quads: u32,    // of a row
    channels: u32, // that are not padding
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Quad>;        // [rows, quads]
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
    var squares = vec4<f32>();
    for (var quad = lane % LANES; quad < params.quads; quad += LANES) {
        let value = select(vec4<f32>(), vec4<f32>(input[first + quad]), mask(quad));
        squares = fma(value, value, squares);
    }
    let length = sqrt(row_sum(lane, (squares.x + squares.y) + (squares.z + squares.w)));
    let scale = 1.0 / max(length, 1e-12);
    if row < params.rows {
        for (var quad = lane % LANES; quad < params.quads; quad += LANES) {
            output[first + quad] = Quad(vec4<f32>(input[first + quad]) * scale);
        }
    }
}

fn mask(quad: u32) -> vec4<bool> {
    return vec4<u32>(4u * quad, 4u * quad + 1u, 4u * quad + 2u, 4u * quad + 3u) < vec4<u32>(params.channels);
}
