//! A small shop to search in: a writer in a folder of its own, slots in the order in which products came.

use std::collections::HashMap;

use domain::{AttributeValue, CategoryPath, Product, Provenance, Source};
use tempfile::TempDir;
use words::{Found, Request, Snapshot, Writer};

pub(crate) const MEMORY_BYTES: usize = 15_000_000;

pub(crate) struct Shop {
    pub(crate) dir: TempDir,
    pub(crate) writer: Writer,
    pub(crate) slots: HashMap<String, u32>,
    pub(crate) offset: u64,
}

impl Shop {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let writer = Writer::open(dir.path(), MEMORY_BYTES).expect("opens");
        Self { dir, writer, slots: HashMap::new(), offset: 0 }
    }

    /// Products with these titles, called `0`, `1` and so on.
    pub(crate) fn of(titles: &[&str]) -> Self {
        let mut shop = Self::new();
        for (number, title) in titles.iter().enumerate() {
            shop.put(&product(&format!("p{number:03}"), title));
        }
        shop.commit();
        shop
    }

    pub(crate) fn put(&mut self, product: &Product) {
        self.writer.put(product).expect("put");
        let next = self.slots.len() as u32;
        self.slots.entry(product.id.as_str().to_owned()).or_insert(next);
    }

    pub(crate) fn commit(&mut self) {
        self.offset += 1;
        self.writer.commit(self.offset).expect("committed");
    }

    pub(crate) fn snapshot(&mut self) -> Snapshot {
        let slots = &self.slots;
        self.writer.snapshot(&|id| slots.get(id).copied()).expect("a snapshot")
    }

    pub(crate) fn id(&self, slot: u32) -> String {
        self.slots.iter().find(|(_, known)| **known == slot).map(|(id, _)| id.clone()).expect("a known slot")
    }

    pub(crate) fn find(&mut self, request: &Request<'_>) -> (Vec<String>, Found) {
        let found = self.snapshot().search(request).expect("no query is an error");
        (found.hits.iter().map(|(slot, _)| self.id(*slot)).collect(), found)
    }

    /// The ids that a text finds, best first.
    pub(crate) fn ids(&mut self, text: &str) -> Vec<String> {
        self.find(&Request { text, limit: 100, ..Request::default() }).0
    }

    /// The ids that a text finds, in their own order.
    pub(crate) fn set(&mut self, text: &str) -> Vec<String> {
        let mut ids = self.ids(text);
        ids.sort();
        ids
    }
}

pub(crate) fn product(id: &str, title: &str) -> Product {
    Product::new(id.parse().expect("an id"), title)
}

pub(crate) fn with_category(mut product: Product, path: &[&str]) -> Product {
    product.categories.push(CategoryPath(path.iter().map(|name| (*name).to_owned()).collect()));
    product
}

pub(crate) fn with_attribute(mut product: Product, name: &str, value: &str) -> Product {
    let value = AttributeValue { value: value.into(), provenance: Provenance { source: Source::Feed, field: name.into() } };
    product.attributes.entry(name.into()).or_default().push(value);
    product
}
