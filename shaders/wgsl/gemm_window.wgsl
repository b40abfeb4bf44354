// The left side of a product: the windows of a map, [kernel, kernel, channels] each, gathered while they are multiplied.

@group(0) @binding(1) var<storage, read> input: array<Quad>; // [item, height, width, channels]

fn fetch(row: u32, k: u32) -> vec4<f32> {
    let tap = k / params.channels;
    let line = row / params.output_width;
    let y = line % params.output_height * STRIDE + tap / KERNEL - params.top;
    let x = row % params.output_width * STRIDE + tap % KERNEL - params.left;
    // What lies before the map wraps around to huge numbers.
    if y >= params.height || x >= params.width {
        return vec4<f32>();
    }
    let position = (line / params.output_height * params.height + y) * params.width + x;
    return vec4<f32>(input[position * params.channels + k % params.channels]);
}
