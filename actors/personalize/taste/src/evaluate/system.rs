//! The system under evaluation: profiles, shop, lists and learner, fed as an appliance would be.

use std::collections::HashMap;

use super::csv::{Products, Purchases, Row};
use super::{CUT, Options};
use crate::features::{Ask, Candidate, Features, Page};
use crate::keys::{Id, mix};
use crate::{Action, Event, Facts, Learner, Lists, Origin, Profile, Shop, Shown, buy_again};

/// The one surface there is.
const SURFACE: Id = 1;

pub(super) struct System<'a> {
    products: Option<&'a Products>,
    stores: bool,
    learns: bool,
    strength: f32,
    profiles: HashMap<u32, Profile>,
    shop: Shop,
    learner: Learner,
    lists: Lists,
    token: Id,
}

impl<'a> System<'a> {
    pub(super) fn new(purchases: &Purchases, products: Option<&'a Products>, options: &Options) -> Self {
        Self {
            products,
            stores: options.stores && purchases.has_stores(),
            learns: options.learns,
            strength: options.strength,
            profiles: HashMap::new(),
            shop: Shop::default(),
            learner: Learner::default(),
            lists: Lists::default(),
            token: 0,
        }
    }

    fn facts(&self, item: u32) -> Facts<'static> {
        let product = self.products.map(|products| products.product(item)).unwrap_or_default();
        Facts {
            kind: product.kind.map(|kind| mix(2, u64::from(kind))),
            brand: product.brand.map(|brand| mix(3, u64::from(brand))),
            price: product.price,
            private_label: product.private_label,
            ..Facts::default()
        }
    }

    fn store(&self, row: &Row) -> Option<Id> {
        self.stores.then_some(u64::from(row.store))
    }

    /// Puts a page in order for the shopper of a basket that is about to be bought, and remembers that it was shown.
    pub(super) fn ask(&mut self, row: &Row, category: u32, items: &[u32]) -> Vec<u32> {
        let profile = self.profiles.entry(row.user).or_default();
        let candidates: Vec<Candidate> = items.iter().map(|item| Candidate { item: u64::from(*item), score: None }).collect();
        let profile = std::mem::take(profile);
        let ask = Ask { at_ms: row.at_s * 1_000, store: self.store(row), candidates: &candidates };
        let page = Page::new(&profile, &self.shop, &ask, |at| self.facts(items[at]));
        self.profiles.insert(row.user, profile);
        let ranked = self.learner.rank(&page, SURFACE, self.strength);
        if self.learns {
            self.token += 1;
            let shown = Shown {
                token: mix(u64::from(category), self.token),
                shopper: u64::from(row.user),
                session: Some(u64::from(row.basket)),
                surface: SURFACE,
                at_ms: ask.at_ms,
            };
            self.lists.show(shown, &page, ranked.iter().map(|ranked| ranked.at));
        }
        ranked.iter().map(|ranked| items[ranked.at]).collect()
    }

    /// What the shopper is likely to buy.
    pub(super) fn again(&self, row: &Row) -> Vec<u32> {
        let Some(profile) = self.profiles.get(&row.user) else { return Vec::new() };
        buy_again(profile, &self.shop, row.at_s * 1_000, 2 * CUT).into_iter().map(|again| again.item as u32).collect()
    }

    /// Tells what was bought, without the list it was on.
    pub(super) fn buy(&mut self, row: &Row) {
        let event = Event {
            action: Action::Purchase,
            item: u64::from(row.item),
            at_ms: row.at_s * 1_000,
            store: self.store(row),
            facts: self.facts(row.item),
        };
        let step = self.profiles.entry(row.user).or_default().apply(&event, &self.shop);
        self.shop.apply(&event, &step);
        let origin = Origin { shopper: u64::from(row.user), session: Some(u64::from(row.basket)), token: None };
        self.lists.learn(&event, &origin, &mut self.learner);
    }

    pub(super) fn weights(&self) -> Features {
        self.learner.weights(SURFACE)
    }

    /// The largest profile and the mean, as encoded.
    pub(super) fn profile_bytes(&self) -> [usize; 2] {
        let config = bincode::config::legacy();
        let lengths: Vec<usize> =
            self.profiles.values().filter_map(|profile| bincode::encode_to_vec(profile, config).ok()).map(|bytes| bytes.len()).collect();
        [lengths.iter().copied().max().unwrap_or_default(), lengths.iter().sum::<usize>() / lengths.len().max(1)]
    }
}
