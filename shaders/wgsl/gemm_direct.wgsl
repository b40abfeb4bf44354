// Matrix product without workgroup memory: each invocation sums 4 rows x QUADS quads of columns in registers.
// The twin on the CPU is src/kernels/gemm.rs. In front of this text stand gemm_product.wgsl and one left side.

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = workgroup.x + workgroup.y * workgroups.x;
    let row = (tile / params.column_tiles * LANES_ROWS + lane / LANES_COLUMNS) * 4u;
    let column = tile % params.column_tiles * LANES_COLUMNS * QUADS + lane % LANES_COLUMNS;
    if row >= params.rows || column >= params.columns {
        return;
    }
    // Rows and columns past the end repeat the last one; they are not written.
    let last = params.rows - 1u;
    let row{r} = min(row + {r}u, last);
    let column{j} = min(column + {j}u * LANES_COLUMNS, params.columns - 1u);
    var sum{r}_{j} = vec4<f32>();
    for (var k = 0u; k < params.depth / 4u; k++) {
        let a{r} = fetch(row{r}, k);
        let b{j}{c} = weights(4u * k + CHOOSE_{c}, column{j});
        sum{r}_{j} = fma(vec4<f32>(a{r}.{c}), b{j}{c}, sum{r}_{j});
    }
    if row + {r}u < params.rows && column + {j}u * LANES_COLUMNS < params.columns { finish(row + {r}u, column + {j}u * LANES_COLUMNS, sum{r}_{j}); }
}
