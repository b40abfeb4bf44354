//! Robin's own settings.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where Robin listens and what it takes at most. The field names are the keys of the configuration file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// There are no keys yet, so whoever reaches the port may do everything. Set this only where the network is trusted.
    pub allow_insecure_remote: bool,
    /// Host names under which callers reach the box, besides `localhost` and plain addresses. Requests for other names are
    /// refused: a foreign page must not reach the box through a name that it controls.
    pub host_names: Vec<String>,
    /// Connections at a time; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// A client that has not sent its whole request header by then is cut.
    pub header_read_timeout_ms: u64,
    /// A shopper's or operator's request is answered by then, one way or another.
    pub request_timeout_ms: u64,
    /// A bulk request (upload, batch, export) ends by then.
    pub bulk_timeout_ms: u64,
    /// An upload that sends nothing, or an export that is not read, for so long is cut.
    pub stall_timeout_ms: u64,
    /// A progress stream ends by then; browsers come back by themselves.
    pub stream_timeout_ms: u64,
    /// Requests slower than this are logged.
    pub slow_request_ms: u64,
    /// The largest JSON body.
    pub body_bytes_max: u64,
    /// The largest picture in a search.
    pub image_bytes_max: u64,
    /// The largest body of an availability batch.
    pub batch_bytes_max: u64,
    /// The most lines in an availability batch.
    pub batch_lines_max: usize,
    /// The largest body of events.
    pub events_bytes_max: u64,
    /// The most events in one body.
    pub events_max: usize,
    /// Bodies of events at a time.
    pub event_requests_max: usize,
    /// The share of places in recommendations that is left to trials, 0 to 1; the first four never are.
    pub explore_share: f32,
    /// The largest feed that is uploaded, after decompression.
    pub upload_bytes_max: u64,
    /// Requests for reading and searching at a time.
    pub serving_requests_max: usize,
    /// Single writes at a time.
    pub write_requests_max: usize,
    /// Uploads, batches and exports at a time.
    pub bulk_requests_max: usize,
    /// Progress streams at a time.
    pub stream_requests_max: usize,
    /// Requests of operators and monitoring at a time.
    pub operations_requests_max: usize,
    /// The most items in one list or ranked answer.
    pub limit_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8742),
            allow_insecure_remote: false,
            host_names: Vec::new(),
            connections_max: 1024,
            header_read_timeout_ms: 10_000,
            request_timeout_ms: 10_000,
            bulk_timeout_ms: 3_600_000,
            stall_timeout_ms: 30_000,
            stream_timeout_ms: 3_600_000,
            slow_request_ms: 1_000,
            body_bytes_max: 1 << 20,
            image_bytes_max: 16 << 20,
            batch_bytes_max: 16 << 20,
            batch_lines_max: 20_000,
            events_bytes_max: 16 << 20,
            events_max: 10_000,
            event_requests_max: 256,
            explore_share: 0.05,
            upload_bytes_max: 8 << 30,
            serving_requests_max: 256,
            write_requests_max: 64,
            bulk_requests_max: 8,
            stream_requests_max: 64,
            operations_requests_max: 32,
            limit_max: 200,
        }
    }
}

impl Config {
    /// Every setting that is wrong: its name and what is wrong with it.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !self.listen.ip().is_loopback() && !self.allow_insecure_remote {
            let text = format!(
                "{} is not a loopback address: nothing protects the box there yet; set allow_insecure_remote = true to listen on it all the same",
                self.listen.ip()
            );
            problems.push(("listen", text));
        }
        let positive = [
            ("connections_max", self.connections_max as u64),
            ("header_read_timeout_ms", self.header_read_timeout_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("bulk_timeout_ms", self.bulk_timeout_ms),
            ("stall_timeout_ms", self.stall_timeout_ms),
            ("stream_timeout_ms", self.stream_timeout_ms),
            ("body_bytes_max", self.body_bytes_max),
            ("image_bytes_max", self.image_bytes_max),
            ("batch_bytes_max", self.batch_bytes_max),
            ("batch_lines_max", self.batch_lines_max as u64),
            ("events_bytes_max", self.events_bytes_max),
            ("events_max", self.events_max as u64),
            ("event_requests_max", self.event_requests_max as u64),
            ("upload_bytes_max", self.upload_bytes_max),
            ("serving_requests_max", self.serving_requests_max as u64),
            ("write_requests_max", self.write_requests_max as u64),
            ("bulk_requests_max", self.bulk_requests_max as u64),
            ("stream_requests_max", self.stream_requests_max as u64),
            ("operations_requests_max", self.operations_requests_max as u64),
        ];
        problems.extend(positive.into_iter().filter(|(_, value)| *value == 0).map(|(name, _)| (name, "must be greater than 0".to_owned())));
        if !(0.0..=1.0).contains(&self.explore_share) {
            problems.push(("explore_share", format!("{} is not between 0 and 1", self.explore_share)));
        }
        if self.limit_max == 0 || self.limit_max > protocol::search::HITS_MAX {
            problems.push(("limit_max", format!("must be between 1 and {}", protocol::search::HITS_MAX)));
        }
        problems
    }

    pub(crate) fn header_read_timeout(&self) -> Duration {
        Duration::from_millis(self.header_read_timeout_ms)
    }

    pub(crate) fn stall_timeout(&self) -> Duration {
        Duration::from_millis(self.stall_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_address_needs_consent() {
        assert!(Config::default().problems().is_empty());
        let open = Config { listen: "0.0.0.0:8742".parse().expect("an address"), ..Config::default() };
        assert_eq!(open.problems().first().map(|(field, _)| *field), Some("listen"));
        assert!(Config { allow_insecure_remote: true, ..open }.problems().is_empty());
        assert!(Config { listen: "[::1]:1".parse().expect("an address"), ..Config::default() }.problems().is_empty());
    }

    #[test]
    fn every_bound_is_checked() {
        let config = Config { limit_max: 5_000, body_bytes_max: 0, serving_requests_max: 0, ..Config::default() };
        let fields: Vec<_> = config.problems().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["body_bytes_max", "serving_requests_max", "limit_max"]);
    }
}
