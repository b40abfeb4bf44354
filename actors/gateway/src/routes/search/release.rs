//! Which release answers a question: one of them the whole of it, and the same one for the same shopper.

use kit::Context;
use protocol::releases::{Rank, Release};
use protocol::search::SearchQuery;
use protocol::vision::{ModelInfo, Space};

use super::ask::Ask;
use crate::routes::App;

/// The name under which the event log knows who answered, beside the experiments.
pub(crate) const COMPARISON: &str = "release";

/// The release that answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answering {
    /// Empty where there is none.
    pub name: String,
    /// Whether another release answers some of the questions, so that the log notes who answered this one.
    pub is_compared: bool,
    models: Vec<ModelInfo>,
}

impl Answering {
    /// For a question: the assistant commissioner where the shopper, or else the session or the request, is in its share.
    pub(crate) fn of(app: &App, context: &Context, ask: &Ask) -> Self {
        let ledger = app.house.releases.ledger();
        let Some(live) = ledger.commissioner() else {
            return Self { models: app.house.vision.models(), ..Self::default() };
        };
        let key = ask.shopper.as_ref().map(|shopper| shopper.as_str()).or(ask.session.as_deref());
        let routed = ledger.route(key.unwrap_or(context.request_id.as_str())).unwrap_or(live);
        let (live, routed) = (Self::by(app, live), Self::by(app, routed));
        let is_compared = ledger.on_duty(Rank::AssistantCommissioner).is_some();
        // A caller's own vectors are by the live models, if by any here; and what cannot be asked of one release is asked of the other.
        let is_able = live.models.iter().all(|model| routed.model(model.space).is_some());
        if ask.vector.is_none() && is_able { Self { is_compared, ..routed } } else { live }
    }

    /// This release.
    pub(crate) fn by(app: &App, release: &Release) -> Self {
        let kept = app.house.vision.kept();
        let models = release.definition.models().filter(|model| kept.contains(model)).cloned().collect();
        Self { name: release.name.clone(), is_compared: false, models }
    }

    /// Its model of a space, if it is installed.
    pub(crate) fn model(&self, space: Space) -> Option<&ModelInfo> {
        self.models.iter().find(|model| model.space == space)
    }

    /// Its models that are installed.
    pub(crate) fn models(&self) -> &[ModelInfo] {
        &self.models
    }

    /// The models that took part in a query, with the start of their fingerprints.
    pub(crate) fn model_version(&self, query: &SearchQuery) -> String {
        let is_by =
            |model: &ModelInfo| query.vectors.iter().any(|vector| vector.space == model.space && *vector.fingerprint == *model.fingerprint);
        let took_part = self.models.iter().filter(|model| is_by(model));
        let names: Vec<String> =
            took_part.map(|model| format!("{}@{}", model.name, model.fingerprint.chars().take(8).collect::<String>())).collect();
        names.join("+")
    }
}
