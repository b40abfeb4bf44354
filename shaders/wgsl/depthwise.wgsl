// Depthwise convolution, channels last: an invocation filters one quad of channels at POSITIONS neighbouring positions of ROWS
// output rows. Two rows share the lines of the input between them: the second's line is the first's next. Neighbours in a
// workgroup take neighbouring quads. The twin on the CPU is src/kernels/depthwise.rs.

struct Params {
    invocations: u32, // in all
    channels: u32,    // quads
    height: u32,
    width: u32,
    output_height: u32,
    output_width: u32,
    groups: u32,      // of POSITIONS positions, in an output row
    row_groups: u32,  // of ROWS output rows, in an item
    top: u32,         // padding before
    left: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Quad>;        // [item, height, width, channels]
@group(0) @binding(3) var<storage, read> weight: array<Quad>;       // [KERNEL, KERNEL, channels]
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;    // [channels]
@group(0) @binding(5) var<storage, read_write> output: array<Quad>; // [item, output_height, output_width, channels]

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP + lane;
    if index >= params.invocations {
        return;
    }
    let channel = index % params.channels;
    let group = index / params.channels;
    let x_first = group % params.groups * POSITIONS;
    let item = group / params.groups / params.row_groups;
    let row_first = group / params.groups % params.row_groups * ROWS;
    // What lies before the map wraps around to huge numbers.
    let y_first = row_first * STRIDE - params.top;
    let left = x_first * STRIDE - params.left;
    var upper{p} = bias[channel];
    var lower{p} = bias[channel];
    var line{s} = load(item, y_first, left + {s}u, channel);
    for (var tap = 0u; tap < KERNEL; tap++) {
        let w{t} = vec4<f32>(weight[(tap * KERNEL + {t}u) * params.channels + channel]);
        upper{p} = fma(line{p*stride+t}, w{t}, upper{p});
        if tap + 1u < KERNEL || ROWS == 2u {
            line{s} = load(item, y_first + tap + 1u, left + {s}u, channel);
        }
        if ROWS == 2u {
            lower{p} = fma(line{p*stride+t}, w{t}, lower{p});
        }
    }
    let at = ((item * params.output_height + row_first) * params.output_width + x_first) * params.channels + channel;
    if x_first + {p}u < params.output_width { output[at + {p}u * params.channels] = Quad(activate(upper{p})); }
    if ROWS == 2u && row_first + 1u < params.output_height {
        let below = at + params.output_width * params.channels;
        if x_first + {p}u < params.output_width { output[below + {p}u * params.channels] = Quad(activate(lower{p})); }
    }
}

fn load(item: u32, y: u32, x: u32, channel: u32) -> vec4<f32> {
    if y < params.height && x < params.width {
        return vec4<f32>(input[((item * params.height + y) * params.width + x) * params.channels + channel]);
    }
    return vec4<f32>();
}
