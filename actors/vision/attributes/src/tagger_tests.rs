//! What is told when sources agree, disagree, are missing, or a person has spoken.

use super::*;
use crate::pixels::{Pattern, Region};
use crate::teacher::{Row, TeachSettings, teach};
use crate::{ZeroShot, pixels};

const KINDS: [&str; 2] = ["shirts", "jeans"];

fn embedding(kind: usize, row: usize) -> Vec<f32> {
    (0..8).map(|at| if at % 2 == kind { 1.0 } else { 0.0 } + ((row * 31 + at * 17) % 13) as f32 / 60.0).collect()
}

fn taught() -> Taught {
    let labels = KINDS.map(|kind| vec![Label { attribute: "article_type".to_owned(), value: kind.to_owned(), human: false }]);
    let made: Vec<(String, Vec<f32>)> = (0..80).map(|row| (format!("p{row:02}"), embedding(row % 2, row))).collect();
    let rows: Vec<Row<'_>> = made
        .iter()
        .enumerate()
        .map(|(at, (product, embedding))| Row { product, group: at as u64, embedding, measurements: None, labels: &labels[at % 2] })
        .collect();
    teach(&Vocabulary::compiled_in(), "m", &rows, &TeachSettings { components: 6, ..TeachSettings::default() }).expect("taught").0
}

fn tags_of(look: &Look<'_>, taught: Option<&Taught>, attribute: &str) -> Vec<Tag> {
    let tags = tag(&Vocabulary::compiled_in(), taught, look, &TagSettings::default());
    tags.into_iter().filter(|tag| tag.attribute == attribute).collect()
}

fn label(value: &str, human: bool) -> Label {
    Label { attribute: "article_type".to_owned(), value: value.to_owned(), human }
}

#[test]
fn what_was_learned_is_a_fact_with_evidence() {
    let (taught, embedding) = (taught(), embedding(1, 3));
    let found = tags_of(&Look { embedding: &embedding, ..Look::default() }, Some(&taught), "article_type");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].value.as_str(), found[0].source, found[0].is_fact), ("jeans", Source::Learned, true));
    assert!(found[0].confidence > 0.8 && !found[0].evidence.is_empty(), "{found:?}");
    assert!(found[0].evidence.iter().all(|product| product[1..].parse::<usize>().expect("a number") % 2 == 1), "jeans alone");
}

#[test]
fn between_two_kinds_there_are_only_suggestions() {
    let taught = taught();
    let look = [0.5; 8];
    let found = tags_of(&Look { embedding: &look, ..Look::default() }, Some(&taught), "article_type");
    assert!(!found.is_empty() && found.iter().all(|tag| !tag.is_fact && tag.confidence < 0.95), "{found:?}");
}

#[test]
fn stated_labels_win_and_only_a_sure_contradiction_is_suggested() {
    let (taught, embedding) = (taught(), embedding(1, 3));
    let told = |stated: &[Label]| {
        let found = tags_of(&Look { embedding: &embedding, stated, ..Look::default() }, Some(&taught), "article_type");
        found.into_iter().map(|tag| (tag.value, tag.source, tag.is_fact)).collect::<Vec<_>>()
    };
    let of = |value: &str, source, is_fact| (value.to_owned(), source, is_fact);
    assert_eq!(told(&[label("jeans", false)]), [of("jeans", Source::Stated, true)]);
    assert_eq!(told(&[label("shirts", false)]), [of("shirts", Source::Stated, true), of("jeans", Source::Learned, false)]);
    assert_eq!(told(&[label("shirts", true)]), [of("shirts", Source::Human, true)]);
    assert_eq!(
        told(&[label("jeans", false), label("hat", true)]),
        [of("hat", Source::Human, true)],
        "the person's word silences the catalog's"
    );
}

#[test]
fn zero_shot_suggests_and_adds_up_with_what_was_learned() {
    let text = "[[attribute]]\nname = \"article_type\"\n[[attribute.value]]\nname = \"shirts\"\n[[attribute.value]]\nname = \"jeans\"\n";
    let vocabulary = Vocabulary::parse(text, "test").expect("sound");
    let prompts = ZeroShot::prompts(&vocabulary);
    let vectors: Vec<Vec<f32>> =
        prompts.iter().map(|prompt| if prompt.value == "jeans" { vec![0.0, 1.0] } else { vec![1.0, 0.0] }).collect();
    let zero_shot = ZeroShot::new(&prompts, &vectors).expect("directions");
    let words = [0.1f32, 0.9];
    let look = Look { zero_shot: Some((&zero_shot, &words)), ..Look::default() };
    let alone = tag(&vocabulary, None, &look, &TagSettings::default());
    assert_eq!((alone[0].value.as_str(), alone[0].source, alone[0].is_fact), ("jeans", Source::ZeroShot, false), "nothing vouches for it");
    assert!(alone[0].threshold > Some(1.0));
    let (taught, embedding) = (taught(), embedding(1, 3));
    let both = tag(&vocabulary, Some(&taught), &Look { embedding: &embedding, ..look }, &TagSettings::default());
    assert_eq!((both[0].value.as_str(), both[0].source, both[0].is_fact), ("jeans", Source::Learned, true));
    assert_eq!(both.len(), 1, "words say nothing of what was learned from pictures: {both:?}");
}

#[test]
fn words_suggest_what_no_labelled_picture_bears_and_keep_it_from_being_another_fact() {
    let text = "[[attribute]]\nname = \"article_type\"\n[[attribute.value]]\nname = \"jeans\"\n[[attribute.value]]\nname = \"hats\"\n";
    let vocabulary = Vocabulary::parse(text, "test").expect("sound");
    let prompts = ZeroShot::prompts(&vocabulary);
    let vectors: Vec<Vec<f32>> =
        prompts.iter().map(|prompt| if prompt.value == "hats" { vec![0.0, 1.0] } else { vec![1.0, 0.0] }).collect();
    let mut zero_shot = ZeroShot::new(&prompts, &vectors).expect("directions");
    let (taught, embedding) = (taught(), embedding(1, 3));
    let words = [0.1f32, 0.9];
    let told = |taught: &Taught, zero_shot: &ZeroShot| {
        let look = Look { embedding: &embedding, zero_shot: Some((zero_shot, &words)), ..Look::default() };
        tag(&vocabulary, Some(taught), &look, &TagSettings::default())
    };
    let sure = told(&taught, &zero_shot);
    assert_eq!((sure.len(), sure[0].value.as_str(), sure[0].is_fact), (1, "jeans", true), "unchecked words against what is always right");
    let mut usual = taught.clone();
    usual.attributes.iter_mut().for_each(|attribute| attribute.accuracy = 0.75);
    let usual = told(&usual, &zero_shot);
    assert_eq!((usual[1].value.as_str(), usual[1].source, usual[1].is_fact), ("hats", Source::ZeroShot, false), "{usual:?}");
    // Where words are right far more often than what was learned, their word against it leaves two suggestions.
    let direction = [0.0f32, 1.0];
    zero_shot.calibrate("article_type", &[(&direction[..], "hats"); 40], 0.95);
    let mut weak = taught.clone();
    weak.attributes.iter_mut().for_each(|attribute| {
        (attribute.accuracy, attribute.threshold, attribute.mix.temperature) = (0.3, 0.5, 8.0);
    });
    let tags = told(&weak, &zero_shot);
    assert_eq!((tags[0].value.as_str(), tags[0].source), ("hats", Source::ZeroShot), "{tags:?}");
    assert!(tags.iter().all(|tag| !tag.is_fact && tag.threshold.is_some_and(|threshold| tag.confidence < threshold)), "{tags:?}");
}

#[test]
fn words_that_are_right_are_learned_from() {
    // The embeddings of the rows tell nothing to a probe of a single component, words tell everything.
    let text = "[[attribute]]\nname = \"article_type\"\n[[attribute.value]]\nname = \"jeans\"\n[[attribute.value]]\nname = \"shirts\"\n";
    let vocabulary = Vocabulary::parse(text, "test").expect("sound");
    let prompts = ZeroShot::prompts(&vocabulary);
    let vectors: Vec<Vec<f32>> =
        prompts.iter().map(|prompt| if prompt.value == "jeans" { vec![0.0, 0.0, 1.0] } else { vec![0.0, 0.0, -1.0] }).collect();
    let mut zero_shot = ZeroShot::new(&prompts, &vectors).expect("directions");
    let labels = KINDS.map(|kind| vec![label(kind, false)]);
    // Loud noise in two directions, and a quiet one that tells.
    let noise = |row: usize, at: usize| ((row * 37 + at * 61) * 7919 % 1009) as f32 / 504.5 - 1.0;
    let made: Vec<Vec<f32>> = (0..120).map(|row| vec![noise(row, 0), noise(row, 1), if row % 2 == 1 { 0.08 } else { -0.08 }]).collect();
    let rows: Vec<Row<'_>> = made
        .iter()
        .enumerate()
        .map(|(at, embedding)| Row { product: "p", group: at as u64, embedding, measurements: None, labels: &labels[at % 2] })
        .collect();
    let known: Vec<(&[f32], &str)> = made.iter().enumerate().map(|(at, embedding)| (&embedding[..], KINDS[at % 2])).collect();
    zero_shot.calibrate("article_type", &known, 0.95);
    let settings = TeachSettings { components: 1, ..TeachSettings::default() };
    let (_, without) = teach(&vocabulary, "m", &rows, &settings).expect("taught");
    let (taught, with) = crate::teach_with(Some(&zero_shot), &vocabulary, "m", &rows, &settings).expect("taught");
    let accuracy = |lessons: &[crate::teacher::Lesson]| lessons[0].quality.accuracy;
    assert!(accuracy(&with) > accuracy(&without) + 0.2, "{:?} {:?}", accuracy(&with), accuracy(&without));
    let look = Look { embedding: &made[1], zero_shot: Some((&zero_shot, &made[1])), ..Look::default() };
    assert_eq!(tag(&vocabulary, Some(&taught), &look, &TagSettings::default())[0].value, "jeans");
}

#[test]
fn what_was_measured_speaks_where_nothing_was_learned() {
    let named = |name: &str, share| pixels::Named { name: name.to_owned(), share };
    let measured = |names| Measurements {
        object: Region { x: 0.0, y: 0.0, width: 1.0, height: 1.0, score: 0.0 },
        objects: Vec::new(),
        product_share: 0.5,
        colours: Vec::new(),
        names,
        histogram: vec![0.0; pixels::HISTOGRAM_LEN],
        pattern: Pattern::default(),
    };
    for (names, expected) in [
        (vec![named("red", 0.97), named("pink", 0.03)], vec![("red", true)]),
        (vec![named("red", 0.7), named("pink", 0.3)], vec![("red", false), ("pink", false)]),
        (vec![named("no such colour", 1.0)], vec![]),
        (vec![], vec![]),
    ] {
        let measurements = measured(names);
        let found = tags_of(&Look { measurements: Some(&measurements), ..Look::default() }, None, "colour");
        assert_eq!(found.iter().map(|tag| (tag.value.as_str(), tag.is_fact)).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|tag| tag.source == Source::Measured && tag.source.as_str() == "measured"));
    }
}

#[test]
fn of_nothing_known_nothing_is_told() {
    assert_eq!(tag(&Vocabulary::compiled_in(), None, &Look::default(), &TagSettings::default()), []);
}
