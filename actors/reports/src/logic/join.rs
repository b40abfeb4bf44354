//! The newest lists, so that a click, a cart or a purchase finds the list that it came from.
//!
//! What is known of a list comes from its own record and from later events that name its token, and lists are forgotten oldest first by
//! number alone. So the join is a function of the log from the oldest known list on: after a restart it is read from there again,
//! and is the same. Nothing that depends on a *choice* among lists is remembered here.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::logic::day::RowKey;

/// The newest lists of one shopper among which a purchase looks for its click.
const SHOPPER_LISTS_MAX: usize = 64;
/// Names of shoppers that a list is known under: who asked for it, and those who used it.
const LIST_SHOPPERS_MAX: usize = 8;
/// What a list itself takes, in items.
const LIST_COST: usize = 12;
/// The same words by the same shopper within this time are one search.
const SAME_SEARCH_MS: i64 = 5 * 60 * 1000;

const SEEN: u8 = 1;
const CLICKED: u8 = 2;
const TOUCHED: u8 = 4;

/// What an event says about a product in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It was seen.
    Seen,
    /// It was clicked.
    Clicked,
    /// It was put into the cart, or bought, straight from the list.
    Taken,
}

/// A product in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    product: u64,
    /// Place of its row among the list's rows.
    row: u8,
    flags: u8,
    /// Seconds from the list to the first click or cart in it.
    touched_s: u32,
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List {
    /// Its offset in the log.
    pub(crate) offset: u64,
    pub(crate) token: u64,
    pub(crate) at_ms: i64,
    /// One a strategy.
    pub(crate) rows: Vec<Arc<RowKey>>,
    /// Hash of what was searched for.
    pub(crate) query: Option<u64>,
    /// The words in plain form: they find their row in the day's table.
    pub(crate) words: Option<Arc<str>>,
    /// Who is exposed to the arms.
    pub(crate) exposed: Option<u64>,
    items: Vec<Item>,
    shoppers: Vec<u64>,
    cost: usize,
}

impl List {
    /// A list of products with the places of their rows.
    pub(crate) fn new(offset: u64, token: u64, at_ms: i64, rows: Vec<Arc<RowKey>>, products: impl Iterator<Item = (u64, u8)>) -> Self {
        let items: Vec<Item> = products.map(|(product, row)| Item { product, row, flags: 0, touched_s: 0 }).collect();
        let cost = LIST_COST + items.len();
        Self { offset, token, at_ms, rows, query: None, words: None, exposed: None, items, shoppers: Vec::new(), cost }
    }

    /// The row of an item.
    pub(crate) fn row(&self, at: usize) -> Option<&Arc<RowKey>> {
        self.items.get(at).and_then(|item| self.rows.get(usize::from(item.row)))
    }

    fn touched_ms(&self, item: &Item) -> i64 {
        self.at_ms.saturating_add(i64::from(item.touched_s) * 1000)
    }
}

/// The list that brought a purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credit {
    pub(crate) row: Arc<RowKey>,
    /// Through a click or a cart in it; else merely shown.
    pub(crate) is_click: bool,
    pub(crate) is_search: bool,
}

/// How long a click, and a view, counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) click_ms: i64,
    pub(crate) view_ms: i64,
}

/// The newest lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Join {
    lists: VecDeque<List>,
    /// The number of the first of them.
    first: u64,
    /// Numbers of lists by token.
    tokens: HashMap<u64, u64>,
    /// Numbers of lists by shopper, ascending.
    shoppers: HashMap<u64, Vec<u64>>,
    cost: usize,
}

impl Join {
    /// From which offset of the log on it can be made again; `None` without lists.
    pub(crate) fn start(&self) -> Option<u64> {
        self.lists.front().map(|list| list.offset)
    }

    /// Lists held.
    pub(crate) fn len(&self) -> usize {
        self.lists.len()
    }

    /// Takes a list in, and the oldest out while there are more items than `items_max`.
    pub(crate) fn push(&mut self, list: List, shoppers: &[u64], items_max: usize) {
        let number = self.first + self.lists.len() as u64;
        self.cost += list.cost;
        self.tokens.insert(list.token, number);
        self.lists.push_back(list);
        self.link(number, shoppers);
        while self.cost > items_max && self.lists.len() > 1 {
            self.forget_oldest();
        }
    }

    /// The list with a token.
    pub(crate) fn of_token(&self, token: u64) -> Option<u64> {
        self.tokens.get(&token).copied()
    }

    pub(crate) fn list(&self, number: u64) -> Option<&List> {
        self.lists.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn list_mut(&mut self, number: u64) -> Option<&mut List> {
        self.lists.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Whoever uses a list is one of its shoppers.
    pub(crate) fn link(&mut self, number: u64, shoppers: &[u64]) {
        for shopper in shoppers {
            let Some(list) = self.list_mut(number) else { return };
            if list.shoppers.len() >= LIST_SHOPPERS_MAX || list.shoppers.contains(shopper) {
                continue;
            }
            list.shoppers.push(*shopper);
            let numbers = self.shoppers.entry(*shopper).or_default();
            if let Err(at) = numbers.binary_search(&number) {
                numbers.insert(at, number);
            }
            if numbers.len() > SHOPPER_LISTS_MAX {
                numbers.remove(0);
            }
        }
    }

    /// Marks products of a list (all of it where none is named). The places that were not marked so before, and whether the list
    /// had no click before.
    pub(crate) fn mark(&mut self, number: u64, products: &[u64], mark: Mark, at_ms: i64) -> (Vec<usize>, bool) {
        let Some(list) = self.list_mut(number) else { return (Vec::new(), false) };
        let was_unclicked = list.items.iter().all(|item| item.flags & CLICKED == 0);
        let touched_s = u32::try_from(at_ms.saturating_sub(list.at_ms) / 1000).unwrap_or(0);
        let mut fresh = Vec::new();
        let mut set = |at: usize, item: &mut Item| {
            let (flag, touches) = match mark {
                Mark::Seen => (SEEN, false),
                Mark::Clicked => (CLICKED, true),
                Mark::Taken => (TOUCHED, true),
            };
            if item.flags & flag == 0 {
                fresh.push(at);
            }
            if touches && item.flags & TOUCHED == 0 {
                (item.flags, item.touched_s) = (item.flags | TOUCHED, touched_s);
            }
            item.flags |= flag;
        };
        if products.is_empty() {
            // A list whose token alone is reported was seen as a whole; a click on it names its product.
            if mark == Mark::Seen {
                list.items.iter_mut().enumerate().for_each(|(at, item)| set(at, item));
            }
        }
        for product in products {
            if let Some((at, item)) = list.items.iter_mut().enumerate().find(|(_, item)| item.product == *product) {
                set(at, item);
            }
        }
        (fresh, was_unclicked)
    }

    /// The list that a shopper's cart or purchase of a product belongs to: `direct`, if the event named it and it holds the product;
    /// else the last that they clicked the product in; else the last that they saw it in.
    pub(crate) fn credit(&self, shoppers: &[u64], product: u64, at_ms: i64, direct: Option<u64>, windows: Windows) -> Option<Credit> {
        let credit = |list: &List, item: &Item, is_click| {
            let row = Arc::clone(list.rows.get(usize::from(item.row))?);
            Some(Credit { row, is_click, is_search: list.query.is_some() })
        };
        let named = direct.and_then(|number| self.list(number));
        if let Some((list, item)) = named.and_then(|list| Some((list, list.items.iter().find(|item| item.product == product)?))) {
            return credit(list, item, true);
        }
        let numbers = shoppers.iter().filter_map(|shopper| self.shoppers.get(shopper)).flatten();
        let (mut clicked, mut seen) = (None, None);
        for (number, list) in numbers.filter_map(|number| Some((number, self.list(*number)?))) {
            for item in list.items.iter().filter(|item| item.product == product) {
                let touched_ms = list.touched_ms(item);
                if item.flags & TOUCHED != 0 && is_within(touched_ms, at_ms, windows.click_ms) {
                    clicked = clicked.max(Some((touched_ms, *number)));
                } else if item.flags & SEEN != 0 && is_within(list.at_ms, at_ms, windows.view_ms) {
                    seen = seen.max(Some((list.at_ms, *number)));
                }
            }
        }
        let (_, number) = clicked.or(seen)?;
        let list = self.list(number)?;
        let flag = if clicked.is_some() { TOUCHED } else { SEEN };
        credit(list, list.items.iter().find(|item| item.product == product && item.flags & flag != 0)?, clicked.is_some())
    }

    /// Whether one of a shopper's lists answered the same words a moment ago.
    pub(crate) fn asked(&self, shoppers: &[u64], query: u64, at_ms: i64) -> bool {
        let mut lists = shoppers.iter().filter_map(|shopper| self.shoppers.get(shopper)).flatten().filter_map(|number| self.list(*number));
        lists.any(|list| list.query == Some(query) && list.at_ms.abs_diff(at_ms) <= SAME_SEARCH_MS.unsigned_abs())
    }

    /// Forgets everything about a shopper's lists.
    pub(crate) fn erase(&mut self, shopper: u64) {
        let is_theirs = |list: &List| list.shoppers.contains(&shopper) || list.exposed == Some(shopper);
        for (number, list) in (self.first..).zip(&mut self.lists).filter(|(_, list)| is_theirs(list)) {
            if self.tokens.get(&list.token) == Some(&number) {
                self.tokens.remove(&list.token);
            }
            for other in list.shoppers.drain(..) {
                if let Some(numbers) = self.shoppers.get_mut(&other) {
                    numbers.retain(|known| *known != number);
                }
            }
            // The place and the cost stay: what is forgotten, and when, must not depend on what is no longer known.
            (list.items, list.query, list.words, list.exposed) = (Vec::new(), None, None, None);
        }
        self.shoppers.remove(&shopper);
    }

    fn forget_oldest(&mut self) {
        let Some(list) = self.lists.pop_front() else { return };
        let number = self.first;
        self.first += 1;
        self.cost -= list.cost;
        if self.tokens.get(&list.token) == Some(&number) {
            self.tokens.remove(&list.token);
        }
        for shopper in list.shoppers {
            if let Some(numbers) = self.shoppers.get_mut(&shopper) {
                numbers.retain(|known| *known != number);
                if numbers.is_empty() {
                    self.shoppers.remove(&shopper);
                }
            }
        }
    }
}

#[cfg(test)]
impl Join {
    /// Everything that it knows, in comparable form: numbers count from the oldest list.
    pub(crate) fn known(&self) -> impl std::fmt::Debug + PartialEq + use<> {
        let number = |number: &u64| number.wrapping_sub(self.first);
        let lists: Vec<List> = self.lists.iter().cloned().collect();
        let tokens: std::collections::BTreeMap<u64, u64> = self.tokens.iter().map(|(token, list)| (*token, number(list))).collect();
        let shoppers: std::collections::BTreeMap<u64, Vec<u64>> = self
            .shoppers
            .iter()
            .filter(|(_, numbers)| !numbers.is_empty())
            .map(|(shopper, numbers)| (*shopper, numbers.iter().map(number).collect()))
            .collect();
        (lists, tokens, shoppers, self.cost)
    }
}

fn is_within(from_ms: i64, at_ms: i64, window_ms: i64) -> bool {
    (0..=window_ms).contains(&at_ms.saturating_sub(from_ms))
}
