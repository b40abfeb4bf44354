//! Which steps of a plan the CPU runs together.

use crate::plan::{Shape, Step, TensorId};

/// Bytes of a map that no longer lies in the second-level cache when it is read again: it is not made as a whole where it
/// need not be.
const MAP_BYTES_MAX: usize = 600 << 10;

/// Steps that are one kernel.
#[derive(Debug, PartialEq)]
pub(super) enum Unit {
    /// One step.
    One(Step),
    /// A product where it is worth it, a filter of each channel, a product: see [`crate::kernels::chain`].
    Chain { expand: Option<Step>, filter: Step, project: Step },
}

impl Unit {
    /// The tensors that it reads, each once.
    pub(super) fn inputs(&self) -> [Option<TensorId>; 2] {
        match self {
            Unit::One(step) => step.inputs(),
            Unit::Chain { expand, filter, project } => {
                let [input, _] = expand.as_ref().unwrap_or(filter).inputs();
                let [_, residual] = project.inputs();
                [input, residual.filter(|residual| Some(*residual) != input)]
            }
        }
    }

    /// The tensor that it writes.
    pub(super) fn output(&self) -> TensorId {
        match self {
            Unit::One(step) | Unit::Chain { project: step, .. } => step.output(),
        }
    }
}

/// Joins steps whose tensors nobody else reads.
pub(super) fn fuse(shapes: &[Shape], steps: Vec<Step>, outputs: &[TensorId]) -> Vec<Unit> {
    let mut uses = vec![0usize; shapes.len()];
    steps.iter().flat_map(Step::inputs).flatten().chain(outputs.iter().copied()).for_each(|tensor| uses[tensor.index()] += 1);
    let is_private = |from: &Step, to: &Step| uses[from.output().index()] == 1 && to.inputs()[0] == Some(from.output());
    let is_large = |tensor: TensorId| {
        let shape = shapes[tensor.index()];
        shape.positions() * shape.channels() * size_of::<f32>() > MAP_BYTES_MAX
    };
    let mut units: Vec<Unit> = Vec::with_capacity(steps.len());
    for step in steps {
        let Some(Unit::One(filter)) = units.pop_if(|unit| {
            matches!(unit, Unit::One(filter @ Step::Depthwise { .. }) if matches!(step, Step::Gemm { .. }) && is_private(filter, &step))
        }) else {
            units.push(Unit::One(step));
            continue;
        };
        let expand = units.pop_if(|unit| {
            matches!(unit, Unit::One(expand @ Step::Gemm { residual: None, .. }) if is_private(expand, &filter) && is_large(expand.output()))
        });
        let expand = expand.and_then(|unit| if let Unit::One(step) = unit { Some(step) } else { None });
        units.push(Unit::Chain { expand, filter, project: step });
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::{Activation, Normalisation, Window, synthetic};

    /// The steps, in order.
    fn steps(unit: &Unit) -> impl Iterator<Item = &Step> {
        let steps = match unit {
            Unit::One(step) => [None, None, Some(step)],
            Unit::Chain { expand, filter, project } => [expand.as_ref(), Some(filter), Some(project)],
        };
        steps.into_iter().flatten()
    }

    /// How many chains with and without a product in front, and single steps.
    fn counts(plan: &Plan) -> [usize; 3] {
        let units = fuse(plan.tensors(), plan.steps().to_vec(), plan.outputs());
        assert!(units.iter().flat_map(steps).eq(plan.steps()), "no step is lost or moved");
        let mut counts = [0; 3];
        for unit in &units {
            let kind = match unit {
                Unit::Chain { expand: Some(_), .. } => 0,
                Unit::Chain { expand: None, .. } => 1,
                Unit::One(_) => 2,
            };
            counts[kind] += 1;
        }
        counts
    }

    #[test]
    fn bottlenecks_are_joined() {
        // Stem, eleven products in front of maps that stay in the cache, head, mean.
        assert_eq!(counts(&synthetic::lite0().expect("valid")), [5, 11, 13]);
        assert_eq!(counts(&synthetic::minilm().expect("valid"))[..2], [0, 0]);
    }

    #[test]
    fn what_others_read_is_kept() {
        for (is_output, is_residual) in [(false, false), (true, false), (false, true)] {
            let (mut plan, pixels) = Plan::new("p", Shape::Pixels { height: 8, width: 8 }).expect("valid");
            let constant = |plan: &mut Plan, shape: &[usize]| plan.constant("c", shape, vec![0.0; shape.iter().product()]).expect("valid");
            let (stem, bias) = (constant(&mut plan, &[3, 3, 3, 4]), constant(&mut plan, &[4]));
            let (filter, product) = (constant(&mut plan, &[3, 3, 4]), constant(&mut plan, &[4, 4]));
            let normalisation = Normalisation::grey(127.0, 128.0);
            let x = plan.stem(pixels, stem, bias, Window::same(3, 1), normalisation, Activation::None).expect("valid");
            let filtered = plan.depthwise(x, filter, bias, Window::same(3, 1), Activation::None).expect("valid");
            let y = plan.gemm(filtered, product, bias, Activation::None, Some(x)).expect("valid");
            let z = if is_residual { plan.gemm(y, product, bias, Activation::None, Some(filtered)).expect("valid") } else { y };
            plan.output(z).expect("valid");
            if is_output {
                plan.output(filtered).expect("valid");
            }
            assert_eq!(counts(&plan)[1], usize::from(!is_output && !is_residual));
        }
    }
}
