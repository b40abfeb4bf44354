//! A formula on a snapshot: attributes found, filters evaluated; then a few operations a product.

use domain::FilterError;

use crate::bits::{self, Bitset};
use crate::column::Column;
use crate::measure::distance_m;
use crate::numbers::{NumberReader, Pick};
use crate::snapshot::{Field, Snapshot};

use super::parse::{Node, One, Pair};

/// Milliseconds.
const DAY_MS: f64 = 86_400_000.0;

/// See the module.
#[derive(Debug)]
pub struct BoundFormula<'a> {
    root: Step<'a>,
}

#[derive(Debug)]
enum Step<'a> {
    Number(f64),
    Score,
    Attribute(NumberReader<'a>),
    AgeDays(NumberReader<'a>, f64),
    Distance(&'a Column, (f64, f64)),
    Negative(Box<Step<'a>>),
    Pair(Pair, Box<Step<'a>>, Box<Step<'a>>),
    One(One, Box<Step<'a>>),
    Clamp(Box<[Step<'a>; 3]>),
    Decay(Box<[Step<'a>; 3]>),
    Extreme(Pick, Vec<Step<'a>>),
    If(Bitset, Box<[Step<'a>; 2]>),
}

impl<'a> BoundFormula<'a> {
    pub(super) fn new(root: &Node, snapshot: &'a Snapshot, now_ms: i64) -> Result<Self, FilterError> {
        Ok(Self { root: bind(root, snapshot, now_ms as f64)? })
    }

    /// The formula's value for a product with a score. `None` where an attribute is missing without a default, or where the
    /// value is no finite number (a division by nought, the logarithm of a negative number).
    pub fn value(&self, slot: u32, score: f32) -> Option<f64> {
        value(&self.root, slot, f64::from(score)).filter(|value| value.is_finite())
    }
}

fn bind<'a>(node: &Node, snapshot: &'a Snapshot, now_ms: f64) -> Result<Step<'a>, FilterError> {
    let step = |node: &Node| bind(node, snapshot, now_ms);
    let boxed = |node: &Node| step(node).map(Box::new);
    let three = |nodes: &[Node; 3]| Ok(Box::new([step(&nodes[0])?, step(&nodes[1])?, step(&nodes[2])?]));
    Ok(match node {
        Node::Number(number) => Step::Number(*number),
        Node::Score => Step::Score,
        Node::Attribute(name) => Step::Attribute(NumberReader::of(snapshot, name)?),
        Node::AgeDays(name) => {
            let reader = NumberReader::of(snapshot, name)?;
            if !reader.is_time() {
                let kind = snapshot.kind(name)?;
                return Err(FilterError::WrongKind { attribute: name.clone(), kind, asked: "times to tell an age by" });
            }
            Step::AgeDays(reader, now_ms)
        }
        Node::Distance(name, latitude, longitude) => {
            let field = snapshot.field(name)?;
            match field {
                Field::Column(column) if column.dictionary.facts.counts[2] > 0 || column.dictionary.groups == 0 => {
                    Step::Distance(column, (*latitude, *longitude))
                }
                field => {
                    let kind = snapshot.kind_of(field);
                    return Err(FilterError::WrongKind { attribute: name.clone(), kind, asked: "places" });
                }
            }
        }
        Node::Negative(inner) => Step::Negative(boxed(inner)?),
        Node::Pair(pair, a, b) => Step::Pair(*pair, boxed(a)?, boxed(b)?),
        Node::One(one, inner) => Step::One(*one, boxed(inner)?),
        Node::Clamp(nodes) => Step::Clamp(three(nodes)?),
        Node::Decay(nodes) => Step::Decay(three(nodes)?),
        Node::Least(nodes) => Step::Extreme(Pick::Least, nodes.iter().map(step).collect::<Result<_, _>>()?),
        Node::Greatest(nodes) => Step::Extreme(Pick::Greatest, nodes.iter().map(step).collect::<Result<_, _>>()?),
        Node::If(filter, nodes) => Step::If(snapshot.evaluate(filter)?, Box::new([step(&nodes[0])?, step(&nodes[1])?])),
    })
}

fn value(step: &Step<'_>, slot: u32, score: f64) -> Option<f64> {
    let of = |step: &Step<'_>| value(step, slot, score);
    Some(match step {
        Step::Number(number) => *number,
        Step::Score => score,
        Step::Attribute(reader) => return reader.of_slot(slot, Pick::Least),
        Step::AgeDays(reader, now_ms) => (now_ms - reader.of_slot(slot, Pick::Least)?) / DAY_MS,
        Step::Distance(column, from) => {
            let cell = column.cell(slot);
            let facts = &column.dictionary.facts;
            let places = column.expand(&cell).iter().filter_map(|code| facts.place(column.dictionary.head(*code)));
            return places.map(|place| distance_m(*from, place)).min_by(f64::total_cmp);
        }
        Step::Negative(inner) => -of(inner)?,
        Step::Pair(Pair::Default, first, second) => return of(first).or_else(|| of(second)),
        Step::Pair(pair, a, b) => {
            let (a, b) = (of(a)?, of(b)?);
            match pair {
                Pair::Add => a + b,
                Pair::Subtract => a - b,
                Pair::Multiply => a * b,
                Pair::Divide => a / b,
                Pair::Power | Pair::Default => a.powf(b),
            }
        }
        Step::One(one, inner) => {
            let x = of(inner)?;
            match one {
                One::Ln => x.ln(),
                One::Log10 => x.log10(),
                One::Sqrt => x.sqrt(),
                One::Abs => x.abs(),
                One::Exp => x.exp(),
            }
        }
        Step::Clamp(steps) => of(&steps[0])?.max(of(&steps[1])?).min(of(&steps[2])?),
        Step::Decay(steps) => {
            let (x, origin, scale) = (of(&steps[0])?, of(&steps[1])?, of(&steps[2])?);
            (-std::f64::consts::LN_2 * ((x - origin) / scale).powi(2)).exp()
        }
        Step::Extreme(pick, steps) => {
            let mut values = steps.iter().map(of);
            let first = values.next()??;
            values.try_fold(first, |best, value| value.map(|value| if *pick == Pick::Least { best.min(value) } else { best.max(value) }))?
        }
        Step::If(set, steps) => return of(if bits::contains(set, slot) { &steps[0] } else { &steps[1] }),
    })
}
