//! `wgsl/gemm_*.wgsl`: the matrix product in several shapes, of which the fastest is chosen for each size of problem, and the
//! convolutions that are products of gathered windows. The twin on the CPU is `kernels::gemm`.

use super::device::GpuError;
use super::engine::Engine;
use super::lower::{Dispatch, Extent, Form, Kernel, Launch, LazyPipeline, Lowering, Operand, padded};
use super::source::{COMPONENTS, PADDING, Precision, QUAD, SHARED_BYTES_MAX, Source, WORKGROUP_MAX, range};
use super::stem;
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
        /// Whether every window lies inside the picture and its lines are whole quads.
        lines: bool,
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
    /// Cooperative matrices.
    Cooperative(Fragments),
}

/// How the cooperative matrices of a workgroup's tile are shared out among its subgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Fragments {
    /// Matrices of a subgroup along rows and columns.
    each: [usize; 2],
    /// Subgroups along rows, columns and depth.
    subgroups: [usize; 3],
    /// Depth of a tile.
    depth: usize,
    /// Tiles that a workgroup takes one below the other; with more than one, all matrices of a tile are written at once.
    row_tiles: usize,
}

impl Fragments {
    const fn workgroup(self) -> usize {
        let [down, across, deep] = self.subgroups;
        down * across * deep * SUBGROUP
    }

    const fn tile(self) -> [usize; 2] {
        [self.each[0] * self.subgroups[0] * FRAGMENT, self.each[1] * self.subgroups[1] * FRAGMENT]
    }

    /// Matrices of a subgroup along the rows that are written at once.
    const fn written(self) -> usize {
        if self.row_tiles > 1 { self.each[0] } else { 1 }
    }

    /// Quads of the left and of the right side that an invocation reads for a tile.
    const fn loads(self) -> [usize; 2] {
        let [rows, columns] = self.tile();
        [rows * self.depth / QUAD / self.workgroup(), columns * self.depth / QUAD / self.workgroup()]
    }

    const fn is_sound(self) -> bool {
        let ([rows, columns], [left, right]) = (self.tile(), self.loads());
        let whole = left * QUAD * self.workgroup() == rows * self.depth && right * QUAD * self.workgroup() == columns * self.depth;
        whole && self.depth.is_multiple_of(FRAGMENT * self.subgroups[2]) && self.workgroup() <= WORKGROUP_MAX
    }

    const fn shared_bytes(self) -> usize {
        let [rows, columns] = self.tile();
        let tiles = rows * (self.depth / QUAD + BANK_QUADS) + self.depth * (columns / QUAD + BANK_QUADS);
        tiles * QUAD * 2 + self.subgroups[2] * self.subgroups[0] * self.written() * FRAGMENT * (columns / QUAD + 1) * QUAD * 4
    }

    fn body(self, source: Source) -> Source {
        let ([rows, columns], [left, right], [down, across, deep]) = (self.tile(), self.loads(), self.subgroups);
        source
            .enable("wgpu_cooperative_matrix")
            .constants([
                ("TILE_ROWS", rows),
                ("TILE_DEPTH", self.depth),
                ("DEPTH_QUADS", self.depth / QUAD),
                ("COLUMN_QUADS", columns / QUAD),
                ("A_STRIDE", self.depth / QUAD + BANK_QUADS),
                ("B_STRIDE", columns / QUAD + BANK_QUADS),
                ("ROW_TILES", self.row_tiles),
                ("RESULT_FRAGMENTS", self.written()),
                ("RESULT_ROWS", down * self.written() * FRAGMENT),
                ("RESULT_STRIDE", columns / QUAD + 1),
                ("SUBGROUP", SUBGROUP),
                ("DOWN", down),
                ("ACROSS", across),
                ("DEEP", deep),
                ("FRAGMENT_ROWS", self.each[0]),
                ("FRAGMENT_COLUMNS", self.each[1]),
            ])
            .body(
                include_str!("../../wgsl/gemm_cooperative.wgsl"),
                &[("q", range(self.each[0])), ("j", range(self.each[1])), ("u", range(left)), ("v", range(right))],
            )
    }
}

const fn tiled(row_quads: usize, column_quads: usize, lanes_rows: usize, lanes_columns: usize) -> Variant {
    Variant::Tiled { row_quads, column_quads, lanes_rows, lanes_columns }
}

const fn cooperative(each: [usize; 2], subgroups: [usize; 3], depth: usize) -> Variant {
    Variant::Cooperative(Fragments { each, subgroups, depth, row_tiles: 1 })
}

/// For small depths: several tiles one below the other.
const fn column(each: [usize; 2], subgroups: [usize; 3], depth: usize, row_tiles: usize) -> Variant {
    Variant::Cooperative(Fragments { each, subgroups, depth, row_tiles })
}

/// All variants.
pub(crate) const VARIANTS: [Variant; 22] = [
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
    cooperative([1, 2], [2, 2, 1], 32),
    cooperative([2, 2], [2, 2, 1], 32),
    cooperative([2, 2], [2, 2, 1], 64),
    cooperative([4, 2], [2, 2, 1], 32),
    cooperative([4, 2], [2, 4, 1], 32),
    cooperative([4, 4], [2, 2, 1], 32),
    cooperative([2, 2], [4, 1, 1], 32),
    cooperative([2, 2], [1, 1, 4], 128),
    cooperative([1, 2], [2, 1, 4], 128),
    column([2, 2], [2, 2, 1], 32, 4),
    column([1, 2], [2, 2, 1], 32, 8),
    column([2, 2], [4, 1, 1], 32, 4),
];

/// Depth of a tile in workgroup memory.
const TILE_DEPTH: usize = 16;
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
        if let Variant::Cooperative(fragments) = VARIANTS[index] {
            assert!(fragments.is_sound());
        }
        index += 1;
    }
    assert!(TILE_DEPTH.is_multiple_of(QUAD) && PADDING.is_multiple_of(QUAD));
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
            Variant::Cooperative(Fragments { each: [_, across], depth, row_tiles, .. }) => {
                format!("cooperative {rows}x{columns}x{depth} by {}, {across} across, {row_tiles} down", self.workgroup())
            }
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
            Variant::Cooperative(fragments) => {
                let [rows, columns] = fragments.tile();
                [rows * fragments.row_tiles, columns]
            }
        }
    }

    fn workgroup(self) -> usize {
        match self {
            Variant::Direct { .. } => DIRECT[0],
            Variant::Tiled { lanes_rows, lanes_columns, .. } => lanes_rows * lanes_columns,
            Variant::Few { .. } => FEW[0],
            Variant::Cooperative(fragments) => fragments.workgroup(),
        }
    }

    /// Bytes of workgroup memory.
    pub(crate) fn shared_bytes(self) -> usize {
        let [rows, columns] = self.tile();
        match self {
            Variant::Direct { .. } => 0,
            Variant::Tiled { .. } => TILE_DEPTH * (rows + QUAD + columns) * 4,
            Variant::Few { .. } => FEW[0] * QUAD * 4,
            Variant::Cooperative(fragments) => fragments.shared_bytes(),
        }
    }

    /// Whether a device can run it at all; the self-test decides whether it may.
    pub(crate) fn fits(self, precision: Precision, shared_bytes: usize, cooperative: bool) -> bool {
        let cooperates = matches!(self, Variant::Cooperative(_));
        self.shared_bytes() <= shared_bytes && (!cooperates || (cooperative && precision == Precision::F16))
    }

    /// Whether it is made for small depths, where only a measurement can say that it is faster.
    pub(crate) fn is_column(self) -> bool {
        matches!(self, Variant::Cooperative(fragments) if fragments.row_tiles > 1)
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
    geometry: Geometry,
    pipelines: [LazyPipeline; VARIANTS.len()],
}

impl Product {
    /// The pipeline and launch for one size of run.
    pub(crate) fn launch(&self, engine: &Engine, extent: &Extent) -> Result<(wgpu::ComputePipeline, Launch), GpuError> {
        let rows = extent.positions(self.shape);
        let variant = engine.variant(rows, self.geometry.depth, padded(self.shape.channels()));
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
        Ok((pipeline, self.geometry.launch(rows, variant.tiles(rows, columns))))
    }

    /// Numbers of a row of the left side, of a row of the result, and rows for one size of run.
    pub(crate) fn size(&self, extent: &Extent) -> [usize; 3] {
        [self.geometry.depth, padded(self.shape.channels()), extent.positions(self.shape)]
    }
}

/// What the parameters of a product say besides its rows.
#[derive(Clone, Copy)]
struct Geometry {
    /// Rows of the weights, padded.
    depth: usize,
    /// Numbers of a row of the result, padded.
    columns: usize,
    /// Of windows; see [`geometry`].
    window: [usize; 7],
    /// Means and reciprocal deviations of the colours.
    normalisation: [f32; 6],
}

impl Geometry {
    fn launch(&self, rows: usize, [workgroups, across]: [usize; 2]) -> Launch {
        let [height, width, channels, output_height, output_width, top, left] = self.window;
        let parameters = [rows, self.depth, self.columns / QUAD, across, height, width, channels, output_height, output_width, top, left];
        Launch::new(parameters, workgroups).with_numbers(11, self.normalisation)
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
            let lines = (kernel * 3).is_multiple_of(QUAD) && fits_inside(from, shape, *window);
            (Left::Pixels { kernel, stride, lines }, form, geometry(from, shape, *window), normalisation)
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
    let input = if matches!(left, Left::Pixels { .. }) { Operand::Input } else { Operand::Tensor(*input) };
    let operands = [input, residual.map_or(Operand::Nothing, Operand::Tensor), weight, bias, Operand::Tensor(*output)];
    let operations = move |extent: &Extent| (2 * depth * columns) as f64 * extent.positions(shape) as f64;
    let geometry = Geometry { depth, columns: padded(columns), window, normalisation };
    if let Left::Pixels { kernel, stride, .. } = left
        && stem::is_small(kernel)
    {
        let text = stem::source(precision, kernel, stride, padded(columns), *activation);
        let launch = move |extent: &Extent| {
            let rows = extent.positions(shape);
            geometry.launch(rows, stem::tiles(rows, padded(columns)))
        };
        return lowering.fixed(name, text, operands, launch, operations);
    }
    let pipelines = array::from_fn(|_| LazyPipeline::new());
    let product = Product { left, activation: *activation, residual: residual.is_some(), shape, geometry, pipelines };
    Ok(Dispatch { name, operands, kernel: Kernel::Product(Box::new(product)), operations: Box::new(operations) })
}

/// Whether no window reaches beyond the picture.
fn fits_inside(from: Shape, to: Shape, window: Window) -> bool {
    let [height, width, _, output_height, output_width, top, left] = geometry(from, to, window);
    let inside = |output: usize, before: usize, side: usize| before == 0 && (output.max(1) - 1) * window.stride + window.kernel <= side;
    inside(output_height, top, height) && inside(output_width, left, width)
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
        Left::Pixels { kernel, stride, lines } => source
            .constants([("KERNEL", kernel), ("STRIDE", stride)])
            .part(&format!("const LINES = {lines};\n"))
            .part(include_str!("../../wgsl/stem.wgsl")),
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
        Variant::Cooperative(fragments) => fragments.body(source),
    }
    .finish()
}
