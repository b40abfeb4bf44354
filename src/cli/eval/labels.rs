//! Label queries: what a shopper types who wants a kind of thing ("navy blue shirts", "white casual shoes women"), made from the
//! catalog's own labels. Relevant is what bears the kind; its grade is the number of labels asked for that it bears.

use std::collections::{BTreeMap, BTreeSet};

use super::judgments::{Judged, Suite};
use super::metrics::Grades;
use super::random::Random;

/// A combination that fewer products bear is not asked for.
const PRODUCTS_MIN: usize = 5;

/// A product's labels: its kind, its colour and whom it is for. Only products with all three are used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Labels {
    /// `Shirts`.
    pub(crate) kind: String,
    /// `Navy Blue`.
    pub(crate) colour: String,
    /// `Men`.
    pub(crate) audience: String,
}

/// `colour kind` queries, and `colour kind audience` ones, at most `count` each.
pub(crate) fn suites(products: &[(String, Labels)], count: usize, seed: u64) -> Vec<Suite> {
    let mut by_kind: BTreeMap<&str, Vec<&(String, Labels)>> = BTreeMap::new();
    for product in products {
        by_kind.entry(&product.1.kind).or_default().push(product);
    }
    let suite = |name, has_audience| {
        let asked = Random::new(seed).sample(combinations(products, has_audience), count);
        let queries = asked.into_iter().map(|labels| query(&by_kind[labels.kind.as_str()], &labels, has_audience)).collect();
        Suite { name, queries }
    };
    let suites = [suite("label_colour_kind", false), suite("label_colour_kind_audience", true)];
    suites.into_iter().filter(|suite| !suite.queries.is_empty()).collect()
}

/// What enough products bear; without the audience that label is empty.
fn combinations(products: &[(String, Labels)], has_audience: bool) -> Vec<Labels> {
    let mut times: BTreeMap<Labels, usize> = BTreeMap::new();
    for (_, labels) in products {
        let audience = if has_audience { labels.audience.clone() } else { String::new() };
        *times.entry(Labels { audience, ..labels.clone() }).or_default() += 1;
    }
    times.into_iter().filter(|(_, count)| *count >= PRODUCTS_MIN).map(|(labels, _)| labels).collect()
}

fn query(of_kind: &[&(String, Labels)], asked: &Labels, has_audience: bool) -> Judged {
    let grade = |labels: &Labels| {
        let extra = u32::from(labels.colour == asked.colour) + u32::from(has_audience && labels.audience == asked.audience);
        1 + extra
    };
    let grades: Grades = of_kind.iter().map(|(id, labels)| (id.clone(), grade(labels))).collect();
    let words: Vec<&str> =
        [&asked.colour, &asked.kind, &asked.audience].into_iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
    Judged { text: words.join(" ").to_lowercase(), grades }
}

/// The labels of a product out of its attributes, by the names that they go by in feeds.
pub(crate) fn of(attributes: &BTreeMap<String, BTreeSet<String>>) -> Option<Labels> {
    let first = |names: &[&str]| names.iter().find_map(|name| attributes.get(*name)?.first().cloned());
    Some(Labels {
        kind: first(&["article_type", "product_type"])?,
        colour: first(&["base_colour", "colour", "color"])?,
        audience: first(&["gender"])?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(kind: &str, colour: &str, audience: &str) -> Labels {
        Labels { kind: kind.to_owned(), colour: colour.to_owned(), audience: audience.to_owned() }
    }

    fn catalog(groups: &[(usize, Labels)]) -> Vec<(String, Labels)> {
        let all = groups.iter().flat_map(|(count, labels)| std::iter::repeat_n(labels, *count));
        all.enumerate().map(|(number, labels)| (number.to_string(), labels.clone())).collect()
    }

    #[test]
    fn grades_count_the_labels_that_agree_and_another_kind_is_not_relevant() {
        let (men, women) = (labels("Shirts", "Navy Blue", "Men"), labels("Shirts", "Navy Blue", "Women"));
        let products = catalog(&[(5, men), (1, women), (1, labels("Shirts", "Red", "Women")), (9, labels("Shoes", "Navy Blue", "Men"))]);
        let suites = suites(&products, 10, 1);
        assert_eq!(
            suites.iter().map(|suite| (suite.name, suite.queries.len())).collect::<Vec<_>>(),
            [("label_colour_kind", 2), ("label_colour_kind_audience", 2)]
        );
        let of = |suite: &Suite, text: &str| suite.queries.iter().find(|query| query.text == text).expect("asked").grades.clone();
        let by_id = |grades: &Grades, ids: [&str; 3]| ids.map(|id| grades.get(id).copied());
        let plain = of(&suites[0], "navy blue shirts");
        assert_eq!((plain.len(), by_id(&plain, ["0", "5", "6"])), (7, [Some(2), Some(2), Some(1)]));
        let narrow = of(&suites[1], "navy blue shirts men");
        assert_eq!((narrow.len(), by_id(&narrow, ["0", "5", "6"])), (7, [Some(3), Some(2), Some(1)]));
    }

    #[test]
    fn rare_combinations_are_not_asked_for() {
        assert_eq!(suites(&catalog(&[(PRODUCTS_MIN - 1, labels("Shirts", "Red", "Men"))]), 10, 1), []);
    }

    #[test]
    fn labels_come_from_attributes_and_must_all_be_there() {
        let of_pairs = |pairs: &[(&str, &str)]| {
            of(&pairs.iter().map(|(name, value)| ((*name).to_owned(), BTreeSet::from([(*value).to_owned()]))).collect())
        };
        let all = [("article_type", "Shirts"), ("color", "Red"), ("gender", "Men")];
        assert_eq!(of_pairs(&all), Some(labels("Shirts", "Red", "Men")));
        assert_eq!(of_pairs(&all[..2]), None);
    }
}
