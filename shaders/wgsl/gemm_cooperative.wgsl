// Matrix product by cooperative matrices of 16 x 16: f16 factors, f32 sums. The subgroups of a workgroup share its tile and,
// where there are few tiles, also its depth; where depth is small, a workgroup takes ROW_TILES tiles one below the other. What
// comes next is read while this is multiplied and written. Results pass through workgroup memory, where the parts of the depth
// are added, to meet bias, activation and residual.
// The twin on the CPU is src/kernels/gemm.rs. In front of this text stand gemm_product.wgsl and one left side.

var<workgroup> tile_a: array<vec4<f16>, TILE_ROWS * A_STRIDE>;                    // [row][quad of k]
var<workgroup> tile_b: array<vec4<f16>, TILE_DEPTH * B_STRIDE>;                   // [k][quad of columns]
var<workgroup> results: array<vec4<f32>, DEEP * RESULT_ROWS * RESULT_STRIDE>; // [part of the depth][row][quad of columns]

fn left(row: u32, k: u32) -> vec4<f16> {
    if row < params.rows && 4u * k < params.depth {
        return fetch_quad(row, k);
    }
    return vec4<f16>();
}

fn right(k: u32, column: u32) -> vec4<f16> {
    if k < params.depth && column < params.columns {
        return weight[k * params.columns + column];
    }
    return vec4<f16>();
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = workgroup.x + workgroup.y * workgroups.x;
    let row_first = tile / params.column_tiles * (TILE_ROWS * ROW_TILES);
    let column_first = tile % params.column_tiles * COLUMN_QUADS;
    if row_first >= params.rows {
        return;
    }
    let subgroup = lane / SUBGROUP;
    let deep = subgroup / (DOWN * ACROSS);
    let down = subgroup / ACROSS % DOWN;
    let across = subgroup % ACROSS;
    let a_row{u} = (lane + {u}u * WORKGROUP) / DEPTH_QUADS;
    let a_quad{u} = (lane + {u}u * WORKGROUP) % DEPTH_QUADS;
    let b_row{v} = (lane + {v}u * WORKGROUP) / COLUMN_QUADS;
    let b_quad{v} = (lane + {v}u * WORKGROUP) % COLUMN_QUADS;
    var next_a{u} = left(row_first + a_row{u}, a_quad{u});
    var next_b{v} = right(b_row{v}, column_first + b_quad{v});
    var sum{q}_{j} = coop_mat16x16<f32, C>();
    let place = (deep * RESULT_ROWS + down * RESULT_FRAGMENTS * 16u) * RESULT_STRIDE + across * FRAGMENT_COLUMNS * 4u;
    let steps = (params.depth + TILE_DEPTH - 1u) / TILE_DEPTH;
    for (var step = 0u; step < ROW_TILES * steps; step++) {
        tile_a[a_row{u} * A_STRIDE + a_quad{u}] = next_a{u};
        tile_b[b_row{v} * B_STRIDE + b_quad{v}] = next_b{v};
        workgroupBarrier();
        let next = step + 1u;
        if next < ROW_TILES * steps {
            let row = row_first + next / steps * TILE_ROWS;
            let k = next % steps * TILE_DEPTH;
            next_a{u} = left(row + a_row{u}, k / 4u + a_quad{u});
            next_b{v} = right(k + b_row{v}, column_first + b_quad{v});
        }
        for (var part = 0u; part < TILE_DEPTH / DEEP; part += 16u) {
            let k = deep * (TILE_DEPTH / DEEP) + part;
            let a{q} = coopLoadT<coop_mat16x16<f16, A>>(&tile_a[(down * FRAGMENT_ROWS + {q}u) * 16u * A_STRIDE + k / 4u], A_STRIDE);
            let b{j} = coopLoadT<coop_mat16x16<f16, B>>(&tile_b[k * B_STRIDE + (across * FRAGMENT_COLUMNS + {j}u) * 4u], B_STRIDE);
            sum{q}_{j} = coopMultiplyAdd(a{q}, b{j}, sum{q}_{j});
        }
        workgroupBarrier();
        if next % steps == 0u {
            let row = row_first + step / steps * TILE_ROWS;
            // repeat {q}
            coopStoreT(sum{q}_{j}, &results[place + {q}u % RESULT_FRAGMENTS * 16u * RESULT_STRIDE + {j}u * 4u], RESULT_STRIDE);
            sum{q}_{j} = coop_mat16x16<f32, C>();
            if {q+1}u % RESULT_FRAGMENTS == 0u {
                workgroupBarrier();
                write(lane, row + ({q+1}u - RESULT_FRAGMENTS) * 16u, column_first);
                workgroupBarrier();
            }
            // end
        }
    }
}

// Writes RESULT_FRAGMENTS fragments of each subgroup along the rows, over all columns of the tile.
fn write(lane: u32, row_first: u32, column_first: u32) {
    for (var item = lane; item < RESULT_ROWS * COLUMN_QUADS; item += WORKGROUP) {
        let line = item / COLUMN_QUADS;
        let row = row_first + line / (16u * RESULT_FRAGMENTS) * (16u * FRAGMENT_ROWS) + line % (16u * RESULT_FRAGMENTS);
        let column = column_first + item % COLUMN_QUADS;
        if row < params.rows && column < params.columns {
            var sum = vec4<f32>();
            for (var part = 0u; part < DEEP; part++) {
                sum += results[(part * RESULT_ROWS + line) * RESULT_STRIDE + item % COLUMN_QUADS];
            }
            finish(row, column, sum);
        }
    }
}
