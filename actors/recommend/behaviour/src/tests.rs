//! The state as a whole: replays, merges, erasure, saving, and answers after an event.
