//! The product table of WANDS as a feed in the common format.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::table::Table;

/// Whether a table is a WANDS product table, by its header.
pub(crate) fn is_product_table(header: &str) -> bool {
    header.contains('\t') && ["product_id", "product_name", "product_class"].iter().all(|name| header.contains(name))
}

/// Writes one product a line; how many. Rows without id or name are left out.
pub(crate) fn write_feed(text: &str, feed: &mut impl Write) -> io::Result<usize> {
    let table = Table::parse(text);
    let column = |names: &[&str]| table.column(names).unwrap_or(usize::MAX);
    let (id, name, class) = (column(&["product_id"]), column(&["product_name"]), column(&["product_class"]));
    let (path, description) = (column(&["category_hierarchy"]), column(&["product_description"]));
    let features = column(&["product_features"]);
    let mut count = 0;
    for row in table.rows().filter(|row| !row.get(id).is_empty() && !row.get(name).is_empty()) {
        let mut product = json!({"id": row.get(id), "title": row.get(name), "description": row.get(description)});
        let steps: Vec<&str> = row.get(path).split('/').map(str::trim).filter(|step| !step.is_empty()).collect();
        if !steps.is_empty() {
            product["categories"] = json!([steps]);
        }
        let mut attributes = features_of(row.get(features));
        let classes: Vec<&str> = row.get(class).split('|').map(str::trim).filter(|class| !class.is_empty()).collect();
        if !classes.is_empty() {
            attributes.insert("product_class".to_owned(), json!(classes));
        }
        product["attributes"] = Value::Object(attributes);
        serde_json::to_writer(&mut *feed, &product)?;
        feed.write_all(b"\n")?;
        count += 1;
    }
    Ok(count)
}

/// `dsprimaryproductstyle : modern|overallwidth:64.7` by name; a name that comes again has several values.
fn features_of(text: &str) -> Map<String, Value> {
    let mut attributes = Map::new();
    for (name, value) in text.split('|').filter_map(|feature| feature.split_once(':')) {
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || value.is_empty() {
            continue;
        }
        let values = attributes.entry(name).or_insert_with(|| json!([]));
        if let Some(values) = values.as_array_mut().filter(|values| !values.iter().any(|known| known == value)) {
            values.push(json!(value));
        }
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "product_id\tproduct_name\tproduct_class\tcategory hierarchy\tproduct_description\tproduct_features\trating_count\n";

    #[test]
    fn rows_become_products_in_the_common_format() {
        let rows = "0\tsolid wood platform bed\tBeds\tFurniture / Bedroom Furniture / Beds\t\"good, 12\"\" deep\"\t\
                    overallwidth-sidetoside:64.7|ds woodtone : dark wood|ds woodtone:light wood|broken\t15\n1\t\tBeds\t\t\t\t\n";
        assert!(is_product_table(HEADER) && !is_product_table("id\ttitle\n"));
        let mut feed = Vec::new();
        assert_eq!(write_feed(&format!("{HEADER}{rows}"), &mut feed).expect("written"), 1);
        let product: Value = serde_json::from_slice(&feed).expect("JSON");
        let wanted = json!({
            "id": "0", "title": "solid wood platform bed", "description": "good, 12\" deep",
            "categories": [["Furniture", "Bedroom Furniture", "Beds"]],
            "attributes": {
                "overallwidth-sidetoside": ["64.7"], "ds woodtone": ["dark wood", "light wood"], "product_class": ["Beds"],
            },
        });
        assert_eq!(product, wanted);
    }
}
