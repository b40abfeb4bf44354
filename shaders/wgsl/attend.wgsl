// Attention pooling: one constant query looks at all positions of an item, WORKGROUP of them at a time with an online softmax.
// A workgroup takes one item and one head; each invocation scores a position, then sums some channels of the values.
// The twin on the CPU is src/kernels/attend.rs.

struct Params {
    items: u32,
    heads: u32,
    positions: u32, // of each item; 0: the table says
    width: u32,     // heads times the width of a head
    input_stride: u32,
    output_stride: u32,
    head_width: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Scalar>;        // [position, input_stride]: keys, values
@group(0) @binding(2) var<storage, read> segments: array<vec2<u32>>;  // first position and number of them, of each item
@group(0) @binding(3) var<storage, read> query: array<f32>;           // [width]
@group(0) @binding(5) var<storage, read_write> output: array<Scalar>; // [item, output_stride]

var<workgroup> weights: array<f32, WORKGROUP>;
var<workgroup> partial: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.x + workgroup.y * workgroups.x;
    let item = index / params.heads;
    if item >= params.items {
        return;
    }
    let head = index % params.heads;
    let first = head * params.head_width;
    var segment = vec2<u32>(item * params.positions, params.positions);
    if params.positions == 0u {
        segment = segments[item];
    }
    var greatest = -1e30;
    var total = 0.0;
    var result{n} = 0.0;
    for (var chunk = 0u; chunk < segment.y; chunk += WORKGROUP) {
        let inside = chunk + lane < segment.y;
        var score = -1e30;
        if inside {
            let at = (segment.x + chunk + lane) * params.input_stride + first;
            var sum = 0.0;
            for (var channel = 0u; channel < params.head_width; channel++) {
                sum = fma(f32(input[at + channel]), query[first + channel], sum);
            }
            score = sum * params.scale;
        }
        let highest = max(greatest, greatest_of(lane, score));
        let weight = select(0.0, exp(score - highest), inside);
        let shrink = exp(greatest - highest);
        greatest = highest;
        weights[lane] = weight;
        total = total * shrink + sum_of(lane, weight);
        result{n} *= shrink;
        let count = min(WORKGROUP, segment.y - chunk);
        for (var position = 0u; position < count; position++) {
            let at = (segment.x + chunk + position) * params.input_stride + params.width + first + lane;
            if lane + {n}u * WORKGROUP < params.head_width { result{n} = fma(weights[position], f32(input[at + {n}u * WORKGROUP]), result{n}); }
        }
        workgroupBarrier();
    }
    let at = item * params.output_stride + first + lane;
    if lane + {n}u * WORKGROUP < params.head_width { output[at + {n}u * WORKGROUP] = Scalar(result{n} / total); }
    if head == 0u && lane < params.output_stride - params.width {
        output[item * params.output_stride + params.width + lane] = Scalar();
    }
}

fn greatest_of(lane: u32, value: f32) -> f32 {
    partial[lane] = value;
    workgroupBarrier();
    for (var step = WORKGROUP / 2u; step > 0u; step /= 2u) {
        if lane < step {
            partial[lane] = max(partial[lane], partial[lane + step]);
        }
        workgroupBarrier();
    }
    let result = partial[0];
    workgroupBarrier();
    return result;
}

fn sum_of(lane: u32, value: f32) -> f32 {
    partial[lane] = value;
    workgroupBarrier();
    for (var step = WORKGROUP / 2u; step > 0u; step /= 2u) {
        if lane < step {
            partial[lane] += partial[lane + step];
        }
        workgroupBarrier();
    }
    let result = partial[0];
    workgroupBarrier();
    return result;
}
