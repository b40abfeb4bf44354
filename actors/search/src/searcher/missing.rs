//! Why a product is not among the hits.

use domain::ProductId;
use protocol::search::{Missing, SearchQuery};

use super::Snapshots;
use super::arrange::Arranged;
use super::parts::Parts;
use super::scope::Scope;
use crate::logic::Slot;

/// The first reason that applies, in the order in which a search goes.
pub(crate) fn explain(
    snapshots: &Snapshots,
    query: &SearchQuery,
    scope: &Scope,
    parts: &Parts,
    arranged: &Arranged,
    id: &ProductId,
) -> Missing {
    let reason = |code, detail: String| Missing { code, detail };
    let columns = &snapshots.columns;
    let Some(slot) = columns.slot(id.as_str()) else {
        return reason("unknown_product", "there is no such product".into());
    };
    if query.exclude.contains(id) {
        return reason("excluded", "the query excludes it".into());
    }
    if query.only_available && columns.offer(slot).is_some_and(|offer| !offer.availability.is_available()) {
        return reason("out_of_stock", "it cannot be had now".into());
    }
    if let Some(condition) = failed_condition(snapshots, query, slot) {
        return reason("filtered", format!("it does not meet: {condition}"));
    }
    if let Some(rank) = arranged.hits.iter().position(|hit| hit.slot == slot) {
        let page = query.offset..query.offset + query.limit;
        return if page.contains(&rank) {
            reason("not_missing", format!("it stands at rank {}", rank + 1))
        } else {
            reason("further_down", format!("it stands at rank {}", rank + 1))
        };
    }
    if query.group_by.is_some() && parts.lists.iter().any(|list| list.found.iter().any(|found| found.slot == slot)) {
        return reason("grouped", "a product of its group stands for it".into());
    }
    let embedded = |space: protocol::vision::Space| snapshots.space(space).is_some_and(|space| space.index.stamp_of(slot).is_some());
    let spaces: Vec<_> = query.vectors.iter().map(|vector| vector.space).collect();
    if let Some(space) = spaces.iter().find(|space| !embedded(**space))
        && query.words.is_none()
    {
        let code = if *space == protocol::vision::Space::Image { "no_image" } else { "not_embedded" };
        return reason(code, format!("it has no {} embedding", space.as_str()));
    }
    if !scope.allows(slot) {
        return reason("filtered", "it is outside what may be found".into());
    }
    let has_words = parts.matched.as_ref().is_some_and(|matched| columns::contains(matched, slot));
    match parts.floor {
        _ if has_words => reason("further_down", format!("it has the words, and stands behind rank {}", parts.depth)),
        Some(floor) => reason("below_cut", format!("it has not the words, and its meaning is below the cut of {floor:.2}")),
        None if query.words.is_some() && query.vectors.is_empty() => reason("not_matched", "it has not the words".into()),
        None => reason("further_down", format!("it stands behind rank {}", parts.depth)),
    }
}

/// The first condition of the filter that the product does not meet.
fn failed_condition(snapshots: &Snapshots, query: &SearchQuery, slot: Slot) -> Option<String> {
    let conditions = query.filter.as_ref()?.conjuncts();
    let fails = |condition: &&&domain::Filter| snapshots.columns.evaluate(condition).is_ok_and(|within| !columns::contains(&within, slot));
    conditions.iter().find(fails).map(ToString::to_string)
}
