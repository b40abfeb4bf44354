//! `gotham config check|print`.

use clap::Subcommand;

use super::{Common, Outcome};

#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Validate the configuration as a whole; says everything that is wrong with it
    Check,
    /// Print every setting in force and where it comes from
    Print,
}

pub(super) fn config(common: &Common, command: &ConfigCommand) -> Outcome {
    let loaded = common.load()?;
    let output = common.output();
    match command {
        ConfigCommand::Check => output
            .result(&serde_json::json!({"valid": true, "settings": loaded.settings.len()}), || "the configuration is valid".to_owned()),
        ConfigCommand::Print => {
            for setting in &loaded.settings {
                output.result(setting, || {
                    format!("{} = {}  # {}", setting.key, setting.value, format!("{:?}", setting.source).to_lowercase())
                });
            }
        }
    }
    Ok(())
}
