// The accesses of attention where heads are whole quads.

@group(0) @binding(1) var<storage, read> input: array<Quad>;        // [position, input_stride / 4]: queries, keys, values
@group(0) @binding(5) var<storage, read_write> output: array<Quad>; // [position, output_stride / 4]

// Four numbers of a position; those past the head's width are 0.
fn load(position: u32, first: u32, quad: u32) -> vec4<f32> {
    if 4u * quad < params.head_width {
        return vec4<f32>(input[(position * params.input_stride + first) / 4u + quad]);
    }
    return vec4<f32>();
}

fn store(position: u32, first: u32, quad: u32, value: vec4<f32>) {
    if 4u * quad < params.head_width {
        output[(position * params.output_stride + first) / 4u + quad] = Quad(value);
    }
}

fn pad(position: u32) {
    for (var padding = params.width; padding < params.output_stride; padding += 4u) {
        output[(position * params.output_stride + padding) / 4u] = Quad();
    }
}
