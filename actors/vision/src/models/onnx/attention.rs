//! Attention, however it was written: queries, keys and values become columns of one product.

use super::constant::Constant;
use super::file::Node;
use super::fold;
use super::translate::{Result, Translator};
use super::value::{Kind, Queries, Scores, Signal, Value};
use super::view::View;
use shaders::{Activation, TensorId};

/// What a masked place has at most; half of what 16-bit numbers reach.
const MASKED_MAX: f32 = -1e4;
/// Greatest relative difference of two scales that count as one.
const SCALE_TOLERANCE: f64 = 1e-4;

/// Columns of one product over `input`, with what is added to them.
struct Columns {
    input: TensorId,
    /// `[depth, columns]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Translator<'_> {
    pub(super) fn matmul(&mut self, left: &Value, right: &Value) -> Result<Value> {
        match (left, right) {
            (Value::Signal(signal), Value::Constant(weight)) => {
                let [front @ .., depth, columns] = &weight.shape[..] else { return Err("its weights are not a matrix".into()) };
                if front.iter().any(|size| *size != 1) {
                    return Err("its weights are more than one matrix".into());
                }
                self.product(signal, weight.to_floats(), [*depth, *columns]).map(Value::Signal)
            }
            (Value::Signal(queries), Value::Signal(keys)) => self.score(Queries::Signal(queries.clone()), left, keys),
            (Value::Constant(queries), Value::Signal(keys)) => self.score(Queries::Known(queries.clone()), left, keys),
            (Value::Scores(scores), Value::Signal(values)) => self.attend(scores, values).map(Value::Signal),
            _ => Err("it multiplies things that do not go together".into()),
        }
    }

    /// `weight` is `[depth, columns]`.
    pub(super) fn product(&mut self, signal: &Signal, weight: std::rc::Rc<[f32]>, [depth, columns]: [usize; 2]) -> Result<Signal> {
        // Of a run of positions all are multiplied: they are cut out at the end.
        let is_run = signal.view.run(signal.base.channels).is_some_and(|run| run.len() > 1);
        let whole = if is_run { signal.clone() } else { self.whole(signal)? };
        let channels = whole.base.channels;
        let view = whole.view.widened(channels, columns).filter(|_| channels == depth && columns > 0);
        let view =
            view.ok_or_else(|| format!("weights of {depth} x {columns} do not fit {channels} channels of {:?}", whole.view.shape()))?;
        let kind = Kind::Product { input: self.emit(&whole)?, weight };
        Ok(Signal::of(kind, whole.base.positions, columns, view))
    }

    pub(super) fn gemm(&mut self, node: &Node<'_>, value: &Value, weight: &Constant, bias: Option<&Value>) -> Result<Value> {
        let Value::Signal(signal) = value else { return Err("it multiplies things that do not go together".into()) };
        let [rows, columns] = weight.shape[..] else { return Err("its weights are not a matrix".into()) };
        if node.int("transA").unwrap_or(0) != 0 {
            return Err("it turns what it multiplies".into());
        }
        let numbers = weight.to_floats();
        let product = if node.int("transB").unwrap_or(0) != 0 {
            self.product(signal, crate::models::tensors::transpose(&numbers, rows, columns).into(), [columns, rows])?
        } else {
            self.product(signal, numbers, [rows, columns])?
        };
        let alpha = f64::from(node.float("alpha").unwrap_or(1.0));
        let product = Value::Signal(product.curved(product.curve.then(|x| x * alpha)));
        match bias {
            None => Ok(product),
            Some(Value::Constant(bias)) => {
                let beta = Constant::floats(vec![], vec![node.float("beta").unwrap_or(1.0)]);
                let scaled = bias.to_floats().iter().map(|number| number * beta.float(0)).collect();
                self.binary("Add", &product, &Value::Constant(Constant::floats(bias.shape.clone(), scaled)))
            }
            Some(other) => self.binary("Add", &product, other),
        }
    }

    fn score(&mut self, queries: Queries, left: &Value, keys: &Signal) -> Result<Value> {
        let (left, right) = (left.shape(), keys.view.shape());
        let ([front @ .., rows, depth], [other_front @ .., wanted, columns]) = (&left[..], &right[..]) else {
            return Err("it multiplies less than matrices".into());
        };
        let front =
            fold::broadcast(front, other_front).filter(|_| depth == wanted).ok_or_else(|| format!("{left:?} and {right:?} do not fit"))?;
        let shape = [&front[..], &[*rows, *columns]].concat();
        Ok(Value::Scores(Scores { queries, keys: keys.clone(), scale: 1.0, is_causal: false, are_shares: false, shape }))
    }

    /// Scores scaled by a number, or with a mask added.
    pub(super) fn scored(&mut self, operator: &str, scores: &Scores, constant: &Constant) -> Result<Value> {
        let scaled = |scale: f64| Ok(Value::Scores(Scores { scale: scores.scale * scale, ..scores.clone() }));
        match (operator, constant.uniform()) {
            ("Mul", Some(factor)) if !scores.is_causal => scaled(factor),
            ("Div", Some(divisor)) if !scores.is_causal => scaled(1.0 / divisor),
            ("Add", Some(summand)) if summand.abs() < 1e-6 => scaled(1.0),
            ("Add", _) => self.with_mask(scores, &|at| constant.float(at), &constant.shape),
            _ => Err("it does with attention scores what is not known".into()),
        }
    }

    /// Scores where a condition holds, or does not, and a very low number elsewhere.
    pub(super) fn masked(&mut self, scores: &Scores, condition: &Constant, other: &Constant, kept: bool) -> Result<Value> {
        let low = other.uniform().filter(|low| *low <= f64::from(MASKED_MAX)).ok_or("scores are replaced by more than one number")? as f32;
        self.with_mask(scores, &|at| if (condition.float(at) != 0.0) == kept { 0.0 } else { low }, &condition.shape)
    }

    /// The only mask that is known keeps each token from looking ahead.
    fn with_mask(&mut self, scores: &Scores, mask: &dyn Fn(usize) -> f32, shape: &[usize]) -> Result<Value> {
        let wide = fold::broadcast(shape, &scores.shape).filter(|wide| *wide == scores.shape).ok_or("its mask does not fit")?;
        let own = shape.len().checked_sub(2).map(|front| &shape[front..]);
        let [rows, columns] = wide[wide.len().saturating_sub(2)..] else { return Err("its mask does not fit".into()) };
        // A mask that is stretched over rows or columns says the same of all of them.
        let (mut is_open, mut is_causal) = (true, rows == columns && own == Some(&[rows, columns]));
        for at in 0..shape.iter().product() {
            let (number, row, column) = (mask(at), at / columns.max(1) % rows.max(1), at % columns.max(1));
            is_open &= number.abs() < 1e-6;
            is_causal &= if column <= row { number.abs() < 1e-6 } else { number <= MASKED_MAX };
        }
        if !is_open && !is_causal {
            return Err("its mask or bias is neither open nor one that hides what follows".into());
        }
        Ok(Value::Scores(Scores { is_causal: scores.is_causal || !is_open, ..scores.clone() }))
    }

    pub(super) fn softmax(&mut self, node: &Node<'_>, value: &Value) -> Result<Value> {
        let Value::Scores(scores) = value else { return Err("it is known only for attention".into()) };
        let axis = fold::axis(node.int("axis").unwrap_or(-1), scores.shape.len())?;
        if axis + 1 != scores.shape.len() || scores.are_shares {
            return Err("it is not taken over the keys".into());
        }
        Ok(Value::Scores(Scores { are_shares: true, ..scores.clone() }))
    }

    fn attend(&mut self, scores: &Scores, values: &Signal) -> Result<Signal> {
        let shape = values.view.shape();
        let [front @ .., count, width] = &shape[..] else { return Err("its values are not matrices".into()) };
        let [scores_front @ .., rows, columns] = &scores.shape[..] else { return Err("its scores are not matrices".into()) };
        let heads: usize = front.iter().product();
        if !scores.are_shares || count != columns || scores_front.iter().product::<usize>() != heads {
            return Err("it multiplies scores by what are not their values".into());
        }
        let scale = scores.scale * (*width as f64).sqrt();
        let scale = if (scale - 1.0).abs() <= SCALE_TOLERANCE { 1.0 } else { scale };
        let rank = keys_rank(&scores.keys)?;
        let keys = self.columns(&scores.keys, rank, true, 1.0)?;
        let values = self.columns(values, values.view.axes().len(), false, 1.0)?;
        let all = heads * width;
        let tensor = match &scores.queries {
            Queries::Signal(queries) => {
                let queries = self.columns(queries, queries.view.axes().len(), false, scale)?;
                let merged = self.merged(&[queries, keys, values], all)?;
                self.plan.attention(merged, heads, scores.is_causal)?
            }
            Queries::Known(query) => {
                if *rows != 1 || query.len() != all {
                    return Err("only one query is known in advance".into());
                }
                let query = query.to_floats().iter().map(|number| (f64::from(*number) * scale) as f32).collect();
                let query = self.constant(&[all], query)?;
                let merged = self.merged(&[keys, values], all)?;
                self.plan.attend(merged, query, heads)?
            }
        };
        let mut stride = all;
        let mut axes = vec![];
        for size in front {
            stride /= size;
            axes.push((*size, stride));
        }
        axes.extend([(*rows, all), (*width, 1)]);
        Ok(self.signal(tensor, View::new(&axes)))
    }

    /// The columns of the product that a signal shows, head by head. The signal is `[heads.., positions, width]`, or with the
    /// last two swapped.
    fn columns(&mut self, signal: &Signal, rank: usize, is_swapped: bool, scale: f64) -> Result<Columns> {
        let axes = signal.view.axes();
        let (rows, width) = if is_swapped { (rank - 1, rank - 2) } else { (rank - 2, rank - 1) };
        let channels = signal.base.channels;
        let row_fits = axes[rows].size == signal.base.positions && (axes[rows].stride == channels || axes[rows].size == 1);
        let head_axes: Vec<usize> = (0..rank - 2).chain([width]).collect();
        let places = signal.view.places(&head_axes);
        if !row_fits || places.iter().any(|place| *place >= channels) {
            return Err("its queries, keys or values are not rows of positions".into());
        }
        let Kind::Product { input, weight } = &signal.base.kind else {
            return Err("its queries, keys or values are not products of one tensor".into());
        };
        let (factors, summands) = signal.line().ok_or("a function stands between a product and attention")?;
        let depth = weight.len() / channels;
        let mut gathered = Vec::with_capacity(depth * places.len());
        for row in weight.chunks_exact(channels) {
            gathered.extend(places.iter().map(|place| (f64::from(row[*place]) * factors[*place] * scale) as f32));
        }
        let bias = places.iter().map(|place| (summands[*place] * scale) as f32).collect();
        Ok(Columns { input: *input, weight: gathered, bias })
    }

    /// One product of all columns, side by side.
    fn merged(&mut self, parts: &[Columns], width: usize) -> Result<TensorId> {
        let input = parts[0].input;
        let depth = parts[0].weight.len() / width.max(1);
        if parts.iter().any(|part| part.input != input || part.bias.len() != width || part.weight.len() != depth * width) {
            return Err("its queries, keys and values are not products of one tensor".into());
        }
        let row = |at: usize| parts.iter().flat_map(move |part| part.weight[at * width..(at + 1) * width].iter().copied());
        let weight = (0..depth).flat_map(row).collect();
        let bias = parts.iter().flat_map(|part| part.bias.iter().copied()).collect();
        let weight = self.constant(&[depth, parts.len() * width], weight)?;
        let bias = self.constant(&[parts.len() * width], bias)?;
        Ok(self.plan.gemm(input, weight, bias, Activation::None, None)?)
    }
}

fn keys_rank(keys: &Signal) -> Result<usize> {
    let rank = keys.view.axes().len();
    if rank < 2 { Err("its keys are not matrices".into()) } else { Ok(rank) }
}
