//! Colours as people see them: OKLab (Ottosson 2020), and names by the nearest anchor.

use std::sync::LazyLock;

/// Lightness 0 to 1, then green to red and blue to yellow, about -0.4 to 0.4.
pub type Lab = [f32; 3];

/// Names that are told, at most.
const NAMED_MAX: usize = 32;
/// How fast a name's share falls with the distance to its nearest anchor, in OKLab.
const SOFTNESS: f32 = 0.035;

/// A name and how much of the product bears it.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// From the palette.
    pub name: String,
    /// 0 to 1; all names together 1.
    pub share: f32,
}

/// One channel of sRGB in linear light, 0 to 1 (IEC 61966-2-1).
pub(crate) fn linear(channel: u8) -> f32 {
    static TABLE: LazyLock<[f32; 256]> = LazyLock::new(|| {
        std::array::from_fn(|channel| {
            let value = channel as f32 / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        })
    });
    TABLE[usize::from(channel)]
}

/// OKLab of a colour in linear light.
pub(crate) fn oklab_of_linear([r, g, b]: [f32; 3]) -> Lab {
    let l = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    [
        0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
        1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
    ]
}

/// OKLab of an sRGB colour.
pub fn oklab(colour: [u8; 3]) -> Lab {
    oklab_of_linear(colour.map(linear))
}

/// The sRGB colour nearest to one in OKLab; channels beyond what a screen shows are cut off.
pub fn srgb([l, a, b]: Lab) -> [u8; 3] {
    let cubed = [l + 0.396_337_78 * a + 0.215_803_76 * b, l - 0.105_561_346 * a - 0.063_854_17 * b, l - 0.089_484_18 * a - 1.291_485_5 * b]
        .map(|root| root * root * root);
    let [l, m, s] = cubed;
    let linear = [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_38 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ];
    linear.map(|value| {
        let value = value.clamp(0.0, 1.0);
        let coded = if value <= 0.003_130_8 { 12.92 * value } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 };
        (coded * 255.0).round() as u8
    })
}

/// Squared distance; lightness counts half, for shadow and light change it most.
pub(crate) fn distance2(a: &Lab, b: &Lab) -> f32 {
    0.5 * (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2) + (a[2] - b[2]).powi(2)
}

/// Shares of the palette's names among weighted colours, the greatest first; each colour's weight is spread over names by how near
/// their nearest anchors are. No names where nothing has weight.
pub fn names(lab: &[Lab], weights: &[f32], palette: &[(&str, [u8; 3])]) -> Vec<Named> {
    let mut found: Vec<&str> = palette.iter().map(|(name, _)| *name).collect();
    found.dedup();
    let anchors: Vec<(usize, Lab)> =
        palette.iter().map(|(name, anchor)| (found.iter().position(|other| other == name).unwrap_or_default(), oklab(*anchor))).collect();
    let mut shares = vec![0f64; found.len()];
    let mut near = vec![0f32; found.len()];
    for (colour, weight) in lab.iter().zip(weights).filter(|(_, weight)| **weight > 0.0) {
        near.fill(f32::INFINITY);
        for (name, anchor) in &anchors {
            near[*name] = near[*name].min(distance2(colour, anchor));
        }
        let least = near.iter().copied().fold(f32::INFINITY, f32::min);
        let votes = near.iter().map(|distance| (-(distance - least) / (2.0 * SOFTNESS * SOFTNESS)).exp());
        let sum: f32 = votes.clone().sum();
        shares.iter_mut().zip(votes).for_each(|(share, vote)| *share += f64::from(weight * vote / sum));
    }
    let sum: f64 = shares.iter().sum();
    let mut named: Vec<Named> = found
        .iter()
        .zip(&shares)
        .filter(|(_, share)| sum > 0.0 && **share > 0.0)
        .map(|(name, share)| Named { name: (*name).to_owned(), share: (share / sum) as f32 })
        .collect();
    named.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.name.cmp(&b.name)));
    named.truncate(NAMED_MAX);
    named
}
