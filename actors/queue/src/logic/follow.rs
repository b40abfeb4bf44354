//! What a change in the catalog means for the queues.

use domain::{Parts, Product, ProductId};
use protocol::journal::CatalogChange;
use protocol::queue::{JobSpec, QueueName};

/// Bulk work that a feed caused.
pub(crate) const PRIORITY_FEED: u8 = 100;
/// A single product that somebody changed: before the feeds.
pub(crate) const PRIORITY_SINGLE: u8 = 150;

/// The part of a product that a queue's work depends on.
fn part(queue: QueueName) -> Parts {
    match queue {
        QueueName::EmbedImage => Parts::IMAGE,
        QueueName::EmbedText => Parts::TEXT,
    }
}

/// The job of `queue` that follows from a change; `None` when it does not touch that queue's part of the product. Price and stock make
/// no job, nor does the absence of pictures from a product that never had one.
pub(crate) fn job_for(queue: QueueName, change: &CatalogChange, now_ms: i64) -> Option<JobSpec> {
    let is_pictureless = |product: &Product| product.images.is_empty() && product.variants.iter().all(|variant| variant.images.is_empty());
    let has_work = match &change.product {
        None => true,
        Some(product) => {
            change.parts.intersects(part(queue)) && !(queue == QueueName::EmbedImage && change.revision == 1 && is_pictureless(product))
        }
    };
    let priority = if change.run.is_some() { PRIORITY_FEED } else { PRIORITY_SINGLE };
    has_work.then(|| JobSpec { queue, product: change.id.clone(), priority, not_before_ms: now_ms })
}

/// The job that makes up for changes that are no longer in the journal.
pub(crate) fn job_to_rebuild(queue: QueueName, product: ProductId, now_ms: i64) -> JobSpec {
    JobSpec { queue, product, priority: PRIORITY_FEED, not_before_ms: now_ms }
}

#[cfg(test)]
mod tests {
    use domain::{ImageRef, PartHashes};
    use protocol::ingest::RunId;

    use super::*;

    #[test]
    fn jobs_by_table() {
        let (image, text) = (QueueName::EmbedImage, QueueName::EmbedText);
        // Revision, parts, pictures (none: deleted), queues with a job.
        let cases: [(u64, Parts, Option<usize>, &[QueueName]); 8] = [
            (1, Parts::ALL, Some(1), &[image, text]),
            (1, Parts::ALL, Some(0), &[text]),
            (2, Parts::ALL, Some(0), &[image, text]),
            (2, Parts::IMAGE, Some(0), &[image]),
            (2, Parts::TEXT, Some(2), &[text]),
            (2, Parts::PRICE, Some(1), &[]),
            (2, Parts::STOCK.with(Parts::PRICE), Some(1), &[]),
            (3, Parts::ALL, None, &[image, text]),
        ];
        for (revision, parts, pictures, expected) in cases {
            let id: ProductId = "p".parse().expect("an id");
            let product = pictures.map(|count| {
                let images = (0..count).map(|n| ImageRef(format!("https://shop.example/{n}.jpg"))).collect();
                Product { images, ..Product::new(id.clone(), "Shoe") }
            });
            let run = Some(RunId(1));
            let change =
                CatalogChange { id, revision, parts, product, hashes: PartHashes::default(), source: "s".into(), run, changed_at_ms: 0 };
            let queues: Vec<_> = QueueName::ALL.into_iter().filter(|queue| job_for(*queue, &change, 5).is_some()).collect();
            assert_eq!(queues, expected, "revision {revision}, {parts:?}, {pictures:?} pictures");
        }
    }
}
