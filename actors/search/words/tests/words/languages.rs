//! Languages: forms of a word, compounds, scripts without blanks.

use words::Request;

use crate::shop::{Shop, product};

/// Each query finds the product, in a catalog of all languages, with and without naming the language.
#[test]
fn forms_of_a_word_find_one_another_in_every_language() {
    let cases: [(&str, &str, &[&str]); 19] = [
        ("en", "Running shoe for women", &["shoes", "running shoes", "run shoe", "woman shoe", "women's shoes"]),
        ("en", "Wool scarves and knives", &["scarf", "knife", "wool scarf"]),
        ("en", "Wrist watches", &["watch", "wristwatch", "wrist watch"]),
        ("de", "Herrenhemd aus Baumwolle", &["Herrenhemden", "hemd", "Hemden", "Herren Hemd", "baumwolle"]),
        ("de", "Tisch mit vier Stühlen", &["stuhl", "Stühle", "tische"]),
        ("de", "Akkubohrschrauber im Koffer", &["bohrschrauber", "Akku Bohrschrauber", "bohrschrauber akku"]),
        ("fr", "Chaussures plates pour femmes", &["chaussure", "chaussure plate", "femme"]),
        ("fr", "Bijoux dorés", &["bijou", "doré", "dorée"]),
        ("fr", "Chapeaux de paille", &["chapeau", "chapeau de paille", "chapeaux en paille"]),
        ("cs", "Příklepová vrtačka", &["vrtačky", "vrtacku", "příklepové vrtačky", "priklepova vrtacka"]),
        ("cs", "Nabíječka pro notebooky", &["nabíječky", "nabijecek", "notebook"]),
        ("ru", "Ёлочные игрушки", &["игрушка", "елочная игрушка", "игрушек"]),
        ("ru", "Зимние ботинки", &["ботинок", "зимний ботинок"]),
        ("es", "Camisetas de algodón", &["camiseta", "algodon", "camiseta algodón"]),
        ("es", "Pantalón corto", &["pantalones", "pantalones cortos"]),
        ("ja", "メンズ 靴下 3足セット", &["靴下", "メンズ靴下", "靴"]),
        ("ja", "レディース バッグ", &["バッグ", "レディースバッグ"]),
        ("ja", "子供用の靴", &["子供", "子供の靴", "靴"]),
        ("it", "Scarpe da donna", &["scarpa", "scarpa donna"]),
    ];
    let mut shop = Shop::new();
    for (number, (locale, title, _)) in cases.iter().enumerate() {
        let mut product = product(&format!("p{number:02}"), title);
        product.locale = Some((*locale).to_owned());
        shop.put(&product);
    }
    // What a plural may not find by chance.
    shop.put(&product("other", "Glas Vase"));
    shop.commit();
    for (number, (locale, title, queries)) in cases.iter().enumerate() {
        for text in *queries {
            for language in [Some(*locale), None] {
                let request = Request { text, language, limit: 3, ..Request::default() };
                let (ids, found) = shop.find(&request);
                assert!(ids.contains(&format!("p{number:02}")), "{text:?} does not find {title:?}: {ids:?} {:?}", found.interpretation);
                assert!(found.interpretation.dropped.is_empty(), "{text:?}: {:?}", found.interpretation);
            }
        }
    }
}

#[test]
fn the_word_itself_goes_before_its_forms() {
    let mut shop = Shop::of(&["Red shoe", "Red shoes", "Red shoe", "Red shoes"]);
    assert_eq!(shop.ids("shoes"), ["p001", "p003", "p000", "p002"]);
    assert_eq!(shop.ids("shoe"), ["p000", "p002", "p001", "p003"]);
}

#[test]
fn the_language_of_a_product_is_worked_out() {
    let mut shop = Shop::of(&["Herrenhemden aus Baumwolle für den Sommer", "Příklepová vrtačka a nabíječka", "メンズ 靴下"]);
    let languages: Vec<_> = shop.snapshot().languages().iter().map(|(language, products)| (language.code(), *products)).collect();
    assert_eq!(languages, [("cs", 1), ("de", 1), ("ja", 1)]);
    assert_eq!(shop.ids("hemd"), ["p000"]);
    assert_eq!(shop.ids("vrtačky"), ["p001"]);
}

#[test]
fn stop_words_need_not_be_there() {
    let mut shop = Shop::of(&["Camera bag", "Camera", "The North Face jacket", "Tasche für Kamera und Zubehör aus Leder mit Griff"]);
    assert_eq!(shop.ids("a bag for my camera"), ["p000"]);
    assert_eq!(shop.ids("the north face"), ["p002"]);
    assert_eq!(shop.ids("tasche für die kamera"), ["p003"]);
    assert_eq!(shop.ids("the"), ["p002"], "where there is nothing else they count");
}
