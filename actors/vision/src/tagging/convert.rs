//! Between what the attributes crate says, what is kept and what readers see.

use attributes::pixels::{Dominant, Named, Pattern};
use attributes::{Measurements, Region};
use domain::ProductId;
use protocol::tags::{Colour, NamedColour, Tag, TagSource};
use protocol::vision::Crop;

use super::records::{KeptMeasurements, KeptTag, KeptTags};

pub(crate) fn keep_measurements(found: &Measurements) -> KeptMeasurements {
    let Pattern { contrast, direction, upright, repeats_across, repeats_down, variety } = found.pattern;
    KeptMeasurements {
        object: keep_region(&found.object),
        objects: found.objects.iter().map(keep_region).collect(),
        product_share: found.product_share,
        colours: found.colours.iter().map(|colour| (colour.lab, colour.srgb, colour.share)).collect(),
        names: found.names.iter().map(|named| (named.name.clone(), named.share)).collect(),
        histogram: found.histogram.clone(),
        pattern: [contrast, direction, upright, repeats_across, repeats_down, variety],
    }
}

pub(crate) fn measurements(kept: &KeptMeasurements) -> Measurements {
    let [contrast, direction, upright, repeats_across, repeats_down, variety] = kept.pattern;
    Measurements {
        object: region(kept.object),
        objects: kept.objects.iter().copied().map(region).collect(),
        product_share: kept.product_share,
        colours: kept.colours.iter().map(|(lab, srgb, share)| Dominant { lab: *lab, srgb: *srgb, share: *share }).collect(),
        names: kept.names.iter().map(|(name, share)| Named { name: name.clone(), share: *share }).collect(),
        histogram: kept.histogram.clone(),
        pattern: Pattern { contrast, direction, upright, repeats_across, repeats_down, variety },
    }
}

fn keep_region(region: &Region) -> [f32; 5] {
    [region.x, region.y, region.width, region.height, region.score]
}

fn region([x, y, width, height, score]: [f32; 5]) -> Region {
    Region { x, y, width, height, score }
}

pub(crate) fn crop(region: &Region) -> Crop {
    Crop { x: region.x, y: region.y, width: region.width, height: region.height }
}

/// A rectangle that a caller names is where the object is, surely.
pub(crate) fn region_of(crop: Crop) -> Region {
    Region { x: crop.x, y: crop.y, width: crop.width, height: crop.height, score: 1.0 }
}

pub(crate) fn colours(found: &Measurements) -> (Vec<Colour>, Vec<NamedColour>) {
    let colours = found.colours.iter().map(|colour| Colour { srgb: colour.srgb, share: colour.share }).collect();
    let names = found.names.iter().map(|named| NamedColour { name: named.name.clone(), share: named.share }).collect();
    (colours, names)
}

const SOURCES: [TagSource; 5] = [TagSource::Human, TagSource::Catalog, TagSource::Learned, TagSource::Measured, TagSource::ZeroShot];

pub(crate) fn keep_tag(tag: &Tag) -> KeptTag {
    KeptTag {
        attribute: tag.attribute.clone(),
        value: tag.value.clone(),
        source: SOURCES.iter().position(|source| *source == tag.source).unwrap_or(SOURCES.len()) as u8,
        confidence: tag.confidence,
        threshold: tag.threshold,
        is_fact: tag.is_fact,
        evidence: tag.evidence.iter().map(ToString::to_string).collect(),
    }
}

/// `None` where a newer program wrote a source that is not known here.
pub(crate) fn kept_tag(kept: &KeptTag) -> Option<Tag> {
    Some(Tag {
        attribute: kept.attribute.clone(),
        value: kept.value.clone(),
        source: *SOURCES.get(usize::from(kept.source))?,
        confidence: kept.confidence,
        threshold: kept.threshold,
        is_fact: kept.is_fact,
        evidence: kept.evidence.iter().filter_map(|id| id.parse::<ProductId>().ok()).collect(),
    })
}

pub(crate) fn kept_colours(kept: &KeptTags) -> (Vec<Colour>, Vec<NamedColour>) {
    let colours = kept.colours.iter().map(|(srgb, share)| Colour { srgb: *srgb, share: *share }).collect();
    let names = kept.colour_names.iter().map(|(name, share)| NamedColour { name: name.clone(), share: *share }).collect();
    (colours, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let found = Measurements {
            object: Region { x: 0.1, y: 0.2, width: 0.3, height: 0.4, score: 0.5 },
            objects: vec![Region { x: 0.0, y: 0.0, width: 1.0, height: 1.0, score: 0.9 }],
            product_share: 0.6,
            colours: vec![Dominant { lab: [0.5, 0.1, -0.1], srgb: [9, 8, 7], share: 0.7 }],
            names: vec![Named { name: "red".into(), share: 0.8 }],
            histogram: vec![0.25, 0.75],
            pattern: Pattern { contrast: 0.1, direction: 0.2, upright: 0.3, repeats_across: 0.4, repeats_down: 0.5, variety: 0.6 },
        };
        assert_eq!(measurements(&keep_measurements(&found)), found);
        for (at, source) in SOURCES.into_iter().enumerate() {
            let evidence = vec!["p".parse().expect("an id")];
            let tag =
                Tag { attribute: "a".into(), value: "b".into(), source, confidence: 0.5, threshold: Some(0.6), is_fact: false, evidence };
            let kept = keep_tag(&tag);
            assert_eq!((usize::from(kept.source), kept_tag(&kept)), (at, Some(tag)), "the numbers are on disk");
        }
        let newer = KeptTag {
            source: 200,
            ..keep_tag(&Tag {
                attribute: String::new(),
                value: String::new(),
                source: TagSource::Human,
                confidence: 0.0,
                threshold: None,
                is_fact: true,
                evidence: Vec::new(),
            })
        };
        assert_eq!(kept_tag(&newer), None);
    }
}
