//! The client: one hop at a time, so that every hop's scheme and address are judged before it is taken.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{self, HeaderMap};
use reqwest::{Client, Response, StatusCode, dns};
use tokio::io::AsyncWriteExt as _;
use url::{Host, Url};

use crate::config::FetchConfig;
use crate::error::FetchError;
use crate::guard::Guard;

/// Longer header values are not kept.
const HEADER_BYTES_MAX: usize = 256;
/// Space set aside before the first byte has come, whatever the server announces.
const RESERVE_BYTES_MAX: u64 = 1 << 20;

/// What tells whether the content has changed since it was fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// The server's `ETag`.
    pub etag: Option<String>,
    /// The server's `Last-Modified`.
    pub last_modified: Option<String>,
}

/// A download in memory.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The body.
    pub bytes: Bytes,
    /// The server's `Content-Type`; nothing here relies on it.
    pub content_type: Option<String>,
    /// Where the last redirect led.
    pub final_url: Url,
    /// For a later [`Fetcher::get_if_changed`].
    pub validators: Validators,
}

/// A download in a file.
#[derive(Clone, Debug)]
pub struct Downloaded {
    /// Bytes of the body.
    pub bytes: u64,
    /// The server's `Content-Type`.
    pub content_type: Option<String>,
    /// Where the last redirect led.
    pub final_url: Url,
}

/// Fetches; clones share connections.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client,
    guard: Arc<Guard>,
    config: Arc<FetchConfig>,
}

impl Fetcher {
    /// A client under these bounds. Makes no connection.
    pub fn new(config: FetchConfig) -> Result<Self, FetchError> {
        if let Some((field, problem)) = config.problems().into_iter().next() {
            return Err(FetchError::Config(format!("{field}: {problem}")));
        }
        let guard = Guard::new(&config.private_addresses_allowed).map_err(|entry| FetchError::Config(entry.to_owned()))?;
        let guard = Arc::new(guard);
        // A process has one provider; another part of it may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(&config.user_agent)
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would resolve names out of the guard's sight.
            .no_proxy()
            .dns_resolver(Arc::new(GuardedResolver(Arc::clone(&guard))))
            .build()
            .map_err(|error| FetchError::Config(chain(&error)))?;
        Ok(Self { client, guard, config: Arc::new(config) })
    }

    /// Fetches into memory; more than `bytes_max` bytes are refused.
    pub async fn get(&self, url: &str, bytes_max: u64) -> Result<Fetched, FetchError> {
        let fetched = self.get_if_changed(url, &Validators::default(), bytes_max).await?;
        // Unasked for: no validators were sent.
        fetched.ok_or(FetchError::Status(StatusCode::NOT_MODIFIED.as_u16()))
    }

    /// Fetches into memory unless the server says that nothing has changed since `validators` were handed out.
    pub async fn get_if_changed(&self, url: &str, validators: &Validators, bytes_max: u64) -> Result<Option<Fetched>, FetchError> {
        self.in_time(async {
            let mut response = self.follow(url, validators, bytes_max).await?;
            if response.status() == StatusCode::NOT_MODIFIED {
                return Ok(None);
            }
            let announced = response.content_length().unwrap_or(0).min(RESERVE_BYTES_MAX);
            let mut body = BytesMut::with_capacity(announced as usize);
            while let Some(chunk) = self.chunk(&mut response, body.len() as u64, bytes_max).await? {
                body.extend_from_slice(&chunk);
            }
            let headers = response.headers();
            let validators = Validators { etag: text(headers, &header::ETAG), last_modified: text(headers, &header::LAST_MODIFIED) };
            let content_type = text(headers, &header::CONTENT_TYPE);
            Ok(Some(Fetched { bytes: body.freeze(), content_type, final_url: response.url().clone(), validators }))
        })
        .await
    }

    /// Fetches into a file: written under a temporary name, flushed to disk, then renamed, so that `path` holds the whole
    /// download or what it held before.
    pub async fn download(&self, url: &str, path: &Path, bytes_max: u64) -> Result<Downloaded, FetchError> {
        self.in_time(async {
            let mut response = self.follow(url, &Validators::default(), bytes_max).await?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
            let temporary = blocking({
                let folder = folder.clone();
                move || tempfile::Builder::new().prefix(".download-").tempfile_in(folder)
            })
            .await?;
            let mut file = tokio::fs::File::from_std(temporary.reopen().map_err(write_error)?);
            let mut bytes = 0;
            while let Some(chunk) = self.chunk(&mut response, bytes, bytes_max).await? {
                file.write_all(&chunk).await.map_err(write_error)?;
                bytes += chunk.len() as u64;
            }
            file.flush().await.map_err(write_error)?;
            file.sync_all().await.map_err(write_error)?;
            let path = path.to_owned();
            blocking(move || {
                temporary.persist(&path).map_err(|error| error.error)?;
                std::fs::File::open(&folder)?.sync_all()
            })
            .await?;
            Ok(Downloaded { bytes, content_type: text(response.headers(), &header::CONTENT_TYPE), final_url: response.url().clone() })
        })
        .await
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, FetchError>>) -> Result<T, FetchError> {
        let total_ms = self.config.total_timeout_ms;
        tokio::time::timeout(Duration::from_millis(total_ms), work).await.unwrap_or(Err(FetchError::Timeout(total_ms)))
    }

    /// The answer behind all redirects, its announced length within the bound.
    async fn follow(&self, url: &str, validators: &Validators, bytes_max: u64) -> Result<Response, FetchError> {
        let mut url = Url::parse(url).map_err(|error| FetchError::BadUrl(error.to_string()))?;
        for _ in 0..=self.config.redirects_max {
            self.judge(&url)?;
            let mut request = self.client.get(url.clone());
            for (name, value) in [(header::IF_NONE_MATCH, &validators.etag), (header::IF_MODIFIED_SINCE, &validators.last_modified)] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
            let response = request.send().await.map_err(|error| self.failure(error))?;
            let status = response.status();
            if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
                let location = location.ok_or_else(|| FetchError::BadUrl("a redirect without a target".to_owned()))?;
                url = url.join(location).map_err(|error| FetchError::BadUrl(error.to_string()))?;
                continue;
            }
            if !status.is_success() && status != StatusCode::NOT_MODIFIED {
                return Err(FetchError::Status(status.as_u16()));
            }
            if response.content_length().is_some_and(|announced| announced > bytes_max) {
                return Err(FetchError::TooManyBytes(bytes_max));
            }
            return Ok(response);
        }
        Err(FetchError::TooManyRedirects(self.config.redirects_max))
    }

    /// Refuses other schemes and, as no resolver is asked about them, hosts that are written as an address.
    fn judge(&self, url: &Url) -> Result<(), FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::Scheme(url.scheme().to_owned()));
        }
        let address: IpAddr = match url.host() {
            None => return Err(FetchError::BadUrl("no host".to_owned())),
            Some(Host::Domain(_)) => return Ok(()),
            Some(Host::Ipv4(v4)) => v4.into(),
            Some(Host::Ipv6(v6)) => v6.into(),
        };
        let host = address.to_string();
        if self.guard.allows(&host, address) { Ok(()) } else { Err(FetchError::PrivateAddress { host, address }) }
    }

    async fn chunk(&self, response: &mut Response, so_far: u64, bytes_max: u64) -> Result<Option<Bytes>, FetchError> {
        let chunk = response.chunk().await.map_err(|error| self.failure(error))?;
        match chunk {
            Some(chunk) if so_far + chunk.len() as u64 > bytes_max => Err(FetchError::TooManyBytes(bytes_max)),
            other => Ok(other),
        }
    }

    fn failure(&self, error: reqwest::Error) -> FetchError {
        let error = error.without_url();
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(cause) = source {
            if let Some(refused) = cause.downcast_ref::<FetchError>() {
                return refused.clone();
            }
            source = cause.source();
        }
        match () {
            () if error.is_connect() && error.is_timeout() => FetchError::Timeout(self.config.connect_timeout_ms),
            () if error.is_timeout() => FetchError::Timeout(self.config.total_timeout_ms),
            () if error.is_builder() => FetchError::BadUrl(chain(&error)),
            () if error.is_connect() => FetchError::Connect(chain(&error)),
            () => FetchError::Interrupted(chain(&error)),
        }
    }
}

/// Resolves names by the system and hands on allowed addresses alone: the connection goes to an address that was judged, so
/// a name that resolves differently the second time gains nothing.
struct GuardedResolver(Arc<Guard>);

impl dns::Resolve for GuardedResolver {
    fn resolve(&self, name: dns::Name) -> dns::Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
            let (allowed, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| guard.allows(host, address.ip()));
            match (allowed.is_empty(), refused.first()) {
                (true, Some(address)) => Err(FetchError::PrivateAddress { host: host.to_owned(), address: address.ip() }.into()),
                _ => Ok(Box::new(allowed.into_iter()) as dns::Addrs),
            }
        })
    }
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    (value.len() <= HEADER_BYTES_MAX).then(|| value.to_owned())
}

/// An error with its causes: reqwest's own text names none.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn write_error(error: io::Error) -> FetchError {
    FetchError::Write(error.to_string())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, FetchError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| FetchError::Write(error.to_string()))?.map_err(write_error)
}
