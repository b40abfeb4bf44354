// Matrix product by cooperative matrices of 16 x 16: f16 factors, f32 sums. Each subgroup computes some of them, its part of
// the workgroup's tile; results pass through workgroup memory to meet bias, activation and residual.
// The twin on the CPU is src/kernels/gemm.rs. In front of this text stand gemm_product.wgsl and one left side.

var<workgroup> tile_a: array<vec4<f16>, TILE_ROWS * A_STRIDE>;  // [row][quad of k]
var<workgroup> tile_b: array<vec4<f16>, TILE_DEPTH * B_STRIDE>; // [k][quad of columns]
var<workgroup> results: array<vec4<f32>, SUBGROUPS * 64u>;      // a fragment of each subgroup

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
    let row_first = tile / params.column_tiles * TILE_ROWS;
    let column_first = tile % params.column_tiles * (TILE_COLUMNS / 4u);
    if row_first >= params.rows {
        return;
    }
    let subgroup = lane / SUBGROUP;
    let part_row = subgroup / SUBGROUPS_ACROSS * (16u * FRAGMENT_ROWS);
    let part_column = subgroup % SUBGROUPS_ACROSS * (16u * FRAGMENT_COLUMNS);
    var sum{q}{j} = coop_mat16x16<f32, C>();
    for (var k_first = 0u; k_first < params.depth; k_first += TILE_DEPTH) {
        for (var item = lane; item < TILE_ROWS * (TILE_DEPTH / 4u); item += WORKGROUP) {
            let k = item % (TILE_DEPTH / 4u);
            let row = item / (TILE_DEPTH / 4u);
            tile_a[row * A_STRIDE + k] = vec4<f16>(left(row_first + row, k_first / 4u + k));
        }
        for (var item = lane; item < TILE_DEPTH * (TILE_COLUMNS / 4u); item += WORKGROUP) {
            let k = k_first + item / (TILE_COLUMNS / 4u);
            let column = column_first + item % (TILE_COLUMNS / 4u);
            var value = vec4<f16>();
            if k < params.depth && column < params.columns {
                value = vec4<f16>(weight[k * params.columns + column]);
            }
            tile_b[item / (TILE_COLUMNS / 4u) * B_STRIDE + item % (TILE_COLUMNS / 4u)] = value;
        }
        workgroupBarrier();
        for (var k = 0u; k < TILE_DEPTH; k += 16u) {
            let a{q} = coopLoadT<coop_mat16x16<f16, A>>(&tile_a[(part_row + {q}u * 16u) * A_STRIDE + k / 4u], A_STRIDE);
            let b{j} = coopLoadT<coop_mat16x16<f16, B>>(&tile_b[k * B_STRIDE + part_column / 4u + {j}u * 4u], B_STRIDE);
            sum{q}{j} = coopMultiplyAdd(a{q}, b{j}, sum{q}{j});
        }
        workgroupBarrier();
    }
    let lane_row = lane % SUBGROUP / 4u;
    let lane_column = lane % 4u;
    let row = row_first + part_row + lane_row;
    let column = column_first + part_column / 4u + lane_column;
    coopStoreT(sum{q}{j}, &results[subgroup * 64u], 4u); workgroupBarrier(); write(subgroup, lane, row + {q}u * 16u, column + {j}u * 4u); workgroupBarrier();
}

// Writes one fragment, whose first rows begin at `row`.
fn write(subgroup: u32, lane: u32, row: u32, column: u32) {
    for (var part = 0u; part < 16u; part += SUBGROUP / 4u) {
        if row + part < params.rows && column < params.columns {
            finish(row + part, column, results[subgroup * 64u + (lane % SUBGROUP / 4u + part) * 4u + lane % 4u]);
        }
    }
}
