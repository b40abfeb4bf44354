//! The actor with its neighbours faked.
