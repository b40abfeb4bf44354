//! What people say: checked against the vocabulary, kept, and laid over what was found.

use attributes::{Attribute, Vocabulary};
use domain::filter::nearest_names;
use protocol::tags::{Correction, Refusal, Tag, TagSource, Verdict};

use super::records::{KeptCorrection, KeptCorrections};

/// Names told to somebody who has misspelt one.
const NEAREST_MAX: usize = 3;
/// Values named to somebody whose value is near none.
const EXAMPLES_MAX: usize = 8;

/// Puts verdicts into what is kept. Nothing is changed where one of them is refused.
pub(crate) fn apply(
    kept: &mut KeptCorrections,
    vocabulary: &Vocabulary,
    verdicts: &[(String, Verdict)],
    by: &str,
    now_ms: i64,
) -> Result<(), Vec<Refusal>> {
    let mut changed = kept.corrections.clone();
    let mut refusals = Vec::new();
    for (name, verdict) in verdicts {
        // What belonged to an attribute that has left the vocabulary can still be taken back.
        let is_kept = changed.iter().any(|correction| correction.attribute == *name);
        let attribute = vocabulary.attribute(name);
        if attribute.is_none() && !(is_kept && *verdict == Verdict::Withdrawn) {
            refusals.push(unknown_attribute(vocabulary, name));
            continue;
        }
        let value = match (verdict, attribute) {
            (Verdict::Is(label), Some(attribute)) => match attribute.value_of(label) {
                Some(value) => Some(Some(value)),
                None => {
                    refusals.push(unknown_value(attribute, label));
                    continue;
                }
            },
            (Verdict::HasNone, _) => Some(None),
            _ => None,
        };
        changed.retain(|correction| correction.attribute != *name);
        if let Some(value) = value {
            changed.push(KeptCorrection { attribute: name.clone(), value, by: by.to_owned(), at_ms: now_ms });
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    changed.sort_by(|a, b| a.attribute.cmp(&b.attribute));
    kept.corrections = changed;
    Ok(())
}

fn unknown_attribute(vocabulary: &Vocabulary, name: &str) -> Refusal {
    let names = vocabulary.attributes().iter().map(|attribute| attribute.name.as_str());
    let near = nearest_names(name, names.clone(), NEAREST_MAX);
    let known = if near.is_empty() { names.collect() } else { near };
    Refusal { attribute: name.to_owned(), code: "unknown_attribute", detail: hint("there is no such attribute", &known) }
}

fn unknown_value(attribute: &Attribute, label: &str) -> Refusal {
    if attribute.open {
        let detail = "a value has 1 to 200 bytes and says something".to_owned();
        return Refusal { attribute: attribute.name.clone(), code: "invalid_value", detail };
    }
    let names = || attribute.values.iter().map(|value| value.name.as_str());
    let near = nearest_names(label, names(), NEAREST_MAX);
    let known: Vec<&str> = if near.is_empty() { names().take(EXAMPLES_MAX).collect() } else { near };
    Refusal { attribute: attribute.name.clone(), code: "unknown_value", detail: hint("the attribute has no such value", &known) }
}

fn hint(what: &str, known: &[&str]) -> String {
    format!("{what}; near are: {}", known.join(", "))
}

/// Lays what people said over tags: a corrected attribute has the value that was said, or none.
pub(crate) fn lay_over(tags: &mut Vec<Tag>, kept: &KeptCorrections, vocabulary: &Vocabulary) {
    for correction in &kept.corrections {
        tags.retain(|tag| tag.attribute != correction.attribute);
        let stated = correction.value.iter().map(|value| Tag {
            attribute: correction.attribute.clone(),
            value: value.clone(),
            source: TagSource::Human,
            confidence: 1.0,
            threshold: None,
            is_fact: true,
            evidence: Vec::new(),
        });
        tags.extend(stated);
    }
    let place = |name: &str| vocabulary.attributes().iter().position(|attribute| attribute.name == name).unwrap_or(usize::MAX);
    tags.sort_by(|a, b| place(&a.attribute).cmp(&place(&b.attribute)).then(b.confidence.total_cmp(&a.confidence)));
}

/// As readers see it.
pub(crate) fn told(kept: &KeptCorrections) -> Vec<Correction> {
    let one = |kept: &KeptCorrection| Correction {
        attribute: kept.attribute.clone(),
        value: kept.value.clone(),
        by: kept.by.clone(),
        at_ms: kept.at_ms,
    };
    kept.corrections.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tagging::tests::vocabulary;

    fn is(attribute: &str, value: &str) -> (String, Verdict) {
        (attribute.to_owned(), Verdict::Is(value.to_owned()))
    }

    #[test]
    fn verdicts_are_taken_all_or_none() {
        let vocabulary = vocabulary();
        let mut kept = KeptCorrections::default();
        let verdicts = [is("colour", "RED"), ("pattern".to_owned(), Verdict::HasNone)];
        apply(&mut kept, &vocabulary, &verdicts, "ann", 7).expect("taken");
        let values: Vec<_> = kept.corrections.iter().map(|one| (one.attribute.as_str(), one.value.as_deref(), one.at_ms)).collect();
        assert_eq!(values, [("colour", Some("red"), 7), ("pattern", None, 7)]);
        let before = kept.clone();
        let verdicts = [is("colour", "blue"), is("colur", "blue"), is("pattern", "stripped"), is("pattern", "NA")];
        let refusals = apply(&mut kept, &vocabulary, &verdicts, "ben", 8).expect_err("refused");
        let codes: Vec<_> = refusals.iter().map(|refusal| (refusal.attribute.as_str(), refusal.code)).collect();
        assert_eq!(codes, [("colur", "unknown_attribute"), ("pattern", "unknown_value"), ("pattern", "unknown_value")]);
        assert!(refusals[0].detail.contains("near are: colour") && refusals[1].detail.contains("striped"), "{refusals:?}");
        assert_eq!(kept, before);
        apply(&mut kept, &vocabulary, &[("colour".to_owned(), Verdict::Withdrawn)], "ben", 9).expect("taken");
        assert_eq!(kept.corrections.len(), 1);
    }

    #[test]
    fn an_attribute_that_has_left_the_vocabulary_can_be_taken_back_alone() {
        let old = KeptCorrection { attribute: "hem".into(), value: Some("round".into()), by: String::new(), at_ms: 0 };
        let mut kept = KeptCorrections { catalog_version: 0, corrections: vec![old] };
        assert!(apply(&mut kept, &vocabulary(), &[is("hem", "round")], "ann", 1).is_err());
        apply(&mut kept, &vocabulary(), &[("hem".to_owned(), Verdict::Withdrawn)], "ann", 1).expect("taken");
        assert!(kept.corrections.is_empty());
    }

    #[test]
    fn what_people_said_replaces_everything_of_its_attribute() {
        let guess = |attribute: &str, value: &str, confidence| Tag {
            attribute: attribute.into(),
            value: value.into(),
            source: TagSource::Learned,
            confidence,
            threshold: Some(0.9),
            is_fact: confidence >= 0.9,
            evidence: Vec::new(),
        };
        let mut tags = vec![guess("pattern", "plain", 0.95), guess("colour", "red", 0.6), guess("colour", "blue", 0.95)];
        let mut kept = KeptCorrections::default();
        apply(&mut kept, &vocabulary(), &[is("colour", "blue"), ("pattern".to_owned(), Verdict::HasNone)], "ann", 1).expect("taken");
        lay_over(&mut tags, &kept, &vocabulary());
        let seen: Vec<_> = tags.iter().map(|tag| (tag.value.as_str(), tag.source, tag.is_fact)).collect();
        assert_eq!(seen, [("blue", TagSource::Human, true)]);
    }
}
