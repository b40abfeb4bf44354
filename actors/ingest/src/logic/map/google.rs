//! Google Merchant (product data specification), as RSS, Atom or delimited text: one item a product; forms of one product
//! share `item_group_id`. Prices per destination (`shipping`, `tax`) are no prices of the product and are left out.

use protocol::ingest::Reject;

use super::Mapping;
use crate::logic::draft::Draft;
use crate::logic::normal::stock::parse_quantity;
use crate::logic::record::{Record, Settings, Sink};

/// Groups and columns that say nothing about the product itself.
const LEFT_OUT: [&str; 14] = [
    "shipping",
    "tax",
    "installment",
    "subscription_cost",
    "loyalty_points",
    "loyalty_program",
    "guid",
    "pub_date",
    "updated",
    "published",
    "author",
    "enclosure",
    "source",
    "comments",
];

/// The mapping.
pub struct Google;

impl Mapping for Google {
    fn record(&mut self, record: Record, settings: &Settings, sink: &mut Sink) {
        match draft(&record, settings) {
            Ok(draft) => draft.finish(sink),
            Err(reject) => sink.findings.push(*reject),
        }
    }
}

fn draft<'s>(record: &Record, settings: &'s Settings) -> Result<Draft<'s>, Box<Reject>> {
    let id = record.get("id").ok_or_else(|| record.place.refusal("missing_id", "the item has no id"))?;
    let title = record.get("title").or_else(|| record.get("name")).map(|field| field.value.as_str());
    let mut draft = Draft::new(settings, record.place.clone(), id, title)?;
    let mut detail_name = None;
    // The main picture stands first whatever the order of the elements.
    for key in ["image_link", "image", "image_url"] {
        record.fields().iter().filter(|field| field.name.key == key).for_each(|field| draft.images(field));
    }
    for field in record.fields() {
        match field.name.key.as_str() {
            "id" | "title" | "name" | "image_link" | "image" | "image_url" => {}
            "description" | "summary" | "content" => {
                if draft.product.description.is_empty() {
                    draft.description(field);
                }
            }
            "link" | "url" => {
                if draft.product.link.is_none() {
                    draft.link(field);
                }
            }
            "additional_image_link" | "additional_image_links" | "additional_images" => draft.images(field),
            "price" => draft.product.offer.price = draft.product.offer.price.or_else(|| draft.price(field)),
            "sale_price" => draft.product.offer.sale_price = draft.product.offer.sale_price.or_else(|| draft.price(field)),
            "availability" | "stock_status" => draft.availability(field),
            "quantity" | "stock" | "sell_on_google_quantity" | "inventory" => match parse_quantity(&field.value) {
                Some(quantity) => draft.product.offer.quantity = Some(quantity),
                None => draft.warn(&field.name.feed, "bad_quantity", "not a count of pieces", &field.value),
            },
            "brand" => draft.product.brand = draft.line(field),
            "gtin" | "ean" | "upc" | "barcode" => draft.product.gtin = draft.gtin(field),
            "mpn" => draft.product.mpn = draft.line(field),
            "sku" => draft.product.sku = draft.line(field),
            "item_group_id" => draft.product.group_id = draft.line(field),
            "content_language" | "language" => draft.product.locale = draft.line(field),
            "product_type" | "category" => draft.category(field),
            // A number of Google's own taxonomy is no name for people.
            "google_product_category" if field.value.bytes().all(|byte| byte.is_ascii_digit()) => {
                draft.attribute("google_product_category", field)
            }
            "google_product_category" => draft.category(field),
            "color" | "material" => draft.attribute_list(&field.name.key, field, &['/']),
            "product_detail.attribute_name" => detail_name = draft.line(field),
            "product_detail.attribute_value" => {
                if let Some(name) = detail_name.take() {
                    draft.attribute(&name, field);
                }
            }
            key if LEFT_OUT.contains(&key.split('.').next().unwrap_or(key)) || key.contains('.') => {}
            key => draft.attribute(key, field),
        }
    }
    Ok(draft)
}
