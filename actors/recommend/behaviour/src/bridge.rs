//! Items that are new: nobody has seen them beside others yet, so they inherit from what is most like them by content.

use crate::query::{Candidate, Picked, Reason, Strategy, keep_best};
use crate::recommend::Likeness;
use crate::scratch::Scores;
use crate::settings::Bridge as Settings;

/// A new item's score, and the item that gives most of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inherited {
    pub(crate) item: u32,
    pub(crate) score: f32,
    pub(crate) source: u32,
    /// What is left of being new: 1 without any event, 0 from `events_min` on.
    pub(crate) newness: f32,
}

/// `s'(j) = sum over like items n of (cos^p / sum cos^p) s(n)`, divided by its greatest, plus likeness to the history itself.
///
/// `blended` holds the scores `s` that the history gives, `history` its items, newest first.
pub(crate) fn score(
    likeness: &Likeness<'_>,
    blended: &Scores,
    history: &[u32],
    settings: &Settings,
    events_of: impl Fn(u32) -> u32,
    allow: &dyn Fn(u32) -> bool,
) -> Vec<Inherited> {
    let mut found: Vec<(Inherited, f32)> = Vec::new();
    for item in likeness.items.iter().copied() {
        let events = events_of(item);
        if events >= settings.events_min || !allow(item) {
            continue;
        }
        let (mut read, mut sum, mut inherited, mut alike, mut source, mut most) = (0, 0.0f32, 0.0f32, 0.0f32, item, 0.0f32);
        (likeness.like)(item, &mut |like, cosine| {
            if read >= settings.neighbours_max || cosine <= 0.0 || like == item {
                return;
            }
            read += 1;
            let weight = cosine.min(1.0).powi(settings.power);
            sum += weight;
            let part = weight * blended.get(like);
            inherited += part;
            if part > most {
                (most, source) = (part, like);
            }
            if let Some(place) = history.iter().position(|seen| *seen == like) {
                alike += cosine * (-(place as f32) / 2.0).exp2();
                if most == 0.0 {
                    source = like;
                }
            }
        });
        if sum > 0.0 && inherited + alike > 0.0 {
            let newness = 1.0 - events as f32 / settings.events_min.max(1) as f32;
            found.push((Inherited { item, score: inherited / sum, source, newness }, alike));
        }
    }
    let greatest = found.iter().map(|(new, _)| new.score).fold(0.0, f32::max);
    let most_alike = found.iter().map(|(_, alike)| *alike).fold(0.0, f32::max);
    let part = |score: f32, greatest: f32| if greatest > 0.0 { score / greatest } else { 0.0 };
    let scored = found
        .into_iter()
        .map(|(new, alike)| Inherited { score: part(new.score, greatest) + settings.content * part(alike, most_alike), ..new });
    scored.collect()
}

/// Puts the best of the new items into a list, by `boost` times the list's greatest score, into a bounded number of places.
pub(crate) fn merge(answer: &mut Vec<Candidate>, new: Vec<Inherited>, greatest: f32, settings: &Settings, count: usize) {
    let best = new.iter().map(|new| new.score).fold(0.0, f32::max);
    let factor = settings.boost * if greatest > 0.0 { greatest } else { 1.0 } / if best > 0.0 { best } else { 1.0 };
    let mut picked: Vec<Picked> = new.iter().enumerate().map(|(at, new)| (at as u32, new.score * new.newness * factor)).collect();
    keep_best(&mut picked, settings.slots_max);
    for (at, score) in picked {
        let Inherited { item, source, .. } = new[at as usize];
        let reason = Reason { strategy: Strategy::Like, source: Some(source), score, together: 0, of: 0 };
        match answer.iter_mut().find(|candidate| candidate.item == item) {
            Some(candidate) => {
                candidate.score += score;
                candidate.add_reason(reason);
                candidate.settle();
            }
            None => answer.push(Candidate::of(item, reason)),
        }
    }
    answer.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
    answer.truncate(count);
}
