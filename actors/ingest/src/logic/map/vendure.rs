//! Vendure's product CSV: a row with a name starts a product, rows without one are its further variants. Lists are split by
//! `|`, facets are `name:value`; the facet `category` builds the path, `brand` is the brand. The slug is the id.

use std::collections::BTreeMap;

use domain::{Source, Variant};
use protocol::ingest::Reject;

use super::Mapping;
use super::variants::{Rows, attach};
use crate::logic::draft::{Draft, attribute_name};
use crate::logic::normal::category::from_names;
use crate::logic::normal::stock::vendure_stock;
use crate::logic::normal::text::line;
use crate::logic::record::{Field, Record, Settings, Sink};

/// The mapping.
#[derive(Default)]
pub struct Vendure {
    rows: Rows,
    /// The product that the next variant rows belong to was refused.
    is_refused: bool,
}

impl Mapping for Vendure {
    fn record(&mut self, record: Record, settings: &Settings, sink: &mut Sink) {
        let is_product = record.get("name").is_some();
        if is_product {
            self.finish(settings, sink);
            self.is_refused = record.get("slug").is_none();
            if self.is_refused {
                sink.findings
                    .push(Reject { field: Some("slug".to_owned()), ..record.place.finding("missing_id", "the product has no slug") });
                return;
            }
        } else if self.rows.first().is_none() || self.is_refused {
            sink.findings.push(record.place.finding("orphan_variant", "a variant row without a product above it"));
            return;
        }
        self.rows.push(record, settings, sink);
    }

    fn finish(&mut self, settings: &Settings, sink: &mut Sink) {
        let rows = self.rows.take();
        if rows.is_empty() {
            return;
        }
        match draft(&rows, settings) {
            Ok(draft) => draft.finish(sink),
            Err(reject) => sink.findings.push(*reject),
        }
    }

    fn break_off(&mut self, sink: &mut Sink) {
        self.rows.break_off(sink);
    }
}

fn draft<'s>(rows: &[Record], settings: &'s Settings) -> Result<Draft<'s>, Box<Reject>> {
    let first = &rows[0];
    let slug = first.get("slug").ok_or_else(|| first.place.refusal("missing_id", "the product has no slug"))?;
    let mut draft = Draft::new(settings, first.place.clone(), slug, Some(first.text("name")))?;
    first.get("description").into_iter().for_each(|field| draft.description(field));
    first.get("assets").into_iter().for_each(|field| draft.images(field));
    first.get("facets").into_iter().for_each(|field| facets(&mut draft, field));
    let names: Vec<String> = first.text("option_groups").split('|').map(|name| attribute_name(&line(name))).collect();
    let mut variants = Vec::new();
    for row in rows {
        if variants.len() >= settings.limits.variants_max {
            draft.warn(
                "slug",
                "too_many_variants",
                format!("only {} variants are kept", settings.limits.variants_max),
                slug.value.as_str(),
            );
            break;
        }
        variants.push(variant(&mut draft, row, &names));
    }
    attach(&mut draft.product, variants);
    Ok(draft)
}

fn facets(draft: &mut Draft, field: &Field) {
    let mut path = Vec::new();
    for (name, value) in field.value.split('|').filter_map(|facet| facet.split_once(':')) {
        match name.trim() {
            "category" => path.push(value),
            "brand" => draft.product.brand = Some(line(value)).filter(|brand| !brand.is_empty()),
            name => draft.value(name, line(value), &field.name.feed, Source::Feed),
        }
    }
    if let Some(path) = from_names(path) {
        draft.category_path(path);
    }
}

fn variant(draft: &mut Draft, row: &Record, names: &[String]) -> Variant {
    let mut options = BTreeMap::new();
    if let Some(field) = row.get("option_values") {
        for (name, value) in
            names.iter().zip(field.value.split('|').map(line)).filter(|(name, value)| !name.is_empty() && !value.is_empty())
        {
            draft.value(name, value.clone(), &field.name.feed, Source::Feed);
            options.insert(name.clone(), value);
        }
    }
    if let Some(field) = row.get("variant_facets") {
        facets(draft, field);
    }
    let mut offer = vendure_stock(row.text("stock_on_hand"), row.text("track_inventory"));
    offer.price = row.get("price").and_then(|field| draft.price(field));
    let mut images = Vec::new();
    row.get("variant_assets").into_iter().for_each(|field| draft.images_into(field, &mut images));
    Variant { id: String::new(), sku: row.get("sku").and_then(|field| draft.line(field)), gtin: None, title: None, options, images, offer }
}
