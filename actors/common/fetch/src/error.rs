//! Why a download did not happen.

use std::net::IpAddr;

/// Why there are no bytes. No variant carries a URL's user name or password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The configuration cannot be used.
    #[error("download configuration: {0}")]
    Config(String),
    /// The text is no URL, or has no host.
    #[error("not a URL: {0}")]
    BadUrl(String),
    /// Neither `http` nor `https`.
    #[error("{0}: only http and https are fetched")]
    Scheme(String),
    /// The host stands at an address of the own network that the configuration does not allow.
    #[error("{host} is at the private address {address}: refused (see private_addresses_allowed)")]
    PrivateAddress {
        /// As the URL names it.
        host: String,
        /// Where it leads.
        address: IpAddr,
    },
    /// More redirects than the bound.
    #[error("more than {0} redirects")]
    TooManyRedirects(usize),
    /// The server answered with another status than success.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// More bytes than the caller takes.
    #[error("more than {0} bytes")]
    TooManyBytes(u64),
    /// Out of time.
    #[error("not done within {0} ms")]
    Timeout(u64),
    /// No connection: name not found, refused, TLS failure.
    #[error("no connection: {0}")]
    Connect(String),
    /// The connection broke in the middle, or the answer is no HTTP.
    #[error("the download broke off: {0}")]
    Interrupted(String),
    /// The bytes could not be written to disk.
    #[error("could not write the download: {0}")]
    Write(String),
}

impl FetchError {
    /// Stable, snake_case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "bad_fetch_config",
            Self::BadUrl(_) => "bad_url",
            Self::Scheme(_) => "scheme_not_allowed",
            Self::PrivateAddress { .. } => "private_address",
            Self::TooManyRedirects(_) => "too_many_redirects",
            Self::Status(_) => "http_status",
            Self::TooManyBytes(_) => "too_many_bytes",
            Self::Timeout(_) => "timeout",
            Self::Connect(_) => "connect_failed",
            Self::Interrupted(_) => "interrupted",
            Self::Write(_) => "write_failed",
        }
    }

    /// Whether trying again later may help: the server or the way to it failed, not the request.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Connect(_) | Self::Interrupted(_) | Self::Write(_) => true,
            Self::Status(status) => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Config(_)
            | Self::BadUrl(_)
            | Self::Scheme(_)
            | Self::PrivateAddress { .. }
            | Self::TooManyRedirects(_)
            | Self::TooManyBytes(_) => false,
        }
    }
}
