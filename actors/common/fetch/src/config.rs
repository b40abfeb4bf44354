//! What a download may take, and which addresses of the own network it may reach.

use serde::{Deserialize, Serialize};

use crate::guard::Guard;

/// Bounds of every download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FetchConfig {
    /// Time for a connection to stand, TLS included.
    pub connect_timeout_ms: u64,
    /// Time for the whole download, redirects included.
    pub total_timeout_ms: u64,
    /// Redirects that are followed.
    pub redirects_max: usize,
    /// What the server is told is asking.
    pub user_agent: String,
    /// Where downloads may go although it is a private address: networks (`10.1.0.0/16`), addresses (`192.168.1.5`) or host names
    /// (`images.shop.lan`).
    pub private_addresses_allowed: Vec<String>,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 5_000,
            total_timeout_ms: 30_000,
            redirects_max: 5,
            user_agent: concat!("gotham/", env!("CARGO_PKG_VERSION")).to_owned(),
            private_addresses_allowed: Vec::new(),
        }
    }
}

impl FetchConfig {
    /// Fields that make no sense, and why.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.connect_timeout_ms == 0 {
            problems.push(("connect_timeout_ms", "must be at least 1".to_owned()));
        }
        if self.total_timeout_ms < self.connect_timeout_ms {
            problems.push(("total_timeout_ms", "must not be less than connect_timeout_ms".to_owned()));
        }
        if self.redirects_max > 20 {
            problems.push(("redirects_max", "must be at most 20".to_owned()));
        }
        if self.user_agent.is_empty() || !self.user_agent.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            problems.push(("user_agent", "must be visible ASCII characters".to_owned()));
        }
        if let Err(entry) = Guard::new(&self.private_addresses_allowed) {
            problems.push(("private_addresses_allowed", format!("{entry:?} is no network, address or host name")));
        }
        problems
    }
}
