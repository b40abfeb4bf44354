// The sum over the LANES invocations that share a row, through workgroup memory.

var<workgroup> partial: array<f32, WORKGROUP>;

fn row_sum(lane: u32, value: f32) -> f32 {
    partial[lane] = value;
    workgroupBarrier();
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        if lane % LANES < step {
            partial[lane] += partial[lane + step];
        }
        workgroupBarrier();
    }
    let total = partial[lane / LANES * LANES];
    workgroupBarrier();
    return total;
}
