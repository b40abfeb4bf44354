//! Lists as a stream of their own, the oldest first: read again, they join the same choices and leave in the same order.

use std::io::{Read, Write};

use bincode::{Decode, Encode};
use half::f16;

use super::{CHOICES_MAX, List, Lists, Shown};
use crate::features::{CANDIDATES_MAX, FEATURES};
use crate::keys::Id;
use crate::save::{Reader, SaveError, Writer};

const MAGIC: [u8; 8] = *b"gshown\0\x01";

/// One list in one block.
#[derive(Encode, Decode)]
struct Stored {
    shown: Shown,
    items: Vec<Id>,
    /// Bits of half-precision numbers.
    rows: Vec<[u16; FEATURES]>,
    positions: Vec<u16>,
    chosen: Vec<u16>,
    arms: Vec<Id>,
    clicked: Vec<Id>,
}

impl Stored {
    fn of(list: &List) -> Self {
        Self {
            shown: list.shown,
            items: list.items.clone(),
            rows: list.rows.iter().map(|row| row.map(f16::to_bits)).collect(),
            positions: list.positions.clone(),
            chosen: list.chosen.iter().map(|at| *at as u16).collect(),
            arms: list.arms.clone(),
            clicked: list.clicked.clone(),
        }
    }

    fn into_list(self, serial: u64) -> Option<List> {
        let length = self.items.len();
        let is_sound = (1..=CANDIDATES_MAX).contains(&length)
            && self.rows.len() == length
            && self.positions.len() == length
            && (self.arms.is_empty() || self.arms.len() == length)
            && self.clicked.len() <= length
            && self.chosen.len() <= CHOICES_MAX
            && self.chosen.iter().all(|at| usize::from(*at) < length);
        is_sound.then(|| List {
            shown: self.shown,
            serial,
            items: self.items,
            rows: self.rows.into_iter().map(|row| row.map(f16::from_bits)).collect(),
            positions: self.positions,
            chosen: self.chosen.into_iter().map(usize::from).collect(),
            arms: self.arms,
            clicked: self.clicked,
        })
    }
}

impl Lists {
    /// Writes the stream. Equal histories give equal bytes; the digest is returned.
    pub fn save(&self, to: &mut impl Write) -> Result<[u8; 32], SaveError> {
        let mut lists: Vec<&List> = self.by_token.values().collect();
        lists.sort_by_key(|list| list.serial);
        let mut writer = Writer::new(&MAGIC, to)?;
        writer.block(&(lists.len() as u64))?;
        lists.into_iter().try_for_each(|list| writer.block(&Stored::of(list)))?;
        writer.finish()
    }

    /// Reads a stream that [`Lists::save`] wrote; whatever else it is is an error.
    pub fn load(from: &mut impl Read) -> Result<Self, SaveError> {
        let mut reader = Reader::new(&MAGIC, from)?;
        let (count, mut lists) = (reader.block::<u64>()?, Self::default());
        for kept in 1..=count {
            lists.serial += 1;
            let list = reader.block::<Stored>()?.into_list(lists.serial).ok_or(SaveError::Damaged("a list"))?;
            lists.keep(list);
            // A list that drives another out is one that no such stream holds.
            if lists.by_token.len() as u64 != kept {
                return Err(SaveError::Damaged("the number of lists"));
            }
        }
        reader.finish()?;
        Ok(lists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Action, Event, Facts};
    use crate::features::Page;
    use crate::logit::Learner;
    use crate::shown::Origin;

    const NOW: i64 = 1_700_000_000_000;

    fn shown(token: Id, shopper: Id) -> Shown {
        Shown { token, shopper, session: Some(9), surface: 1, at_ms: NOW }
    }

    fn page(first: Id) -> Page {
        let items: Vec<Id> = (first..first + 5).collect();
        let rows = items.iter().map(|item| [*item as f32 / 7.0; FEATURES]).collect();
        Page { items, rows }
    }

    fn click(item: Id) -> Event<'static> {
        Event { action: Action::Click, item, at_ms: NOW + 5, store: None, facts: Facts::default() }
    }

    fn some_lists() -> Lists {
        let (mut lists, mut learner) = (Lists::default(), Learner::default());
        lists.show_by(shown(1, 7), &page(10), [4, 2, 0], |at| Some(at as Id % 2));
        lists.show(shown(2, 8), &page(10), 0..5);
        lists.show(shown(3, 7), &page(20), 0..5);
        lists.show(shown(1, 7), &page(10), [3, 1]);
        lists.show_by(shown(4, 7), &page(40), [0], |_| Some(5));
        lists.rename(8, 7);
        let origin = Origin { shopper: 7, session: Some(9), token: Some(3) };
        assert!(lists.learn(&click(22), &origin, &mut learner).is_some());
        lists
    }

    fn bytes(lists: &Lists) -> Vec<u8> {
        let mut bytes = Vec::new();
        lists.save(&mut bytes).expect("memory takes it");
        bytes
    }

    #[test]
    fn what_is_read_again_goes_on_alike() {
        let mut before = some_lists();
        let mut after = Lists::load(&mut bytes(&before).as_slice()).expect("its own stream");
        assert_eq!((after.len(), after.bytes()), (before.len(), before.bytes()));
        for lists in [&mut before, &mut after] {
            let (mut learner, origin) = (Learner::default(), Origin { shopper: 7, session: None, token: None });
            let joined = lists.learn(&click(11), &origin, &mut learner).expect("the newest that holds it");
            assert_eq!((joined.token, joined.position), (1, 1));
            let joined = lists.learn(&click(40), &origin, &mut learner).expect("a list of one");
            assert_eq!((lists.first_choice_of(&joined), lists.first_choice_of(&joined)), (Some(5), None));
            (10..40).for_each(|token| lists.show(shown(token, 7), &page(token), 0..5));
        }
        assert_eq!(bytes(&after), bytes(&before));
    }

    #[test]
    fn damage_is_an_error() {
        let sound = bytes(&some_lists());
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x10;
            assert!(Lists::load(&mut damaged.as_slice()).is_err(), "byte {at}");
            assert!(Lists::load(&mut &sound[..at]).is_err(), "cut at {at}");
        }
    }
}
