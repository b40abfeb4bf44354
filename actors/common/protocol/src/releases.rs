//! Releases: which models answer and how, and how a new set of them takes office without a pause. A release is immutable: its models
//! (weights and preprocessing, by fingerprint), index settings, rules and vocabulary never change under its name. What changes is its rank:
//!
//! | rank | is built | sees mirrored questions | answers |
//! | --- | --- | --- | --- |
//! | constable | in the background | no | nobody |
//! | inspector | and kept up | yes | nobody |
//! | assistant commissioner | and kept up | no | a share of those who ask, always the same ones |
//! | commissioner | and kept up | no | everybody else |
//!
//! One release is commissioner at any time; at most one inspector and one assistant commissioner are on duty. One that is held keeps its
//! rank and its vectors but takes part in nothing. A commissioner who is replaced is held beside the new one, so that going back is
//! as quick as going forward. The rules are plain functions; Wayne keeps what they give.

mod definition;
mod start;

use std::sync::Arc;

use domain::ContentHash;
use serde::{Deserialize, Serialize};

pub use self::definition::{Definition, IndexSettings, Rules, Settings};
use crate::vision::{Build, ModelInfo};

/// The most releases at a time: each holds its models and an index of the whole catalog.
pub const RELEASES_MAX: usize = 4;
/// Changes of rank that are remembered; the oldest go first.
pub const HISTORY_MAX: usize = 48;
/// The longest name of a release, and of whoever gives an order, in bytes.
pub const NAME_BYTES_MAX: usize = 48;
/// The longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 160;
/// The share of an assistant commissioner for whom none is given.
pub const SHARE_DEFAULT: f32 = 0.05;
/// The release that a house begins with.
pub const FIRST: &str = "first";

/// How far a release has risen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// Built in the background.
    Constable,
    /// Asked what the live release is asked; nobody sees the answers.
    Inspector,
    /// Answers a share of those who ask.
    AssistantCommissioner,
    /// Live.
    Commissioner,
}

impl Rank {
    /// From the lowest to the highest.
    pub const ALL: [Self; 4] = [Self::Constable, Self::Inspector, Self::AssistantCommissioner, Self::Commissioner];

    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Constable => "constable",
            Self::Inspector => "inspector",
            Self::AssistantCommissioner => "assistant_commissioner",
            Self::Commissioner => "commissioner",
        }
    }

    /// The rank above.
    pub fn next(self) -> Option<Self> {
        Self::ALL.get(self as usize + 1).copied()
    }

    /// Whether shoppers see its answers.
    pub fn serves(self) -> bool {
        self >= Self::AssistantCommissioner
    }
}

/// A release and how far it has risen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// Unique.
    pub name: String,
    /// Never changes.
    pub definition: Definition,
    /// Of the definition.
    pub fingerprint: String,
    /// In milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// How far it has risen.
    pub rank: Rank,
    /// Whether it takes part in nothing.
    pub is_held: bool,
    /// Rank or hold are so since then, in milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// As assistant commissioner, the share of those who ask, above 0 and at most 1; 0 before it ever was one.
    pub share: f32,
}

impl Release {
    fn new(name: &str, definition: Definition, rank: Rank, now_ms: i64) -> Self {
        let fingerprint = definition.fingerprint();
        Self { name: name.to_owned(), definition, fingerprint, created_at_ms: now_ms, rank, is_held: false, since_ms: now_ms, share: 0.0 }
    }

    /// Whether its vectors are made and kept up: always, but for a constable who is held.
    pub fn is_built(&self) -> bool {
        !(self.is_held && self.rank == Rank::Constable)
    }
}

/// A change of rank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankChange {
    /// In milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Whose.
    pub release: String,
    /// `None` for a new release.
    pub from: Option<Rank>,
    /// `None` for one that retires.
    pub to: Option<Rank>,
    /// Whether it is held from then on.
    pub is_held: bool,
    /// Who gave the order.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// All releases and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// In order of creation; at most [`RELEASES_MAX`].
    pub releases: Vec<Release>,
    /// Former commissioners whom a rollback brings back, the last one first to come.
    pub predecessors: Vec<String>,
    /// Oldest first; at most [`HISTORY_MAX`].
    pub history: Vec<RankChange>,
    /// Grows with every change.
    pub revision: u64,
    /// The settings as they were configured at the last start: what differs from them at the next one has been changed since.
    #[serde(default)]
    pub configured: Option<Settings>,
}

/// What is to become of a release.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// A new one, as constable. The same definition again changes nothing.
    Create(Definition),
    /// To a higher rank, by default the next one, or the same one for a release that is held. With another share it may stay where it is.
    Promote {
        /// Which rank.
        to: Option<Rank>,
        /// Of an assistant commissioner.
        share: Option<f32>,
        /// Whether all its vectors are there.
        is_complete: bool,
        /// Promote it all the same.
        force: bool,
    },
    /// Keep rank and vectors, take part in nothing.
    Hold,
    /// The commissioner gives way to the one before; anybody else is a constable again.
    Rollback,
    /// Gone for good, with its vectors.
    Retire,
}

/// An order, from whom and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Which release.
    pub name: String,
    /// What is to become of it.
    pub order: Order,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Why an order was not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// Stable, snake_case: `invalid_name`, `too_long`, `no_models`, `other_definition`, `same_definition`, `too_many`, `unknown_release`,
    /// `not_up`, `already_there`, `not_built`, `rank_taken`, `invalid_share`, `must_serve`, `nothing_before`.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

fn refuse<T>(code: &'static str, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, detail: detail.into() })
}

impl Ledger {
    /// A release by name.
    pub fn get(&self, name: &str) -> Option<&Release> {
        self.releases.iter().find(|release| release.name == name)
    }

    /// The live release; `None` in a ledger without any.
    pub fn commissioner(&self) -> Option<&Release> {
        self.on_duty(Rank::Commissioner)
    }

    /// The release of a rank that takes part.
    pub fn on_duty(&self, rank: Rank) -> Option<&Release> {
        self.releases.iter().find(|release| release.rank == rank && !release.is_held)
    }

    /// The models of all releases, each once.
    pub fn models(&self) -> Vec<&ModelInfo> {
        let mut models: Vec<&ModelInfo> = Vec::new();
        for model in self.releases.iter().flat_map(|release| release.definition.models()) {
            if !models.contains(&model) {
                models.push(model);
            }
        }
        models
    }

    /// Who answers: the assistant commissioner for the share of keys that the hash of its fingerprint and the key puts there, else the
    /// commissioner. The same key goes the same way for as long as both and the share stay.
    pub fn route(&self, key: &str) -> Option<&Release> {
        let assistant = self.on_duty(Rank::AssistantCommissioner).filter(|assistant| place(&assistant.fingerprint, key) < assistant.share);
        assistant.or_else(|| self.commissioner())
    }

    /// The assistant commissioner on duty, if it has an installed (`kept`) model for all that the live release can be asked: a question
    /// goes to one of them whole.
    pub fn assistant(&self, kept: &[ModelInfo]) -> Option<&Release> {
        let mut asked = self.commissioner()?.definition.models().filter(|model| kept.contains(model));
        let assistant = self.on_duty(Rank::AssistantCommissioner)?;
        let is_able = asked.all(|model| assistant.definition.model(model.space).is_some_and(|own| kept.contains(own)));
        is_able.then_some(assistant)
    }

    /// Who answers a key: as [`Ledger::route`], but only an assistant that [can](Ledger::assistant).
    pub fn serving(&self, key: &str, kept: &[ModelInfo]) -> Option<&Release> {
        self.assistant(kept).and_then(|_| self.route(key)).or_else(|| self.commissioner())
    }

    /// Whether every model of a release has all its vectors, and they are in its index; a model that the live release has too lacks
    /// nothing that is not lacking already. `builds` are of all installed models.
    pub fn is_complete(&self, release: &Release, builds: &[Build], is_indexed: impl Fn(&ModelInfo, &IndexSettings) -> bool) -> bool {
        let live = self.commissioner();
        release.definition.models().all(|model| {
            let is_live = live.is_some_and(|live| live.definition.model(model.space) == Some(model));
            let build = builds.iter().find(|build| build.model == *model);
            let is_built = is_live || build.is_some_and(|build| build.is_complete && build.is_loaded);
            is_built && (build.is_none() || is_indexed(model, &release.definition.settings.index))
        })
    }

    /// The ledger after an order; this one when nothing changes.
    pub fn after(&self, command: &Command, now_ms: i64) -> Result<Self, Refusal> {
        for (field, text, max) in
            [("name", &command.name, NAME_BYTES_MAX), ("by", &command.by, NAME_BYTES_MAX), ("reason", &command.reason, REASON_BYTES_MAX)]
        {
            if text.len() > max || text.chars().any(char::is_control) {
                return refuse("too_long", format!("`{field}` must be at most {max} bytes without control characters"));
            }
        }
        let mut ledger = self.clone();
        match &command.order {
            Order::Create(definition) => ledger.create(command, definition, now_ms)?,
            Order::Promote { to, share, is_complete, force } => ledger.promote(command, (*to, *share), *is_complete || *force, now_ms)?,
            Order::Hold => ledger.hold(command, now_ms)?,
            Order::Rollback => ledger.roll_back(command, now_ms)?,
            Order::Retire => ledger.retire(command, now_ms)?,
        }
        Ok(ledger)
    }

    fn position(&self, name: &str) -> Result<usize, Refusal> {
        let at = self.releases.iter().position(|release| release.name == name);
        at.map_or_else(|| refuse("unknown_release", format!("there is no release `{name}`")), Ok)
    }

    fn create(&mut self, command: &Command, definition: &Definition, now_ms: i64) -> Result<(), Refusal> {
        let is_plain =
            |name: &str| !name.starts_with('.') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if command.name.is_empty() || !is_plain(&command.name) {
            return refuse("invalid_name", "a name has letters, digits, `-`, `_` and `.`, and does not begin with `.`");
        }
        if definition.models().next().is_none() {
            return refuse("no_models", "a release needs a model");
        }
        if let Some(known) = self.get(&command.name) {
            return if known.definition == *definition {
                Ok(())
            } else {
                refuse("other_definition", format!("`{}` is defined, and a definition never changes: take another name", command.name))
            };
        }
        let fingerprint = definition.fingerprint();
        if let Some(same) = self.releases.iter().find(|release| release.fingerprint == fingerprint) {
            return refuse("same_definition", format!("`{}` is made of the same", same.name));
        }
        if self.releases.len() >= RELEASES_MAX {
            return refuse("too_many", format!("at most {RELEASES_MAX} releases at a time: retire one"));
        }
        self.releases.push(Release::new(&command.name, definition.clone(), Rank::Constable, now_ms));
        self.note(&command.name, None, Some(Rank::Constable), false, (&command.by, &command.reason), now_ms);
        Ok(())
    }

    fn promote(
        &mut self,
        command: &Command,
        (to, share): (Option<Rank>, Option<f32>),
        may_serve: bool,
        now_ms: i64,
    ) -> Result<(), Refusal> {
        let at = self.position(&command.name)?;
        let release = &self.releases[at];
        let default = if release.is_held { release.rank } else { release.rank.next().unwrap_or(release.rank) };
        let to = to.unwrap_or(default);
        if to < release.rank {
            return refuse("not_up", format!("`{}` is {} already; hold it or roll it back", release.name, release.rank.as_str()));
        }
        let is_other_share = to == Rank::AssistantCommissioner && share.is_some();
        if to == release.rank && !release.is_held && !is_other_share {
            return refuse("already_there", format!("`{}` is {} already", release.name, to.as_str()));
        }
        if let Some(share) = share.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
            return refuse("invalid_share", format!("a share is above 0 and at most 1, not {share}"));
        }
        if to.serves() && !may_serve {
            return refuse("not_built", format!("not all vectors of `{}` are there yet", release.name));
        }
        let is_single = matches!(to, Rank::Inspector | Rank::AssistantCommissioner);
        if let Some(other) = self.on_duty(to).filter(|other| is_single && other.name != release.name) {
            return refuse("rank_taken", format!("`{}` is {}: hold it first", other.name, to.as_str()));
        }
        let says = (command.by.as_str(), command.reason.as_str());
        if to == Rank::AssistantCommissioner {
            let before = Some(release.share).filter(|share| *share > 0.0);
            self.releases[at].share = share.or(before).unwrap_or(SHARE_DEFAULT);
        }
        if to == Rank::Commissioner {
            self.take_office(&command.name, says, now_ms);
        } else {
            self.change(&command.name, to, false, says, now_ms);
        }
        Ok(())
    }

    /// The commissioner steps back and is kept ready; another one is live.
    fn take_office(&mut self, name: &str, says: (&str, &str), now_ms: i64) {
        self.predecessors.retain(|known| known != name);
        if let Some(old) = self.commissioner().map(|old| old.name.clone()) {
            self.predecessors.retain(|known| *known != old);
            self.predecessors.push(old.clone());
            self.change(&old, Rank::AssistantCommissioner, true, says, now_ms);
        }
        self.change(name, Rank::Commissioner, false, says, now_ms);
    }

    fn hold(&mut self, command: &Command, now_ms: i64) -> Result<(), Refusal> {
        let release = &self.releases[self.position(&command.name)?];
        let rank = release.rank;
        if rank == Rank::Commissioner {
            return refuse("must_serve", format!("`{}` is live: roll it back or promote another one", release.name));
        }
        if release.is_held {
            return refuse("already_there", format!("`{}` is held already", release.name));
        }
        self.change(&command.name, rank, true, (&command.by, &command.reason), now_ms);
        Ok(())
    }

    fn roll_back(&mut self, command: &Command, now_ms: i64) -> Result<(), Refusal> {
        let says = (command.by.as_str(), command.reason.as_str());
        let release = &self.releases[self.position(&command.name)?];
        match release.rank {
            Rank::Commissioner => {
                let Some(before) = self.predecessors.pop() else {
                    return refuse("nothing_before", format!("nobody was live before `{}`", release.name));
                };
                self.change(&command.name, Rank::AssistantCommissioner, true, says, now_ms);
                self.change(&before, Rank::Commissioner, false, says, now_ms);
            }
            Rank::Constable => return refuse("already_there", format!("`{}` is a constable already", release.name)),
            _ => self.change(&command.name, Rank::Constable, false, says, now_ms),
        }
        Ok(())
    }

    fn retire(&mut self, command: &Command, now_ms: i64) -> Result<(), Refusal> {
        let at = self.position(&command.name)?;
        let release = &self.releases[at];
        let rank = release.rank;
        if rank == Rank::Commissioner {
            return refuse("must_serve", format!("`{}` is live: roll it back or promote another one", release.name));
        }
        self.releases.remove(at);
        self.predecessors.retain(|known| *known != command.name);
        self.note(&command.name, Some(rank), None, false, (&command.by, &command.reason), now_ms);
        Ok(())
    }

    fn change(&mut self, name: &str, to: Rank, is_held: bool, says: (&str, &str), now_ms: i64) {
        let Some(release) = self.releases.iter_mut().find(|release| release.name == name) else { return };
        let from = release.rank;
        (release.rank, release.is_held, release.since_ms) = (to, is_held, now_ms);
        self.note(name, Some(from), Some(to), is_held, says, now_ms);
    }

    fn note(&mut self, name: &str, from: Option<Rank>, to: Option<Rank>, is_held: bool, (by, reason): (&str, &str), at_ms: i64) {
        let change = RankChange { at_ms, release: name.to_owned(), from, to, is_held, by: by.to_owned(), reason: reason.to_owned() };
        self.history.push(change);
        self.history.drain(..self.history.len().saturating_sub(HISTORY_MAX));
        self.revision += 1;
    }
}

/// Where a key stands between 0 and 1, for this release.
fn place(fingerprint: &str, key: &str) -> f32 {
    let ContentHash([a, b, c, ..]) = ContentHash::of(format!("{fingerprint}\n{key}").as_bytes());
    f32::from_bits(0x3f80_0000 | u32::from_be_bytes([0, a, b, c]) >> 1) - 1.0
}

/// What readers see of the releases.
pub trait ReleaseReader: Send + Sync {
    /// All releases, as they are now.
    fn ledger(&self) -> Arc<Ledger>;
}

#[cfg(test)]
mod tests;
