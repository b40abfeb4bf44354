//! `gotham embed FILE|TEXT...`: vectors on standard output, without a house.

use clap::Args;
use protocol::vision::VisionError;
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
    /// Vectors as the house keeps them, which can be sent with a search, not as the models were published
    #[arg(long)]
    kept: bool,
}

pub(super) fn embed(common: &Common, args: &EmbedArgs) -> Outcome {
    let output = common.output();
    let models = InstalledModels::new(&common.models_dir());
    let mut one_shot = OneShot::new(if args.kept { models } else { models.as_published() });
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
