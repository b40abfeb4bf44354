//! Teaching: rows are chosen and put in order, every attribute's mix is found on rows that its probes had not seen, and then a probe is
//! fitted on all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::features::{self, Block};
use super::mix::{Mix, Said};
use super::neighbours::{self, Near};
use super::probe::{Examples, Probe};
use super::projection::Projection;
use super::taught::{self, Taught, TaughtAttribute};
use super::{CLASSES_MAX, DIMENSIONS_MAX, Lesson, ROWS_MIN, Row, TeachError, TeachSettings, parallel};
use crate::pixels::Measurements;
use crate::random::mixed;
use crate::report;
use crate::vocabulary::{Measure, Vocabulary};
use crate::zero_shot::ZeroShot;

/// Rows of a label that no more than this bear are all kept.
const RARE: usize = 20;
/// Neighbours found of each row, of which those with a label of the attribute vote.
const FOUND: usize = 4;

/// Learns every attribute of the vocabulary that the rows label with at least two values. `model` is the fingerprint of what made the
/// embeddings: what is learned belongs to it and to the vocabulary. The order of the rows does not matter.
///
/// # Errors
/// Too few rows, embeddings that are none or of different sizes, settings that cannot be.
pub fn teach(
    vocabulary: &Vocabulary,
    model: &str,
    rows: &[Row<'_>],
    settings: &TeachSettings,
) -> Result<(Taught, Vec<Lesson>), TeachError> {
    teach_with(None, vocabulary, model, rows, settings)
}

/// [`teach`] with directions of words in the space of the embeddings: what they say of the rows gets as much weight as it has earned there.
///
/// # Errors
/// As [`teach`].
pub fn teach_with(
    zero_shot: Option<&ZeroShot>,
    vocabulary: &Vocabulary,
    model: &str,
    rows: &[Row<'_>],
    settings: &TeachSettings,
) -> Result<(Taught, Vec<Lesson>), TeachError> {
    check(rows, settings)?;
    let rows = chosen(rows, settings);
    let dimensions = rows.first().map_or(0, |row| row.embedding.len());
    let embeddings: Vec<&[f32]> = rows.iter().map(|row| row.embedding).collect();
    let projection = Projection::fit(&embeddings, dimensions, settings.components);
    let codes = projection.codes(&embeddings);
    let components = projection.components();
    let unit = neighbours::unit(codes.clone(), components);
    let folds: Vec<usize> = rows.iter().map(|row| (mixed(row.group) % settings.folds as u64) as usize).collect();
    let near = neighbours::nearest(&unit, &unit, components, FOUND * settings.neighbours, |query, row| folds[query] != folds[row]);
    let class = Class { rows: &rows, codes: &codes, components, folds: &folds, near: &near, zero_shot, settings };
    let subjects: Vec<Subject<'_>> =
        vocabulary.attributes().iter().filter_map(|attribute| class.subject(&attribute.name, attribute.measured)).collect();
    // The checks of all attributes, ridges and folds are jobs of their own: the threads have something to share.
    let (ridges, parts) = (settings.ridges.len(), settings.folds);
    let checks = parallel::all(subjects.len() * ridges * parts, settings.threads, |job| {
        class.check(&subjects[job / (ridges * parts)], settings.ridges[job / parts % ridges], job % parts)
    });
    let judged: Vec<Judged> =
        subjects.iter().zip(checks.chunks(ridges * parts)).map(|(subject, checks)| class.judge(subject, checks)).collect();
    let fitted = parallel::all(subjects.len(), settings.threads, |job| {
        let subject = &subjects[job];
        let all: Vec<usize> = (0..subject.examples.len()).collect();
        class.fit(subject, &all, judged[job].ridge)
    });
    let mut lessons = Vec::new();
    let mut attributes = Vec::new();
    for ((subject, judged), probe) in subjects.into_iter().zip(judged).zip(fitted) {
        attributes.push(subject.taught(rows.len(), probe, &judged));
        lessons.push(judged.lesson);
    }
    let products = rows.iter().map(|row| row.product.to_owned()).collect();
    let taught = Taught::new(
        model.to_owned(),
        vocabulary.fingerprint().to_owned(),
        (settings.neighbours, settings.human_weight),
        projection,
        products,
        unit,
        attributes,
    );
    Ok((taught, lessons))
}

fn check(rows: &[Row<'_>], settings: &TeachSettings) -> Result<(), TeachError> {
    let is_sound = |value: f32| value.is_finite() && value > 0.0;
    let ridges = &settings.ridges;
    if ridges.is_empty() || ridges.len() > 8 || !ridges.iter().all(|ridge| is_sound(*ridge)) {
        return Err(TeachError::Setting("between 1 and 8 ridges, each above 0"));
    }
    if !(2..=20).contains(&settings.folds) {
        return Err(TeachError::Setting("between 2 and 20 folds"));
    }
    if !(1..=100).contains(&settings.neighbours) || settings.components == 0 || settings.rows_max < ROWS_MIN {
        return Err(TeachError::Setting("between 1 and 100 neighbours, at least one component and enough rows"));
    }
    if !is_sound(settings.human_weight) || !(0.0..=1.0).contains(&settings.precision) {
        return Err(TeachError::Setting("a human weight above 0 and a precision from 0 to 1"));
    }
    let labelled = rows.iter().filter(|row| !row.labels.is_empty());
    let dimensions = labelled.clone().next().map_or(0, |row| row.embedding.len());
    for row in labelled.clone() {
        let detail = match row.embedding {
            embedding if embedding.is_empty() || embedding.len() > DIMENSIONS_MAX => format!("{} numbers", embedding.len()),
            embedding if embedding.len() != dimensions => format!("{} numbers, others have {dimensions}", embedding.len()),
            embedding if !embedding.iter().all(|value| value.is_finite()) => "a number that is none".to_owned(),
            _ => continue,
        };
        return Err(TeachError::Embedding { product: row.product.to_owned(), detail });
    }
    match labelled.count() {
        count if count < ROWS_MIN => Err(TeachError::TooFew(count)),
        _ => Ok(()),
    }
}

/// The labelled rows that are learned from, in an order of their own. Of too many each is drawn with a weight: what a person said stays,
/// and the rarer a row's rarest label, the likelier it is drawn (Efraimidis and Spirakis 2006).
fn chosen<'a>(rows: &[Row<'a>], settings: &TeachSettings) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = rows.iter().filter(|row| !row.labels.is_empty()).copied().collect();
    rows.sort_by(|a, b| (a.product, a.group, a.labels).cmp(&(b.product, b.group, b.labels)));
    if rows.len() <= settings.rows_max {
        return rows;
    }
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for label in rows.iter().flat_map(|row| row.labels) {
        *counts.entry((&label.attribute, &label.value)).or_default() += 1;
    }
    let key = |place: usize, row: &Row<'_>| {
        let rarest = row.labels.iter().map(|label| counts[&(label.attribute.as_str(), label.value.as_str())]).min().unwrap_or(1);
        if rarest <= RARE || row.labels.iter().any(|label| label.human) {
            return 0.0;
        }
        let drawn = (mixed(row.group ^ mixed(place as u64)) >> 11) as f64 / (1u64 << 53) as f64;
        drawn.max(1e-12).ln() * (rarest as f64).sqrt()
    };
    let mut keyed: Vec<(f64, usize)> = rows.iter().enumerate().map(|(place, row)| (key(place, row), place)).collect();
    keyed.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut kept: Vec<usize> = keyed[..settings.rows_max].iter().map(|(_, place)| *place).collect();
    kept.sort_unstable();
    kept.into_iter().map(|place| rows[place]).collect()
}

/// All that is taught from.
struct Class<'a> {
    rows: &'a [Row<'a>],
    codes: &'a [f32],
    components: usize,
    folds: &'a [usize],
    near: &'a [Vec<Near>],
    zero_shot: Option<&'a ZeroShot>,
    settings: &'a TeachSettings,
}

/// One attribute to learn.
struct Subject<'a> {
    name: &'a str,
    measure: Option<Measure>,
    block: Block,
    classes: Vec<String>,
    /// Rows ascend.
    examples: Vec<Example>,
}

/// One label of one row.
struct Example {
    row: usize,
    class: usize,
    weight: f32,
    human: bool,
}

/// What came of an attribute's checks.
struct Judged {
    ridge: f32,
    mix: Mix,
    threshold: f32,
    lesson: Lesson,
}

impl Class<'_> {
    /// The attribute's classes and examples; `None` where there are not two classes or too few rows.
    fn subject<'s>(&self, name: &'s str, measure: Option<Measure>) -> Option<Subject<'s>> {
        let labels = |row: &Row<'_>| -> Vec<(String, bool)> {
            let own: Vec<_> = row.labels.iter().filter(|label| label.attribute == name).collect();
            // A person's word silences the catalog's.
            let has_human = own.iter().any(|label| label.human);
            let said: BTreeSet<(String, bool)> =
                own.into_iter().filter(|label| label.human == has_human).map(|label| (label.value.clone(), label.human)).collect();
            said.into_iter().collect()
        };
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        self.rows.iter().flat_map(labels).for_each(|(value, _)| *counts.entry(value).or_default() += 1);
        let mut frequent: Vec<(usize, String)> = counts.into_iter().map(|(value, count)| (count, value)).collect();
        frequent.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        frequent.truncate(CLASSES_MAX);
        let mut classes: Vec<String> = frequent.into_iter().map(|(_, value)| value).collect();
        classes.sort_unstable();
        let mut examples = Vec::new();
        for (place, row) in self.rows.iter().enumerate() {
            let own: Vec<(usize, bool)> =
                labels(row).into_iter().filter_map(|(value, human)| Some((classes.binary_search(&value).ok()?, human))).collect();
            let weight = |human: bool| if human { self.settings.human_weight } else { 1.0 };
            examples.extend(own.iter().map(|(class, human)| Example {
                row: place,
                class: *class,
                weight: weight(*human) / own.len() as f32,
                human: *human,
            }));
        }
        let measured: Vec<Option<&Measurements>> = examples.iter().map(|example: &Example| self.rows[example.row].measurements).collect();
        let is_enough = classes.len() >= 2 && examples.len() >= ROWS_MIN;
        is_enough.then(|| Subject { name, measure, block: Block::fit(measure, &measured), classes, examples })
    }

    /// Features of examples, one after the other.
    fn features(&self, subject: &Subject<'_>, examples: &[usize]) -> Vec<f32> {
        let mut features = Vec::with_capacity(examples.len() * (self.components + subject.block.len()));
        for example in examples {
            let row = subject.examples[*example].row;
            features.extend_from_slice(&self.codes[row * self.components..][..self.components]);
            subject.block.append(self.rows[row].measurements, &mut features);
        }
        features
    }

    fn fit(&self, subject: &Subject<'_>, examples: &[usize], ridge: f32) -> Probe {
        let features = self.features(subject, examples);
        let classes: Vec<(usize, f32)> =
            examples.iter().map(|example| (subject.examples[*example].class, subject.examples[*example].weight)).collect();
        Probe::fit(Examples { features: &features, classes: &classes }, subject.classes.len(), ridge)
    }

    /// Examples of one fold, or of all others.
    fn part(&self, subject: &Subject<'_>, fold: usize, is_in: bool) -> Vec<usize> {
        (0..subject.examples.len()).filter(|example| (self.folds[subject.examples[*example].row] == fold) == is_in).collect()
    }

    /// Scores of a fold's examples by a probe that saw the others.
    fn check(&self, subject: &Subject<'_>, ridge: f32, fold: usize) -> Vec<f32> {
        let probe = self.fit(subject, &self.part(subject, fold, false), ridge);
        let own = self.part(subject, fold, true);
        probe.scores(&self.features(subject, &own), own.len())
    }

    /// Chooses ridge and mix by the checks, and the threshold.
    fn judge(&self, subject: &Subject<'_>, checks: &[Vec<f32>]) -> Judged {
        let (settings, classes) = (self.settings, subject.classes.len());
        let class_of = subject.class_of(self.rows.len());
        let frequency = subject.frequency();
        let order: Vec<usize> = (0..settings.folds).flat_map(|fold| self.part(subject, fold, true)).collect();
        let truth: Vec<(usize, f32)> =
            order.iter().map(|example| (subject.examples[*example].class, subject.examples[*example].weight)).collect();
        let (mut near, mut measured, mut heard) = (Vec::new(), Vec::new(), Vec::new());
        for example in &order {
            let row = subject.examples[*example].row;
            near.extend(neighbours::shares(&self.near[row], settings.neighbours, &frequency, |row| {
                class_of[row].map(|(class, human)| (class, if human { settings.human_weight } else { 1.0 }))
            }));
            if let Some(measure) = subject.measure {
                let said = self.rows[row].measurements.and_then(|found| features::shares(measure, found, &subject.classes));
                measured.extend(said.unwrap_or_else(|| frequency.clone()));
            }
            let said = self.zero_shot.and_then(|words| words.shares(subject.name, self.rows[row].embedding, &subject.classes));
            heard.extend(said.into_iter().flatten());
        }
        // Words that know the attribute speak of every row or, where a vector is none, of none.
        if heard.len() != near.len() {
            heard.clear();
        }
        let mut best: Option<(f64, f32, Mix, Vec<report::Answer>)> = None;
        for (ridge, checks) in settings.ridges.iter().zip(checks.chunks(settings.folds)) {
            let scores = checks.concat();
            let said = Said { classes, scores: &scores, neighbours: &near, measured: &measured, heard: &heard, truth: &truth };
            let (mix, loss) = Mix::fit(&said);
            if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
                best = Some((loss, *ridge, mix, said.answers(&mix)));
            }
        }
        let (_, ridge, mix, answers) = best.unwrap_or((0.0, settings.ridges[0], Mix::default(), Vec::new()));
        let threshold = report::threshold(&answers, settings.precision);
        let quality = report::quality(&answers, threshold);
        let lesson = Lesson { attribute: subject.name.to_owned(), rows: subject.examples.len(), classes, threshold, quality };
        Judged { ridge, mix, threshold, lesson }
    }
}

impl Subject<'_> {
    /// The class of each row, of several the first, and whether a person said it.
    fn class_of(&self, rows: usize) -> Vec<Option<(usize, bool)>> {
        let mut class_of = vec![None; rows];
        for Example { row, class, human, .. } in self.examples.iter().rev() {
            class_of[*row] = Some((*class, *human));
        }
        class_of
    }

    /// Share of each class.
    fn frequency(&self) -> Vec<f32> {
        let mut frequency = vec![0f32; self.classes.len()];
        self.examples.iter().for_each(|example| frequency[example.class] += example.weight);
        let sum: f32 = frequency.iter().sum();
        frequency.into_iter().map(|weight| weight / sum.max(1e-12)).collect()
    }

    fn taught(self, rows: usize, probe: Probe, judged: &Judged) -> TaughtAttribute {
        let class_of = self.class_of(rows).into_iter().map(taught::packed).collect();
        let frequency = self.frequency();
        TaughtAttribute {
            name: self.name.to_owned(),
            measure: self.measure,
            classes: self.classes,
            frequency,
            block: self.block,
            probe,
            mix: judged.mix,
            threshold: judged.threshold,
            accuracy: judged.lesson.quality.accuracy as f32,
            class_of,
        }
    }
}
