//! `gotham export`: which Parquet files hold the event log, what their columns mean, and what they sum up to.

use clap::{Args, Subcommand};
use events::{SealedLog, columns};

use super::{Common, Failure, Outcome};

/// What can be named.
#[derive(Subcommand)]
pub(super) enum ExportCommand {
    /// The Parquet files of the event log, with their rows and offsets: reads the catalog alone, also while the service runs
    Events(EventsArgs),
}

#[derive(Args)]
pub(super) struct EventsArgs {
    /// The columns of the files and what they mean
    #[arg(long, conflicts_with = "summary")]
    schema: bool,
    /// Counts and sums of the log, read back from its files record by record
    #[arg(long)]
    summary: bool,
}

pub(super) fn export(common: &Common, command: &ExportCommand) -> Outcome {
    match command {
        ExportCommand::Events(args) if args.schema => schema(common),
        ExportCommand::Events(args) => events(common, args),
    }
}

fn schema(common: &Common) -> Outcome {
    let output = common.output();
    for column in columns() {
        output.result(&column, || {
            let (table, optional) = (column.table.name(), if column.nullable { "?" } else { "" });
            format!("{table:9} {:24} {:28} {}", format!("{}{optional}", column.column), column.r#type, column.meaning)
        });
    }
    Ok(())
}

fn events(common: &Common, args: &EventsArgs) -> Outcome {
    let output = common.output();
    let folder = common.data_dir().join("warehouse");
    let sealed = SealedLog::open(&folder).map_err(|error| Failure::new(Failure::DATA, error))?;
    if args.summary {
        let summary = sealed.summary().map_err(|error| Failure::new(Failure::DATA, error))?;
        output.result(&summary, || serde_json::to_string_pretty(&summary).unwrap_or_default());
        return Ok(());
    }
    let (location, mut rows, mut bytes) = (sealed.location(), 0, 0);
    for file in sealed.files() {
        (rows, bytes) = (rows + file.rows, bytes + file.bytes);
        output.result(&file, || {
            format!("{location}/{}  {} rows, offsets {} to {}, {} bytes", file.path, file.rows, file.first, file.last, file.bytes)
        });
    }
    output.note(&format!("{rows} rows, {bytes} bytes; the log is sealed up to offset {}", sealed.end()));
    Ok(())
}
