//! One position of an item as its vector: the class token in front, or the mark at the end of a text.

/// Which position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// The first.
    First,
    /// The last: of a text, its own last token.
    Last,
}

/// Copies one row of `input` (`[positions, output.len()]`, at least one) to `output`.
pub(crate) fn take(input: &[f32], position: Position, output: &mut [f32]) {
    assert!(!input.is_empty() && input.len().is_multiple_of(output.len()), "whole rows, at least one");
    let at = match position {
        Position::First => 0,
        Position::Last => input.len() - output.len(),
    };
    output.copy_from_slice(&input[at..at + output.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_last() {
        for (position, want) in [(Position::First, [1.0, 2.0]), (Position::Last, [5.0, 6.0])] {
            let mut output = [0.0; 2];
            take(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], position, &mut output);
            assert_eq!(output, want);
        }
    }
}
