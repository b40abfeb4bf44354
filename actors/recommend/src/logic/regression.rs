//! The nightly regression: fitted on orders and on histories, each blended with what is counted as far as that foretells better what
//! was held back.

use std::collections::{HashMap, HashSet};

use behaviour::{Behaviour, Event as Done, History, Request, Scratch, Settings};
use ease::{Choice, EaseError, FitSettings, Gram, Model, POOL_MAX, Query, Trials, tune};

use super::harvest::{Harvested, Lesson};

/// Orders, or histories, below which nothing is fitted.
const ROWS_MIN: usize = 100;
/// Questions below which nothing is chosen.
const QUERIES_MIN: usize = 50;
/// Questions that everything is tried on.
const QUERIES_MAX: usize = 2_000;
/// Of so many orders one is held back.
const ORDERS_PER_HELD: usize = 10;
/// Orders held back.
const ORDERS_HELD_MAX: usize = 400;
/// Items of an order that is held back.
const ORDER_ITEMS: std::ops::RangeInclusive<usize> = 2..=40;
/// Items of a history whose last is held back.
const HISTORY_ITEMS_MIN: usize = 3;

/// How it is fitted.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The busiest items that are fitted.
    pub(crate) items_max: usize,
    /// Threads that work on it.
    pub(crate) threads_max: usize,
    /// Of what it is blended with.
    pub(crate) settings: Settings,
}

/// A model by the names of its products.
#[derive(Debug)]
pub(crate) struct Regression {
    pub(crate) model: Model,
    /// The busiest first.
    pub(crate) names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
    /// What was chosen.
    pub(crate) choice: Choice,
}

impl Regression {
    /// The number of a product.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }
}

/// What was fitted; `None` where there was too little to fit, or where it does not help.
#[derive(Debug, Default)]
pub(crate) struct Regressions {
    /// What goes with a cart.
    pub(crate) carts: Option<Regression>,
    /// What goes with a shopper's history.
    pub(crate) histories: Option<Regression>,
}

/// Rows of one kind, and how much of each is known while something is held back.
struct Rows<'a> {
    rows: &'a [Vec<u32>],
    known: Vec<usize>,
    /// By item of the harvest, as everything below.
    queries: Vec<Query>,
}

/// Fits both kinds.
///
/// # Errors
/// [`EaseError::Stopped`] as soon as `goes_on` says no.
pub(crate) fn fit(harvested: &Harvested, plan: &Plan, goes_on: &dyn Fn() -> bool) -> Result<Regressions, EaseError> {
    let held_orders = held_orders(&harvested.orders);
    let held_items = held_items(harvested, &held_orders);
    let is_held = |lesson: &Lesson| {
        lesson.order().is_some_and(|order| held_orders.contains(&order)) || held_items.get(&lesson.shopper) == Some(&lesson.item)
    };
    let state = counted(harvested, &plan.settings, is_held, goes_on)?;
    let orders = Rows {
        rows: &harvested.orders,
        known: (0..).zip(&harvested.orders).map(|(order, row)| if held_orders.contains(&order) { 0 } else { row.len() }).collect(),
        queries: cart_queries(&harvested.orders, &held_orders, &state, goes_on)?,
    };
    let histories = Rows {
        rows: &harvested.histories,
        known: (0..).zip(&harvested.histories).map(|(shopper, row)| row.len() - usize::from(held_items.contains_key(&shopper))).collect(),
        queries: history_queries(&harvested.histories, &held_items, &state, plan.settings.bounds.history_max, goes_on)?,
    };
    // Before the matrix is made, so that both are not held at once.
    drop(state);
    Ok(Regressions {
        carts: regression(&orders, &Trials::ORDERS, harvested, plan, goes_on)?,
        histories: regression(&histories, &Trials::HISTORIES, harvested, plan, goes_on)?,
    })
}

/// Orders held back, from all over.
fn held_orders(orders: &[Vec<u32>]) -> HashSet<u32> {
    let eligible: Vec<u32> = (0..).zip(orders).filter(|(_, items)| ORDER_ITEMS.contains(&items.len())).map(|(order, _)| order).collect();
    let step = ORDERS_PER_HELD.max(eligible.len() / ORDERS_HELD_MAX + 1);
    eligible.into_iter().skip(step - 1).step_by(step).collect()
}

/// Shoppers, from all over, and the item each of them took up last; nobody of whom an order is held back.
fn held_items(harvested: &Harvested, held_orders: &HashSet<u32>) -> HashMap<u32, u32> {
    let is_held = |lesson: &&Lesson| lesson.order().is_some_and(|order| held_orders.contains(&order));
    let have_orders: HashSet<u32> = harvested.lessons.iter().filter(is_held).map(|lesson| lesson.shopper).collect();
    let eligible: Vec<(u32, u32)> = (0..)
        .zip(&harvested.histories)
        .filter(|(shopper, items)| items.len() >= HISTORY_ITEMS_MIN && !have_orders.contains(shopper))
        .filter_map(|(shopper, items)| Some((shopper, *items.last()?)))
        .collect();
    let step = eligible.len() / QUERIES_MAX + 1;
    eligible.into_iter().step_by(step).collect()
}

/// What is counted, from everything that is not held back. Its items have the numbers of the harvest, and everything has its number as
/// its name: none is refused, which would shift the numbers of all behind it.
fn counted(
    harvested: &Harvested,
    settings: &Settings,
    is_held: impl Fn(&Lesson) -> bool,
    goes_on: &dyn Fn() -> bool,
) -> Result<Behaviour, EaseError> {
    let mut state = Behaviour::new(settings.clone());
    for number in 0..harvested.names.len() {
        // Behind the bound on items nothing is counted.
        if state.add_item(&number.to_string()).is_err() {
            break;
        }
    }
    for (place, lesson) in harvested.lessons.iter().enumerate() {
        if place.is_multiple_of(1_024) && !goes_on() {
            return Err(EaseError::Stopped);
        }
        if is_held(lesson) {
            continue;
        }
        let (shopper, item) = (lesson.shopper.to_string(), lesson.item.to_string());
        let order = lesson.order().map(|order| order.to_string());
        let done = Done {
            shopper: &shopper,
            session: None,
            item: &item,
            kind: lesson.kind,
            at_ms: lesson.at_ms,
            quantity: 1,
            order: order.as_deref(),
        };
        let _refused = state.apply(&done);
    }
    state.end_visits();
    Ok(state)
}

/// Each item of the orders held back is asked for with the others.
fn cart_queries(orders: &[Vec<u32>], held: &HashSet<u32>, state: &Behaviour, goes_on: &dyn Fn() -> bool) -> Result<Vec<Query>, EaseError> {
    let held: Vec<&Vec<u32>> = (0..).zip(orders).filter(|(order, _)| held.contains(order)).map(|(_, items)| items).collect();
    let all: Vec<(&Vec<u32>, u32)> = held.into_iter().flat_map(|items| items.iter().map(move |target| (items, *target))).collect();
    let (mut scratch, step) = (Scratch::default(), all.len() / QUERIES_MAX + 1);
    let query = |(items, target): &(&Vec<u32>, u32)| {
        let history: Vec<u32> = items.iter().copied().filter(|item| item != target).collect();
        let allow = |item: u32| !history.contains(&item);
        let own = state.complete_cart(&history, &Request::new(POOL_MAX).allowing(&allow), &mut scratch);
        let own = own.into_iter().map(|found| (found.item, found.score)).collect();
        if goes_on() { Ok(Query { target: *target, own, history }) } else { Err(EaseError::Stopped) }
    };
    all.iter().step_by(step).map(query).collect()
}

/// What each shopper took up last is asked for with as much of the history before as is remembered.
fn history_queries(
    histories: &[Vec<u32>],
    held: &HashMap<u32, u32>,
    state: &Behaviour,
    history_max: usize,
    goes_on: &dyn Fn() -> bool,
) -> Result<Vec<Query>, EaseError> {
    let mut scratch = Scratch::default();
    let query = |(shopper, items): (u32, &Vec<u32>)| {
        let target = *held.get(&shopper)?;
        let history: Vec<u32> = items.iter().rev().skip(1).copied().collect();
        let allow = |item: u32| !history.contains(&item);
        let name = shopper.to_string();
        let own = state.for_you(History::Shopper(&name), None, &Request::new(POOL_MAX).allowing(&allow), &mut scratch);
        let own = own.into_iter().map(|found| (found.item, found.score)).collect();
        let history = history.into_iter().take(history_max).collect();
        Some(if goes_on() { Ok(Query { history, target, own }) } else { Err(EaseError::Stopped) })
    };
    (0..).zip(histories).filter_map(query).collect()
}

/// Chooses and fits one kind.
fn regression(
    rows: &Rows<'_>,
    trials: &Trials<'_>,
    harvested: &Harvested,
    plan: &Plan,
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<Regression>, EaseError> {
    let mut counts = vec![0u32; harvested.names.len()];
    rows.rows.iter().flatten().for_each(|item| counts[*item as usize] += 1);
    let mut busiest: Vec<u32> = (0..counts.len() as u32).collect();
    busiest.sort_by_key(|item| std::cmp::Reverse(counts[*item as usize]));
    let mut rank_of = vec![0u32; counts.len()];
    (0..).zip(&busiest).for_each(|(rank, item)| rank_of[*item as usize] = rank);
    busiest.retain(|item| counts[*item as usize] > 0);
    busiest.truncate(plan.items_max);
    let have_pairs = rows.rows.iter().filter(|row| row.len() >= 2).count();
    if have_pairs < ROWS_MIN || rows.queries.len() < QUERIES_MIN || busiest.is_empty() {
        return Ok(None);
    }
    let settings = FitSettings { threads_max: plan.threads_max, ..FitSettings::default() };
    let counted = |known: &dyn Fn(usize) -> usize| {
        let mut gram = Gram::new(busiest.len(), plan.items_max)?;
        for (place, row) in rows.rows.iter().enumerate() {
            let mut row: Vec<u32> = row[..known(place)].iter().map(|item| rank_of[*item as usize]).collect();
            row.sort_unstable();
            gram.add(&row);
        }
        Ok(gram)
    };
    let ranked = |query: &Query| Query {
        history: query.history.iter().map(|item| rank_of[*item as usize]).collect(),
        target: rank_of[query.target as usize],
        own: query.own.iter().filter_map(|(item, score)| Some((*rank_of.get(*item as usize)?, *score))).collect(),
    };
    let queries: Vec<Query> = rows.queries.iter().map(ranked).collect();
    let choice = match tune(&mut counted(&|place| rows.known[place])?, &queries, trials, &settings, goes_on) {
        Err(EaseError::Rounding) => return Ok(None),
        choice => choice?,
    };
    tracing::info!(?choice, rows = have_pairs, items = busiest.len(), questions = queries.len(), "the regression is chosen");
    if choice.weight <= 0.0 {
        return Ok(None);
    }
    let model = match counted(&|place| rows.rows[place].len())?.fit(choice.ridge, &settings, goes_on) {
        Err(EaseError::Rounding) => return Ok(None),
        model => model?,
    };
    let names: Vec<Box<str>> = busiest.iter().map(|item| harvested.names[*item as usize].clone()).collect();
    let numbers = names.iter().cloned().zip(0..).collect();
    Ok(Some(Regression { model, names, numbers, choice }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::harvest::tests::{bought, pairs};

    fn plan() -> Plan {
        Plan { items_max: 60, threads_max: 1, settings: Settings::default() }
    }

    #[test]
    fn what_belongs_together_is_found_among_much_that_does_not() {
        let harvested = pairs(400);
        let fitted = fit(&harvested, &plan(), &|| true).expect("not stopped");
        for regression in [fitted.carts.as_ref(), fitted.histories.as_ref()] {
            let regression = regression.expect("it helps");
            assert!(regression.choice.ndcg > regression.choice.ndcg_own, "{:?}", regression.choice);
            let (left, right) = (regression.number("a7").expect("known"), regression.number("b7").expect("known"));
            let best = regression.model.row(left).max_by(|a, b| a.1.total_cmp(&b.1)).expect("a weight");
            assert_eq!((best.0, &*regression.names[right as usize]), (right, "b7"));
        }
        let again = fit(&harvested, &plan(), &|| true).expect("not stopped");
        let models = |fitted: Regressions| [fitted.carts, fitted.histories].map(|regression| regression.map(|r| (r.model, r.choice)));
        assert_eq!(models(fitted), models(again), "the same at every run");
    }

    #[test]
    fn a_name_that_the_engine_refuses_shifts_no_number() {
        let state = counted(&bought(&["a", "", "b"]), &Settings::default(), |_| false, &|| true).expect("not stopped");
        let of_one_order = |first, second| state.together(first, second).is_some_and(|together| together.together == 1);
        assert!(of_one_order(0, 1) && of_one_order(1, 2) && of_one_order(0, 2));
    }

    #[test]
    fn nothing_is_fitted_on_little_and_for_few_items_only() {
        let fitted = fit(&pairs(40), &plan(), &|| true).expect("not stopped");
        assert!(fitted.carts.is_none() && fitted.histories.is_none());
        let fitted = fit(&pairs(400), &Plan { items_max: 0, ..plan() }, &|| true).expect("not stopped");
        assert!(fitted.carts.is_none() && fitted.histories.is_none());
        let fitted = fit(&pairs(400), &Plan { items_max: 10, ..plan() }, &|| true).expect("not stopped");
        assert!([fitted.carts, fitted.histories].iter().flatten().all(|regression| regression.model.items() == 10));
    }

    #[test]
    fn it_stops_when_told() {
        for left in [0, 1, 3, 150, 500] {
            let left = std::cell::Cell::new(left);
            let goes_on = || left.replace(left.get() - 1) > 0;
            assert_eq!(fit(&pairs(400), &plan(), &goes_on).map(|_| ()), Err(EaseError::Stopped));
        }
    }
}
