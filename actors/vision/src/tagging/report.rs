//! What readers see of the vocabulary, of what was learned and of how far tagging is.

use std::sync::atomic::Ordering;

use attributes::Measure;
use protocol::tags::{AttributeReport, LessonReport, TagProgress, VocabularyReport};

use super::records::KeptLesson;
use super::shared::Shared;

pub(crate) fn vocabulary(shared: &Shared) -> VocabularyReport {
    let maker = shared.maker.load();
    let mark = maker.teacher.as_ref().map(|teacher| &teacher.mark);
    let lesson = |name: &str| mark?.lessons.iter().find(|lesson| lesson.attribute == name).map(told);
    let attributes = maker.vocabulary.attributes().iter().map(|attribute| AttributeReport {
        name: attribute.name.clone(),
        title: attribute.title.clone(),
        is_open: attribute.open,
        measured: attribute.measured.map(|measure| match measure {
            Measure::Palette => "palette",
            Measure::Pattern => "pattern",
        }),
        taught_by: attribute.taught_by.clone(),
        values: attribute.values.iter().map(|value| value.name.clone()).collect(),
        lesson: lesson(&attribute.name),
    });
    VocabularyReport {
        model_version: maker.version.clone(),
        taught_at_ms: mark.map(|mark| mark.taught_at_ms),
        rows: mark.map_or(0, |mark| mark.rows as usize),
        attributes: attributes.collect(),
    }
}

fn told(kept: &KeptLesson) -> LessonReport {
    LessonReport {
        rows: kept.rows as usize,
        classes: kept.classes as usize,
        threshold: kept.threshold,
        accuracy: kept.accuracy,
        coverage: kept.coverage,
        precision: kept.precision,
        calibration_error: kept.calibration_error,
    }
}

pub(crate) fn progress(shared: &Shared) -> TagProgress {
    let counts = &shared.counts;
    let [products, tagged, measured, failed, corrections] =
        [&counts.products, &counts.tagged, &counts.measured, &counts.failed, &counts.corrections]
            .map(|count| count.load(Ordering::Relaxed));
    TagProgress { products, tagged, measured, failed, corrections }
}
