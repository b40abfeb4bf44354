//! A batch of the event log, applied: to the profiles, the shop, the lists.

use std::sync::{Arc, PoisonError};

use domain::{Erasure, Event, ProductId, Served, Shopper};
use events::{Entry, EventLog};
use protocol::journal::LogBody;
use store::StoreError;
use taste::{Ask, Candidate, Event as Done, Id, Origin, Page, Profile, Shown};

use super::lock;
use crate::logic::ids::{id, id_of_shopper};
use crate::logic::learned::Deed;
use crate::logic::reading;
use crate::view::View;

/// How a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Whether there may be more to apply.
    pub(crate) has_more: bool,
    /// Whether a checkpoint must not wait: a shopper was erased, or too much has changed.
    pub(crate) is_urgent: bool,
}

/// Applies what comes next in the log. Blocks: it may read the disk. Does nothing for an actor that another has replaced.
pub(crate) fn follow(view: &View, log: &EventLog, incarnation: u64, records_max: usize) -> Result<Batch, StoreError> {
    let mut writer = lock(&view.writer);
    if writer.incarnation != incarnation {
        return Ok(Batch { has_more: false, is_urgent: false });
    }
    if view.profiles.is_full() {
        return Ok(Batch { has_more: false, is_urgent: true });
    }
    let entries = log.read(writer.offset, records_max)?;
    for entry in &entries {
        writer.has_erased |= apply(view, entry)?;
        writer.offset = entry.offset + 1;
    }
    view.progress.set(writer.offset);
    metrics::gauge!("gotham_personalize_lag_records").set(log.end().saturating_sub(writer.offset) as f64);
    Ok(Batch { has_more: writer.offset < log.end(), is_urgent: writer.has_erased || view.profiles.is_full() })
}

/// Whether a shopper was erased.
fn apply(view: &View, entry: &Entry) -> Result<bool, StoreError> {
    match &entry.body {
        Some(LogBody::Event(event)) => happened(view, event)?,
        Some(LogBody::Served(served)) => shown(view, served)?,
        Some(LogBody::Erasure(erasure)) => {
            erased(view, erasure);
            return Ok(true);
        }
        None => {}
    }
    Ok(false)
}

fn happened(view: &View, event: &Event) -> Result<(), StoreError> {
    let Some(shopper) = event.shopper().filter(|_| event.is_personal()) else { return Ok(()) };
    if let Some((visitor, user)) = event.login() {
        logged_in(view, &visitor, &user)?;
    }
    let Some(action) = reading::action(event.kind).filter(|_| !event.items.is_empty()) else { return Ok(()) };
    let mut profile = view.profiles.get(&shopper)?.unwrap_or_default();
    let own: &mut Profile = Arc::make_mut(&mut profile);
    let origin = Origin {
        shopper: id_of_shopper(&shopper),
        session: event.session.as_deref().map(id),
        token: event.attribution_token.as_deref().map(id),
    };
    let (at_ms, store) = (reading::at_ms(event), event.store.as_deref().map(id));
    let models = view.shelf.models(Some(&shopper));
    for item in &event.items {
        let known = view.shelf.of_item(&models, item);
        let event = Done { action, item: known.item, at_ms, store, facts: known.facts() };
        let deed = Deed { event, product: &item.product, origin };
        // Taken for each item anew: whoever reads waits for one at most.
        view.learned.write().unwrap_or_else(PoisonError::into_inner).apply(own, &deed);
    }
    view.profiles.set(&shopper, Some(profile));
    Ok(())
}

/// The visitor's profile and lists become the user's.
fn logged_in(view: &View, visitor: &Shopper, user: &Shopper) -> Result<(), StoreError> {
    let (from, to) = (id_of_shopper(visitor), id_of_shopper(user));
    view.learned.write().unwrap_or_else(PoisonError::into_inner).lists.rename(from, to);
    let Some(found) = view.profiles.get(visitor)? else { return Ok(()) };
    let mut profile = view.profiles.get(user)?.unwrap_or_default();
    Arc::make_mut(&mut profile).merge(&found);
    view.profiles.set(user, Some(profile));
    view.profiles.set(visitor, None);
    Ok(())
}

/// A list was shown: kept with what it was weighed by, for the choices to come. The answer's own scores are left out: they are what
/// the weights have made, and would explain every choice.
fn shown(view: &View, served: &Served) -> Result<(), StoreError> {
    let session = served.session.as_deref();
    let Some(shopper) = served.shopper.clone().or_else(|| session.map(Shopper::session)) else { return Ok(()) };
    let profile = view.profiles.get(&shopper)?.unwrap_or_default();
    let products: Vec<&ProductId> = served.items.iter().map(|item| &item.product).collect();
    let known = view.shelf.of(&view.shelf.models(Some(&shopper)), &products);
    let candidates: Vec<Candidate> = known.iter().map(|known| Candidate { item: known.item, score: None }).collect();
    let ask = Ask { at_ms: served.at_ms, store: None, candidates: &candidates };
    let page = {
        let learned = view.learned.read().unwrap_or_else(PoisonError::into_inner);
        Page::new(&profile, &learned.shop, &ask, |at| known[at].facts())
    };
    let arms: Vec<Id> = served.items.iter().take(page.items.len()).map(|item| id(&item.strategy)).collect();
    let shown = Shown {
        token: id(&served.token),
        shopper: id_of_shopper(&shopper),
        session: session.map(id),
        surface: id(&served.placement),
        at_ms: served.at_ms,
    };
    view.learned.write().unwrap_or_else(PoisonError::into_inner).show(shown, &page, &arms);
    Ok(())
}

fn erased(view: &View, erasure: &Erasure) {
    for shopper in &erasure.shoppers {
        view.profiles.set(shopper, None);
        view.learned.write().unwrap_or_else(PoisonError::into_inner).lists.erase(id_of_shopper(shopper));
    }
}
