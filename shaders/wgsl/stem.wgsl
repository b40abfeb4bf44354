// The left side of a product: the windows of pictures of 8-bit RGB, [kernel, kernel, 3] each, normalised; the padding is 0.
// The twin on the CPU is src/kernels/stem.rs.

@group(0) @binding(1) var<storage, read> input: array<u32>; // bytes, [item, height, width, 3]

fn fetch_quad(row: u32, k: u32) -> Quad {
    return Quad(fetch(row, k));
}

// Four numbers of a window that lie side by side in one line of the picture: windows without padding whose lines are whole
// quads.
fn fetch_line(row: u32, k: u32) -> vec4<f32> {
    let line = row / params.output_width;
    let y = line / params.output_height * params.height + line % params.output_height * STRIDE + 4u * k / (3u * KERNEL);
    let at = (y * params.width + row % params.output_width * STRIDE) * 3u + 4u * k % (3u * KERNEL);
    let low = input[at / 4u];
    let high = input[min(at / 4u + 1u, arrayLength(&input) - 1u)];
    let shift = at % 4u * 8u;
    let word = select(low, low >> shift | high << (32u - shift), shift != 0u);
    let values = vec4<f32>(vec4<u32>(word, word >> 8u, word >> 16u, word >> 24u) & vec4<u32>(255u));
    let mean = vec3<f32>(params.mean_red, params.mean_green, params.mean_blue);
    let scale = vec3<f32>(params.scale_red, params.scale_green, params.scale_blue);
    switch k % 3u {
        case 0u: { return (values - mean.xyzx) * scale.xyzx; }
        case 1u: { return (values - mean.yzxy) * scale.yzxy; }
        default: { return (values - mean.zxyz) * scale.zxyz; }
    }
}

fn fetch(row: u32, k: u32) -> vec4<f32> {
    if LINES {
        // What is padding of the depth has weights of 0.
        if 4u * k < 3u * KERNEL * KERNEL {
            return fetch_line(row, k);
        }
        return vec4<f32>();
    }
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
