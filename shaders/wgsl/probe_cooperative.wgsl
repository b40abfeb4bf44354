// Multiplies cooperative matrices in registers: what they can give, for comparison.

@group(0) @binding(5) var<storage, read_write> output: array<f32>;

var<workgroup> factors: array<vec4<f16>, 128>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if lane < 128u {
        factors[lane] = vec4<f16>(f16(lane % 7u) * 0.125h);
    }
    workgroupBarrier();
    let a = coopLoadT<coop_mat16x16<f16, A>>(&factors[0], 4u);
    let b = coopLoadT<coop_mat16x16<f16, B>>(&factors[64], 4u);
    var sum{q} = coop_mat16x16<f32, C>();
    for (var round = 0u; round < ROUNDS; round++) {
        sum{q} = coopMultiplyAdd(a, b, sum{q});
    }
    coopStoreT(sum{q}, &output[(workgroup.x * (WORKGROUP / 32u) + lane / 32u) % 16u * 2048u + {q}u * 256u], 16u);
}
