//! A cart as the fold of what was done to it, in the order in which it was done: a late event takes its own place.

use std::sync::Arc;

use bincode::{Decode, Encode};
use domain::{Event, EventItem, EventKind};
use protocol::session::{CART_LINES_MAX, CartLine};

/// Changes kept apart, so that an earlier one that is told later takes its place among them.
const CHANGES_MAX: usize = 32;
/// Bytes of those changes as stored.
pub(crate) const CHANGES_BYTES_MAX: usize = 4 << 10;
/// Bytes of the lines of one cart as stored.
pub(crate) const LINES_BYTES_MAX: usize = 4 << 10;

/// What was done to a cart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum CartChange {
    /// Pieces were put in.
    Add,
    /// Pieces were taken out; a line without pieces is gone.
    Remove,
    /// These are all lines.
    Replace,
    /// These were bought: their lines are gone, however many pieces they had.
    Buy,
}

impl CartChange {
    /// What an event does to the cart.
    pub(crate) fn of(kind: EventKind) -> Option<Self> {
        match kind {
            EventKind::AddToCart => Some(Self::Add),
            EventKind::RemoveFromCart => Some(Self::Remove),
            EventKind::CartView => Some(Self::Replace),
            EventKind::Purchase => Some(Self::Buy),
            _ => None,
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct Change {
    pub(crate) at_ms: i64,
    pub(crate) change: CartChange,
    pub(crate) lines: Vec<CartLine>,
}

impl Change {
    /// The change that an event makes.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        let change = CartChange::of(event.kind)?;
        let line = |item: &EventItem| CartLine {
            product: item.product.clone(),
            variant: item.variant.as_deref().map(Arc::from),
            quantity: item.quantity.max(1),
            at_ms: event.at_ms,
        };
        Some(Self { at_ms: event.at_ms, change, lines: event.items.iter().map(line).collect() })
    }

    /// Time, kind and count, then the lines.
    fn bytes(&self) -> usize {
        20 + self.lines.iter().map(line_bytes).sum::<usize>()
    }
}

/// The changes of a cart: those long ago as what they made, the newest one by one.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub(crate) struct CartLog {
    base: Vec<CartLine>,
    /// Changes before this time are part of the base or came too late.
    base_at_ms: Option<i64>,
    changes: Vec<Change>,
}

impl CartLog {
    /// Takes a change in at its time; of equal times the one told later comes later. Whether it counts: a change that lies before
    /// a full look at the cart, or before all that is kept apart, does not.
    pub(crate) fn insert(&mut self, change: Change) -> bool {
        if self.base_at_ms.is_some_and(|base| change.at_ms < base) {
            return false;
        }
        let place = self.changes.partition_point(|known| known.at_ms <= change.at_ms);
        if change.change == CartChange::Replace {
            // What lies before makes no difference any more, nor would anything before that is told later.
            self.changes.drain(..place);
            self.base = Vec::new();
            self.fold_in(change);
        } else {
            self.changes.insert(place, change);
        }
        let mut bytes: usize = self.changes.iter().map(Change::bytes).sum();
        let mut gone = 0;
        while self.changes.len() - gone > CHANGES_MAX || bytes > CHANGES_BYTES_MAX {
            bytes -= self.changes[gone].bytes();
            gone += 1;
        }
        for change in self.changes.drain(..gone).collect::<Vec<_>>() {
            self.fold_in(change);
        }
        true
    }

    /// What is in the cart.
    pub(crate) fn lines(&self) -> Vec<CartLine> {
        let mut lines = self.base.clone();
        self.changes.iter().for_each(|change| apply(&mut lines, change));
        lines
    }

    fn fold_in(&mut self, change: Change) {
        apply(&mut self.base, &change);
        self.base_at_ms = Some(change.at_ms);
    }
}

fn apply(lines: &mut Vec<CartLine>, change: &Change) {
    match change.change {
        CartChange::Add => change.lines.iter().for_each(|line| add(lines, line)),
        CartChange::Replace => {
            lines.clear();
            change.lines.iter().for_each(|line| add(lines, line));
        }
        CartChange::Remove => {
            for line in &change.lines {
                let meant = meant(lines, line);
                lines.retain_mut(|known| {
                    if meant(known) {
                        known.quantity = known.quantity.saturating_sub(line.quantity);
                    }
                    known.quantity > 0
                });
            }
        }
        CartChange::Buy => {
            for line in &change.lines {
                let meant = meant(lines, line);
                lines.retain(|known| !meant(known));
            }
        }
    }
}

/// Puts pieces in; the line moves to the end. The oldest lines make room.
fn add(lines: &mut Vec<CartLine>, line: &CartLine) {
    let known = lines.iter().position(|known| known.product == line.product && known.variant == line.variant);
    let before = known.map_or(0, |place| lines.remove(place).quantity);
    lines.push(CartLine { quantity: before.saturating_add(line.quantity), ..line.clone() });
    let mut bytes: usize = lines.iter().map(line_bytes).sum();
    let mut gone = 0;
    while lines.len() - gone > CART_LINES_MAX || bytes > LINES_BYTES_MAX {
        bytes -= line_bytes(&lines[gone]);
        gone += 1;
    }
    lines.drain(..gone);
}

/// Which lines an event means: the variant it names; where the cart has none of that name, the line that names none; where the
/// event names none, the line that names none, or else all of the product.
fn meant<'a>(lines: &[CartLine], line: &'a CartLine) -> impl Fn(&CartLine) -> bool + use<'a> {
    let is_there = |variant: &Option<Arc<str>>| lines.iter().any(|known| known.product == line.product && known.variant == *variant);
    let is_exact = is_there(&line.variant);
    move |known| {
        let fits = if is_exact { known.variant == line.variant } else { line.variant.is_none() || known.variant.is_none() };
        known.product == line.product && fits
    }
}

/// Ids with their lengths, pieces and time.
fn line_bytes(line: &CartLine) -> usize {
    8 + line.product.as_str().len() + 1 + line.variant.as_ref().map_or(0, |variant| 8 + variant.len()) + 4 + 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(product: &str, variant: Option<&str>, quantity: u32, at_ms: i64) -> CartLine {
        CartLine { product: product.parse().expect("an id"), variant: variant.map(Arc::from), quantity, at_ms }
    }

    fn change(at_ms: i64, change: CartChange, lines: &[(&str, Option<&str>, u32)]) -> Change {
        Change {
            at_ms,
            change,
            lines: lines.iter().map(|(product, variant, quantity)| line(product, *variant, *quantity, at_ms)).collect(),
        }
    }

    fn cart(changes: &[Change]) -> Vec<(String, u32)> {
        let mut log = CartLog::default();
        changes.iter().for_each(|change| {
            log.insert(change.clone());
        });
        let name =
            |line: &CartLine| format!("{}{}", line.product, line.variant.as_deref().map_or(String::new(), |variant| format!("/{variant}")));
        log.lines().iter().map(|line| (name(line), line.quantity)).collect()
    }

    use CartChange::{Add, Buy, Remove, Replace};

    #[test]
    fn carts_by_table() {
        let one = |at, kind, product, quantity| change(at, kind, &[(product, None, quantity)]);
        type Case = (&'static str, Vec<Change>, &'static [(&'static str, u32)]);
        let cases: [Case; 9] = [
            (
                "pieces add up and the line moves to the end",
                vec![one(1, Add, "a", 1), one(2, Add, "b", 1), one(3, Add, "a", 2)],
                &[("b", 1), ("a", 3)],
            ),
            ("pieces are taken out", vec![one(1, Add, "a", 3), one(2, Remove, "a", 2)], &[("a", 1)]),
            ("more than there is leaves nothing", vec![one(1, Add, "a", 1), one(2, Remove, "a", 5), one(3, Remove, "b", 1)], &[]),
            ("a look at the cart replaces it", vec![one(1, Add, "a", 1), one(2, Replace, "b", 4)], &[("b", 4)]),
            ("what is bought is gone, however many", vec![one(1, Add, "a", 3), one(2, Add, "b", 1), one(3, Buy, "a", 1)], &[("b", 1)]),
            (
                "a late look at the cart keeps what was done after it",
                vec![one(1, Add, "a", 1), one(3, Add, "b", 1), one(2, Replace, "c", 1)],
                &[("c", 1), ("b", 1)],
            ),
            (
                "what is told after a look but happened before it does not count",
                vec![one(2, Replace, "c", 1), one(1, Add, "a", 1)],
                &[("c", 1)],
            ),
            (
                "a late purchase leaves what was put in after it",
                vec![one(1, Add, "a", 1), one(3, Add, "a", 2), one(2, Buy, "a", 1)],
                &[("a", 2)],
            ),
            (
                "variants are lines of their own; one that is not named means all of the product",
                vec![
                    change(1, Add, &[("a", Some("m"), 1), ("a", Some("l"), 1), ("b", Some("m"), 1)]),
                    one(2, Buy, "a", 1),
                    change(3, Remove, &[("b", Some("m"), 1)]),
                ],
                &[],
            ),
        ];
        for (name, changes, expected) in cases {
            let expected: Vec<(String, u32)> = expected.iter().map(|(product, quantity)| ((*product).to_owned(), *quantity)).collect();
            assert_eq!(cart(&changes), expected, "{name}");
        }
    }

    #[test]
    fn bounds_hold_whatever_comes() {
        let long = "ß".repeat(128);
        let mut log = CartLog::default();
        for at in 0..300 {
            let product = format!("{}{at}", &long[..248]);
            log.insert(change(at, if at % 50 == 49 { Replace } else { Add }, &[(&product, Some(&long), 1), (&product, None, 1)]));
            assert!(log.lines().len() <= CART_LINES_MAX && log.changes.len() <= CHANGES_MAX);
            assert!(log.lines().iter().map(line_bytes).sum::<usize>() <= LINES_BYTES_MAX);
            assert!(log.base.iter().map(line_bytes).sum::<usize>() <= LINES_BYTES_MAX);
            assert!(log.changes.iter().map(Change::bytes).sum::<usize>() <= CHANGES_BYTES_MAX);
        }
    }

    proptest! {
        /// As long as the changes are kept apart, the order in which they are told makes no difference.
        #[test]
        fn the_order_of_telling_makes_no_difference(
            kinds in prop::collection::vec((0..4_usize, 0..3_usize, 1..4_u32), 1..CHANGES_MAX),
            order in prop::collection::vec(any::<u32>(), CHANGES_MAX),
        ) {
            let changes: Vec<Change> = kinds.iter().enumerate().map(|(at, (kind, product, quantity))| {
                change(at as i64, [Add, Remove, Replace, Buy][*kind], &[(["a", "b", "c"][*product], None, *quantity)])
            }).collect();
            let mut told: Vec<(u32, Change)> = order.into_iter().zip(changes.iter().cloned()).collect();
            told.sort_by_key(|(place, _)| *place);
            let told: Vec<Change> = told.into_iter().map(|(_, change)| change).collect();
            prop_assert_eq!(cart(&told), cart(&changes));
        }
    }
}
