// Matrix product through workgroup memory: a workgroup computes TILE_ROWS x TILE_COLUMNS results, each invocation some quads of
// rows times some quads of columns, spread over the tile so that neighbours read neighbouring words.
// The twin on the CPU is src/kernels/gemm.rs. In front of this text stand gemm_product.wgsl and one left side.

var<workgroup> tile_a: array<vec4<f32>, TILE_DEPTH * A_STRIDE>;     // [k][quad of rows]
var<workgroup> tile_b: array<vec4<f32>, TILE_DEPTH * COLUMN_QUADS>; // [k][quad of columns]

fn left(row: u32, k: u32) -> vec4<f32> {
    if row < params.rows && 4u * k < params.depth {
        return fetch(row, k);
    }
    return vec4<f32>();
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = workgroup.x + workgroup.y * workgroups.x;
    let row_first = tile / params.column_tiles * (4u * ROW_QUADS);
    let column_first = tile % params.column_tiles * COLUMN_QUADS;
    if row_first >= params.rows {
        return;
    }
    let lane_row = lane / LANES_COLUMNS;
    let lane_column = lane % LANES_COLUMNS;
    var sum{q}{c}{j} = vec4<f32>();
    for (var k_first = 0u; k_first < params.depth; k_first += TILE_DEPTH) {
        for (var block = lane; block < ROW_QUADS * (TILE_DEPTH / 4u); block += WORKGROUP) {
            let k = block % (TILE_DEPTH / 4u);
            let quad = block / (TILE_DEPTH / 4u);
            let row = row_first + 4u * quad;
            let a{r} = left(row + {r}u, k_first / 4u + k);
            tile_a[(4u * k + CHOOSE_{c}) * A_STRIDE + quad] = vec4<f32>(a0.{c}, a1.{c}, a2.{c}, a3.{c});
        }
        for (var item = lane; item < TILE_DEPTH * COLUMN_QUADS; item += WORKGROUP) {
            let k = k_first + item / COLUMN_QUADS;
            let column = column_first + item % COLUMN_QUADS;
            var value = vec4<f32>();
            if k < params.depth && column < params.columns {
                value = weights(k, column);
            }
            tile_b[item] = value;
        }
        workgroupBarrier();
        for (var k = 0u; k < TILE_DEPTH; k++) {
            let a{q} = tile_a[k * A_STRIDE + {q}u * LANES_ROWS + lane_row];
            let b{j} = tile_b[k * COLUMN_QUADS + {j}u * LANES_COLUMNS + lane_column];
            sum{q}{c}{j} = fma(vec4<f32>(a{q}.{c}), b{j}, sum{q}{c}{j});
        }
        workgroupBarrier();
    }
    let column{j} = column_first + {j}u * LANES_COLUMNS + lane_column;
    let row{q}{c} = row_first + 4u * ({q}u * LANES_ROWS + lane_row) + CHOOSE_{c};
    if row{q}{c} < params.rows && column{j} < params.columns { finish(row{q}{c}, column{j}, sum{q}{c}{j}); }
}
