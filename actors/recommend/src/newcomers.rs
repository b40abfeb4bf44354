//! Products that nobody knows yet, and the known ones that they are like by content. Kept beside the learned state, not in it: what
//! is like what changes with the models, and the log does not know it.

use std::collections::HashMap;
use std::sync::Arc;

use domain::ProductId;
use protocol::vision::ModelInfo;

/// The known products that a new one is like: their numbers and cosines, nearest first.
pub(crate) type Near = Arc<[(u32, f32)]>;

/// One new product.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    pub(crate) product: ProductId,
    /// The revision that was looked at.
    pub(crate) revision: u64,
    /// Its number in the learned state, where something was done with it already.
    pub(crate) number: Option<u32>,
    /// Empty where nothing known is like it, or no embedding is there yet.
    pub(crate) near: Near,
    /// How often this revision was compared.
    pub(crate) compared: u32,
}

/// All of them, by number. A product without one in the learned state is numbered from the top down, where no learned one ever is.
#[derive(Debug, Default)]
pub(crate) struct Newcomers {
    /// Of those that are like any, ascending.
    numbers: Vec<u32>,
    by_number: HashMap<u32, Newcomer>,
}

impl Newcomers {
    pub(crate) fn new(all: Vec<Newcomer>) -> Self {
        let mut next = u32::MAX;
        let mut numbered = |newcomer: &Newcomer| {
            newcomer.number.unwrap_or_else(|| {
                next -= 1;
                next
            })
        };
        let by_number: HashMap<u32, Newcomer> = all.into_iter().map(|newcomer| (numbered(&newcomer), newcomer)).collect();
        let is_like_any = |(_, newcomer): &(&u32, &Newcomer)| !newcomer.near.is_empty();
        let mut numbers: Vec<u32> = by_number.iter().filter(is_like_any).map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        Self { numbers, by_number }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    pub(crate) fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    pub(crate) fn name(&self, number: u32) -> Option<&str> {
        self.by_number.get(&number).map(|newcomer| newcomer.product.as_str())
    }

    pub(crate) fn like(&self, number: u32, visit: &mut dyn FnMut(u32, f32)) {
        for (known, cosine) in self.by_number.get(&number).map_or(&[][..], |newcomer| &newcomer.near) {
            visit(*known, *cosine);
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Newcomer> {
        self.by_number.values()
    }
}

/// The same by models: those of the live release first, and those of an assistant commissioner. What is like what differs between them.
#[derive(Debug, Default)]
pub(crate) struct NewcomersByModels(pub(crate) Vec<(Vec<ModelInfo>, Arc<Newcomers>)>);

impl NewcomersByModels {
    /// By these models, nothing where they were not asked yet; by the live ones where none are named.
    pub(crate) fn of(&self, models: &[ModelInfo]) -> Arc<Newcomers> {
        let found = self.0.iter().find(|(known, _)| models.is_empty() || known == models);
        found.map(|(_, newcomers)| Arc::clone(newcomers)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_products_are_numbered_apart_from_known_ones() {
        let newcomer = |name: &str, number| Newcomer {
            product: name.parse().expect("an id"),
            revision: 1,
            number,
            near: vec![(3, 0.9), (1, 0.5)].into(),
            compared: 1,
        };
        let alone = Newcomer { near: vec![].into(), ..newcomer("alone", Some(9)) };
        let newcomers = Newcomers::new(vec![newcomer("a", None), newcomer("b", Some(7)), newcomer("c", None), alone]);
        assert_eq!(newcomers.numbers(), [7, u32::MAX - 2, u32::MAX - 1]);
        let names: Vec<&str> = newcomers.numbers().iter().filter_map(|number| newcomers.name(*number)).collect();
        assert_eq!(names, ["b", "c", "a"]);
        let mut near = Vec::new();
        newcomers.like(7, &mut |known, cosine| near.push((known, cosine)));
        assert_eq!(near, [(3, 0.9), (1, 0.5)]);
    }
}
