//! Figures of this machine: `cargo run --release -p columns --example figures [PRODUCTS ...]`. Prints what filters, facets, orders,
//! formulas and changes take on synthetic products, and the memory of the shared catalog where it is there. The least of several
//! runs is given: on a busy machine it is the one to trust.

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use columns::{Columns, Formula, Limits, OfferValues, Snapshot, count, slots};
use domain::{AttributeValue, CategoryPath, FacetRequest, Filter, Money, Product, Provenance, SortKey, Source, Variant};

type Fallible<T = ()> = Result<T, Box<dyn Error>>;

const FILTERS: [&str; 10] = [
    "color = \"Red\"",
    "brand IN [\"Brand 1\", \"Brand 2\", \"Brand 3\"]",
    "category UNDER \"Department 1 > Kind 2\"",
    "price 20 TO 50",
    "availability = in_stock",
    "weight 100 TO 200",
    "released >= 2024-01-01",
    "NOT color = red AND EXISTS size",
    "category UNDER \"Department 1\" AND color IN [red, blue] AND price 20 TO 50 AND availability = in_stock",
    "(brand = \"Brand 7\" OR color = green) AND NOT size = XL AND price < 80",
];
const FACETS: [&str; 8] = ["brand", "category", "color", "size", "gender", "material", "availability", "price"];

fn main() -> Fallible {
    let sizes: Vec<usize> = std::env::args().skip(1).map(|size| size.parse()).collect::<Result<_, _>>()?;
    for products in if sizes.is_empty() { vec![100_000, 1_000_000] } else { sizes } {
        synthetic(products)?;
    }
    catalog()
}

/// The least time of several runs.
fn least<T>(runs: usize, mut work: impl FnMut() -> T) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..runs {
        let started = Instant::now();
        black_box(work());
        best = best.min(started.elapsed());
    }
    best
}

struct Random(u64);

impl Random {
    /// Below `bound`, small numbers more often (the lesser of two).
    fn skewed(&mut self, bound: u64) -> u64 {
        self.below(bound).min(self.below(bound))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}

fn attribute(product: &mut Product, name: &str, value: String) {
    let value = AttributeValue { value, provenance: Provenance { source: Source::Feed, field: name.into() } };
    product.attributes.entry(name.to_owned()).or_default().push(value);
}

fn product(number: usize, random: &mut Random) -> Fallible<Product> {
    const COLORS: [&str; 12] =
        ["Red", "Blue", "Black", "White", "Navy Blue", "Green", "Grey", "Brown", "Beige", "Pink", "Orange", "Purple"];
    const SIZES: [&str; 6] = ["S", "M", "L", "XL", "XS", "XXL"];
    let words = ["Slim", "Classic", "Summer", "Knitted", "Leather", "Organic", "Running", "Wool", "Soft", "Light"];
    let mut word = || words[random.below(10) as usize];
    let title = format!("{} {} article {number}", word(), word().to_lowercase());
    let mut product = Product::new(format!("sku-{number:07}").parse()?, title);
    product.brand = Some(format!("Brand {}", random.skewed(500)));
    product.sku = Some(format!("S{:09}", number * 7_919 % 1_000_000_007));
    product.group_id = Some(format!("group {}", number / 3));
    let steps = [format!("Department {}", random.below(6)), format!("Kind {}", random.below(12)), format!("Sort {}", random.below(20))];
    product.categories = vec![CategoryPath(steps.to_vec())];
    attribute(&mut product, "color", COLORS[random.skewed(12) as usize].to_owned());
    attribute(&mut product, "gender", ["women", "men", "kids"][random.below(3) as usize].to_owned());
    attribute(&mut product, "material", format!("material {}", random.skewed(40)));
    attribute(&mut product, "season", ["spring", "summer", "fall", "winter"][random.below(4) as usize].to_owned());
    attribute(&mut product, "weight", format!("{} g", 50 + random.below(2_000)));
    attribute(&mut product, "rating", format!("{:.1}", 1.0 + random.below(41) as f64 / 10.0));
    attribute(&mut product, "released", format!("20{:02}-{:02}-{:02}", 15 + random.below(10), 1 + random.below(12), 1 + random.below(28)));
    product.offer.price = Some(Money { amount_e4: (500 + random.skewed(20_000) as i64) * 100, currency: "EUR".parse()? });
    product.offer.quantity = Some(random.below(50) as u32);
    let first = random.below(3);
    let variants = (first..first + 1 + random.below(3)).map(|size| Variant {
        id: size.to_string(),
        sku: None,
        gtin: None,
        title: None,
        options: [("size".to_owned(), SIZES[size as usize].to_owned())].into(),
        images: Vec::new(),
        offer: product.offer.clone(),
    });
    product.variants = variants.collect();
    Ok(product)
}

fn synthetic(products: usize) -> Fallible {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut columns = Columns::new(Limits::default());
    let mut taken = Duration::ZERO;
    let mut some = Vec::new();
    for number in 0..products {
        let product = product(number, &mut random)?;
        let started = Instant::now();
        columns.set(&product, 0)?;
        taken += started.elapsed();
        if number % (products / 1_000).max(1) == 0 {
            some.push(product);
        }
    }
    let snapshot = columns.snapshot();
    let bytes = snapshot.bytes();
    println!("## {products} products: {:.0} products/s taken in", products as f64 / taken.as_secs_f64());
    println!("memory {:.1} MiB, {:.1} MiB for 100,000 products", mib(bytes), mib(bytes) * 1e5 / products as f64);
    println!("| filter | found | us |\n| --- | --- | --- |");
    for text in FILTERS {
        let filter = Filter::parse(text)?;
        let found = count(&snapshot.evaluate(&filter)?);
        let took = least(50, || snapshot.evaluate(&filter));
        println!("| `{text}` | {found} | {:.0} |", us(took));
    }
    facets(&snapshot)?;
    orders(&snapshot)?;
    changes(&mut columns, &some)
}

fn facets(snapshot: &Snapshot) -> Fallible {
    let all = snapshot.alive();
    let requests: Vec<FacetRequest> =
        FACETS.iter().map(|name| FacetRequest { attribute: (*name).into(), limit: 20, ..FacetRequest::default() }).collect();
    let took = least(20, || snapshot.facets(&requests, &all, None));
    println!("facets of 8 attributes over all: {:.0} us", us(took));
    for request in &requests {
        let took = least(20, || snapshot.facets(std::slice::from_ref(request), &all, None));
        println!("  {}: {:.0} us", request.attribute, us(took));
    }
    let filter = Filter::parse("category UNDER \"Department 1\" AND color IN [red, blue] AND price 20 TO 50")?;
    let took = least(20, || snapshot.facets(&requests, &all, Some(&filter)));
    println!("facets of 8 attributes under a filter on three of them: {:.0} us", us(took));
    let grouped: Vec<FacetRequest> =
        requests.into_iter().map(|request| FacetRequest { group_by: Some("group_id".into()), ..request }).collect();
    let took = least(3, || snapshot.facets(&grouped, &all, None));
    println!("the first, each group once: {:.0} us", us(took));
    Ok(())
}

fn orders(snapshot: &Snapshot) -> Fallible {
    let all = snapshot.alive();
    for (name, is_descending) in [("price", false), ("weight", true), ("title", false), ("color", false)] {
        let keys = [SortKey { attribute: name.into(), is_descending }];
        let took = least(10, || snapshot.top(&keys, slots(&all).map(|slot| (slot, 0.0)), 24));
        println!("first 24 of all by {name}: {:.0} us", us(took));
    }
    let formula = Formula::parse(
        "score * (1 + 0.2 * ln(1 + rating ?? 0)) * if(\"availability = in_stock\", 1, 0.2) * decay(age_days(released) ?? 90, 0, 365)",
    )?;
    let bound = formula.bind(snapshot, 1_750_000_000_000)?;
    let took = least(10, || slots(&all).filter_map(|slot| bound.value(slot, 0.5)).sum::<f64>());
    println!("a formula of two attributes and a filter: {:.0} ns a product", us(took) * 1e3 / snapshot.slots().len() as f64);
    Ok(())
}

fn changes(columns: &mut Columns, products: &[Product]) -> Fallible {
    let mut held: Vec<Arc<Snapshot>> = Vec::new();
    let (mut set, mut taken) = (Vec::new(), Vec::new());
    for (number, product) in products.iter().enumerate() {
        let mut changed = product.clone();
        changed.title = format!("Another product {number}");
        changed.attributes.remove("color");
        attribute(&mut changed, "color", "Violet".to_owned());
        held.push(columns.snapshot());
        held.drain(..held.len().saturating_sub(2));
        let started = Instant::now();
        columns.set(&changed, 0)?;
        set.push(started.elapsed());
        let started = Instant::now();
        let snapshot = columns.snapshot();
        taken.push(started.elapsed());
        held.push(snapshot);
    }
    set.sort_unstable();
    taken.sort_unstable();
    let p = |times: &[Duration], percent: usize| us(times[times.len() * percent / 100]);
    println!(
        "one product changed while a snapshot is held: p50 {:.0} us, p99 {:.0} us; the snapshot after it p50 {:.1} us, p99 {:.1} us",
        p(&set, 50),
        p(&set, 99),
        p(&taken, 50),
        p(&taken, 99)
    );
    let values = OfferValues { quantity: Some(3), ..OfferValues::default() };
    let bound = columns.current().slots().bound();
    let took = least(10, || (0..bound).filter(|slot| columns.set_offer(*slot, &values)).count());
    println!("an offer changed: {:.0} ns", us(took) * 1e3 / f64::from(bound));
    Ok(())
}

/// The fashion catalog of the shared data: 43,000 names with nine attributes.
fn catalog() -> Fallible {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../../shared");
    let folder = std::env::var_os("GOTHAM_SHARED").map_or_else(beside, PathBuf::from);
    let Ok(text) = std::fs::read_to_string(folder.join("data/catalog/catalog_text_only.csv")) else {
        println!("SKIPPED: no shared catalog");
        return Ok(());
    };
    let mut columns = Columns::new(Limits::default());
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.splitn(10, ',').collect();
        let [id, gender, master, sub, article, color, season, year, usage, name] = cells.as_slice() else { continue };
        let mut product = Product::new(id.parse()?, name.trim_matches('"'));
        product.categories = vec![CategoryPath([*master, *sub, *article].map(str::to_owned).to_vec())];
        for (name, value) in [("gender", gender), ("color", color), ("season", season), ("year", year), ("usage", usage)] {
            attribute(&mut product, name, (*value).to_owned());
        }
        columns.set(&product, 0)?;
    }
    let snapshot = columns.snapshot();
    let (products, bytes) = (snapshot.slots().len(), snapshot.bytes());
    println!(
        "## the fashion catalog: {products} products, {:.1} MiB, {:.1} MiB for 100,000",
        mib(bytes),
        mib(bytes) * 1e5 / products as f64
    );
    let near = snapshot.colours_near("color", 0x1f_2a5a, 0.15, 8)?;
    println!(
        "colours near #1f2a5a: {}",
        near.iter().map(|near| format!("{} {:.3}", near.value, near.distance)).collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}
