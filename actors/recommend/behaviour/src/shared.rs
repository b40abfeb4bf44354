//! One writer, many readers.
//!
//! A lock around the whole state: an event is applied in microseconds and a query reads for less than a millisecond, so at a thousand
//! queries a second the lock is free most of the time, and a reader always sees what was acknowledged before. Copies for readers
//! would cost a hundred megabytes each or lag behind.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::state::Behaviour;

/// The state, shared.
#[derive(Debug)]
pub struct Shared {
    state: RwLock<Behaviour>,
}

impl Shared {
    /// Shares a state.
    pub fn new(state: Behaviour) -> Self {
        Self { state: RwLock::new(state) }
    }

    /// The state as it is now. Hold it for one query: a writer waits for it.
    pub fn read(&self) -> RwLockReadGuard<'_, Behaviour> {
        // A panic of a writer leaves at most one event half counted; every part of the state stays sound by itself.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state; everybody else waits: a few events at a time, so that readers get their turn between.
    pub fn write<T>(&self, change: impl FnOnce(&mut Behaviour) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }
}
