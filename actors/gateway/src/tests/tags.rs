//! Tags over HTTP and in the console, with a made-up Nightwing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::ProductId;
use http::{StatusCode, header};
use kit::Context;
use protocol::tags::{
    AttributeAgreement, AttributeReport, Colour, Correction, LessonReport, NamedColour, ObjectTags, PictureTags, ProductTags, Refusal,
    Review, ReviewItem, Tag, TagAgreement, TagError, TagProgress, TagSource, Tagger, Tagging, Verdict, VocabularyReport,
};
use protocol::vision::{Crop, PictureQuery, VisionError};
use serde_json::json;

use super::fakes::{World, lock, product};
use super::{Stage, form, request, text};
use crate::config::Config;

/// Every product is red, and perhaps striped; corrections are kept.
#[derive(Default)]
pub(super) struct Shop(Mutex<BTreeMap<String, Vec<Correction>>>);

fn tag(attribute: &str, value: &str, confidence: f32) -> Tag {
    Tag {
        attribute: attribute.into(),
        value: value.into(),
        source: TagSource::Learned,
        confidence,
        threshold: Some(0.75),
        is_fact: confidence >= 0.75,
        evidence: vec!["2".parse().expect("an id")],
    }
}

fn found() -> Vec<Tag> {
    vec![tag("colour", "red", 0.875), tag("pattern", "striped", 0.5)]
}

fn object(x: f32) -> ObjectTags {
    ObjectTags {
        region: Crop { x, y: 0.25, width: 0.5, height: 0.5 },
        score: 0.75,
        tags: found(),
        colours: vec![Colour { srgb: [255, 0, 16], share: 0.5 }],
        colour_names: vec![NamedColour { name: "red".into(), share: 0.5 }],
    }
}

impl Tagger for Shop {
    fn product(&self, product: &str) -> Option<ProductTags> {
        let corrections = lock(&self.0).get(product).cloned().unwrap_or_default();
        let mut tags = found();
        tags.retain(|tag| corrections.iter().all(|said| said.attribute != tag.attribute));
        for said in &corrections {
            tags.extend(said.value.iter().map(|value| Tag {
                source: TagSource::Human,
                threshold: None,
                is_fact: true,
                evidence: Vec::new(),
                ..tag(&said.attribute, value, 1.0)
            }));
        }
        let ObjectTags { colours, colour_names, .. } = object(0.0);
        (product != "2").then(|| ProductTags { model_version: "v1".into(), tags, colours, colour_names, corrections })
    }

    fn vocabulary(&self) -> VocabularyReport {
        let lesson = LessonReport {
            rows: 1_200,
            classes: 2,
            threshold: 0.75,
            accuracy: 0.875,
            coverage: 0.5,
            precision: 0.955,
            calibration_error: 0.02,
        };
        let attribute = |name: &str, lesson| AttributeReport {
            name: name.into(),
            title: name.to_uppercase(),
            is_open: false,
            measured: None,
            taught_by: vec!["color".into()],
            values: vec!["red".into(), "blue".into()],
            lesson,
        };
        VocabularyReport {
            model_version: "v1".into(),
            taught_at_ms: Some(1_700_000_000_000),
            rows: 1_200,
            attributes: vec![attribute("colour", Some(lesson)), attribute("pattern", None)],
        }
    }

    fn review(&self, attribute: Option<&str>, offset: usize, limit: usize) -> Review {
        let said = lock(&self.0);
        let open = |id: &&str| said.get(*id).is_none_or(|said| said.iter().all(|one| one.attribute != "pattern"));
        let is_asked = attribute.is_none_or(|name| name == "pattern");
        let all: Vec<&str> = ["1", "3"].into_iter().filter(open).filter(|_| is_asked).collect();
        let items = all.iter().skip(offset).take(limit);
        let items = items.map(|id| ReviewItem { product: id.parse().expect("an id"), tag: tag("pattern", "striped", 0.5) }).collect();
        Review { items, has_more: all.len() > offset + limit }
    }

    fn progress(&self) -> TagProgress {
        TagProgress {
            products: 3,
            tagged: 2,
            measured: 3,
            failed: 1,
            corrections: lock(&self.0).values().map(Vec::len).sum::<usize>() as u64,
        }
    }

    fn correct<'a>(
        &'a self,
        product: &'a ProductId,
        verdicts: Vec<(String, Verdict)>,
        by: String,
    ) -> Tagging<'a, Result<ProductTags, TagError>> {
        Box::pin(async move {
            if product.as_str() == "gone" {
                return Err(TagError::UnknownProduct);
            }
            if verdicts.is_empty() {
                return Err(TagError::Count(0));
            }
            let refused = verdicts.iter().filter(|(name, _)| name != "colour" && name != "pattern").map(|(name, _)| Refusal {
                attribute: name.clone(),
                code: "unknown_attribute",
                detail: "there is no such attribute; near are: colour".into(),
            });
            let refused: Vec<Refusal> = refused.collect();
            if !refused.is_empty() {
                return Err(TagError::Refused(refused));
            }
            let mut all = lock(&self.0);
            let own = all.entry(product.to_string()).or_default();
            for (attribute, verdict) in verdicts {
                own.retain(|said| said.attribute != attribute);
                let value = match verdict {
                    Verdict::Is(value) => Some(value),
                    Verdict::HasNone => None,
                    Verdict::Withdrawn => continue,
                };
                own.push(Correction { attribute, value, by: by.clone(), at_ms: 1_700_000_000_000 });
            }
            drop(all);
            Ok(self.product(product.as_str()).unwrap_or_default())
        })
    }

    fn agreement(&self) -> Option<Arc<TagAgreement>> {
        let attribute = AttributeAgreement {
            attribute: "colour".into(),
            live_facts: 30,
            shadow_facts: 40,
            both_facts: 20,
            same_facts: 15,
            both_guesses: 50,
            same_guesses: 25,
        };
        let silent = AttributeAgreement { attribute: "heel".into(), ..AttributeAgreement::default() };
        let (release, compared_with) = ("tagged".to_owned(), "first".to_owned());
        let attributes = vec![attribute, silent];
        Some(Arc::new(TagAgreement {
            release,
            fingerprint: String::new(),
            compared_with,
            at_ms: 1_700_000_000_000,
            products: 50,
            attributes,
        }))
    }

    fn keep_vocabulary(&self, own: String) -> Tagging<'_, Result<String, TagError>> {
        Box::pin(async move {
            if own.contains("nonsense") {
                Err(TagError::Vocabulary("vocabulary:1: nonsense".into()))
            } else {
                Ok(format!("of{}", own.len()))
            }
        })
    }

    fn picture<'a>(&'a self, _: &'a Context, picture: PictureQuery, each: bool) -> Tagging<'a, Result<PictureTags, VisionError>> {
        Box::pin(async move {
            let refused = |code, detail: &str| Err(VisionError::BadPicture { code, detail: detail.into() });
            if picture.bytes.first() != Some(&0xff) {
                return refused("not_a_picture", "these bytes are no picture");
            }
            if picture.crop.is_some_and(|crop| crop.width < 0.01) {
                return refused("crop_too_small", "the box is too small");
            }
            let main = object(picture.crop.map_or(0.25, |crop| crop.x));
            let objects = if each { vec![object(0.0), object(0.5)] } else { Vec::new() };
            let found = [0.0, 0.5].map(|x| (Crop { x, y: 0.25, width: 0.5, height: 0.5 }, 0.75)).to_vec();
            Ok(PictureTags { model_version: "v1".into(), main, found, objects })
        })
    }
}

async fn stage() -> Stage {
    Stage::new(Config::default(), World::new([product("1", "Shirt"), product("2", "Lamp"), product("3", "Shoe")])).await
}

#[tokio::test]
async fn facts_and_suggestions_stand_apart() {
    let stage = stage().await;
    let (status, body) = stage.get("/v1/products/1/tags").await;
    assert_eq!(status, 200);
    let expected = json!({
        "product_id": "1", "model_version": "v1",
        "facts": [{"attribute": "colour", "value": "red", "source": "learned", "confidence": 0.875, "threshold": 0.75, "evidence": ["2"]}],
        "suggestions": [{"attribute": "pattern", "value": "striped", "source": "learned", "confidence": 0.5, "threshold": 0.75, "evidence": ["2"]}],
        "colours": [{"hex": "#ff0010", "share": 0.5}], "colour_names": [{"name": "red", "share": 0.5}], "corrections": [],
    });
    assert_eq!(body, expected);
    let (status, body) = stage.get("/v1/products/2/tags").await;
    assert_eq!(
        (status, body["model_version"].as_str(), body["facts"].as_array().map(Vec::len)),
        (StatusCode::OK, Some(""), Some(0)),
        "not tagged yet"
    );
    assert_eq!(stage.get("/v1/products/gone/tags").await.0, 404);
    stage.scene.end().await;
}

#[tokio::test]
async fn corrections_are_taken_told_and_taken_back() {
    let stage = stage().await;
    let (status, body) = stage.ask("PUT", "/v1/products/1/tags?by=ann", Some(r#"{"pattern":"plain","colour":null}"#)).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["facts"][0]["source"], "human");
    assert_eq!(body["facts"][0].get("threshold"), None);
    let said = &body["corrections"];
    assert_eq!(said[0], json!({"attribute": "colour", "value": null, "by": "ann", "at": "2023-11-14T22:13:20Z"}));
    let (status, body) = stage.ask("DELETE", "/v1/products/1/tags?attribute=colour", None).await;
    assert_eq!((status, body["corrections"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)));
    let (_, body) = stage.ask("DELETE", "/v1/products/1/tags", None).await;
    assert_eq!(body["corrections"], json!([]));
    assert_eq!(stage.ask("DELETE", "/v1/products/1/tags", None).await.0, 200, "there is nothing to take back");
    for (method, path, body, status, pointer, code) in [
        ("PUT", "/v1/products/1/tags", Some(r#"{"colur":"red"}"#), 422, "/colur", "unknown_attribute"),
        ("PUT", "/v1/products/1/tags", Some("{}"), 422, "", "out_of_range"),
        ("PUT", "/v1/products/1/tags", Some(r#"{"colour":7}"#), 422, "/colour", "invalid_value"),
        ("PUT", "/v1/products/1/tags?by=", Some(r#"{"colour":"red"}"#), 422, "?by", "invalid_value"),
        ("PUT", "/v1/products/1/tags?who=ann", Some(r#"{"colour":"red"}"#), 400, "?who", "unknown_field"),
    ] {
        let (got, problem) = stage.ask(method, path, body).await;
        let error = &problem["errors"][0];
        assert_eq!(
            (got.as_u16(), error["pointer"].as_str(), error["code"].as_str()),
            (status, Some(pointer), Some(code)),
            "{path} {problem}"
        );
    }
    assert_eq!(stage.ask("PUT", "/v1/products/gone/tags", Some(r#"{"colour":"red"}"#)).await.0, 404);
    stage.scene.end().await;
}

#[tokio::test]
async fn a_picture_is_tagged_in_every_form() {
    let stage = stage().await;
    let picture = STANDARD.encode([0xff, 1, 2]);
    let (status, body) = stage.ask("POST", "/v1/tags", Some(&format!(r#"{{"image":"{picture}"}}"#))).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!((body["main"]["box"].clone(), body["found"].as_array().map(Vec::len)), (json!([0.25, 0.25, 0.5, 0.5]), Some(2)));
    assert_eq!((body["main"]["facts"][0]["value"].as_str(), body.get("objects")), (Some("red"), None));
    let (media, form_body) = form("image", &[0xff, 9], &[("objects", "true"), ("box", "0.5,0.25,0.5,0.5")]);
    let response = stage.send(request("POST", "/v1/tags", &media, form_body)).await;
    assert_eq!(response.status(), 200);
    let body: serde_json::Value = serde_json::from_slice(&super::bytes(response).await).expect("json");
    assert_eq!((body["main"]["box"][0].as_f64(), body["objects"].as_array().map(Vec::len)), (Some(0.5), Some(2)));
    for (json, status, pointer, code) in [
        ("{}", 422, "/image", "missing"),
        (r#"{"image":"?"}"#, 422, "/image", "invalid_base64"),
        (r#"{"image":"AAAA"}"#, 422, "/image", "not_a_picture"),
        (r#"{"image":"/wEC","box":[0,0,2,1]}"#, 422, "/box", "invalid_box"),
        (r#"{"image":"/wEC","box":[0,0,0.001,1]}"#, 422, "/box", "crop_too_small"),
        (r#"{"image":"/wEC","boxes":[]}"#, 400, "/boxes", "unknown_field"),
    ] {
        let (got, problem) = stage.ask("POST", "/v1/tags", Some(json)).await;
        let error = &problem["errors"][0];
        assert_eq!(
            (got.as_u16(), error["pointer"].as_str(), error["code"].as_str()),
            (status, Some(pointer), Some(code)),
            "{json} {problem}"
        );
    }
    assert_eq!(stage.send(request("POST", "/v1/tags", "text/plain", "x")).await.status(), 415);
    stage.scene.end().await;
}

#[tokio::test]
async fn the_vocabulary_says_how_well_it_is_known_and_what_to_look_at() {
    let stage = stage().await;
    let (status, body) = stage.get("/v1/vocabulary").await;
    assert_eq!((status, body["rows"].as_u64(), body["progress"]["tagged"].as_u64()), (StatusCode::OK, Some(1200), Some(2)));
    assert_eq!(body["attributes"][0]["lesson"]["precision"], 0.955);
    assert_eq!(body["attributes"][1].get("lesson"), None);
    let (_, body) = stage.get("/v1/tags/review?attribute=pattern&limit=1").await;
    assert_eq!((body["items"][0]["title"].as_str(), body["next"].as_u64()), (Some("Shirt"), Some(1)));
    let (_, body) = stage.get("/v1/tags/review?attribute=pattern&limit=1&offset=1").await;
    assert_eq!((body["items"][0]["product_id"].as_str(), body.get("next")), (Some("3"), None));
    assert_eq!(stage.get("/v1/tags/review?limit=0").await.0, 422);
    stage.scene.end().await;
}

#[tokio::test]
async fn the_console_reviews_corrects_and_tries_out() {
    let stage = stage().await;
    let page = async |path: &str| text(stage.send(request("GET", path, "", "")).await).await;
    let list = page("/console/tags").await;
    for part in
        ["To confirm or correct", "It is striped", "Shirt", "Shoe", "95.5 %", "/v1/products/2/image?index=0", "no labels to learn from"]
    {
        assert!(list.contains(part), "{part} {list}");
    }
    assert!(page("/console").await.contains("/console/tags"));
    let judge = async |fields: &[(&str, &str)]| {
        let (media, body) = form("unused", b"", fields);
        stage.send(request("POST", "/console/tags/judge", &media, body)).await
    };
    let fields = [("product", "1"), ("attribute", "pattern"), ("suggested", "striped"), ("back", "pattern")];
    let answer = judge(&[&fields[..], &[("verdict", "confirm")]].concat()).await;
    assert_eq!(
        (answer.status(), answer.headers()[header::LOCATION].to_str().ok()),
        (StatusCode::SEE_OTHER, Some("/console/tags?attribute=pattern"))
    );
    let (_, body) = stage.get("/v1/products/1/tags").await;
    assert_eq!((body["corrections"][0]["value"].as_str(), body["corrections"][0]["by"].as_str()), (Some("striped"), Some("console")));
    assert!(!page("/console/tags?attribute=pattern").await.contains("Shirt"), "it has been judged");
    for (verdict, more, status) in
        [("correct", ("value", "plain"), 303), ("none", ("value", ""), 303), ("correct", ("value", ""), 422), ("?", ("value", ""), 422)]
    {
        assert_eq!(judge(&[&fields[..], &[("verdict", verdict), more]].concat()).await.status(), status, "{verdict} {more:?}");
    }
    let (media, body) = form("image", &[0xff, 9], &[]);
    let tried = text(stage.send(request("POST", "/console/tags", &media, body)).await).await;
    assert!(tried.contains("Object 2") && tried.contains("<strong>red</strong>") && tried.contains("striped?"), "{tried}");
    let (media, body) = form("image", b"no picture", &[]);
    assert!(text(stage.send(request("POST", "/console/tags", &media, body)).await).await.contains("these bytes are no picture"));
    stage.scene.end().await;
}
