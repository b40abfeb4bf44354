//! What answers look like, for several routes and for the contract.

use domain::{Availability, Money, Product};
use protocol::catalog::{Outcome, ProductRevision};
use protocol::ingest::{FeedMode, FeedRun, Reject, RunCounts, RunError, RunStatus};
use protocol::session::OfferState;
use serde::Serialize;
use utoipa::ToSchema;

/// Milliseconds since the Unix epoch as RFC 3339, UTC.
pub(crate) fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}

/// An exact amount.
#[derive(ToSchema)]
#[schema(as = Money)]
#[expect(dead_code, reason = "describes domain::Money in the contract")]
pub(crate) struct MoneyDoc {
    /// A decimal such as `19.90`.
    amount: String,
    /// ISO 4217.
    currency: String,
}

/// Whether a shopper can have it.
#[derive(ToSchema)]
#[schema(as = Availability, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes domain::Availability in the contract")]
pub(crate) enum AvailabilityDoc {
    InStock,
    OutOfStock,
    Preorder,
    Backorder,
}

/// A product as it stands in answers for shoppers: enough for a card, with price and stock as they are now.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct Card {
    pub id: String,
    pub title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// The product's page in the shop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// From the widest to the narrowest, joined by ` > `.
    pub categories: Vec<String>,
    /// The lowest regular price over its available forms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<MoneyDoc>)]
    pub price: Option<Money>,
    /// The reduced price that goes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<MoneyDoc>)]
    pub sale_price: Option<Money>,
    #[schema(value_type = AvailabilityDoc)]
    pub availability: Availability,
    pub is_available: bool,
    /// Pieces over all forms, where the shop counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u64>,
    /// Address of a small picture on this box.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Buyable forms.
    pub variant_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
}

impl Card {
    pub(crate) fn of(revision: &ProductRevision, offer: &OfferState) -> Self {
        let product = &revision.product;
        Self {
            id: product.id.to_string(),
            title: product.title.clone(),
            brand: product.brand.clone(),
            link: product.link.clone(),
            categories: product.categories.iter().map(ToString::to_string).collect(),
            price: offer.price,
            sale_price: offer.sale_price,
            availability: offer.availability,
            is_available: offer.is_available,
            quantity: offer.quantity,
            image: Self::of_image(product, 0),
            variant_count: product.variant_count(),
            group_id: product.group_id.clone(),
        }
    }

    /// The address of one of the product's pictures, if it has any.
    pub(crate) fn of_image(product: &Product, index: usize) -> Option<String> {
        let has_any = !product.images.is_empty() || product.variants.iter().any(|variant| !variant.images.is_empty());
        has_any.then(|| image_path(product.id.as_str(), index))
    }
}

/// Where a product's small picture is.
pub(crate) fn image_path(id: &str, index: usize) -> String {
    format!("/v1/products/{}/image?index={index}", path_segment(id))
}

/// Percent-encodes a text as one segment of a path.
pub(crate) fn path_segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// One value and how many products have it.
#[derive(ToSchema)]
#[schema(as = FacetValue)]
#[expect(dead_code, reason = "describes domain::FacetValue in the contract")]
pub(crate) struct FacetValueDoc {
    value: String,
    count: u64,
}

/// One range and how many products lie in it.
#[derive(ToSchema)]
#[schema(as = FacetRange)]
#[expect(dead_code, reason = "describes domain::FacetRange in the contract")]
pub(crate) struct FacetRangeDoc {
    from: Option<f64>,
    to: Option<f64>,
    count: u64,
}

/// The numbers of an attribute at a glance.
#[derive(ToSchema)]
#[schema(as = Stats)]
#[expect(dead_code, reason = "describes domain::Stats in the contract")]
pub(crate) struct StatsDoc {
    min: f64,
    max: f64,
    mean: f64,
    sum: f64,
    count: u64,
}

/// What was counted: products, never their variants.
#[derive(ToSchema)]
#[schema(as = FacetCounts)]
#[expect(dead_code, reason = "describes domain::FacetCounts in the contract")]
pub(crate) struct FacetCountsDoc {
    attribute: String,
    /// The most frequent ones; of a path its steps joined by ` > `.
    values: Vec<FacetValueDoc>,
    ranges: Vec<FacetRangeDoc>,
    /// Of the attribute's numbers, where it has some.
    stats: Option<StatsDoc>,
    /// Different values.
    distinct: u64,
    /// Products without the attribute.
    missing: u64,
}

/// A completion of what is being typed.
#[derive(ToSchema)]
#[schema(as = Suggestion)]
#[expect(dead_code, reason = "describes protocol::search::Suggestion in the contract")]
pub(crate) struct SuggestionDoc {
    /// The whole query.
    text: String,
    /// Where it comes from: `query`, `title`, `brand`, `category`.
    kind: String,
    /// Products that have it, or times it was asked.
    count: u64,
}

/// An attribute that products can be filtered, counted and sorted by.
#[derive(ToSchema)]
#[schema(as = Attribute)]
#[expect(dead_code, reason = "describes protocol::search::AttributeInfo in the contract")]
pub(crate) struct AttributeDoc {
    name: String,
    /// What its values are: `text`, `number`, `time`, `path`, `place`.
    kinds: Vec<String>,
    /// Products that have it.
    products: u64,
    /// Different values.
    values: u64,
    /// The most frequent values.
    examples: Vec<String>,
}

/// What a task did so far.
#[derive(ToSchema)]
#[schema(as = Counts)]
#[expect(dead_code, reason = "describes protocol::ingest::RunCounts in the contract")]
pub(crate) struct CountsDoc {
    records: u64,
    products: u64,
    variants: u64,
    created: u64,
    updated: u64,
    unchanged: u64,
    deleted: u64,
    rejected: u64,
    warnings: u64,
}

/// Why a task failed.
#[derive(ToSchema)]
#[schema(as = TaskError)]
#[expect(dead_code, reason = "describes protocol::ingest::RunError in the contract")]
pub(crate) struct TaskErrorDoc {
    /// Stable, snake_case.
    code: String,
    detail: String,
}

/// How far a task is.
#[derive(ToSchema)]
#[schema(as = TaskStatus, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes protocol::ingest::RunStatus in the contract")]
pub(crate) enum TaskStatusDoc {
    Enqueued,
    Processing,
    Succeeded,
    Failed,
    Canceled,
}

/// Whether a feed is the whole catalog of its source, or changes.
#[derive(ToSchema)]
#[schema(as = FeedMode, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes protocol::ingest::FeedMode in the contract")]
pub(crate) enum FeedModeDoc {
    Full,
    Delta,
}

/// Work in the background; every feed is one.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Task {
    pub id: String,
    /// `feed`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[schema(value_type = TaskStatusDoc)]
    pub status: RunStatus,
    /// From 0 to 1; absent while the size is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    #[schema(value_type = CountsDoc)]
    pub counts: RunCounts,
    /// The file name or address as given.
    pub name: String,
    /// The catalog source.
    pub source: String,
    #[schema(value_type = FeedModeDoc)]
    pub mode: FeedMode,
    pub dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    pub bytes_read: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TaskErrorDoc>)]
    pub error: Option<RunError>,
    /// Where the refused records are listed.
    pub errors_url: String,
    pub enqueued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
}

impl Task {
    pub(crate) fn of(run: &FeedRun) -> Self {
        let share = |total: u64| (run.bytes_read as f64 / total.max(1) as f64).clamp(0.0, 1.0);
        Self {
            id: run.id.to_string(),
            kind: "feed",
            status: run.status,
            progress: if run.status == RunStatus::Succeeded { Some(1.0) } else { run.bytes_total.map(share) },
            counts: run.counts,
            name: run.request.name.clone(),
            source: run.request.source.clone(),
            mode: run.request.mode,
            dry_run: run.request.dry_run,
            format: run.format.clone(),
            bytes_read: run.bytes_read,
            bytes_total: run.bytes_total,
            error: run.error.clone(),
            errors_url: format!("/v1/feeds/{}/rejects", run.id),
            enqueued_at: rfc3339(run.enqueued_at_ms),
            started_at: run.started_at_ms.map(rfc3339),
            finished_at: run.finished_at_ms.map(rfc3339),
        }
    }
}

/// A record that was refused, or repaired.
#[derive(ToSchema)]
#[schema(as = Reject)]
#[expect(dead_code, reason = "describes protocol::ingest::Reject in the contract")]
pub(crate) struct RejectDoc {
    /// The record's number in the feed, from 1.
    row: u64,
    /// Line or byte position, where known.
    position: Option<String>,
    field: Option<String>,
    /// Stable, snake_case.
    code: String,
    detail: String,
    /// The offending text.
    raw: String,
    product_id: Option<String>,
    /// Whether the record was kept without the offending value.
    is_warning: bool,
}

/// One page of a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Page<T> {
    pub items: Vec<T>,
    /// Hand it back as `cursor` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a write amounted to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Written {
    pub id: String,
    /// `created`, `updated`, `unchanged` or `deleted`.
    pub outcome: &'static str,
    /// What differs, when updated: `text`, `image`, `price`, `stock`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<&'static str>,
    /// The revision that the catalog holds now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What was repaired on the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<RejectDoc>)]
    pub warnings: Vec<Reject>,
}

/// An outcome's name and, when updated, its parts.
pub(crate) fn outcome_parts(outcome: Outcome) -> (&'static str, Vec<&'static str>) {
    match outcome {
        Outcome::Created => ("created", Vec::new()),
        Outcome::Updated(parts) => ("updated", parts.names()),
        Outcome::Unchanged => ("unchanged", Vec::new()),
        Outcome::Deleted => ("deleted", Vec::new()),
        Outcome::NotFound => ("not_found", Vec::new()),
    }
}
