//! A search as the house understands it: every field checked against its bound, every mistake with a pointer to it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::event::NAME_CHARS_MAX;
use domain::{FacetRequest, Filter, FilterError, ProductId, Shopper, SortKey};
use protocol::search::{Diversity, FACETS_MAX, HITS_MAX, SORT_KEYS_MAX};
use protocol::vision::Crop;
use serde_json::Value;

use super::body::{ExamplesBody, FacetItem, LookBody, Mode, OneOrMany, SearchBody, listed};
use crate::problem::{Answer, Problem};
use crate::routes::App;

const LIMIT_DEFAULT: usize = 20;
/// Boxes of one picture.
const BOXES_MAX: usize = 8;
/// A query that goes on for longer is no query.
const TEXT_CHARS_MAX: usize = 1_000;
const EXCLUDE_IDS_MAX: usize = 1_000;
/// Liked examples, and as many disliked ones.
const EXAMPLES_MAX: usize = 50;
/// Attributes, and values of one, that are asked for in place of a product's own.
const OVERRIDES_MAX: usize = 8;
const OVERRIDE_VALUES_MAX: usize = 100;
const FACET_VALUES_DEFAULT: usize = 20;
const FACET_VALUES_MAX: usize = 1_000;
const FACET_RANGES_MAX: usize = 100;
const QUOTAS_MAX: usize = 8;
const BOOST_BYTES_MAX: usize = 2_000;
/// RFC 5646, 4.4.1.
const LANGUAGE_BYTES_MAX: usize = 35;
/// Of an attribute.
const NAME_BYTES_MAX: usize = domain::filter::FILTER_VALUE_BYTES_MAX;

/// A search as the handlers and pages ask for it.
#[derive(Clone, Default)]
pub(crate) struct Ask {
    pub text: Option<String>,
    pub mode: Mode,
    pub language: Option<String>,
    pub image: Option<Bytes>,
    pub crop: Option<Crop>,
    pub product: Option<ProductId>,
    pub vector: Option<Arc<[f32]>>,
    pub colour: Option<[u8; 3]>,
    pub positive: Vec<ProductId>,
    pub negative: Vec<ProductId>,
    pub overrides: Vec<(String, Vec<String>)>,
    pub filter: Option<Filter>,
    pub facets: Vec<FacetRequest>,
    pub sort: Vec<SortKey>,
    pub boost: Option<String>,
    pub group_by: Option<String>,
    pub diversity: Option<Diversity>,
    pub is_exact: bool,
    pub explain: bool,
    pub explain_missing: Option<ProductId>,
    pub exclude: Vec<ProductId>,
    pub include_unavailable: bool,
    pub limit: Option<usize>,
    pub offset: usize,
    pub shopper: Option<Shopper>,
    pub session: Option<String>,
}

impl Ask {
    /// Checks everything but what depends on the configuration; a picture from a form stands in for one in the body.
    pub(crate) fn of(body: SearchBody, image: Option<Bytes>) -> Answer<Self> {
        let (positive, negative) = examples(&body.examples)?;
        let image = image.map_or_else(|| body.image.as_deref().map(picture).transpose(), |image| Ok(Some(image)))?;
        let ask = Self {
            text: body.text.map(words).transpose()?,
            mode: body.mode,
            language: body.language.map(|language| bounded(language, "/language", LANGUAGE_BYTES_MAX)).transpose()?,
            image,
            crop: body.crop.map(|edges| crop(edges, "/box")).transpose()?,
            product: body.product_id.map(|id| product_id(&id, "/product_id")).transpose()?,
            vector: body.vector.map(Arc::from),
            colour: body.color.as_deref().map(|text| colour(text, "/color")).transpose()?,
            positive,
            negative,
            overrides: overrides(body.overrides)?,
            filter: body.filter.as_ref().map(filter).transpose()?,
            facets: facets(body.facets, body.group_by.as_deref())?,
            sort: sort(&body.sort)?,
            boost: body.boost.map(|boost| bounded(boost, "/boost", BOOST_BYTES_MAX)).transpose()?,
            group_by: body.group_by.map(|name| bounded(name, "/group_by", NAME_BYTES_MAX)).transpose()?,
            diversity: body.diversity.map(|body| diversity(body.strength, body.quotas)).transpose()?,
            is_exact: body.exact,
            explain: body.explain,
            explain_missing: body.explain_missing.map(|id| product_id(&id, "/explain_missing")).transpose()?,
            exclude: ids(&body.exclude_ids, "/exclude_ids", EXCLUDE_IDS_MAX)?,
            include_unavailable: body.include_unavailable,
            limit: body.limit,
            offset: body.offset,
            shopper: None,
            session: None,
        };
        let name = |text: Option<String>, pointer: &str| text.map(|text| bounded(text, pointer, NAME_CHARS_MAX)).transpose();
        let (user, visitor) = (name(body.user_id, "/user_id")?, name(body.visitor_id, "/visitor_id")?);
        let session = name(body.session_id, "/session_id")?;
        let ask = Self { shopper: Shopper::of(user.as_deref(), visitor.as_deref(), session.as_deref()), session, ..ask };
        if ask.crop.is_some() && ask.image.is_none() {
            return Err(Problem::field("/box", "needs_image", "a box is a part of an `image`"));
        }
        if !ask.overrides.is_empty() && ask.product.is_none() && ask.image.is_none() && ask.vector.is_none() {
            return Err(Problem::field("/override", "needs_likeness", "give a product_id, an image or a vector to be like"));
        }
        if !ask.negative.is_empty() && ask.positive.is_empty() && !ask.has_query() {
            return Err(Problem::field("/examples/positive", "missing", "unlike something is no direction: give something to be like"));
        }
        Ok(ask)
    }

    /// Several boxes of one picture.
    pub(crate) fn of_look(body: LookBody, image: Option<Bytes>) -> Answer<(Self, Vec<Crop>)> {
        let (boxes, body) = body.apart();
        let ask = Self::of(body, image)?;
        if ask.image.is_none() {
            return Err(Problem::field("/image", "missing", "give a picture"));
        }
        if boxes.is_empty() || boxes.len() > BOXES_MAX {
            return Err(Problem::field("/boxes", "out_of_range", format!("must be 1 to {BOXES_MAX} boxes")));
        }
        let crops = boxes.into_iter().enumerate().map(|(index, edges)| crop(edges, &format!("/boxes/{index}")));
        Ok((ask, crops.collect::<Answer<_>>()?))
    }

    /// Whether anything but examples is asked with; without any query this is browsing.
    fn has_query(&self) -> bool {
        self.text.is_some() || self.image.is_some() || self.product.is_some() || self.vector.is_some() || self.colour.is_some()
    }

    pub(crate) fn is_browsing(&self) -> bool {
        !self.has_query() && self.positive.is_empty()
    }

    pub(crate) fn limit(&self, app: &App) -> usize {
        self.limit.unwrap_or(LIMIT_DEFAULT.min(app.config.limit_max))
    }

    /// The bounds that the configuration sets, and how far down a ranking goes.
    pub(crate) fn check(&self, app: &App) -> Answer<()> {
        if self.image.as_ref().is_some_and(|image| image.len() as u64 > app.config.image_bytes_max) {
            return Err(Problem::too_large(app.config.image_bytes_max));
        }
        let limit = self.limit(app);
        if limit == 0 || limit > app.config.limit_max {
            return Err(Problem::field("/limit", "out_of_range", format!("must be between 1 and {}", app.config.limit_max)));
        }
        if self.offset.saturating_add(limit) > HITS_MAX {
            return Err(Problem::field("/offset", "out_of_range", format!("offset and limit together reach at most {HITS_MAX}")));
        }
        Ok(())
    }
}

fn words(text: String) -> Answer<String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Problem::field("/text", "empty", "must not be empty"));
    }
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(Problem::field("/text", "too_long", format!("at most {TEXT_CHARS_MAX} characters")));
    }
    Ok(text.to_owned())
}

/// A picture in JSON; a data URL is what a page has at hand.
pub(crate) fn picture(text: &str) -> Answer<Bytes> {
    let base64 = text.split_once(";base64,").map_or(text, |(_, data)| data);
    STANDARD.decode(base64).map(Bytes::from).map_err(|_| Problem::field("/image", "invalid_base64", "must be base64"))
}

/// Left, top, width, height in shares of the picture. Whether it shows enough pixels is for Nightwing to say.
pub(crate) fn crop([x, y, width, height]: [f32; 4], pointer: &str) -> Answer<Crop> {
    let edges = [x, y, width, height, x + width, y + height];
    if edges.iter().all(|edge| (0.0..=1.001).contains(edge)) && width > 0.0 && height > 0.0 {
        Ok(Crop { x, y, width, height })
    } else {
        let detail = "must be [left, top, width, height] within the picture, in shares (0 to 1) of its width and height";
        Err(Problem::field(pointer, "invalid_box", detail))
    }
}

pub(crate) fn product_id(text: &str, pointer: &str) -> Answer<ProductId> {
    text.parse().map_err(|error: domain::IdError| Problem::field(pointer, "invalid_id", error.to_string()))
}

/// A name within a JSON pointer (RFC 6901).
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

pub(crate) fn ids(texts: &[String], pointer: &str, count_max: usize) -> Answer<Vec<ProductId>> {
    if texts.len() > count_max {
        return Err(Problem::field(pointer, "too_many", format!("at most {count_max}")));
    }
    texts.iter().enumerate().map(|(index, id)| product_id(id, &format!("{pointer}/{index}"))).collect()
}

fn examples(body: &ExamplesBody) -> Answer<(Vec<ProductId>, Vec<ProductId>)> {
    Ok((ids(&body.positive, "/examples/positive", EXAMPLES_MAX)?, ids(&body.negative, "/examples/negative", EXAMPLES_MAX)?))
}

/// `#rrggbb`.
fn colour(text: &str, pointer: &str) -> Answer<[u8; 3]> {
    let digits = text.trim().strip_prefix('#').filter(|digits| digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let number = number.ok_or_else(|| Problem::field(pointer, "invalid_color", "must be #rrggbb"))?;
    let [_, red, green, blue] = number.to_be_bytes();
    Ok([red, green, blue])
}

fn bounded(text: String, pointer: &str, bytes_max: usize) -> Answer<String> {
    match text.trim() {
        "" => Err(Problem::field(pointer, "empty", "must not be empty")),
        text if text.len() > bytes_max => Err(Problem::field(pointer, "too_long", format!("at most {bytes_max} bytes"))),
        text => Ok(text.to_owned()),
    }
}

/// Either form; a mistake in the JSON form is located within it.
pub(crate) fn filter(json: &Value) -> Answer<Filter> {
    Filter::from_json(json).map_err(|error| match &error {
        FilterError::Json { pointer, detail } => Problem::field(format!("/filter{pointer}"), "invalid_filter", detail.clone()),
        FilterError::Bound(_) => Problem::field("/filter", "filter_too_large", error.to_string()),
        _ => Problem::field("/filter", "invalid_filter", error.to_string()),
    })
}

fn overrides(body: impl IntoIterator<Item = (String, OneOrMany)>) -> Answer<Vec<(String, Vec<String>)>> {
    let mut overrides = Vec::new();
    for (attribute, OneOrMany(values)) in body {
        let pointer = format!("/override/{}", escaped(&attribute));
        if overrides.len() == OVERRIDES_MAX {
            return Err(Problem::field("/override", "too_many", format!("at most {OVERRIDES_MAX} attributes")));
        }
        if values.len() > OVERRIDE_VALUES_MAX {
            return Err(Problem::field(pointer, "too_many", format!("at most {OVERRIDE_VALUES_MAX} values")));
        }
        if attribute.trim().is_empty() || values.is_empty() || values.iter().any(|value| value.trim().is_empty()) {
            return Err(Problem::field(pointer, "empty", "must name an attribute and a value"));
        }
        overrides.push((attribute, values));
    }
    Ok(overrides)
}

fn facets(items: Vec<FacetItem>, group_by: Option<&str>) -> Answer<Vec<FacetRequest>> {
    if items.len() > FACETS_MAX {
        return Err(Problem::field("/facets", "too_many", format!("at most {FACETS_MAX}")));
    }
    let request = |(index, FacetItem(body)): (usize, FacetItem)| {
        let at = |name: &str| format!("/facets/{index}{name}");
        let limit = body.limit.unwrap_or(FACET_VALUES_DEFAULT);
        if limit > FACET_VALUES_MAX {
            return Err(Problem::field(at("/limit"), "out_of_range", format!("at most {FACET_VALUES_MAX}")));
        }
        if body.ranges.len().max(body.auto_ranges) > FACET_RANGES_MAX {
            let name = if body.ranges.len() > FACET_RANGES_MAX { "/ranges" } else { "/auto_ranges" };
            return Err(Problem::field(at(name), "too_many", format!("at most {FACET_RANGES_MAX} ranges")));
        }
        Ok(FacetRequest {
            attribute: bounded(body.attribute, &at(""), NAME_BYTES_MAX)?,
            limit,
            ranges: body.ranges.into_iter().map(|[from, to]| (from.bound(true), to.bound(false))).collect(),
            auto_ranges: body.auto_ranges,
            group_by: group_by.map(str::to_owned),
        })
    };
    items.into_iter().enumerate().map(request).collect()
}

/// `price`, `-price`, a list of them, or a text that lists them between commas; `relevance` is where sorting ends.
fn sort(OneOrMany(keys): &OneOrMany) -> Answer<Vec<SortKey>> {
    let keys: Vec<String> = if let [text] = keys.as_slice() { listed(text) } else { keys.clone() };
    let keys: Vec<&String> = keys.iter().take_while(|key| key.trim() != "relevance").collect();
    if keys.len() > SORT_KEYS_MAX {
        return Err(Problem::field("/sort", "too_many", format!("at most {SORT_KEYS_MAX} keys")));
    }
    let key = |(index, key): (usize, &String)| {
        let is_descending = key.trim().starts_with('-');
        let name = key.trim().trim_start_matches('-').to_owned();
        Ok(SortKey { attribute: bounded(name, &format!("/sort/{index}"), NAME_BYTES_MAX)?, is_descending })
    };
    keys.into_iter().enumerate().map(key).collect()
}

fn diversity(strength: f32, quotas: impl IntoIterator<Item = (String, usize)>) -> Answer<Diversity> {
    if !(0.0..=1.0).contains(&strength) {
        return Err(Problem::field("/diversity/strength", "out_of_range", "must be between 0 and 1"));
    }
    let quotas: Vec<(String, usize)> = quotas.into_iter().collect();
    if quotas.len() > QUOTAS_MAX {
        return Err(Problem::field("/diversity/quotas", "too_many", format!("at most {QUOTAS_MAX}")));
    }
    if let Some((attribute, _)) = quotas.iter().find(|(attribute, count)| *count == 0 || attribute.trim().is_empty()) {
        let pointer = format!("/diversity/quotas/{}", escaped(attribute));
        return Err(Problem::field(pointer, "out_of_range", "must name an attribute and be at least 1"));
    }
    Ok(Diversity { strength, quotas })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer_and_code(json: &str) -> (String, String) {
        let body = crate::extract::parse_json::<SearchBody>(json.as_bytes()).expect("a body");
        match Ask::of(body, None) {
            Ok(_) => ("taken".to_owned(), String::new()),
            Err(problem) => (problem.errors[0].pointer.clone(), problem.code.to_string()),
        }
    }

    #[test]
    fn each_field_by_table() {
        let ids = |count: usize| serde_json::to_string(&vec!["p"; count]).expect("json");
        let cases = [
            (r#"{}"#.to_owned(), "taken", ""),
            (r#"{"text":" shoe "}"#.into(), "taken", ""),
            (r#"{"text":" "}"#.into(), "/text", "empty"),
            (format!(r#"{{"text":"{}"}}"#, "x".repeat(TEXT_CHARS_MAX + 1)), "/text", "too_long"),
            (r#"{"language":"cs"}"#.into(), "taken", ""),
            (format!(r#"{{"language":"{}"}}"#, "x".repeat(LANGUAGE_BYTES_MAX + 1)), "/language", "too_long"),
            (r#"{"image":"/9g=","box":[0,0,1,1]}"#.into(), "taken", ""),
            (r#"{"image":"%"}"#.into(), "/image", "invalid_base64"),
            (r#"{"box":[0,0,1,1]}"#.into(), "/box", "needs_image"),
            (r#"{"image":"/9g=","box":[0.5,0,0.6,1]}"#.into(), "/box", "invalid_box"),
            (r#"{"image":"/9g=","box":[0,0,0,1]}"#.into(), "/box", "invalid_box"),
            (r#"{"product_id":""}"#.into(), "/product_id", "invalid_id"),
            (r##"{"color":"#FF8000"}"##.into(), "taken", ""),
            (r##"{"color":"#ff80"}"##.into(), "/color", "invalid_color"),
            (r#"{"color":"red"}"#.into(), "/color", "invalid_color"),
            (r#"{"examples":{"positive":["a"],"negative":["b"]}}"#.into(), "taken", ""),
            (r#"{"examples":{"positive":["a","\n"]}}"#.into(), "/examples/positive/1", "invalid_id"),
            (r#"{"examples":{"negative":["b"]}}"#.into(), "/examples/positive", "missing"),
            (r#"{"examples":{"negative":["b"]},"text":"shoe"}"#.into(), "taken", ""),
            (format!(r#"{{"examples":{{"positive":{}}}}}"#, ids(EXAMPLES_MAX + 1)), "/examples/positive", "too_many"),
            (r#"{"product_id":"a","override":{"color":"red"}}"#.into(), "taken", ""),
            (r#"{"text":"a","override":{"color":"red"}}"#.into(), "/override", "needs_likeness"),
            (r#"{"product_id":"a","override":{"a/b":[]}}"#.into(), "/override/a~1b", "empty"),
            (r#"{"filter":"brand = A AND price 1 TO 2"}"#.into(), "taken", ""),
            (r#"{"filter":{"must":["brand = A"]}}"#.into(), "taken", ""),
            (r#"{"filter":"brand ="}"#.into(), "/filter", "invalid_filter"),
            (r#"{"filter":{"must":[{"attribute":"a","inn":[]}]}}"#.into(), "/filter/must/0/inn", "invalid_filter"),
            (format!(r#"{{"filter":{}}}"#, r#"{"must":["#.repeat(40) + &"]}".repeat(40)), "/filter", "filter_too_large"),
            (r#"{"facets":["brand",{"attribute":"price","ranges":[[null,10],[10,"2024-01-31"]]}]}"#.into(), "taken", ""),
            (r#"{"facets":[" "]}"#.into(), "/facets/0", "empty"),
            (r#"{"facets":[{"attribute":"brand","limit":5000}]}"#.into(), "/facets/0/limit", "out_of_range"),
            (r#"{"facets":[{"attribute":"price","auto_ranges":500}]}"#.into(), "/facets/0/auto_ranges", "too_many"),
            (format!(r#"{{"facets":{}}}"#, ids(FACETS_MAX + 1)), "/facets", "too_many"),
            (r#"{"sort":"-price"}"#.into(), "taken", ""),
            (r#"{"sort":["price","-"]}"#.into(), "/sort/1", "empty"),
            (format!(r#"{{"sort":{}}}"#, ids(SORT_KEYS_MAX + 1)), "/sort", "too_many"),
            (r#"{"boost":"score * 2"}"#.into(), "taken", ""),
            (r#"{"boost":""}"#.into(), "/boost", "empty"),
            (format!(r#"{{"boost":"{}"}}"#, "x".repeat(BOOST_BYTES_MAX + 1)), "/boost", "too_long"),
            (r#"{"group_by":"group_id"}"#.into(), "taken", ""),
            (r#"{"group_by":""}"#.into(), "/group_by", "empty"),
            (r#"{"diversity":{"strength":0.3,"quotas":{"brand":2}}}"#.into(), "taken", ""),
            (r#"{"diversity":{"strength":1.5}}"#.into(), "/diversity/strength", "out_of_range"),
            (r#"{"diversity":{"quotas":{"brand":0}}}"#.into(), "/diversity/quotas/brand", "out_of_range"),
            (r#"{"explain_missing":"a"}"#.into(), "taken", ""),
            (r#"{"explain_missing":" a"}"#.into(), "/explain_missing", "invalid_id"),
            (r#"{"exclude_ids":["a",""]}"#.into(), "/exclude_ids/1", "invalid_id"),
            (format!(r#"{{"exclude_ids":{}}}"#, ids(EXCLUDE_IDS_MAX + 1)), "/exclude_ids", "too_many"),
        ];
        for (json, pointer, code) in cases {
            assert_eq!(pointer_and_code(&json), (pointer.to_owned(), code.to_owned()), "{json}");
        }
    }

    #[test]
    fn sort_keys_by_table() {
        for (keys, expected) in [
            (vec!["price"], vec![("price", false)]),
            (vec!["-price, title"], vec![("price", true), ("title", false)]),
            (vec!["-price", "title"], vec![("price", true), ("title", false)]),
            (vec!["relevance"], vec![]),
            (vec!["price", "relevance"], vec![("price", false)]),
            (vec![], vec![]),
        ] {
            let sorted = sort(&OneOrMany(keys.iter().map(|key| (*key).to_owned()).collect())).expect("keys");
            let sorted: Vec<_> = sorted.iter().map(|key| (key.attribute.as_str(), key.is_descending)).collect();
            assert_eq!(sorted, expected, "{keys:?}");
        }
    }

    #[test]
    fn a_colour_is_three_bytes() {
        assert_eq!(colour("#ff8001", "/color").expect("a colour"), [255, 128, 1]);
        assert!(colour("#ff80é", "/color").is_err());
    }
}
