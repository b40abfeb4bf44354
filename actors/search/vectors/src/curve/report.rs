//! What was measured, as a table and as JSON.

use crate::codes::Metric;
use crate::segment::Bytes;

/// One setting of one strategy.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Point {
    /// `graph`, `lists`, `flat`, `gather` or `exact`.
    pub strategy: String,
    /// Breadth of a walk, or lists probed.
    pub effort: usize,
    /// Rows scored exactly, or 1-bit candidates.
    pub rerank: usize,
    /// Share of the ten best found; ties count.
    pub recall: f64,
    /// One thread, by the median chunk of queries.
    pub queries_per_second: f64,
    /// Median of the fastest times of the queries, microseconds.
    pub p50_us: f64,
    /// 99th percentile of the same.
    pub p99_us: f64,
}

/// A whole curve.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// Rows.
    pub rows: usize,
    /// Numbers of a vector.
    pub dimension: usize,
    /// How rows were compared.
    pub metric: Metric,
    /// Coordinates that the projection kept.
    pub lean: usize,
    /// Share of rows that the filter let through.
    pub filter: Option<f64>,
    /// Learning, encoding, lists and graph.
    pub build_seconds: f64,
    /// Threads of the build.
    pub build_threads: usize,
    /// Bytes that must be in memory.
    pub hot_bytes_per_row: f64,
    /// Bytes that may stay mapped.
    pub cold_bytes_per_row: f64,
    /// By column.
    pub bytes: Bytes,
    /// The settings.
    pub points: Vec<Point>,
}

impl Report {
    /// Queries a second of `strategy` at `recall`, between the two settings around it on the curve of the best.
    #[must_use]
    pub fn at_recall(&self, strategy: &str, recall: f64) -> Option<f64> {
        let mut points: Vec<&Point> = self.points.iter().filter(|point| point.strategy == strategy).collect();
        points.sort_by(|a, b| a.recall.total_cmp(&b.recall));
        let direct = points.iter().filter(|point| point.recall >= recall).map(|point| point.queries_per_second).max_by(f64::total_cmp);
        let between = points.windows(2).filter(|pair| pair[0].recall < recall && pair[1].recall >= recall).map(|pair| {
            let share = (recall - pair[0].recall) / (pair[1].recall - pair[0].recall);
            pair[0].queries_per_second + share * (pair[1].queries_per_second - pair[0].queries_per_second)
        });
        between.chain(direct).max_by(f64::total_cmp)
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            formatter,
            "{} rows x {} ({:?}, {} kept), built in {:.1} s on {} threads, {:.0} bytes a row hot, {:.0} cold",
            self.rows,
            self.dimension,
            self.metric,
            self.lean,
            self.build_seconds,
            self.build_threads,
            self.hot_bytes_per_row,
            self.cold_bytes_per_row
        )?;
        writeln!(
            formatter,
            "{:8} {:>6} {:>6} {:>8} {:>9} {:>8} {:>8}",
            "strategy", "effort", "rerank", "recall", "queries/s", "p50 us", "p99 us"
        )?;
        for point in &self.points {
            writeln!(
                formatter,
                "{:8} {:>6} {:>6} {:>8.4} {:>9.0} {:>8.1} {:>8.1}",
                point.strategy, point.effort, point.rerank, point.recall, point.queries_per_second, point.p50_us, point.p99_us
            )?;
        }
        for strategy in ["graph", "lists", "flat"] {
            let at = [0.9, 0.95, 0.99, 0.999]
                .map(|recall| self.at_recall(strategy, recall).map_or("-".to_owned(), |found| format!("{found:.0}")));
            writeln!(formatter, "{strategy}: queries/s at recall 0.90 {} / 0.95 {} / 0.99 {} / 0.999 {}", at[0], at[1], at[2], at[3])?;
        }
        Ok(())
    }
}
