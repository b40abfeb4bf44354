//! What can be measured from a picture's pixels, at a bounded working size: the product apart from its background, its dominant
//! colours and their names, how patterned it is, and where the objects are.

mod colour;
mod dominant;
mod objects;
mod pattern;
mod segment;
#[cfg(test)]
mod tests;

pub use colour::{Lab, Named, names, oklab, srgb};
pub use dominant::{Dominant, HISTOGRAM_LEN};
pub use objects::{Detector, OBJECTS_MAX, Region, Saliency, Scene};
pub use pattern::Pattern;
pub use segment::Mask;

/// Pictures are measured at this size: the longer side, in pixels.
pub const WORK_SIDE: usize = 112;
/// Sides of a picture that is measured, at most, in pixels.
pub const SIDE_MAX: usize = 1 << 15;

/// A picture: `[height, width, 3]` bytes of sRGB.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    width: usize,
    height: usize,
    rgb: &'a [u8],
}

impl<'a> Picture<'a> {
    /// `None` where the bytes are not `3 * width * height`, or a side is 0 or over [`SIDE_MAX`].
    pub fn new(width: usize, height: usize, rgb: &'a [u8]) -> Option<Self> {
        let is_side = |side: usize| (1..=SIDE_MAX).contains(&side);
        (is_side(width) && is_side(height) && rgb.len() == 3 * width * height).then_some(Self { width, height, rgb })
    }

    /// In pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// In pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = 3 * (y * self.width + x);
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    /// Scaled down by averages of areas in linear light, in OKLab; never scaled up.
    pub(crate) fn small(&self) -> Small {
        let longer = self.width.max(self.height);
        let scaled = |side: usize| if longer <= WORK_SIDE { side } else { (side * WORK_SIDE).div_ceil(longer).max(1) };
        let (width, height) = (scaled(self.width), scaled(self.height));
        let mut lab = Vec::with_capacity(width * height);
        for y in 0..height {
            let rows = y * self.height / height..((y + 1) * self.height).div_ceil(height);
            for x in 0..width {
                let columns = x * self.width / width..((x + 1) * self.width).div_ceil(width);
                let mut sum = [0f32; 3];
                for (row, column) in rows.clone().flat_map(|row| columns.clone().map(move |column| (row, column))) {
                    let linear = self.pixel(column, row).map(colour::linear);
                    sum.iter_mut().zip(linear).for_each(|(sum, channel)| *sum += channel);
                }
                let count = (rows.len() * columns.len()) as f32;
                lab.push(colour::oklab_of_linear(sum.map(|channel| channel / count)));
            }
        }
        Small { width, height, lab }
    }
}

/// A picture at its working size, in OKLab, row by row.
#[derive(Clone, Debug)]
pub(crate) struct Small {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) lab: Vec<Lab>,
}

/// A backbone's activations: `[height, width, channels]`, of the model's input square.
#[derive(Clone, Copy, Debug)]
pub struct Activations<'a> {
    height: usize,
    width: usize,
    values: &'a [f32],
    /// Which part of the picture the model saw.
    seen: Region,
}

impl<'a> Activations<'a> {
    /// Of the part of the picture that the model `seen`. `None` where the numbers are no such map, none or not finite, or the map is
    /// more than 64 cells wide or high.
    pub fn new(height: usize, width: usize, values: &'a [f32], seen: Region) -> Option<Self> {
        let is_side = |side: usize| (1..=64).contains(&side);
        let is_map = is_side(height) && is_side(width) && !values.is_empty() && values.len().is_multiple_of(height * width);
        (is_map && seen.is_within() && values.iter().all(|value| value.is_finite())).then_some(Self { height, width, values, seen })
    }

    fn channels(&self) -> usize {
        self.values.len() / (self.height * self.width)
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurements {
    /// The main object, or what the caller named.
    pub object: Region,
    /// Every object found, the surest first, [`OBJECTS_MAX`] at most.
    pub objects: Vec<Region>,
    /// Share of the object's box that is product, 0 to 1.
    pub product_share: f32,
    /// Dominant colours of the product, the greatest share first.
    pub colours: Vec<Dominant>,
    /// Shares of the palette's names, the greatest first.
    pub names: Vec<Named>,
    /// [`HISTOGRAM_LEN`] shares of colours, what the teacher learns from.
    pub histogram: Vec<f32>,
    /// How patterned the product is.
    pub pattern: Pattern,
}

/// The product of a picture apart from its background.
pub fn mask(picture: &Picture<'_>, activations: Option<&Activations<'_>>) -> Mask {
    segment::segment(&picture.small(), activations, None)
}

/// Measures a picture: all of it, or the object in `override_box`. `palette` holds names and their sRGB anchors
/// ([`crate::Vocabulary::palette`]).
pub fn measure(
    picture: &Picture<'_>,
    activations: Option<&Activations<'_>>,
    palette: &[(&str, [u8; 3])],
    override_box: Option<Region>,
) -> Measurements {
    measure_with(&Saliency::default(), picture, activations, palette, override_box)
}

/// [`measure`] with another detector.
pub fn measure_with(
    detector: &dyn Detector,
    picture: &Picture<'_>,
    activations: Option<&Activations<'_>>,
    palette: &[(&str, [u8; 3])],
    override_box: Option<Region>,
) -> Measurements {
    let small = picture.small();
    let activations = activations.filter(|_| !segment::is_plain(&small));
    let mask = segment::segment(&small, activations, override_box);
    let mut objects = detector.detect(&Scene { picture, activations, mask: &mask });
    objects.retain(Region::is_within);
    objects.sort_by(|a, b| b.score.total_cmp(&a.score));
    objects.truncate(OBJECTS_MAX);
    let whole = Region { x: 0.0, y: 0.0, width: 1.0, height: 1.0, score: 0.0 };
    let object = override_box.filter(Region::is_within).or(objects.first().copied()).unwrap_or(whole);
    let weights = dominant::weights(&mask, object);
    let colours = dominant::dominant(&small.lab, &weights);
    Measurements {
        object,
        objects,
        product_share: mask.share_within(object),
        names: names(&small.lab, &weights, palette),
        histogram: dominant::histogram(&small, &weights),
        pattern: pattern::pattern(&small, &weights, &colours),
        colours,
    }
}
