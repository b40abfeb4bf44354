//! Protocols: what is known, what is asked, and three rankers side by side.

use std::collections::HashMap;

use serde::Serialize;

use super::baselines::{ItemKnn, Popular};
use super::data::{DataError, Dataset, Query, Row};
use super::metrics::{Judge, Measures};
use super::ours::Ours;
use crate::event::Kind;
use crate::settings::Settings;

/// How a data set is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Every prefix of a session: the next item.
    Session,
    /// Of every user with at least three rows the last; known items are excluded.
    Llo,
    /// Of every user the last fifth; known items are excluded.
    Tus,
    /// Every item of a basket hidden in turn.
    Basket,
    /// The last basket of every user with at least three; repeats count.
    NextBasket,
}

/// The lengths of list that are measured.
const CUTS: [usize; 2] = [10, 20];
/// Share of a user's rows that [`Protocol::Tus`] knows.
const KNOWN_SHARE: f64 = 0.8;
/// Items of a basket that is asked about.
const BASKET_ITEMS: std::ops::RangeInclusive<usize> = 2..=40;

/// One ranker's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `ours`, `popularity` or `item-knn`.
    pub ranker: &'static str,
    /// At 10 and 20.
    pub measures: Vec<Measures>,
}

/// Measures ours, popularity and item-kNN. Queries that the data set does not have yet are split off from what it has. `tune`: the blend
/// is tuned first, on the latest sessions of what is known, while this says so.
///
/// # Errors
/// [`DataError::Empty`]: nothing to fit on or to ask.
pub fn evaluate(
    data: &mut Dataset,
    protocol: Protocol,
    settings: Settings,
    tune: Option<&mut dyn FnMut() -> bool>,
) -> Result<Vec<Report>, DataError> {
    let mut known: Vec<Row> = Vec::new();
    match protocol {
        Protocol::Session => {}
        Protocol::Basket => split_baskets(data),
        Protocol::Llo | Protocol::Tus => known = split_users(data, protocol),
        Protocol::NextBasket => known = split_next_basket(data),
    }
    if data.queries.is_empty() {
        return Err(DataError::Empty("no queries"));
    }
    if data.sequences.is_empty() && known.is_empty() {
        return Err(DataError::Empty("nothing to fit on"));
    }
    let mut ours = Ours::new(data, settings);
    let kind = if matches!(protocol, Protocol::Basket | Protocol::NextBasket) { Kind::Purchase } else { Kind::View };
    ours.feed_sequences(data, kind);
    ours.feed_rows(data, known.iter(), kind);
    if let Some(goes_on) = tune {
        ours.tune(data.queries.iter().all(|query| !query.exclude.is_empty()), goes_on);
    }
    let audiences = audiences(data, &known);
    let (popular, knn) = (Popular::new(&audiences, data.items().len()), ItemKnn::new(&audiences, data.items().len()));
    let count = CUTS[CUTS.len() - 1];
    let expected = next_basket_times(&known);
    let rank_ours = |query: &Query| match protocol {
        Protocol::Basket => ours.rank_cart(query, count),
        Protocol::NextBasket => {
            let user = query.user.as_deref().unwrap_or_default();
            let at_ms = query.at.map(|at| (at.max(0.0) * 1_000.0) as u64).or_else(|| expected.get(user).copied());
            ours.rank_again(query, count, at_ms.unwrap_or_default())
        }
        _ => ours.rank(query, count),
    };
    let items = data.items().len();
    Ok(vec![
        measure("ours", data, items, rank_ours),
        measure("popularity", data, items, |query| popular.rank(&query.exclude, count)),
        measure("item-knn", data, items, |query| knn.rank(&query.known, &query.exclude, count)),
    ])
}

fn measure(ranker: &'static str, data: &Dataset, items: usize, mut rank: impl FnMut(&Query) -> Vec<u32>) -> Report {
    let mut judge = Judge::new(&CUTS, items);
    data.queries.iter().for_each(|query| judge.add(&rank(query), &query.targets));
    Report { ranker, measures: judge.finish() }
}

/// The items of every user, session and basket.
fn audiences(data: &Dataset, known: &[Row]) -> Vec<Vec<u32>> {
    let users = known.chunk_by(|a, b| a.user == b.user).map(|rows| rows.iter().map(|row| row.item).collect());
    data.sequences.iter().cloned().chain(users).collect()
}

/// Line k of the baskets is asked when k % 5 is 4; of each, every item is hidden in turn. Items of a basket are distinct, by name.
fn split_baskets(data: &mut Dataset) {
    let mut sequences = std::mem::take(&mut data.sequences);
    for sequence in &mut sequences {
        sequence.sort_by(|a, b| data.items()[*a as usize].cmp(&data.items()[*b as usize]));
        sequence.dedup();
    }
    if !data.queries.is_empty() {
        data.sequences = sequences;
        return;
    }
    for (line, basket) in sequences.into_iter().enumerate() {
        if line % 5 < 4 {
            data.sequences.push(basket);
        } else if BASKET_ITEMS.contains(&basket.len()) {
            for target in &basket {
                let known: Vec<u32> = basket.iter().copied().filter(|item| item != target).collect();
                data.queries.push(Query { exclude: known.clone(), known, targets: vec![*target], ..Query::default() });
            }
        }
    }
}

/// Leave-last-out, or the last fifth of every user. Returns what is known, user by user.
fn split_users(data: &mut Dataset, protocol: Protocol) -> Vec<Row> {
    let users = data.users();
    if !data.queries.is_empty() {
        return users.into_iter().flatten().collect();
    }
    let mut known_rows = Vec::new();
    for rows in users {
        let known = match protocol {
            Protocol::Llo if rows.len() < 3 => rows.len(),
            Protocol::Llo => rows.len() - 1,
            _ => (rows.len() as f64 * KNOWN_SHARE + 1e-9).floor() as usize,
        };
        let items = |rows: &[Row]| rows.iter().map(|row| row.item).collect::<Vec<_>>();
        let (before, after) = rows.split_at(known);
        let (known, mut targets) = (items(before), Vec::new());
        for item in items(after) {
            if !known.contains(&item) && !targets.contains(&item) {
                targets.push(item);
            }
        }
        if !targets.is_empty() && !known.is_empty() {
            data.queries.push(Query { user: Some(rows[0].user.clone()), exclude: known.clone(), known, targets, at: None });
        }
        known_rows.extend_from_slice(before);
    }
    known_rows
}

/// The last basket (rows of one time) of every user with at least three. Returns what is known, user by user.
fn split_next_basket(data: &mut Dataset) -> Vec<Row> {
    let users = data.users();
    if !data.queries.is_empty() {
        return users.into_iter().flatten().collect();
    }
    let mut known_rows = Vec::new();
    for rows in users {
        let baskets: Vec<&[Row]> = rows.chunk_by(|a, b| a.ts == b.ts).collect();
        let last = baskets.last().map_or(0, |basket| basket.len());
        let known = if baskets.len() < 3 { rows.len() } else { rows.len() - last };
        if known < rows.len() {
            let items = |rows: &[Row]| rows.iter().map(|row| row.item).collect::<Vec<_>>();
            let mut targets = items(&rows[known..]);
            targets.sort_unstable();
            targets.dedup();
            let (user, known, at) = (Some(rows[0].user.clone()), items(&rows[..known]), Some(rows[known].ts));
            data.queries.push(Query { user, known, exclude: Vec::new(), targets, at });
        }
        known_rows.extend_from_slice(&rows[..known]);
    }
    known_rows
}

/// When each user's next basket is expected, for queries that say no time: as long after the last as the user's baskets are apart.
fn next_basket_times(known: &[Row]) -> HashMap<&str, u64> {
    let expected = |rows: &[Row]| {
        let (first, last) = (rows.first().map_or(0.0, |row| row.ts), rows.last().map_or(0.0, |row| row.ts));
        let baskets = rows.chunk_by(|a, b| a.ts == b.ts).count();
        ((last + (last - first) / baskets.saturating_sub(1).max(1) as f64) * 1_000.0) as u64
    };
    known.chunk_by(|a, b| a.user == b.user).map(|rows| (rows[0].user.as_str(), expected(rows))).collect()
}
