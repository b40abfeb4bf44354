//! Shopify's product CSV: rows with one `Handle` are one product; its first row carries the texts, every row a variant, a
//! picture or both. A product that is not published, or not active, is kept but cannot be had. Prices have no currency of
//! their own. Columns about costs, taxes and shipping are the shop's business and are left out.

use std::collections::BTreeMap;

use domain::{Availability, Money, Source, Variant};
use protocol::ingest::Reject;

use super::Mapping;
use super::variants::{Rows, attach};
use crate::logic::draft::{Draft, attribute_name};
use crate::logic::normal::stock::shopify_stock;
use crate::logic::normal::text::line;
use crate::logic::record::{Field, Record, Settings, Sink};

/// The option of a product that has none.
const NO_OPTION: (&str, &str) = ("title", "Default Title");
const GOOGLE_PREFIX: &str = "google_shopping_";
/// Metafields of this app list other products.
const DISCOVERY: &str = "shopify--discovery";
const METAFIELDS: &str = "(product.metafields.";

/// The mapping.
#[derive(Default)]
pub struct Shopify {
    rows: Rows,
}

impl Mapping for Shopify {
    fn record(&mut self, record: Record, settings: &Settings, sink: &mut Sink) {
        let handle = record.text("handle");
        if handle.is_empty() {
            sink.findings.push(Reject { field: Some("Handle".to_owned()), ..record.place.finding("missing_id", "the row has no handle") });
            return;
        }
        if self.rows.first().is_some_and(|first| first.text("handle") != handle) {
            self.finish(settings, sink);
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
    let handle = first.get("handle").ok_or_else(|| first.place.refusal("missing_id", "the row has no handle"))?;
    let title = rows.iter().find_map(|row| row.get("title")).map(|field| field.value.as_str());
    let mut draft = Draft::new(settings, first.place.clone(), handle, title)?;
    for field in first.fields() {
        product_field(&mut draft, field);
    }
    if draft.product.categories.is_empty()
        && let Some(kind) = first.get("type")
    {
        draft.category(kind);
    }
    for row in by_image_position(rows) {
        row.get("image_src").into_iter().for_each(|field| draft.images(field));
    }
    let option_names = option_names(rows);
    let mut variants = Vec::new();
    for row in rows.iter().filter(|row| ["option1_value", "variant_price", "variant_sku"].iter().any(|key| row.get(key).is_some())) {
        if variants.len() >= settings.limits.variants_max {
            draft.warn(
                "Handle",
                "too_many_variants",
                format!("only {} variants are kept", settings.limits.variants_max),
                handle.value.as_str(),
            );
            break;
        }
        variants.push(variant(&mut draft, row, &option_names));
    }
    if is_withdrawn(first) {
        variants.iter_mut().for_each(|variant| variant.offer.availability = Availability::OutOfStock);
        draft.product.offer.availability = Availability::OutOfStock;
    }
    if !variants.is_empty() {
        attach(&mut draft.product, variants);
    }
    Ok(draft)
}

fn product_field(draft: &mut Draft, field: &Field) {
    let key = field.name.key.as_str();
    if let Some((_, metafield)) = field.name.feed.split_once(METAFIELDS) {
        let (space, name) = metafield.trim_end_matches(')').rsplit_once('.').unwrap_or(("", metafield));
        if !space.starts_with(DISCOVERY) {
            draft.attribute_list(name, field, &[';']);
        }
        return;
    }
    match key {
        "body_html" => draft.description(field),
        "vendor" => draft.product.brand = draft.line(field),
        "product_category" => draft.category(field),
        "type" => draft.attribute("product_type", field),
        "tags" => draft.attribute_list("tags", field, &[',']),
        "gift_card" if field.value.eq_ignore_ascii_case("true") => draft.attribute("gift_card", field),
        "status" if !field.value.eq_ignore_ascii_case("active") => draft.attribute("status", field),
        "variant_grams" => weight(draft, field),
        "google_shopping_mpn" => draft.product.mpn = draft.line(field),
        "google_shopping_custom_product" => {}
        _ => {
            if let Some(name) = key.strip_prefix(GOOGLE_PREFIX) {
                draft.attribute(name, field);
            }
        }
    }
}

/// Grams, written `34000.0` by exports and `0` where the shop has not weighed.
fn weight(draft: &mut Draft, field: &Field) {
    let grams = field.value.trim_end_matches('0').trim_end_matches('.');
    let grams = if field.value.contains('.') { grams } else { field.value.as_str() };
    if !grams.is_empty() && grams != "0" {
        draft.value("weight_grams", grams.to_owned(), &field.name.feed, Source::Feed);
    }
}

/// The options' own names stand in the first row that has them.
fn option_names(rows: &[Record]) -> [Option<String>; 3] {
    ["option1_name", "option2_name", "option3_name"]
        .map(|key| rows.iter().find_map(|row| row.get(key)).map(|field| attribute_name(&line(&field.value))))
}

fn variant(draft: &mut Draft, row: &Record, option_names: &[Option<String>; 3]) -> Variant {
    let mut options = BTreeMap::new();
    for (key, name) in ["option1_value", "option2_value", "option3_value"].iter().zip(option_names) {
        let (Some(name), Some(field)) = (name, row.get(key)) else { continue };
        if (name.as_str(), field.value.as_str()) != NO_OPTION
            && let Some(value) = draft.line(field)
        {
            draft.value(name, value.clone(), &field.name.feed, Source::Feed);
            options.insert(name.clone(), value);
        }
    }
    let mut offer =
        shopify_stock(row.text("variant_inventory_tracker"), row.text("variant_inventory_qty"), row.text("variant_inventory_policy"));
    let asked = row.get("variant_price").and_then(|field| draft.price(field));
    let compared = row.get("variant_compare_at_price").and_then(|field| draft.price(field));
    (offer.price, offer.sale_price) = prices(asked, compared);
    let mut images = Vec::new();
    row.get("variant_image").into_iter().for_each(|field| draft.images_into(field, &mut images));
    let sku = row.get("variant_sku").and_then(|field| draft.line(field));
    // A spreadsheet's apostrophe in front keeps its zeros.
    let gtin = row
        .get("variant_barcode")
        .and_then(|field| draft.gtin(&Field { value: field.value.trim_start_matches('\'').to_owned(), ..field.clone() }));
    Variant { id: String::new(), sku, gtin, title: None, options, images, offer }
}

/// The price asked is a sale price where the one it is compared with is higher.
fn prices(asked: Option<Money>, compared: Option<Money>) -> (Option<Money>, Option<Money>) {
    match (asked, compared) {
        (Some(asked), Some(compared)) if compared.amount_e4 > asked.amount_e4 => (Some(compared), Some(asked)),
        (asked, _) => (asked, None),
    }
}

fn is_withdrawn(first: &Record) -> bool {
    let status = first.text("status");
    first.text("published").eq_ignore_ascii_case("false") || !(status.is_empty() || status.eq_ignore_ascii_case("active"))
}

fn by_image_position(rows: &[Record]) -> Vec<&Record> {
    let mut rows: Vec<&Record> = rows.iter().collect();
    rows.sort_by_key(|row| row.text("image_position").parse::<u32>().unwrap_or(u32::MAX));
    rows
}
