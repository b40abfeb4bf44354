//! Real feeds: how many records, products and variants each holds, and what some of them look like in the common format.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use domain::{Availability, Product};
use protocol::ingest::{FeedMode, Reject};

use crate::logic::feed::{End, Feed};
use crate::logic::read::bytes::Meter;
use crate::logic::record::Settings;

/// The folder of shared data, if it is there.
fn shared() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("..").join("..").join("shared");
    let folder = std::env::var_os("GOTHAM_SHARED").map_or_else(beside, PathBuf::from).join("data");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no shared data");
    None
}

struct Read {
    format: &'static str,
    records: u64,
    products: Vec<Product>,
    findings: Vec<Reject>,
    end: End,
}

impl Read {
    fn variants(&self) -> usize {
        self.products.iter().map(Product::variant_count).sum()
    }

    fn rejected(&self) -> usize {
        self.findings.iter().filter(|finding| !finding.is_warning).count()
    }

    fn codes(&self) -> BTreeMap<&str, usize> {
        let mut codes = BTreeMap::new();
        self.findings.iter().for_each(|finding| *codes.entry(finding.code.as_str()).or_default() += 1);
        codes
    }

    fn product(&self, id: &str) -> &Product {
        self.products.iter().find(|product| product.id.as_str() == id).expect("the product is there")
    }
}

fn read(path: &Path, currency: &str) -> Read {
    let settings = Settings { default_currency: currency.parse().ok(), ..Settings::default() };
    let root = path.parent().and_then(|folder| folder.canonicalize().ok()).expect("the folder is there");
    let settings = settings.with_image_root(root, |path| path.canonicalize().ok());
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    let mut feed = Feed::open(File::open(path).expect("opens"), name, None, FeedMode::Full, settings, Meter::default()).expect("a feed");
    let mut read = Read { format: feed.format().name(), records: 0, products: Vec::new(), findings: Vec::new(), end: End::Whole };
    loop {
        let batch = feed.next_batch(256);
        assert!(batch.products.len() <= 256);
        read.records += batch.records;
        read.products.extend(batch.products.into_iter().map(|mapped| mapped.product));
        read.findings.extend(batch.findings);
        if let Some(end) = batch.end {
            read.end = end;
            return read;
        }
    }
}

fn values<'a>(product: &'a Product, attribute: &str) -> Vec<&'a str> {
    product.attributes.get(attribute).map(|values| values.iter().map(|value| value.value.as_str()).collect()).unwrap_or_default()
}

#[test]
fn every_feed_holds_what_its_origin_says() {
    let Some(data) = shared() else { return };
    // File, currency, format; records, products, variants, rejects.
    let cases = [
        ("feeds/google-rss-jewellery-fr.xml", "", "google_xml", (90, 90, 90, 0)),
        ("feeds/google-rss-hardware-cz.xml", "", "google_xml", (1255, 1254, 1254, 0)),
        ("feeds/shopify-apparel.csv", "USD", "shopify_csv", (22, 20, 22, 0)),
        ("feeds/shopify-jewelery.csv", "USD", "shopify_csv", (41, 20, 23, 0)),
        ("feeds/shopify-export-swimwear.csv", "EUR", "shopify_csv", (194, 48, 130, 0)),
        ("feeds/awin-swimwear.csv", "", "google_csv", (48, 48, 48, 0)),
        ("feeds/google-retail-api-ja.jsonl", "", "google_retail", (1276, 1275, 1275, 1)),
        ("vendure-demo-store/products.csv", "USD", "vendure_csv", (88, 54, 88, 0)),
        ("catalog/products.csv", "", "fashion_csv", (3000, 3000, 3000, 0)),
        ("catalog/catalog_text_only.csv", "", "fashion_csv", (43_246, 43_246, 43_246, 0)),
    ];
    for (file, currency, format, expected) in cases {
        let read = read(&data.join(file), currency);
        let found = (read.records, read.products.len(), read.variants(), read.rejected());
        assert_eq!((read.format, found, &read.end), (format, expected, &End::Whole), "{file}: {:?}", read.codes());
        for product in &read.products {
            for (name, values) in &product.attributes {
                assert!(values.iter().all(|value| !value.provenance.field.is_empty() && !value.value.is_empty()), "{file} {name}");
            }
        }
    }
}

#[test]
fn formats_that_come_later_are_named() {
    let Some(data) = shared() else { return };
    for (file, named) in [
        ("woocommerce-sample", "woocommerce"),
        ("magento2-configurable", "magento2"),
        ("prestashop-sample", "prestashop"),
        ("myntra-catalog", "myntra"),
    ] {
        let path = data.join("feeds").join(format!("{file}.csv"));
        let opened = Feed::open(File::open(path).expect("opens"), file, None, FeedMode::Full, Settings::default(), Meter::default());
        let error = opened.expect_err("not read yet");
        assert!(error.code == "unsupported_format" && error.detail.contains(named), "{file}: {error:?}");
    }
}

#[test]
fn google_merchant_in_the_common_format() {
    let Some(data) = shared() else { return };
    let jewellery = read(&data.join("feeds/google-rss-jewellery-fr.xml"), "");
    let ring = jewellery.product("bijou-1");
    assert_eq!((ring.title.as_str(), ring.brand.as_deref()), ("Bague anti stress Ambre", Some("Solea Breizh Bijoux")));
    assert!(ring.description.contains("résistent à l'eau") && ring.description.lines().count() == 3, "{}", ring.description);
    assert_eq!(ring.offer.price.map(|money| money.to_string()).as_deref(), Some("14.00 EUR"));
    assert_eq!((values(ring, "color"), values(ring, "gender")), (vec!["Doré"], vec!["female"]));
    assert_eq!(ring.attributes["color"][0].provenance.field, "g:color");
    assert!(jewellery.products.iter().all(|product| !product.description.contains("&#") && !product.description.contains("&amp;")));

    let hardware = read(&data.join("feeds/google-rss-hardware-cz.xml"), "");
    let charger = hardware.product("2ed1c8b3-157c-4aec-b2e4-2c16d17df109");
    assert_eq!(charger.offer.price.map(|money| money.to_string()).as_deref(), Some("599.00 CZK"));
    assert_eq!(charger.categories[0].to_string(), "Elektronika > Počítače > Příslušenství > Nabíječky");
    assert_eq!((charger.images.len(), charger.gtin.as_deref()), (6, Some("5902687180165")));
    assert_eq!(values(charger, "google_product_category"), ["276"]);
    let sold_out = hardware.products.iter().filter(|product| product.offer.availability == Availability::OutOfStock).count();
    assert_eq!((sold_out, hardware.codes().get("duplicate_id")), (9, Some(&1)));
}

#[test]
fn shop_exports_in_the_common_format() {
    let Some(data) = shared() else { return };
    let swimwear = read(&data.join("feeds/shopify-export-swimwear.csv"), "EUR");
    let top = swimwear.product("sophie-top-black");
    assert_eq!((top.variants.len(), top.brand.as_deref()), (3, Some("BILALI The Label")));
    assert!(top.description.starts_with("Sporty top.\nAdjustable thin"), "{}", top.description);
    assert_eq!(top.categories[0].to_string(), "Apparel & Accessories > Clothing > Swimwear");
    assert_eq!((values(top, "color"), values(top, "size")), (vec!["BLACK"], vec!["l", "m", "s", "S", "M", "L"]));
    assert_eq!((values(top, "age_group"), values(top, "tags")), (vec!["erwachsene"], vec!["basic", "swimwear", "tops"]));
    // The shop gave one SKU to several sizes, so their options tell them apart.
    let ids: Vec<&str> = top.variants.iter().map(|variant| variant.id.as_str()).collect();
    assert_eq!(ids, ["black-s", "black-m", "black-l"]);
    assert_eq!(top.offer.price.map(|money| money.to_string()).as_deref(), Some("89.00 EUR"));

    let jewelery = read(&data.join("feeds/shopify-jewelery.csv"), "USD");
    let bracelet = jewelery.product("chain-bracelet");
    let ids: Vec<(&str, usize)> = bracelet.variants.iter().map(|variant| (variant.id.as_str(), variant.images.len())).collect();
    assert_eq!(ids, [("blue", 1), ("black", 1)]);
    assert_eq!(bracelet.images.len(), 2);
    assert_eq!(
        (bracelet.offer.price.map(|m| m.amount()), bracelet.offer.sale_price.map(|m| m.amount())),
        (Some("44.99".into()), Some("42.99".into()))
    );

    let awin = read(&data.join("feeds/awin-swimwear.csv"), "");
    let same = awin.product("sophie-top-black");
    assert_eq!((same.offer.price, &same.description), (top.offer.price, &top.description));
}

#[test]
fn vendure_and_fashion_in_the_common_format() {
    let Some(data) = shared() else { return };
    let store = data.join("vendure-demo-store");
    let vendure = read(&store.join("products.csv"), "USD");
    let laptop = vendure.product("laptop");
    assert_eq!((laptop.variants.len(), laptop.brand.as_deref(), laptop.title.as_str()), (4, Some("Apple"), "Laptop"));
    assert_eq!(laptop.categories[0].to_string(), "Electronics > Computers");
    assert_eq!(laptop.variants[0].options, BTreeMap::from([("ram".into(), "8GB".into()), ("screen_size".into(), "13 inch".into())]));
    assert_eq!((laptop.variants[0].id.as_str(), laptop.offer.quantity), ("L2201308", Some(400)));
    assert_eq!(laptop.offer.price.map(|money| money.to_string()).as_deref(), Some("1299.00 USD"));
    assert_eq!(vendure.products.iter().map(|product| product.images.len()).sum::<usize>(), 54);
    let mouse = vendure.product("cordless-mouse");
    assert_eq!((mouse.variants.len(), mouse.sku.as_deref(), mouse.offer.availability), (0, Some("834444"), Availability::InStock));

    let fashion = read(&data.join("catalog/catalog_text_only.csv"), "");
    let clutch = fashion.product("42878");
    assert_eq!(
        (clutch.title.as_str(), clutch.categories[0].to_string().as_str()),
        ("Women Maroon Clutches", "Accessories > Bags > Clutches")
    );
    assert_eq!((values(clutch, "color"), clutch.attributes["color"][0].provenance.field.as_str()), (vec!["Maroon"], "baseColour"));
    assert!(values(fashion.product("30991"), "usage").is_empty());
    // Usage 316, colour 15, name 7 times (a name's warning stands for its value's).
    assert_eq!(fashion.codes(), BTreeMap::from([("missing_title", 7), ("not_applicable", 331)]));
    let photos = read(&data.join("catalog/products.csv"), "");
    assert!(photos.products.iter().all(|product| product.images.len() == 1 && product.images[0].0.starts_with("file:///")));
}

/// Not a test of speed, which depends on the machine: prints it, for `--nocapture` in a release build.
#[test]
fn rows_a_second_are_printed() {
    let Some(data) = shared() else { return };
    for (file, rows) in [("catalog/catalog_text_only.csv", 43_246), ("feeds/google-rss-hardware-cz.xml", 1255)] {
        let started = std::time::Instant::now();
        let settings = Settings::default();
        let mut feed = Feed::open(File::open(data.join(file)).expect("opens"), file, None, FeedMode::Full, settings, Meter::default())
            .expect("a feed");
        let mut records = 0;
        loop {
            let batch = feed.next_batch(256);
            records += batch.records;
            if batch.end.is_some() {
                break;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        assert_eq!(records, rows);
        eprintln!("{file}: {records} records in {seconds:.3} s, {:.0} a second", records as f64 / seconds);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| eprintln!("{line}"));
}
