//! One entry: what is known of a session, or of a shopper over all sessions.

use std::sync::Arc;

use bincode::{Decode, Encode};
use domain::{Event, EventKind, ProductId, Shopper};
use protocol::session::{CartLine, HISTORY_ITEMS_MAX, HistoryItem, PastSearch, SEARCHES_MAX, SHOPPER_SESSIONS_MAX, SessionState};
use store::store::VALUE_BYTES_MAX;

use crate::logic::cart::{CHANGES_BYTES_MAX, CartChange, CartLog, Change, LINES_BYTES_MAX};

/// Bytes of the items of one history as stored: 200 items with ids of 36 characters.
const ITEMS_BYTES_MAX: usize = 12 << 10;
/// Bytes of the searches as stored.
const SEARCHES_BYTES_MAX: usize = 2560;
/// Bytes of the sessions' ids as stored.
const SESSIONS_BYTES_MAX: usize = 2560;
/// Everything else: the longest names of a store and a shopper, times, counts, the envelope.
const REST_BYTES_MAX: usize = 2 << 10;

const _: () = assert!(
    ITEMS_BYTES_MAX + SEARCHES_BYTES_MAX + SESSIONS_BYTES_MAX + 2 * LINES_BYTES_MAX + CHANGES_BYTES_MAX + REST_BYTES_MAX <= VALUE_BYTES_MAX,
    "every entry must fit into one stored value"
);

/// A session of a shopper.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct SessionName {
    pub(crate) id: Arc<str>,
    pub(crate) at_ms: i64,
}

/// What readers do not see: what it takes to go on.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub(crate) struct Behind {
    pub(crate) cart: CartLog,
    /// Of a shopper: the sessions, the one with the oldest last event first.
    pub(crate) sessions: Vec<SessionName>,
    /// When the store was named.
    pub(crate) store_at_ms: i64,
    /// Of a session: when the shopper was named.
    pub(crate) shopper_at_ms: i64,
}

/// An entry. Clones share what does not change.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub(crate) struct Entry {
    pub(crate) state: Arc<SessionState>,
    pub(crate) behind: Arc<Behind>,
}

/// Kinds of events that make history. Impressions are what others did; a look at the cart or the checkout repeats what is known.
fn is_history(kind: EventKind) -> bool {
    use EventKind::{AddToCart, Click, Dismiss, Purchase, Rating, Refund, RemoveFromCart, View, Wishlist};
    matches!(kind, Click | View | AddToCart | RemoveFromCart | Wishlist | Purchase | Refund | Rating | Dismiss)
}

impl Entry {
    /// Takes in what the event at `offset` of the log says.
    pub(crate) fn event(&mut self, event: &Event, offset: u64) {
        let is_first = self.state.version == 0;
        let state = Arc::make_mut(&mut self.state);
        state.version = offset + 1;
        state.first_seen_ms = if is_first { event.at_ms } else { state.first_seen_ms.min(event.at_ms) };
        state.last_seen_ms = if is_first { event.at_ms } else { state.last_seen_ms.max(event.at_ms) };
        if is_history(event.kind) {
            for item in &event.items {
                let (kind, product, quantity) = (event.kind, item.product.clone(), item.quantity);
                insert_item(&mut state.items, HistoryItem { kind, product, at_ms: event.at_ms, quantity });
            }
            trim(&mut state.items, HISTORY_ITEMS_MAX, ITEMS_BYTES_MAX, item_bytes);
        }
        if let (EventKind::Search, Some(query)) = (event.kind, event.query.as_deref().map(str::trim))
            && !query.is_empty()
        {
            insert_search(&mut state.searches, PastSearch { query: query.into(), at_ms: event.at_ms });
        }
        if let Some(store) = &event.store
            && (state.store.is_none() || event.at_ms >= self.behind.store_at_ms)
        {
            if state.store.as_deref() != Some(store) {
                state.store = Some(store.as_str().into());
            }
            Arc::make_mut(&mut self.behind).store_at_ms = event.at_ms;
        }
        if let Some(change) = Change::of(event) {
            self.change_cart(change);
        }
    }

    /// Of a session: whose it is.
    pub(crate) fn belongs_to(&mut self, shopper: &Shopper, at_ms: i64) {
        if self.state.shopper.is_none() || at_ms >= self.behind.shopper_at_ms {
            if self.state.shopper.as_ref() != Some(shopper) {
                Arc::make_mut(&mut self.state).shopper = Some(shopper.clone());
            }
            Arc::make_mut(&mut self.behind).shopper_at_ms = at_ms;
        }
    }

    /// Of a shopper: a session of theirs. Gives those that there is no more room for.
    pub(crate) fn has_session(&mut self, id: &str, at_ms: i64) -> Vec<Arc<str>> {
        insert_sessions(&mut Arc::make_mut(&mut self.behind).sessions, [SessionName { id: id.into(), at_ms }])
    }

    /// Of a user: takes in what was gathered for a visitor, who logged in at `at_ms`. The visitor's cart is put into the user's
    /// then. Gives the sessions that there is no more room for.
    pub(crate) fn take_over(&mut self, visitor: &Self, at_ms: i64, offset: u64) -> Vec<Arc<str>> {
        let is_first = self.state.version == 0;
        let state = Arc::make_mut(&mut self.state);
        let from = &*visitor.state;
        state.version = offset + 1;
        state.first_seen_ms = if is_first { from.first_seen_ms } else { state.first_seen_ms.min(from.first_seen_ms) };
        state.last_seen_ms = if is_first { from.last_seen_ms } else { state.last_seen_ms.max(from.last_seen_ms) };
        from.items.iter().for_each(|item| insert_item(&mut state.items, item.clone()));
        trim(&mut state.items, HISTORY_ITEMS_MAX, ITEMS_BYTES_MAX, item_bytes);
        from.searches.iter().for_each(|search| insert_search(&mut state.searches, search.clone()));
        if from.store.is_some() && (state.store.is_none() || visitor.behind.store_at_ms > self.behind.store_at_ms) {
            state.store.clone_from(&from.store);
            Arc::make_mut(&mut self.behind).store_at_ms = visitor.behind.store_at_ms;
        }
        if !from.cart.is_empty() {
            let lines = from.cart.iter().map(|line| CartLine { at_ms, ..line.clone() }).collect();
            self.change_cart(Change { at_ms, change: CartChange::Add, lines });
        }
        insert_sessions(&mut Arc::make_mut(&mut self.behind).sessions, visitor.behind.sessions.iter().cloned())
    }

    /// How much memory it takes, about: in memory each id is an allocation of its own.
    pub(crate) fn memory_bytes(&self) -> usize {
        512 + 2 * self.stored_bytes()
    }

    /// How many bytes it takes as stored, about.
    pub(crate) fn stored_bytes(&self) -> usize {
        let lines = self.state.cart.iter().map(|line| 29 + line.product.as_str().len()).sum::<usize>();
        160 + self.state.items.iter().map(item_bytes).sum::<usize>()
            + self.state.searches.iter().map(search_bytes).sum::<usize>()
            + self.behind.sessions.iter().map(session_bytes).sum::<usize>()
            + 2 * lines
    }

    fn change_cart(&mut self, change: Change) {
        let behind = Arc::make_mut(&mut self.behind);
        if behind.cart.insert(change) {
            Arc::make_mut(&mut self.state).cart = behind.cart.lines();
        }
    }
}

/// In order of time; of equal times the one told later comes later.
fn insert_item(items: &mut Vec<HistoryItem>, item: HistoryItem) {
    let place = items.iter().rposition(|known| known.at_ms <= item.at_ms).map_or(0, |place| place + 1);
    items.insert(place, item);
}

/// In order of time; of equal searches the newest stays.
fn insert_search(searches: &mut Vec<PastSearch>, search: PastSearch) {
    if let Some(place) = searches.iter().position(|known| known.query == search.query) {
        if searches[place].at_ms > search.at_ms {
            return;
        }
        searches.remove(place);
    }
    let place = searches.partition_point(|known| known.at_ms <= search.at_ms);
    searches.insert(place, search);
    trim(searches, SEARCHES_MAX, SEARCHES_BYTES_MAX, search_bytes);
}

/// In order of the last event; gives those that had to leave.
fn insert_sessions(sessions: &mut Vec<SessionName>, new: impl IntoIterator<Item = SessionName>) -> Vec<Arc<str>> {
    for mut session in new {
        if let Some(place) = sessions.iter().position(|known| known.id == session.id) {
            session.at_ms = session.at_ms.max(sessions.remove(place).at_ms);
        }
        let place = sessions.partition_point(|known| known.at_ms <= session.at_ms);
        sessions.insert(place, session);
    }
    trim(sessions, SHOPPER_SESSIONS_MAX, SESSIONS_BYTES_MAX, session_bytes).into_iter().map(|session| session.id).collect()
}

/// Drops from the front until both bounds hold; gives what was dropped.
fn trim<T>(list: &mut Vec<T>, items_max: usize, bytes_max: usize, bytes_of: fn(&T) -> usize) -> Vec<T> {
    let mut bytes: usize = list.iter().map(bytes_of).sum();
    let mut gone = 0;
    while list.len() - gone > items_max || bytes > bytes_max {
        bytes -= bytes_of(&list[gone]);
        gone += 1;
    }
    list.drain(..gone).collect()
}

fn item_bytes(item: &HistoryItem) -> usize {
    24 + id_bytes(&item.product)
}

fn search_bytes(search: &PastSearch) -> usize {
    16 + search.query.len()
}

fn session_bytes(session: &SessionName) -> usize {
    16 + session.id.len()
}

fn id_bytes(id: &ProductId) -> usize {
    id.as_str().len()
}
