//! Search: fields, identifiers, spelling, synonyms, relaxing, filters, hostile text.

use std::sync::Arc;

use domain::{Offer, Variant};
use proptest::prelude::*;
use words::{Request, Synonyms};

use crate::shop::{Shop, product, with_attribute, with_category};

fn shop() -> Shop {
    let mut shop = Shop::new();
    for (id, title) in [
        ("de", "Herrenhemd aus Öko-Baumwolle, weiß"),
        ("cz", "Příklepová vrtačka Makita 18V"),
        ("fr", "Collier en argent plaqué œil-de-tigre"),
        ("ru", "Ёлочная игрушка стеклянная"),
        ("ja", "メンズ 靴下 3足セット"),
        ("ja2", "子供用の靴"),
        ("en", "Nike Men Town T-Shirt"),
        ("en2", "Instant Camera"),
        ("en3", "Camera Bag for Men"),
    ] {
        shop.put(&product(id, title));
    }
    let mut drill = with_attribute(with_category(product("drill-1", "Cordless drill"), &["Garten", "Werkzeug"]), "color", "Dunkelgrün");
    drill.brand = Some("Čapek & Söhne".into());
    drill.sku = Some("BC-FU-LI3560".into());
    drill.gtin = Some("0012345678905".into());
    drill.mpn = Some("MX/77-12345".into());
    drill.description = "Comes with a sturdy suitcase.".into();
    let options = [("size".to_owned(), "XXL".to_owned())].into();
    drill.variants = vec![Variant {
        id: "v9".into(),
        sku: Some("SKU/9".into()),
        gtin: None,
        title: None,
        options,
        images: vec![],
        offer: Offer::default(),
    }];
    shop.put(&drill);
    shop.commit();
    shop
}

#[test]
fn queries_by_table() {
    let mut shop = shop();
    let cases: [(&str, &[&str]); 41] = [
        ("camera", &["en2", "en3"]),
        ("CAMERA bag", &["en3"]),
        ("cam", &["en2", "en3"]),
        ("tshirt", &["en"]),
        ("t-shirt", &["en"]),
        ("t shirt", &["en"]),
        ("tshirts", &["en"]),
        ("herrenhemd", &["de"]),
        ("ÖKO baumwolle", &["de"]),
        ("ökobaumwolle", &["de"]),
        ("weiss", &["de"]),
        ("vrtačka", &["cz"]),
        ("vrtacka makita", &["cz"]),
        ("PŘÍKLEPOVÁ", &["cz"]),
        ("plaque", &["fr"]),
        ("oeil de tigre", &["fr"]),
        ("œil-de-tigre", &["fr"]),
        ("елочная", &["ru"]),
        ("Ёлочная игрушка", &["ru"]),
        ("靴下", &["ja"]),
        ("メンズ靴下", &["ja"]),
        ("靴", &["ja2", "ja"]),
        ("子供", &["ja2"]),
        ("sohne", &["drill-1"]),
        ("werkzeug", &["drill-1"]),
        ("dunkelgrun xxl", &["drill-1"]),
        ("bc-fu-li3560", &["drill-1"]),
        ("BCFULI3560", &["drill-1"]),
        ("bc fu li3560", &["drill-1"]),
        ("BCFULI35", &["drill-1"]),
        ("12345678905", &["drill-1"]),
        ("0012345678905", &["drill-1"]),
        ("mx77", &["drill-1"]),
        ("MX 77 12345", &["drill-1"]),
        ("sku 9", &["drill-1"]),
        ("drill-1", &["drill-1"]),
        ("suitcase", &["drill-1"]),
        ("18 v", &["cz"]),
        ("18v makita", &["cz"]),
        ("makita 18 V", &["cz"]),
        ("nothing of the kind", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(shop.ids(text), expected, "{text:?}");
    }
}

#[test]
fn numbers_and_units_by_table() {
    let mut shop = Shop::of(&["Drill bit 3 mm", "Drill bit 3.5 mm", "Drill bit 1/2 inch", "Akku 18 V", "Akku 18V 2,0Ah", "Bit 35 mm"]);
    let cases: [(&str, &[&str]); 9] = [
        ("bit 3 mm", &["p000"]),
        ("3mm", &["p000"]),
        ("3.5 mm", &["p001"]),
        ("3,5mm", &["p001"]),
        ("1/2", &["p002"]),
        ("½ inch", &["p002"]),
        ("18v", &["p003", "p004"]),
        ("18 v akku", &["p003", "p004"]),
        ("35 mm", &["p005"]),
    ];
    for (text, expected) in cases {
        assert_eq!(shop.set(text), expected, "{text:?}");
    }
}

#[test]
fn an_identifier_goes_before_every_word() {
    let mut shop = Shop::new();
    let mut named = product("z", "Plain thing");
    named.sku = Some("makita".into());
    shop.put(&named);
    for number in 0..5 {
        shop.put(&product(&format!("a{number}"), "Makita Makita"));
    }
    shop.commit();
    assert_eq!(shop.ids("makita"), ["z", "a0", "a1", "a2", "a3", "a4"], "and equal ones are ordered by id");
    let (ids, found) = shop.find(&Request { text: "makita", limit: 3, ..Request::default() });
    assert_eq!((ids, found.total), (vec!["z".to_owned(), "a0".into(), "a1".into()], 6));
    assert!(found.interpretation.is_code);
}

#[test]
fn titles_count_more_than_brands_and_those_more_than_categories_attributes_and_descriptions() {
    let mut shop = Shop::new();
    let mut described = product("e", "Plain thing one");
    described.description = "Made of walnut".into();
    shop.put(&described);
    shop.put(&with_attribute(product("d", "Plain thing two"), "material", "Walnut"));
    shop.put(&with_category(product("c", "Plain thing three"), &["Walnut"]));
    let mut branded = product("b", "Plain thing four");
    branded.brand = Some("Walnut".into());
    shop.put(&branded);
    shop.put(&product("a", "Plain walnut thing"));
    shop.commit();
    assert_eq!(shop.ids("walnut"), ["a", "b", "c", "d", "e"]);
}

#[test]
fn what_a_thing_is_goes_before_what_it_is_for() {
    let mut shop = Shop::of(&["Camera strap leather", "Leather strap for camera", "Blue dress shirt", "Blue summer dress"]);
    assert_eq!(shop.ids("dress")[0], "p003");
    assert_eq!(shop.ids("shirt dress")[0], "p002", "all words there is");
}

#[test]
fn spelling_by_table() {
    let mut shop = Shop::of(&[
        "Adidas running shoes black",
        "Puma sandals",
        "Nike cap",
        "Leather handbag brown",
        "Wireless headphones",
        "Adidas t-shirt white",
        "Samsonite suitcase",
    ]);
    let cases: [(&str, &[&str]); 17] = [
        ("addidas", &["p000", "p005"]),
        ("adidsa shoes", &["p000"]),
        ("runing shoes", &["p000"]),
        ("runningshoes", &["p000"]),
        ("running shoos", &["p000"]),
        ("sandls", &["p001"]),
        ("hedphones", &["p004"]),
        ("headphnoes", &["p004"]),
        ("wirelss hedphones", &["p004"]),
        ("hand bag", &["p003"]),
        ("head phones", &["p004"]),
        ("samsonit suitcas", &["p006"]),
        ("samsonit suitc", &["p006"]),
        ("sams0nite", &[]),
        ("cup", &[]),
        ("nkie", &["p002"]),
        ("leatherhandbag", &["p003"]),
    ];
    for (text, expected) in cases {
        assert_eq!(shop.set(text), expected, "{text:?}");
    }
    let (_, found) = shop.find(&Request { text: "addidas shoes", limit: 9, ..Request::default() });
    let corrections: Vec<_> = found.interpretation.corrections.iter().map(|made| (made.from.as_str(), made.to.as_str())).collect();
    assert_eq!(corrections, [("addidas", "adidas")]);
}

#[test]
fn of_two_words_that_may_be_meant_the_one_that_the_best_hit_has_is_told() {
    // The commoner word begins behind the document that the rarer one is in.
    let mut titles = vec!["books"];
    titles.extend(["boots of leather for long walks"; 9]);
    let mut shop = Shop::of(&titles);
    let (ids, found) = shop.find(&Request { text: "boods", limit: 20, ..Request::default() });
    assert_eq!(ids[0], "p000");
    assert_eq!(found.interpretation.corrections[0].to, "books");
}

#[test]
fn what_was_asked_for_goes_before_what_may_have_been_meant() {
    let mut titles = vec!["Adidas adidas shoes"; 40];
    titles.push("Plain bag by Adidos for sports and travel with a long name");
    let mut shop = Shop::of(&titles);
    // The word is known, so it is not taken for another.
    assert_eq!(shop.ids("adidos"), ["p040"]);
    // Together with another word it finds nothing, so it is.
    let (ids, found) = shop.find(&Request { text: "adidos shoes", limit: 50, ..Request::default() });
    assert_eq!((ids.len(), found.interpretation.corrections.len()), (40, 1));
}

#[test]
fn synonyms_count_less_than_the_word_and_are_the_shops_to_edit() {
    let mut shop = Shop::of(&["Grey couch", "Grey sofa", "Grey chair", "Smart television set", "Smart TV", "Kicks for streets"]);
    assert_eq!(shop.ids("sofa"), ["p001", "p000"]);
    assert_eq!(shop.ids("grey couches"), ["p000", "p001"]);
    assert_eq!(shop.ids("tv"), ["p004", "p003"]);
    assert_eq!(shop.ids("sneakers"), Vec::<String>::new());
    let own = Synonyms::parse("[[synonyms]]\nfrom = ['sneakers', 'gym shoes']\nto = ['kicks']").expect("a list");
    shop.writer.set_synonyms(Arc::new(Synonyms::built_in().with(own)));
    assert_eq!(shop.ids("sneakers"), ["p005"]);
    assert_eq!(shop.ids("gym shoes"), ["p005"]);
    assert_eq!(shop.ids("kicks"), ["p005"], "one way only");
    assert_eq!(shop.ids("sofa"), ["p001", "p000"]);
}

#[test]
fn a_query_that_no_product_has_all_words_of_is_relaxed() {
    let mut shop = shop();
    // As many words as any product has: one.
    assert_eq!(shop.set("camera vrtačka"), ["cz", "en2", "en3"]);
    let (ids, found) = shop.find(&Request { text: "instant camera with purple xyzzy feathers", limit: 9, ..Request::default() });
    assert_eq!(ids, ["en2"]);
    assert_eq!(found.interpretation.dropped, ["purple", "xyzzy", "feathers"]);
    let mut titles = vec!["Red kids shirt"; 30];
    titles.push("Wooden xylophone");
    let mut shop = Shop::of(&titles);
    assert_eq!(shop.ids("red wooden xylophone kids"), ["p030"], "the words that say most");
}

#[test]
fn filters_bound_hits_and_totals_but_not_what_matches() {
    let mut shop = Shop::of(&["Red shoe", "Red shoe", "Red shoe", "Blue shoe", "Red hat"]);
    let allow = [0b0_1110_u64];
    let (ids, found) = shop.find(&Request { text: "red shoe", limit: 9, allow: Some(&allow), exclude: &[1], ..Request::default() });
    assert_eq!((ids, found.total), (vec!["p002".to_owned()], 1));
    assert_eq!(found.matched, [0b0_0111]);
    let (ids, found) = shop.find(&Request { text: "red shoe", limit: 0, ..Request::default() });
    assert_eq!((ids.len(), found.total), (0, 3));
    let (ids, _) = shop.find(&Request { text: "red shoe", limit: 9, allow: Some(&[0b0_1000]), ..Request::default() });
    assert_eq!(ids, ["p003"], "what passes is relaxed for");
    let (ids, found) = shop.find(&Request { text: "red shoe", limit: 9, allow: Some(&[]), ..Request::default() });
    assert_eq!((ids.len(), found.total), (0, 0));
}

#[test]
fn a_changed_or_deleted_product_is_found_as_it_is_now() {
    let mut shop = shop();
    shop.put(&product("en2", "Polaroid"));
    shop.writer.delete("ru");
    shop.commit();
    assert_eq!((shop.ids("polaroid"), shop.ids("instant")), (vec!["en2".to_owned()], vec![]));
    assert_eq!(shop.ids("игрушка"), Vec::<String>::new());
    assert_eq!(shop.snapshot().products(), 9);
}

#[test]
fn a_product_without_a_slot_is_not_found_until_it_has_one() {
    let mut shop = Shop::new();
    shop.writer.put(&product("late", "Late camera")).expect("put");
    shop.commit();
    assert_eq!(shop.ids("camera"), Vec::<String>::new());
    shop.slots.insert("late".into(), 0);
    assert_eq!(shop.ids("camera"), ["late"]);
    shop.slots.insert("late".into(), 7);
    shop.writer.forget_slots();
    assert_eq!(shop.find(&Request { text: "camera", limit: 1, ..Request::default() }).1.hits[0].0, 7);
}

#[test]
fn no_query_is_an_error_because_of_its_words() {
    let mut shop = shop();
    let long = "camera ".repeat(10_000);
    for text in [
        "",
        " ",
        "\"",
        "title:",
        "a AND OR NOT (",
        "[* TO *]",
        "*",
        "+-+-",
        "camera\u{0}",
        "\u{feff}\u{202e}",
        "💥👟",
        "'; DROP TABLE",
        "\\",
        "a~2^9",
        "\u{1}en",
        "camera\u{1}\u{2}\u{3}",
        "ـــــ",
        "１２３",
        "e\u{301}\u{301}\u{301}",
        "🏳️‍🌈",
        &long,
    ] {
        let _ = shop.ids(text);
    }
    assert_eq!(shop.ids(&long), ["en2", "en3"]);
}

#[test]
fn the_order_does_not_depend_on_the_segments() {
    let titles: Vec<String> = (0..60).map(|number| format!("Shirt {}", ["red", "blue", "green"][number % 3])).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let expected = Shop::of(&titles).ids("shirt");
    let mut shop = Shop::new();
    for (number, title) in titles.iter().enumerate().rev() {
        shop.put(&product(&format!("p{number:03}"), title));
        if number % 7 == 0 {
            shop.commit();
        }
    }
    shop.commit();
    let mut by_id = expected.clone();
    by_id.sort();
    assert_eq!(expected, by_id, "all score the same");
    assert_eq!(shop.ids("shirt"), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Many queries a case: the shop is what takes the time.
    #[test]
    fn any_text_is_searched(texts in proptest::collection::vec("\\PC{0,60}|[\\x00-\\x7f]{0,60}|([a-z]{1,12} ){0,40}|[靴下メンズのa1 -]{0,50}", 40)) {
        let mut shop = shop();
        let snapshot = shop.snapshot();
        for text in &texts {
            let found = snapshot.search(&Request { text, limit: 5, ..Request::default() });
            prop_assert!(found.is_ok_and(|found| found.hits.len() <= 5 && found.hits.iter().all(|(_, score)| score.is_finite())), "{text:?}");
        }
    }

    /// A product is found by its own title, whatever that is.
    #[test]
    fn a_title_finds_its_product(titles in proptest::collection::vec("([a-zA-Zäöüéř0-9]{1,9}[ '-]){1,6}", 1..12)) {
        let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
        let mut shop = Shop::of(&titles);
        for (number, title) in titles.iter().enumerate() {
            let ids = shop.ids(title);
            prop_assert!(ids.contains(&format!("p{number:03}")), "{title:?}: {ids:?}");
        }
    }
}
