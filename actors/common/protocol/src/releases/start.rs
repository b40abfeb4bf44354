//! What a start makes of the releases: brought in line with the models and settings that there are by now.

use super::{Definition, FIRST, Ledger, RELEASES_MAX, Rank, Release, Settings};
use crate::vision::ModelInfo;

/// Hexadecimal digits of a fingerprint in the name of a release that nobody has named.
const NAME_CHARS: usize = 8;

impl Ledger {
    /// A house that begins: one release, live.
    pub fn first(definition: Definition, now_ms: i64) -> Self {
        let mut ledger = Self { configured: Some(definition.settings.clone()), ..Self::default() };
        ledger.releases.push(Release::new(FIRST, definition, Rank::Commissioner, now_ms));
        ledger.note(FIRST, None, Some(Rank::Commissioner), false, ("gotham", "the installed models"), now_ms);
        ledger
    }

    /// The ledger as a start finds it right.
    ///
    /// - A model of the live release that is known with another fingerprint by now, as after an upgrade of the program: nobody can ask
    ///   with the old one any more, so a release with the new one takes office at once and is built while it serves. There is no way back.
    /// - A setting that is configured otherwise than at the last start: a release as the live one but for that setting takes office at
    ///   once, and the one before stands ready.
    pub fn opened(mut self, known: &[ModelInfo], configured: &Settings, now_ms: i64) -> Self {
        if let Some(renewed) = self.commissioner().and_then(|live| live.definition.renewed(known)) {
            self.succeed(renewed, "renewed", "its model is known with another fingerprint", now_ms);
            // What it was asked before has no answer without its model.
            self.predecessors.clear();
        }
        let before = self.configured.replace(configured.clone()).unwrap_or_else(|| configured.clone());
        if let Some(live) = self.commissioner().filter(|_| before != *configured) {
            let settings = live.definition.settings.moved(&before, configured);
            if settings != live.definition.settings {
                let definition = Definition { settings, ..live.definition.clone() };
                self.succeed(definition, "configured", "a setting has changed", now_ms);
            }
        }
        self
    }

    /// A release of this definition takes office, the one that there is or a new one. Without room the lowest and oldest goes.
    fn succeed(&mut self, definition: Definition, kind: &str, reason: &str, now_ms: i64) {
        let (says, fingerprint) = (("gotham", reason), definition.fingerprint());
        let known = self.releases.iter().find(|release| release.fingerprint == fingerprint).map(|release| release.name.clone());
        let name = known.unwrap_or_else(|| {
            if self.releases.len() >= RELEASES_MAX {
                let others = self.releases.iter().enumerate().filter(|(_, release)| release.rank != Rank::Commissioner);
                if let Some((at, _)) = others.min_by_key(|(_, release)| (release.rank, release.created_at_ms)) {
                    let gone = self.releases.remove(at);
                    self.predecessors.retain(|name| *name != gone.name);
                    self.note(&gone.name, Some(gone.rank), None, false, says, now_ms);
                }
            }
            let name = format!("{kind}-{}", &fingerprint[..NAME_CHARS]);
            let name = if self.get(&name).is_some() { format!("{kind}-{fingerprint}") } else { name };
            self.releases.push(Release::new(&name, definition, Rank::Constable, now_ms));
            self.note(&name, None, Some(Rank::Constable), false, says, now_ms);
            name
        });
        self.take_office(&name, says, now_ms);
    }
}
