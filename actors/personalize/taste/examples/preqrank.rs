//! Prints the quality of category pages and next baskets on purchases of the past:
//! `preqrank PURCHASES.csv [PRODUCTS.csv] [--every 12] [--users-mod 1] [--next 0] [--no-stores] [--warm-from DAY] [--fixed]`

use std::process::ExitCode;

use taste::Feature;
use taste::evaluate::{Options, Products, Purchases, Quality, evaluate};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (mut files, mut options) = (Vec::new(), Options::default());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().unwrap_or_default().parse::<u64>();
        match argument.as_str() {
            "--every" => options.every = number()?,
            "--users-mod" => options.users_mod = number()?,
            "--next" => options.next_every = number()?,
            "--warm-from" => options.warm_from_day = Some(number()? as i64),
            "--no-stores" => options.stores = false,
            "--fixed" => options.learns = false,
            _ => files.push(argument),
        }
    }
    let purchases = Purchases::parse(&std::fs::read_to_string(files.first().ok_or("which purchases?")?)?)?;
    let products = match files.get(1) {
        Some(path) => Some(Products::parse(&std::fs::read_to_string(path)?, &purchases)?),
        None => None,
    };
    let started = std::time::Instant::now();
    let report = evaluate(&purchases, products.as_ref(), &options);
    println!(
        "{} rows in {:.1} s, profiles of {:?} bytes (largest, mean)",
        report.rows,
        started.elapsed().as_secs_f64(),
        report.profile_bytes
    );
    for (name, [system, popularity]) in
        [("page", report.page), ("repeat", report.repeat), ("novel", report.novel), ("next basket", report.next)]
    {
        print(name, "system", &system);
        print(name, "popularity_28d", &popularity);
    }
    println!("ratio {:.3}", report.page[0].ndcg() / report.page[1].ndcg());
    for (feature, weight) in Feature::ALL.into_iter().zip(report.weights.into_iter().flatten()) {
        println!("{:16} {weight:8.4}   shipped {:7.4}", feature.name(), feature.prior());
    }
    Ok(())
}

fn print(name: &str, order: &str, quality: &Quality) {
    println!(
        "{name:12} {order:15} {:6} queries  NDCG@10 {:.4}  MRR@10 {:.4}  HR@10 {:.4}  recall@20 {:.4}",
        quality.queries(),
        quality.ndcg(),
        quality.reciprocal_rank(),
        quality.hit_rate(),
        quality.recall_20()
    );
}
