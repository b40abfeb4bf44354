//! The items that one thread takes through a plan together.

use crate::plan::Shape;
use std::ops::Range;

/// Tokens of one group of texts, unless a single text is longer: enough to read each weight seldom, few enough for the cache.
const GROUP_TOKENS: usize = 192;

/// Items that one thread takes through the plan together, and where their results go.
pub(super) struct Group<'o> {
    pub(super) items: Range<usize>,
    pub(super) outputs: Vec<&'o mut [f32]>,
}

/// The input of one group.
#[derive(Clone, Copy)]
pub(super) enum GroupInput<'a> {
    Picture(&'a [u8]),
    Texts(&'a [&'a [u32]]),
}

impl GroupInput<'_> {
    /// Rows of the run (see [`super::arena::Layout`]).
    pub(super) fn rows(self) -> usize {
        match self {
            GroupInput::Picture(_) => 1,
            GroupInput::Texts(texts) => texts.iter().map(|text| text.len()).sum(),
        }
    }

    fn items(self) -> usize {
        match self {
            GroupInput::Picture(_) => 1,
            GroupInput::Texts(texts) => texts.len(),
        }
    }

    /// Positions of the longest item within a tensor of `shape`.
    pub(super) fn positions_max(self, shape: Shape) -> usize {
        self.segments(shape).map(|segment| segment.len()).max().unwrap_or(0)
    }

    /// The positions of each item within a tensor of `shape`, in order.
    pub(super) fn segments(self, shape: Shape) -> impl Iterator<Item = Range<usize>> {
        let texts = match self {
            GroupInput::Picture(_) => None,
            GroupInput::Texts(texts) => Some(texts),
        };
        let mut end = 0;
        (0..self.items()).map(move |item| {
            let length = match shape {
                Shape::Sequence { .. } => texts.map_or(0, |texts| texts[item].len()),
                _ => shape.positions(),
            };
            end += length;
            end - length..end
        })
    }
}

/// Items of each group of texts: consecutive, up to [`GROUP_TOKENS`], and at least one group for each thread.
pub(super) fn group_sizes(texts: &[&[u32]], threads: usize) -> Vec<usize> {
    let total: usize = texts.iter().map(|text| text.len()).sum();
    let aim = total.div_ceil(threads).clamp(1, GROUP_TOKENS);
    let mut sizes = Vec::new();
    let mut tokens = 0;
    for text in texts {
        match sizes.last_mut() {
            Some(size) if tokens + text.len() <= aim => *size += 1,
            _ => {
                sizes.push(1);
                tokens = 0;
            }
        }
        tokens += text.len();
    }
    sizes
}
