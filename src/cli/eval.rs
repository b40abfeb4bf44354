//! `gotham eval search`: how good the answers are, for keyword, meaning and hybrid search, asked over HTTP as a shop asks them.
//!
//! With graded judgments (`--queries`, `--judgments`) these are measured; without, queries are made from the catalog: known items
//! by their names with typos and dropped and swapped words ([`known_item`]), and kinds of things by their labels ([`labels`]).

mod client;
mod groups;
mod judgments;
mod known_item;
mod labels;
mod metrics;
mod photos;
mod random;
mod recommend;
mod reliability;
mod similar;
mod table;
mod tags;
mod wands;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use protocol::ingest::{FeedMode, FeedRequest, FeedSource};
use serde::Serialize;
use tokio::task::JoinSet;

use self::client::{Mode, Server};
use self::judgments::{Judged, Suite};
use self::metrics::{Measures, quantile};
use super::{Common, Failure, Outcome};
use crate::house::House;
use crate::output::Output;

/// Searches under way at once.
const IN_FLIGHT_MAX: usize = 2;
/// A table of judgments may be this large.
const TABLE_BYTES_MAX: u64 = 1 << 30;

/// What can be measured.
#[derive(Subcommand)]
pub(super) enum EvalCommand {
    /// Relevance of search: nDCG@10, MRR@10, recall@10 and success@1 for keyword, meaning and hybrid
    Search(SearchArgs),
    /// Recommendations on public protocols: ours beside popularity and item-kNN, on files
    Recommend(recommend::RecommendArgs),
    /// Visual tags: accuracy, coverage, precision and calibration for every attribute, one part of the photos teaching, the other asked
    Tags(tags::TagsArgs),
    /// Visual similarity: precision@10 by article type for ways to make an embedding of a photo
    Similar(similar::SimilarArgs),
}

#[derive(Args)]
pub(super) struct SearchArgs {
    /// Import this feed first (a WANDS product table too); best into an empty --data folder
    #[arg(long, value_name = "FEED", conflicts_with = "server")]
    catalog: Option<PathBuf>,
    /// Folder of the pictures that the feed names [default: the feed's own folder]
    #[arg(long, value_name = "DIR", requires = "catalog")]
    images: Option<PathBuf>,
    /// Tab-separated queries: query_id, query
    #[arg(long, value_name = "TSV", requires = "judgments")]
    queries: Option<PathBuf>,
    /// Tab-separated judgments: query_id, product_id, grade (0 to 10) or label (Exact, Partial, Irrelevant)
    #[arg(long, value_name = "TSV", requires = "queries")]
    judgments: Option<PathBuf>,
    /// Measure a running house at this address instead of opening the data folder
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Queries of each made suite; of judged queries so many, in the file's order [default for judged: all]
    #[arg(long, value_name = "COUNT")]
    count: Option<usize>,
    /// Seed of the made queries
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Queries of each made suite unless told otherwise.
const MADE_QUERIES: usize = 200;

/// One suite in one mode.
#[derive(Serialize)]
struct Line {
    suite: &'static str,
    mode: Mode,
    queries: usize,
    ndcg_at_10: f64,
    mrr_at_10: f64,
    recall_at_10: f64,
    success_at_1: f64,
    /// Answers in which a part of the query took no part.
    degraded: usize,
    took_ms_p50: f64,
    took_ms_p99: f64,
}

/// What a suite's three lines come to.
#[derive(Serialize)]
struct Verdict {
    suite: &'static str,
    /// nDCG@10 of hybrid less that of the better one of keyword and meaning.
    hybrid_ndcg_gain: f64,
}

/// Runs the command.
pub(super) async fn eval(common: &Common, command: &EvalCommand) -> Outcome {
    let args = match command {
        EvalCommand::Search(args) => args,
        EvalCommand::Recommend(args) => return recommend::recommend(common.output(), args),
        EvalCommand::Tags(args) => return tags::tags(common, args),
        EvalCommand::Similar(args) => return similar::similar(common, args),
    };
    let judged = judged(args)?;
    if let Some(address) = &args.server {
        return measure(common.output(), &Server::new(address)?, args, judged).await;
    }
    // A free port of this machine unless the caller names another: a service may be running beside.
    let listen = common.listen.clone().or_else(|| Some("127.0.0.1:0".to_owned()));
    let common = Common { listen, ..common.clone() };
    let house = super::serve::open(&common, common.load()?, true).await?;
    let outcome = measure_house(&common, &house, args, judged).await;
    house.shut_down().await;
    outcome
}

async fn measure_house(common: &Common, house: &House, args: &SearchArgs, judged: Option<Suite>) -> Outcome {
    let output = common.output();
    match &args.catalog {
        Some(catalog) => {
            let feed = feed(catalog, &common.data_dir())?;
            super::import::run(house, output, request(args, catalog, &feed)?, true).await?;
        }
        None => {
            super::serve::wait_until_ready(house).await;
            super::import::wait_until_searchable(house, output).await;
        }
    }
    measure(output, &Server::new(&format!("http://{}", house.listening_on()))?, args, judged).await
}

/// The judgments that were given.
fn judged(args: &SearchArgs) -> Result<Option<Suite>, Failure> {
    let (Some(queries), Some(judgments)) = (&args.queries, &args.judgments) else { return Ok(None) };
    let suite = judgments::read(&read(queries)?, &read(judgments)?).map_err(|error| Failure::new(Failure::USAGE, error))?;
    let mut queries = suite.queries;
    queries.truncate(args.count.unwrap_or(usize::MAX));
    Ok(Some(Suite { queries, ..suite }))
}

fn read(path: &Path) -> Result<String, Failure> {
    let usage = |error: std::io::Error| Failure::new(Failure::USAGE, format!("{}: {error}", path.display()));
    if std::fs::metadata(path).map_err(usage)?.len() > TABLE_BYTES_MAX {
        return Err(Failure::new(Failure::USAGE, format!("{}: more than {TABLE_BYTES_MAX} bytes", path.display())));
    }
    std::fs::read_to_string(path).map_err(usage)
}

/// The feed to import: the catalog itself, or what a WANDS table says in the common format.
fn feed(catalog: &Path, data_dir: &Path) -> Result<PathBuf, Failure> {
    let usage = |error: std::io::Error| Failure::new(Failure::USAGE, format!("{}: {error}", catalog.display()));
    let mut header = String::new();
    // A feed that is no text has no such header.
    let is_text = BufReader::new(File::open(catalog).map_err(usage)?).read_line(&mut header).is_ok();
    if !is_text || !wands::is_product_table(&header) {
        return std::fs::canonicalize(catalog).map_err(usage);
    }
    let path = data_dir.join("eval-catalog.ndjson");
    let mut file = BufWriter::new(File::create(&path)?);
    wands::write_feed(&read(catalog)?, &mut file)?;
    file.flush()?;
    Ok(std::fs::canonicalize(path)?)
}

fn request(args: &SearchArgs, catalog: &Path, feed: &Path) -> Result<FeedRequest, Failure> {
    let name = feed.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let images = args.images.clone().or_else(|| std::fs::canonicalize(catalog).ok()?.parent().map(Path::to_path_buf));
    Ok(FeedRequest {
        from: FeedSource::File(feed.to_path_buf()),
        source: "eval".to_owned(),
        name,
        mode: FeedMode::Delta,
        dry_run: false,
        format: None,
        image_root: images
            .map(std::fs::canonicalize)
            .transpose()
            .map_err(|error| Failure::new(Failure::USAGE, format!("--images: {error}")))?,
        force: false,
        // Amounts do not matter here, but a feed that names no currency must not be refused for it.
        default_currency: Some("EUR".to_owned()),
    })
}

/// Asks every suite in every mode and prints what came of it.
async fn measure(output: Output, server: &Server, args: &SearchArgs, judged: Option<Suite>) -> Outcome {
    let suites = match judged {
        Some(suite) => vec![suite],
        None => made(server, args).await?,
    };
    if suites.is_empty() {
        return Err(Failure::new(Failure::FAILED, "the catalog is too small to make queries from: give --queries and --judgments"));
    }
    output
        .note(&format!("{:28}{:9}{:>8}{:>9}{:>9}{:>11}{:>11}", "suite", "mode", "queries", "nDCG@10", "MRR@10", "recall@10", "success@1"));
    for suite in &suites {
        let mut ndcg = [0.0; Mode::ALL.len()];
        for (mode, ndcg) in Mode::ALL.into_iter().zip(&mut ndcg) {
            let line = ask(output, server, suite, mode).await?;
            *ndcg = line.ndcg_at_10;
            output.result(&line, || line.to_text());
        }
        let [keyword, meaning, hybrid] = ndcg;
        let verdict = Verdict { suite: suite.name, hybrid_ndcg_gain: hybrid - keyword.max(meaning) };
        output.result(&verdict, || {
            format!("{:28}hybrid is {:+.4} nDCG@10 against the better of the two", suite.name, verdict.hybrid_ndcg_gain)
        });
    }
    Ok(())
}

/// Queries made from the server's own catalog.
async fn made(server: &Server, args: &SearchArgs) -> Result<Vec<Suite>, Failure> {
    let catalog = server.catalog().await?;
    let count = args.count.unwrap_or(MADE_QUERIES);
    let labelled: Vec<_> = catalog.iter().filter_map(|item| Some((item.id.clone(), labels::of(&item.attributes)?))).collect();
    let titles: Vec<_> = catalog.into_iter().map(|item| (item.id, item.title)).collect();
    let mut suites = known_item::suites(&titles, count, args.seed);
    suites.extend(labels::suites(&labelled, count, args.seed));
    Ok(suites)
}

async fn ask(output: Output, server: &Server, suite: &Suite, mode: Mode) -> Result<Line, Failure> {
    let bar = output.progress(suite.name, Some(suite.queries.len() as u64));
    let (mut measured, mut took, mut degraded) = (Vec::new(), Vec::new(), 0);
    for some in suite.queries.chunks(IN_FLIGHT_MAX) {
        let mut under_way = JoinSet::new();
        for Judged { text, grades } in some.iter().cloned() {
            let server = server.clone();
            under_way.spawn(async move { server.search(&text, mode).await.map(|found| (found, grades)) });
        }
        while let Some(answer) = under_way.join_next().await {
            let (found, grades) = answer??;
            measured.push(Measures::of(&found.ids(), &grades));
            took.push(found.took_ms);
            degraded += usize::from(!found.degraded.is_empty());
        }
        bar.inc(some.len() as u64);
    }
    bar.finish_and_clear();
    let Measures { ndcg, mrr, recall, success } = Measures::mean(&measured);
    Ok(Line {
        suite: suite.name,
        mode,
        queries: measured.len(),
        ndcg_at_10: ndcg,
        mrr_at_10: mrr,
        recall_at_10: recall,
        success_at_1: success,
        degraded,
        took_ms_p50: quantile(&mut took, 0.5).unwrap_or_default(),
        took_ms_p99: quantile(&mut took, 0.99).unwrap_or_default(),
    })
}

impl Line {
    fn to_text(&self) -> String {
        let Self { suite, mode, queries, ndcg_at_10, mrr_at_10, recall_at_10, success_at_1, degraded, took_ms_p50, took_ms_p99 } = self;
        let mode = mode.as_str();
        let warning = if *degraded == 0 { String::new() } else { format!("; {degraded} answers were degraded") };
        format!(
            "{suite:28}{mode:9}{queries:8}{ndcg_at_10:9.4}{mrr_at_10:9.4}{recall_at_10:11.4}{success_at_1:11.4}   p50 {took_ms_p50:.1} ms, p99 \
             {took_ms_p99:.1} ms{warning}"
        )
    }
}
