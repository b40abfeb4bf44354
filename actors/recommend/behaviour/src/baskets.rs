//! What is bought together: pairs of one order, less from large orders, shown only where chance does not explain them.

use hashbrown::HashTable;

use crate::cooccurrence::Cooccurrence;
use crate::keys::Key;
use crate::recency::Slab;
use crate::save::{Input, LoadError, Output, Saved};
use crate::settings::Basket as Settings;

/// Orders that one event may close, so that no event takes long.
const CLOSED_MAX: usize = 4;

/// An order that may get further items.
#[derive(Clone, Debug, Default)]
struct Order {
    key: Key,
    shopper: u32,
    at_ms: u64,
    items: Vec<u32>,
}

impl Saved for Order {
    fn save(&self, output: &mut Output<'_>) {
        self.key.save(output);
        output.u32(self.shopper);
        output.u64(self.at_ms);
        output.u32s(&self.items);
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        Ok(Self { key: Key::load(input)?, shopper: input.u32()?, at_ms: input.u64()?, items: input.u32s()? })
    }
}

/// How two items stand to one another in the orders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Together {
    /// Orders with both.
    pub together: u32,
    /// Orders with the first.
    pub of: u32,
    /// How much more often than by chance.
    pub lift: f32,
    /// Log-likelihood ratio of "independent" (Dunning 1993).
    pub likelihood_ratio: f64,
}

/// All orders.
#[derive(Clone, Debug)]
pub(crate) struct Baskets {
    pub(crate) pairs: Cooccurrence<3>,
    orders: u32,
    /// Orders with each item.
    orders_of: Vec<u32>,
    open: Slab<Order>,
    index: HashTable<u32>,
}

impl Baskets {
    pub(crate) fn new(settings: &Settings) -> Self {
        let pairs = Cooccurrence::new(settings.half_life_ms);
        Self { pairs, orders: 0, orders_of: Vec::new(), open: Slab::default(), index: HashTable::new() }
    }

    /// Adds an item to an order. Its pairs weigh `(|order| - 1)^-size`: as the order grows, the weight of those it has is lowered.
    pub(crate) fn add(&mut self, key: Key, shopper: u32, item: u32, at_ms: u64, settings: &Settings, open_max: usize) {
        self.close_old(at_ms, settings, open_max);
        let slot = self.enter(key, shopper, at_ms);
        let Some(order) = self.open.get_mut(slot) else { return };
        if order.items.contains(&item) || order.items.len() >= settings.order_items_max {
            return;
        }
        let at_ms = order.at_ms;
        let others = std::mem::take(&mut order.items);
        let scale = self.pairs.scale_at(at_ms);
        let weight = |len: usize| (len.saturating_sub(1).max(1) as f32).powf(-settings.size) * scale;
        let (before, after) = (weight(others.len()), weight(others.len() + 1));
        if before != after {
            for (place, first) in others.iter().enumerate() {
                self.pairs.add_total(*first, after - before);
                for second in &others[..place] {
                    self.pairs.adjust(*first, *second, after - before);
                    self.pairs.adjust(*second, *first, after - before);
                }
            }
        }
        self.pairs.add_total(item, after);
        for other in &others {
            self.pairs.add(*other, item, after, 1, settings.row_max);
            self.pairs.add(item, *other, after, 1, settings.row_max);
        }
        self.orders = self.orders.saturating_add(u32::from(others.is_empty()));
        if item as usize >= self.orders_of.len() {
            self.orders_of.resize(item as usize + 1, 0);
        }
        self.orders_of[item as usize] += 1;
        if let Some(order) = self.open.get_mut(slot) {
            order.items = others;
            order.items.push(item);
        }
    }

    fn enter(&mut self, key: Key, shopper: u32, at_ms: u64) -> u32 {
        let Self { open, index, .. } = self;
        if let Some(slot) = index.find(key.hash(), |slot| open.get(*slot).is_some_and(|order| order.key == key)) {
            return *slot;
        }
        let slot = open.insert(Order { key, shopper, at_ms, items: Vec::new() });
        index.insert_unique(key.hash(), slot, |slot| open.get(*slot).map_or(0, |order| order.key.hash()));
        slot
    }

    fn close_old(&mut self, now_ms: u64, settings: &Settings, open_max: usize) {
        for _ in 0..CLOSED_MAX {
            let Some(slot) = self.open.oldest() else { return };
            let over = self.open.get(slot).is_some_and(|order| order.at_ms.saturating_add(settings.order_open_ms) < now_ms);
            if !over && self.open.len() < open_max {
                return;
            }
            self.close(slot);
        }
    }

    fn close(&mut self, slot: u32) {
        if let Some(order) = self.open.remove(slot)
            && let Ok(found) = self.index.find_entry(order.key.hash(), |other| *other == slot)
        {
            found.remove();
        }
    }

    /// Closes a shopper's orders: nothing says any more whose they were.
    pub(crate) fn forget(&mut self, shopper: u32) {
        let slots: Vec<u32> = self.open.iter().filter(|(_, order)| order.shopper == shopper).map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.close(slot));
    }

    /// Gives a shopper's open orders to another.
    pub(crate) fn merge(&mut self, from: u32, to: u32) {
        let slots: Vec<u32> = self.open.iter().filter(|(_, order)| order.shopper == from).map(|(slot, _)| slot).collect();
        for slot in slots {
            if let Some(order) = self.open.get_mut(slot) {
                order.shopper = to;
            }
        }
    }

    /// Orders with an item.
    pub(crate) fn orders_of(&self, item: u32) -> u32 {
        self.orders_of.get(item as usize).copied().unwrap_or(0)
    }

    /// Orders ever.
    pub(crate) fn orders(&self) -> u32 {
        self.orders
    }

    /// How two items stand to one another; `None` where no order had both.
    pub(crate) fn together(&self, first: u32, second: u32) -> Option<Together> {
        let (_, together) = self.pairs.row(first)?.get(second)?;
        let (of, with, all) = (self.orders_of(first), self.orders_of(second), self.orders);
        if together == 0 || of == 0 || with == 0 {
            return None;
        }
        let lift = (f64::from(together) * f64::from(all) / (f64::from(of) * f64::from(with))) as f32;
        Some(Together { together, of, lift, likelihood_ratio: likelihood_ratio(together, of, with, all) })
    }

    /// Whether it names only items below a number.
    pub(crate) fn is_within(&self, items: usize) -> bool {
        self.pairs.is_within(items)
            && self.orders_of.len() <= items
            && self.open.iter().all(|(_, order)| order.items.iter().all(|item| (*item as usize) < items))
    }
}

impl Together {
    /// Whether chance does not explain it.
    pub fn is_significant(&self, settings: &Settings) -> bool {
        self.together >= settings.support_min && self.lift > settings.lift_min && self.likelihood_ratio >= settings.likelihood_ratio_min
    }
}

/// Log-likelihood ratio of two items' independence in a table of four (Dunning 1993).
fn likelihood_ratio(together: u32, first: u32, second: u32, all: u32) -> f64 {
    let (both, first, second, all) = (f64::from(together), f64::from(first), f64::from(second), f64::from(all));
    let cells = [both, (first - both).max(0.0), (second - both).max(0.0), (all - first - second + both).max(0.0)];
    let entropy = |count: f64| if count > 0.0 { count * count.ln() } else { 0.0 };
    let sum = |parts: &[f64]| entropy(parts.iter().sum::<f64>());
    let rows = sum(&cells[..2]) + sum(&cells[2..]);
    let columns = sum(&[cells[0], cells[2]]) + sum(&[cells[1], cells[3]]);
    let inner: f64 = cells.iter().map(|count| entropy(*count)).sum();
    (2.0 * (inner - rows - columns + sum(&cells))).max(0.0)
}

impl Saved for Baskets {
    fn save(&self, output: &mut Output<'_>) {
        self.pairs.save(output);
        output.u32(self.orders);
        output.u32s(&self.orders_of);
        self.open.save(output);
    }

    fn load(input: &mut Input<'_>) -> Result<Self, LoadError> {
        let (pairs, orders, orders_of, open) = (Cooccurrence::load(input)?, input.u32()?, input.u32s()?, Slab::<Order>::load(input)?);
        let mut index = HashTable::new();
        for (slot, order) in open.iter() {
            index.insert_unique(order.key.hash(), slot, |slot| open.get(*slot).map_or(0, |order| order.key.hash()));
        }
        if orders_of.contains(&u32::MAX) {
            return Err(LoadError::Malformed("a count of orders"));
        }
        Ok(Self { pairs, orders, orders_of, open, index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(orders: &[&[u32]], settings: &Settings) -> Baskets {
        let mut baskets = Baskets::new(settings);
        for (number, items) in orders.iter().enumerate() {
            for item in *items {
                baskets.add(Key::new(&number.to_string()), 0, *item, 1_000, settings, 4);
            }
        }
        baskets
    }

    #[test]
    fn pairs_weigh_as_if_the_whole_order_had_come_at_once() {
        let settings = Settings { half_life_ms: None, ..Settings::default() };
        let baskets = fed(&[&[0, 1, 2, 3, 1], &[0, 1]], &settings);
        let large = 3f32.powf(-settings.size);
        let weight = |first: u32, second: u32| baskets.pairs.row(first).and_then(|row| row.get(second)).map_or(0.0, |(weight, _)| weight);
        assert!((weight(0, 1) - (large + 1.0)).abs() < 1e-5 && (weight(3, 2) - large).abs() < 1e-5);
        assert!((baskets.pairs.total(0) - (large + 1.0)).abs() < 1e-5 && (baskets.pairs.total(3) - large).abs() < 1e-5);
        assert_eq!((baskets.orders(), baskets.orders_of(1), baskets.orders_of(3)), (2, 2, 1));
    }

    #[test]
    fn only_pairs_beyond_chance_are_significant() {
        let settings = Settings::default();
        let mut orders: Vec<&[u32]> = vec![&[0, 1]; 5];
        orders.extend(vec![&[2u32, 3][..]; 2]);
        orders.extend(vec![&[4u32][..]; 40]);
        orders.extend(vec![&[5u32, 6][..]; 20]);
        orders.extend(vec![&[5u32][..]; 20]);
        orders.extend(vec![&[6u32][..]; 20]);
        let baskets = fed(&orders, &settings);
        let found = baskets.together(0, 1).expect("bought together");
        assert_eq!((found.together, found.of), (5, 5));
        assert!(found.is_significant(&settings));
        assert!(!baskets.together(2, 3).expect("bought together").is_significant(&settings), "support");
        assert_eq!(baskets.together(0, 3), None);
    }

    #[test]
    fn the_likelihood_ratio_is_dunnings() {
        // The example of Dunning's table: 110 of 2442, 111 and 29,114 others.
        assert!((likelihood_ratio(110, 2_552, 221, 31_777) - 270.72).abs() < 0.1, "{}", likelihood_ratio(110, 2_552, 221, 31_777));
        assert!(likelihood_ratio(10, 100, 100, 1_000) < 1e-9, "independent");
    }
}
