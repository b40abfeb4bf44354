//! Teaching on made-up rows whose truth is known, the saved form, and what must not change the result.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::LoadError;
use crate::random::{Random, mixed};
use crate::vocabulary::Vocabulary;

const DIMENSIONS: usize = 24;
const KINDS: [&str; 4] = ["shirts", "jeans", "watches", "belts"];

struct Shop {
    products: Vec<String>,
    embeddings: Vec<Vec<f32>>,
    labels: Vec<Vec<Label>>,
}

fn label(attribute: &str, value: &str, human: bool) -> Label {
    Label { attribute: attribute.to_owned(), value: value.to_owned(), human }
}

/// Kinds are directions with noise; of every tenth row the label is wrong.
fn shop(count: usize, noise: f32, seed: u64) -> Shop {
    let mut random = Random::new(seed);
    let mut shop = Shop { products: Vec::new(), embeddings: Vec::new(), labels: Vec::new() };
    for row in 0..count {
        let kind = row % KINDS.len();
        let embedding =
            (0..DIMENSIONS).map(|at| if at % KINDS.len() == kind { 1.0 } else { 0.0 } + noise * random.signed().abs()).collect();
        let said = if row % 10 == 9 { (kind + 1) % KINDS.len() } else { kind };
        shop.products.push(format!("p{row:04}"));
        shop.embeddings.push(embedding);
        let category = if KINDS[said] == "shirts" || KINDS[said] == "jeans" { "apparel" } else { "accessories" };
        shop.labels.push(vec![label("article_type", KINDS[said], false), label("category", category, false)]);
    }
    shop
}

impl Shop {
    fn rows(&self) -> Vec<Row<'_>> {
        let rows = self.products.iter().zip(&self.embeddings).zip(&self.labels).enumerate();
        rows.map(|(at, ((product, embedding), labels))| Row { product, group: at as u64, embedding, measurements: None, labels }).collect()
    }

    fn taught(&self, settings: &TeachSettings) -> (Taught, Vec<Lesson>) {
        teach(&Vocabulary::compiled_in(), "model-1", &self.rows(), settings).expect("taught")
    }
}

fn quick() -> TeachSettings {
    TeachSettings { components: 12, ..TeachSettings::default() }
}

fn first<'a>(taught: &'a Taught, attribute: &str, embedding: &[f32]) -> Guess<'a> {
    taught.guess(embedding, None).into_iter().find(|guess| guess.attribute == attribute).expect("learned")
}

#[test]
fn kinds_are_learned_through_wrong_labels_and_checks_tell_how_often_they_disagree() {
    let shop = shop(300, 0.6, 1);
    let (taught, lessons) = shop.taught(&quick());
    let names: Vec<&str> = lessons.iter().map(|lesson| lesson.attribute.as_str()).collect();
    assert_eq!(names, ["category", "article_type"], "in the vocabulary's order");
    let mut right = 0;
    for (row, embedding) in shop.embeddings.iter().enumerate() {
        let guess = first(&taught, "article_type", embedding);
        right += usize::from(guess.shares[0].0 == KINDS[row % KINDS.len()]);
        assert!((guess.shares.iter().map(|(_, share)| share).sum::<f32>() - 1.0).abs() < 1e-4);
        assert!(!guess.evidence.is_empty());
    }
    assert!(right >= 290, "{right} of 300 by the truth, though a tenth was labelled wrong");
    let quality = lessons[1].quality;
    assert!((0.85..=0.92).contains(&quality.accuracy) && quality.calibration_error < 0.05, "{quality:?}");
}

#[test]
fn the_order_of_rows_and_the_threads_change_nothing() {
    let shop = shop(80, 0.8, 2);
    let (taught, lessons) = shop.taught(&quick());
    let mut rows = shop.rows();
    rows.reverse();
    let settings = TeachSettings { threads: 3, ..quick() };
    let (again, relearned) = teach(&Vocabulary::compiled_in(), "model-1", &rows, &settings).expect("taught");
    assert_eq!((taught.save(), lessons), (again.save(), relearned));
}

#[test]
fn what_people_say_of_some_teaches_of_the_unseen() {
    let mut shop = shop(120, 0.3, 3);
    // Every watch was labelled a belt; people set a third right.
    for (row, labels) in shop.labels.iter_mut().enumerate().filter(|(row, _)| row % 4 == 2) {
        *labels = vec![label("article_type", "belts", false)];
        if row % 3 == 0 {
            labels.push(label("article_type", "watches", true));
        }
    }
    let unseen: Vec<f32> = (0..DIMENSIONS).map(|at| if at % KINDS.len() == 2 { 1.0 } else { 0.1 }).collect();
    let (taught, _) = shop.taught(&quick());
    assert_eq!(first(&taught, "article_type", &unseen).shares[0].0, "watches");
    shop.labels.iter_mut().for_each(|labels| labels.retain(|label| !label.human));
    let (taught, _) = shop.taught(&quick());
    assert_eq!(first(&taught, "article_type", &unseen).shares[0].0, "belts", "without them the catalog is believed");
}

#[test]
fn of_too_many_rows_rare_labels_and_corrections_stay() {
    let mut shop = shop(400, 0.3, 4);
    shop.labels[17] = vec![label("article_type", "hat", true)];
    for row in [30, 31, 32] {
        shop.labels[row] = vec![label("article_type", "gloves", false)];
    }
    let (taught, _) = shop.taught(&TeachSettings { rows_max: 60, ..quick() });
    assert_eq!(taught.rows(), 60);
    let guess = first(&taught, "article_type", &shop.embeddings[0]);
    let classes: BTreeMap<&str, f32> = guess.shares.iter().copied().collect();
    assert!(classes.contains_key("hat") && classes.contains_key("gloves"), "{classes:?}");
}

#[test]
fn equal_pictures_are_never_on_both_sides_of_a_check() {
    // Embeddings say nothing, but each stands there twice: checks that leak would find them easy.
    let mut random = Random::new(5);
    let mut shop = shop(120, 0.0, 5);
    for pair in 0..60 {
        let embedding: Vec<f32> = (0..DIMENSIONS).map(|_| random.signed()).collect();
        let kind = KINDS[(mixed(pair) % 4) as usize];
        for row in [2 * pair as usize, 2 * pair as usize + 1] {
            shop.embeddings[row] = embedding.clone();
            shop.labels[row] = vec![label("article_type", kind, false)];
        }
    }
    let mut rows = shop.rows();
    rows.iter_mut().enumerate().for_each(|(at, row)| row.group = at as u64 / 2);
    let (_, lessons) = teach(&Vocabulary::compiled_in(), "m", &rows, &quick()).expect("taught");
    assert!(lessons[0].quality.accuracy < 0.5, "{:?}", lessons[0].quality);
}

#[test]
fn bad_rows_and_settings_are_refused_by_name() {
    let shop = shop(40, 0.3, 6);
    let refused = |change: &dyn Fn(&mut Vec<Row<'_>>), settings: TeachSettings| {
        let mut rows = shop.rows();
        change(&mut rows);
        teach(&Vocabulary::compiled_in(), "m", &rows, &settings).expect_err("refused").to_string()
    };
    const NAN: &[f32] = &[f32::NAN; DIMENSIONS];
    assert_eq!(refused(&|rows| rows.truncate(5), quick()), "5 labelled pictures, at least 20 are needed");
    assert_eq!(refused(&|rows| rows[3].embedding = &rows[3].embedding[1..], quick()), "the embedding of p0003: 23 numbers, others have 24");
    assert_eq!(refused(&|rows| rows[0].embedding = &[], quick()), "the embedding of p0000: 0 numbers");
    assert_eq!(refused(&|rows| rows[7].embedding = NAN, quick()), "the embedding of p0007: a number that is none");
    for settings in [
        TeachSettings { ridges: vec![], ..quick() },
        TeachSettings { ridges: vec![0.0], ..quick() },
        TeachSettings { folds: 1, ..quick() },
        TeachSettings { neighbours: 0, ..quick() },
        TeachSettings { human_weight: f32::NAN, ..quick() },
    ] {
        refused(&|_| {}, settings);
    }
}

#[test]
fn degenerate_rows_teach_without_a_panic() {
    let mut shop = shop(40, 0.3, 7);
    shop.embeddings.iter_mut().for_each(|embedding| embedding.fill(0.0));
    let (taught, _) = shop.taught(&quick());
    assert!(taught.guess(&[0.0; DIMENSIONS], None).iter().flat_map(|guess| &guess.shares).all(|(_, share)| share.is_finite()));
    assert_eq!(taught.guess(&[f32::NAN; DIMENSIONS], None), []);
    assert_eq!(taught.guess(&[1.0], None), []);
}

#[test]
fn a_saved_state_answers_as_before() {
    let shop = shop(60, 0.5, 8);
    let (taught, _) = shop.taught(&quick());
    let loaded = Taught::load(&taught.save()).expect("loaded");
    assert_eq!(loaded, taught);
    assert_eq!((loaded.model(), loaded.dimensions(), loaded.rows()), ("model-1", DIMENSIONS, 60));
}

#[test]
fn other_files_versions_and_damage_are_told_apart() {
    let bytes = shop(40, 0.5, 9).taught(&quick()).0.save();
    let changed = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        Taught::load(&bytes)
    };
    assert_eq!(Taught::load(b"GOTHattr"), Err(LoadError::Magic));
    assert_eq!(changed(0, b'X'), Err(LoadError::Magic));
    assert_eq!(changed(8, 9), Err(LoadError::Version(9)));
    assert_eq!(changed(40, bytes[40] ^ 1), Err(LoadError::Checksum));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_bytes_with_a_good_checksum_are_refused_or_sound(changes in prop::collection::vec((12_usize..3000, any::<u8>()), 1..6), cut in 0_usize..3000) {
        let mut bytes = small_state();
        bytes.truncate(bytes.len() - 32);
        for (at, to) in changes {
            let length = bytes.len();
            bytes[12 + at % (length - 12)] = to;
        }
        if cut % 3 == 0 {
            bytes.truncate(12 + cut % (bytes.len() - 12));
        }
        let checksum = *blake3::hash(&bytes).as_bytes();
        bytes.extend(checksum);
        if let Ok(taught) = Taught::load(&bytes) {
            let _ = taught.guess(&vec![0.5; taught.dimensions()], None);
        }
    }
}

/// A saved state of few bytes, taught once.
fn small_state() -> Vec<u8> {
    static STATE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    STATE.get_or_init(|| shop(20, 0.5, 10).taught(&TeachSettings { components: 2, ..TeachSettings::default() }).0.save()).clone()
}
