//! What people might look at: suggestions, the least certain first.

use std::collections::BTreeMap;

use domain::ProductId;
use protocol::tags::{REVIEW_MAX, Review, ReviewItem, Tag};
use store::StoreError;

use super::shared::Shared;

/// Products remembered of one attribute.
const PER_ATTRIBUTE_MAX: usize = 500;
/// Products looked through for one page: what was judged since is passed over.
const LOOKED_AT_MAX: usize = 2_000;

/// Of each attribute the products whose suggestion is the least certain.
#[derive(Debug, Default)]
pub(crate) struct ReviewList(BTreeMap<String, Vec<(f32, ProductId)>>);

/// Of each attribute without a fact, how sure the first suggestion is: places in the vocabulary and confidences.
pub(crate) fn unsure(tags: &[Tag], place: impl Fn(&str) -> Option<usize>) -> Vec<(u8, f32)> {
    let mut first: BTreeMap<&str, (bool, f32)> = BTreeMap::new();
    for tag in tags {
        let (has_fact, confidence) = first.entry(&tag.attribute).or_insert((false, 0.0));
        *has_fact |= tag.is_fact;
        *confidence = confidence.max(tag.confidence);
    }
    let open = first.into_iter().filter(|(_, (has_fact, _))| !has_fact);
    open.filter_map(|(attribute, (_, confidence))| Some((u8::try_from(place(attribute)?).ok()?, confidence))).collect()
}

impl ReviewList {
    /// From what is unsure of every product.
    pub(crate) fn of<'a>(names: &[&str], products: impl Iterator<Item = (&'a ProductId, &'a [(u8, f32)])>) -> Self {
        let mut lists: BTreeMap<String, Vec<(f32, ProductId)>> = BTreeMap::new();
        for (product, unsure) in products {
            for (place, confidence) in unsure {
                let Some(name) = names.get(usize::from(*place)) else { continue };
                let list = lists.entry((*name).to_owned()).or_default();
                list.push((*confidence, product.clone()));
                if list.len() >= 2 * PER_ATTRIBUTE_MAX {
                    keep_least(list);
                }
            }
        }
        lists.values_mut().for_each(keep_least);
        Self(lists)
    }

    /// The products of one attribute, or of all, the least certain first.
    fn order(&self, attribute: Option<&str>) -> Vec<(f32, &str, &ProductId)> {
        let lists = self.0.iter().filter(|(name, _)| attribute.is_none_or(|wanted| wanted == name.as_str()));
        let mut all: Vec<_> =
            lists.flat_map(|(name, list)| list.iter().map(move |(sure, product)| (*sure, name.as_str(), product))).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| (a.2, a.1).cmp(&(b.2, b.1))));
        all
    }
}

fn keep_least(list: &mut Vec<(f32, ProductId)>) {
    list.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    list.truncate(PER_ATTRIBUTE_MAX);
}

/// A page of the list as it stands now: what has been judged or become sure meanwhile is left out.
pub(crate) fn page(shared: &Shared, attribute: Option<&str>, offset: usize, limit: usize) -> Result<Review, StoreError> {
    let list = shared.review.load();
    let mut review = Review::default();
    let mut passed = 0;
    for (_, name, product) in list.order(attribute).into_iter().take(LOOKED_AT_MAX) {
        let Some(known) = shared.product(product.as_str())? else { continue };
        let mut own = known.tags.into_iter().filter(|tag| tag.attribute == name);
        let Some(tag) = own.next().filter(|tag| !tag.is_fact) else { continue };
        if known.corrections.iter().any(|correction| correction.attribute == name) {
            continue;
        }
        passed += 1;
        if passed <= offset {
            continue;
        }
        if review.items.len() == limit.min(REVIEW_MAX) {
            review.has_more = true;
            break;
        }
        review.items.push(ReviewItem { product: product.clone(), tag });
    }
    Ok(review)
}

#[cfg(test)]
mod tests {
    use protocol::tags::TagSource;

    use super::*;

    fn tag(attribute: &str, confidence: f32, is_fact: bool) -> Tag {
        Tag {
            attribute: attribute.into(),
            value: "v".into(),
            source: TagSource::Learned,
            confidence,
            threshold: Some(0.9),
            is_fact,
            evidence: Vec::new(),
        }
    }

    #[test]
    fn attributes_without_a_fact_are_unsure() {
        let tags = [tag("a", 0.95, true), tag("a", 0.2, false), tag("b", 0.3, false), tag("b", 0.6, false), tag("gone", 0.1, false)];
        let place = |name: &str| ["a", "b"].iter().position(|known| *known == name);
        assert_eq!(unsure(&tags, place), [(1, 0.6)]);
    }

    #[test]
    fn the_least_certain_stand_first_and_the_list_is_bounded() {
        let ids: Vec<ProductId> = (0..3 * PER_ATTRIBUTE_MAX).map(|n| format!("p{n:05}").parse().expect("an id")).collect();
        let unsure: Vec<[(u8, f32); 2]> = (0..ids.len()).map(|n| [(0, 1.0 - n as f32 / ids.len() as f32), (1, 0.5)]).collect();
        let list = ReviewList::of(&["a", "b"], ids.iter().zip(&unsure).map(|(id, unsure)| (id, &unsure[..])));
        let of_a = list.order(Some("a"));
        assert_eq!((of_a.len(), of_a[0].2), (PER_ATTRIBUTE_MAX, ids.last().expect("one")));
        let of_b = list.order(Some("b"));
        assert_eq!((of_b.len(), of_b[0].2), (PER_ATTRIBUTE_MAX, &ids[0]));
        assert_eq!(list.order(None).len(), 2 * PER_ATTRIBUTE_MAX);
        assert!(list.order(Some("c")).is_empty());
    }
}
