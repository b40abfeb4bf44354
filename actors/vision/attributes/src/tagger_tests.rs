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
    let (taught, embedding) = (taught(), embedding(1, 3));
    let both = tag(&vocabulary, Some(&taught), &Look { embedding: &embedding, ..look }, &TagSettings::default());
    assert_eq!((both[0].value.as_str(), both[0].source, both[0].is_fact), ("jeans", Source::Learned, true));
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
