//! What the formats with several rows a product share: rows of one product, variant ids, the offer of the whole.

use std::collections::BTreeMap;

use domain::{Availability, Offer, Product, Variant};
use protocol::ingest::Reject;

use crate::logic::normal::text::snake_case;
use crate::logic::record::{Record, Settings, Sink};

/// Rows of one product beside its variants: pictures.
const OTHER_ROWS_MAX: usize = 256;
/// Rows of one product hold at most this many times the bytes of one record.
const BYTES_FACTOR: usize = 8;

/// The rows of one product, bounded.
#[derive(Default)]
pub(super) struct Rows {
    rows: Vec<Record>,
    bytes: usize,
}

impl Rows {
    /// The rows so far; none are left.
    pub(super) fn take(&mut self) -> Vec<Record> {
        self.bytes = 0;
        std::mem::take(&mut self.rows)
    }

    /// The product's first row.
    pub(super) fn first(&self) -> Option<&Record> {
        self.rows.first()
    }

    /// Refuses the product: rows of it may be lacking.
    pub(super) fn break_off(&mut self, sink: &mut Sink) {
        if let Some(first) = self.take().first() {
            sink.findings.push(first.place.finding("truncated", "the feed breaks off before the product is known to be whole"));
        }
    }

    /// Takes one more row, or refuses it.
    pub(super) fn push(&mut self, row: Record, settings: &Settings, sink: &mut Sink) {
        let limits = &settings.limits;
        self.bytes += row.fields().iter().map(|field| field.value.len()).sum::<usize>();
        if self.rows.len() >= limits.variants_max + OTHER_ROWS_MAX || self.bytes > limits.record_bytes_max * BYTES_FACTOR {
            sink.findings.push(Reject {
                code: "too_many_rows".to_owned(),
                ..row.place.finding("", "the product has more rows or text than is taken")
            });
        } else {
            self.rows.push(row);
        }
    }
}

/// Gives every variant an id: its SKU where no other variant of the product has it, else its options (`black-s`), else its
/// place. So an id stays the same when rows are moved, and when a price changes.
pub(super) fn name_variants(variants: &mut [Variant]) {
    let mut skus: BTreeMap<String, usize> = BTreeMap::new();
    for sku in variants.iter().filter_map(|variant| variant.sku.clone()) {
        *skus.entry(sku).or_default() += 1;
    }
    let mut taken = std::collections::BTreeSet::new();
    for (at, variant) in variants.iter_mut().enumerate() {
        let own_sku = variant.sku.clone().filter(|sku| skus.get(sku) == Some(&1));
        let options = || variant.options.values().map(|value| snake_case(value).replace('_', "-")).collect::<Vec<_>>().join("-");
        let base = own_sku.unwrap_or_else(options);
        let base = if base.is_empty() { format!("variant-{}", at + 1) } else { base };
        let mut id = base.clone();
        let mut number = 2;
        while !taken.insert(id.clone()) {
            id = format!("{base}-{number}");
            number += 1;
        }
        variant.id = id;
    }
}

/// Puts the variants into the product. A single variant without options is the product itself. The offer of the whole: the
/// lowest price, the best availability, all pieces together.
pub(super) fn attach(product: &mut Product, mut variants: Vec<Variant>) {
    if variants.len() == 1 && variants[0].options.is_empty() {
        let Variant { sku, gtin, images, offer, .. } = variants.remove(0);
        (product.sku, product.offer) = (sku, offer);
        product.gtin = gtin.or_else(|| product.gtin.take());
        // A picture of the only form is a picture of the product.
        for image in images {
            if !product.images.contains(&image) {
                product.images.push(image);
            }
        }
        return;
    }
    name_variants(&mut variants);
    product.offer = whole_offer(&variants);
    product.variants = variants;
}

fn whole_offer(variants: &[Variant]) -> Offer {
    let rank = |availability: Availability| match availability {
        Availability::InStock => 0,
        Availability::Backorder => 1,
        Availability::Preorder => 2,
        Availability::OutOfStock => 3,
    };
    let asked = |offer: &Offer| offer.sale_price.or(offer.price).map_or(i64::MAX, |money| money.amount_e4);
    let cheapest = variants.iter().map(|variant| &variant.offer).min_by_key(|offer| asked(offer));
    let availability = variants.iter().map(|variant| variant.offer.availability).min_by_key(|availability| rank(*availability));
    let quantity =
        variants.iter().map(|variant| variant.offer.quantity).try_fold(0_u32, |sum, quantity| Some(sum.saturating_add(quantity?)));
    Offer {
        price: cheapest.and_then(|offer| offer.price),
        sale_price: cheapest.and_then(|offer| offer.sale_price),
        availability: availability.unwrap_or_default(),
        quantity: quantity.filter(|_| !variants.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(sku: Option<&str>, options: &[(&str, &str)]) -> Variant {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Variant {
            id: String::new(),
            sku: sku.map(str::to_owned),
            gtin: None,
            title: None,
            options,
            images: Vec::new(),
            offer: Offer::default(),
        }
    }

    #[test]
    fn variant_ids_by_table() {
        let mut variants = vec![
            variant(Some("A-1"), &[("color", "Black"), ("size", "S")]),
            variant(Some("B"), &[("color", "Black"), ("size", "M")]),
            variant(Some("B"), &[("color", "Navy Blue"), ("size", "L")]),
            variant(None, &[("size", "38 / M")]),
            variant(None, &[("size", "38-m")]),
            variant(None, &[]),
        ];
        name_variants(&mut variants);
        let ids: Vec<&str> = variants.iter().map(|variant| variant.id.as_str()).collect();
        assert_eq!(ids, ["A-1", "black-m", "navy-blue-l", "38-m", "38-m-2", "variant-6"]);
    }
}
