//! What a page of the store shows, as its address says it; and which attributes are offered for narrowing it down.

use std::collections::BTreeMap;

use domain::{Bound, Filter, Scalar, SortKey};
use protocol::search::AttributeInfo;

/// What is paid: the first of these that is known is what shoppers choose a range of and sort by.
const PRICES: [&str; 2] = ["final_price", "price"];
/// The attribute that products of one group share.
pub(crate) const GROUP: &str = "group_id";
/// Stands between the steps of a path.
pub(crate) const STEP: &str = " > ";
/// In front of the name of an attribute that the shown products must have one of these values of.
const CHOSEN: &str = "f.";
/// In front of the name of an attribute that a likeness is asked for with another value of.
const BUT: &str = "but.";
/// Attributes that are offered at a time.
const OFFERED_MAX: usize = 8;
/// Values of an address that are read.
const PAIRS_MAX: usize = 256;
/// Orders other than by relevance.
const SORTS: [&str; 2] = ["price", "-price"];
/// Offered first, in this order.
const FIRST: [&str; 8] = ["category", "brand", "color", "colour", "gender", "size", "material", "product_type"];
/// Name one product, not a kind of them.
const NEVER: [&str; 13] = [
    "id",
    "title",
    "description",
    "link",
    "sku",
    "gtin",
    "mpn",
    "group_id",
    "locale",
    "currency",
    "image_count",
    "has_image",
    // Nothing else is shown anyway.
    "availability",
];

/// What is shown. An address and a form carry the same names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct View {
    pub words: String,
    /// Like this product.
    pub like: Option<String>,
    /// `#rrggbb`.
    pub colour: Option<String>,
    /// Values of attributes, at least one of which a product has.
    pub chosen: BTreeMap<String, Vec<String>>,
    /// Values in place of the product's own, with `like`.
    pub but: BTreeMap<String, Vec<String>>,
    pub price_min: Option<f64>,
    pub price_max: Option<f64>,
    /// `price`, `-price`; relevance without it.
    pub sort: Option<String>,
    pub offset: usize,
}

impl View {
    /// Reads what it knows; an address with something else in it is still an address.
    pub(crate) fn read(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut view = Self::default();
        let amount = |text: &str| text.trim().replace(',', ".").parse::<f64>().ok().filter(|amount| amount.is_finite() && *amount >= 0.0);
        for (name, value) in pairs.into_iter().take(PAIRS_MAX).filter(|(_, value)| !value.trim().is_empty()) {
            let add = |values: &mut BTreeMap<String, Vec<String>>, attribute: &str, value: String| {
                let values = values.entry(attribute.to_owned()).or_default();
                if !values.contains(&value) {
                    values.push(value);
                }
            };
            match name.as_str() {
                "q" => view.words = value.trim().to_owned(),
                "like" => view.like = Some(value),
                "color" => view.colour = Some(value.to_lowercase()),
                "min" => view.price_min = amount(&value),
                "max" => view.price_max = amount(&value),
                "sort" if SORTS.contains(&value.as_str()) => view.sort = Some(value),
                "offset" => view.offset = value.parse().unwrap_or_default(),
                other => match (other.strip_prefix(CHOSEN), other.strip_prefix(BUT)) {
                    (Some(attribute), _) if !attribute.is_empty() => add(&mut view.chosen, attribute, value),
                    (_, Some(attribute)) if !attribute.is_empty() => add(&mut view.but, attribute, value),
                    _ => {}
                },
            }
        }
        view
    }

    /// The names and values of an address or form, `offset` left out.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = self.query_pairs();
        for (attribute, values) in &self.chosen {
            pairs.extend(values.iter().map(|value| (chosen_name(attribute), value.clone())));
        }
        let mut add = |name: &str, value: Option<String>| pairs.extend(value.map(|value| (name.to_owned(), value)));
        add("min", self.price_min.map(|amount| amount.to_string()));
        add("max", self.price_max.map(|amount| amount.to_string()));
        add("sort", self.sort.clone());
        pairs
    }

    /// What is asked for, without what narrows it down.
    pub(crate) fn query_pairs(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let mut add = |name: &str, value: Option<&String>| pairs.extend(value.map(|value| (name.to_owned(), value.clone())));
        add("q", Some(&self.words).filter(|words| !words.is_empty()));
        add("like", self.like.as_ref());
        add("color", self.colour.as_ref());
        for (attribute, values) in &self.but {
            pairs.extend(values.iter().map(|value| (format!("{BUT}{attribute}"), value.clone())));
        }
        pairs
    }

    pub(crate) fn is_narrowed(&self) -> bool {
        !self.chosen.is_empty() || self.price_min.is_some() || self.price_max.is_some()
    }

    pub(crate) fn is_chosen(&self, attribute: &str, value: &str) -> bool {
        self.chosen.get(attribute).is_some_and(|values| values.iter().any(|chosen| chosen == value))
    }

    /// The same without one chosen value.
    pub(crate) fn without(&self, attribute: &str, value: &str) -> Self {
        let mut view = Self { offset: 0, ..self.clone() };
        if let Some(values) = view.chosen.get_mut(attribute) {
            values.retain(|chosen| chosen != value);
        }
        view.chosen.retain(|_, values| !values.is_empty());
        view
    }

    /// The same without anything that narrows it down.
    pub(crate) fn cleared(&self) -> Self {
        Self { chosen: BTreeMap::new(), price_min: None, price_max: None, offset: 0, ..self.clone() }
    }

    /// What it is sorted by, if anything.
    pub(crate) fn order(&self, attributes: &[AttributeInfo]) -> Vec<SortKey> {
        let key =
            |sort: &String| SortKey { attribute: price(attributes).unwrap_or(PRICES[0]).to_owned(), is_descending: sort.starts_with('-') };
        self.sort.iter().map(key).collect()
    }

    /// What narrows it down, as a filter.
    pub(crate) fn filter(&self, attributes: &[AttributeInfo]) -> Option<Filter> {
        let mut all: Vec<Filter> = self.chosen.iter().map(|(attribute, values)| one_of(attribute, values, attributes)).collect();
        let bound = |amount: Option<f64>| amount.map(|amount| Bound { value: Scalar::Number(amount), is_inclusive: true });
        if self.price_min.is_some() || self.price_max.is_some() {
            let attribute = price(attributes).unwrap_or(PRICES[0]).to_owned();
            all.push(Filter::Range { attribute, from: bound(self.price_min), to: bound(self.price_max) });
        }
        if all.len() > 1 { Some(Filter::All(all)) } else { all.pop() }
    }
}

/// The attribute that holds what is paid.
pub(crate) fn price(attributes: &[AttributeInfo]) -> Option<&'static str> {
    PRICES.into_iter().find(|name| attributes.iter().any(|info| info.name == *name))
}

/// The name under which an address carries a chosen value.
pub(crate) fn chosen_name(attribute: &str) -> String {
    format!("{CHOSEN}{attribute}")
}

/// A path as one value.
pub(crate) fn path_value(steps: &[String]) -> String {
    steps.join(STEP)
}

/// A path stands for everything below it; any other value for itself.
fn one_of(attribute: &str, values: &[String], attributes: &[AttributeInfo]) -> Filter {
    let is_path = attributes.iter().any(|info| info.name == attribute && info.kinds.contains(&"path"));
    if !is_path {
        return Filter::In { attribute: attribute.to_owned(), values: values.to_vec() };
    }
    let under = |value: &String| Filter::Under {
        attribute: attribute.to_owned(),
        path: value.split(STEP).map(str::trim).filter(|step| !step.is_empty()).map(str::to_owned).collect(),
    };
    let mut any: Vec<Filter> = values.iter().map(under).collect();
    if any.len() > 1 { Filter::Any(any) } else { any.pop().unwrap_or_default() }
}

/// The attributes that divide the products into kinds, the usual ones first, then those that most products have.
pub(crate) fn offered(attributes: &[AttributeInfo]) -> Vec<&AttributeInfo> {
    // A value that hardly two products share divides nothing.
    let divides = |info: &AttributeInfo| info.values >= 2 && info.values.saturating_mul(2) <= info.products.max(1);
    let is_kind = |info: &&AttributeInfo| info.kinds.iter().any(|kind| matches!(*kind, "text" | "path"));
    let place = |info: &AttributeInfo| FIRST.iter().position(|first| *first == info.name).unwrap_or(FIRST.len());
    let usable = |info: &&AttributeInfo| {
        is_kind(info) && !NEVER.contains(&info.name.as_str()) && (divides(info) || (place(info) < FIRST.len() && info.values >= 2))
    };
    let mut offered: Vec<&AttributeInfo> = attributes.iter().filter(usable).collect();
    offered.sort_by(|left, right| {
        place(left).cmp(&place(right)).then_with(|| right.products.cmp(&left.products)).then_with(|| left.name.cmp(&right.name))
    });
    offered.truncate(OFFERED_MAX);
    offered
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn info(name: &str, kind: &'static str, products: u64, values: u64) -> AttributeInfo {
        AttributeInfo { name: name.into(), kinds: vec![kind], products, values, examples: Vec::new() }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_address_is_read_and_written_again() {
        let address = [("q", "shoe"), ("but.color", "red"), ("f.brand", "A"), ("f.brand", "B"), ("min", "10.5"), ("sort", "-price")];
        let view = View::read(pairs(&address));
        assert_eq!(view.pairs(), pairs(&address));
        assert_eq!(View::read(view.pairs()), view);
        assert_eq!(view.query_pairs(), pairs(&[("q", "shoe"), ("but.color", "red")]));
        assert_eq!(view.without("brand", "A").without("brand", "B").chosen.len(), 0);
        assert!(view.is_narrowed() && !view.cleared().is_narrowed());
    }

    #[test]
    fn what_an_address_should_not_hold_is_passed_over() {
        let view = View::read(pairs(&[
            ("utm_source", "x"),
            ("q", "  "),
            ("min", "cheap"),
            ("max", "-3"),
            ("offset", "x"),
            ("sort", "relevance"),
            ("sort", "id"),
            ("f.", "x"),
        ]));
        assert_eq!(view, View::default());
        assert_eq!(View::read(pairs(&[("max", "1,5")])).price_max, Some(1.5), "a decimal comma");
    }

    #[test]
    fn chosen_values_become_a_filter() {
        let attributes = [info("brand", "text", 9, 3), info("category", "path", 9, 4), info("price", "number", 9, 9)];
        for (address, expected) in [
            (vec![("f.brand", "A")], r#"brand IN ["A"]"#),
            (vec![("f.brand", "A"), ("f.brand", "B")], r#"brand IN ["A", "B"]"#),
            (vec![("f.category", "Home > Lamps")], r#"category UNDER "Home > Lamps""#),
            (vec![("min", "5"), ("max", "9")], "price 5 TO 9"),
            (vec![("f.category", "A"), ("f.category", "B"), ("min", "5")], r#"(category UNDER "A" OR category UNDER "B") AND price >= 5"#),
        ] {
            let filter = View::read(pairs(&address)).filter(&attributes).expect("a filter");
            assert_eq!(filter, Filter::parse(expected).expect(expected), "{filter}");
        }
        assert_eq!(View::default().filter(&attributes), None);
        let both = [info("price", "number", 9, 9), info("final_price", "number", 9, 9)];
        let view = View::read(pairs(&[("max", "9"), ("sort", "-price")]));
        assert_eq!(view.filter(&both), Filter::parse("final_price <= 9").ok(), "what is paid, not what it was before");
        assert_eq!(view.order(&both), [SortKey { attribute: "final_price".into(), is_descending: true }]);
    }

    #[test]
    fn attributes_that_divide_are_offered_the_usual_ones_first() {
        let attributes = [
            info("id", "text", 100, 100),
            info("brand", "text", 90, 20),
            info("category", "path", 100, 70),
            info("fabric", "text", 50, 5),
            info("season", "text", 60, 4),
            info("serial", "text", 100, 99),
            info("price", "number", 100, 40),
            info("made_in", "text", 100, 1),
        ];
        let names: Vec<&str> = offered(&attributes).iter().map(|info| info.name.as_str()).collect();
        assert_eq!(names, ["category", "brand", "season", "fabric"]);
    }

    proptest! {
        #[test]
        fn any_address_is_read_and_means_the_same_again(found in prop::collection::vec(("[a-z.]{0,8}|q|min|max|f\\.[a-z]{1,3}", "\\PC{0,8}"), 0..12)) {
            let view = View { offset: 0, ..View::read(found) };
            prop_assert_eq!(View::read(view.pairs()), view);
        }
    }
}
