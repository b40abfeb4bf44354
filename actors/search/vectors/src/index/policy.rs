//! When segments are merged: small ones together, so that a search meets few; those with many dead rows anew, so that memory comes
//! back. A row is rewritten about log2(rows / `flat_rows_max`) times in its life.

/// Segments without a graph that may stand beside one another.
const FLAT_SEGMENTS_MAX: usize = 8;
/// Segments with a graph that may stand beside one another: each costs a walk of its own.
const GRAPH_SEGMENTS_MAX: usize = 4;
/// A larger segment is taken into a merge when it is at most so many times what is merged anyway.
const GROWTH: usize = 2;
/// Fewer dead rows than this are not worth a rewrite.
const DEAD_ROWS_MIN: usize = 256;

/// What the policy knows of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Rows, alive and dead.
    pub(crate) rows: usize,
    pub(crate) dead: usize,
    pub(crate) has_graph: bool,
}

impl Shape {
    fn alive(&self) -> usize {
        self.rows - self.dead
    }
}

/// Segments, by their place in the list, that become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) segments: Vec<usize>,
    pub(crate) with_graph: bool,
}

/// The merge that is due, if any. `flat_rows_max`: above so many rows together, segments get a graph; `dead_ratio_max`: above this
/// share of dead rows, a segment is rewritten.
pub(crate) fn next_merge(segments: &[Shape], flat_rows_max: usize, dead_ratio_max: f32) -> Option<Merge> {
    let of_kind = |has_graph: bool| (0..segments.len()).filter(move |index| segments[*index].has_graph == has_graph);
    let alive = |indices: &[usize]| indices.iter().map(|index| segments[*index].alive()).sum::<usize>();
    let flat: Vec<usize> = of_kind(false).collect();
    let mut graphs: Vec<usize> = of_kind(true).collect();
    graphs.sort_by_key(|index| (segments[*index].alive(), *index));
    if alive(&flat) > flat_rows_max {
        return Some(Merge { segments: absorb(segments, flat, &graphs), with_graph: true });
    }
    if flat.len() > FLAT_SEGMENTS_MAX {
        return Some(Merge { segments: flat, with_graph: false });
    }
    if graphs.len() > GRAPH_SEGMENTS_MAX {
        return Some(Merge { segments: absorb(segments, graphs[..2].to_vec(), &graphs[2..]), with_graph: true });
    }
    let is_due =
        |shape: &Shape| shape.dead == shape.rows || shape.dead >= DEAD_ROWS_MIN && shape.dead as f32 > dead_ratio_max * shape.rows as f32;
    let index = (0..segments.len()).filter(|index| is_due(&segments[*index])).max_by_key(|index| segments[*index].dead)?;
    Some(Merge { segments: vec![index], with_graph: segments[index].has_graph && segments[index].alive() > flat_rows_max })
}

/// Takes in every next larger segment that is not much larger than what is there.
fn absorb(segments: &[Shape], mut chosen: Vec<usize>, ascending: &[usize]) -> Vec<usize> {
    let mut alive: usize = chosen.iter().map(|index| segments[*index].alive()).sum();
    for index in ascending {
        if segments[*index].alive() > GROWTH * alive {
            break;
        }
        alive += segments[*index].alive();
        chosen.push(*index);
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flat(rows: usize, dead: usize) -> Shape {
        Shape { rows, dead, has_graph: false }
    }

    fn graph(rows: usize, dead: usize) -> Shape {
        Shape { rows, dead, has_graph: true }
    }

    #[test]
    fn merges_by_table() {
        let merge = |segments: &[usize], with_graph| Some(Merge { segments: segments.to_vec(), with_graph });
        let cases: Vec<(Vec<Shape>, Option<Merge>)> = vec![
            (vec![], None),
            (vec![flat(1000, 100)], None),
            (vec![flat(1000, 1000)], merge(&[0], false)),
            (vec![flat(10_000, 2000)], merge(&[0], false)),
            (vec![flat(16_000, 0), flat(16_000, 0)], None),
            (vec![flat(16_000, 0); 4], merge(&[0, 1, 2, 3], true)),
            (vec![graph(100_000, 0), flat(60_000, 0)], merge(&[0, 1], true)),
            (vec![graph(1_000_000, 0), flat(60_000, 0)], merge(&[1], true)),
            (vec![graph(1_000_000, 0), graph(110_000, 0), flat(60_000, 0)], merge(&[1, 2], true)),
            (vec![graph(1_000_000, 200_000), flat(1000, 0)], merge(&[0], true)),
            (vec![graph(60_000, 30_000)], merge(&[0], false)),
            (vec![flat(10, 0); 9], merge(&[0, 1, 2, 3, 4, 5, 6, 7, 8], false)),
            (
                vec![graph(1_000_000, 0), graph(400_000, 0), graph(180_000, 0), graph(80_000, 0), graph(35_000, 0)],
                merge(&[0, 1, 2, 3, 4], true),
            ),
        ];
        for (segments, expected) in cases {
            assert_eq!(next_merge(&segments, 50_000, 0.125), expected, "{segments:?}");
        }
    }

    proptest! {
        #[test]
        fn merging_ends_with_few_segments_and_few_dead_rows(
            sizes in prop::collection::vec((1usize..200_000, 0.0f32..1.0, any::<bool>()), 0..40),
        ) {
            let mut segments: Vec<Shape> = sizes
                .into_iter()
                .map(|(rows, dead, has_graph)| Shape { rows, dead: (rows as f32 * dead) as usize, has_graph })
                .collect();
            let alive: usize = segments.iter().map(Shape::alive).sum();
            for round in 0.. {
                prop_assert!(round < 100, "merging never ends");
                let Some(merge) = next_merge(&segments, 50_000, 0.125) else { break };
                let rows: usize = merge.segments.iter().map(|index| segments[*index].alive()).sum();
                let mut index = 0;
                segments.retain(|_| {
                    index += 1;
                    !merge.segments.contains(&(index - 1))
                });
                if rows > 0 {
                    segments.push(Shape { rows, dead: 0, has_graph: merge.with_graph });
                }
            }
            prop_assert_eq!(segments.iter().map(Shape::alive).sum::<usize>(), alive);
            prop_assert!(segments.iter().filter(|shape| shape.has_graph).count() <= GRAPH_SEGMENTS_MAX);
            prop_assert!(segments.iter().filter(|shape| !shape.has_graph).map(Shape::alive).sum::<usize>() <= 50_000);
            prop_assert!(segments.iter().all(|shape| shape.dead < DEAD_ROWS_MIN.max(shape.rows / 8 + 1)));
        }
    }
}
