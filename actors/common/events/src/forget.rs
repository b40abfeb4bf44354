//! Forgetting a shopper: every name of theirs becomes a pseudonym that nobody can lead back, and what they sent in words goes.
//!
//! One name becomes one pseudonym throughout the log up to the erasure, and the erasure names the pseudonyms too. Whoever follows
//! the log from the beginning therefore gathers the same, for the pseudonym, and lets go of it at the same place.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use domain::{Erasure, Event, Served, Shopper};
use protocol::journal::LogBody;
use ring::rand::{SecureRandom, SystemRandom};
use store::{Record, StoreError};

use crate::warehouse::{Content, Named, Row};

/// What stands for JSON that is gone.
const NOTHING: &str = "{}";
/// Shorter names are not looked for inside other texts, where they stand by chance.
const NEEDLE_CHARS_MIN: usize = 4;
/// Sessions of one shopper that are looked for where no stronger name stands.
const SESSIONS_MAX: usize = 100_000;

/// Why a shopper was not forgotten.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ForgetError {
    /// The log holds no such erasure: it is appended first.
    #[error("no erasure with receipt {0} stands in the log")]
    Unknown(String),
    /// A consumer has not taken the erasure in yet: under the pseudonym it would not know whom to forget. Try again later.
    #[error("{consumer} has come to offset {at} only and must have come to {needed}")]
    Behind {
        /// Which.
        consumer: &'static str,
        /// How far it has come.
        at: u64,
        /// How far it must have come.
        needed: u64,
    },
    /// Reading or writing failed. Nothing has changed, or it is in force and not all that it replaced is removed: trying again is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What forgetting amounted to; all zero where it had been done before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Forgotten {
    /// Where the erasure stands.
    pub offset: u64,
    /// Records that named the shopper.
    pub records: u64,
    /// Files replaced.
    pub files: u64,
    /// Bytes of segments that the journal let go.
    pub trimmed_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    User,
    Visitor,
    Session,
    Order,
    Other,
}

/// A shopper who is being forgotten.
pub(crate) struct Erased {
    offset: u64,
    users: HashSet<String>,
    visitors: HashSet<String>,
    sessions: HashSet<String>,
    pseudonyms: HashMap<(Kind, String), String>,
    random: SystemRandom,
}

impl Erased {
    /// The shoppers of the erasure at `offset`.
    pub(crate) fn new(erasure: &Erasure, offset: u64) -> Self {
        let of = |kind: &str| -> HashSet<String> {
            erasure
                .shoppers
                .iter()
                .filter_map(|shopper| shopper.as_str().split_once(':'))
                .filter(|(prefix, _)| *prefix == kind)
                .map(|(_, id)| id.to_owned())
                .collect()
        };
        let (users, visitors, sessions) = (of("u"), of("v"), of("s"));
        Self { offset, users, visitors, sessions, pseudonyms: HashMap::new(), random: SystemRandom::new() }
    }

    /// Where the erasure stands: what comes behind is another life.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Remembers the session of a record that is theirs.
    pub(crate) fn learn(&mut self, named: &Named<'_>) {
        if let Some(session) = named.session
            && self.is_theirs(named)
            && self.sessions.len() < SESSIONS_MAX
            && !self.sessions.contains(session)
        {
            self.sessions.insert(session.to_owned());
        }
    }

    /// Whether one of their names stands in the record.
    pub(crate) fn names(&self, named: &Named<'_>) -> bool {
        let has = |names: &HashSet<String>, name: Option<&str>| name.is_some_and(|name| names.contains(name));
        named.offset <= self.offset
            && (has(&self.users, named.user) || has(&self.visitors, named.visitor) || has(&self.sessions, named.session))
    }

    /// Whether the record is theirs: the strongest name in it is.
    fn is_theirs(&self, named: &Named<'_>) -> bool {
        named.offset <= self.offset
            && match (named.user, named.visitor, named.session) {
                (Some(user), ..) => self.users.contains(user),
                (None, Some(visitor), _) => self.visitors.contains(visitor),
                (None, None, session) => session.is_some_and(|session| self.sessions.contains(session)),
            }
    }

    /// Takes their names out of a record; `false` when none was in it.
    pub(crate) fn apply(&mut self, row: &mut Row) -> Result<bool, StoreError> {
        let offset = row.offset;
        match &mut row.content {
            Content::Event(event) => self.apply_event(offset, event),
            Content::Served(served) => self.apply_served(offset, served),
            Content::Erasure { erasure, carried_out } => {
                let is_it = offset == self.offset;
                *carried_out |= is_it;
                Ok(self.apply_erasure(offset, erasure)? || is_it)
            }
            Content::Record(_, bytes) => self.apply_record(offset, bytes),
        }
    }

    fn apply_event(&mut self, offset: u64, event: &mut Arc<Event>) -> Result<bool, StoreError> {
        let event_names =
            Named { offset, user: event.user.as_deref(), visitor: event.visitor.as_deref(), session: event.session.as_deref() };
        if !self.names(&event_names) {
            return Ok(false);
        }
        let is_theirs = self.is_theirs(&event_names);
        let event = Arc::make_mut(event);
        let mut needles = Vec::new();
        self.rename(Kind::User, &mut event.user, false, &mut needles)?;
        self.rename(Kind::Visitor, &mut event.visitor, false, &mut needles)?;
        self.rename(Kind::Session, &mut event.session, is_theirs, &mut needles)?;
        if is_theirs {
            event.id = self.random()?;
            event.query = None;
            if let Some(order) = &mut event.order {
                *order = self.pseudonym(Kind::Order, order)?;
            }
        }
        event.raw = NOTHING.into();
        self.clean(&mut event.id, &needles)?;
        let texts =
            [&mut event.query, &mut event.order, &mut event.surface, &mut event.store, &mut event.attribution_token, &mut event.experiment];
        texts.into_iter().flatten().try_for_each(|text| self.clean(text, &needles))?;
        Ok(true)
    }

    fn apply_served(&mut self, offset: u64, served: &mut Arc<Served>) -> Result<bool, StoreError> {
        let key = served.shopper.as_ref().map(Shopper::as_str);
        let named = Named::of_served(offset, key, served.session.as_deref());
        // A list for a shopper known by the session alone says so twice.
        let session = Named { offset, session: served.session.as_deref(), ..Named::default() };
        if !self.names(&named) && !self.names(&session) {
            return Ok(false);
        }
        let is_theirs = self.is_theirs(&named);
        let served = Arc::make_mut(served);
        let mut needles = Vec::new();
        if let Some(shopper) = &mut served.shopper {
            *shopper = self.rename_shopper(shopper, &mut needles)?;
        }
        self.rename(Kind::Session, &mut served.session, is_theirs, &mut needles)?;
        if is_theirs {
            served.query = None;
        }
        served.request = NOTHING.into();
        self.clean(&mut served.token, &needles)?;
        served.query.iter_mut().try_for_each(|query| self.clean(query, &needles))?;
        Ok(true)
    }

    fn apply_erasure(&mut self, offset: u64, erasure: &mut Arc<Erasure>) -> Result<bool, StoreError> {
        if offset > self.offset {
            return Ok(false);
        }
        let mut needles = Vec::new();
        let shoppers: Result<Vec<_>, _> = erasure.shoppers.iter().map(|shopper| self.rename_shopper(shopper, &mut needles)).collect();
        let shoppers = shoppers?;
        let differs = shoppers != erasure.shoppers;
        if differs {
            Arc::make_mut(erasure).shoppers = shoppers;
        }
        Ok(differs)
    }

    /// A record that does not fit the columns: as it is where it can be read, and emptied where it cannot and shows a name.
    fn apply_record(&mut self, offset: u64, bytes: &mut Bytes) -> Result<bool, StoreError> {
        let Ok(mut body) = LogBody::unseal(&[], bytes) else {
            let names = self.users.iter().chain(&self.visitors).chain(&self.sessions);
            let is_in = names
                .filter(|name| name.len() >= NEEDLE_CHARS_MIN)
                .any(|name| bytes.windows(name.len()).any(|window| window == name.as_bytes()));
            let applies = is_in && offset <= self.offset;
            if applies {
                *bytes = Bytes::new();
            }
            return Ok(applies);
        };
        let applies = match &mut body {
            LogBody::Event(event) => self.apply_event(offset, event)?,
            LogBody::Served(served) => self.apply_served(offset, served)?,
            LogBody::Erasure(erasure) => self.apply_erasure(offset, erasure)?,
        };
        if applies {
            *bytes = body.seal(&[])?.into();
        }
        Ok(applies)
    }

    /// Renames what is theirs; anything at all where `always`. What stood there is a needle for the other texts.
    fn rename(&mut self, kind: Kind, name: &mut Option<String>, always: bool, needles: &mut Vec<String>) -> Result<(), StoreError> {
        let Some(name) = name else { return Ok(()) };
        let names = match kind {
            Kind::User => &self.users,
            Kind::Visitor => &self.visitors,
            _ => &self.sessions,
        };
        if always || names.contains(name.as_str()) {
            let pseudonym = self.pseudonym(kind, name)?;
            needles.push(std::mem::replace(name, pseudonym));
        }
        Ok(())
    }

    fn rename_shopper(&mut self, shopper: &Shopper, needles: &mut Vec<String>) -> Result<Shopper, StoreError> {
        let Some((prefix, id)) = shopper.as_str().split_once(':') else { return Ok(shopper.clone()) };
        let (kind, of): (_, fn(&str) -> Shopper) = match prefix {
            "u" => (Kind::User, Shopper::user),
            "v" => (Kind::Visitor, Shopper::visitor),
            "s" => (Kind::Session, Shopper::session),
            _ => return Ok(shopper.clone()),
        };
        let mut id = Some(id.to_owned());
        self.rename(kind, &mut id, false, needles)?;
        Ok(of(&id.unwrap_or_default()))
    }

    /// Replaces a text that shows one of the needles.
    fn clean(&mut self, text: &mut String, needles: &[String]) -> Result<(), StoreError> {
        if needles.iter().any(|needle| needle.len() >= NEEDLE_CHARS_MIN && text.contains(needle.as_str())) {
            *text = self.pseudonym(Kind::Other, text)?;
        }
        Ok(())
    }

    /// The pseudonym of a name: the same each time.
    fn pseudonym(&mut self, kind: Kind, name: &str) -> Result<String, StoreError> {
        let key = (kind, name.to_owned());
        if let Some(pseudonym) = self.pseudonyms.get(&key) {
            return Ok(pseudonym.clone());
        }
        let pseudonym = self.random()?;
        self.pseudonyms.insert(key, pseudonym.clone());
        Ok(pseudonym)
    }

    fn random(&self) -> Result<String, StoreError> {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes).map_err(|_| StoreError::io("random numbers", "the system has none"))?;
        Ok(format!("erased-{:032x}", u128::from_le_bytes(bytes)))
    }
}
