// Multiplies and adds in registers: what arithmetic can give, for comparison.

@group(0) @binding(5) var<storage, read_write> output: array<Quad>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = (workgroup.x + workgroup.y * workgroups.x) * WORKGROUP + lane;
    let start = Scalar(f32(index % 61u) * 0.01);
    let factor = Quad(start);
    var sum{q} = Quad(start + Scalar({q}.5));
    for (var round = 0u; round < ROUNDS; round++) {
        sum{q} = fma(sum{q}, factor, factor);
        sum{q} = fma(sum{q}, factor, factor);
        sum{q} = fma(sum{q}, factor, factor);
        sum{q} = fma(sum{q}, factor, factor);
    }
    var total = Quad();
    total += sum{q};
    if index < arrayLength(&output) {
        output[index] = total;
    }
}
