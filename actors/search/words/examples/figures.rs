//! Figures of the keyword index on the shared fashion catalog: how fast it is built and searched, and how well it finds what a
//! shopper had in mind. `cargo run --release -p words --example figures [PRODUCTS]`; with `quality` in place of a number only the
//! second half.
//!
//! Quality is measured on known items: a product is drawn, its name is spoilt (words dropped, a letter wrong, words written
//! together or apart), and the rank of the product among the hits counts (MRR@10, recall@10). Draws come from a fixed seed.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::{AttributeValue, CategoryPath, Product, Provenance, Source};
use words::{QueryLog, Request, Snapshot, Writer};

const MEMORY_BYTES: usize = 64_000_000;
const COMMIT_PRODUCTS: usize = 20_000;
const SEED: u64 = 2_029;
const QUERIES: usize = 2_000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Xorshift: the same draws everywhere.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

fn main() -> Result<()> {
    let Some(shared) = shared() else {
        println!("SKIPPED: no shared data (GOTHAM_SHARED, or the folder `shared` beside the project)");
        return Ok(());
    };
    let argument = std::env::args().nth(1).unwrap_or_else(|| "100000".into());
    let catalog = catalog(&shared.join("catalog").join("catalog_text_only.csv"))?;
    println!("{} products in the file", catalog.len());
    if argument != "quality" {
        let wands = std::fs::read_to_string(shared.join("queries").join("wands_queries.tsv"))?;
        let wands: Vec<String> = wands.lines().skip(1).filter_map(|line| line.split('\t').nth(1)).map(str::to_owned).collect();
        speed(&catalog, argument.parse()?, &wands)?;
    }
    quality(&catalog)
}

fn shared() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../../shared");
    let found = std::env::var_os("GOTHAM_SHARED").map_or_else(beside, PathBuf::from).join("data");
    found.is_dir().then_some(found)
}

fn catalog(path: &Path) -> Result<Vec<Product>> {
    let text = std::fs::read_to_string(path)?;
    let mut products = Vec::new();
    for line in text.lines().skip(1) {
        let mut fields = line.splitn(10, ',');
        let mut next = || fields.next().unwrap_or_default().trim_matches('"').trim().to_owned();
        let [id, gender, master, sub, article, colour, season, _year, usage, title] = std::array::from_fn(|_| next());
        let Ok(id) = id.parse() else { continue };
        let mut product = Product::new(id, title);
        product.categories.push(CategoryPath(vec![master, sub, article]));
        for (name, value) in [("gender", gender), ("color", colour), ("season", season), ("usage", usage)] {
            let provenance = Provenance { source: Source::Feed, field: name.into() };
            product.attributes.insert(name.into(), vec![AttributeValue { value, provenance }]);
        }
        products.push(product);
    }
    Ok(products)
}

/// So many products: the catalog again and again, with a word that tells the rounds apart.
fn repeated(catalog: &[Product], products: usize) -> impl Iterator<Item = Product> {
    (0..products).map(|number| {
        let (round, index) = (number / catalog.len(), number % catalog.len());
        let mut product = catalog[index].clone();
        if round > 0 {
            product.id = format!("{}-r{round}", product.id).parse().unwrap_or(product.id);
            product.title = format!("{} edition{round}", product.title);
        }
        product
    })
}

fn built(dir: &Path, products: impl Iterator<Item = Product>) -> Result<(Writer, HashMap<String, u32>)> {
    let mut writer = Writer::open(dir, MEMORY_BYTES)?;
    let mut slots = HashMap::new();
    for (number, product) in products.enumerate() {
        writer.put(&product)?;
        slots.insert(product.id.as_str().to_owned(), number as u32);
        if (number + 1) % COMMIT_PRODUCTS == 0 {
            writer.commit(number as u64)?;
        }
    }
    writer.commit(slots.len() as u64)?;
    Ok((writer, slots))
}

fn speed(catalog: &[Product], products: usize, wands: &[String]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let started = Instant::now();
    let (mut writer, slots) = built(dir.path(), repeated(catalog, products))?;
    let seconds = started.elapsed().as_secs_f64();
    let bytes: u64 = std::fs::read_dir(dir.path())?.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum();
    println!("{products} products: built in {seconds:.1} s ({:.0}/s), {:.1} MB on disk", products as f64 / seconds, bytes as f64 / 1e6);
    let started = Instant::now();
    let snapshot = writer.snapshot(&|id| slots.get(id).copied())?;
    let first = started.elapsed();
    let started = Instant::now();
    let snapshot_again = writer.snapshot(&|id| slots.get(id).copied())?;
    println!(
        "snapshot: {first:.1?}, again {:.1?}, {:.1} MB in memory, languages {:?}",
        started.elapsed(),
        snapshot.memory_bytes() as f64 / 1e6,
        snapshot_again.languages()
    );
    let mut draws = Draws(SEED);
    let typical: Vec<String> = (0..QUERIES).map(|_| some_words(&mut draws, catalog)).collect();
    let typos: Vec<String> = typical.iter().map(|text| misspelt(&mut draws, text)).collect();
    let beginnings: Vec<String> = typical.iter().map(|text| beginning(&mut draws, text)).collect();
    let single: Vec<String> = typical.iter().filter_map(|text| text.split(' ').next_back()).map(str::to_owned).collect();
    for (name, queries) in
        [("one word", &single), ("2 to 4 words", &typical), ("one typo", &typos), ("beginnings", &beginnings), ("wands", &wands.to_vec())]
    {
        time(&format!("search, {name}"), queries, |text| {
            let found = snapshot.search(&Request { text, limit: 24, ..Request::default() })?;
            Ok(found.total)
        })?;
    }
    let mut log = QueryLog::new(3);
    for text in typical.iter().chain(&single) {
        (0..3).for_each(|_| log.record(text, 0));
    }
    time("suggest, beginnings", &beginnings, |text| Ok(snapshot.suggest(&log, text, 10, 0)?.len() as u64))?;
    let letters: Vec<String> = "abcdefghijklmnopqrstuvwxyz".chars().map(String::from).collect();
    time("suggest, one letter", &letters, |text| Ok(snapshot.suggest(&log, text, 10, 0)?.len() as u64))?;
    time("suggest, one typo", &typos, |text| Ok(snapshot.suggest(&log, text, 10, 0)?.len() as u64))?;
    time("did you mean, one typo", &typos, |text| Ok(u64::from(snapshot.did_you_mean(text, None)?.is_some())))
}

/// Each query three times, the least time of each counts: other work on the machine is no property of the index.
fn time(name: &str, queries: &[String], run: impl Fn(&str) -> Result<u64>) -> Result<()> {
    let mut times = vec![Duration::MAX; queries.len()];
    let mut found = 0;
    for _ in 0..3 {
        for (time, text) in times.iter_mut().zip(queries) {
            let started = Instant::now();
            found += run(text)?;
            *time = (*time).min(started.elapsed());
        }
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let mean = found as f64 / (3 * queries.len()) as f64;
    println!("{name:<26} p50 {:.3} ms  p99 {:.3} ms  max {:.3} ms  mean found {mean:.1}", at(0.5), at(0.99), at(1.0));
    Ok(())
}

/// Two to four words of a name, in their order.
fn some_words(draws: &mut Draws, catalog: &[Product]) -> String {
    let title = catalog[draws.below(catalog.len())].title.to_lowercase();
    let mut words: Vec<&str> = title.split_whitespace().collect();
    let wanted = 2 + draws.below(3);
    while words.len() > wanted {
        words.remove(draws.below(words.len()));
    }
    words.join(" ")
}

fn beginning(draws: &mut Draws, text: &str) -> String {
    let last = text.split(' ').next_back().map_or(0, |word| word.chars().count());
    let chars = text.chars().count() - last + 1 + draws.below(last);
    text.chars().take(chars).collect()
}

/// One letter of one word of four letters or more wrong, too many, missing, or changed with its neighbour; never the first.
fn misspelt(draws: &mut Draws, text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let long: Vec<usize> = (0..words.len())
        .filter(|word| words[*word].chars().count() >= 4 && words[*word].chars().all(|c| c.is_ascii_alphabetic()))
        .collect();
    if let Some(word) = long.get(draws.below(long.len())) {
        let mut letters: Vec<char> = words[*word].chars().collect();
        let at = 1 + draws.below(letters.len() - 2);
        let other = char::from(b'a' + draws.below(26) as u8);
        match draws.below(4) {
            0 => letters[at] = other,
            1 => letters.insert(at, other),
            2 => drop(letters.remove(at)),
            _ => letters.swap(at, at + 1),
        }
        words[*word] = letters.into_iter().collect();
    }
    words.join(" ")
}

/// Two words written together, or one apart.
fn regrouped(draws: &mut Draws, text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let long: Vec<usize> = (0..words.len()).filter(|word| words[*word].len() >= 8 && words[*word].is_ascii()).collect();
    if words.len() > 1 && (draws.below(2) == 0 || long.is_empty()) {
        let at = draws.below(words.len() - 1);
        let next = words.remove(at + 1);
        words[at].push_str(&next);
    } else if let Some(word) = long.get(draws.below(long.len())) {
        let at = 3 + draws.below(words[*word].len() - 6);
        let (first, second) = words[*word].split_at(at);
        words[*word] = format!("{first} {second}");
    }
    words.join(" ")
}

/// Singular for plural and the other way round, as far as a letter does it.
fn inflected(draws: &mut Draws, text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let long: Vec<usize> =
        (0..words.len()).filter(|word| words[*word].len() >= 4 && words[*word].chars().all(|c| c.is_ascii_alphabetic())).collect();
    if let Some(word) = long.get(draws.below(long.len())) {
        let word = &mut words[*word];
        match word.strip_suffix('s').filter(|singular| !singular.ends_with('s')) {
            Some(singular) => *word = singular.to_owned(),
            None if !word.ends_with('s') => word.push('s'),
            None => word.push_str("es"),
        }
    }
    words.join(" ")
}

/// All but one or two of the words of a name.
fn most_words(draws: &mut Draws, title: &str) -> String {
    let title = title.to_lowercase();
    let mut words: Vec<&str> = title.split_whitespace().collect();
    for _ in 0..1 + draws.below(2) {
        if words.len() > 3 {
            words.remove(draws.below(words.len()));
        }
    }
    words.join(" ")
}

fn quality(catalog: &[Product]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut writer, slots) = built(dir.path(), catalog.iter().cloned())?;
    let snapshot = writer.snapshot(&|id| slots.get(id).copied())?;
    let mut titles: HashMap<&str, usize> = HashMap::new();
    catalog.iter().for_each(|product| *titles.entry(&product.title).or_default() += 1);
    let unique: Vec<u32> = (0..catalog.len() as u32).filter(|slot| titles[catalog[*slot as usize].title.as_str()] == 1).collect();
    let mut draws = Draws(SEED);
    let drawn: Vec<(u32, String)> = (0..QUERIES)
        .map(|_| {
            let slot = unique[draws.below(unique.len())];
            (slot, most_words(&mut draws, &catalog[slot as usize].title))
        })
        .collect();
    type Spoil = fn(&mut Draws, &str) -> String;
    let spoils: [(&str, Spoil); 6] = [
        ("words dropped", |_, text| text.to_owned()),
        ("and a typo", misspelt),
        ("and two typos", |draws, text| {
            let once = misspelt(draws, text);
            misspelt(draws, &once)
        }),
        ("and regrouped", regrouped),
        ("and inflected", inflected),
        ("and the last word begun", beginning),
    ];
    for (name, spoil) in spoils {
        let mut draws = Draws(SEED + 1);
        let queries: Vec<(u32, String)> = drawn.iter().map(|(slot, text)| (*slot, spoil(&mut draws, text))).collect();
        known_items(name, &snapshot, &queries)?;
    }
    kinds(catalog)
}

fn known_items(name: &str, snapshot: &Snapshot, queries: &[(u32, String)]) -> Result<()> {
    let (mut reciprocal, mut recalled, mut empty) = (0.0, 0, 0);
    for (slot, text) in queries {
        let found = snapshot.search(&Request { text, limit: 10, ..Request::default() })?;
        empty += usize::from(found.hits.is_empty());
        if let Some(rank) = found.hits.iter().position(|(hit, _)| hit == slot) {
            reciprocal += 1.0 / (rank + 1) as f64;
            recalled += 1;
        }
    }
    let all = queries.len() as f64;
    println!("known items, {name:<24} MRR@10 {:.4}  recall@10 {:.4}  nothing found {empty}", reciprocal / all, f64::from(recalled) / all);
    Ok(())
}

/// Titles alone are indexed and kinds of products asked for: how many of the first ten are of the kind.
fn kinds(catalog: &[Product]) -> Result<()> {
    let kind = |product: &Product| product.categories[0].0[2].clone();
    let mut counts: HashMap<String, usize> = HashMap::new();
    catalog.iter().for_each(|product| *counts.entry(kind(product)).or_default() += 1);
    let mut kinds: Vec<&String> = counts.iter().filter(|(_, count)| **count >= 20).map(|(name, _)| name).collect();
    kinds.sort();
    let dir = tempfile::tempdir()?;
    let titles = catalog.iter().map(|product| Product::new(product.id.clone(), product.title.clone()));
    let (mut writer, slots) = built(dir.path(), titles)?;
    let snapshot = writer.snapshot(&|id| slots.get(id).copied())?;
    let mut sum = 0.0;
    for name in &kinds {
        let found = snapshot.search(&Request { text: name, limit: 10, ..Request::default() })?;
        let right = found.hits.iter().filter(|(slot, _)| kind(&catalog[*slot as usize]) == **name).count();
        sum += right as f64 / 10.0;
    }
    println!("kinds of products by title: precision@10 {:.4} over {} kinds", sum / kinds.len() as f64, kinds.len());
    Ok(())
}
