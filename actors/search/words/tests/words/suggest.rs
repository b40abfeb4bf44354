//! Completions and "did you mean".

use words::{QueryLog, SuggestionKind};

use crate::shop::{Shop, product, with_category};

fn shop() -> Shop {
    let mut shop = Shop::new();
    let titles = ["Nike Men Running Shoes", "Nike Women Running Shoes", "Adidas Running Shorts", "Příklepová vrtačka", "Red runway dress"];
    for (number, title) in titles.iter().enumerate() {
        let mut product = with_category(product(&format!("p{number}"), title), &["Sport & Outdoor", "Running Gear"]);
        product.brand = Some(["Nike", "Nike", "Adidas", "Narex", "Nikon"][number].into());
        shop.put(&product);
    }
    shop.commit();
    shop
}

fn texts(shop: &mut Shop, log: &QueryLog, text: &str) -> Vec<String> {
    let found = shop.snapshot().suggest(log, text, 10, 0).expect("suggested");
    found.into_iter().map(|suggestion| suggestion.text).collect()
}

#[test]
fn beginnings_by_table() {
    let mut shop = shop();
    let log = QueryLog::new(1);
    let cases: [(&str, &[&str], &[&str]); 13] = [
        ("run", &["running", "running shoes", "Running Gear", "running shorts", "runway"], &["nike"]),
        ("Running S", &["running shoes", "running shorts"], &["runway"]),
        ("running ", &["running shoes", "running shorts"], &["running"]),
        ("nik", &["Nike", "Nikon", "nike men"], &["Narex"]),
        ("nike men run", &["nike men running"], &["nike men running shoes"]),
        ("men running sh", &["men running shoes"], &[]),
        ("shoes nik", &["shoes nike"], &[]),
        ("sport", &["Sport & Outdoor"], &[]),
        ("prikl", &["příklepová", "příklepová vrtačka"], &[]),
        ("Příklepová vrt", &["příklepová vrtačka"], &[]),
        ("runnnig", &["running", "running shoes"], &[]),
        ("xyzzy", &[], &["nike"]),
        ("", &[], &["nike"]),
    ];
    for (text, expected, unwanted) in cases {
        let found = texts(&mut shop, &log, text);
        assert!(expected.iter().all(|text| found.iter().any(|found| found == text)), "{text:?}: {found:?}");
        assert!(!unwanted.iter().any(|text| found.iter().any(|found| found == text)), "{text:?}: {found:?}");
    }
}

#[test]
fn kinds_and_counts_are_told() {
    let mut shop = shop();
    let mut log = QueryLog::new(2);
    (0..5).for_each(|_| log.record("Running Belt", 0));
    log.record("running alone", 0);
    let found = shop.snapshot().suggest(&log, "runn", 10, 0).expect("suggested");
    let named = |text: &str| found.iter().find(|found| found.text == text).map(|found| (found.kind, found.count));
    assert_eq!(named("running belt"), Some((SuggestionKind::Query, 5)));
    assert_eq!(named("running alone"), None, "asked once only");
    assert_eq!(named("Running Gear"), Some((SuggestionKind::Category, 5)));
    assert_eq!(named("running shoes"), Some((SuggestionKind::Words, 2)));
    assert_eq!(found[0].text, "running belt");
    assert_eq!(shop.snapshot().suggest(&log, "runn", 2, 0).expect("suggested").len(), 2);
    let popular = shop.snapshot().suggest(&log, "", 10, 0).expect("suggested");
    assert_eq!(popular.len(), 1, "before a letter is typed what is asked most");
}

#[test]
fn did_you_mean_by_table() {
    let mut titles = vec!["Adidas running shoes"; 30];
    titles.extend(["Adidos bag", "Příklepová vrtačka"]);
    let mut shop = Shop::of(&titles);
    let snapshot = shop.snapshot();
    for (text, expected) in [
        ("addidas", Some("adidas")),
        ("addidas runing shoes", Some("adidas running shoes")),
        ("runningshoes", Some("running shoes")),
        ("adidos", Some("adidas")),
        ("priklepova vrtacak", Some("příklepová vrtačka")),
        ("adidas", None),
        ("adidas shoes", None),
        ("xyzzyxyzzy", None),
        ("", None),
    ] {
        assert_eq!(snapshot.did_you_mean(text, None).expect("answered").as_deref(), expected, "{text:?}");
    }
}

#[test]
fn any_text_is_completed() {
    let mut shop = shop();
    let snapshot = shop.snapshot();
    let mut log = QueryLog::new(1);
    let long = "nike ".repeat(10_000);
    for text in [" ", "-", "\"", "\u{0}", "💥", "'''", "a b c d e f g h i j k", "靴", "nike  ", " nike -", &long] {
        snapshot.suggest(&log, text, usize::MAX, 0).expect("suggested");
        snapshot.did_you_mean(text, None).expect("answered");
        log.record(text, 0);
    }
}
