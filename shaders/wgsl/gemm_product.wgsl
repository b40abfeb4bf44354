// What all kernels of the matrix product share: `output = activation(input * weight + bias) + residual`, all rows padded.

struct Params {
    rows: u32,
    depth: u32,        // rows of the weights, padded
    columns: u32,      // quads of an output row
    column_tiles: u32, // workgroups side by side
    // Of the picture or map whose windows are the rows of `input`:
    height: u32,
    width: u32,
    channels: u32,     // quads of a map's position
    output_height: u32,
    output_width: u32,
    top: u32,          // padding before
    left: u32,
    mean_red: f32,
    mean_green: f32,
    mean_blue: f32,
    scale_red: f32,
    scale_green: f32,
    scale_blue: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> residual: array<Quad>;    // [rows, columns]
@group(0) @binding(3) var<storage, read> weight: array<Quad>;      // [depth, columns]
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;   // [columns]
@group(0) @binding(5) var<storage, read_write> output: array<Quad>; // [rows, columns]

// Everything after the sum.
fn finish(row: u32, column: u32, sum: vec4<f32>) {
    let at = row * params.columns + column;
    var value = activate(sum + bias[column]);
    if RESIDUAL {
        value += vec4<f32>(residual[at]);
    }
    output[at] = Quad(value);
}

fn weights(k: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(weight[k * params.columns + column]);
}
