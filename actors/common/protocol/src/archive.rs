//! Alfred: keeps the event log in order.

/// The runtime name.
pub const NAME: &str = "alfred";

/// What Alfred is asked. He looks after the log by himself.
#[derive(Debug)]
pub enum ArchiveMsg {
    /// For the actor's own rounds.
    Tick,
}
