//! A labelled catalog's photos, decoded, measured and embedded.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use attributes::{Label, Measurements, Picture, Region, Vocabulary, measure};
use protocol::vision::{Crop, Space};
use vision::logic::picture::{self, Pixels};
use vision::{Embedder, Input, InstalledModels, ModelSource as _};

use super::super::{Common, Failure};
use super::groups::{Sign, difference_hash, groups};
use super::read;
use super::table::{Row, Table};

/// Rows of a catalog, at most.
const ROWS_MAX: usize = 100_000;
/// Bytes and pixels of one photo, at most.
const PHOTO_BYTES_MAX: u64 = 20 << 20;
const PHOTO_PIXELS_MAX: u64 = 40_000_000;
/// Names that columns go by, letters and digits alone.
const ID: [&str; 3] = ["id", "product_id", "sku"];
const IMAGE: [&str; 4] = ["image", "image_link", "photo", "filename"];
const NAME: [&str; 4] = ["productdisplayname", "title", "name", "product_name"];

/// One photo of the catalog.
pub(super) struct Photo {
    /// The product's id.
    pub(super) id: String,
    /// Photos of one group are never parted.
    pub(super) group: u64,
    /// What the catalog says, in the vocabulary's names.
    pub(super) labels: Vec<Label>,
    /// What the pixels say.
    pub(super) measurements: Measurements,
    /// `[dimensions]` of each way of making one that was asked for.
    pub(super) embeddings: Vec<Vec<f32>>,
}

/// How an embedding is made of a photo. All but the first are by the model as it was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// As the house embeds products' pictures.
    Kept,
    /// As the house embeds the main object's box in a picture.
    KeptObject,
    /// All that the model's own contract keeps of it.
    Whole,
    /// The same, mirrored.
    Mirrored,
    /// The main object's box alone.
    Object,
    /// The product before white.
    Foreground,
}

/// What was read.
pub(super) struct Photos {
    /// The photos in the catalog's order.
    pub(super) photos: Vec<Photo>,
    /// Rows whose photo could not be read, each with why.
    pub(super) failed: Vec<String>,
    /// The model's name and fingerprint.
    pub(super) model: (String, String),
}

/// Reads the photos that a catalog names, on all cores.
pub(super) fn photos(
    common: &Common,
    vocabulary: &Vocabulary,
    catalog: &Path,
    images: Option<&Path>,
    views: &[View],
) -> Result<Photos, Failure> {
    let usage = |detail: String| Failure::new(Failure::USAGE, format!("{}: {detail}", catalog.display()));
    let table = Table::parse_csv(&read(catalog)?);
    let column =
        |names: &[&str]| table.column(names).ok_or_else(|| usage(format!("no column {} among {}", names.join(" or "), table.names())));
    let (id, image) = (column(&ID)?, column(&IMAGE)?);
    let name = table.column(&NAME);
    let rows: Vec<Row<'_>> = table.rows().collect();
    if rows.is_empty() || rows.len() > ROWS_MAX {
        return Err(usage(format!("{} rows, between 1 and {ROWS_MAX} can be read", rows.len())));
    }
    let folder = images.map(Path::to_path_buf).or_else(|| catalog.parent().map(Path::to_path_buf)).unwrap_or_else(|| PathBuf::from("."));
    let models = InstalledModels::new(&common.models_dir());
    let load = |models: &InstalledModels| {
        let none = || Failure::new(Failure::MODEL, protocol::vision::VisionError::NoModel(Space::Image));
        models.load(&models.installed(Space::Image).ok_or_else(none)?).map_err(|error| Failure::new(Failure::MODEL, error))
    };
    let models = Models { kept: load(&models)?, published: load(&models.as_published())? };
    let labels = |row: Row<'_>| -> Vec<Label> {
        let cells: Vec<(&str, &str)> = table.columns().map(|(name, place)| (name, row.get(place))).collect();
        let stated = vocabulary.read(cells).into_iter().chain(name.map(|place| vocabulary.read_title(row.get(place))).unwrap_or_default());
        stated.map(|stated| Label { attribute: stated.attribute, value: stated.value, human: false }).collect()
    };
    let palette = vocabulary.palette();
    let bar = common.output().progress("photos", Some(rows.len() as u64));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(row) = rows.get(place) else { break done };
            let path = folder.join(row.get(image));
            done.push((place, look(&models, &path, &palette, views).map_err(|error| format!("{}: {error}", path.display()))));
            bar.inc(1);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut looked: Vec<(usize, Result<Looked, String>)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut looked = work();
        looked.extend(others.into_iter().flat_map(|other| other.join().unwrap_or_default()));
        looked
    });
    bar.finish_and_clear();
    looked.sort_unstable_by_key(|(place, _)| *place);
    let (mut found, mut signs, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (place, looked) in looked {
        let row = rows[place];
        match looked {
            Ok(Looked { bytes, hash, measurements, embeddings }) => {
                let labels = labels(row);
                let kind = labels.iter().find(|label| label.attribute == KIND).map(|label| label.value.clone()).unwrap_or_default();
                let name = name.and_then(|name| Sign::name(row.get(name)));
                signs.push([bytes, Sign::Looks(hash, kind)].into_iter().chain(name).collect());
                found.push(Photo { id: row.get(id).to_owned(), group: 0, labels, measurements, embeddings });
            }
            Err(why) => failed.push(why),
        }
    }
    for (photo, group) in found.iter_mut().zip(groups(&signs)) {
        photo.group = group as u64;
    }
    let info = models.kept.info();
    Ok(Photos { photos: found, failed, model: (info.name.clone(), info.fingerprint.clone()) })
}

/// The attribute that says what kind of thing a product is.
pub(super) const KIND: &str = "article_type";

impl Photo {
    /// The value that the catalog says.
    pub(super) fn truth(&self, attribute: &str) -> Option<&str> {
        self.labels.iter().find(|label| label.attribute == attribute).map(|label| label.value.as_str())
    }
}

/// The model of pictures.
struct Models {
    /// As the house uses it.
    kept: Arc<dyn Embedder>,
    /// As it was published.
    published: Arc<dyn Embedder>,
}

struct Looked {
    bytes: Sign,
    hash: u64,
    measurements: Measurements,
    embeddings: Vec<Vec<f32>>,
}

fn look(models: &Models, path: &Path, palette: &[(&str, [u8; 3])], views: &[View]) -> Result<Looked, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(PHOTO_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let picture = picture::decode(&bytes, PHOTO_BYTES_MAX, PHOTO_PIXELS_MAX).map_err(|error| error.to_string())?;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let pixels = Picture::new(width, height, picture.as_raw()).ok_or("too wide or too high")?;
    let measurements = measure(&pixels, None, palette, None);
    let hash = difference_hash(width, height, picture.as_raw());
    let object = {
        let Region { x, y, width, height, .. } = measurements.object;
        Crop { x, y, width, height }
    };
    let mut embeddings = Vec::with_capacity(views.len());
    for view in views {
        let is_kept = matches!(view, View::Kept | View::KeptObject);
        let embedder = if is_kept { &models.kept } else { &models.published };
        let preprocessing = embedder.preprocessing();
        let whole = || picture::prepare(&picture, &preprocessing);
        let prepared = match view {
            View::Kept | View::Whole => whole(),
            View::Mirrored => whole().map(|whole| mirrored(&whole)),
            View::KeptObject | View::Object => picture::prepare_crop(&picture, object, &preprocessing).or_else(|_| whole()),
            View::Foreground => {
                let mask = attributes::pixels::mask(&pixels, None);
                let mut painted = picture.clone();
                for (x, y, pixel) in painted.enumerate_pixels_mut() {
                    if mask.at((x as f32 + 0.5) / width as f32, (y as f32 + 0.5) / height as f32) < 0.5 {
                        pixel.0 = [255; 3];
                    }
                }
                picture::prepare(&painted, &preprocessing)
            }
        };
        let prepared = prepared.map_err(|error| error.to_string())?;
        embeddings.extend(embedder.embed(&[Input::Picture(prepared)]).map_err(|error| error.to_string())?);
    }
    Ok(Looked { bytes: Sign::bytes(&bytes), hash, measurements, embeddings })
}

/// A model's input, left and right exchanged.
fn mirrored(Pixels(pixels): &Pixels) -> Pixels {
    let side = (pixels.len() / 3).isqrt();
    let rows = pixels.chunks_exact(3 * side.max(1));
    Pixels(rows.flat_map(|row| row.as_chunks::<3>().0.iter().rev().flatten().copied()).collect())
}

/// What is measured of a small white picture.
#[cfg(test)]
pub(super) fn measured_blank() -> Measurements {
    let white = [255; 3 * 16];
    measure(&Picture::new(4, 4, &white).expect("a picture"), None, &[], None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirroring_exchanges_columns_and_nothing_else() {
        let pixels = Pixels((0..12).collect());
        assert_eq!(mirrored(&pixels), Pixels(vec![3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]));
        assert_eq!(mirrored(&mirrored(&pixels)), pixels);
    }
}
