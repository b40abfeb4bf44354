//! The replay lab's arithmetic: each logged list is compared with the new one as it passes, and what is needed for the estimates is kept.
//!
//! Clicks of the new ranking are estimated place by place (Li et al. 2018, arXiv:1804.10488, the item-position model): a click counts
//! where the new ranking puts the same product in the same place, by the inverse of the probability that it stood there.

use std::collections::{BTreeSet, HashMap};

use domain::{Event, EventKind, ProductId, Served};
use protocol::reports::{DEPTH_MAX, Estimate, LabError, PageDifference, PolicyEstimate, ReplayQuestion, ReplayReport};

use crate::logic::stats::Z;

/// One place of a logged list.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    /// Inverse propensity where both rankings have the same product, else 0.
    weight: f32,
    is_clicked: bool,
}

/// A logged list, reduced to what is counted.
#[derive(Clone, Debug, PartialEq)]
struct Page {
    products: Vec<ProductId>,
    places: Vec<Place>,
    at_ms: i64,
}

/// Gathers lists and their clicks.
pub(crate) struct Replay {
    question: ReplayQuestion,
    click_window_ms: i64,
    pages: Vec<Page>,
    by_token: HashMap<String, usize>,
    report: ReplayReport,
    overlaps: f64,
    rank_changes: f64,
}

impl Replay {
    /// An empty one. `lists_max`: the house's own bound.
    pub(crate) fn new(question: &ReplayQuestion, lists_max: usize, click_window_ms: i64) -> Result<Self, LabError> {
        if question.from_ms >= question.to_ms {
            return Err(LabError::Question("the time to begin with must be before the time to end with"));
        }
        if !(1..=DEPTH_MAX).contains(&question.depth) {
            return Err(LabError::Question("the depth must be 1 to 100"));
        }
        if question.lists_max == 0 || !(question.weight_max >= 1.0 && question.weight_max.is_finite()) {
            return Err(LabError::Question("at least one list is needed, and a largest weight of at least 1"));
        }
        let question = ReplayQuestion { lists_max: question.lists_max.min(lists_max), ..question.clone() };
        let report = ReplayReport {
            lists: 0,
            lists_left_out: 0,
            places: 0,
            places_matched: 0,
            propensities_invalid: 0,
            weights_cut: 0,
            overlap: 0.0,
            rank_change: 0.0,
            logged: None,
            ips: None,
            snips: None,
            pages: Vec::new(),
        };
        Ok(Self { question, click_window_ms, pages: Vec::new(), by_token: HashMap::new(), report, overlaps: 0.0, rank_changes: 0.0 })
    }

    /// Whether a list is asked about and there is room for it.
    pub(crate) fn wants(&self, served: &Served) -> bool {
        let question = &self.question;
        self.pages.len() < question.lists_max
            && (question.from_ms..question.to_ms).contains(&served.at_ms)
            && (question.placements.is_empty() || question.placements.contains(&served.placement))
            && !self.by_token.contains_key(&served.token)
    }

    /// Takes a list and what the new ranking says to it.
    pub(crate) fn list(&mut self, served: &Served, ranked: Option<Vec<ProductId>>) {
        let Some(mut ranked) = ranked else {
            self.report.lists_left_out += 1;
            return;
        };
        ranked.truncate(self.question.depth);
        let logged = &served.items[..served.items.len().min(self.question.depth)];
        let mut places = Vec::with_capacity(logged.len());
        for (at, item) in logged.iter().enumerate() {
            let propensity = f64::from(item.propensity);
            let is_valid = propensity > 0.0 && propensity <= 1.0;
            let is_matched = is_valid && ranked.get(at) == Some(&item.product);
            self.report.propensities_invalid += u64::from(!is_valid);
            self.report.places_matched += u64::from(is_matched);
            self.report.weights_cut += u64::from(is_matched && 1.0 / propensity > self.question.weight_max);
            let weight = if is_matched { (1.0 / propensity).min(self.question.weight_max) as f32 } else { 0.0 };
            places.push(Place { weight, is_clicked: false });
        }
        self.report.places += places.len() as u64;
        self.report.lists += 1;
        let products: Vec<ProductId> = logged.iter().map(|item| item.product.clone()).collect();
        let difference = difference(served, &products, &ranked);
        self.overlaps += difference.overlap;
        self.rank_changes += difference.rank_change;
        if self.report.pages.len() < self.question.pages_max {
            self.report.pages.push(difference);
        }
        self.by_token.insert(served.token.clone(), self.pages.len());
        self.pages.push(Page { products, places, at_ms: served.at_ms });
    }

    /// Takes an event; clicks on lists that were taken count.
    pub(crate) fn event(&mut self, event: &Event) {
        let is_click = matches!(event.kind, EventKind::Click | EventKind::View) && !event.is_bot;
        let Some(page) = event.attribution_token.as_ref().filter(|_| is_click).and_then(|token| self.by_token.get(token)) else { return };
        let Some(page) = self.pages.get_mut(*page) else { return };
        if !(0..=self.click_window_ms).contains(&event.at_ms.saturating_sub(page.at_ms)) {
            return;
        }
        for item in &event.items {
            if let Some(at) = page.products.iter().position(|product| *product == item.product)
                && let Some(place) = page.places.get_mut(at)
            {
                place.is_clicked = true;
            }
        }
    }

    /// What came out.
    pub(crate) fn finish(self) -> ReplayReport {
        let (mut report, lists) = (self.report, self.pages.len().max(1) as f64);
        report.overlap = self.overlaps / lists;
        report.rank_change = self.rank_changes / lists;
        report.logged = mean(self.pages.iter().map(|page| page.places.iter().filter(|place| place.is_clicked).count() as f64));
        let clicks = |page: &Page| page.places.iter().filter(|place| place.is_clicked).map(|place| f64::from(place.weight)).sum();
        let effective_sample_size = effective_sample_size(&self.pages);
        report.ips = mean(self.pages.iter().map(clicks)).map(|clicks_per_list| PolicyEstimate { clicks_per_list, effective_sample_size });
        report.snips = snips(&self.pages).map(|clicks_per_list| PolicyEstimate { clicks_per_list, effective_sample_size });
        report
    }
}

/// The mean with its normal interval; `None` for fewer than two values.
fn mean(values: impl Iterator<Item = f64> + Clone) -> Option<Estimate> {
    let n = values.clone().count() as f64;
    let value = values.clone().sum::<f64>() / n;
    let squares: f64 = values.map(|one| (one - value).powi(2)).sum();
    (n >= 2.0).then(|| around(value, (squares / (n - 1.0) / n).sqrt()))
}

fn around(value: f64, error: f64) -> Estimate {
    Estimate { value, low: value - Z * error, high: value + Z * error }
}

/// At each place the weighted click rate over lists, summed over places by the share of lists that have them. The interval linearises the
/// ratios (delta method).
fn snips(pages: &[Page]) -> Option<Estimate> {
    let n = pages.len() as f64;
    let depth = pages.iter().map(|page| page.places.len()).max()?;
    let mut errors = vec![0.0; pages.len()];
    let (mut value, mut has_weight) = (0.0, false);
    for at in 0..depth {
        let places = || pages.iter().enumerate().filter_map(move |(page, found)| Some((page, found.places.get(at)?)));
        let weight: f64 = places().map(|(_, place)| f64::from(place.weight)).sum();
        if weight <= 0.0 {
            continue;
        }
        has_weight = true;
        let share = places().count() as f64 / n;
        let clicked: f64 = places().filter(|(_, place)| place.is_clicked).map(|(_, place)| f64::from(place.weight)).sum();
        let rate = clicked / weight;
        value += share * rate;
        for (page, place) in places() {
            errors[page] += share * f64::from(place.weight) * (f64::from(u8::from(place.is_clicked)) - rate) / (weight / n);
        }
    }
    let error = errors.iter().map(|error| error * error).sum::<f64>().sqrt() / n;
    (n >= 2.0 && has_weight).then(|| around(value, error))
}

fn effective_sample_size(pages: &[Page]) -> f64 {
    let weights = pages.iter().flat_map(|page| &page.places).map(|place| f64::from(place.weight));
    let (sum, squares) = weights.fold((0.0, 0.0), |(sum, squares), weight| (sum + weight, squares + weight * weight));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

fn difference(served: &Served, logged: &[ProductId], ranked: &[ProductId]) -> PageDifference {
    let (old, new): (BTreeSet<&ProductId>, BTreeSet<&ProductId>) = (logged.iter().collect(), ranked.iter().collect());
    let rank = |list: &[ProductId], product: &ProductId| list.iter().position(|known| known == product).unwrap_or(0);
    let common: Vec<f64> = old.intersection(&new).map(|product| rank(logged, product).abs_diff(rank(ranked, product)) as f64).collect();
    let longer = old.len().max(new.len());
    PageDifference {
        token: served.token.clone(),
        at_ms: served.at_ms,
        placement: served.placement.clone(),
        query: served.query.clone(),
        overlap: if longer == 0 { 1.0 } else { common.len() as f64 / longer as f64 },
        rank_change: common.iter().sum::<f64>() / common.len().max(1) as f64,
        entered: ranked.iter().filter(|product| !old.contains(product)).cloned().collect(),
        left: logged.iter().filter(|product| !new.contains(product)).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{event, id, served};

    fn question() -> ReplayQuestion {
        ReplayQuestion { from_ms: 0, to_ms: i64::MAX, placements: Vec::new(), lists_max: 10_000, depth: 2, weight_max: 100.0, pages_max: 2 }
    }

    fn ranked(ids: &[&str]) -> Option<Vec<ProductId>> {
        Some(ids.iter().map(|name| id(name)).collect())
    }

    #[test]
    fn pages_are_compared() {
        let mut replay = Replay::new(&question(), 100, 1_000).expect("a question");
        replay.list(&served("t", 1, "home", &["a", "b", "c"]), ranked(&["b", "d", "a"]));
        replay.list(&served("u", 1, "home", &[]), ranked(&[]));
        replay.list(&served("v", 1, "home", &["a"]), None);
        let report = replay.finish();
        assert_eq!((report.lists, report.lists_left_out, report.places, report.places_matched), (2, 1, 2, 0));
        let page = &report.pages[0];
        assert_eq!((page.overlap, page.rank_change, &page.entered, &page.left), (0.5, 1.0, &vec![id("d")], &vec![id("a")]));
        assert_eq!((report.pages[1].overlap, report.overlap), (1.0, 0.75));
        assert_eq!(report.ips.expect("two lists").effective_sample_size, 0.0);
        assert_eq!(report.snips, None);
    }

    /// Two products, shown in either order by a coin of .25; `a` is clicked in the first place with 1/2, `b` with 1/5, nothing in the second.
    /// Every case occurs as often as it is probable, so the estimates must be the truth.
    #[test]
    fn estimates_are_right_where_the_truth_is_known() {
        let mut replay = Replay::new(&question(), 10_000, 1_000).expect("a question");
        for number in 0..400 {
            let is_a_first = number % 4 == 0;
            let mut list = served(&number.to_string(), 1, "home", if is_a_first { &["a", "b"] } else { &["b", "a"] });
            list.items.iter_mut().for_each(|item| item.propensity = if is_a_first { 0.25 } else { 0.75 });
            replay.list(&list, ranked(&["a", "b"]));
            let round = number / 4;
            let is_clicked = round % if is_a_first { 2 } else { 5 } == 0;
            if is_clicked {
                let mut click = event(&number.to_string(), EventKind::Click, 2, &[if is_a_first { "a" } else { "b" }]);
                click.attribution_token = Some(number.to_string());
                replay.event(&click);
                click.at_ms = 5_000;
                click.items[0].product = list.items[1].product.clone();
                replay.event(&click);
            }
        }
        let report = replay.finish();
        assert!((report.logged.expect("lists").value - (0.25 * 0.5 + 0.75 * 0.2)).abs() < 1e-9);
        let (ips, snips) = (report.ips.expect("lists"), report.snips.expect("lists"));
        for estimate in [ips, snips] {
            assert!((estimate.clicks_per_list.value - 0.5).abs() < 1e-9, "{estimate:?}");
            assert!(estimate.clicks_per_list.low < 0.5 && estimate.clicks_per_list.high > 0.5);
            assert!((estimate.effective_sample_size - 200.0).abs() < 1e-6);
        }
        // Self-normalised, a rate of 1/2 among 100 matches has the binomial's error; without, the chance of matching adds to it.
        assert!((snips.clicks_per_list.high - 0.5 - Z * (0.25_f64 / 100.0).sqrt()).abs() < 1e-9);
        assert!(ips.clicks_per_list.high > snips.clicks_per_list.high);
    }

    #[test]
    fn weights_are_cut_and_impossible_propensities_counted() {
        let mut replay = Replay::new(&ReplayQuestion { weight_max: 2.0, ..question() }, 100, 1_000).expect("a question");
        for (token, propensity) in [("t", 0.01), ("u", 0.0), ("v", f32::NAN), ("w", 1.5)] {
            let mut list = served(token, 1, "home", &["a"]);
            list.items[0].propensity = propensity;
            replay.list(&list, ranked(&["a"]));
        }
        let report = replay.finish();
        assert_eq!((report.weights_cut, report.propensities_invalid, report.places_matched), (1, 3, 1));
    }

    #[test]
    fn questions_are_checked_and_lists_bounded() {
        for wrong in [
            ReplayQuestion { depth: 0, ..question() },
            ReplayQuestion { depth: DEPTH_MAX + 1, ..question() },
            ReplayQuestion { lists_max: 0, ..question() },
            ReplayQuestion { weight_max: f64::NAN, ..question() },
            ReplayQuestion { from_ms: 5, to_ms: 5, ..question() },
        ] {
            assert!(matches!(Replay::new(&wrong, 10, 1), Err(LabError::Question(_))), "{wrong:?}");
        }
        let here = ReplayQuestion { placements: vec!["home".into()], from_ms: 5, to_ms: 9, ..question() };
        let mut replay = Replay::new(&here, 1, 1).expect("a question");
        for (list, wanted) in [
            (served("a", 4, "home", &[]), false),
            (served("b", 9, "home", &[]), false),
            (served("c", 5, "cart", &[]), false),
            (served("d", 5, "home", &[]), true),
        ] {
            assert_eq!(replay.wants(&list), wanted);
        }
        replay.list(&served("d", 5, "home", &[]), ranked(&[]));
        assert!(!replay.wants(&served("e", 5, "home", &[])));
    }
}
