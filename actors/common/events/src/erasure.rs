//! The log's side of forgetting: who a user was known as, which erasures wait, and carrying one out.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{Erasure, Shopper};
use protocol::journal::LogBody;
use store::StoreError;

use crate::forget::{Erased, ForgetError, Forgotten};
use crate::log::{EventLog, Parts};
use crate::warehouse::{Named, Sealed};

/// Records read at once.
const READ_RECORDS_MAX: usize = 4096;
/// The most names that one user is known by.
const NAMES_MAX: usize = 10_000;

impl EventLog {
    /// The user and everything else that is known to be them: visitors that occurred with the user, and sessions of theirs in which
    /// nobody was named. Reads the whole log, some columns of it: blocks.
    pub fn known_as(&self, user: &str) -> Result<Vec<Shopper>, StoreError> {
        let (mut visitors, mut sessions, mut nameless) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let add = |names: &mut BTreeSet<String>, name: Option<&str>| {
            if let Some(name) = name
                && names.len() < NAMES_MAX
            {
                names.insert(name.to_owned());
            }
        };
        self.each_name(|named| {
            if named.user == Some(user) {
                add(&mut visitors, named.visitor);
                add(&mut sessions, named.session);
            }
        })?;
        self.each_name(|named| {
            if named.user.is_none() && named.visitor.is_some_and(|visitor| visitors.contains(visitor)) {
                add(&mut sessions, named.session);
            }
        })?;
        self.each_name(|named| {
            if named.user.is_none() && named.visitor.is_none() && named.session.is_some_and(|session| sessions.contains(session)) {
                add(&mut nameless, named.session);
            }
        })?;
        let visitors = visitors.iter().map(|visitor| Shopper::visitor(visitor));
        let nameless = nameless.iter().map(|session| Shopper::session(session));
        Ok([Shopper::user(user)].into_iter().chain(visitors).chain(nameless).collect())
    }

    /// Erasures that are in the log and not carried out, with their offsets, oldest first: after a start, those that an interruption
    /// has left. Blocks.
    pub fn pending_erasures(&self) -> Result<Vec<(u64, Arc<Erasure>)>, StoreError> {
        Ok(self.erasures(true)?.into_iter().map(|(offset, erasure, _)| (offset, erasure)).collect())
    }

    /// Removes every trace of the shoppers of an erasure that stands in the log: whatever is told of them before it, in the journal,
    /// in the files and in memory. Their names become pseudonyms, in the erasure too; raw events, queries, requests and event ids go.
    /// All consumers must have passed the erasure. Blocks while all files that name them are rewritten; interrupted, it has not
    /// happened and is done again. Records are found by their fields: a name that another shopper's record hides in its raw text is not.
    pub fn forget(&self, erasure: &Erasure) -> Result<Forgotten, ForgetError> {
        let Parts { journal, warehouse, tail, .. } = self.parts();
        let is_it = |found: &Erasure| (&found.receipt, found.at_ms) == (&erasure.receipt, erasure.at_ms);
        let found = self.erasures(false)?.into_iter().find(|(_, found, _)| is_it(found));
        let Some((offset, _, is_done)) = found else { return Err(ForgetError::Unknown(erasure.receipt.clone())) };
        if is_done {
            return Ok(Forgotten { offset, ..Forgotten::default() });
        }
        if let Some((consumer, at)) = journal.consumers().into_iter().find(|(_, at)| *at <= offset) {
            return Err(ForgetError::Behind { consumer, at, needed: offset + 1 });
        }
        let _work = warehouse.work();
        let closed = journal.close_segment()?;
        warehouse.seal_without_trimming(journal, closed)?;
        let rewritten = warehouse.rewrite(&mut Erased::new(erasure, offset), closed)?;
        let trimmed_bytes = journal.purge(&Sealed(closed))?;
        tail.clear_before(closed);
        Ok(Forgotten { offset, records: rewritten.records, files: rewritten.files, trimmed_bytes })
    }

    /// Erasures with their offsets and whether they are carried out: those in the files, then those in the journal.
    fn erasures(&self, only_pending: bool) -> Result<Vec<(u64, Arc<Erasure>, bool)>, StoreError> {
        let sealed = self.sealed();
        let mut erasures = self.parts().warehouse.erasures(only_pending)?;
        erasures.retain(|(offset, ..)| *offset < sealed);
        self.each_unsealed(sealed, |offset, body| {
            if let LogBody::Erasure(erasure) = body {
                erasures.push((offset, erasure.clone(), false));
            }
        })?;
        Ok(erasures)
    }

    /// The names in every record of the log that has some.
    fn each_name(&self, mut tell: impl FnMut(Named<'_>)) -> Result<(), StoreError> {
        let warehouse = &self.parts().warehouse;
        let sealed = self.sealed();
        for file in warehouse.sealed_files().iter().filter(|file| file.first < sealed) {
            warehouse.names(file, &mut tell)?;
        }
        self.each_unsealed(sealed, |offset, body| match body {
            LogBody::Event(event) => {
                tell(Named { offset, user: event.user.as_deref(), visitor: event.visitor.as_deref(), session: event.session.as_deref() })
            }
            LogBody::Served(served) => {
                tell(Named::of_served(offset, served.shopper.as_ref().map(Shopper::as_str), served.session.as_deref()));
            }
            LogBody::Erasure(_) => {}
        })
    }

    fn each_unsealed(&self, from: u64, mut tell: impl FnMut(u64, &LogBody)) -> Result<(), StoreError> {
        let (mut next, end) = (from, self.end());
        while next < end {
            for entry in self.read(next, READ_RECORDS_MAX)? {
                next = entry.offset + 1;
                if let Some(body) = &entry.body {
                    tell(entry.offset, body);
                }
            }
        }
        Ok(())
    }
}
