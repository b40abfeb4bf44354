//! What a record of the event log does to the entries it concerns.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use domain::{Erasure, Event, Shopper};
use papaya::Equivalent;
use protocol::journal::LogBody;

use crate::logic::entry::Entry;

/// The prefix of a session's key: the same entry stands for a shopper of whom only the session is known.
const SESSION: &str = "s:";

/// The key of an entry: a shopper's key, or a session's.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key(Arc<str>);

impl Key {
    pub(crate) fn shopper(shopper: &Shopper) -> Self {
        Self(shopper.as_str().into())
    }

    pub(crate) fn session(id: &str) -> Self {
        Self([SESSION, id].concat().into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

// Names shoppers: not for logs.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

// As `Name` does it, so that a look-up needs no allocation.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (prefix, rest) = split(&self.0);
        Name { prefix, rest }.hash(state);
    }
}

/// A key in two parts, for look-ups.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a> {
    prefix: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Name<'a> {
    pub(crate) fn shopper(shopper: &'a Shopper) -> Self {
        let (prefix, rest) = split(shopper.as_str());
        Self { prefix, rest }
    }

    pub(crate) fn session(id: &'a str) -> Self {
        Self { prefix: SESSION.as_bytes(), rest: id.as_bytes() }
    }

    /// The key as stored.
    pub(crate) fn to_vec(self) -> Vec<u8> {
        [self.prefix, self.rest].concat()
    }
}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.prefix);
        state.write(self.rest);
        state.write_u8(0xFF);
    }
}

impl Equivalent<Key> for Name<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        split(&key.0) == (self.prefix, self.rest)
    }
}

fn split(key: &str) -> (&[u8], &[u8]) {
    key.as_bytes().split_at(SESSION.len().min(key.len()))
}

/// The entries that a record reads, so that they can be fetched before it is applied.
pub(crate) fn keys_of(body: &LogBody) -> Vec<Key> {
    match body {
        LogBody::Event(event) if event.is_personal() => {
            let login = event.login().into_iter().map(|(visitor, _)| Key::shopper(&visitor));
            let shopper = event.shopper().iter().map(Key::shopper).collect::<Vec<_>>();
            let session = event.session.iter().map(|id| Key::session(id));
            login.chain(shopper).chain(session).collect()
        }
        LogBody::Event(_) | LogBody::Served(_) => Vec::new(),
        LogBody::Erasure(erasure) => erasure.shoppers.iter().map(Key::shopper).collect(),
    }
}

/// Entries that are being changed: what they were comes from `before`, what they become stands in `changed` (`None`: nothing is
/// known any more).
pub(crate) struct Ledger<'a> {
    before: &'a dyn Fn(&Key) -> Option<Entry>,
    changed: HashMap<Key, Option<Entry>>,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(before: &'a dyn Fn(&Key) -> Option<Entry>) -> Self {
        Self { before, changed: HashMap::new() }
    }

    /// Applies the record at `offset`. Robots, and shoppers who do not consent, leave nothing.
    pub(crate) fn apply(&mut self, body: &LogBody, offset: u64) {
        match body {
            LogBody::Event(event) if event.is_personal() => self.event(event, offset),
            LogBody::Event(_) | LogBody::Served(_) => {}
            LogBody::Erasure(erasure) => self.erase(erasure),
        }
    }

    /// What has become of the entries.
    pub(crate) fn into_changed(self) -> HashMap<Key, Option<Entry>> {
        self.changed
    }

    fn event(&mut self, event: &Event, offset: u64) {
        if let Some((visitor, user)) = event.login()
            && let Some(gathered) = self.take(Key::shopper(&visitor))
        {
            let left = self.entry(Key::shopper(&user)).take_over(&gathered, event.at_ms, offset);
            self.drop_sessions(left);
        }
        let Some(shopper) = event.shopper() else { return };
        let key = Key::shopper(&shopper);
        let session = event.session.as_deref().map(|id| (id, Key::session(id))).filter(|(_, session)| *session != key);
        let entry = self.entry(key);
        entry.event(event, offset);
        let Some((id, session)) = session else { return };
        let left = entry.has_session(id, event.at_ms);
        let entry = self.entry(session);
        entry.event(event, offset);
        entry.belongs_to(&shopper, event.at_ms);
        self.drop_sessions(left);
    }

    fn erase(&mut self, erasure: &Erasure) {
        for shopper in &erasure.shoppers {
            if let Some(entry) = self.take(Key::shopper(shopper)) {
                self.drop_sessions(entry.behind.sessions.iter().map(|session| Arc::clone(&session.id)));
            }
        }
    }

    fn drop_sessions(&mut self, sessions: impl IntoIterator<Item = Arc<str>>) {
        self.changed.extend(sessions.into_iter().map(|id| (Key::session(&id), None)));
    }

    /// The entry, to be changed.
    fn entry(&mut self, key: Key) -> &mut Entry {
        let before = self.before;
        self.changed.entry(key).or_insert_with_key(before).get_or_insert_default()
    }

    /// Takes the entry away, if there is one.
    fn take(&mut self, key: Key) -> Option<Entry> {
        let entry = match self.changed.get_mut(&key) {
            Some(entry) => return entry.take(),
            None => (self.before)(&key)?,
        };
        self.changed.insert(key, None);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use domain::EventKind;
    use proptest::prelude::*;
    use protocol::session::{HISTORY_ITEMS_MAX, SEARCHES_MAX, SHOPPER_SESSIONS_MAX, SessionState};

    use super::*;
    use crate::testing::{event, items};

    /// All entries, applied one record at a time.
    #[derive(Default)]
    struct Book {
        entries: RefCell<HashMap<Key, Entry>>,
        offset: u64,
    }

    impl Book {
        fn of(events: impl IntoIterator<Item = Event>) -> Self {
            let mut book = Self::default();
            events.into_iter().for_each(|event| book.apply(LogBody::Event(Arc::new(event))));
            book
        }

        fn apply(&mut self, body: LogBody) {
            let before = |key: &Key| {
                assert!(keys_of(&body).contains(key), "every entry that is read is announced");
                self.entries.borrow().get(key).cloned()
            };
            let mut ledger = Ledger::new(&before);
            ledger.apply(&body, self.offset);
            let changed = ledger.into_changed();
            for (key, entry) in changed {
                match entry {
                    Some(entry) => self.entries.borrow_mut().insert(key, entry),
                    None => self.entries.borrow_mut().remove(&key),
                };
            }
            self.offset += 1;
        }

        fn state(&self, key: &str) -> Option<Arc<SessionState>> {
            self.entries.borrow().get(&Key(key.into())).map(|entry| Arc::clone(&entry.state))
        }

        fn keys(&self) -> Vec<String> {
            let mut keys: Vec<String> = self.entries.borrow().keys().map(|key| key.0.to_string()).collect();
            keys.sort();
            keys
        }
    }

    fn by(visitor: &str, user: &str, session: &str, event: Event) -> Event {
        let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        Event { visitor: name(visitor), user: name(user), session: name(session), ..event }
    }

    fn view(product: &str, at_ms: i64) -> Event {
        Event { items: items(&[(product, None, 1)]), ..event("", EventKind::View, at_ms) }
    }

    fn products(state: &SessionState) -> Vec<&str> {
        state.items.iter().map(|item| item.product.as_str()).collect()
    }

    #[test]
    fn late_events_take_their_place_by_time() {
        let book =
            Book::of([view("b", 20), view("d", 40), view("a", 10), view("c", 30), view("e", 40)].map(|event| by("v", "", "s", event)));
        for key in ["v:v", "s:s"] {
            let state = book.state(key).expect("known");
            assert_eq!(products(&state), ["a", "b", "c", "d", "e"], "{key}: of equal times the one told later comes later");
            assert_eq!((state.first_seen_ms, state.last_seen_ms, state.version), (10, 40, 5));
            assert_eq!(state.newest_of(&[EventKind::View]).map(|item| item.product.as_str()).next(), Some("e"));
        }
        assert_eq!(book.state("s:s").and_then(|state| state.shopper.clone()), Some(Shopper::visitor("v")));
        assert_eq!(book.state("v:v").and_then(|state| state.shopper.clone()), None);
    }

    #[test]
    fn robots_and_shoppers_who_do_not_consent_leave_nothing() {
        let robot = Event { is_bot: true, ..by("v", "", "s", view("a", 1)) };
        let refusing = Event { consent: Some(false), ..by("v", "", "s", view("a", 1)) };
        let nobody = view("a", 1);
        assert_eq!(Book::of([robot, refusing, nobody]).keys(), [""; 0]);
    }

    #[test]
    fn only_what_a_shopper_did_is_history() {
        let kinds = EventKind::ALL.map(|kind| by("v", "", "", Event { kind, ..view("a", kind as i64) }));
        let book = Book::of(kinds);
        use EventKind::{AddToCart, Click, Dismiss, Purchase, Rating, Refund, RemoveFromCart, View, Wishlist};
        let state = book.state("v:v").expect("known");
        let known: Vec<EventKind> = state.items.iter().map(|item| item.kind).collect();
        assert_eq!(known, [Click, View, AddToCart, RemoveFromCart, Wishlist, Purchase, Refund, Rating, Dismiss]);
    }

    #[test]
    fn at_login_what_was_gathered_for_the_visitor_is_the_users() {
        let add = |product: &str, at_ms| Event { kind: EventKind::AddToCart, ..view(product, at_ms) };
        let search = |query: &str, at_ms| Event { query: Some(query.into()), ..event("", EventKind::Search, at_ms) };
        let book = Book::of([
            by("", "u", "old", add("a", 10)),
            by("", "u", "old", search("x", 11)),
            by("v", "", "new", add("b", 20)),
            by("v", "", "new", search("x", 21)),
            by("v", "", "new", Event { store: Some("Bern".into()), ..view("c", 5) }),
            by("v", "u", "new", event("", EventKind::Identify, 30)),
        ]);
        assert_eq!(book.keys(), ["s:new", "s:old", "u:u"]);
        let state = book.state("u:u").expect("known");
        assert_eq!(products(&state), ["c", "a", "b"]);
        assert_eq!(state.cart.iter().map(|line| (line.product.as_str(), line.at_ms)).collect::<Vec<_>>(), [("a", 10), ("b", 30)]);
        assert_eq!(state.searches.iter().map(|search| (&*search.query, search.at_ms)).collect::<Vec<_>>(), [("x", 21)]);
        assert_eq!((state.first_seen_ms, state.last_seen_ms, state.store.as_deref()), (5, 30, Some("Bern")));
        assert_eq!(book.state("s:new").and_then(|state| state.shopper.clone()), Some(Shopper::user("u")));
    }

    #[test]
    fn an_erasure_takes_every_session_of_its_shoppers() {
        let visits = [("v", "", "s"), ("v", "u", "t"), ("w", "", "x"), ("", "", "alone")];
        let mut book = Book::of(visits.map(|(visitor, user, session)| by(visitor, user, session, view("a", 1))));
        assert_eq!(book.keys(), ["s:alone", "s:s", "s:t", "s:x", "u:u", "v:w"]);
        let erase =
            |shoppers: &[Shopper]| LogBody::Erasure(Arc::new(Erasure { shoppers: shoppers.to_vec(), at_ms: 0, receipt: String::new() }));
        book.apply(erase(&[Shopper::user("u"), Shopper::visitor("v"), Shopper::of_key("ß")]));
        assert_eq!(book.keys(), ["s:alone", "s:x", "v:w"]);
        book.apply(erase(&[Shopper::session("alone"), Shopper::visitor("w")]));
        assert_eq!(book.keys(), [""; 0]);
    }

    #[test]
    fn everything_is_bounded() {
        let many = (0..400).map(|at| {
            let session = format!("session-{}", at / 5);
            by("v", "", &session, Event { query: Some(format!("query {at}")), ..event("", EventKind::Search, at) })
        });
        let views = (0..400).map(|at| by("v", "", "one", view(&format!("product-{at}"), at)));
        let mut book = Book::of(many);
        let state = book.state("v:v").expect("known");
        assert_eq!((state.searches.len(), &*state.searches[0].query), (SEARCHES_MAX, "query 390"));
        assert_eq!(book.keys().len(), 1 + SHOPPER_SESSIONS_MAX, "the sessions that there is no more room for are dropped");
        assert!(book.state("s:session-79").is_some() && book.state("s:session-0").is_none());
        views.for_each(|event| book.apply(LogBody::Event(Arc::new(event))));
        let state = book.state("v:v").expect("known");
        assert_eq!((state.items.len(), state.items[0].product.as_str()), (HISTORY_ITEMS_MAX, "product-200"));
    }

    proptest! {
        /// What is known does not depend on the order in which it was told, as long as nothing had to leave for want of room.
        #[test]
        fn the_order_of_telling_makes_no_difference(
            kinds in prop::collection::vec((0..8_usize, 0..5_usize, 0..3_usize, 0..3_usize), 1..30),
            order in prop::collection::vec(any::<u32>(), 30),
        ) {
            use EventKind::{AddToCart, CartView, Click, Home, Purchase, RemoveFromCart, Search, View};
            let events: Vec<Event> = kinds.iter().enumerate().map(|(at, (kind, product, session, store))| {
                let kind = [AddToCart, CartView, Click, Home, Purchase, RemoveFromCart, Search, View][*kind];
                let mut event = Event { kind, ..view(["a", "b", "c", "d", "e"][*product], at as i64) };
                event.query = (kind == Search).then(|| format!("query {product}"));
                event.store = ["", "Bern", "Basel"].get(*store).filter(|store| !store.is_empty()).map(|store| (*store).to_owned());
                by("v", "", ["s", "t", "x"][*session], event)
            }).collect();
            let mut told: Vec<(u32, Event)> = order.into_iter().zip(events.iter().cloned()).collect();
            told.sort_by_key(|(place, _)| *place);
            let (forward, told) = (Book::of(events), Book::of(told.into_iter().map(|(_, event)| event)));
            prop_assert_eq!(forward.keys(), told.keys());
            for key in forward.keys() {
                let state = |book: &Book| book.state(&key).map(|state| SessionState { version: 0, ..(*state).clone() });
                prop_assert_eq!(state(&forward), state(&told), "{}", key);
            }
        }
    }
}
