//! Names of colours in the languages of catalogs, and how far they are from a colour asked by its value.
//!
//! Distances are Euclidean in OKLab (Ottosson, "A perceptual color space for image processing", 2020): about 0.02 is a just
//! visible difference, black and white are 1 apart.

mod table;

use std::collections::HashMap;
use std::sync::LazyLock;

use domain::FilterError;

use crate::fold::fold;
use crate::snapshot::{Field, Snapshot};

use table::{COLOURS, DARK, LIGHT};

/// A point in OKLab.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Oklab {
    /// Lightness, from 0 to 1.
    pub l: f32,
    /// From green to red.
    pub a: f32,
    /// From blue to yellow.
    pub b: f32,
}

/// A value of an attribute that names a colour.
#[derive(Clone, Debug, PartialEq)]
pub struct ColourMatch {
    /// As people are shown it.
    pub value: String,
    /// From the colour asked for.
    pub distance: f32,
}

/// By how much `dark` and `light` move the lightness.
const SHADE: f32 = 0.18;

static BY_NAME: LazyLock<HashMap<String, Oklab>> =
    LazyLock::new(|| COLOURS.iter().flat_map(|(rgb, names)| names.iter().map(|name| (fold(name), oklab(*rgb)))).collect());

static SHADES: LazyLock<[Vec<String>; 2]> = LazyLock::new(|| [DARK, LIGHT].map(|words| words.iter().map(|word| fold(word)).collect()));

/// `#rrggbb`, `rrggbb` or `#rgb`.
pub fn parse_hex(text: &str) -> Option<u32> {
    let digits = text.trim().trim_start_matches('#');
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u32::from_str_radix(digits, 16).ok()?;
    match digits.len() {
        6 => Some(number),
        // Each digit stands for two.
        3 => Some((number >> 8 & 0xf) * 0x11_0000 + (number >> 4 & 0xf) * 0x1100 + (number & 0xf) * 0x11),
        _ => None,
    }
}

/// An sRGB colour (`0xrrggbb`) in OKLab.
pub fn oklab(rgb: u32) -> Oklab {
    let linear = |shift: u32| {
        let channel = (rgb >> shift & 0xff) as f32 / 255.0;
        if channel <= 0.040_45 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
    };
    let (r, g, b) = (linear(16), linear(8), linear(0));
    let l = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    Oklab {
        l: 0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
        a: 1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        b: 0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
    }
}

/// The distance of two colours.
pub fn colour_distance(a: Oklab, b: Oklab) -> f32 {
    ((a.l - b.l).powi(2) + (a.a - b.a).powi(2) + (a.b - b.b).powi(2)).sqrt()
}

/// The colour that a text names: as a whole, or by its last word that is one, made darker or lighter by words such as `dark`;
/// also where such a word is written together with it (`dunkelblau`). `None` where no word is a colour.
pub fn colour_of(text: &str) -> Option<Oklab> {
    let key = fold(text).replace(['-', '_'], " ");
    if let Some(colour) = BY_NAME.get(&key) {
        return Some(*colour);
    }
    let words: Vec<&str> = key.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let two = || words.windows(2).rev().find_map(|pair| BY_NAME.get(&pair.join(" ")));
    let base = two().copied().or_else(|| words.iter().rev().find_map(|word| word_colour(word)))?;
    let [dark, light] = &*SHADES;
    let count = |shades: &[String]| words.iter().filter(|word| shades.iter().any(|shade| shade == *word)).count() as f32;
    let shift = SHADE * (count(light) - count(dark));
    Some(Oklab { l: (base.l + shift).clamp(0.0, 1.0), ..base })
}

fn word_colour(word: &str) -> Option<Oklab> {
    if let Some(colour) = BY_NAME.get(word) {
        return Some(*colour);
    }
    let [dark, light] = &*SHADES;
    let shaded = |shades: &[String], shift: f32| {
        let base = shades.iter().find_map(|shade| BY_NAME.get(word.strip_prefix(shade.as_str())?))?;
        Some(Oklab { l: (base.l + shift).clamp(0.0, 1.0), ..*base })
    };
    shaded(dark, -SHADE).or_else(|| shaded(light, SHADE))
}

/// The folded names of all known colours with their distances from a colour (`0xrrggbb`), the nearest first.
pub fn nearest_colours(rgb: u32) -> Vec<(&'static str, f32)> {
    let asked = oklab(rgb);
    let mut named: Vec<(&str, f32)> = BY_NAME.iter().map(|(name, colour)| (name.as_str(), colour_distance(asked, *colour))).collect();
    named.sort_unstable_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(b.0)));
    named
}

/// What attributes that hold colours are called, folded.
const COLOUR_NAMES: [&str; 10] = ["color", "colour", "farbe", "couleur", "barva", "kolor", "colore", "cvet", "цвет", "色"];

impl Snapshot {
    /// The attributes whose names say that they hold colours: `color`, `base_colour`, `farbe`.
    pub fn colour_attributes(&self) -> Vec<&str> {
        let is_of_colour = |name: &&str| COLOUR_NAMES.iter().any(|colour| fold(name).contains(colour));
        self.attribute_names().filter(is_of_colour).collect()
    }

    /// The values of an attribute that name a colour within `distance_max` of one (`0xrrggbb`), the nearest first, at most
    /// `limit`.
    pub fn colours_near(&self, attribute: &str, rgb: u32, distance_max: f32, limit: usize) -> Result<Vec<ColourMatch>, FilterError> {
        let Field::Column(column) = self.field(attribute)? else { return Ok(Vec::new()) };
        let asked = oklab(rgb);
        let heads = column.dictionary.heads();
        let near = heads.filter_map(|(code, value)| Some((colour_distance(asked, colour_of(&value.key)?), code)));
        let mut near: Vec<(f32, u32)> = near.filter(|(distance, _)| *distance <= distance_max).collect();
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then_with(|| column.dictionary.key(a.1).cmp(column.dictionary.key(b.1))));
        near.truncate(limit);
        Ok(near.into_iter().map(|(distance, code)| ColourMatch { value: column.dictionary.shown(code).to_owned(), distance }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::house::{product, with};
    use crate::{Columns, Limits};

    #[test]
    fn values_of_colours_by_table() {
        for (text, expected) in [
            ("#ff0000", Some(0xff_0000)),
            ("00FF7f", Some(0x00_ff7f)),
            ("#fa0", Some(0xff_aa00)),
            ("#12345", None),
            ("red", None),
            ("", None),
        ] {
            assert_eq!(parse_hex(text), expected, "{text}");
        }
        // The reference values of the paper's author for the primaries.
        for (rgb, l, a, b) in
            [(0xff_ffff, 1.0, 0.0, 0.0), (0xff_0000, 0.627_96, 0.224_86, 0.125_85), (0x00_00ff, 0.452_01, -0.032_46, -0.311_53)]
        {
            let found = oklab(rgb);
            assert!(colour_distance(found, Oklab { l, a, b }) < 1e-3, "{rgb:x}: {found:?}");
        }
    }

    #[test]
    fn names_in_every_language_lie_near_their_colour() {
        for (names, rgb) in [
            (["red", "Rot", "rouge", "rojo", "červená", "красный", "赤"], 0xd0_2020),
            (["blue", "blau", "bleu", "azul", "modrá", "синий", "青"], 0x20_40c0),
            (["green", "grün", "vert", "verde", "zelená", "зелёный", "緑"], 0x20_8030),
            (["white", "weiß", "blanc", "blanco", "bílá", "белый", "白"], 0xff_ffff),
            (["black", "Schwarz", "noir", "negro", "černá", "чёрный", "黒"], 0x00_0000),
        ] {
            for name in names {
                let colour = colour_of(name).unwrap_or_else(|| panic!("{name} is a colour"));
                assert!(colour_distance(colour, oklab(rgb)) < 0.15, "{name}: {colour:?}");
                let nearest: Vec<&str> = nearest_colours(rgb).into_iter().take(40).map(|(name, _)| name).collect();
                assert!(nearest.contains(&fold(name).as_str()), "{name} is not among {nearest:?}");
            }
        }
    }

    #[test]
    fn names_of_several_words_are_resolved() {
        let known = |name: &str| colour_of(name).unwrap_or_else(|| panic!("{name} is a colour"));
        assert_eq!(known("Navy Blue"), known("navy"));
        let (green, dark, light) = (known("green"), known("dark green"), known("light-green"));
        assert!(dark.l < green.l && green.l < light.l && dark.a == green.a);
        assert_eq!(known("dunkelgrün"), dark);
        assert_eq!(known("hellblau").a, known("blau").a);
        assert_eq!(known("Heather grey melange"), known("grey"));
        assert!(colour_of("multicolour").is_none() && colour_of("").is_none() && colour_of("leather").is_none());
    }

    #[test]
    fn values_of_an_attribute_are_found_by_colour() {
        let mut columns = Columns::new(Limits::default());
        for (id, color) in [("a", "Red"), ("b", "Navy Blue"), ("c", "Striped"), ("d", "Dunkelrot"), ("e", "red")] {
            columns.set(&with(product(id), "color", &[color]), 0).expect("room");
        }
        let found = columns.snapshot().colours_near("color", 0xd0_2020, 0.3, 10).expect("known");
        assert_eq!(found.iter().map(|found| found.value.as_str()).collect::<Vec<_>>(), ["Red", "Dunkelrot"]);
        assert!(columns.snapshot().colours_near("farbe", 0, 1.0, 1).is_err());
        assert!(columns.snapshot().colours_near("price", 0, 1.0, 1).expect("known").is_empty());
    }
}
