// Copies a buffer: what memory can give, for comparison.

@group(0) @binding(1) var<storage, read> input: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4<u32>>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP + lane;
    if index < arrayLength(&input) {
        output[index] = input[index];
    }
}
