// The first convolution where windows are small: an invocation takes one window and QUADS quads of channels; the weights lie
// in workgroup memory. The twin on the CPU is src/kernels/stem.rs. In front of this text stands gemm_product.wgsl.

@group(0) @binding(1) var<storage, read> input: array<u32>; // bytes, [item, height, width, 3]

var<workgroup> factors: array<vec4<f32>, KERNEL * KERNEL * 3u * QUADS>; // [tap, colour][quad]

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = workgroup.x + workgroup.y * workgroups.x;
    let column_first = tile % params.column_tiles * QUADS;
    let row = tile / params.column_tiles * WORKGROUP + lane;
    for (var item = lane; item < KERNEL * KERNEL * 3u * QUADS; item += WORKGROUP) {
        factors[item] = weights(item / QUADS, min(column_first + item % QUADS, params.columns - 1u));
    }
    workgroupBarrier();
    if row >= params.rows {
        return;
    }
    let line = row / params.output_width;
    let first = line / params.output_height * params.height;
    let top = line % params.output_height * STRIDE - params.top;
    let left = row % params.output_width * STRIDE - params.left;
    let mean = vec3<f32>(params.mean_red, params.mean_green, params.mean_blue);
    let scale = vec3<f32>(params.scale_red, params.scale_green, params.scale_blue);
    var sum{j} = vec4<f32>();
    for (var tap = 0u; tap < KERNEL * KERNEL; tap++) {
        // What lies before the picture wraps around to huge numbers.
        let y = top + tap / KERNEL;
        let x = left + tap % KERNEL;
        if y < params.height && x < params.width {
            let colour = (pixel(((first + y) * params.width + x) * 3u) - mean) * scale;
            let at = tap * 3u * QUADS;
            sum{j} = fma(vec4<f32>(colour.x), factors[at + {j}u], sum{j});
            sum{j} = fma(vec4<f32>(colour.y), factors[at + QUADS + {j}u], sum{j});
            sum{j} = fma(vec4<f32>(colour.z), factors[at + 2u * QUADS + {j}u], sum{j});
        }
    }
    if column_first + {j}u < params.columns { finish(row, column_first + {j}u, sum{j}); }
}

// The three bytes from `at` on.
fn pixel(at: u32) -> vec3<f32> {
    let low = input[at / 4u];
    let high = input[min(at / 4u + 1u, arrayLength(&input) - 1u)];
    let shift = at % 4u * 8u;
    let word = select(low, low >> shift | high << (32u - shift), shift != 0u);
    return vec3<f32>(vec3<u32>(word, word >> 8u, word >> 16u) & vec3<u32>(255u));
}
