//! One labelled fashion product a row: `id, gender, masterCategory, subCategory, articleType, baseColour, season, year, usage,
//! productDisplayName[, image]`. The label `NA` means "does not apply": such a value is dropped with a warning. A product
//! whose name is `NA` is kept under a title made of its other labels.

use domain::Source;
use protocol::ingest::Reject;

use super::Mapping;
use crate::logic::draft::Draft;
use crate::logic::normal::category::from_names;
use crate::logic::record::{Field, Record, Settings, Sink};

const NOT_APPLICABLE: &str = "NA";
/// What a title is made of when the feed has none.
const TITLE_PARTS: [&str; 3] = ["gender", "base_colour", "article_type"];

/// The mapping.
pub struct Fashion;

impl Mapping for Fashion {
    fn record(&mut self, record: Record, settings: &Settings, sink: &mut Sink) {
        match draft(&record, settings) {
            Ok(draft) => draft.finish(sink),
            Err(reject) => sink.findings.push(*reject),
        }
    }
}

fn draft<'s>(record: &Record, settings: &'s Settings) -> Result<Draft<'s>, Box<Reject>> {
    let id = record.get("id").ok_or_else(|| record.place.refusal("missing_id", "the row has no id"))?;
    let name = record.get("product_display_name").filter(|name| applies(name));
    let made = TITLE_PARTS
        .iter()
        .filter_map(|key| record.get(key))
        .filter(|field| applies(field))
        .map(|field| field.value.as_str())
        .collect::<Vec<_>>()
        .join(" ");
    let mut draft = Draft::new(settings, record.place.clone(), id, Some(name.map_or(&made, |name| &name.value)))?;
    if name.is_none() {
        draft.warn(
            "productDisplayName",
            "missing_title",
            format!("the title `{made}` is made of the other labels"),
            record.text("product_display_name"),
        );
    }
    let path = ["master_category", "sub_category", "article_type"]
        .map(|key| record.get(key).filter(|field| applies(field)).map_or("", |field| field.value.as_str()));
    if let Some(path) = from_names(path) {
        draft.category_path(path);
    }
    for field in record.fields() {
        match field.name.key.as_str() {
            "id" | "product_display_name" => {}
            _ if !applies(field) => {
                draft.warn(&field.name.feed, "not_applicable", "the value means that the label does not apply; dropped", &field.value)
            }
            "master_category" | "sub_category" => {}
            "image" => draft.images(field),
            "year" => {
                let year = field.value.trim_end_matches(".0").to_owned();
                draft.value("year", year, &field.name.feed, Source::Feed);
            }
            key => draft.attribute(key, field),
        }
    }
    Ok(draft)
}

fn applies(field: &Field) -> bool {
    field.value != NOT_APPLICABLE
}
