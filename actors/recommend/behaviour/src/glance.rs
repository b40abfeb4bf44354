//! What is known at a glance: the newest time, one item's popularity.

use crate::event::Kind;
use crate::keys::Key;
use crate::popularity::Window;
use crate::state::Behaviour;

impl Behaviour {
    /// The time of the latest event, in milliseconds since 1970; 0 before the first.
    pub fn latest_ms(&self) -> u64 {
        self.latest_ms
    }

    /// What a shopper asked not to see, as far as the history remembers it.
    pub fn dismissed(&self, shopper: &str) -> Vec<u32> {
        let shopper = self.shoppers.find(Key::new(shopper)).and_then(|slot| self.shoppers.get(slot));
        let entries = shopper.map_or(&[][..], |shopper| &shopper.entries);
        entries.iter().filter(|entry| entry.kind() == Kind::Dismiss).map(|entry| entry.item()).collect()
    }

    /// An item's decayed count, on the scale of [`Behaviour::popular`]; 0 for an unknown item.
    pub fn popularity_of(&self, window: Window, item: u32) -> f32 {
        self.popularity.weight(item, window)
    }
}
