// Matrix product of few rows: the weights are what is read, once; the depth is shared out over the lanes of a column and the
// parts are added at the end. A workgroup does ROWS rows and LANES_COLUMNS quads of columns.
// The twin on the CPU is src/kernels/gemm.rs. In front of this text stand gemm_product.wgsl and one left side.

var<workgroup> parts: array<vec4<f32>, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = workgroup.x + workgroup.y * workgroups.x;
    let row = tile / params.column_tiles * ROWS;
    if row >= params.rows {
        return;
    }
    let column = tile % params.column_tiles * LANES_COLUMNS + lane % LANES_COLUMNS;
    let part = lane / LANES_COLUMNS;
    let inside = min(column, params.columns - 1u);
    let row{q} = min(row + {q}u, params.rows - 1u);
    var sum{q} = vec4<f32>();
    for (var k = part; k < params.depth / 4u; k += PARTS) {
        let b{c} = weights(4u * k + CHOOSE_{c}, inside);
        let a{q} = fetch(row{q}, k);
        sum{q} = fma(vec4<f32>(a{q}.{c}), b{c}, sum{q});
    }
    var total = vec4<f32>();
    parts[lane] = sum{q}; total = add_up(lane); if part == 0u && column < params.columns && row + {q}u < params.rows { finish(row + {q}u, column, total); }
}

// The sum over the parts of a column, for the lanes of the first part.
fn add_up(lane: u32) -> vec4<f32> {
    workgroupBarrier();
    for (var step = PARTS / 2u; step > 0u; step /= 2u) {
        if lane < step * LANES_COLUMNS {
            parts[lane] += parts[lane + step * LANES_COLUMNS];
        }
        workgroupBarrier();
    }
    let total = parts[lane];
    workgroupBarrier();
    return total;
}
