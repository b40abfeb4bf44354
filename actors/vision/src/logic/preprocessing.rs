//! How a picture becomes a model's input: part of the model's contract, since other choices give other vectors.

use fast_image_resize::FilterType;
use serde::{Deserialize, Serialize};

/// The side of the input, and the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preprocessing {
    /// Side of the square input, in pixels.
    pub side: usize,
    /// What is kept and how it is brought to that side.
    pub framing: Framing,
    /// The antialiased filter, rounded to 8 bits, as Pillow has it.
    pub filter: Filter,
}

/// How a picture of any shape becomes a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The centre square of `shorter side * side / (side + margin)` pixels, then scaled.
    CropThenScale {
        /// In pixels of the input.
        margin: usize,
    },
    /// The shorter side scaled to `shorter` pixels, then the centre square.
    ScaleThenCrop {
        /// At least the input's side.
        shorter: usize,
    },
    /// All of it, squeezed into the square.
    Squash,
    /// All of it in its own shape, in the middle of a white square as product pictures are.
    Pad,
}

/// How a model's features are made fit for comparing pictures, where that is better than to use them as they were published. The
/// whole picture is padded to the square; `gotham eval similar` measures what comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retrieval {
    /// Side of the square input, in pixels, larger than in training: a network that averages its last map takes any, and sees products
    /// as large as crops were in training (Touvron et al., "Fixing the train-test resolution discrepancy", 2019).
    pub side: usize,
    /// Whether a feature counts by its signed square root, so that a few strong ones do not outweigh all others (Perronnin et al.,
    /// "Improving the Fisher kernel for large-scale image classification", 2010).
    pub rooted: bool,
}

impl Retrieval {
    /// How pictures are prepared.
    #[must_use]
    pub fn preprocessing(&self) -> Preprocessing {
        Preprocessing { side: self.side, framing: Framing::Pad, filter: Filter::Bicubic }
    }

    /// Names it: part of a fingerprint.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{}{}", self.preprocessing().describe(), if self.rooted { "/rooted" } else { "" })
    }
}

/// A resampling filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// A triangle.
    Bilinear,
    /// Catmull-Rom: cubic with `a = -0.5`.
    Bicubic,
    /// A sinc over three lobes.
    Lanczos,
}

impl Preprocessing {
    /// Of EfficientNet-Lite0.
    pub const LITE0: Preprocessing = Preprocessing::lite(224);

    /// Of the EfficientNet-Lite family: TensorFlow's evaluation crop.
    #[must_use]
    pub const fn lite(side: usize) -> Preprocessing {
        Preprocessing { side, framing: Framing::CropThenScale { margin: 32 }, filter: Filter::Bicubic }
    }

    /// Names it: part of a fingerprint, so that a change of it makes new vectors.
    #[must_use]
    pub fn describe(&self) -> String {
        let Preprocessing { side, framing, filter } = self;
        let framing = match framing {
            Framing::CropThenScale { margin } => format!("centre-crop-{}", *side as f64 / (side + margin) as f64),
            Framing::ScaleThenCrop { shorter } => format!("shorter-side-{shorter}"),
            Framing::Squash => "squash".to_owned(),
            Framing::Pad => "pad".to_owned(),
        };
        format!("{framing}/{}/{side}", filter.name())
    }
}

impl Filter {
    fn name(self) -> &'static str {
        match self {
            Filter::Bilinear => "bilinear",
            Filter::Bicubic => "catmull-rom",
            Filter::Lanczos => "lanczos",
        }
    }

    pub(crate) fn kernel(self) -> FilterType {
        match self {
            Filter::Bilinear => FilterType::Bilinear,
            Filter::Bicubic => FilterType::CatmullRom,
            Filter::Lanczos => FilterType::Lanczos3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_own_name() {
        assert_eq!(Preprocessing::LITE0.describe(), "centre-crop-0.875/catmull-rom/224", "vectors that exist stay valid");
        let clip = Preprocessing { framing: Framing::ScaleThenCrop { shorter: 224 }, ..Preprocessing::LITE0 };
        assert_eq!(clip.describe(), "shorter-side-224/catmull-rom/224");
        assert_eq!(Preprocessing { framing: Framing::Squash, filter: Filter::Bilinear, ..clip }.describe(), "squash/bilinear/224");
        let retrieval = |rooted| Retrieval { side: 288, rooted }.describe();
        assert_eq!((retrieval(true).as_str(), retrieval(false).as_str()), ("pad/catmull-rom/288/rooted", "pad/catmull-rom/288"));
    }
}
