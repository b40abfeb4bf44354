//! Interests: what a shopper has been looking at, as a few decayed sums of embeddings in 8 bits an element.
//!
//! `c <- c * 2^(-dt / H) + w * e`: one sum of half-life 30 minutes (what this visit is about) and a few of 30 days (tastes), each
//! event joining the nearest of them. The decay multiplies a sum as a whole, so only its mass changes with time, never its codes.

use bincode::{Decode, Encode};

use crate::clock::{DAY_MS, bounded_ms, remains};
use crate::keys::Id;

/// Elements of an embedding that is taken; a longer one is left out.
pub const EMBEDDING_LENGTH_MAX: usize = 1_408;
/// Tastes that are told apart.
const TASTES_MAX: usize = 2;
/// An event joins a taste whose cosine is at least this, and founds another where there is room.
const COSINE_JOIN: f32 = 0.5;
const VISIT_HALF_LIFE_MS: i64 = 30 * 60 * 1_000;
const TASTE_HALF_LIFE_MS: i64 = 30 * DAY_MS;
const CODE_MAX: f32 = 127.0;
/// One event adds at most this.
const WEIGHT_MAX: f32 = 10.0;
/// A mass is at most this, whatever is added to it.
const MASS_MAX: f32 = 1e6;

/// One decayed sum: a direction in 8-bit codes, and how much was added in all.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
struct Centroid {
    at_ms: i64,
    mass: f32,
    /// Code 1 is this much of the sum divided by its mass.
    step: f32,
    codes: Vec<i8>,
}

impl Centroid {
    fn new(unit: &[f32], weight: f32, at_ms: i64) -> Self {
        let mut centroid = Self { at_ms, mass: weight, step: 0.0, codes: vec![0; unit.len()] };
        centroid.quantise(unit);
        centroid
    }

    fn quantise(&mut self, mean: &[f32]) {
        let largest = mean.iter().fold(0.0_f32, |largest, element| largest.max(element.abs()));
        self.step = largest / CODE_MAX;
        let per_code = if self.step > 0.0 { 1.0 / self.step } else { 0.0 };
        for (code, element) in self.codes.iter_mut().zip(mean) {
            let scaled = element * per_code;
            // Rounds half away from zero like `round`, which is a call for each element where the CPU's baseline is old.
            *code = (scaled + 0.5_f32.copysign(scaled)) as i32 as i8;
        }
    }

    fn add(&mut self, unit: &[f32], weight: f32, at_ms: i64, half_life_ms: i64) {
        // A late event adds what is left of it by the time that the sum stands at.
        let weight = weight * remains(self.at_ms.saturating_sub(at_ms), half_life_ms);
        let mass = self.mass * remains(at_ms.saturating_sub(self.at_ms), half_life_ms);
        self.at_ms = self.at_ms.max(at_ms);
        self.mass = (mass + weight).min(MASS_MAX);
        if weight <= 0.0 {
            return;
        }
        let share = weight / (mass + weight);
        let mean: Vec<f32> =
            self.codes.iter().zip(unit).map(|(code, element)| f32::from(*code) * self.step * (1.0 - share) + element * share).collect();
        self.quantise(&mean);
    }

    /// The direction, and the mass at a time.
    fn read(&self, at_ms: i64, half_life_ms: i64) -> (Vec<f32>, f32) {
        let elements: Vec<f32> = self.codes.iter().map(|code| f32::from(*code)).collect();
        (unit(&elements).unwrap_or_default(), self.mass * remains(at_ms.saturating_sub(self.at_ms), half_life_ms))
    }

    fn cosine(&self, unit: &[f32]) -> f32 {
        let codes: Vec<f32> = self.codes.iter().map(|code| f32::from(*code)).collect();
        let norm = squares(&codes).sqrt();
        if norm > 0.0 { dot(&codes, unit) / norm } else { 0.0 }
    }

    fn is_sound(&self, length: usize) -> bool {
        self.codes.len() == length
            && (0.0..=MASS_MAX).contains(&self.mass)
            && (0.0..=1.0).contains(&self.step)
            && bounded_ms(self.at_ms) == self.at_ms
    }
}

/// Scaled to length 1; none where that cannot be done.
fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let norm = squares(vector).sqrt();
    (norm.is_finite() && norm > 0.0).then(|| vector.iter().map(|element| element / norm).collect())
}

/// A shopper's interests in one space of embeddings, all by one model.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub(crate) struct Interests {
    model: Id,
    length: u16,
    visit: Option<Centroid>,
    tastes: Vec<Centroid>,
}

impl Interests {
    /// Adds an event. What was known by another model is of no use then: sums of two models mean nothing.
    pub(crate) fn add(&mut self, model: Id, embedding: &[f32], weight: f32, at_ms: i64) {
        if !(weight.is_finite() && weight > 0.0 && (1..=EMBEDDING_LENGTH_MAX).contains(&embedding.len())) {
            return;
        }
        let Some(unit) = unit(embedding) else { return };
        let weight = weight.min(WEIGHT_MAX);
        let at_ms = bounded_ms(at_ms);
        if (self.model, usize::from(self.length)) != (model, unit.len()) {
            *self = Self { model, length: unit.len() as u16, ..Self::default() };
        }
        match &mut self.visit {
            Some(visit) => visit.add(&unit, weight, at_ms, VISIT_HALF_LIFE_MS),
            none => *none = Some(Centroid::new(&unit, weight, at_ms)),
        }
        let nearest = self.tastes.iter().map(|taste| taste.cosine(&unit)).enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        match nearest {
            Some((at, cosine)) if cosine >= COSINE_JOIN || self.tastes.len() == TASTES_MAX => {
                self.tastes[at].add(&unit, weight, at_ms, TASTE_HALF_LIFE_MS);
            }
            _ => self.tastes.push(Centroid::new(&unit, weight, at_ms)),
        }
    }

    /// Sums another shopper's interests into these: every taste joins its nearest here or stands beside it.
    pub(crate) fn merge(&mut self, other: &Self) {
        if (self.model, self.length) != (other.model, other.length) {
            let newest = |interests: &Self| interests.tastes.iter().map(|taste| taste.at_ms).max();
            if newest(other) > newest(self) {
                self.clone_from(other);
            }
            return;
        }
        match (&mut self.visit, &other.visit) {
            (Some(mine), Some(theirs)) => join(mine, theirs, VISIT_HALF_LIFE_MS),
            (mine @ None, theirs) => mine.clone_from(theirs),
            _ => {}
        }
        for theirs in &other.tastes {
            let (direction, _) = theirs.read(theirs.at_ms, TASTE_HALF_LIFE_MS);
            let nearest = self.tastes.iter().map(|taste| taste.cosine(&direction)).enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
            match nearest {
                Some((at, cosine)) if cosine >= COSINE_JOIN || self.tastes.len() == TASTES_MAX => {
                    join(&mut self.tastes[at], theirs, TASTE_HALF_LIFE_MS);
                }
                _ => self.tastes.push(theirs.clone()),
            }
        }
    }

    /// These interests as they stand at a time, ready to be compared with many embeddings.
    pub(crate) fn read(&self, at_ms: i64) -> Gaze {
        let at_ms = bounded_ms(at_ms);
        Gaze {
            model: self.model,
            visit: self.visit.iter().map(|visit| visit.read(at_ms, VISIT_HALF_LIFE_MS)).collect(),
            tastes: self.tastes.iter().map(|taste| taste.read(at_ms, TASTE_HALF_LIFE_MS)).collect(),
        }
    }

    pub(crate) fn is_sound(&self) -> bool {
        let length = usize::from(self.length);
        length <= EMBEDDING_LENGTH_MAX
            && self.tastes.len() <= TASTES_MAX
            && self.visit.iter().chain(&self.tastes).all(|centroid| centroid.is_sound(length))
    }

    /// Bytes of the largest there can be, as encoded.
    pub(crate) const BYTES_MAX: usize = 8 + 2 + 1 + 8 + (1 + TASTES_MAX) * (8 + 4 + 4 + 8 + EMBEDDING_LENGTH_MAX);
}

fn join(mine: &mut Centroid, theirs: &Centroid, half_life_ms: i64) {
    let mean: Vec<f32> = theirs.codes.iter().map(|code| f32::from(*code) * theirs.step).collect();
    if theirs.mass > 0.0 {
        mine.add(&mean, theirs.mass, theirs.at_ms, half_life_ms);
    }
}

/// Interests at one time: directions of length 1 and the mass behind each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gaze {
    model: Id,
    visit: Vec<(Vec<f32>, f32)>,
    tastes: Vec<(Vec<f32>, f32)>,
}

impl Gaze {
    /// How near an embedding is to this visit and to the nearest taste: cosines, faded where little is behind them; 0 for one by another
    /// model.
    pub(crate) fn nearness(&self, model: Id, embedding: &[f32]) -> (f32, f32) {
        if model != self.model {
            return (0.0, 0.0);
        }
        if self.visit.is_empty() && self.tastes.is_empty() {
            return (0.0, 0.0);
        }
        let squares = squares(embedding);
        if !(squares.is_finite() && squares > 0.0) {
            return (0.0, 0.0);
        }
        let near = |all: &[(Vec<f32>, f32)]| {
            let cosines = all.iter().filter(|(direction, _)| direction.len() == embedding.len());
            let faded = cosines.map(|(direction, mass)| dot(direction, embedding) / squares.sqrt() * mass / (mass + 0.5));
            faded.max_by(f32::total_cmp).unwrap_or(0.0)
        };
        (near(&self.visit), near(&self.tastes))
    }
}

/// Independent sums that the compiler turns into one wide register.
const LANES: usize = 16;

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a, b) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (left, right) in a.0.iter().zip(b.0) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    sums.iter().sum::<f32>() + a.1.iter().zip(b.1).map(|(left, right)| left * right).sum::<f32>()
}

fn squares(a: &[f32]) -> f32 {
    dot(a, a)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T0: i64 = 1_700_000_000_000;
    /// The model of these tests.
    const M: Id = 7;

    fn axis(at: usize) -> Vec<f32> {
        (0..32).map(|n| if n == at { 3.0 } else { 0.1 }).collect()
    }

    #[test]
    fn a_visit_is_forgotten_within_hours_and_a_taste_within_months() {
        let mut interests = Interests::default();
        interests.add(M, &axis(1), 1.0, T0);
        for (later_ms, visit, taste) in [(0, true, true), (DAY_MS, false, true), (300 * DAY_MS, false, false)] {
            let (near_visit, near_taste) = interests.read(T0 + later_ms).nearness(M, &axis(1));
            assert_eq!((near_visit > 0.1, near_taste > 0.1), (visit, taste), "{later_ms} ms later: {near_visit} {near_taste}");
        }
    }

    #[test]
    fn unlike_things_found_two_tastes_and_like_things_one() {
        let mut interests = Interests::default();
        for _ in 0..5 {
            interests.add(M, &axis(1), 1.0, T0);
            interests.add(M, &axis(2), 1.0, T0);
        }
        assert_eq!(interests.tastes.len(), 2);
        let gaze = interests.read(T0);
        let [one, two, three] = [1, 2, 3].map(|at| gaze.nearness(M, &axis(at)).1);
        assert!(one > 0.85 && two > 0.85 && three < 0.5, "{one} {two} {three}");
    }

    #[test]
    fn another_model_begins_anew() {
        let mut interests = Interests::default();
        interests.add(M, &axis(1), 1.0, T0);
        interests.add(M, &[1.0; 8], 1.0, T0);
        assert_eq!(interests.read(T0).nearness(M, &axis(1)), (0.0, 0.0));
        assert!(interests.read(T0).nearness(M, &[1.0; 8]).1 > 0.5);
    }

    #[test]
    fn vectors_of_two_models_never_meet_however_alike_they_look() {
        let mut interests = Interests::default();
        interests.add(M, &axis(1), 1.0, T0);
        assert_eq!(interests.read(T0).nearness(M + 1, &axis(1)), (0.0, 0.0), "what is compared is by one model");
        let of_one = interests.clone();
        interests.add(M + 1, &axis(2), 1.0, T0);
        let mut begun = Interests::default();
        begun.add(M + 1, &axis(2), 1.0, T0);
        assert_eq!(interests, begun, "what is summed is by one model");
        let mut merged = of_one.clone();
        merged.merge(&begun);
        assert!(merged == of_one || merged == begun, "a merge keeps one of them whole");
        let mut later = Interests::default();
        later.add(M + 1, &axis(2), 1.0, T0 + DAY_MS);
        merged.merge(&later);
        assert_eq!(merged, later, "the newer one");
    }

    proptest! {
        #[test]
        fn any_embedding_leaves_sound_interests(
            events in proptest::collection::vec((proptest::collection::vec(any::<f32>(), 0..5), any::<f32>(), any::<i64>()), 0..20),
        ) {
            let mut interests = Interests::default();
            for (embedding, weight, at_ms) in &events {
                interests.add(M, embedding, *weight, *at_ms);
                prop_assert!(interests.is_sound());
                let (visit, taste) = interests.read(*at_ms).nearness(M, embedding);
                prop_assert!(visit.is_finite() && taste.is_finite());
            }
            let mut twice = interests.clone();
            twice.merge(&interests);
            prop_assert!(twice.is_sound());
        }
    }
}
