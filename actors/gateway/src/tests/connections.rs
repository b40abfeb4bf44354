//! What happens on the wire: slow clients, the drain, a restart, shedding.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use kit::{Address, Context, Priority, Scene};
use protocol::gateway::GatewayMsg;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fakes::{World, product};
use super::{Stage, request};
use crate::actor::{Args, Robin, bind};
use crate::config::Config;

/// Real sockets know no paused time: the deadlines under test are short instead.
fn config() -> Config {
    Config { listen: "127.0.0.1:0".parse().expect("an address"), header_read_timeout_ms: 150, ..Config::default() }
}

struct Wire {
    scene: Scene,
    address: Address<GatewayMsg>,
    args: Args,
    port: u16,
}

impl Wire {
    async fn new(config: Config) -> Self {
        let mut scene = Scene::new();
        let house = World::new([product("1", "Camera")]).house(&mut scene).await;
        let listener = bind(&config).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let args = Args { config, house, listener };
        let address = Address::new("robin", 16);
        scene.spawn_at(&address, Robin, args.clone()).await;
        Self { scene, address, args, port }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection")
    }

    fn get(&self, path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", self.port)
    }
}

/// All that comes until the server closes, or the patience ends.
async fn read_all(stream: &mut TcpStream) -> String {
    let mut out = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut out)).await.expect("the server closes the connection");
    String::from_utf8_lossy(&out).into_owned()
}

async fn read_some(stream: &mut TcpStream) -> String {
    let mut out = vec![0; 8192];
    let count = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut out)).await.expect("an answer").expect("bytes");
    String::from_utf8_lossy(&out[..count]).into_owned()
}

#[tokio::test]
async fn a_client_that_does_not_ask_is_cut() {
    let wire = Wire::new(config()).await;
    for sent in ["", "P", "PRI * HTTP/2", "GET /livez HTT", "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "] {
        let mut stream = wire.connect().await;
        stream.write_all(sent.as_bytes()).await.expect("sent");
        let answer = read_all(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{sent:?}: {answer}");
    }
    wire.scene.end().await;
}

#[tokio::test]
async fn a_connection_is_used_again_and_closed_at_the_drain() {
    let wire = Wire::new(Config { header_read_timeout_ms: 5_000, ..config() }).await;
    let mut stream = wire.connect().await;
    for _ in 0..2 {
        stream.write_all(wire.get("/livez").as_bytes()).await.expect("sent");
        assert!(read_some(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
    let context = Context::new(Priority::Serving, Duration::from_secs(10));
    let cut = wire.address.call(&context, |reply| GatewayMsg::Drain { timeout: Duration::from_secs(5), reply }).await;
    assert_eq!(cut, Ok(0), "an idle connection is closed, not cut");
    assert_eq!(read_all(&mut stream).await, "");
    wire.scene.end().await;
}

#[tokio::test]
async fn a_request_under_way_is_answered_through_a_kill_and_the_port_stays() {
    let mut wire = Wire::new(Config { header_read_timeout_ms: 5_000, ..config() }).await;
    let mut slow = wire.connect().await;
    let body = r#"{"text":"camera"}"#;
    let head = format!(
        "POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        wire.port,
        body.len()
    );
    slow.write_all(head.as_bytes()).await.expect("sent");
    assert!(read_some(&mut slow).await.starts_with("HTTP/1.1 100"), "the handler waits for the body");
    wire.address.disconnect();
    wire.scene.end().await;
    slow.write_all(body.as_bytes()).await.expect("sent");
    let answer = read_all(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Callers wait in the kernel's queue meanwhile.
    let mut early = TcpStream::connect(("127.0.0.1", wire.port)).await.expect("the port is open");
    early
        .write_all(format!("GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", wire.port).as_bytes())
        .await
        .expect("sent");
    wire.scene = Scene::new();
    wire.scene.spawn_at(&wire.address, Robin, wire.args.clone()).await;
    assert!(read_all(&mut early).await.starts_with("HTTP/1.1 200"));
    wire.scene.end().await;
}

#[tokio::test]
async fn too_many_at_a_time_are_shed_and_the_others_go_on() {
    let stage = Arc::new(Stage::new(Config { bulk_requests_max: 1, ..Config::default() }, World::new([])).await);
    let (sender, pieces) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(1);
    let stalled = request("POST", "/v1/feeds", "text/csv", Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(pieces)));
    let first = tokio::spawn({
        let router = stage.router.clone();
        async move { tower::ServiceExt::oneshot(router, stalled).await }
    });
    sender.send(Ok(Bytes::from_static(b"id,title\n"))).await.expect("the upload is being read");
    sender.send(Ok(Bytes::from_static(b"1,Shoe\n"))).await.expect("the upload is being read");
    let second = stage.send(request("GET", "/v1/products:export", "", "")).await;
    assert_eq!(second.status(), 503);
    assert!(second.headers().contains_key("retry-after"));
    assert_eq!(stage.get("/livez").await.0, 200, "other classes have places of their own");
    drop(sender);
    assert_eq!(first.await.expect("joined").expect("an answer").status(), 202);
    assert_eq!(stage.get("/v1/products:export").await.0, 200, "the place is free again");
    Arc::into_inner(stage).expect("the only one").scene.end().await;
}

#[tokio::test]
async fn an_export_holds_its_place_until_its_last_byte() {
    let products = (0..600).map(|n| product(&format!("{n:04}"), "Shoe"));
    let stage = Stage::new(Config { bulk_requests_max: 1, ..Config::default() }, World::new(products)).await;
    let export = stage.send(request("GET", "/v1/products:export", "", "")).await;
    assert_eq!(stage.get("/v1/products:export").await.0, 503);
    assert_eq!(super::text(export).await.lines().count(), 600);
    assert_eq!(stage.get("/v1/products:export").await.0, 200);
    stage.scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_body_ends_at_the_deadline() {
    let stage = Stage::new(Config { request_timeout_ms: 1_000, ..Config::default() }, World::new([])).await;
    let never = Body::from_stream(futures_util::stream::pending::<std::io::Result<Bytes>>());
    let response = stage.send(request("POST", "/v1/search", "application/json", never)).await;
    assert_eq!(response.status(), 503);
    let problem = super::text(response).await;
    assert!(problem.contains("deadline_exceeded"), "{problem}");
    stage.scene.end().await;
}
