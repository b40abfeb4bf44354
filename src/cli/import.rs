//! `gotham import FILE`: reads a feed into the data folder and waits until its products are searchable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use kit::{Context, Priority};
use protocol::ingest::{FeedMode, FeedRequest, FeedRun, FeedSource, IngestMsg, Reject, RunStatus};
use protocol::queue::QueueName;
use protocol::vision::Space;
use serde::Serialize;

use super::{Common, Failure, Outcome};
use crate::house::House;
use crate::output::Output;

/// Rejects that are printed; the rest is counted.
const REJECTS_SHOWN_MAX: usize = 1_000;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

#[derive(Args)]
pub(super) struct ImportArgs {
    /// The feed: NDJSON, CSV, TSV or XML, plain or compressed; the format is detected
    file: PathBuf,
    /// `full` deletes products of the same source that the feed no longer has
    #[arg(long, value_enum, default_value_t = Mode::Delta)]
    mode: Mode,
    /// Name of the catalog source [default: the file's name]
    #[arg(long)]
    source: Option<String>,
    /// Folder of the pictures that the feed names [default: the feed's own folder]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// A format by name instead of detection
    #[arg(long)]
    format: Option<String>,
    /// Currency of amounts that name none, such as EUR
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// Read and report, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take a full feed even if it deletes much of its source
    #[arg(long)]
    force: bool,
    /// Do not wait for pictures and texts to be embedded
    #[arg(long)]
    no_wait: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Full,
    Delta,
}

/// The last line of an import.
#[derive(Serialize)]
struct Summary {
    format: String,
    records: u64,
    products: u64,
    variants: u64,
    created: u64,
    updated: u64,
    unchanged: u64,
    deleted: u64,
    rejected: u64,
    warnings: u64,
    images_embedded: u64,
    texts_embedded: u64,
    images_rejected: u64,
    read_seconds: f64,
    seconds: f64,
}

pub(super) async fn import(common: &Common, args: &ImportArgs) -> Outcome {
    let request = request(args)?;
    let house = super::serve::open(common, common.load()?, false).await?;
    let outcome = run(&house, common.output(), request, !args.no_wait).await;
    house.shut_down().await;
    outcome
}

fn request(args: &ImportArgs) -> Result<FeedRequest, Failure> {
    let file =
        std::fs::canonicalize(&args.file).map_err(|error| Failure::new(Failure::USAGE, format!("{}: {error}", args.file.display())))?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let images = args.images.clone().or_else(|| file.parent().map(Path::to_path_buf));
    Ok(FeedRequest {
        from: FeedSource::File(file),
        source: args.source.clone().unwrap_or_else(|| name.clone()),
        name,
        mode: match args.mode {
            Mode::Full => FeedMode::Full,
            Mode::Delta => FeedMode::Delta,
        },
        dry_run: args.dry_run,
        format: args.format.clone(),
        image_root: images
            .map(std::fs::canonicalize)
            .transpose()
            .map_err(|error| Failure::new(Failure::USAGE, format!("--images: {error}")))?,
        force: args.force,
        default_currency: args.currency.clone(),
    })
}

/// Starts the run, follows it to its end and, unless it was dry, waits until its products can be found.
pub(super) async fn run(house: &House, output: Output, request: FeedRequest, wait: bool) -> Outcome {
    super::serve::wait_until_ready(house).await;
    let started = Instant::now();
    let before = house.vision.counts();
    let is_dry = request.dry_run;
    let context = Context::new(Priority::Bulk, CALL_TIMEOUT);
    let id = house.joker.call(&context, |reply| IngestMsg::Start { request, reply }).await??;
    let run = follow(house, output, id).await?;
    let read_seconds = started.elapsed().as_secs_f64();
    show_rejects(house, output, &run);
    if let Some(error) = &run.error {
        return Err(Failure::new(Failure::FAILED, format!("{}: {}", error.code, error.detail)));
    }
    if run.status == RunStatus::Canceled {
        return Err(Failure::new(Failure::FAILED, "the run was canceled"));
    }
    if wait && !is_dry {
        wait_until_searchable(house, output).await;
    }
    let counts = house.vision.counts();
    let summary = Summary {
        format: run.format.clone().unwrap_or_default(),
        records: run.counts.records,
        products: run.counts.products,
        variants: run.counts.variants,
        created: run.counts.created,
        updated: run.counts.updated,
        unchanged: run.counts.unchanged,
        deleted: run.counts.deleted,
        rejected: run.counts.rejected,
        warnings: run.counts.warnings,
        images_embedded: counts.images_embedded - before.images_embedded,
        texts_embedded: counts.texts_embedded - before.texts_embedded,
        images_rejected: counts.rejected - before.rejected,
        read_seconds,
        seconds: started.elapsed().as_secs_f64(),
    };
    output.result(&summary, || summary.to_text());
    Ok(())
}

impl Summary {
    fn to_text(&self) -> String {
        let Self {
            format,
            records,
            products,
            variants,
            created,
            updated,
            unchanged,
            deleted,
            rejected,
            warnings,
            images_embedded,
            texts_embedded,
            images_rejected,
            read_seconds,
            seconds,
        } = self;
        let refused = if *images_rejected == 0 {
            String::new()
        } else {
            format!(", {images_rejected} pictures refused (see the dead letters on the console)")
        };
        format!(
            "{format}: {records} records, {products} products, {variants} variants\n\
             {created} created, {updated} updated, {unchanged} unchanged, {deleted} deleted, {rejected} rejected, {warnings} warnings\n\
             {images_embedded} pictures and {texts_embedded} texts embedded{refused}; read in {read_seconds:.1} s, searchable after {seconds:.1} s"
        )
    }
}

async fn follow(house: &House, output: Output, id: protocol::ingest::RunId) -> Result<Arc<FeedRun>, Failure> {
    let mut changes = house.runs.changes();
    let mut bar: Option<ProgressBar> = None;
    loop {
        changes.mark_unchanged();
        let run = house.runs.get(id).ok_or_else(|| Failure::new(Failure::FAILED, "the run is gone"))?;
        let bar = bar.get_or_insert_with(|| output.progress("reading", run.bytes_total));
        bar.set_position(if run.bytes_total.is_some() { run.bytes_read } else { run.counts.records });
        bar.set_message(format!("{} products", run.counts.products));
        if run.status.is_final() {
            bar.finish_and_clear();
            return Ok(run);
        }
        // The reader may restart and publish nothing for a while: look again now and then.
        let _ = tokio::time::timeout(Duration::from_secs(1), changes.changed()).await;
    }
}

fn show_rejects(house: &House, output: Output, run: &FeedRun) {
    let rejects = house.runs.rejects(run.id, 0, REJECTS_SHOWN_MAX).unwrap_or_default();
    for reject in rejects {
        if output.is_json() {
            output.result(&serde_json::json!({"reject": reject}), String::new);
        } else {
            output.note(&reject_text(&reject));
        }
    }
}

fn reject_text(reject: &Reject) -> String {
    let kind = if reject.is_warning { "warning" } else { "rejected" };
    let field = reject.field.as_ref().map(|field| format!(" field {field}:")).unwrap_or_default();
    format!("{kind}: row {}:{field} {} ({}): {:?}", reject.row, reject.detail, reject.code, reject.raw)
}

/// Waits until the indexes have followed the journal and no work is left for the models that are installed.
pub(super) async fn wait_until_searchable(house: &House, output: Output) {
    let open = || -> u64 {
        let models = house.vision.models();
        let has = |space: Space| models.iter().any(|model| model.space == space);
        let queues = [(QueueName::EmbedImage, Space::Image), (QueueName::EmbedText, Space::Text)];
        queues.into_iter().filter(|(_, space)| has(*space)).map(|(queue, _)| house.queues.depth(queue).open()).sum()
    };
    let end = house.journal.end();
    while house.queues.journal_offset() < end {
        tokio::time::sleep(POLL).await;
    }
    let bar = output.progress("embedding", Some(open()));
    while open() > 0 || house.searcher.stats().journal_offset < end {
        let left = open();
        bar.set_position(bar.length().unwrap_or_default().saturating_sub(left));
        tokio::time::sleep(POLL).await;
    }
    bar.finish_and_clear();
    if house.vision.models().is_empty() {
        output.note("no models are installed: products are found by words alone (`gotham model pull`)");
    }
}
