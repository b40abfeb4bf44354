//! Words in the house: a changed text, and an index that is opened, mended or made anew.

use std::fs;
use std::path::Path;

use domain::{AttributeValue, CategoryPath, Offer, Parts, Product, Provenance, Source, Variant};
use kit::Scene;
use protocol::search::Searcher;

use super::house::{House, product};

fn shop() -> Vec<Product> {
    let mut products: Vec<_> = [
        ("de", "Herrenhemd aus Öko-Baumwolle, weiß"),
        ("cz", "Příklepová vrtačka Makita 18V"),
        ("fr", "Collier en argent plaqué œil-de-tigre"),
        ("ru", "Ёлочная игрушка стеклянная"),
        ("ja", "メンズ 靴下 3足セット"),
        ("ja2", "子供用の靴"),
        ("en", "Nike Men Town T-Shirt"),
        ("en2", "Instant Camera"),
        ("en3", "Camera Bag for Men"),
    ]
    .map(|(id, title)| product(id, title))
    .into();
    let mut drill = product("drill-1", "Cordless drill");
    drill.brand = Some("Čapek & Söhne".into());
    drill.sku = Some("BC-FU-LI3560".into());
    drill.gtin = Some("0012345678905".into());
    drill.categories = vec![CategoryPath(vec!["Garten".into(), "Werkzeug".into()])];
    let value = AttributeValue { value: "Dunkelgrün".into(), provenance: Provenance { source: Source::Feed, field: "color".into() } };
    drill.attributes.insert("color".into(), vec![value]);
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
    products.push(drill);
    products
}

async fn open_shop(scene: &mut Scene) -> House {
    let house = House::new();
    for product in shop() {
        house.put(product, Parts::ALL).await;
    }
    house.start(scene).await;
    house.followed().await;
    house
}

#[tokio::test]
async fn a_changed_text_takes_the_place_of_the_old_one() {
    let mut scene = Scene::new();
    let house = open_shop(&mut scene).await;
    house.put(product("en2", "Polaroid"), Parts::TEXT).await;
    house.followed().await;
    assert_eq!((house.words("polaroid").await, house.words("instant").await), (vec!["en2".to_owned()], vec![]));
    assert_eq!(house.view.stats().keyword_products, shop().len());
    scene.end().await;
}

/// Starts again on the same folder after `harm` has been done to the keyword index.
async fn start_again(harm: impl FnOnce(&Path)) -> (House, Scene) {
    let mut scene = Scene::new();
    let house = open_shop(&mut scene).await;
    scene.end().await;
    let House { dir, journal, catalog, vision, .. } = house;
    drop(journal);
    harm(dir.path());
    let house = House::reopen(dir, catalog, vision);
    let mut scene = Scene::new();
    house.start(&mut scene).await;
    house.followed().await;
    (house, scene)
}

#[tokio::test]
async fn a_start_goes_on_where_the_last_commit_ended() {
    let (house, scene) = start_again(|_| ()).await;
    let pages = house.catalog.pages();
    assert_eq!(house.words("靴下").await, ["ja"]);
    assert_eq!(house.view.stats().keyword_products, shop().len());
    house.put(product("new", "Sandale"), Parts::ALL).await;
    house.followed().await;
    assert_eq!(house.words("sandale").await, ["new"]);
    assert_eq!(house.catalog.pages(), pages, "nothing is made anew");
    scene.end().await;
}

#[tokio::test]
async fn a_lost_damaged_or_foreign_index_is_made_anew() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 5] = [
        ("folder deleted", |dir| fs::remove_dir_all(dir.join("keywords")).expect("deleted")),
        ("meta file cut", |dir| fs::write(dir.join("keywords/meta.json"), "{").expect("written")),
        ("postings damaged", |dir| {
            let files = fs::read_dir(dir.join("keywords")).expect("read").map(|entry| entry.expect("an entry").path());
            let terms = files.filter(|path| path.extension().is_some_and(|ending| ending == "term" || ending == "idx"));
            terms.for_each(|path| {
                let mut bytes = fs::read(&path).expect("read");
                bytes.iter_mut().take(40).for_each(|byte| *byte = !*byte);
                fs::write(&path, bytes).expect("written");
            });
        }),
        ("words of another format", |dir| {
            let path = dir.join("keywords/meta.json");
            let own = format!("\"payload\": \"{} ", words::FORMAT);
            let meta = fs::read_to_string(&path).expect("read").replace(&own, "\"payload\": \"0 ");
            assert!(meta.contains("\"payload\": \"0 "), "{meta}");
            fs::write(path, meta).expect("written");
        }),
        ("journal lost", |dir| fs::remove_dir_all(dir.join("journal")).expect("deleted")),
    ];
    for (name, harm) in harms {
        let (house, scene) = start_again(harm).await;
        let mut version = house.view.version();
        let whole = version.wait_for(|_| house.view.stats().keyword_products == shop().len());
        tokio::time::timeout(std::time::Duration::from_secs(30), whole).await.expect(name).expect("the view lives");
        assert_eq!(house.words("靴下").await, ["ja"], "{name}");
        scene.end().await;
    }
}
