// The accesses of attention where heads are no whole quads.

@group(0) @binding(1) var<storage, read> input: array<Scalar>;        // [position, input_stride]: queries, keys, values
@group(0) @binding(5) var<storage, read_write> output: array<Scalar>; // [position, output_stride]

// Four numbers of a position; those past the head's width are 0.
fn load(position: u32, first: u32, quad: u32) -> vec4<f32> {
    let at = position * params.input_stride + first + 4u * quad;
    let left = select(0u, params.head_width - 4u * quad, 4u * quad < params.head_width);
    var value = vec4<f32>();
    if left > CHOOSE_{c} { value.{c} = f32(input[at + CHOOSE_{c}]); }
    return value;
}

fn store(position: u32, first: u32, quad: u32, value: vec4<f32>) {
    let at = position * params.output_stride + first + 4u * quad;
    let left = select(0u, params.head_width - 4u * quad, 4u * quad < params.head_width);
    if left > CHOOSE_{c} { output[at + CHOOSE_{c}] = Scalar(value.{c}); }
}

fn pad(position: u32) {
    for (var padding = params.width; padding < params.output_stride; padding++) {
        output[position * params.output_stride + padding] = Scalar();
    }
}
