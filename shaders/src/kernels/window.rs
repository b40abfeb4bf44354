//! The square window of a convolution: its padding, and which of its taps lie inside a map.

/// What lies around a map; all of it zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Padding {
    /// TensorFlow's "SAME": `output = ceil(input / stride)`, and of the padding that needs the smaller half lies before.
    Same,
    /// PyTorch's: that many positions on each side; `output = floor((input + 2 * padding - kernel) / stride) + 1`.
    Around(usize),
}

/// A square window moved over a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Side of the window.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// What it meets beyond the edges.
    pub padding: Padding,
}

/// Greatest side and greatest step of a window.
pub(crate) const WINDOW_MAX: usize = 64;

impl Window {
    /// Under TensorFlow's padding.
    #[must_use]
    pub const fn same(kernel: usize, stride: usize) -> Window {
        Window { kernel, stride, padding: Padding::Same }
    }

    /// Under PyTorch's padding.
    #[must_use]
    pub const fn around(kernel: usize, stride: usize, padding: usize) -> Window {
        Window { kernel, stride, padding: Padding::Around(padding) }
    }

    /// Length of the output along an axis of `input` positions; 0 where the window is larger than the padded axis.
    #[must_use]
    pub fn output(self, input: usize) -> usize {
        match self.padding {
            Padding::Same => input.div_ceil(self.stride),
            Padding::Around(side) => (input + 2 * side).checked_sub(self.kernel).map_or(0, |room| room / self.stride + 1),
        }
    }

    /// Padding before the first position of an axis of `input` positions.
    #[must_use]
    pub fn before(self, input: usize) -> usize {
        match self.padding {
            Padding::Same => ((self.output(input).max(1) - 1) * self.stride + self.kernel).saturating_sub(input) / 2,
            Padding::Around(side) => side,
        }
    }

    /// Whether both sides are in range and the padding is less than the window, so that every window touches the map.
    #[must_use]
    pub fn is_valid(self) -> bool {
        let padded = match self.padding {
            Padding::Same => true,
            Padding::Around(side) => side < self.kernel,
        };
        (1..=WINDOW_MAX).contains(&self.kernel) && (1..=WINDOW_MAX).contains(&self.stride) && padded
    }

    /// The taps of output position `at` that fall inside an axis of `length` positions, and the input position of the first.
    pub(crate) fn taps(self, at: usize, length: usize) -> (std::ops::Range<usize>, usize) {
        let (start, before) = (at * self.stride, self.before(length));
        let first = before.saturating_sub(start).min(self.kernel);
        let last = (length + before).saturating_sub(start).min(self.kernel);
        (first..last.max(first), (start + first).saturating_sub(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn same_padding_is_tensorflows() {
        for (kernel, stride, input, output, before) in [
            (3, 1, 112, 112, 1),
            (3, 2, 224, 112, 0),
            (5, 2, 56, 28, 1),
            (5, 2, 7, 4, 2),
            (1, 1, 9, 9, 0),
            (1, 2, 9, 5, 0),
            (5, 1, 1, 1, 2),
        ] {
            let window = Window::same(kernel, stride);
            assert_eq!((window.output(input), window.before(input)), (output, before), "{window:?} on {input}");
        }
    }

    #[test]
    fn padding_around_is_pytorchs() {
        for (kernel, stride, padding, input, output) in
            [(3, 2, 1, 224, 112), (3, 1, 1, 7, 7), (16, 16, 0, 224, 14), (14, 14, 0, 224, 16), (7, 2, 3, 224, 112), (5, 1, 0, 4, 0)]
        {
            let window = Window::around(kernel, stride, padding);
            assert_eq!((window.output(input), window.before(input)), (output, padding), "{window:?} on {input}");
        }
    }

    proptest! {
        #[test]
        fn every_window_touches_the_map(
            kernel in 1usize..9, stride in 1usize..6, around in prop::option::of(0usize..9), length in 1usize..30,
        ) {
            let padding = around.map_or(Padding::Same, Padding::Around);
            let window = Window { kernel, stride, padding };
            prop_assume!(window.is_valid());
            for at in 0..window.output(length) {
                let (taps, first) = window.taps(at, length);
                prop_assert!(first < length && first + taps.len() <= length);
                prop_assert!(!taps.is_empty());
                prop_assert_eq!(first + window.before(length), at * stride + taps.start);
            }
        }
    }
}
