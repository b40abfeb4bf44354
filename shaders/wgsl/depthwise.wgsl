// Depthwise convolution, channels last: an invocation filters one quad of channels at POSITIONS neighbouring positions of an
// output row. Neighbours in a workgroup take neighbouring quads. The twin on the CPU is src/kernels/depthwise.rs.

struct Params {
    invocations: u32, // in all
    channels: u32,    // quads
    height: u32,
    width: u32,
    output_height: u32,
    output_width: u32,
    groups: u32,      // of POSITIONS positions, in an output row
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
    let line = group / params.groups;
    let item = line / params.output_height;
    let y_first = line % params.output_height * STRIDE - params.top;
    let left = x_first * STRIDE - params.left;
    var sum{p} = bias[channel];
    for (var tap = 0u; tap < KERNEL; tap++) {
        let y = y_first + tap;
        // What lies before the map wraps around to huge numbers.
        if y < params.height {
            let first = (item * params.height + y) * params.width;
            let w{t} = vec4<f32>(weight[(tap * KERNEL + {t}u) * params.channels + channel]);
            let v{s} = load(first, left + {s}u, channel);
            sum{p} = fma(v{p*stride+t}, w{t}, sum{p});
        }
    }
    let at = (line * params.output_width + x_first) * params.channels + channel;
    if x_first + {p}u < params.output_width { output[at + {p}u * params.channels] = Quad(activate(sum{p})); }
}

fn load(first: u32, x: u32, channel: u32) -> vec4<f32> {
    if x < params.width {
        return vec4<f32>(input[(first + x) * params.channels + channel]);
    }
    return vec4<f32>();
}
