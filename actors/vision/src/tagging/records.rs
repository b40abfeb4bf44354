//! What tagging keeps in the store: what was measured of each picture, the tags of each product, and what people said.

use bincode::{Decode, Encode};
use domain::ContentHash;
use store::Record;

/// First bytes of keys among Nightwing's records; they never change their meaning.
const MEASURED: u8 = 16;
const TAGS: u8 = 17;
const CORRECTIONS: u8 = 18;

/// What was measured of a picture.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct MeasuredPicture {
    /// What measured it: the way of measuring and the palette of names.
    pub(crate) by: [u8; 16],
    /// `None`: the picture kept on this box cannot be read.
    pub(crate) found: Option<KeptMeasurements>,
}

/// Measurements as numbers.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct KeptMeasurements {
    /// Left, top, width, height as shares, and how sure the detector is.
    pub(crate) object: [f32; 5],
    /// The same of every object.
    pub(crate) objects: Vec<[f32; 5]>,
    pub(crate) product_share: f32,
    /// OKLab, sRGB, share.
    pub(crate) colours: Vec<([f32; 3], [u8; 3], f32)>,
    /// Name, share.
    pub(crate) names: Vec<(String, f32)>,
    pub(crate) histogram: Vec<f32>,
    pub(crate) pattern: [f32; 6],
}

impl Record for MeasuredPicture {
    const KIND: u16 = 48;
    const SCHEMA: u16 = 1;
}

impl MeasuredPicture {
    /// By the content of the picture, whatever product shows it.
    pub(crate) fn key(content: ContentHash) -> Vec<u8> {
        key(MEASURED, &content.0)
    }
}

/// A product's tags, without what people said: that is laid over them when they are read.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct KeptTags {
    /// Of everything that they were made from.
    pub(crate) inputs: [u8; 16],
    pub(crate) model_version: String,
    pub(crate) tags: Vec<KeptTag>,
    /// sRGB, share.
    pub(crate) colours: Vec<([u8; 3], f32)>,
    /// Name, share.
    pub(crate) colour_names: Vec<(String, f32)>,
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct KeptTag {
    pub(crate) attribute: String,
    pub(crate) value: String,
    pub(crate) source: u8,
    pub(crate) confidence: f32,
    pub(crate) threshold: Option<f32>,
    pub(crate) is_fact: bool,
    pub(crate) evidence: Vec<String>,
}

impl Record for KeptTags {
    const KIND: u16 = 49;
    const SCHEMA: u16 = 1;
}

impl KeptTags {
    pub(crate) fn key(product: &str) -> Vec<u8> {
        key(TAGS, product.as_bytes())
    }

    /// The first key of all and the first key behind all.
    pub(crate) fn keys() -> (Vec<u8>, Vec<u8>) {
        (vec![TAGS], vec![TAGS + 1])
    }
}

/// What people said of a product.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub(crate) struct KeptCorrections {
    /// The catalog's version when it was last added to: in a catalog of this version or a later one that lacks it, the product was
    /// deleted.
    pub(crate) catalog_version: u64,
    /// In the order of attributes, one each.
    pub(crate) corrections: Vec<KeptCorrection>,
}

/// What a person said of one attribute.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct KeptCorrection {
    pub(crate) attribute: String,
    /// `None`: the product has no such attribute.
    pub(crate) value: Option<String>,
    pub(crate) by: String,
    pub(crate) at_ms: i64,
}

impl Record for KeptCorrections {
    const KIND: u16 = 50;
    const SCHEMA: u16 = 1;
}

impl KeptCorrections {
    pub(crate) fn key(product: &str) -> Vec<u8> {
        key(CORRECTIONS, product.as_bytes())
    }

    /// The first key of all and the first key behind all.
    pub(crate) fn keys() -> (Vec<u8>, Vec<u8>) {
        (vec![CORRECTIONS], vec![CORRECTIONS + 1])
    }
}

/// What stands before the teacher's state in its file.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct TeacherMark {
    /// Fingerprint of the image model.
    pub(crate) model: String,
    /// Fingerprint of the vocabulary.
    pub(crate) vocabulary: String,
    /// Of the rows that it learned from.
    pub(crate) rows_digest: u64,
    pub(crate) rows: u64,
    /// Of people's corrections among them.
    pub(crate) corrections_digest: u64,
    pub(crate) taught_at_ms: i64,
    /// Of the state's bytes.
    pub(crate) state: [u8; 16],
    pub(crate) lessons: Vec<KeptLesson>,
}

/// What was learned of one attribute.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct KeptLesson {
    pub(crate) attribute: String,
    pub(crate) rows: u64,
    pub(crate) classes: u64,
    pub(crate) threshold: f32,
    pub(crate) accuracy: f64,
    pub(crate) coverage: f64,
    pub(crate) precision: f64,
    pub(crate) calibration_error: f64,
}

impl Record for TeacherMark {
    const KIND: u16 = 51;
    const SCHEMA: u16 = 1;
}

impl TeacherMark {
    /// It is in no store: the key belongs to the checksum alone.
    pub(crate) const KEY: &[u8] = b"tags/teacher";
}

fn key(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(rest.len() + 1);
    key.push(first);
    key.extend_from_slice(rest);
    key
}

#[cfg(test)]
mod tests {
    use store::golden;

    use super::*;

    /// What the first release wrote; a change of these bytes needs a new schema.
    #[test]
    fn the_bytes_on_disk_stay() {
        let found = KeptMeasurements {
            object: [0.25, 0.5, 0.5, 0.25, 1.0],
            objects: vec![[0.0, 0.0, 1.0, 1.0, 0.5]],
            product_share: 0.75,
            colours: vec![([0.5, 0.0, -0.25], [1, 2, 3], 1.0)],
            names: vec![("navy blue".into(), 0.5)],
            histogram: vec![0.5, 0.25],
            pattern: [0.0, 0.25, 0.5, 0.75, 1.0, 0.125],
        };
        let key = MeasuredPicture::key(ContentHash([7; 16]));
        assert_eq!(key[..2], [16, 7]);
        let measured = MeasuredPicture { by: [9; 16], found: Some(found) };
        golden::check(&measured, &key, include_bytes!("golden/measured-picture-v1.bin"));

        let tag = KeptTag {
            attribute: "colour".into(),
            value: "navy blue".into(),
            source: 2,
            confidence: 0.5,
            threshold: Some(0.75),
            is_fact: false,
            evidence: vec!["17".into()],
        };
        let tags = KeptTags {
            inputs: [3; 16],
            model_version: "v".into(),
            tags: vec![tag],
            colours: vec![([1, 2, 3], 0.5)],
            colour_names: vec![("black".into(), 0.25)],
        };
        golden::check(&tags, &KeptTags::key("p"), include_bytes!("golden/product-tags-v1.bin"));

        let said = KeptCorrection { attribute: "heel".into(), value: None, by: "ann".into(), at_ms: 258 };
        let corrections = KeptCorrections { catalog_version: 5, corrections: vec![said] };
        golden::check(&corrections, &KeptCorrections::key("p"), include_bytes!("golden/corrections-v1.bin"));

        let lesson = KeptLesson {
            attribute: "colour".into(),
            rows: 3,
            classes: 2,
            threshold: 0.5,
            accuracy: 0.5,
            coverage: 0.25,
            precision: 1.0,
            calibration_error: 0.125,
        };
        let mark = TeacherMark {
            model: "m".into(),
            vocabulary: "w".into(),
            rows_digest: 1,
            rows: 2,
            corrections_digest: 3,
            taught_at_ms: 4,
            state: [5; 16],
            lessons: vec![lesson],
        };
        golden::check(&mark, TeacherMark::KEY, include_bytes!("golden/teacher-mark-v1.bin"));
    }

    #[test]
    fn keys_of_a_kind_stand_together() {
        for ((low, high), key) in [(KeptTags::keys(), KeptTags::key("ü")), (KeptCorrections::keys(), KeptCorrections::key("\u{10ffff}"))] {
            assert!(low < key && key < high);
        }
    }
}
