//! Edges of the product graph: from a group or a picture to the products that belong to it.

use domain::{ContentHash, ProductId};
use imbl::OrdSet;

/// A persistent set of `(from, to)` pairs. Where an edge starts is kept as its hash: an address of a picture is long, and stands
/// in its product already. A flat set stays fast when one placeholder picture is shared by the whole catalog.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Edges(OrdSet<(ContentHash, Option<ProductId>)>);

impl Edges {
    /// Adds an edge; one that is there already stays one.
    pub(crate) fn insert(&mut self, from: &str, to: &ProductId) {
        self.0.insert((ContentHash::of(from.as_bytes()), Some(to.clone())));
    }

    /// Removes an edge, if it is there.
    pub(crate) fn remove(&mut self, from: &str, to: &ProductId) {
        self.0.remove(&(ContentHash::of(from.as_bytes()), Some(to.clone())));
    }

    /// Where the edges from `from` lead, in id order.
    pub(crate) fn to(&self, from: &str) -> Vec<ProductId> {
        let hash = ContentHash::of(from.as_bytes());
        // `None` sorts before every id, so the range starts at the first edge.
        let behind = self.0.range((hash, None)..);
        behind.take_while(|(from, _)| *from == hash).filter_map(|(_, to)| to.clone()).collect()
    }

    /// How many edges there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ProductId {
        text.parse().expect("an id")
    }

    #[test]
    fn edges_lead_to_their_own_products_in_id_order() {
        let mut edges = Edges::default();
        for (from, to) in [("shared.jpg", "b"), ("shared.jpg", "a"), ("shared.jpg", "a"), ("own.jpg", "c")] {
            edges.insert(from, &id(to));
        }
        assert_eq!(edges.to("shared.jpg"), [id("a"), id("b")]);
        assert_eq!(edges.to("own.jpg"), [id("c")]);
        assert_eq!(edges.to("absent.jpg"), []);
        edges.remove("shared.jpg", &id("a"));
        edges.remove("shared.jpg", &id("never there"));
        assert_eq!(edges.to("shared.jpg"), [id("b")]);
        assert_eq!(edges.len(), 2);
    }
}
