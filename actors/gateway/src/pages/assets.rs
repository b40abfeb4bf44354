//! Styles, modules and the icon, compiled in and served with entity tags.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use domain::ContentHash;
use http::{HeaderMap, StatusCode, header};

use crate::edge::has_current;
use crate::problem::{Answer, Problem};

struct Asset {
    name: &'static str,
    media: &'static str,
    text: &'static str,
    tag: String,
}

static ASSETS: LazyLock<[Asset; 4]> = LazyLock::new(|| {
    let asset =
        |name, media, text: &'static str| Asset { name, media, text, tag: format!("\"{}\"", ContentHash::of(text.as_bytes()).to_hex()) };
    [
        asset("gotham.css", "text/css; charset=utf-8", include_str!("../assets/gotham.css")),
        asset("store.js", "text/javascript; charset=utf-8", include_str!("../assets/store.js")),
        asset("console.js", "text/javascript; charset=utf-8", include_str!("../assets/console.js")),
        asset("icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
    ]
});

/// A file of the pages.
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Answer<Response> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(|| Problem::not_found("such file"))?;
    // Asked about every time, so that a new version shows at once; the answer is then mostly 304.
    let cached = [(header::ETAG, asset.tag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if has_current(&headers, &asset.tag) {
        return Ok((StatusCode::NOT_MODIFIED, cached).into_response());
    }
    Ok((cached, [(header::CONTENT_TYPE, asset.media)], asset.text).into_response())
}
