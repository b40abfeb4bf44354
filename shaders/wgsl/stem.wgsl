// The left side of a product: the windows of pictures of 8-bit RGB, [kernel, kernel, 3] each, normalised; the padding is 0.
// The twin on the CPU is src/kernels/stem.rs.

@group(0) @binding(1) var<storage, read> input: array<u32>; // bytes, [item, height, width, 3]

fn fetch(row: u32, k: u32) -> vec4<f32> {
    let line = row / params.output_width;
    let top = line % params.output_height * STRIDE - params.top;
    let left = row % params.output_width * STRIDE - params.left;
    let first = line / params.output_height * params.height;
    return vec4<f32>(
        colour(first, top, left, 4u * k),
        colour(first, top, left, 4u * k + 1u),
        colour(first, top, left, 4u * k + 2u),
        colour(first, top, left, 4u * k + 3u),
    );
}

fn colour(first: u32, top: u32, left: u32, k: u32) -> f32 {
    let tap = k / 3u;
    let y = top + tap / KERNEL;
    let x = left + tap % KERNEL;
    if tap >= KERNEL * KERNEL || y >= params.height || x >= params.width {
        return 0.0;
    }
    let at = ((first + y) * params.width + x) * 3u + k % 3u;
    let value = f32(input[at / 4u] >> (at % 4u * 8u) & 255u);
    switch k % 3u {
        case 0u: { return (value - params.mean_red) * params.scale_red; }
        case 1u: { return (value - params.mean_green) * params.scale_green; }
        default: { return (value - params.mean_blue) * params.scale_blue; }
    }
}
