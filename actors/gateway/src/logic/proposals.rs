//! From proposals to a list: each product and each of its kind once, now and then something to try, and why, in words.

use std::collections::HashSet;

use domain::ProductId;
use protocol::recommend::{Candidate, Reason};

/// A product on its way into a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Proposal {
    pub product: ProductId,
    /// Descends through the list, but for what is tried out.
    pub score: f32,
    /// What proposed it.
    pub strategy: String,
    /// Why, weightiest first; together with `rest` and the `shares` the score.
    pub reasons: Vec<Reason>,
    pub rest: f32,
    /// What each feature of the shopper's order added.
    pub shares: Vec<(&'static str, f32)>,
    /// With which probability it stands here.
    pub propensity: f32,
}

impl Proposal {
    pub(crate) fn of(product: ProductId, score: f32, strategy: impl Into<String>) -> Self {
        Self { product, score, strategy: strategy.into(), reasons: Vec::new(), rest: score, shares: Vec::new(), propensity: 1.0 }
    }
}

impl From<Candidate> for Proposal {
    fn from(candidate: Candidate) -> Self {
        let Candidate { product, score, reasons, rest } = candidate;
        let strategy = reasons.first().map_or("popular", |reason| reason.strategy).to_owned();
        Self { product, score, strategy, reasons, rest, shares: Vec::new(), propensity: 1.0 }
    }
}

/// Adds further proposals below those that are there, each product once.
pub(crate) fn fill(list: &mut Vec<Proposal>, more: impl IntoIterator<Item = Proposal>, limit: usize) {
    let mut known: HashSet<ProductId> = list.iter().map(|proposal| proposal.product.clone()).collect();
    let below = list.last().map_or(1.0, |last| last.score.abs() / 2.0);
    let mut greatest = None;
    for mut proposal in more {
        if list.len() >= limit {
            return;
        }
        if known.insert(proposal.product.clone()) {
            let greatest = *greatest.get_or_insert(proposal.score.max(f32::MIN_POSITIVE));
            let factor = below / greatest;
            proposal.score *= factor;
            proposal.rest *= factor;
            proposal.reasons.iter_mut().for_each(|reason| reason.score *= factor);
            list.push(proposal);
        }
    }
}

/// Leaves each product and, of those that are variants of one another, the best. `kind_of` names what a product is a variant of.
pub(crate) fn once_each(list: Vec<Proposal>, kind_of: impl Fn(&ProductId) -> Option<String>) -> Vec<Proposal> {
    let (mut products, mut kinds) = (HashSet::new(), HashSet::new());
    let is_new =
        |proposal: &Proposal| products.insert(proposal.product.clone()) && kind_of(&proposal.product).is_none_or(|kind| kinds.insert(kind));
    let mut is_new = is_new;
    list.into_iter().filter(|proposal| is_new(proposal)).collect()
}

/// What may be tried at a place.
pub(crate) struct Trial {
    /// The place, from 0.
    pub place: usize,
    /// What stands there instead.
    pub proposal: Proposal,
    /// With which probability it was chosen for a place that is left to trials.
    pub propensity: f32,
}

/// Puts trials into the list; what stood there moves down. `budget` is the share of places left to trials.
pub(crate) fn try_out(list: &mut Vec<Proposal>, trials: Vec<Trial>, budget: f32) {
    for kept in list.iter_mut() {
        kept.propensity *= 1.0 - budget;
    }
    for Trial { place, mut proposal, propensity } in trials {
        if list.iter().any(|kept| kept.product == proposal.product) {
            continue;
        }
        proposal.propensity = (budget * propensity).clamp(f32::MIN_POSITIVE, 1.0);
        list.insert(place.min(list.len()), proposal);
    }
}

/// A reason for people. `title` names the product that speaks for it.
pub(crate) fn spoken(reason: &Reason, title: impl Fn(&ProductId) -> Option<String>) -> String {
    let source = reason.source.as_ref().and_then(title);
    let with = |text: &str| source.as_ref().map_or_else(|| text.to_owned(), |source| format!("{text} “{source}”"));
    match reason.strategy {
        "visits" if reason.together > 1 => format!("in {} visits like this one", reason.together),
        "visits" => "in visits like this one".to_owned(),
        "pairs" => with("often seen near"),
        "taste" => with("often chosen after"),
        "together" if reason.of > 0 => format!("{} in {} of {} orders", with("bought together with"), reason.together, reason.of),
        "together" => with("bought together with"),
        "viewed_then_bought" => with("bought by those who viewed"),
        "content" => with("new, and like"),
        "ease" => with("goes with"),
        "again" if reason.together > 1 => format!("bought {} times", reason.together),
        "again" => "bought before".to_owned(),
        "recent" => "seen lately".to_owned(),
        "style" => with("in the style of"),
        "popular" => "popular".to_owned(),
        "trending" => "rising now".to_owned(),
        other => other.replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ProductId {
        name.parse().expect("an id")
    }

    fn list(names: &[&str]) -> Vec<Proposal> {
        names.iter().enumerate().map(|(at, name)| Proposal::of(id(name), 10.0 - at as f32, "popular")).collect()
    }

    fn names(list: &[Proposal]) -> Vec<&str> {
        list.iter().map(|proposal| proposal.product.as_str()).collect()
    }

    #[test]
    fn a_list_is_filled_below_what_is_there() {
        let mut filled = list(&["a", "b"]);
        fill(&mut filled, list(&["b", "c", "d", "e"]), 4);
        assert_eq!(names(&filled), ["a", "b", "c", "d"]);
        assert!(filled.windows(2).all(|pair| pair[0].score >= pair[1].score), "{filled:?}");
        let mut empty = Vec::new();
        fill(&mut empty, list(&["x"]), 4);
        assert_eq!(names(&empty), ["x"]);
    }

    #[test]
    fn of_variants_the_best_stays() {
        let shirts = |id: &ProductId| id.as_str().strip_prefix("shirt-").map(|_| "shirt".to_owned());
        let once = once_each(list(&["shirt-red", "hat", "shirt-blue", "hat", "belt"]), shirts);
        assert_eq!(names(&once), ["shirt-red", "hat", "belt"]);
    }

    #[test]
    fn trials_take_their_places_and_everybody_says_how_likely_that_was() {
        let mut shown = list(&["a", "b", "c"]);
        let trial = |place, name: &str| Trial { place, proposal: Proposal::of(id(name), 0.1, "new"), propensity: 0.5 };
        try_out(&mut shown, vec![trial(1, "x"), trial(9, "y"), trial(0, "c")], 0.1);
        assert_eq!(names(&shown), ["a", "x", "b", "c", "y"]);
        let propensities: Vec<f32> = shown.iter().map(|proposal| proposal.propensity).collect();
        assert_eq!(propensities, [0.9, 0.05, 0.9, 0.9, 0.05]);
    }

    #[test]
    fn reasons_are_words() {
        let reason = |strategy, together, of| Reason { strategy, source: Some(id("s")), score: 1.0, together, of };
        let title = |_: &ProductId| Some("Sock".to_owned());
        for (reason, text) in [
            (reason("together", 9, 40), "bought together with “Sock” in 9 of 40 orders"),
            (reason("visits", 3, 0), "in 3 visits like this one"),
            (reason("content", 0, 0), "new, and like “Sock”"),
            (reason("again", 2, 0), "bought 2 times"),
        ] {
            assert_eq!(spoken(&reason, title), text);
        }
        assert_eq!(spoken(&reason("pairs", 0, 0), |_| None), "often seen near");
    }
}
