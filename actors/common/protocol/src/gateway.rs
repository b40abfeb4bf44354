//! Robin: the only HTTP.

use std::time::Duration;

use kit::Reply;

/// The runtime name.
pub const NAME: &str = "robin";

/// What Robin is asked.
#[derive(Debug)]
pub enum GatewayMsg {
    /// Take no more connections, let the requests under way end, and answer. Robin goes on without a port until restarted.
    Drain {
        /// After this long the connections that are left are cut.
        timeout: Duration,
        /// Answered with the number of connections that had to be cut.
        reply: Reply<usize>,
    },
    /// For Robin's own accept loop: it has ended, so the actor must be started again.
    AcceptEnded(String),
}
