//! Public sets as they lie in folders: what is known, what is held back, what is asked.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use ease::Gram;
use serde_json::{Value, json};

/// Items of an order that is asked about.
const ORDER_ITEMS: std::ops::RangeInclusive<usize> = 2..=40;

/// A set; items are numbered by how often they stand in what is known, the most frequent first.
pub(crate) struct Set {
    /// Where the lists go.
    name: String,
    /// Orders, or else histories.
    pub(crate) are_orders: bool,
    /// Items by number.
    pub(crate) names: Vec<String>,
    /// Rows without what is held back, oldest item first.
    pub(crate) fit: Vec<Vec<u32>>,
    /// What is held back: histories, newest first, and what followed.
    pub(crate) validation: Vec<(Vec<u32>, u32)>,
    /// All rows that are known.
    pub(crate) all: Vec<Vec<u32>>,
    /// Users of `fit` and `all`, of histories.
    #[allow(dead_code, reason = "for those who feed the rows to something else, too")]
    pub(crate) users: Vec<String>,
    /// What is asked: id and history, newest first.
    pub(crate) test: Vec<(String, Vec<u32>)>,
}

fn lines(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

/// Users and their items in the order of the rows.
fn users(path: &str, histories: &mut Vec<(String, Vec<String>)>, places: &mut HashMap<String, usize>) {
    for line in lines(path).iter().skip(1) {
        let mut cells = line.split(',');
        let (user, item) = (cells.next().expect("a user").to_owned(), cells.next().expect("an item").to_owned());
        let place = *places.entry(user.clone()).or_insert_with(|| {
            histories.push((user, Vec::new()));
            histories.len() - 1
        });
        histories[place].1.push(item);
    }
}

impl Set {
    /// Reads a folder.
    pub(crate) fn read(folder: &str) -> Self {
        let are_orders = Path::new(folder).join("train.txt").exists();
        let baskets = |path: &str| -> Vec<Vec<String>> {
            lines(path).iter().map(|line| line.split(',').map(|item| item.trim().to_owned()).collect()).collect()
        };
        let (mut fit, mut validation, mut all, mut named) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        if are_orders {
            fit = baskets(&format!("{folder}/train.txt"));
            let held_back = baskets(&format!("{folder}/valid.txt"));
            for basket in held_back.iter().filter(|basket| ORDER_ITEMS.contains(&basket.len())) {
                let without = |item: &String| basket.iter().filter(|other| *other != item).cloned().collect::<Vec<_>>();
                validation.extend(basket.iter().map(|item| (without(item), item.clone())));
            }
            all.extend(fit.iter().chain(&held_back).cloned());
        } else {
            let (mut histories, mut places) = (Vec::new(), HashMap::new());
            users(&format!("{folder}/train.csv"), &mut histories, &mut places);
            fit.extend(histories.iter().map(|(_, items)| items.clone()));
            users(&format!("{folder}/valid.csv"), &mut histories, &mut places);
            all.extend(histories.iter().map(|(_, items)| items.clone()));
            named.extend(histories.into_iter().map(|(user, _)| user));
            let held_back = fit.iter().zip(&all).filter(|(before, after)| after.len() > before.len());
            validation.extend(held_back.map(|(before, after)| (before.iter().rev().cloned().collect(), after[before.len()].clone())));
        }
        let queries: Vec<Value> =
            lines(&format!("{folder}/queries.jsonl")).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let mut counts: HashMap<String, usize> = HashMap::new();
        all.iter().flatten().for_each(|item| *counts.entry(item.clone()).or_default() += 1);
        queries.iter().flat_map(|query| texts(&query["items"])).chain(validation.iter().map(|(_, target)| target.clone())).for_each(
            |item| {
                counts.entry(item).or_default();
            },
        );
        let mut names: Vec<String> = counts.keys().cloned().collect();
        names.sort_by(|a, b| counts[b].cmp(&counts[a]).then_with(|| a.cmp(b)));
        let numbers: HashMap<&String, u32> = names.iter().zip(0..).collect();
        let row = |items: &Vec<String>| -> Vec<u32> { items.iter().map(|item| numbers[item]).collect() };
        Self {
            name: folder.trim_end_matches('/').rsplit('/').nth(1).unwrap_or("set").to_owned(),
            are_orders,
            fit: fit.iter().map(row).collect(),
            validation: validation.iter().map(|(history, target)| (row(history), numbers[target])).collect(),
            all: all.iter().map(row).collect(),
            users: named,
            test: queries
                .iter()
                .map(|query| {
                    (
                        query["id"].as_str().expect("an id").to_owned(),
                        texts(&query["items"]).iter().rev().map(|item| numbers[item]).collect(),
                    )
                })
                .collect(),
            names,
        }
    }

    /// Counts rows.
    pub(crate) fn gram(&self, rows: &[Vec<u32>], items_max: usize) -> Gram {
        let mut gram = Gram::new(self.names.len().min(items_max), items_max).expect("within the bound");
        for row in rows {
            let mut row = row.clone();
            row.sort_unstable();
            row.dedup();
            gram.add(&row);
        }
        gram
    }

    /// Writes lists for the judge.
    pub(crate) fn write<'a>(&self, file: &str, lists: impl Iterator<Item = (&'a str, Vec<u32>)>) {
        let name = |item: &u32| self.names[*item as usize].as_str();
        let text: String =
            lists.map(|(id, items)| format!("{}\n", json!({ "id": id, "items": items.iter().map(name).collect::<Vec<_>>() }))).collect();
        fs::create_dir_all(&self.name).expect("a folder");
        fs::write(Path::new(&self.name).join(file), text).expect("written");
    }
}

/// At most so many, from all over.
pub(crate) fn evenly<T>(all: &[T], count_max: usize) -> impl Iterator<Item = &T> {
    let step = (all.len() as f64 / count_max as f64).max(1.0);
    (0..(all.len() as f64 / step) as usize).filter_map(move |index| all.get((index as f64 * step) as usize))
}

/// Processor time of all threads, which other work on the machine does not count against.
pub(crate) fn processor_seconds() -> f64 {
    let status = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = status.rsplit(") ").next().map(|rest| rest.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum());
    ticks.unwrap_or(0.0) / 100.0
}

/// The most memory that was ever resident.
pub(crate) fn resident_most_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) / 1_000
}
