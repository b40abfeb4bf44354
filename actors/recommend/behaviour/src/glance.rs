//! What is known at a glance: the newest time, one item's popularity.

use crate::popularity::Window;
use crate::state::Behaviour;

impl Behaviour {
    /// The time of the latest event, in milliseconds since 1970; 0 before the first.
    pub fn latest_ms(&self) -> u64 {
        self.latest_ms
    }

    /// An item's decayed count, on the scale of [`Behaviour::popular`]; 0 for an unknown item.
    pub fn popularity_of(&self, window: Window, item: u32) -> f32 {
        self.popularity.weight(item, window)
    }
}
