// The sum over the LANES invocations that share a row, which are one subgroup.

fn row_sum(lane: u32, value: f32) -> f32 {
    return subgroupAdd(value);
}
