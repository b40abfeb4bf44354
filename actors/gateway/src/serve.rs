//! The accept loop: bounded connections, a deadline for each request header, graceful drain.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use kit::Reply;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tower::ServiceExt;

use crate::config::Config;

/// After the kernel has run out of files or memory there is no use in trying again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const HEADER_BYTES_MAX: usize = 64 << 10;
const HTTP2_STREAMS_MAX: u32 = 128;
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);

/// How a drain goes.
pub(crate) type DrainOrder = (Duration, Reply<usize>);

/// Accepts connections until told to drain. When the future is dropped instead, the connections end by themselves as soon as
/// their requests under way are answered.
pub(crate) async fn serve(listener: TcpListener, router: Router, config: Config, drain: oneshot::Receiver<DrainOrder>) {
    let places = Arc::new(Semaphore::new(config.connections_max));
    let connections = GracefulShutdown::new();
    let builder = builder(&config);
    let mut drain = pin!(drain);
    let order = loop {
        // A place first: what cannot be served yet waits in the kernel's queue.
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            order = &mut drain => break order,
            (place, accepted) = accepted => match (place, accepted) {
                (Ok(place), Ok((stream, _))) => {
                    let connection = Connection { builder: builder.clone(), router: router.clone(), watcher: connections.watcher(), place };
                    tokio::spawn(connection.serve(stream, config.header_read_timeout()));
                }
                (_, Err(error)) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                (Err(_), _) => return,
            },
        }
    };
    drop(listener);
    let Ok((timeout, reply)) = order else { return };
    let open = Arc::clone(&places);
    let cut = match tokio::time::timeout(timeout, connections.shutdown()).await {
        Ok(()) => 0,
        Err(_) => config.connections_max - open.available_permits(),
    };
    reply.send(cut);
}

fn builder(config: &Config) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(config.header_read_timeout()).max_buf_size(HEADER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(HTTP2_PING_INTERVAL))
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX as u32);
    builder
}

/// One connection and all that it needs.
struct Connection {
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    watcher: Watcher,
    place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream, first_request_max: Duration) {
        let Self { builder, router, watcher, place: _place } = self;
        let _ = stream.set_nodelay(true);
        let has_asked = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&has_asked);
        let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let router = router.clone();
            async move { Ok::<_, Infallible>(router.oneshot(request.map(axum::body::Body::new)).await.unwrap_or_else(|never| match never {})) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let served = watcher.watch(connection);
        // The protocol is told apart by its first bytes, without a timer: whoever sends none of them, or too few, is cut here.
        until_asked(served, &has_asked, first_request_max).await;
    }
}

async fn until_asked(
    served: impl Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>>,
    has_asked: &AtomicBool,
    first_request_max: Duration,
) {
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = tokio::time::sleep(first_request_max) => {
            if !has_asked.load(Ordering::Relaxed) {
                metrics::counter!("gotham_http_connections_cut_total").increment(1);
                return;
            }
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
