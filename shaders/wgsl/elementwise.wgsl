// Two tensors of one shape, quad by quad. The twin on the CPU is src/kernels/elementwise.rs.

struct Params {
    quads: u32, // in all
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<Quad>;
@group(0) @binding(2) var<storage, read> right: array<Quad>;
@group(0) @binding(5) var<storage, read_write> output: array<Quad>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP + lane;
    if index < params.quads {
        output[index] = Quad(combine(vec4<f32>(left[index]), vec4<f32>(right[index])));
    }
}
