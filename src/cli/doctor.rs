//! `gotham doctor`: looks at the machine, the configuration and the data folder, and says what is wrong and what to do.

use std::path::Path;

use serde::Serialize;
use store::{DataDir, Journal, JournalConfig, SledConfig, SledStore, Store};

use super::{Common, Failure, Outcome};

/// Free space below this is a warning: an export and a compaction need room beside the data.
const FREE_BYTES_MIN: u64 = 2 << 30;
/// Open files below this are a warning.
const OPEN_FILES_MIN: u64 = 4_096;

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    Warning,
    Bad,
}

#[derive(Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    detail: String,
}

fn finding(what: &'static str, verdict: Verdict, detail: impl Into<String>) -> Finding {
    Finding { what, verdict, detail: detail.into() }
}

pub(super) fn doctor(common: &Common) -> Outcome {
    let output = common.output();
    let data_dir = common.data_dir();
    let mut findings = vec![configuration(common), processor(), gpu(), open_files(), free_space(&data_dir)];
    findings.extend(models(common));
    findings.extend(data(&data_dir));
    for finding in &findings {
        output.result(finding, || {
            let sign = match finding.verdict {
                Verdict::Good => "ok     ",
                Verdict::Warning => "warning",
                Verdict::Bad => "BAD    ",
            };
            format!("{sign}  {:14} {}", finding.what, finding.detail)
        });
    }
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    if bad == 0 { Ok(()) } else { Err(Failure::new(Failure::FAILED, format!("{bad} findings are bad"))) }
}

fn configuration(common: &Common) -> Finding {
    match common.load() {
        Ok(loaded) => finding("configuration", Verdict::Good, format!("{} settings, all valid", loaded.settings.len())),
        Err(failure) => finding("configuration", Verdict::Bad, failure.error.to_string()),
    }
}

fn processor() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    finding("processor", Verdict::Good, format!("{cores} cores; kernels: {}", shaders::Isa::best().name()))
}

fn gpu() -> Finding {
    let adapters = shaders::gpu::adapters();
    let names: Vec<String> =
        adapters.iter().map(|adapter| format!("{} ({}, {})", adapter.name, adapter.backend, adapter.device_type)).collect();
    let detail = if names.is_empty() { "none found".to_owned() } else { names.join("; ") };
    finding("gpu", Verdict::Good, format!("{detail}; embeddings are computed on the CPU"))
}

fn open_files() -> Finding {
    let limit = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limit
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|line| line.split_whitespace().next().map(str::to_owned));
    match soft.and_then(|soft| soft.parse::<u64>().ok()) {
        Some(soft) if soft < OPEN_FILES_MIN => {
            finding("open files", Verdict::Warning, format!("at most {soft}: raise the limit (ulimit -n) to {OPEN_FILES_MIN} or more"))
        }
        Some(soft) => finding("open files", Verdict::Good, format!("at most {soft}")),
        None => finding("open files", Verdict::Good, "no limit known"),
    }
}

fn free_space(data_dir: &Path) -> Finding {
    let existing = data_dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    match store::free_bytes(existing) {
        Ok(free) if free < FREE_BYTES_MIN => {
            finding("disk", Verdict::Warning, format!("{} MiB free at {}", free >> 20, existing.display()))
        }
        Ok(free) => finding("disk", Verdict::Good, format!("{} GiB free at {}", free >> 30, existing.display())),
        Err(error) => finding("disk", Verdict::Bad, format!("{}: {error}", existing.display())),
    }
}

fn models(common: &Common) -> Vec<Finding> {
    match vision::packages::verify(&common.models_dir()) {
        Ok(statuses) => statuses
            .into_iter()
            .filter(|status| status.is_installed || status.is_bad())
            .map(|status| match status.is_installed {
                true => finding("model", Verdict::Good, format!("{}: installed, hashes fit", status.package.name)),
                false => {
                    finding("model", Verdict::Warning, format!("{0}: missing or damaged: run `gotham model pull {0}`", status.package.name))
                }
            })
            .collect(),
        Err(error) => vec![finding("model", Verdict::Bad, error.to_string())],
    }
}

/// Opens everything that the house would open and reads all of it.
fn data(data_dir: &Path) -> Vec<Finding> {
    if !data_dir.exists() {
        return vec![finding("data folder", Verdict::Good, format!("{} is not there yet", data_dir.display()))];
    }
    let opened = match DataDir::open(data_dir) {
        Ok(opened) => opened,
        Err(error) => return vec![finding("data folder", Verdict::Bad, error.to_string())],
    };
    let mut findings = vec![finding("data folder", Verdict::Good, data_dir.display().to_string())];
    findings.push(match SledStore::open(&opened.store(), SledConfig::default()).and_then(|store| store.verify()) {
        Ok(report) if report.damaged.is_empty() => {
            finding("storage", Verdict::Good, format!("{} values read, all sound; flushes reach the disk", report.entries))
        }
        Ok(report) => finding(
            "storage",
            Verdict::Bad,
            format!("{} of {} values are damaged: {}", report.damaged.len(), report.entries, report.damaged.join(", ")),
        ),
        Err(error) => finding("storage", Verdict::Bad, error.to_string()),
    });
    findings.push(match Journal::open(&opened.journal(), JournalConfig::default()) {
        Ok(journal) => {
            finding("journal", Verdict::Good, format!("records {} to {}, {} MiB", journal.start(), journal.end(), journal.bytes() >> 20))
        }
        Err(error) => finding("journal", Verdict::Bad, error.to_string()),
    });
    findings
}
