// The left side of a product: the rows of a tensor.

@group(0) @binding(1) var<storage, read> input: array<Quad>; // [rows, depth / 4]

fn fetch(row: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(input[row * (params.depth / 4u) + k]);
}
