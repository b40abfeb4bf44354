//! Downloads from a server on this machine's own loopback address.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers each request by the bytes that `answer` gives for its head; an empty answer leaves the client waiting.
    async fn start(answer: impl Fn(&str, SocketAddr) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let task = tokio::spawn(async move {
            let mut waiting = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                let answer = answer(&String::from_utf8_lossy(&head), address);
                let _ = stream.write_all(&answer).await;
                if answer.is_empty() {
                    waiting.push(stream);
                }
            }
        });
        Self { address, task }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn ok(headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
}

fn route(head: &str, address: SocketAddr) -> Vec<u8> {
    match head.split(' ').nth(1).unwrap_or_default() {
        "/one" if head.contains("if-none-match: \"v1\"") => b"HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n".to_vec(),
        "/one" => ok("content-type: image/jpeg\r\netag: \"v1\"\r\n", "picture"),
        "/to-one" => redirect("/one"),
        "/round" => redirect("/round"),
        "/to-file" => redirect("file:///etc/passwd"),
        "/to-metadata" => redirect("http://169.254.169.254/latest"),
        "/to-name" => redirect(&format!("http://localhost:{}/one", address.port())),
        "/unannounced" => b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n0123456789".to_vec(),
        "/short" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nhalf".to_vec(),
        "/busy" => b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
        "/slow" => Vec::new(),
        _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
    }
}

fn fetcher(allowed: &[&str]) -> Fetcher {
    let private_addresses_allowed = allowed.iter().map(|entry| (*entry).to_owned()).collect();
    Fetcher::new(FetchConfig { private_addresses_allowed, redirects_max: 3, ..FetchConfig::default() }).expect("a fetcher")
}

#[tokio::test]
async fn a_download_tells_type_final_place_and_validators() {
    let server = Server::start(route).await;
    let fetcher = fetcher(&["127.0.0.0/8"]);
    let fetched = fetcher.get(&server.url("/to-one"), 7).await.expect("a download");
    assert_eq!(fetched.bytes.as_ref(), b"picture");
    assert_eq!(fetched.content_type.as_deref(), Some("image/jpeg"));
    assert_eq!(fetched.final_url.as_str(), server.url("/one"));
    let again = fetcher.get_if_changed(&server.url("/one"), &fetched.validators, 7).await.expect("an answer");
    assert!(again.is_none(), "an unchanged picture is not sent again");
}

#[tokio::test]
async fn refusals_by_table() {
    let server = Server::start(route).await;
    let fetcher = fetcher(&["127.0.0.1"]);
    let cases = [
        (server.url("/round"), "too_many_redirects", false),
        (server.url("/to-file"), "scheme_not_allowed", false),
        (server.url("/to-metadata"), "private_address", false),
        (server.url("/unannounced"), "too_many_bytes", false),
        (server.url("/short"), "too_many_bytes", false),
        (server.url("/missing"), "http_status", false),
        (server.url("/busy"), "http_status", true),
        ("file:///etc/passwd".to_owned(), "scheme_not_allowed", false),
        ("http://".to_owned(), "bad_url", false),
        ("no url".to_owned(), "bad_url", false),
        ("http://[::1]/".to_owned(), "private_address", false),
        ("http://[::ffff:10.0.0.1]/".to_owned(), "private_address", false),
        ("http://0x7f000002/".to_owned(), "private_address", false),
        ("http://2130706434/".to_owned(), "private_address", false),
    ];
    for (url, code, is_transient) in cases {
        let error = fetcher.get(&url, 9).await.expect_err(&url);
        assert_eq!((error.code(), error.is_transient()), (code, is_transient), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_refused_also_behind_a_redirect() {
    let server = Server::start(route).await;
    let by_name = format!("http://localhost:{}/one", server.address.port());
    let error = fetcher(&[]).get(&by_name, 100).await.expect_err("refused");
    assert!(matches!(&error, FetchError::PrivateAddress { host, address } if host == "localhost" && address.is_loopback()), "{error}");
    let other_loopback = fetcher(&["127.0.0.1"]).get(&by_name, 100).await;
    assert!(other_loopback.is_ok(), "an allowed address is reached by name too");
    let error = fetcher(&["10.0.0.0/8"]).get(&by_name, 100).await.expect_err("refused");
    assert_eq!(error.code(), "private_address");
    assert!(fetcher(&["localhost"]).get(&by_name, 100).await.is_ok(), "a host is allowed by its name");
    let error = fetcher(&["localhost"]).get(&server.url("/one"), 100).await.expect_err("its address is not");
    assert_eq!(error.code(), "private_address");
    let through_redirect = fetcher(&["127.0.0.1"]).get(&server.url("/to-name"), 100).await;
    assert!(through_redirect.is_ok(), "{through_redirect:?}");
}

#[tokio::test]
async fn a_broken_connection_is_worth_another_try() {
    let server = Server::start(route).await;
    let error = fetcher(&["127.0.0.1"]).get(&server.url("/short"), 1000).await.expect_err("cut off");
    assert!(matches!(error, FetchError::Interrupted(_)), "{error}");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nobody = listener.local_addr().expect("its address");
    drop(listener);
    let error = fetcher(&["127.0.0.1"]).get(&format!("http://user:secret@{nobody}/"), 10).await.expect_err("nobody listens");
    assert!(matches!(error, FetchError::Connect(_)) && !error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_silent_server_costs_no_more_than_the_total_time() {
    let server = Server::start(route).await;
    let config = FetchConfig {
        connect_timeout_ms: 20,
        total_timeout_ms: 40,
        private_addresses_allowed: vec!["127.0.0.1".to_owned()],
        ..FetchConfig::default()
    };
    let fetcher = Fetcher::new(config).expect("a fetcher");
    assert_eq!(fetcher.get(&server.url("/slow"), 10).await.expect_err("out of time"), FetchError::Timeout(40));
}

#[tokio::test]
async fn a_file_holds_the_whole_download_or_what_it_held_before() {
    let server = Server::start(route).await;
    let fetcher = fetcher(&["127.0.0.1"]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("feed.csv");
    let downloaded = fetcher.download(&server.url("/one"), &path, 100).await.expect("a download");
    assert_eq!((downloaded.bytes, std::fs::read(&path).expect("the file")), (7, b"picture".to_vec()));
    for (place, bytes_max) in [("/short", 1000), ("/unannounced", 9)] {
        fetcher.download(&server.url(place), &path, bytes_max).await.expect_err(place);
    }
    assert_eq!(std::fs::read(&path).expect("the file"), b"picture");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1, "no temporary file is left");
    let error = fetcher.download(&server.url("/one"), &folder.path().join("no/such/place"), 100).await.expect_err("no folder");
    assert_eq!(error.code(), "write_failed");
}

#[test]
fn a_configuration_is_judged_as_a_whole() {
    assert_eq!(FetchConfig::default().problems(), []);
    let config = FetchConfig {
        connect_timeout_ms: 0,
        redirects_max: 21,
        user_agent: "a\nb".into(),
        private_addresses_allowed: vec!["10.0.0.0/99".into()],
        ..FetchConfig::default()
    };
    let fields: Vec<_> = config.problems().into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["connect_timeout_ms", "redirects_max", "user_agent", "private_addresses_allowed"]);
    assert_eq!(Fetcher::new(config).expect_err("refused").code(), "bad_fetch_config");
}
