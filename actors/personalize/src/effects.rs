//! What touches the disk and the catalog: the profiles' table with the store behind it, the facts of products, batches of the event
//! log, checkpoints.

pub(crate) mod checkpoint;
pub(crate) mod follow;
pub(crate) mod profiles;
pub(crate) mod shelf;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock whose holder may have panicked: what it guards is made anew when the actor restarts.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
