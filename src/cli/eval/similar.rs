//! `gotham eval similar`: of each photo's ten most similar others, how many show the same kind of thing, for several ways of making an
//! embedding. Photos that are one and the same do not count as similar.

use std::path::PathBuf;

use attributes::Vocabulary;
use attributes::teacher::Projection;
use clap::Args;
use serde::Serialize;
use shaders::Isa;
use shaders::dot::dot_matrix_with;

use super::super::{Common, Failure, Outcome};
use super::photos::{KIND, Photo, View, photos};

/// Neighbours looked at.
const NEIGHBOURS: usize = 10;
/// Queries compared at once.
const BLOCK: usize = 64;
/// Components of the projected embeddings.
const COMPONENTS: usize = 256;

#[derive(Args)]
pub(in crate::cli) struct SimilarArgs {
    /// Labelled catalog (CSV): id, image, and the kind of product
    #[arg(long, value_name = "CSV")]
    catalog: PathBuf,
    /// Folder of the photos that it names [default: the catalog's own folder]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
}

/// One way and what came of it.
#[derive(Serialize)]
struct Line {
    embedding: &'static str,
    dimensions: usize,
    photos: usize,
    precision_at_10: f64,
}

/// How the views' embeddings become one vector.
type Way = fn(&Photo) -> Vec<f32>;

const VIEWS: [View; 6] = [View::Kept, View::KeptObject, View::Whole, View::Mirrored, View::Object, View::Foreground];
const KEPT: usize = 0;
const KEPT_OBJECT: usize = 1;
const WHOLE: usize = 2;
const MIRRORED: usize = 3;
const OBJECT: usize = 4;
const FOREGROUND: usize = 5;

/// The ways, by name. All but the first two are of the model as it was published.
const WAYS: [(&str, Way); 10] = [
    ("as the house keeps it", |photo| unit(photo.embeddings[KEPT].clone())),
    ("as kept, whole and box, summed", |photo| sum(&[KEPT, KEPT_OBJECT].map(|view| unit(photo.embeddings[view].clone())))),
    ("whole", |photo| unit(photo.embeddings[WHOLE].clone())),
    ("whole, rooted", |photo| rooted(photo, WHOLE)),
    ("object's box, rooted", |photo| rooted(photo, OBJECT)),
    ("foreground on white, rooted", |photo| rooted(photo, FOREGROUND)),
    ("whole and mirrored, rooted", |photo| sum(&[rooted(photo, WHOLE), rooted(photo, MIRRORED)])),
    ("whole and box, summed", |photo| sum(&[rooted(photo, WHOLE), rooted(photo, OBJECT)])),
    ("whole and box, side by side", |photo| unit([rooted(photo, WHOLE), rooted(photo, OBJECT)].concat())),
    ("whole, mirrored, box, foreground", |photo| sum(&[WHOLE, MIRRORED, OBJECT, FOREGROUND].map(|view| rooted(photo, view)))),
];

/// Runs the command.
pub(super) fn similar(common: &Common, args: &SimilarArgs) -> Outcome {
    let output = common.output();
    let read = photos(common, &Vocabulary::compiled_in(), &args.catalog, args.images.as_deref(), &VIEWS)?;
    read.failed.iter().for_each(|why| output.note(why));
    let photos: Vec<&Photo> = read.photos.iter().filter(|photo| photo.truth(KIND).is_some()).collect();
    if photos.len() <= NEIGHBOURS {
        return Err(Failure::new(Failure::FAILED, format!("{} photos with a kind, more than {NEIGHBOURS} are needed", photos.len())));
    }
    let mut best: Option<(f64, &str)> = None;
    let mut tell = |embedding: &'static str, rows: &[Vec<f32>]| {
        let line = Line { embedding, dimensions: rows[0].len(), photos: rows.len(), precision_at_10: precision(&photos, rows) };
        output.result(&line, || format!("{embedding:36}{:6} numbers   precision@10 {:.4}", line.dimensions, line.precision_at_10));
        if best.is_none_or(|(most, _)| line.precision_at_10 > most) {
            best = Some((line.precision_at_10, embedding));
        }
    };
    for (name, way) in WAYS {
        let rows: Vec<Vec<f32>> = photos.iter().map(|photo| way(photo)).collect();
        tell(name, &rows);
    }
    tell("whole, rooted, less the mean", &centred(&photos));
    let whole: Vec<Vec<f32>> = photos.iter().map(|photo| rooted(photo, WHOLE)).collect();
    let whole: Vec<&[f32]> = whole.iter().map(Vec::as_slice).collect();
    // The components are those of the catalog itself, as an index would find them; no label is looked at.
    let projection = Projection::fit(&whole, whole[0].len(), COMPONENTS);
    let codes = projection.codes(&whole);
    let rows: Vec<Vec<f32>> = codes.chunks_exact(projection.components()).map(|code| unit(code.to_vec())).collect();
    tell("whole, rooted, 256 whitened half", &rows);
    if let Some((most, name)) = best {
        output.note(&format!("best: {name}, {most:.4}"));
    }
    Ok(())
}

/// The mean share of each photo's nearest others, of other groups, that are of its kind.
fn precision(photos: &[&Photo], rows: &[Vec<f32>]) -> f64 {
    let width = rows.first().map_or(0, Vec::len);
    let flat = rows.concat();
    let mut right = 0usize;
    for (block, queries) in flat.chunks(BLOCK * width.max(1)).enumerate() {
        let mut cosines = vec![0f32; queries.len() / width * rows.len()];
        dot_matrix_with(Isa::best(), queries, &flat, width, &mut cosines);
        for (at, cosines) in cosines.chunks_exact(rows.len()).enumerate() {
            let query = photos[block * BLOCK + at];
            let mut near: Vec<(f32, usize)> = cosines
                .iter()
                .copied()
                .enumerate()
                .filter(|(row, _)| photos[*row].group != query.group)
                .map(|(row, cosine)| (cosine, row))
                .collect();
            near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            right += near.iter().take(NEIGHBOURS).filter(|(_, row)| photos[*row].truth(KIND) == query.truth(KIND)).count();
        }
    }
    right as f64 / (photos.len() * NEIGHBOURS) as f64
}

/// Signed square roots, at length 1.
fn rooted(photo: &Photo, view: usize) -> Vec<f32> {
    unit(photo.embeddings[view].iter().map(|value| value.abs().sqrt().copysign(*value)).collect())
}

fn centred(photos: &[&Photo]) -> Vec<Vec<f32>> {
    let rows: Vec<Vec<f32>> = photos.iter().map(|photo| rooted(photo, WHOLE)).collect();
    let mut mean = vec![0f64; rows[0].len()];
    rows.iter().for_each(|row| mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value)));
    let less = |row: Vec<f32>| row.iter().zip(&mean).map(|(value, sum)| value - (sum / photos.len() as f64) as f32).collect();
    rows.into_iter().map(|row| unit(less(row))).collect()
}

fn sum(vectors: &[Vec<f32>]) -> Vec<f32> {
    let mut all = vec![0f32; vectors[0].len()];
    vectors.iter().for_each(|vector| all.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value));
    unit(all)
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt().max(1e-12);
    vector.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
    vector
}

#[cfg(test)]
mod tests {
    use attributes::Label;

    use super::super::photos::measured_blank;
    use super::*;

    #[test]
    fn precision_counts_kinds_among_the_nearest_and_leaves_out_ones_own_group() {
        let photo = |id: usize, kind: &str| Photo {
            id: id.to_string(),
            // The first two are one photo.
            group: id.max(1) as u64,
            labels: vec![Label { attribute: KIND.to_owned(), value: kind.to_owned(), human: false }],
            measurements: measured_blank(),
            embeddings: vec![vec![if kind == "shirts" { 4.0 } else { 1.0 }, 1.0 + id as f32 / 100.0]],
        };
        let photos: Vec<Photo> = (0..24).map(|id| photo(id, if id < 12 { "shirts" } else { "jeans" })).collect();
        let photos: Vec<&Photo> = photos.iter().collect();
        let rows: Vec<Vec<f32>> = photos.iter().map(|photo| WAYS[0].1(photo)).collect();
        // Twelve of a kind: ten others for each photo, and just ten for the two that are one.
        assert_eq!(precision(&photos, &rows), 1.0);
        let same: Vec<Vec<f32>> = photos.iter().map(|_| vec![1.0]).collect();
        assert!(precision(&photos, &same) < 1.0);
    }
}
