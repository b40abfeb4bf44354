//! Taste: what one shopper likes, as far as it can be told from what was done, and lists put in order by it. A library: no actor,
//! no clock (times are arguments, in milliseconds), no disk.
//!
//! - [`Profile`]: one shopper, a few kilobytes; [`Shop`]: what everybody does. Both take in one [`Event`] after the other and are
//!   the same bit for bit however the events were batched.
//! - [`Page`]: the features of one list for one shopper; [`Learner::rank`]: the list in order, with each feature's share of each
//!   score.
//! - [`Lists`]: what was shown, with its features as they were then; a choice from it is one step of the [`Learner`].
//! - [`Bandit`]: which strategy fills a place; [`buy_again`]: what is bought regularly.
//! - [`evaluate`]: the quality of all that on purchases of the past.
//!
//! For each event of a shopper: `step = profile.apply(&event, &shop)`, `shop.apply(&event, &step)`,
//! `lists.learn(&event, &origin, &mut learner)`. For each ask: `page = Page::new(..)`, `learner.rank(&page, surface, strength)`,
//! and when the list is shown `lists.show(shown, &page, order)`.

mod again;
mod bandit;
mod centroids;
mod clock;
pub mod evaluate;
mod event;
mod features;
mod keys;
mod logit;
mod profile;
mod row;
mod save;
mod shop;
mod shown;

pub use again::{Again, buy_again};
pub use bandit::{ARMS_MAX, Bandit, PLACES_MAX, Seed, places_to_try};
pub use centroids::EMBEDDING_LENGTH_MAX;
pub use clock::DAY_MS;
pub use event::{ATTRIBUTES_MAX, Action, Event, Facts};
pub use features::{Ask, CANDIDATES_MAX, Candidate, FEATURES, Feature, Features, Page};
pub use keys::Id;
pub use logit::{Learner, Ranked, SURFACES_MAX};
pub use profile::{GLANCES_MAX, ITEMS_MAX, PROFILE_BYTES_MAX, PROFILE_HALF_LIFE_DAYS, Profile, Step, TASTES_MAX};
pub use save::{SaveError, Saved, save};
pub use shop::{HABIT_HALF_LIFE_DAYS, POPULARITY_HALF_LIFE_DAYS, SHOP_ITEMS_MAX, SHOP_KINDS_MAX, Shop, WEEK_HALF_LIFE_DAYS};
pub use shown::{
    CHOICES_MAX, JOIN_MS_MAX, Joined, LIST_AGE_MS_MAX, LISTS_OF_SHOPPER_MAX, Lists, Origin, SHOWN_BYTES_MAX, SKEW_MS_MAX, Shown,
};
