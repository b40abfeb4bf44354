//! The house as its users reach it: over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::metrics::CUT;
use crate::cli::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A busy server is asked so many times before the run fails.
const TRIES_MAX: u32 = 8;
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// The longest line of an export: one product.
const LINE_BYTES_MAX: usize = 16 << 20;

/// What a search may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Words alone.
    Keyword,
    /// The text embedding alone.
    Meaning,
    /// Both, fused.
    Hybrid,
}

impl Mode {
    /// Every mode, hybrid last.
    pub(crate) const ALL: [Self; 3] = [Self::Keyword, Self::Meaning, Self::Hybrid];

    /// As in the request.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Keyword => "keyword",
            Self::Meaning => "meaning",
            Self::Hybrid => "hybrid",
        }
    }
}

/// A product as far as queries are made from it.
#[derive(Debug, PartialEq)]
pub(crate) struct CatalogItem {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) attributes: BTreeMap<String, BTreeSet<String>>,
}

/// What an answer says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Found {
    items: Vec<FoundItem>,
    /// Milliseconds in the server.
    pub(crate) took_ms: f64,
    /// Which models took part.
    pub(crate) model_version: String,
    /// Parts of the query that could not be answered.
    pub(crate) degraded: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct FoundItem {
    id: String,
}

impl Found {
    /// Best first.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.items.iter().map(|item| item.id.clone()).collect()
    }
}

/// A house at an address.
#[derive(Clone)]
pub(crate) struct Server {
    client: Client,
    address: String,
}

impl Server {
    /// The house at `http://host:port`. Makes no connection yet.
    pub(crate) fn new(address: &str) -> Result<Self, Failure> {
        // A process has one provider; another part of it may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().connect_timeout(CONNECT_TIMEOUT).no_proxy().build()?;
        Ok(Self { client, address: address.trim_end_matches('/').to_owned() })
    }

    /// The first hits for a text, also of what is sold out.
    pub(crate) async fn search(&self, text: &str, mode: Mode) -> Result<Found, Failure> {
        let body = json!({"text": text, "mode": mode, "limit": CUT, "include_unavailable": true});
        let url = format!("{}/v1/search", self.address);
        let mut tries = 0;
        loop {
            tries += 1;
            let answer = self.client.post(&url).timeout(REQUEST_TIMEOUT).json(&body).send().await?;
            let is_busy = matches!(answer.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            if !is_busy || tries == TRIES_MAX {
                return Ok(good(answer).await?.json().await?);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Every product of the house.
    pub(crate) async fn catalog(&self) -> Result<Vec<CatalogItem>, Failure> {
        let answer = self.client.get(format!("{}/v1/products:export", self.address)).send().await?;
        let mut answer = good(answer).await?;
        let (mut items, mut rest) = (Vec::new(), Vec::new());
        while let Some(piece) = answer.chunk().await? {
            rest.extend_from_slice(&piece);
            let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
            for line in rest[..end].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                items.push(item(line)?);
            }
            rest.drain(..end);
            if rest.len() > LINE_BYTES_MAX {
                return Err(Failure::new(Failure::FAILED, "the export has a line that is too long"));
            }
        }
        if rest.is_empty() { Ok(items) } else { Err(Failure::new(Failure::FAILED, "the export breaks off")) }
    }
}

/// The answer, or what the server says is wrong.
async fn good(answer: Response) -> Result<Response, Failure> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let (status, url) = (answer.status(), answer.url().clone());
    let text = answer.text().await.unwrap_or_default();
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or(&text).to_owned();
    Err(Failure::new(Failure::FAILED, format!("{url}: {status}: {detail}")))
}

/// One line of an export.
fn item(line: &[u8]) -> Result<CatalogItem, serde_json::Error> {
    #[derive(Deserialize)]
    struct Exported {
        id: String,
        title: String,
        #[serde(default)]
        attributes: BTreeMap<String, Vec<Value>>,
    }
    #[derive(Deserialize)]
    struct Value {
        value: String,
    }
    let Exported { id, title, attributes } = serde_json::from_slice(line)?;
    let values = |values: Vec<Value>| values.into_iter().map(|value| value.value).collect();
    Ok(CatalogItem { id, title, attributes: attributes.into_iter().map(|(name, all)| (name, values(all))).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_an_export_gives_names_and_labels() {
        let line = br#"{"id":"7","title":"Navy Shirt","attributes":{"gender":[{"value":"Men","provenance":{"source":"feed","field":"gender"}}]},"offer":{"availability":"in_stock"}}"#;
        let attributes = BTreeMap::from([("gender".to_owned(), BTreeSet::from(["Men".to_owned()]))]);
        assert_eq!(item(line).expect("a product"), CatalogItem { id: "7".to_owned(), title: "Navy Shirt".to_owned(), attributes });
        assert!(item(b"{}").is_err());
    }

    #[test]
    fn modes_go_by_their_names_in_the_request() {
        let names = Mode::ALL.map(|mode| serde_json::to_value(mode).expect("JSON"));
        assert_eq!(names, Mode::ALL.map(|mode| json!(mode.as_str())));
    }
}
