//! Which pictures a product is embedded by, and how its job ends.

use domain::{ContentHash, ImageRef, Product};
use protocol::queue::Settlement;

/// Longer reasons are cut: they are kept with the job.
const REASON_CHARS_MAX: usize = 1000;

/// Why a picture or text has no vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Stable, snake_case.
    pub code: &'static str,
    /// For people.
    pub detail: String,
    /// Whether trying again later may help.
    pub is_transient: bool,
}

impl Failure {
    /// A failure that stays.
    pub fn lasting(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), is_transient: false }
    }

    /// A failure that may pass.
    pub fn passing(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), is_transient: true }
    }
}

/// The product's pictures that are embedded: its own list, behind it those of its variants that it does not list itself.
pub fn pictures_of(product: &Product, images_max: usize) -> Vec<ImageRef> {
    let mut pictures: Vec<ImageRef> = product.images.iter().take(images_max).cloned().collect();
    for image in product.variants.iter().flat_map(|variant| &variant.images) {
        if pictures.len() >= images_max {
            break;
        }
        if !pictures.contains(image) {
            pictures.push(image.clone());
        }
    }
    pictures
}

/// What becomes of a product's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// These contents now, in the order of its pictures.
    Set(Vec<Option<ContentHash>>),
    /// Nothing of it is left in the space.
    Remove,
    /// What it had before: nothing new was found out.
    AsItWas,
}

/// How a job ends, from what became of each picture (or of the text).
pub fn conclude(outcomes: &[Result<ContentHash, Failure>]) -> (Keep, Settlement) {
    let failures: Vec<&Failure> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    let is_transient = failures.iter().any(|failure| failure.is_transient);
    let contents = || outcomes.iter().map(|outcome| outcome.as_ref().ok().copied()).collect();
    match (failures.len(), outcomes.len()) {
        (_, 0) => (Keep::Remove, Settlement::Done),
        (failed, all) if failed == all && is_transient => (Keep::AsItWas, Settlement::Retry { error: reasons(&failures) }),
        (failed, all) if failed == all => (Keep::Remove, Settlement::Dead { error: reasons(&failures) }),
        _ if is_transient => (Keep::Set(contents()), Settlement::Retry { error: reasons(&failures) }),
        _ => (Keep::Set(contents()), Settlement::Done),
    }
}

fn reasons(failures: &[&Failure]) -> String {
    let all = failures.iter().map(|failure| format!("{}: {}", failure.code, failure.detail)).collect::<Vec<_>>().join("; ");
    all.chars().take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::{Offer, Variant};

    use super::*;

    fn image(name: &str) -> ImageRef {
        ImageRef(format!("file:///{name}"))
    }

    #[test]
    fn a_products_own_pictures_come_first() {
        let mut product = Product::new("p".parse().expect("an id"), "Shoe");
        product.images = vec![image("1"), image("2"), image("1")];
        let variant = |images| Variant {
            id: "v".into(),
            sku: None,
            gtin: None,
            title: None,
            options: BTreeMap::new(),
            images,
            offer: Offer::default(),
        };
        product.variants = vec![variant(vec![image("2"), image("3")]), variant(vec![image("3"), image("4")])];
        let all = [image("1"), image("2"), image("1"), image("3"), image("4")];
        assert_eq!(pictures_of(&product, 9), all);
        assert_eq!(pictures_of(&product, 4), all[..4]);
        assert_eq!(pictures_of(&product, 2), all[..2]);
    }

    #[test]
    fn ends_by_table() {
        let good = Ok(ContentHash([1; 16]));
        let bad = Err(Failure::lasting("not_a_picture", "html"));
        let late = Err(Failure::passing("timeout", "slow"));
        let kept = Some(ContentHash([1; 16]));
        let error = |text: &str| text.to_owned();
        let cases = [
            (vec![], Keep::Remove, Settlement::Done),
            (vec![good.clone()], Keep::Set(vec![kept]), Settlement::Done),
            (vec![good.clone(), bad.clone()], Keep::Set(vec![kept, None]), Settlement::Done),
            (vec![late.clone(), good], Keep::Set(vec![None, kept]), Settlement::Retry { error: error("timeout: slow") }),
            (vec![bad.clone()], Keep::Remove, Settlement::Dead { error: error("not_a_picture: html") }),
            (vec![bad, late], Keep::AsItWas, Settlement::Retry { error: error("not_a_picture: html; timeout: slow") }),
        ];
        for (outcomes, keep, settlement) in cases {
            assert_eq!(conclude(&outcomes), (keep, settlement), "{outcomes:?}");
        }
        let long = Err(Failure::lasting("x", "ü".repeat(5000)));
        let (_, Settlement::Dead { error }) = conclude(&[long]) else { panic!("not dead") };
        assert_eq!(error.chars().count(), REASON_CHARS_MAX);
    }
}
