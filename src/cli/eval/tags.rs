//! `gotham eval tags`: how good visual tags are. One part of a labelled catalog's photos teaches, the other is asked, from the photo
//! alone; photos that are one and the same are never parted. Thresholds and everything else are found within the part that teaches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use attributes::report::{Answer, Quality, quality};
use attributes::{Row, TeachSettings, Vocabulary, teach};
use clap::Args;
use serde_json::json;

use super::super::{Common, Failure, Outcome};
use super::photos::{Photo, Photos, View, photos};
use super::random::Random;
use super::{read, reliability};

/// Splits that can be asked for.
const SPLITS_MAX: u64 = 100;
/// Confusions told in text.
const CONFUSIONS_TOLD: usize = 8;

#[derive(Args)]
pub(in crate::cli) struct TagsArgs {
    /// Labelled catalog (CSV): id, image, and the columns that the vocabulary is taught by
    #[arg(long, value_name = "CSV")]
    catalog: PathBuf,
    /// Folder of the photos that it names [default: the catalog's own folder]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Share of the photos that teaches
    #[arg(long, default_value_t = 0.5, value_name = "SHARE")]
    split: f64,
    /// Another catalog whose photos are asked instead; all of --catalog then teaches
    #[arg(long, value_name = "CSV")]
    ask: Option<PathBuf>,
    /// Seed of the (first) split
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Splits of further seeds, whose mean is told, too
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    splits: u64,
    /// A tag is told as a fact where it is right at least this often
    #[arg(long, default_value_t = 0.95, value_name = "SHARE")]
    precision: f64,
    /// A shop's own vocabulary, laid over the one that is compiled in
    #[arg(long, value_name = "TOML")]
    vocabulary: Option<PathBuf>,
    /// Write reliability.svg and confusion-ATTRIBUTE.csv of the first split into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// One answered photo.
struct Said<'a> {
    photo: &'a Photo,
    truth: &'a str,
    value: String,
    answer: Answer,
}

/// What came of one attribute in one split.
struct Asked<'a> {
    attribute: String,
    classes: usize,
    threshold: f32,
    said: Vec<Said<'a>>,
}

impl Asked<'_> {
    fn quality(&self) -> Quality {
        let answers: Vec<Answer> = self.said.iter().map(|said| said.answer).collect();
        quality(&answers, self.threshold)
    }
}

/// Runs the command.
pub(super) fn tags(common: &Common, args: &TagsArgs) -> Outcome {
    let output = common.output();
    let usage = |detail: String| Failure::new(Failure::USAGE, detail);
    if !(0.05..=0.95).contains(&args.split) || !(0.0..=1.0).contains(&args.precision) || !(1..=SPLITS_MAX).contains(&args.splits) {
        return Err(usage(format!("--split from 0.05 to 0.95, --precision from 0 to 1, --splits from 1 to {SPLITS_MAX}")));
    }
    let mut vocabulary = Vocabulary::compiled_in();
    if let Some(path) = &args.vocabulary {
        vocabulary = vocabulary.extended(&read(path)?, &path.display().to_string()).map_err(|problems| usage(problems.to_string()))?;
    }
    let begun = Instant::now();
    let of = |catalog: &Path, images: Option<&Path>| photos(common, &vocabulary, catalog, images, &[View::Kept]);
    let teaching = of(&args.catalog, args.images.as_deref())?;
    let asking = args.ask.as_ref().map(|catalog| of(catalog, None)).transpose()?;
    for why in teaching.failed.iter().chain(asking.iter().flat_map(|asking| &asking.failed)) {
        output.note(why);
    }
    output.note(&format!("{} photos in {:.1} s", teaching.photos.len(), begun.elapsed().as_secs_f64()));
    let splits = if asking.is_some() { 1 } else { args.splits };
    let mut all: BTreeMap<String, Vec<Quality>> = BTreeMap::new();
    for seed in args.seed..args.seed.saturating_add(splits) {
        let (known, asked) = match &asking {
            Some(asking) => (teaching.photos.iter().collect(), asking.photos.iter().collect()),
            None => parted(&teaching.photos, args.split, seed),
        };
        let round = ask(&vocabulary, &teaching, &known, &asked, args.precision)?;
        for asked in &round {
            let quality = asked.quality();
            output.result(&line(asked, &quality, seed), || text(asked, &quality, seed));
            all.entry(asked.attribute.clone()).or_default().push(quality);
        }
        if let (Some(folder), true) = (&args.out, seed == args.seed) {
            write(folder, &round)?;
            output.note(&format!("written to {}", folder.display()));
        }
        if seed == args.seed {
            round.iter().for_each(|asked| output.note(&told_confusions(asked)));
        }
    }
    if splits > 1 {
        for (attribute, qualities) in &all {
            let mean = mean(qualities);
            output.result(&json!({"attribute": attribute, "splits": qualities.len(), "mean": measures(&mean)}), || {
                format!("{attribute:14} mean of {} splits: {}", qualities.len(), told(&mean))
            });
        }
    }
    Ok(())
}

/// Teaches with some photos and asks of the others.
fn ask<'a>(
    vocabulary: &Vocabulary,
    read: &Photos,
    known: &[&Photo],
    asked: &[&'a Photo],
    precision: f64,
) -> Result<Vec<Asked<'a>>, Failure> {
    let rows: Vec<Row<'_>> = known
        .iter()
        .map(|photo| Row {
            product: &photo.id,
            group: photo.group,
            embedding: &photo.embeddings[0],
            measurements: Some(&photo.measurements),
            labels: &photo.labels,
        })
        .collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let settings = TeachSettings { precision, threads, ..TeachSettings::default() };
    let (taught, lessons) =
        teach(vocabulary, &read.model.1, &rows, &settings).map_err(|error| Failure::new(Failure::FAILED, error.to_string()))?;
    let mut found: Vec<Asked<'a>> = lessons
        .iter()
        .map(|lesson| Asked { attribute: lesson.attribute.clone(), classes: lesson.classes, threshold: lesson.threshold, said: Vec::new() })
        .collect();
    for photo in asked {
        let guesses = taught.guess(&photo.embeddings[0], Some(&photo.measurements));
        for (asked, guess) in found.iter_mut().zip(guesses) {
            let (Some(truth), Some((value, confidence))) = (photo.truth(&asked.attribute), guess.shares.first()) else { continue };
            let answer = Answer { confidence: *confidence, is_right: truth == *value };
            asked.said.push(Said { photo, truth, value: (*value).to_owned(), answer });
        }
    }
    found.retain(|asked| !asked.said.is_empty());
    Ok(found)
}

/// Whole groups at random, until the share of photos is reached; the others.
fn parted(photos: &[Photo], share: f64, seed: u64) -> (Vec<&Photo>, Vec<&Photo>) {
    let mut groups: Vec<u64> = photos.iter().map(|photo| photo.group).collect::<BTreeSet<_>>().into_iter().collect();
    let mut sizes: BTreeMap<u64, usize> = BTreeMap::new();
    photos.iter().for_each(|photo| *sizes.entry(photo.group).or_default() += 1);
    Random::new(seed).shuffle(&mut groups);
    let mut count = 0;
    let wanted = share * photos.len() as f64;
    let known: BTreeSet<u64> = groups
        .into_iter()
        .take_while(|group| {
            let is_short = (count as f64) < wanted;
            count += sizes[group];
            is_short
        })
        .collect();
    photos.iter().partition(|photo| known.contains(&photo.group))
}

fn measures(quality: &Quality) -> serde_json::Value {
    let Quality { answers, accuracy, coverage, precision, calibration_error } = quality;
    json!({"photos": answers, "accuracy": accuracy, "coverage": coverage, "precision": precision, "calibration_error": calibration_error})
}

fn line(asked: &Asked<'_>, quality: &Quality, seed: u64) -> serde_json::Value {
    json!({
        "attribute": asked.attribute, "seed": seed, "values": asked.classes, "threshold": asked.threshold, "measures": measures(quality),
    })
}

fn text(asked: &Asked<'_>, quality: &Quality, seed: u64) -> String {
    format!("{:14} split {seed}, {:3} values, {:4} photos: {}", asked.attribute, asked.classes, quality.answers, told(quality))
}

fn told(quality: &Quality) -> String {
    let Quality { accuracy, coverage, precision, calibration_error, .. } = quality;
    format!(
        "accuracy {accuracy:.4} of all; facts {coverage:.3} of all, {precision:.4} of them right; calibration error {calibration_error:.3}"
    )
}

fn mean(qualities: &[Quality]) -> Quality {
    let of = |part: fn(&Quality) -> f64| qualities.iter().map(part).sum::<f64>() / qualities.len().max(1) as f64;
    // A split without facts has no precision.
    let (facts, right) = qualities.iter().fold((0.0, 0.0), |(facts, right), quality| {
        let some = quality.coverage * quality.answers as f64;
        (facts + some, right + some * quality.precision)
    });
    Quality {
        answers: qualities.iter().map(|quality| quality.answers).sum::<usize>() / qualities.len().max(1),
        accuracy: of(|quality| quality.accuracy),
        coverage: of(|quality| quality.coverage),
        precision: if facts > 0.0 { right / facts } else { 0.0 },
        calibration_error: of(|quality| quality.calibration_error),
    }
}

/// Labelled value, said value, times, and one photo for each; the most frequent first.
fn confusions<'s>(asked: &'s Asked<'_>) -> Vec<(&'s str, &'s str, usize, &'s str)> {
    let mut counts: BTreeMap<(&str, &str), (usize, &str)> = BTreeMap::new();
    for said in asked.said.iter().filter(|said| !said.answer.is_right) {
        counts.entry((said.truth, &said.value)).or_insert((0, &said.photo.id)).0 += 1;
    }
    let mut found: Vec<_> = counts.into_iter().map(|((truth, value), (count, photo))| (truth, value, count, photo)).collect();
    found.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| (a.0, a.1).cmp(&(b.0, b.1))));
    found
}

fn told_confusions(asked: &Asked<'_>) -> String {
    let found = confusions(asked);
    let told = found.iter().take(CONFUSIONS_TOLD).map(|(truth, value, count, photo)| format!("{truth} as {value} {count} (photo {photo})"));
    format!("{}: {}", asked.attribute, told.collect::<Vec<_>>().join(", "))
}

fn write(folder: &Path, round: &[Asked<'_>]) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let panels: Vec<reliability::Panel> = round
        .iter()
        .map(|asked| reliability::Panel {
            title: asked.attribute.clone(),
            threshold: asked.threshold,
            answers: asked.said.iter().map(|said| said.answer).collect(),
        })
        .collect();
    std::fs::write(folder.join("reliability.svg"), reliability::diagram(&panels))?;
    for asked in round {
        std::fs::write(folder.join(format!("confusion-{}.csv", asked.attribute)), confusion_table(asked))?;
    }
    Ok(())
}

/// A row for each labelled value, a column for each said one.
fn confusion_table(asked: &Asked<'_>) -> String {
    let values: BTreeSet<&str> = asked.said.iter().flat_map(|said| [said.truth, said.value.as_str()]).collect();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    asked.said.iter().for_each(|said| *counts.entry((said.truth, &said.value)).or_default() += 1);
    let mut text = String::from("labelled \\ said");
    values.iter().for_each(|value| {
        let _ = write!(text, ",{}", cell(value));
    });
    for truth in &values {
        let _ = write!(text, "\n{}", cell(truth));
        for value in &values {
            let _ = write!(text, ",{}", counts.get(&(truth, value)).copied().unwrap_or_default());
        }
    }
    text.push('\n');
    text
}

/// A CSV field, in quotes where it must be.
fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
#[path = "tags_tests.rs"]
mod tests;
