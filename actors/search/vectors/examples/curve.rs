//! Prints the curve of one data set: `curve STEM [--share S] [--degree R] [--breadth E] [--alpha A] [--entries N] [--lists L]
//! [--filter SELECTIVITY] [--only graph,flat] [--rounds N] [--json]`, where `STEM.base.fbin`, `STEM.query.fbin` and `STEM.gt.ibin` exist.

use std::path::PathBuf;

use vectors::codes::Metric;
use vectors::curve::{Options, measure};
use vectors::segment::SegmentParams;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let stem = arguments.next().ok_or("a data set is needed")?;
    let file = |end: &str| PathBuf::from(format!("{stem}.{end}"));
    let mut params = SegmentParams::new(Metric::Cosine, 1);
    let mut options = Options {
        base: file("base.fbin"),
        queries: file("query.fbin"),
        truth: file("gt.ibin"),
        metric: None,
        filter: None,
        rounds: 3,
        threads: 2,
        params: None,
        strategies: Vec::new(),
    };
    let mut is_json = false;
    while let Some(name) = arguments.next() {
        if name == "--json" {
            is_json = true;
            continue;
        }
        let value = arguments.next().ok_or("a value is needed")?;
        match name.as_str() {
            "--share" => params.share = value.parse()?,
            "--degree" => params.degree = value.parse()?,
            "--breadth" => params.build_breadth = value.parse()?,
            "--alpha" => params.alpha = value.parse()?,
            "--entries" => params.entries = value.parse()?,
            "--lists" => params.lists = value.parse()?,
            "--filter" => options.filter = Some(value.parse()?),
            "--rounds" => options.rounds = value.parse()?,
            "--threads" => options.threads = value.parse()?,
            "--only" => options.strategies = value.split(',').map(str::to_owned).collect(),
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    options.params = Some(params);
    let report = measure(&options)?;
    if is_json {
        println!("{}", report.to_json());
    } else {
        println!("{report}");
    }
    Ok(())
}
