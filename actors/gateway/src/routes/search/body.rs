//! What a search may ask for, as it arrives: JSON, a form, query parameters. All three become one [`SearchBody`].

use std::collections::BTreeMap;
use std::fmt;

use axum::extract::multipart::Multipart;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use domain::{Bound, Scalar};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::extract::{self, body_problem};
use crate::problem::{Answer, Problem};
use crate::routes::App;

/// Parts of a form.
const FORM_FIELDS_MAX: usize = 256;

/// What to look for. `text`, `image`, `product_id`, `vector`, `color` and `examples` count together; without any of them every
/// product that passes the filter is listed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchBody {
    /// Words, matched as keywords and by meaning.
    pub text: Option<String>,
    /// How words are matched: `hybrid` (the default), `keyword` or `meaning`.
    #[serde(default)]
    pub mode: Mode,
    /// The language of the words (BCP 47), where it is known.
    pub language: Option<String>,
    /// A picture (JPEG, PNG, WebP, GIF), base64 or a data URL.
    pub image: Option<String>,
    /// Only this part of the picture: left, top, width, height as shares (0 to 1) of its width and height.
    #[serde(rename = "box")]
    pub crop: Option<[f32; 4]>,
    /// Products like this one; it and its group are left out.
    pub product_id: Option<String>,
    /// A vector of a loaded model's width.
    pub vector: Option<Vec<f32>>,
    /// A colour, `#rrggbb`: products whose colour words are near it.
    pub color: Option<String>,
    /// More like some products and less like others.
    #[serde(default)]
    pub examples: ExamplesBody,
    /// "Like this, but in red": with `product_id`, `image` or `vector`, only products with these values count, by likeness. Other
    /// forms of the product asked with stay in.
    #[serde(rename = "override", default)]
    #[schema(value_type = BTreeMap<String, Object>)]
    pub overrides: BTreeMap<String, OneOrMany>,
    /// Only these products: `brand IN ["A", "B"] AND price 10 TO 50`, or JSON `{"must": [..], "should": [..], "must_not": [..]}`.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// What to count over everything found: names, or objects.
    #[schema(value_type = Vec<FacetBody>)]
    #[serde(default)]
    pub facets: Vec<FacetItem>,
    /// Sort by these attributes instead of by relevance, `-` in front for descending: `-price`, or a list. `relevance` is none.
    #[schema(value_type = Option<Vec<String>>)]
    #[serde(default)]
    pub sort: OneOrMany,
    /// A formula over number attributes and `score` that gives the final score.
    pub boost: Option<String>,
    /// Show the best product alone for each value of this attribute: `group_id`.
    pub group_by: Option<String>,
    /// Keep the items from being all alike.
    pub diversity: Option<DiversityBody>,
    /// Compare vectors with every product's in full precision.
    #[serde(default)]
    pub exact: bool,
    /// Say how each score came about.
    #[serde(default)]
    pub explain: bool,
    /// Say why this product is not in the answer.
    pub explain_missing: Option<String>,
    /// Never in the answer.
    #[serde(default)]
    pub exclude_ids: Vec<String>,
    /// Also what a shopper cannot have now.
    #[serde(default)]
    pub include_unavailable: bool,
    /// At most this many items.
    pub limit: Option<usize>,
    /// Leave out the first so many.
    #[serde(default)]
    pub offset: usize,
    /// Who asks, for reports and experiments; the order does not depend on it.
    pub user_id: Option<String>,
    /// Likewise, where nobody is logged in.
    pub visitor_id: Option<String>,
    /// The visit.
    pub session_id: Option<String>,
}

/// Several boxes of one picture, one ranked list for each.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LookBody {
    /// A picture (JPEG, PNG, WebP, GIF), base64 or a data URL.
    pub image: Option<String>,
    /// 1 to 8 boxes: left, top, width, height as shares (0 to 1) of the picture's width and height.
    #[serde(default)]
    pub boxes: Vec<[f32; 4]>,
    /// Only these products, in either form of a filter.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// A formula over number attributes and `score` that gives the final score.
    pub boost: Option<String>,
    /// Show the best product alone for each value of this attribute: `group_id`.
    pub group_by: Option<String>,
    /// Keep the items from being all alike.
    pub diversity: Option<DiversityBody>,
    /// Compare vectors with every product's in full precision.
    #[serde(default)]
    pub exact: bool,
    /// Say how each score came about.
    #[serde(default)]
    pub explain: bool,
    /// Never in the answer.
    #[serde(default)]
    pub exclude_ids: Vec<String>,
    /// Also what a shopper cannot have now.
    #[serde(default)]
    pub include_unavailable: bool,
    /// At most this many items for each box.
    pub limit: Option<usize>,
}

impl LookBody {
    /// The boxes, and everything else as a search has it.
    pub(crate) fn apart(self) -> (Vec<[f32; 4]>, SearchBody) {
        let Self { image, boxes, filter, boost, group_by, diversity, exact, explain, exclude_ids, include_unavailable, limit } = self;
        let search = SearchBody {
            image,
            filter,
            boost,
            group_by,
            diversity,
            exact,
            explain,
            exclude_ids,
            include_unavailable,
            limit,
            ..SearchBody::default()
        };
        (boxes, search)
    }
}

/// How words are matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// As keywords and by meaning, fused.
    #[default]
    Hybrid,
    /// As keywords alone.
    Keyword,
    /// By meaning alone.
    Meaning,
}

/// Products to move towards and away from. They themselves are left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExamplesBody {
    /// Ids of products to be like: their mean weighs 0.75, what is asked otherwise weighs 1.
    #[serde(default)]
    pub positive: Vec<String>,
    /// Ids of products to be unlike: their mean weighs -0.15.
    #[serde(default)]
    pub negative: Vec<String>,
}

/// How the items are kept from being all alike.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiversityBody {
    /// How much likeness to items further up costs, 0 to 1.
    #[serde(default)]
    pub strength: f32,
    /// At most so many items with the same value of an attribute.
    #[serde(default)]
    pub quotas: BTreeMap<String, usize>,
}

/// An attribute to count.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FacetBody {
    pub attribute: String,
    /// At most this many values, the most frequent first.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Count these ranges in place of values: pairs of a lower bound (within) and an upper one (without), `null` for none; numbers,
    /// dates or times.
    #[serde(default)]
    #[schema(value_type = Vec<Vec<Object>>)]
    pub ranges: Vec<[RangeEnd; 2]>,
    /// Make at most this many ranges that hold about as many products each.
    #[serde(default)]
    pub auto_ranges: usize,
}

/// A facet by its name alone, or in full.
#[derive(Debug)]
pub(crate) struct FacetItem(pub FacetBody);

impl<'de> Deserialize<'de> for FacetItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Item;
        impl<'de> Visitor<'de> for Item {
            type Value = FacetItem;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an attribute, or an object with `attribute`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<FacetItem, E> {
                Ok(FacetItem(FacetBody { attribute: name.to_owned(), ..FacetBody::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FacetItem, A::Error> {
                FacetBody::deserialize(MapAccessDeserializer::new(map)).map(FacetItem)
            }
        }
        deserializer.deserialize_any(Item)
    }
}

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RangeEnd(pub Option<Scalar>);

impl RangeEnd {
    pub(crate) fn bound(self, is_inclusive: bool) -> Option<Bound> {
        self.0.map(|value| Bound { value, is_inclusive })
    }
}

impl<'de> Deserialize<'de> for RangeEnd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let end = match Value::deserialize(deserializer)? {
            Value::Null => return Ok(Self(None)),
            Value::Number(number) => number.as_f64().filter(|number| number.is_finite()).map(Scalar::Number),
            Value::String(text) => domain::filter::parse_time(text.trim()).map(|(time, _)| Scalar::Time(time)),
            _ => None,
        };
        end.map(|end| Self(Some(end))).ok_or_else(|| de::Error::custom("expected a number, a date, a time or null"))
    }
}

/// A text, or a list of texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OneOrMany(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_unit<E: de::Error>(self) -> Result<OneOrMany, E> {
                Ok(OneOrMany::default())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

/// Texts between commas, blanks around them taken off.
pub(crate) fn listed(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Reads a form: the file `image`, and every other field as in JSON. Lists are JSON or stand between commas.
pub(crate) async fn from_form<T: de::DeserializeOwned>(app: &App, request: Request) -> Answer<(T, Option<Bytes>)> {
    let (fields, image) = read_form(app, request).await?;
    let value = |(name, text): (String, String)| form_value(&name, &text).map(|value| (name, value));
    let fields = fields.into_iter().map(value).collect::<Answer<Map<String, Value>>>()?;
    Ok((extract::from_value(Value::Object(fields))?, image))
}

/// The fields of a form that are not blank, and its file `image`.
pub(crate) async fn read_form(app: &App, request: Request) -> Answer<(Vec<(String, String)>, Option<Bytes>)> {
    let image_bytes_max = app.config.image_bytes_max;
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| Problem::bad_request("invalid_form", error.body_text()))?;
    let mut fields = Vec::new();
    let mut image = None;
    while let Some(mut field) = form.next_field().await.map_err(|error| body_problem(&error, image_bytes_max))? {
        let name = field.name().unwrap_or_default().to_owned();
        let bytes_max = if name == "image" { image_bytes_max } else { app.config.body_bytes_max };
        let mut bytes = Vec::new();
        while let Some(piece) = field.chunk().await.map_err(|error| body_problem(&error, bytes_max))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > bytes_max {
                return Err(Problem::too_large(bytes_max));
            }
        }
        if name == "image" {
            // What a browser sends where no file was chosen is empty.
            image = Some(Bytes::from(bytes)).filter(|bytes| !bytes.is_empty()).or(image);
            continue;
        }
        if fields.len() == FORM_FIELDS_MAX {
            return Err(Problem::bad_request("invalid_form", format!("at most {FORM_FIELDS_MAX} fields are taken")));
        }
        let text = String::from_utf8(bytes).map_err(|_| Problem::field(format!("/{name}"), "invalid_value", "is not UTF-8"))?;
        if !text.trim().is_empty() {
            fields.push((name, text.trim().to_owned()));
        }
    }
    Ok((fields, image))
}

/// A field of a form as it would stand in JSON.
fn form_value(name: &str, text: &str) -> Answer<Value> {
    let is_json = text.starts_with(['{', '[']);
    let number = |text: &str| serde_json::from_str::<serde_json::Number>(text).map_or_else(|_| Value::from(text), Value::Number);
    Ok(match name {
        "filter" if !text.starts_with('{') => Value::from(text),
        "limit" | "offset" => number(text),
        "exact" | "explain" | "include_unavailable" | "objects" => match text {
            "true" | "on" | "1" => Value::Bool(true),
            "false" | "off" | "0" => Value::Bool(false),
            other => Value::from(other),
        },
        "box" | "vector" if !is_json => Value::Array(text.split(',').map(|part| number(part.trim())).collect()),
        "facets" | "sort" | "exclude_ids" if !is_json => Value::from(listed(text)),
        "filter" | "box" | "boxes" | "vector" | "facets" | "sort" | "exclude_ids" | "diversity" | "examples" | "override" => {
            serde_json::from_str(text).map_err(|error| Problem::field(format!("/{name}"), "invalid_value", format!("no JSON: {error}")))?
        }
        _ => Value::from(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_located_by_table() {
        for (json, pointer, code) in [
            (r#"{"txt":"a"}"#, "/txt", "unknown_field"),
            (r#"{"facets":["brand",{"attribute":"price","limt":3}]}"#, "/facets/1/limt", "unknown_field"),
            (r#"{"facets":["brand",{"limit":3}]}"#, "/facets/1", "invalid_value"),
            (r#"{"facets":[7]}"#, "/facets/0", "invalid_value"),
            (r#"{"facets":[{"attribute":"price","ranges":[[0,true]]}]}"#, "/facets/0/ranges/0/1", "invalid_value"),
            (r#"{"facets":[{"attribute":"price","ranges":[["soon",null]]}]}"#, "/facets/0/ranges/0/0", "invalid_value"),
            (r#"{"diversity":{"quotas":{"brand":-1}}}"#, "/diversity/quotas/brand", "invalid_value"),
            (r#"{"examples":{"positive":[1]}}"#, "/examples/positive/0", "invalid_value"),
            (r#"{"examples":{"liked":[]}}"#, "/examples/liked", "unknown_field"),
            (r#"{"box":[0,0,1]}"#, "/box", "invalid_value"),
            (r#"{"limit":-1}"#, "/limit", "invalid_value"),
            (r#"{"mode":"fuzzy"}"#, "/mode", "invalid_value"),
            (r#"{"sort":[1]}"#, "/sort/0", "invalid_value"),
            (r#"{"vector":["a"]}"#, "/vector/0", "invalid_value"),
            (r#"{"override":{"color":3}}"#, "/override/color", "invalid_value"),
        ] {
            let problem = extract::parse_json::<SearchBody>(json.as_bytes()).expect_err(json);
            assert_eq!((problem.errors[0].pointer.as_str(), problem.code.as_ref()), (pointer, code), "{json} {problem:?}");
        }
    }

    #[test]
    fn forms_are_read_as_json_is() {
        for (name, text, expected) in [
            ("text", "5", r#""5""#),
            ("limit", "5", "5"),
            ("limit", "five", r#""five""#),
            ("box", "0.1, 0.2,0.3,0.4", "[0.1,0.2,0.3,0.4]"),
            ("box", "[0.1,0.2,0.3,0.4]", "[0.1,0.2,0.3,0.4]"),
            ("facets", "brand, color", r#"["brand","color"]"#),
            ("facets", r#"[{"attribute":"a"}]"#, r#"[{"attribute":"a"}]"#),
            ("filter", "brand = A", r#""brand = A""#),
            ("filter", r#"{"must":[]}"#, r#"{"must":[]}"#),
            ("exact", "on", "true"),
            ("explain", "maybe", r#""maybe""#),
            ("sort", "-price,title", r#"["-price","title"]"#),
            ("diversity", r#"{"strength":0.5}"#, r#"{"strength":0.5}"#),
        ] {
            let expected: Value = serde_json::from_str(expected).expect("json");
            assert_eq!(form_value(name, text).expect("a value"), expected, "{name}: {text}");
        }
        assert_eq!(form_value("override", "red").expect_err("no JSON").errors[0].pointer, "/override");
    }
}
