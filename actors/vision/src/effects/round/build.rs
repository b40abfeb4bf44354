//! The vectors of the whole catalog by one model, made behind the live work: what is missing is embedded, content by content, so that
//! whatever interrupts it loses nothing but a look. Follows the products that change, before and after the model is live.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::{ContentHash, ProductId};
use protocol::catalog::ProductRevision;
use protocol::search::VectorEntry;
use protocol::vision::Space;
use store::Durability;
use tokio::sync::watch;

use super::{Findings, Round, Stop, Wish};
use crate::embedder::Input;
use crate::logic::backlog::Step;
use crate::logic::jobs::{self, Failure};

/// Products that are looked at together: few, so that live work does not wait long behind them.
const PAGE_PRODUCTS: usize = 32;
/// Behind live work that does not end, a page is done every so often all the same.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The work for one model.
pub(crate) struct Build {
    pub(crate) round: Round,
    /// Live rounds under way.
    pub(crate) live: watch::Receiver<usize>,
}

/// What became of a page.
#[derive(Default)]
struct Page {
    entries: Vec<VectorEntry>,
    failed: Vec<ProductId>,
}

impl Build {
    /// Works until there is nothing left.
    pub(crate) async fn run(mut self) -> Result<(), Stop> {
        loop {
            let _ = tokio::time::timeout(WAIT_MAX, self.live.wait_for(|rounds| *rounds == 0)).await;
            let step = self.round.file.backlog().next(PAGE_PRODUCTS);
            let Some(step) = step else { return Ok(()) };
            self.step(step).await?;
        }
    }

    async fn step(&self, step: Step) -> Result<(), Stop> {
        let catalog = self.round.args.catalog.snapshot();
        self.round.args.view.set_catalog_len(catalog.len());
        match step {
            Step::These(ids) => {
                let known: Vec<Arc<ProductRevision>> = ids.iter().filter_map(|id| catalog.get(id.as_str())).collect();
                let result = self.look(&known, &ids).await;
                if result.is_err() {
                    self.round.file.backlog().touch(ids);
                }
                result
            }
            Step::Behind(last) => {
                let page = catalog.page(last.as_ref().map(ProductId::as_str), PAGE_PRODUCTS);
                self.look(&page, &[]).await?;
                let end = page.last().map(|revision| revision.product.id.clone());
                let is_end = end.is_none();
                self.round.file.backlog().advance(page.len() as u64, end);
                if is_end {
                    let model = &self.round.file.model;
                    tracing::info!(model = model.name, fingerprint = model.fingerprint, "all products have been looked at");
                }
                Ok(())
            }
        }
    }

    /// Embeds what the products lack; the index takes them, and all of `changed`, as they are then.
    async fn look(&self, products: &[Arc<ProductRevision>], changed: &[ProductId]) -> Result<(), Stop> {
        let lacking: Vec<&Arc<ProductRevision>> = products.iter().filter(|revision| self.lacks(revision.product.id.as_str())).collect();
        let failed = if lacking.is_empty() { Vec::new() } else { self.embed(&lacking).await? };
        let mut told: Vec<ProductId> = lacking.iter().map(|revision| revision.product.id.clone()).chain(changed.iter().cloned()).collect();
        told.sort_unstable();
        told.dedup();
        if told.is_empty() {
            return Ok(());
        }
        let records: Vec<_> = told.iter().map(|id| self.round.args.view.record(self.round.space(), id.as_str())).collect();
        let mut page = Page { failed, ..Page::default() };
        for (id, record) in told.iter().zip(&records) {
            let vectors = record.as_ref().map(|record| self.round.file.vectors(record)).unwrap_or_default();
            let vectors = vectors.into_iter().map(|embedding| embedding.vector).collect();
            page.entries.push(VectorEntry { product: id.clone(), vectors });
        }
        self.round.upsert(page.entries).await?;
        // What live work has changed in the meantime may have reached the index before this did.
        let view = &self.round.args.view;
        let overtaken = told.iter().zip(&records).filter(|(id, record)| view.record(self.round.space(), id.as_str()) != **record);
        let overtaken: Vec<ProductId> = overtaken.map(|(id, _)| id.clone()).collect();
        let mut backlog = self.round.file.backlog();
        backlog.touch(overtaken);
        backlog.fail(page.failed);
        Ok(())
    }

    /// Products without a record wait for live work, which gives them one and has them looked at.
    fn lacks(&self, id: &str) -> bool {
        self.round.args.view.record(self.round.space(), id).is_some_and(|record| self.round.file.lacks(&record))
    }

    /// Embeds the pictures or texts of products. Gives those of which something failed that may pass.
    async fn embed(&self, products: &[&Arc<ProductRevision>]) -> Result<Vec<ProductId>, Stop> {
        let round = &self.round;
        let context = round.context();
        let mut findings = Findings::default();
        let mut seen: HashSet<ContentHash> = HashSet::new();
        let mut wish = |revision: &Arc<ProductRevision>| {
            if round.space() == Space::Image {
                return Wish::Pictures(jobs::pictures_of(&revision.product, round.args.config.images_per_product_max));
            }
            let text = revision.product.embedding_text();
            let content = ContentHash::of(text.as_bytes());
            if !round.file.file.contains(content) && seen.insert(content) {
                findings.texts.push((content, Input::Text(text)));
            }
            Wish::Text(content)
        };
        let wishes: Vec<Wish> = products.iter().map(|revision| wish(revision)).collect();
        let made = round.embed(&context, &wishes, &mut findings).await;
        round.keep(&context, made).await?;
        let ops = std::mem::take(&mut findings.ops);
        if !ops.is_empty() {
            round.args.store.commit(ops, Durability::Flushed).await?;
        }
        let failure =
            |wish: &Wish| findings.outcomes(wish).into_iter().find_map(|outcome| outcome.err().filter(|failure| failure.is_transient));
        let failed: Vec<(ProductId, Failure)> =
            products.iter().zip(&wishes).filter_map(|(revision, wish)| Some((revision.product.id.clone(), failure(wish)?))).collect();
        if let Some((product, failure)) = failed.first() {
            let (model, of) = (&round.file.model.name, failed.len());
            tracing::warn!(model, of, %product, code = failure.code, detail = failure.detail, "products have no vectors by this model yet");
        }
        Ok(failed.into_iter().map(|(product, _)| product).collect())
    }
}
