//! Lists that were shown, with the features as they were then, until something of them is chosen or they are old.
//!
//! A choice joins its list by the list's token; without one, the newest of the shopper's own lists that holds the item and was
//! shown in the same session or within the hour. What is in here may be lost: lists that were under way teach nothing then.

mod save;

use std::collections::{HashMap, VecDeque};

use bincode::{Decode, Encode};
use half::f16;

use crate::event::Event;
use crate::features::{FEATURES, Features, Page};
use crate::keys::Id;
use crate::logit::Learner;

/// Without a token and in another session, a choice this long after a list is not of the list.
pub const JOIN_MS_MAX: i64 = 60 * 60 * 1_000;
/// With a token or in the session, likewise: the session has long ended.
pub const LIST_AGE_MS_MAX: i64 = 24 * JOIN_MS_MAX;
/// A choice may bear a time so long before its list's: clocks differ.
pub const SKEW_MS_MAX: i64 = 5 * 60 * 1_000;
/// Lists of one shopper that are kept.
pub const LISTS_OF_SHOPPER_MAX: usize = 16;
/// Bytes of all lists.
pub const SHOWN_BYTES_MAX: usize = 64 << 20;
/// Entries of the queue that may be of lists that are gone.
const GONE_MAX: usize = 1_024;
/// Choices that one list teaches.
pub const CHOICES_MAX: usize = 32;

/// Who saw a list, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Shown {
    /// Tells the list apart; a click carries it back.
    pub token: Id,
    /// Who.
    pub shopper: Id,
    /// In which session, where sessions are told apart.
    pub session: Option<Id>,
    /// On which surface.
    pub surface: Id,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// What is known of how a choice came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Who chose.
    pub shopper: Id,
    /// In which session.
    pub session: Option<Id>,
    /// The list it was chosen from, where the shop hands its token back.
    pub token: Option<Id>,
}

#[derive(Clone, Debug)]
struct List {
    shown: Shown,
    serial: u64,
    items: Vec<Id>,
    rows: Vec<[f16; FEATURES]>,
    /// The places in which they stood.
    positions: Vec<u16>,
    chosen: Vec<usize>,
    /// What proposed each item; empty where nobody said.
    arms: Vec<Id>,
    /// Those of which something was chosen.
    clicked: Vec<Id>,
}

impl List {
    fn new(shown: Shown, serial: u64) -> Self {
        let (items, rows, positions, chosen, arms, clicked) = Default::default();
        Self { shown, serial, items, rows, positions, chosen, arms, clicked }
    }

    fn bytes(&self) -> usize {
        let of_item = size_of::<Id>() + size_of::<[f16; FEATURES]>() + size_of::<u16>();
        size_of::<Self>() + self.items.len() * of_item + self.arms.len() * size_of::<Id>()
    }

    fn holds(&self, item: Id) -> Option<usize> {
        self.items.iter().position(|other| *other == item)
    }
}

/// The lists by token and by shopper, bounded in bytes; the oldest go first.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    by_token: HashMap<Id, List>,
    of_shopper: HashMap<Id, VecDeque<Id>>,
    /// Tokens and serial numbers; some of them are gone.
    oldest_first: VecDeque<(Id, u64)>,
    serial: u64,
    bytes: usize,
}

/// What a choice taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The list's token.
    pub token: Id,
    /// Its surface.
    pub surface: Id,
    /// The place in which the item stood, the first is 0.
    pub position: u16,
}

impl Lists {
    /// Keeps a list as it was shown: `order` are positions in the page, the first shown first; what is not in it was not seen.
    /// A token that is already known is replaced.
    pub fn show(&mut self, shown: Shown, page: &Page, order: impl IntoIterator<Item = usize>) {
        self.show_by(shown, page, order, |_| None);
    }

    /// The same, where it is known what proposed the item at a position of the page: [`Lists::first_choice_of`] tells it of a choice.
    pub fn show_by(&mut self, shown: Shown, page: &Page, order: impl IntoIterator<Item = usize>, arm: impl Fn(usize) -> Option<Id>) {
        self.forget(shown.token);
        self.serial += 1;
        let mut list = List::new(shown, self.serial);
        for (position, at) in order.into_iter().take(page.items.len()).enumerate() {
            let (Some(item), Some(row)) = (page.items.get(at), page.rows.get(at)) else { continue };
            list.items.push(*item);
            list.rows.push(row.map(f16::from_f32));
            list.positions.push(position as u16);
            list.arms.extend(arm(at));
        }
        // One item alone teaches the learner nothing, but it may speak for what proposed it.
        if list.arms.len() != list.items.len() {
            list.arms = Vec::new();
        }
        if list.items.len() < 2 && list.arms.is_empty() {
            return;
        }
        self.keep(list);
    }

    fn keep(&mut self, list: List) {
        let shown = list.shown;
        self.bytes += list.bytes();
        let lists = self.of_shopper.entry(shown.shopper).or_default();
        lists.push_back(shown.token);
        let too_old = if lists.len() > LISTS_OF_SHOPPER_MAX { lists.front().copied() } else { None };
        self.oldest_first.push_back((shown.token, list.serial));
        self.by_token.insert(shown.token, list);
        if let Some(token) = too_old {
            self.forget(token);
        }
        while self.bytes > SHOWN_BYTES_MAX {
            let Some((token, serial)) = self.oldest_first.pop_front() else { break };
            if self.by_token.get(&token).is_some_and(|list| list.serial == serial) {
                self.forget(token);
            }
        }
        if self.oldest_first.len() > 2 * self.by_token.len() + GONE_MAX {
            self.drop_gone();
        }
    }

    fn drop_gone(&mut self) {
        self.oldest_first.retain(|(token, serial)| self.by_token.get(token).is_some_and(|list| list.serial == *serial));
    }

    /// Finds the list that a choice is from and lets the learner take one step. What is no choice joins nothing.
    pub fn learn(&mut self, event: &Event, origin: &Origin, learner: &mut Learner) -> Option<Joined> {
        if !event.action.is_choice() {
            return None;
        }
        let (token, at) = self.find(event, origin)?;
        let list = self.by_token.get_mut(&token)?;
        let joined = Joined { token, surface: list.shown.surface, position: list.positions[at] };
        if list.chosen.len() < CHOICES_MAX && !list.chosen.contains(&at) {
            let rows: Vec<Features> = list.rows.iter().map(|row| row.map(f16::to_f32)).collect();
            // Only a token proves that the list was looked at, and then the place is part of the reason.
            let positions = (origin.token == Some(token)).then_some(list.positions.as_slice());
            learner.learn(list.shown.surface, &rows, at, &list.chosen, positions);
            list.chosen.push(at);
        }
        Some(joined)
    }

    /// What proposed the item of a choice ([`Lists::show_by`]), the first time that anything of it is chosen from that list.
    pub fn first_choice_of(&mut self, joined: &Joined) -> Option<Id> {
        let list = self.by_token.get_mut(&joined.token)?;
        let at = list.positions.iter().position(|position| *position == joined.position)?;
        let arm = *list.arms.get(at)?;
        if list.clicked.contains(&arm) {
            return None;
        }
        list.clicked.push(arm);
        Some(arm)
    }

    fn find(&self, event: &Event, origin: &Origin) -> Option<(Id, usize)> {
        let age_ms = |list: &List| event.at_ms.saturating_sub(list.shown.at_ms);
        if let Some(token) = origin.token {
            let list = self.by_token.get(&token).filter(|list| list.shown.shopper == origin.shopper)?;
            return list.holds(event.item).filter(|_| (-SKEW_MS_MAX..=LIST_AGE_MS_MAX).contains(&age_ms(list))).map(|at| (token, at));
        }
        self.of_shopper.get(&origin.shopper)?.iter().rev().find_map(|token| {
            let list = self.by_token.get(token)?;
            let same_session = origin.session.is_some() && origin.session == list.shown.session;
            let age_ms_max = if same_session { LIST_AGE_MS_MAX } else { JOIN_MS_MAX };
            list.holds(event.item).filter(|_| (-SKEW_MS_MAX..=age_ms_max).contains(&age_ms(list))).map(|at| (*token, at))
        })
    }

    fn forget(&mut self, token: Id) {
        let Some(list) = self.by_token.remove(&token) else { return };
        self.bytes -= list.bytes();
        if let Some(lists) = self.of_shopper.get_mut(&list.shown.shopper) {
            lists.retain(|other| *other != token);
            if lists.is_empty() {
                self.of_shopper.remove(&list.shown.shopper);
            }
        }
    }

    /// Forgets every list of a shopper.
    pub fn erase(&mut self, shopper: Id) {
        for token in self.of_shopper.get(&shopper).cloned().unwrap_or_default() {
            self.forget(token);
        }
        self.drop_gone();
    }

    /// An anonymous visitor turns out to be known: the visitor's lists are the shopper's.
    pub fn rename(&mut self, from: Id, to: Id) {
        if from == to {
            return;
        }
        for token in self.of_shopper.remove(&from).unwrap_or_default() {
            if let Some(list) = self.by_token.get_mut(&token) {
                list.shown.shopper = to;
                self.of_shopper.entry(to).or_default().push_back(token);
            }
        }
        if let Some(lists) = self.of_shopper.get_mut(&to) {
            // The newest stand last, whoever saw them then.
            let serial = |token: &Id| self.by_token.get(token).map_or(0, |list| list.serial);
            lists.make_contiguous().sort_by_key(serial);
        }
        while let Some(token) = self.of_shopper.get(&to).filter(|lists| lists.len() > LISTS_OF_SHOPPER_MAX).and_then(|lists| lists.front())
        {
            self.forget(*token);
        }
    }

    /// Lists that are kept.
    pub fn len(&self) -> usize {
        self.by_token.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }

    /// Their bytes, at most [`SHOWN_BYTES_MAX`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
