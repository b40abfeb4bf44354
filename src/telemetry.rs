//! Logs and metrics of the process.

use std::sync::{Arc, OnceLock};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Upper bounds of the latency buckets, in seconds.
const SECONDS_BUCKETS: [f64; 16] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Upper bounds of the buckets of batch sizes.
const BATCH_BUCKETS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// Renders the metrics in Prometheus text format.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// Starts the log, on standard error: JSON lines for a service, plain text for people. `GOTHAM_LOG` filters it
/// (`info`, `gotham=debug`, ...).
pub fn start_log(default_level: &str, as_json: bool) {
    let filter = EnvFilter::try_from_env("GOTHAM_LOG").unwrap_or_else(|_| EnvFilter::new(format!("{default_level},tantivy=warn")));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first log.
    let _ = if as_json { log.json().try_init() } else { log.with_target(false).try_init() };
}

/// Starts collecting metrics; every house of one process shares one recorder.
pub fn start_metrics() -> MetricsText {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let recorder = RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new().set_buckets(&SECONDS_BUCKETS).ok()?;
        let builder = builder.set_buckets_for_metric(Matcher::Suffix("_batch_size".to_owned()), &BATCH_BUCKETS).ok()?;
        builder.install_recorder().inspect_err(|error| tracing::error!(%error, "metrics are not collected")).ok()
    });
    match recorder {
        Some(recorder) => Arc::new(|| {
            recorder.run_upkeep();
            recorder.render()
        }),
        None => Arc::new(String::new),
    }
}
