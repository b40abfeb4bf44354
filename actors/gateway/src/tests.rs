//! Robin driven over HTTP, with fakes in its neighbours' places.

mod answers;
mod behaviour;
mod connections;
mod contract;
mod fakes;
mod releases;
mod searcher;
mod searches;
mod tags;
mod writes;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use kit::Scene;
use serde_json::Value;
use tower::ServiceExt;

use crate::config::Config;
use crate::routes::{self, App};
use fakes::World;

/// The whole service, without a socket.
struct Stage {
    world: Arc<World>,
    router: Router,
    scene: Scene,
}

impl Stage {
    async fn new(config: Config, world: Arc<World>) -> Self {
        let mut scene = Scene::new();
        let house = world.house(&mut scene).await;
        Self { world, router: routes::router(App::new(config, house)), scene }
    }

    async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.expect("the service never fails")
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask("GET", path, None).await
    }

    async fn ask(&self, method: &str, path: &str, json: Option<&str>) -> (StatusCode, Value) {
        let media = json.map_or("text/plain", |_| "application/json");
        let response = self.send(request(method, path, media, json.unwrap_or_default().to_owned())).await;
        let status = response.status();
        (status, serde_json::from_slice(&bytes(response).await).unwrap_or_default())
    }
}

fn request(method: &str, path: &str, media: &str, body: impl Into<Body>) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1:8742").header(header::CONTENT_TYPE, media);
    builder.body(body.into()).expect("a request")
}

async fn bytes(response: Response) -> Bytes {
    response.into_body().collect().await.expect("the body").to_bytes()
}

async fn text(response: Response) -> String {
    String::from_utf8(bytes(response).await.to_vec()).expect("UTF-8")
}

/// A form with one file and some fields.
fn form(file_field: &str, file: &[u8], fields: &[(&str, &str)]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes());
    }
    body.extend_from_slice(
        format!("--x\r\nContent-Disposition: form-data; name=\"{file_field}\"; filename=\"feed.csv\"\r\n\r\n").as_bytes(),
    );
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--x--\r\n");
    ("multipart/form-data; boundary=x".to_owned(), body)
}
