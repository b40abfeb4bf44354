//! Measuring drawn pictures: colours by name, shapes, objects, patterns.

use proptest::prelude::*;

use super::*;
use crate::vocabulary::Vocabulary;

/// A picture painted pixel by pixel.
fn painted(width: usize, height: usize, paint: impl Fn(usize, usize) -> [u8; 3]) -> Vec<u8> {
    (0..width * height).flat_map(|at| paint(at % width, at / width)).collect()
}

fn measured(width: usize, height: usize, rgb: &[u8]) -> Measurements {
    let vocabulary = Vocabulary::compiled_in();
    measure(&Picture::new(width, height, rgb).expect("a picture"), None, &vocabulary.palette(), None)
}

const WHITE: [u8; 3] = [250, 250, 250];

fn is_shirt(x: usize, y: usize) -> bool {
    (60..140).contains(&x) && (40..170).contains(&y)
}

#[test]
fn colours_survive_the_way_to_oklab_and_back() {
    for colour in [[0, 0, 0], [255, 255, 255], [255, 0, 0], [12, 200, 99], [1, 2, 250]] {
        assert_eq!(srgb(oklab(colour)), colour);
    }
    // Ottosson's own table: sRGB white, and red.
    for (colour, expected) in [([255, 255, 255], [1.0, 0.0, 0.0]), ([255, 0, 0], [0.627_96, 0.224_86, 0.125_85])] {
        assert!(oklab(colour).iter().zip(expected).all(|(found, expected): (&f32, f32)| (found - expected).abs() < 2e-3), "{colour:?}");
    }
}

#[test]
fn a_product_before_white_is_named_by_its_colour_and_framed() {
    for (colour, name) in [
        ([200, 25, 40], "red"),
        ([14, 14, 16], "black"),
        ([42, 92, 170], "blue"),
        ([30, 38, 72], "navy blue"),
        ([240, 210, 70], "yellow"),
        ([50, 125, 60], "green"),
        ([94, 58, 120], "purple"),
        ([138, 138, 140], "grey"),
    ] {
        let rgb = painted(200, 200, |x, y| if is_shirt(x, y) { colour } else { WHITE });
        let found = measured(200, 200, &rgb);
        assert_eq!(found.names[0].name, name, "{:?}", &found.names[..3]);
        assert_eq!(found.colours.len(), 1, "{:?}", found.colours);
        assert!(found.colours[0].srgb.iter().zip(colour).all(|(found, drawn)| found.abs_diff(drawn) < 12), "{:?}", found.colours);
        let Region { x, y, width, height, .. } = found.object;
        for (found, drawn) in [(x, 0.3), (y, 0.2), (width, 0.4), (height, 0.65)] {
            assert!((found - drawn).abs() < 0.03, "{name}: {:?}", found);
        }
        assert!(found.product_share > 0.95, "{}", found.product_share);
    }
}

#[test]
fn a_white_product_before_white_is_held_together_by_its_outline() {
    let is_rim = |x: usize, y: usize| is_shirt(x, y) && !((66..134).contains(&x) && (46..164).contains(&y));
    let rgb = painted(200, 200, |x, y| if is_rim(x, y) { [150, 150, 155] } else { [252, 252, 252] });
    let found = measured(200, 200, &rgb);
    assert!(found.product_share > 0.9, "{found:?}");
    assert_eq!(found.names[0].name, "white", "{:?}", &found.names[..3]);
}

#[test]
fn two_products_are_two_objects_and_a_box_chooses() {
    let is_left = |x: usize, y: usize| (20..80).contains(&x) && (50..150).contains(&y);
    let is_right = |x: usize, y: usize| (130..180).contains(&x) && (60..150).contains(&y);
    let rgb = painted(200, 200, |x, y| {
        if is_left(x, y) {
            [200, 25, 40]
        } else if is_right(x, y) {
            [42, 92, 170]
        } else {
            WHITE
        }
    });
    let picture = Picture::new(200, 200, &rgb).expect("a picture");
    let vocabulary = Vocabulary::compiled_in();
    let found = measure(&picture, None, &vocabulary.palette(), None);
    assert_eq!(found.objects.len(), 2, "{:?}", found.objects);
    assert!(found.objects[0].x < 0.2, "the larger one comes first");
    let right = Region { x: 0.6, y: 0.25, width: 0.35, height: 0.55, score: 1.0 };
    let chosen = measure(&picture, None, &vocabulary.palette(), Some(right));
    assert_eq!((chosen.object, chosen.names[0].name.as_str()), (right, "blue"));
}

#[test]
fn activations_show_the_object_where_the_edge_tells_nothing() {
    // Noise everywhere: only the backbone sees something, in the lower right.
    let rgb = painted(128, 128, |x, y| [((x * 7919 + y * 104_729) % 251) as u8, ((x * 31 + y * 7) % 241) as u8, ((x * y) % 239) as u8]);
    let mut values = vec![0.1f32; 7 * 7 * 4];
    for (y, x) in [(4, 4), (4, 5), (5, 4), (5, 5)] {
        values[(y * 7 + x) * 4 + 1] = 6.0;
    }
    let whole = Region { x: 0.0, y: 0.0, width: 1.0, height: 1.0, score: 0.0 };
    let activations = Activations::new(7, 7, &values, whole).expect("a map");
    let picture = Picture::new(128, 128, &rgb).expect("a picture");
    let found = measure(&picture, Some(&activations), &[], None);
    let Region { x, y, width, height, .. } = found.object;
    assert!(x > 0.4 && y > 0.4 && x + width < 0.97 && y + height < 0.97, "{:?}", found.object);
    assert!(found.names.is_empty());
}

#[test]
fn another_detector_takes_the_place() {
    struct Fixed;
    impl Detector for Fixed {
        fn detect(&self, _: &Scene<'_>) -> Vec<Region> {
            let region = |x, score| Region { x, y: 0.1, width: 0.2, height: 0.2, score };
            vec![region(0.1, 0.2), region(0.5, 0.9), region(0.95, 1.0)]
        }
    }
    let rgb = painted(40, 40, |_, _| WHITE);
    let found = measure_with(&Fixed, &Picture::new(40, 40, &rgb).expect("a picture"), None, &[], None);
    assert_eq!(found.objects.iter().map(|object| object.x).collect::<Vec<_>>(), [0.5, 0.1], "the surest first, none outside");
}

#[test]
fn patterns_are_told_apart() {
    let ink = [30, 60, 140];
    let of = |paint: &dyn Fn(usize, usize) -> bool| {
        let rgb = painted(200, 200, |x, y| {
            if !is_shirt(x, y) {
                WHITE
            } else if paint(x, y) {
                ink
            } else {
                [215, 190, 90]
            }
        });
        measured(200, 200, &rgb).pattern
    };
    let greatest = |pattern: Pattern| pattern.kinds().into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("four").0;
    let (plain, striped) = (of(&|_, _| true), of(&|x, _| x / 8 % 2 == 0));
    let (across, checked) = (of(&|_, y| y / 8 % 2 == 0), of(&|x, y| (x / 10 + y / 10) % 2 == 0));
    assert_eq!([plain, striped, across].map(greatest), ["plain", "striped", "striped"], "{plain:?} {striped:?} {across:?}");
    assert_ne!(greatest(checked), "striped", "{checked:?}");
    assert!(striped.repeats_across > 0.4 && striped.direction > 0.8 && checked.repeats_down > 0.4, "{striped:?} {checked:?}");
    for pattern in [plain, striped, across, checked] {
        assert!((pattern.kinds().iter().map(|(_, share)| share).sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

#[test]
fn what_is_no_picture_or_map_is_refused() {
    assert!(Picture::new(2, 2, &[0; 11]).is_none() && Picture::new(0, 2, &[]).is_none() && Picture::new(SIDE_MAX + 1, 1, &[]).is_none());
    let whole = Region { x: 0.0, y: 0.0, width: 1.0, height: 1.0, score: 0.0 };
    assert!(Activations::new(7, 7, &[0.0; 48], whole).is_none() && Activations::new(1, 1, &[f32::NAN], whole).is_none());
    assert!(Activations::new(1, 1, &[], whole).is_none() && Activations::new(1, 1, &[1.0], Region { x: 0.5, ..whole }).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_picture_is_measured_alike_and_within_bounds(width in 1_usize..150, height in 1_usize..150, seed: u64, flat: bool) {
        let rgb = painted(width, height, |x, y| {
            let at = crate::random::mixed(seed ^ (y / 9 * 1000 + x / 9) as u64);
            if flat { WHITE } else { [at as u8, (at >> 8) as u8, (at >> 16) as u8] }
        });
        let found = measured(width, height, &rgb);
        prop_assert_eq!(&found, &measured(width, height, &rgb));
        prop_assert!(found.object.is_within() && found.objects.iter().all(Region::is_within) && found.objects.len() <= OBJECTS_MAX);
        prop_assert_eq!(found.histogram.len(), HISTOGRAM_LEN);
        prop_assert!(found.histogram.iter().chain(&found.pattern.numbers()).all(|value| value.is_finite()));
        prop_assert!((0.0..=1.0).contains(&found.product_share));
        let shares: f32 = found.names.iter().map(|named| named.share).sum();
        prop_assert!(shares <= 1.001, "{shares}");
    }
}
