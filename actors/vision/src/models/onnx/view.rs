//! How a tensor of the graph lies in a tensor of the plan: sizes and strides over `[positions, channels]`.
//!
//! Exporters write the same thing in many ways (heads split and swapped, maps flattened and turned); all of them are views.

/// Axes of a tensor of the graph over the numbers of a tensor of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    offset: usize,
    axes: Vec<Axis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) size: usize,
    /// 0 where the size is 1.
    pub(super) stride: usize,
}

impl View {
    /// Axes with the given strides.
    pub(super) fn new(axes: &[(usize, usize)]) -> View {
        let axes = axes.iter().map(|(size, stride)| Axis { size: *size, stride: if *size == 1 { 0 } else { *stride } }).collect();
        View { offset: 0, axes }
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The same axes, with the offset less by `by`.
    pub(super) fn moved(&self, by: usize) -> Option<View> {
        Some(View { offset: self.offset.checked_sub(by)?, axes: self.axes.clone() })
    }

    pub(super) fn axes(&self) -> &[Axis] {
        &self.axes
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.size).collect()
    }

    /// The same numbers under another shape; `None` where that needs a copy.
    pub(super) fn reshape(&self, shape: &[usize]) -> Option<View> {
        let old: Vec<Axis> = self.axes.iter().copied().filter(|axis| axis.size != 1).collect();
        let wanted: Vec<usize> = shape.iter().copied().filter(|size| *size != 1).collect();
        if old.iter().any(|axis| axis.size == 0) || wanted.contains(&0) {
            return None;
        }
        let (mut strides, mut next) = (vec![], 0);
        let mut wanted = wanted.into_iter();
        while next < old.len() {
            // The smallest groups of old and new axes that hold equally many numbers.
            let (mut from, mut group) = (old[next].size, vec![wanted.next()?]);
            let (first, mut to) = (next, group[0]);
            next += 1;
            while from != to {
                if from < to {
                    let axis = old.get(next)?;
                    if old[next - 1].stride != axis.stride.checked_mul(axis.size)? {
                        return None;
                    }
                    from = from.checked_mul(axis.size)?;
                    next += 1;
                } else {
                    let size = wanted.next()?;
                    to = to.checked_mul(size)?;
                    group.push(size);
                }
            }
            debug_assert!(first < next);
            let mut stride = old[next - 1].stride;
            let at = strides.len();
            for size in group.into_iter().rev() {
                strides.insert(at, stride);
                stride *= size;
            }
        }
        if wanted.next().is_some() {
            return None;
        }
        let mut strides = strides.into_iter();
        let axes =
            shape.iter().map(|size| Axis { size: *size, stride: if *size == 1 { 0 } else { strides.next().unwrap_or(0) } }).collect();
        Some(View { offset: self.offset, axes })
    }

    /// Axis `i` of the result is axis `order[i]` of this.
    pub(super) fn transpose(&self, order: &[usize]) -> Option<View> {
        let mut seen = vec![false; self.axes.len()];
        for axis in order {
            if std::mem::replace(seen.get_mut(*axis)?, true) {
                return None;
            }
        }
        (order.len() == seen.len()).then(|| View { offset: self.offset, axes: order.iter().map(|axis| self.axes[*axis]).collect() })
    }

    /// `length` places of an axis from `start`.
    pub(super) fn slice(&self, axis: usize, start: usize, length: usize) -> Option<View> {
        let mut view = self.clone();
        let sliced = view.axes.get_mut(axis)?;
        if length == 0 || start.checked_add(length)? > sliced.size {
            return None;
        }
        view.offset += start * sliced.stride;
        *sliced = Axis { size: length, stride: if length == 1 { 0 } else { sliced.stride } };
        Some(view)
    }

    /// `count` places of an axis from `start`, `step` apart.
    pub(super) fn stepped(&self, axis: usize, start: usize, step: usize, count: usize) -> Option<View> {
        let span = count.checked_sub(1)?.checked_mul(step)?.checked_add(1)?;
        let mut view = self.slice(axis, start, span)?;
        let stride = self.axes.get(axis)?.stride.checked_mul(step)?;
        view.axes[axis] = Axis { size: count, stride: if count == 1 { 0 } else { stride } };
        Some(view)
    }

    /// The same positions where each has `columns` channels instead of `channels`; `None` where the last axis does not run over all
    /// channels, or another over some.
    pub(super) fn widened(&self, channels: usize, columns: usize) -> Option<View> {
        let (last, rows) = self.axes.split_last()?;
        let is_whole = last.size == channels && last.stride == usize::from(channels > 1) && self.offset.is_multiple_of(channels);
        if !is_whole || rows.iter().any(|axis| !axis.stride.is_multiple_of(channels)) {
            return None;
        }
        let rows: Vec<(usize, usize)> = rows.iter().map(|axis| (axis.size, axis.stride / channels * columns)).collect();
        Some(View { offset: self.offset / channels * columns, ..View::new(&[&rows[..], &[(columns, 1)]].concat()) })
    }

    /// Which positions of `channels` the view shows, where it shows a run of them in their order and nothing else.
    pub(super) fn run(&self, channels: usize) -> Option<std::ops::Range<usize>> {
        let [rows @ .., _] = &self.axes[..] else { return None };
        let count: usize = rows.iter().map(|axis| axis.size).product();
        let first = View { offset: 0, ..self.clone() };
        let is_run = self.offset.is_multiple_of(channels) && first.reshape(&[count, channels])?.is_rows(channels);
        is_run.then(|| self.offset / channels..self.offset / channels + count)
    }

    fn is_rows(&self, channels: usize) -> bool {
        *self == View::new(&[(self.axes[0].size, channels), (channels, 1)])
    }

    /// With axes of size 1 in front, up to `rank` axes.
    pub(super) fn padded(&self, rank: usize) -> View {
        let front = rank.saturating_sub(self.axes.len());
        let axes = std::iter::repeat_n(Axis { size: 1, stride: 0 }, front).chain(self.axes.iter().copied()).collect();
        View { offset: self.offset, axes }
    }

    /// Each index of the given axes, last axis fastest: its place in the plan's tensor.
    pub(super) fn places(&self, axes: &[usize]) -> Vec<usize> {
        let mut places = vec![self.offset];
        for axis in axes.iter().filter_map(|axis| self.axes.get(*axis)) {
            places = places.iter().flat_map(|place| (0..axis.size).map(move |index| place + index * axis.stride)).collect();
        }
        places
    }

    /// Whether the view shows every number of `count` once, in any order.
    pub(super) fn covers(&self, count: usize) -> bool {
        let mut axes: Vec<Axis> = self.axes.iter().copied().filter(|axis| axis.size != 1).collect();
        axes.sort_by_key(|axis| axis.stride);
        let reached =
            axes.iter().try_fold(1usize, |reached, axis| if axis.stride == reached { reached.checked_mul(axis.size) } else { None });
        self.offset == 0 && reached == Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four positions of six channels.
    fn rows() -> View {
        View::new(&[(1, 24), (4, 6), (6, 1)])
    }

    #[test]
    fn heads_are_split_turned_and_joined() {
        let split = rows().reshape(&[1, 4, 2, 3]).expect("splits");
        assert_eq!(split, View::new(&[(1, 0), (4, 6), (2, 3), (3, 1)]));
        let turned = split.transpose(&[0, 2, 1, 3]).expect("turns");
        assert_eq!(turned.shape(), [1, 2, 4, 3]);
        assert!(turned.reshape(&[1, 4, 6]).is_none(), "would need a copy");
        let joined = turned.transpose(&[0, 2, 1, 3]).and_then(|view| view.reshape(&[4, 6])).expect("joins");
        assert!(joined.covers(24) && joined == View::new(&[(4, 6), (6, 1)]));
        assert_eq!(turned.reshape(&[2, 4, 3]), Some(View::new(&[(2, 3), (4, 6), (3, 1)])));
    }

    #[test]
    fn parts_have_an_offset() {
        let part = rows().slice(2, 3, 3).expect("within");
        assert_eq!((part.offset(), part.covers(12)), (3, false));
        assert_eq!(rows().stepped(2, 1, 2, 3).expect("within").places(&[2]), [1, 3, 5]);
        assert!(rows().stepped(2, 1, 3, 3).is_none() && rows().stepped(2, 0, 1, 0).is_none());
        assert_eq!(part.places(&[2]), [3, 4, 5]);
        let last = rows().slice(1, 3, 1).and_then(|view| view.reshape(&[1, 6])).expect("within");
        assert_eq!((last.offset(), last.shape()), (18, vec![1, 6]));
        assert!(rows().slice(1, 4, 1).is_none() && rows().slice(9, 0, 1).is_none());
        let run = rows().slice(1, 2, 2).expect("within");
        assert_eq!((run.run(6), last.run(6), rows().run(6)), (Some(2..4), Some(3..4), Some(0..4)));
        let wide = run.widened(6, 10).expect("whole positions");
        assert_eq!((wide.run(10), wide.shape()), (Some(2..4), vec![1, 2, 10]));
        assert!(part.widened(6, 10).is_none() && part.run(6).is_none() && rows().stepped(1, 0, 2, 2).expect("within").run(6).is_none());
        assert!(rows().transpose(&[0, 1, 1]).is_none() && rows().reshape(&[5, 5]).is_none() && rows().reshape(&[24, 2]).is_none());
    }
}
