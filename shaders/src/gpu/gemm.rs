//! `wgsl/gemm_*.wgsl`: the matrix product in several shapes, of which the fastest is chosen for each size of problem, and the
//! convolutions that are products of gathered windows. The twin on the CPU is `kernels::gemm`.

use super::device::GpuError;
use super::engine::Engine;
use super::lower::{Dispatch, Extent, Form, Kernel, Launch, LazyPipeline, Lowering, Operand, padded};
use super::source::{COMPONENTS, PADDING, Precision, QUAD, SHARED_BYTES_MAX, Source, WORKGROUP_MAX, range};
use crate::plan::{Shape, Step};
use crate::{Activation, Window};
use std::array;

/// What the rows of the left side are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Left {
    /// Positions of a tensor.
    Rows,
    /// Windows of a map.
    Window {
        /// Side of the window.
        kernel: usize,
        /// Step of the window.
        stride: usize,
    },
    /// Windows of pictures.
    Pixels {
        /// Side of the window.
        kernel: usize,
        /// Step of the window.
        stride: usize,
    },
}

/// One way of computing a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Variant {
    /// Registers only: 4 rows x so many quads of columns an invocation.
    Direct {
        /// Quads of columns.
        quads: usize,
    },
    /// Through workgroup memory.
    Tiled {
        /// Quads of rows of an invocation.
        row_quads: usize,
        /// Quads of columns of an invocation.
        column_quads: usize,
        /// Invocations along the rows.
        lanes_rows: usize,
        /// Invocations along the columns.
        lanes_columns: usize,
    },
    /// For few rows: the depth is divided among invocations.
    Few {
        /// Rows of a workgroup.
        rows: usize,
    },
    /// Cooperative matrices of a subgroup.
    Cooperative {
        /// Matrices of a subgroup along the rows.
        fragment_rows: usize,
        /// Matrices of a subgroup along the columns.
        fragment_columns: usize,
        /// Subgroups along the rows.
        subgroups_down: usize,
        /// Subgroups along the columns.
        subgroups_across: usize,
    },
}

const fn tiled(row_quads: usize, column_quads: usize, lanes_rows: usize, lanes_columns: usize) -> Variant {
    Variant::Tiled { row_quads, column_quads, lanes_rows, lanes_columns }
}

const fn cooperative(fragment_rows: usize, fragment_columns: usize, subgroups_down: usize, subgroups_across: usize) -> Variant {
    Variant::Cooperative { fragment_rows, fragment_columns, subgroups_down, subgroups_across }
}

/// All variants.
pub(crate) const VARIANTS: [Variant; 14] = [
    Variant::Direct { quads: 1 },
    Variant::Direct { quads: 2 },
    tiled(1, 1, 8, 8),
    tiled(1, 1, 16, 16),
    tiled(2, 1, 16, 8),
    tiled(2, 1, 16, 16),
    tiled(2, 2, 8, 8),
    tiled(2, 2, 16, 16),
    Variant::Few { rows: 1 },
    Variant::Few { rows: 4 },
    cooperative(1, 2, 2, 2),
    cooperative(2, 2, 2, 2),
    cooperative(4, 2, 2, 2),
    cooperative(4, 2, 2, 4),
];

/// Depth of a tile in workgroup memory.
const TILE_DEPTH: usize = 16;
/// Depth of a tile of cooperative matrices.
const COOPERATIVE_DEPTH: usize = 32;
/// Side of a cooperative matrix.
const FRAGMENT: usize = 16;
/// Invocations of a subgroup for cooperative matrices.
const SUBGROUP: usize = 32;
/// Quads that keep the rows of a tile of cooperative matrices in different banks.
const BANK_QUADS: usize = 2;
/// Invocations of a workgroup of [`Variant::Direct`], and how many of them lie along the columns.
const DIRECT: [usize; 2] = [64, 16];
/// Invocations of a workgroup of [`Variant::Few`], and how many of them lie along the columns.
const FEW: [usize; 2] = [256, 8];

const _: () = {
    let mut index = 0;
    while index < VARIANTS.len() {
        if let Variant::Tiled { lanes_rows, lanes_columns, .. } = VARIANTS[index] {
            assert!(lanes_rows * lanes_columns <= WORKGROUP_MAX);
        }
        if let Variant::Cooperative { subgroups_down, subgroups_across, .. } = VARIANTS[index] {
            assert!(subgroups_down * subgroups_across * SUBGROUP <= WORKGROUP_MAX);
        }
        index += 1;
    }
    assert!(TILE_DEPTH.is_multiple_of(QUAD) && COOPERATIVE_DEPTH.is_multiple_of(FRAGMENT) && PADDING.is_multiple_of(QUAD));
    assert!((FEW[0] / FEW[1]).is_power_of_two() && FEW[0] * 16 <= SHARED_BYTES_MAX && FEW[0] <= WORKGROUP_MAX);
};

impl Variant {
    /// Its name in reports and caches.
    pub(crate) fn name(self) -> String {
        let [rows, columns] = self.tile();
        match self {
            Variant::Direct { .. } => format!("direct {rows}x{columns}"),
            Variant::Tiled { .. } => format!("tiled {rows}x{columns} by {}", self.workgroup()),
            Variant::Few { rows } => format!("few {rows}"),
            Variant::Cooperative { .. } => format!("cooperative {rows}x{columns} by {}", self.workgroup()),
        }
    }

    /// Rows and columns of a workgroup.
    pub(crate) fn tile(self) -> [usize; 2] {
        match self {
            Variant::Direct { quads } => [DIRECT[0] / DIRECT[1] * QUAD, DIRECT[1] * quads * QUAD],
            Variant::Tiled { row_quads, column_quads, lanes_rows, lanes_columns } => {
                [row_quads * lanes_rows * QUAD, column_quads * lanes_columns * QUAD]
            }
            Variant::Few { rows } => [rows, FEW[1] * QUAD],
            Variant::Cooperative { fragment_rows, fragment_columns, subgroups_down, subgroups_across } => {
                [fragment_rows * subgroups_down * FRAGMENT, fragment_columns * subgroups_across * FRAGMENT]
            }
        }
    }

    fn workgroup(self) -> usize {
        match self {
            Variant::Direct { .. } => DIRECT[0],
            Variant::Tiled { lanes_rows, lanes_columns, .. } => lanes_rows * lanes_columns,
            Variant::Few { .. } => FEW[0],
            Variant::Cooperative { subgroups_down, subgroups_across, .. } => subgroups_down * subgroups_across * SUBGROUP,
        }
    }

    /// Bytes of workgroup memory.
    pub(crate) fn shared_bytes(self) -> usize {
        let [rows, columns] = self.tile();
        match self {
            Variant::Direct { .. } => 0,
            Variant::Tiled { .. } => TILE_DEPTH * (rows + QUAD + columns) * 4,
            Variant::Few { .. } => FEW[0] * QUAD * 4,
            Variant::Cooperative { .. } => {
                let tiles = rows * (COOPERATIVE_DEPTH + BANK_QUADS * QUAD) + COOPERATIVE_DEPTH * (columns + BANK_QUADS * QUAD);
                tiles * 2 + self.workgroup() / SUBGROUP * FRAGMENT * FRAGMENT * 4
            }
        }
    }

    /// Whether a device can run it at all; the self-test decides whether it may.
    pub(crate) fn fits(self, precision: Precision, shared_bytes: usize, cooperative: bool) -> bool {
        let cooperates = matches!(self, Variant::Cooperative { .. });
        self.shared_bytes() <= shared_bytes && (!cooperates || (cooperative && precision == Precision::F16))
    }

    /// Whether it is worth trying for so many rows.
    pub(crate) fn suits(self, rows: usize) -> bool {
        match self {
            Variant::Few { rows: 1 } => rows <= 4,
            Variant::Few { .. } => rows <= 64,
            _ => rows > 1,
        }
    }

    /// Workgroups for a product, and how many of them lie side by side.
    pub(crate) fn tiles(self, rows: usize, columns: usize) -> [usize; 2] {
        let [tile_rows, tile_columns] = self.tile();
        let across = columns.div_ceil(tile_columns);
        [rows.div_ceil(tile_rows) * across, across]
    }
}

/// A product of a plan.
pub(crate) struct Product {
    left: Left,
    activation: Activation,
    residual: bool,
    /// Of the result; it says how many rows there are.
    shape: Shape,
    /// Rows of the weights, padded.
    depth: usize,
    /// The parameters behind those that every product has.
    window: [usize; 7],
    /// Means and reciprocal deviations of the colours.
    normalisation: [f32; 6],
    pipelines: [LazyPipeline; VARIANTS.len()],
}

impl Product {
    /// The pipeline and launch for one size of run.
    pub(crate) fn launch(&self, engine: &Engine, extent: &Extent) -> Result<(wgpu::ComputePipeline, Launch), GpuError> {
        let rows = extent.positions(self.shape);
        let variant = engine.variant(rows, self.depth, padded(self.shape.channels()));
        self.launch_with(engine, variant, rows)
    }

    /// As [`Product::launch`] for one variant.
    pub(crate) fn launch_with(&self, engine: &Engine, variant: Variant, rows: usize) -> Result<(wgpu::ComputePipeline, Launch), GpuError> {
        let columns = padded(self.shape.channels());
        let index = VARIANTS.iter().position(|other| *other == variant).unwrap_or(0);
        let pipeline = match self.pipelines[index].get() {
            Some(pipeline) => pipeline.clone(),
            None => {
                let text = source(variant, engine.precision, self.left, self.activation, self.residual);
                let pipeline = engine.pipeline("gemm", text)?;
                self.pipelines[index].get_or_init(|| pipeline).clone()
            }
        };
        let [workgroups, across] = variant.tiles(rows, columns);
        let [height, width, channels, output_height, output_width, top, left] = self.window;
        let parameters = [rows, self.depth, columns / QUAD, across, height, width, channels, output_height, output_width, top, left];
        Ok((pipeline, Launch::new(parameters, workgroups).with_numbers(11, self.normalisation)))
    }

    /// Numbers of a row of the left side, of a row of the result, and rows for one size of run.
    pub(crate) fn size(&self, extent: &Extent) -> [usize; 3] {
        [self.depth, padded(self.shape.channels()), extent.positions(self.shape)]
    }
}

/// Lowers a product or a convolution.
pub(crate) fn dispatch(lowering: &mut Lowering<'_>, step: &Step) -> Result<Dispatch, GpuError> {
    let precision = lowering.engine.precision;
    let (name, input, weight, bias, activation, residual, output) = match step {
        Step::Gemm { input, weight, bias, activation, residual, output } => ("gemm", input, weight, bias, activation, *residual, output),
        Step::Stem { input, weight, bias, activation, output, .. } => ("stem", input, weight, bias, activation, None, output),
        Step::Conv { input, weight, bias, activation, output, .. } => ("conv", input, weight, bias, activation, None, output),
        _ => return Err(GpuError::Failed("not a product".to_owned())),
    };
    let (from, shape) = (lowering.shape(*input), lowering.shape(*output));
    let columns = shape.channels();
    let (left, form, window, normalisation) = match step {
        Step::Stem { window, normalisation, .. } => {
            let [kernel, stride] = [window.kernel, window.stride];
            let normalisation =
                array::from_fn(|index| if index < 3 { normalisation.mean[index] } else { 1.0 / normalisation.deviation[index - 3] });
            let form = Form::product(1, kernel * kernel * 3, columns, precision);
            (Left::Pixels { kernel, stride }, form, geometry(from, shape, *window), normalisation)
        }
        Step::Conv { window, .. } => {
            let [kernel, stride] = [window.kernel, window.stride];
            let form = Form::product(kernel * kernel, from.channels(), columns, precision);
            (Left::Window { kernel, stride }, form, geometry(from, shape, *window), [0.0; 6])
        }
        _ => (Left::Rows, Form::product(1, from.channels(), columns, precision), [0; 7], [0.0; 6]),
    };
    let depth = form.bytes() / padded(columns) / precision.bytes();
    let weight = lowering.weights(*weight, form)?;
    let bias = lowering.weights(*bias, Form::vector(columns))?;
    let pipelines = array::from_fn(|_| LazyPipeline::new());
    let product = Product { left, activation: *activation, residual: residual.is_some(), shape, depth, window, normalisation, pipelines };
    let input = if matches!(left, Left::Pixels { .. }) { Operand::Input } else { Operand::Tensor(*input) };
    let operands = [input, residual.map_or(Operand::Nothing, Operand::Tensor), weight, bias, Operand::Tensor(*output)];
    let operations = move |extent: &Extent| (2 * depth * columns) as f64 * extent.positions(shape) as f64;
    Ok(Dispatch { name, operands, kernel: Kernel::Product(Box::new(product)), operations: Box::new(operations) })
}

/// Height, width and quads of channels before; height and width after; padding before.
fn geometry(from: Shape, to: Shape, window: Window) -> [usize; 7] {
    let (height, width) = match from {
        Shape::Pixels { height, width } | Shape::Map { height, width, .. } => (height, width),
        _ => (1, 1),
    };
    let (output_height, output_width) = match to {
        Shape::Map { height, width, .. } => (height, width),
        _ => (1, 1),
    };
    let quads = padded(from.channels()) / QUAD;
    [height, width, quads, output_height, output_width, window.before(height), window.before(width)]
}

/// The whole shader.
pub(crate) fn source(variant: Variant, precision: Precision, left: Left, activation: Activation, residual: bool) -> String {
    let mut source = Source::new(precision).activation(activation).part(&format!("const RESIDUAL = {residual};\n"));
    source = source.constants([("CHOOSE_x", 0), ("CHOOSE_y", 1), ("CHOOSE_z", 2), ("CHOOSE_w", 3)]);
    source = source.constants([("WORKGROUP", variant.workgroup())]).part(include_str!("../../wgsl/gemm_product.wgsl"));
    source = match left {
        Left::Rows => source.part(include_str!("../../wgsl/gemm_rows.wgsl")),
        Left::Window { kernel, stride } => {
            source.constants([("KERNEL", kernel), ("STRIDE", stride)]).part(include_str!("../../wgsl/gemm_window.wgsl"))
        }
        Left::Pixels { kernel, stride } => {
            source.constants([("KERNEL", kernel), ("STRIDE", stride)]).part(include_str!("../../wgsl/stem.wgsl"))
        }
    };
    match variant {
        Variant::Direct { quads } => source
            .constants([("LANES_ROWS", DIRECT[0] / DIRECT[1]), ("LANES_COLUMNS", DIRECT[1]), ("QUADS", quads)])
            .body(include_str!("../../wgsl/gemm_direct.wgsl"), &[("r", range(4)), ("j", range(quads)), ("c", COMPONENTS)]),
        Variant::Tiled { row_quads, column_quads, lanes_rows, lanes_columns } => source
            .constants([
                ("TILE_DEPTH", TILE_DEPTH),
                ("ROW_QUADS", row_quads * lanes_rows),
                ("A_STRIDE", row_quads * lanes_rows + 1),
                ("COLUMN_QUADS", column_quads * lanes_columns),
                ("LANES_ROWS", lanes_rows),
                ("LANES_COLUMNS", lanes_columns),
            ])
            .body(
                include_str!("../../wgsl/gemm_tiled.wgsl"),
                &[("q", range(row_quads)), ("r", range(4)), ("c", COMPONENTS), ("j", range(column_quads))],
            ),
        Variant::Few { rows } => source
            .constants([("ROWS", rows), ("LANES_COLUMNS", FEW[1]), ("PARTS", FEW[0] / FEW[1])])
            .body(include_str!("../../wgsl/gemm_few.wgsl"), &[("q", range(rows)), ("c", COMPONENTS)]),
        Variant::Cooperative { fragment_rows, fragment_columns, subgroups_down, subgroups_across } => source
            .enable("wgpu_cooperative_matrix")
            .constants([
                ("TILE_DEPTH", COOPERATIVE_DEPTH),
                ("TILE_ROWS", variant.tile()[0]),
                ("TILE_COLUMNS", variant.tile()[1]),
                ("A_STRIDE", COOPERATIVE_DEPTH / QUAD + BANK_QUADS),
                ("B_STRIDE", variant.tile()[1] / QUAD + BANK_QUADS),
                ("SUBGROUP", SUBGROUP),
                ("SUBGROUPS", subgroups_down * subgroups_across),
                ("SUBGROUPS_ACROSS", subgroups_across),
                ("FRAGMENT_ROWS", fragment_rows),
                ("FRAGMENT_COLUMNS", fragment_columns),
            ])
            .body(
                include_str!("../../wgsl/gemm_cooperative.wgsl"),
                &[("q", range(fragment_rows)), ("j", range(fragment_columns)), ("c", COMPONENTS)],
            ),
    }
    .finish()
}
