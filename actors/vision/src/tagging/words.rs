//! Words in the space of pictures. Where the live image model reads texts, it is asked for the vocabulary's sentences, once for each model
//! and vocabulary, behind everything else that it does; what comes of it is kept. Nothing waits for it.

use std::sync::Arc;
use std::time::Duration;

use attributes::ZeroShot;
use domain::ContentHash;
use kit::{Address, Context, Priority};
use protocol::vision::{EMBED_BATCH_MAX, Space, VisionMsg};

use super::PAUSE_AFTER_FAILURE;
use super::shared::{Maker, Making, Shared};

/// A batch of sentences is given up after so long.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Directions of words, checked on labelled products where there were some.
pub(crate) struct Words {
    pub(crate) zero_shot: ZeroShot,
    /// Of all of it.
    pub(crate) digest: [u8; 16],
}

impl Words {
    pub(crate) fn new(zero_shot: ZeroShot) -> Self {
        let digest = ContentHash::of(&zero_shot.save()).0;
        Self { zero_shot, digest }
    }
}

/// What a model answered, until it is put in force.
pub(crate) struct Answered {
    /// Fingerprint of the model.
    model: String,
    /// Fingerprint of the vocabulary.
    vocabulary: String,
    pub(crate) zero_shot: ZeroShot,
}

impl Answered {
    pub(crate) fn is_for(&self, making: &Making) -> bool {
        (&self.model, &self.vocabulary) == (&making.model, &making.vocabulary)
    }
}

/// Asks whenever words are missing, for ever.
pub(crate) async fn follow(shared: Arc<Shared>, nightwing: Address<VisionMsg>) {
    let tick = Duration::from_millis(shared.config.tick_interval_ms);
    let mut last_error = None;
    loop {
        let pause = match ask(&shared, &nightwing).await {
            Ok(()) => tick,
            Err(error) => {
                if last_error.as_ref() != Some(&error) {
                    tracing::warn!(error, "words are not embedded yet; it is tried again");
                }
                last_error = Some(error);
                PAUSE_AFTER_FAILURE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Asks for the words of the model that makes tags, if it has some and they are not known.
pub(crate) async fn ask(shared: &Shared, nightwing: &Address<VisionMsg>) -> Result<(), String> {
    let Some(maker) = wanted(shared) else { return Ok(()) };
    let Making { model, vocabulary, .. } = maker.making.clone();
    let prompts = ZeroShot::prompts(&maker.vocabulary);
    let mut vectors = Vec::with_capacity(prompts.len());
    for batch in prompts.chunks(EMBED_BATCH_MAX) {
        let context = Context::new(Priority::Bulk, ANSWER_MAX);
        let texts = batch.iter().map(|prompt| prompt.text.clone()).collect();
        let asked = Some(model.as_str().into());
        let answers = nightwing.call(&context, |reply| VisionMsg::EmbedTexts { texts, space: Space::Image, model: asked, reply }).await;
        for answer in answers.map_err(|error| error.to_string())? {
            vectors.push(answer.map_err(|error| error.to_string())?.vector.to_vec());
        }
    }
    let zero_shot = ZeroShot::new(&prompts, &vectors).map_err(|error| error.to_string())?;
    tracing::info!(sentences = prompts.len(), "words of the vocabulary are embedded");
    shared.answered.store(Some(Arc::new(Answered { model, vocabulary, zero_shot })));
    Ok(())
}

/// What makes tags, if it lacks words that its model has.
fn wanted(shared: &Shared) -> Option<Arc<Maker>> {
    let live = shared.vision.models().into_iter().find(|model| model.space == Space::Image)?;
    let maker = shared.maker.load_full();
    let is_missing = live.reads_texts && maker.making.model == live.fingerprint && maker.words.is_none();
    let is_answered = shared.answered.load().as_ref().is_some_and(|answered| answered.is_for(&maker.making));
    (is_missing && !is_answered).then_some(maker)
}
