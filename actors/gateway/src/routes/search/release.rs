//! Which release answers a question: one of them the whole of it, and the same one for the same shopper.

use domain::Shopper;
use kit::Context;
use protocol::releases::{IndexSettings, Release, Rules};
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
    /// How it searches and ranks; `None` where there is no release.
    by: Option<(IndexSettings, Rules)>,
}

impl Answering {
    /// For a question: the assistant commissioner where the shopper, or else the session or the request, is in its share.
    pub(crate) fn of(app: &App, context: &Context, ask: &Ask) -> Self {
        if ask.vector.is_some() {
            // A caller's own vectors are by the live models, if by any here.
            let ledger = app.house.releases.ledger();
            return ledger.commissioner().map_or_else(|| Self::without(app), |live| Self::by(app, live));
        }
        Self::serving(app, context, ask.shopper.as_ref(), ask.session.as_deref())
    }

    /// For whoever asks: the assistant commissioner where the shopper, or else the session or the request, is in its share.
    pub(crate) fn serving(app: &App, context: &Context, shopper: Option<&Shopper>, session: Option<&str>) -> Self {
        let (ledger, kept) = (app.house.releases.ledger(), app.house.vision.kept());
        let key = shopper.map(Shopper::as_str).or(session).unwrap_or(context.request_id.as_str());
        let Some(release) = ledger.serving(key, &kept) else { return Self::without(app) };
        Self { is_compared: ledger.assistant(&kept).is_some(), ..Self::by(app, release) }
    }

    fn without(app: &App) -> Self {
        Self { models: app.house.vision.models(), ..Self::default() }
    }

    /// This release.
    pub(crate) fn by(app: &App, release: &Release) -> Self {
        let kept = app.house.vision.kept();
        let models = release.definition.models().filter(|model| kept.contains(model)).cloned().collect();
        let settings = &release.definition.settings;
        Self { name: release.name.clone(), is_compared: false, models, by: Some((settings.index, settings.rules)) }
    }

    /// Its model of a space, if it is installed.
    pub(crate) fn model(&self, space: Space) -> Option<&ModelInfo> {
        self.models.iter().find(|model| model.space == space)
    }

    /// How it searches and ranks.
    pub(crate) fn settings(&self) -> Option<(IndexSettings, Rules)> {
        self.by
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
