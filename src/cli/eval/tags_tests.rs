//! Splits that part no group, means, and the confusion table.

use attributes::Label;

use super::super::photos::measured_blank;
use super::*;

fn photo(id: usize, group: u64, kind: &str) -> Photo {
    let label = Label { attribute: "article_type".to_owned(), value: kind.to_owned(), human: false };
    Photo { id: format!("p{id}"), group, labels: vec![label], measurements: measured_blank(), embeddings: Vec::new() }
}

#[test]
fn a_split_parts_no_group_and_follows_its_seed() {
    let photos: Vec<Photo> = (0..300).map(|id| photo(id, id as u64 / 3, "shirts")).collect();
    let ids = |seed| {
        let (known, asked) = parted(&photos, 0.5, seed);
        let groups = |some: &[&Photo]| some.iter().map(|photo| photo.group).collect::<BTreeSet<_>>();
        assert!(groups(&known).is_disjoint(&groups(&asked)) && known.len() + asked.len() == 300);
        assert!(known.len().abs_diff(150) <= 3, "{}", known.len());
        known.iter().map(|photo| photo.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1), ids(2));
}

#[test]
fn the_confusion_table_counts_labelled_against_said() {
    let photos: Vec<Photo> =
        ["shirts", "shirts", "tops, knitted", "shirts"].iter().enumerate().map(|(id, kind)| photo(id, 0, kind)).collect();
    let said = ["shirts", "tops, knitted", "tops, knitted", "tops, knitted"];
    let said = photos.iter().zip(said).map(|(photo, value)| {
        let truth = photo.truth("article_type").expect("labelled");
        Said { photo, truth, value: value.to_owned(), answer: Answer { confidence: 0.9, is_right: truth == value } }
    });
    let asked = Asked { attribute: "article_type".to_owned(), classes: 2, threshold: 0.5, said: said.collect() };
    assert_eq!(confusion_table(&asked), "labelled \\ said,shirts,\"tops, knitted\"\nshirts,1,2\n\"tops, knitted\",0,1\n");
    assert_eq!(confusions(&asked), [("shirts", "tops, knitted", 2, "p1")]);
    assert_eq!(told_confusions(&asked), "article_type: shirts as tops, knitted 2 (photo p1)");
    assert_eq!((asked.quality().accuracy, asked.quality().coverage), (0.5, 1.0));
}

#[test]
fn a_split_without_facts_does_not_lower_the_mean_precision() {
    let quality = |coverage, precision| Quality { answers: 100, accuracy: 0.8, coverage, precision, calibration_error: 0.1 };
    let mean = mean(&[quality(0.5, 0.96), quality(0.0, 0.0)]);
    assert!((mean.precision - 0.96).abs() < 1e-9 && (mean.coverage - 0.25).abs() < 1e-9, "{mean:?}");
}
