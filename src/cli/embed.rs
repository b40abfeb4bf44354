//! `gotham embed FILE|TEXT...`: vectors on standard output, without a house.

use clap::{Args, ValueEnum};
use protocol::vision::{Space, VisionError};
use vision::{InstalledModels, OneShot};

use super::{Common, Failure, Outcome};

#[derive(Args)]
pub(super) struct EmbedArgs {
    /// Picture files (whatever is the name of an existing file) and texts
    #[arg(required = true)]
    inputs: Vec<String>,
    /// Read every input as a text, even if a file has that name
    #[arg(long)]
    text: bool,
    /// The space that words are embedded into: the text model's, or the pictures' where the image model reads words, too
    #[arg(long, value_enum, default_value_t = WordsInto::Text)]
    space: WordsInto,
    /// Vectors as the house keeps them, which can be sent with a search, not as the models were published
    #[arg(long)]
    kept: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WordsInto {
    Text,
    Image,
}

pub(super) fn embed(common: &Common, args: &EmbedArgs) -> Outcome {
    let output = common.output();
    let models = InstalledModels::new(&common.models_dir());
    let models = if args.kept { models } else { models.as_published() };
    let mut one_shot = OneShot::new(models).words_into(match args.space {
        WordsInto::Text => Space::Text,
        WordsInto::Image => Space::Image,
    });
    let mut failed = 0;
    for input in &args.inputs {
        let embedded = if args.text { one_shot.embed_text(input) } else { one_shot.embed(input) };
        match embedded {
            Ok(line) => output.result(&line, || {
                format!(
                    "{input}: {} numbers by {}: {:?} ...",
                    line.embedding.len(),
                    line.model,
                    &line.embedding[..line.embedding.len().min(4)]
                )
            }),
            Err(error @ VisionError::NoModel(_)) => return Err(Failure::new(Failure::MODEL, error)),
            Err(error) => {
                failed += 1;
                output.result(&serde_json::json!({"input": input, "error": error.to_string()}), || format!("{input}: {error}"));
            }
        }
    }
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::new(Failure::FAILED, format!("{failed} of {} inputs were not embedded", args.inputs.len())))
    }
}
