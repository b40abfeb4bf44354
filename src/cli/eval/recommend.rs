//! `gotham eval recommend`: how good recommendations from behaviour are, on the files of public data sets. Nothing is served: the engine
//! is fed and asked in this process.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use behaviour::Settings;
use behaviour::evaluate::{Dataset, Protocol, Report, evaluate};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::{Failure, Outcome, read};
use crate::output::Output;

#[derive(Args)]
pub(in crate::cli) struct RecommendArgs {
    /// What is known: sessions (.txt, items parted by blanks), baskets (.txt, by commas) or interactions (.csv with user, item, ts)
    #[arg(long, required = true, num_args = 1.., value_name = "FILES")]
    train: Vec<PathBuf>,
    /// More of what is known
    #[arg(long, num_args = 1.., value_name = "FILES")]
    valid: Vec<PathBuf>,
    /// What is asked: lines of known items, a tab and the next item; or a file of queries and one of targets (.jsonl)
    #[arg(long, num_args = 1..=2, value_name = "FILES", conflicts_with_all = ["queries", "targets"])]
    test: Vec<PathBuf>,
    /// Queries, a JSON object a line: id, items and, where known, exclude, user, ts
    #[arg(long, value_name = "JSONL", requires = "targets")]
    queries: Option<PathBuf>,
    /// Their targets: id, items
    #[arg(long, value_name = "JSONL", requires = "queries")]
    targets: Option<PathBuf>,
    /// How it is asked; without queries they are split off from what is known [default: told by the files]
    #[arg(long)]
    protocol: Option<ProtocolName>,
    /// Of lines of sessions only those whose next item is new; what was seen is not shown
    #[arg(long)]
    novel: bool,
    /// Tune the blend first, for at most so many seconds, as the house does at night
    #[arg(long, value_name = "SECONDS")]
    tune: Option<u64>,
}

/// The protocols by name.
#[derive(Clone, Copy, ValueEnum)]
enum ProtocolName {
    /// The next item of a session
    Session,
    /// Of every user the last item
    Llo,
    /// Of every user the last fifth
    Tus,
    /// Each item of a basket hidden in turn
    Basket,
    /// Of every user the last basket; repeats count
    NextBasket,
}

/// Runs the command.
pub(super) fn recommend(output: Output, args: &RecommendArgs) -> Outcome {
    let (mut data, protocol) = dataset(args)?;
    let begun = Instant::now();
    let mut goes_on = || begun.elapsed() < Duration::from_secs(args.tune.unwrap_or_default());
    let tune = args.tune.is_some().then_some(&mut goes_on as &mut dyn FnMut() -> bool);
    let reports = evaluate(&mut data, protocol, Settings::default(), tune).map_err(|error| Failure::new(Failure::USAGE, error))?;
    output.result(&as_json(protocol, &reports), || as_text(&reports));
    Ok(())
}

/// What the files hold, and how it is asked.
fn dataset(args: &RecommendArgs) -> Result<(Dataset, Protocol), Failure> {
    let usage = |path: &Path, error: &dyn std::fmt::Display| Failure::new(Failure::USAGE, format!("{}: {error}", path.display()));
    let (mut data, mut has_commas) = (Dataset::default(), false);
    for path in args.train.iter().chain(&args.valid) {
        let text = read(path)?;
        if path.extension().is_some_and(|extension| extension == "csv") {
            data.take_rows(&text).map_err(|error| usage(path, &error))?;
        } else {
            has_commas |= text.contains(',');
            let is_basket = matches!(args.protocol, Some(ProtocolName::Basket)) || (args.protocol.is_none() && has_commas);
            data.take_sequences(&text, if is_basket { ',' } else { ' ' });
        }
    }
    match (&args.test[..], &args.queries, &args.targets) {
        ([queries, targets], None, None) | ([], Some(queries), Some(targets)) => {
            data.take_queries(&read(queries)?, &read(targets)?).map_err(|error| usage(queries, &error))?;
        }
        ([lines], None, None) => data.take_session_queries(&read(lines)?, args.novel).map_err(|error| usage(lines, &error))?,
        _ => {}
    }
    let protocol = match args.protocol {
        Some(ProtocolName::Session) => Protocol::Session,
        Some(ProtocolName::Llo) => Protocol::Llo,
        Some(ProtocolName::Tus) => Protocol::Tus,
        Some(ProtocolName::Basket) => Protocol::Basket,
        Some(ProtocolName::NextBasket) => Protocol::NextBasket,
        None if data.rows.is_empty() => {
            if has_commas {
                Protocol::Basket
            } else {
                Protocol::Session
            }
        }
        // Where repeats count nothing is excluded.
        None if data.queries.iter().any(|query| query.exclude.is_empty()) => Protocol::NextBasket,
        None => Protocol::Llo,
    };
    Ok((data, protocol))
}

/// Ours at the top, by the usual names (`hr@10`); the others below `baselines`.
fn as_json(protocol: Protocol, reports: &[Report]) -> Value {
    let measures = |report: &Report| -> Map<String, Value> {
        let named = report.measures.iter().flat_map(|measures| {
            let named = |name: &str, value: f64| (format!("{name}@{}", measures.at), json!(value));
            [
                named("hr", measures.hit_rate),
                named("recall", measures.recall),
                named("mrr", measures.mrr),
                named("ndcg", measures.ndcg),
                (format!("distinct@{}", measures.at), json!(measures.distinct_items)),
            ]
        });
        named.collect()
    };
    let mut lines = reports.iter().map(|report| (report.ranker.to_owned(), measures(report)));
    let mut ours = lines.next().map(|(_, ours)| ours).unwrap_or_default();
    let queries = reports.first().and_then(|report| report.measures.first()).map_or(0, |measures| measures.queries);
    ours.insert("protocol".to_owned(), json!(protocol));
    ours.insert("queries".to_owned(), json!(queries));
    ours.insert("baselines".to_owned(), Value::Object(lines.map(|(ranker, measures)| (ranker, Value::Object(measures))).collect()));
    Value::Object(ours)
}

fn as_text(reports: &[Report]) -> String {
    let lines = reports.iter().flat_map(|report| {
        report.measures.iter().map(|measures| {
            format!(
                "{:<10} at {:>2}   hit rate {:.4}   recall {:.4}   MRR {:.4}   nDCG {:.4}   {} items in {} lists",
                report.ranker,
                measures.at,
                measures.hit_rate,
                measures.recall,
                measures.mrr,
                measures.ndcg,
                measures.distinct_items,
                measures.queries
            )
        })
    });
    lines.collect::<Vec<_>>().join("\n")
}
