//! What a query can ask for beside words and vectors: filters, counts, order, groups, variety, colours, reasons.

use domain::{AttributeValue, FacetRequest, Filter, Money, Offer, Parts, Product, Provenance, SortKey, Source};
use kit::Scene;
use protocol::search::{Diversity, SearchAnswer, SearchError, SearchQuery, Searcher};
use protocol::vision::Space;

use super::house::{House, axis, between, product};

fn value(text: &str) -> Vec<AttributeValue> {
    vec![AttributeValue { value: text.into(), provenance: Provenance { source: Source::Feed, field: "test".into() } }]
}

fn priced(price: &str) -> Offer {
    Offer { price: Some(Money::parse(price, "EUR".parse().expect("a currency")).expect("money")), ..Offer::default() }
}

fn article(id: &str, title: &str, brand: &str, color: &str, price: &str) -> Product {
    let mut article = product(id, title);
    article.brand = Some(brand.into());
    article.attributes.insert("color".into(), value(color));
    article.offer = priced(price);
    article
}

fn articles() -> Vec<Product> {
    let mut articles = vec![
        article("s1", "running shoe", "Acme", "red", "50"),
        article("s2", "running shoe light", "Acme", "blue", "80"),
        article("s3", "trail shoe", "Bolt", "red", "120"),
        article("s4", "dress shoe", "Crown", "black", "200"),
        article("h1", "wool hat", "Bolt", "navy blue", "30"),
    ];
    articles[0].group_id = Some("run".into());
    articles[1].group_id = Some("run".into());
    articles
}

async fn open(scene: &mut Scene) -> House {
    let house = House::new();
    for article in articles() {
        house.put(article, Parts::ALL).await;
    }
    house.start(scene).await;
    house.followed().await;
    let vectors = [("s1", axis(0)), ("s2", between(0, 1)), ("s3", between(0, 2)), ("s4", axis(2)), ("h1", axis(3))];
    let entries: Vec<_> = vectors.iter().map(|(id, vector)| (*id, vec![vector.clone()])).collect();
    house.upsert(Space::Image, "m", &entries).await.expect("set");
    house
}

fn words(words: &str) -> SearchQuery {
    SearchQuery { words: Some(words.into()), limit: 10, ..SearchQuery::default() }
}

fn like(vector: std::sync::Arc<[f32]>) -> SearchQuery {
    SearchQuery { vectors: vec![(Space::Image, vector)], limit: 10, ..SearchQuery::default() }
}

fn filter(text: &str) -> Option<Filter> {
    Some(Filter::parse(text).expect("a filter"))
}

fn facet(attribute: &str) -> FacetRequest {
    FacetRequest { attribute: attribute.into(), limit: 10, ..FacetRequest::default() }
}

fn ids(answer: &SearchAnswer) -> Vec<&str> {
    answer.hits.iter().map(|hit| hit.product.as_str()).collect()
}

#[tokio::test]
async fn filters_by_table() {
    let mut scene = Scene::new();
    let house = open(&mut scene).await;
    let cases = [
        (SearchQuery { filter: filter("brand = acme"), ..words("shoe") }, vec!["s1", "s2"]),
        (SearchQuery { filter: filter("color = Red AND price > 100"), ..words("shoe") }, vec!["s3"]),
        (SearchQuery { filter: filter("NOT brand IN [Acme, Bolt]"), ..words("shoe") }, vec!["s4"]),
        (SearchQuery { filter: filter("price 40 TO 130"), ..like(axis(2)) }, vec!["s3", "s1", "s2"]),
        (SearchQuery { filter: filter("EXISTS group_id"), limit: 10, ..SearchQuery::default() }, vec!["s1", "s2"]),
        (SearchQuery { filter: filter("brand = nobody"), ..words("shoe") }, vec![]),
    ];
    for (query, expected) in cases {
        let answer = house.search(query.clone()).await.expect("an answer");
        let mut found = ids(&answer);
        if query.words.is_some() {
            found.sort_unstable();
        }
        assert_eq!(found, expected, "{:?}", query.filter);
        assert_eq!((answer.total, answer.total_is_exact), (expected.len(), true), "{:?}", query.filter);
    }
    scene.end().await;
}

#[tokio::test]
async fn an_attribute_that_is_not_there_names_the_nearest_and_where() {
    let mut scene = Scene::new();
    let house = open(&mut scene).await;
    let group_by = Some("colr".to_owned());
    let cases = [
        (SearchQuery { filter: filter("colr = red"), ..words("shoe") }, "/filter", "color"),
        (SearchQuery { facets: vec![facet("brand"), facet("colr")], ..words("shoe") }, "/facets/1", "color"),
        (SearchQuery { sort: vec![SortKey { attribute: "prise".into(), is_descending: false }], ..words("shoe") }, "/sort", "price"),
        (SearchQuery { group_by, ..words("shoe") }, "/group_by", "color"),
        (SearchQuery { boost: Some("score *".into()), ..words("shoe") }, "/boost", ""),
    ];
    for (query, expected, nearest) in cases {
        match house.search(query).await {
            Err(SearchError::Unanswerable { pointer, detail, .. }) => {
                assert_eq!(pointer, expected);
                assert!(detail.contains(nearest), "{detail}");
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
    scene.end().await;
}

#[tokio::test]
async fn facets_count_everything_found_and_leave_their_own_choice_out() {
    let mut scene = Scene::new();
    let house = open(&mut scene).await;
    let query = SearchQuery {
        filter: filter("color = red"),
        facets: vec![facet("brand"), facet("color"), facet("price")],
        limit: 1,
        ..words("shoe")
    };
    let answer = house.search(query).await.expect("an answer");
    let counts =
        |at: usize| -> Vec<(String, u64)> { answer.facets[at].values.iter().map(|value| (value.value.clone(), value.count)).collect() };
    assert_eq!((answer.hits.len(), answer.total), (1, 2));
    assert_eq!(counts(0), [("Acme".to_owned(), 1), ("Bolt".to_owned(), 1)]);
    assert_eq!(counts(1), [("red".to_owned(), 2), ("black".to_owned(), 1), ("blue".to_owned(), 1)], "one could choose these too");
    let stats = answer.facets[2].stats.expect("numbers");
    assert_eq!((stats.min, stats.max, stats.count), (50.0, 120.0, 2));
    let browsing =
        SearchQuery { exclude: vec!["s1".parse().expect("an id")], facets: vec![facet("group_id")], limit: 9, ..SearchQuery::default() };
    let answer = house.search(browsing).await.expect("an answer");
    assert_eq!((answer.total, answer.facets[0].values[0].count), (4, 1), "what is excluded is not counted either");
    scene.end().await;
}

#[tokio::test]
async fn order_groups_and_formulas() {
    let mut scene = Scene::new();
    let house = open(&mut scene).await;
    let by = |attribute: &str, is_descending| vec![SortKey { attribute: attribute.into(), is_descending }];
    let sorted = SearchQuery { sort: by("price", true), ..words("shoe") };
    assert_eq!(house.ids(sorted).await, ["s4", "s3", "s2", "s1"]);
    let page = SearchQuery { sort: by("price", false), offset: 1, limit: 2, ..words("shoe") };
    let answer = house.search(page).await.expect("an answer");
    assert_eq!((ids(&answer), answer.total), (vec!["s2", "s3"], 4));
    let browsing = SearchQuery { sort: by("price", false), limit: 3, ..SearchQuery::default() };
    assert_eq!(house.ids(browsing).await, ["h1", "s1", "s2"]);

    let grouped = SearchQuery { group_by: Some("group_id".into()), ..like(axis(0)) };
    let answer = house.search(grouped).await.expect("an answer");
    assert_eq!(ids(&answer), ["s1", "s3", "h1", "s4"], "the second of a group is not shown");
    assert_eq!((answer.hits[0].group_size, answer.total), (Some(2), 4));

    let boosted = SearchQuery { boost: Some("score + if('brand = Crown', 100, 0)".into()), ..words("shoe") };
    assert_eq!(house.ids(boosted).await[0], "s4");
    scene.end().await;
}

#[tokio::test]
async fn variety_moves_what_is_alike_down_and_loses_nothing() {
    let mut scene = Scene::new();
    let house = open(&mut scene).await;
    let plain = house.ids(like(axis(0))).await;
    assert_eq!(plain[..3], ["s1", "s2", "s3"]);
    let quotas = vec![("brand".to_owned(), 1)];
    let varied = SearchQuery { diversity: Some(Diversity { strength: 0.0, quotas }), ..like(axis(0)) };
    assert_eq!(house.ids(varied).await[..3], ["s1", "s3", "s4"], "one of each brand before the second of any");
    let apart = SearchQuery { diversity: Some(Diversity { strength: 0.9, quotas: Vec::new() }), ..like(axis(0)) };
    let apart = house.ids(apart).await;
    assert_eq!(apart[0], "s1");
    assert_ne!(apart[1], "s2", "its twin does not follow at once");
    assert_eq!(apart.len(), plain.len());
    scene.end().await;
}

#[tokio::test]
async fn a_colour_finds_products_by_their_colour_words() {
    let mut scene = Scene::new();
    let house = open(&mut scene).await;
    let red = SearchQuery { colour: Some([220, 20, 30]), limit: 10, ..SearchQuery::default() };
    let answer = house.search(red).await.expect("an answer");
    assert_eq!(ids(&answer), ["s1", "s3"]);
    assert_eq!(answer.hits[0].found_by, ["colour"]);
    let navy = SearchQuery { colour: Some([0, 0, 128]), limit: 1, ..SearchQuery::default() };
    assert_eq!(house.ids(navy).await, ["h1"]);
    scene.end().await;
}

#[tokio::test]
async fn a_new_price_and_a_sold_out_product_are_seen_by_the_next_search() {
    let mut scene = Scene::new();
    let house = open(&mut scene).await;
    let mut sold = articles().swap_remove(0);
    sold.offer = Offer { availability: domain::Availability::OutOfStock, ..priced("10") };
    let version = house.view.stats().version;
    house.put(sold, Parts(Parts::PRICE.0 | Parts::STOCK.0)).await;
    house.followed().await;
    assert_eq!(house.view.stats().version, version, "no index was touched");
    let cheap = SearchQuery { filter: filter("price < 20"), ..words("shoe") };
    assert_eq!(house.ids(cheap.clone()).await, ["s1"]);
    assert_eq!(house.ids(SearchQuery { only_available: true, ..cheap }).await, Vec::<String>::new());
    assert_eq!(house.ids(SearchQuery { only_available: true, ..like(axis(0)) }).await[0], "s2");
    scene.end().await;
}

#[tokio::test]
async fn why_a_product_is_missing_by_table() {
    let mut scene = Scene::new();
    let house = open(&mut scene).await;
    let mut sold = articles().swap_remove(3);
    sold.offer = Offer { availability: domain::Availability::OutOfStock, ..Offer::default() };
    house.put(sold, Parts::STOCK).await;
    house.put(product("bare", "garden hose"), Parts::ALL).await;
    house.followed().await;
    let missing = |id: &str, query: SearchQuery| SearchQuery { explain_missing: Some(id.parse().expect("an id")), ..query };
    let cases = [
        (missing("nobody", words("shoe")), "unknown_product", "no such product"),
        (missing("s1", SearchQuery { exclude: vec!["s1".parse().expect("an id")], ..words("shoe") }), "excluded", ""),
        (missing("s4", SearchQuery { only_available: true, ..words("shoe") }), "out_of_stock", ""),
        (missing("s1", SearchQuery { filter: filter("color = blue AND brand = Acme"), ..words("shoe") }), "filtered", "blue"),
        (missing("bare", like(axis(0))), "no_image", ""),
        (missing("h1", words("shoe")), "not_matched", ""),
        (missing("s1", SearchQuery { limit: 1, offset: 3, ..words("shoe") }), "further_down", "rank"),
        (missing("s1", words("shoe")), "not_missing", "rank"),
        (missing("s2", SearchQuery { group_by: Some("group_id".into()), ..like(axis(0)) }), "grouped", ""),
    ];
    for (query, expected, detail) in cases {
        let answer = house.search(query).await.expect("an answer");
        let missing = answer.missing.expect("a reason");
        assert!(missing.code == expected && missing.detail.contains(detail), "{expected}: {missing:?}");
    }
    scene.end().await;
}

#[tokio::test]
async fn explained_shares_sum_to_the_score() {
    let mut scene = Scene::new();
    let house = open(&mut scene).await;
    let query = SearchQuery { explain: true, vectors: vec![(Space::Image, axis(0))], ..words("running shoe") };
    let answer = house.search(query).await.expect("an answer");
    for hit in &answer.hits {
        let sum: f32 = hit.parts.iter().map(|part| part.share).sum();
        assert!((sum - hit.score).abs() < 1e-5, "{hit:?}");
    }
    assert_eq!(answer.hits[0].parts.len(), 2);
    scene.end().await;
}

#[tokio::test]
async fn spelling_suggestions_and_attributes() {
    let mut scene = Scene::new();
    let house = open(&mut scene).await;
    let answer = house.search(words("runing shoe")).await.expect("an answer");
    assert_eq!(answer.corrected.as_deref(), Some("running shoe"));
    assert!(ids(&answer).contains(&"s1"));
    for _ in 0..3 {
        house.search(words("trail shoe")).await.expect("an answer");
    }
    let suggested = house.view.suggest("tra", 5);
    assert_eq!((suggested[0].text.as_str(), suggested[0].kind), ("trail shoe", "query"));
    assert!(house.view.suggest("bol", 5).iter().any(|found| found.text == "Bolt" && found.kind == "brand"));
    let attributes = house.view.attributes();
    let color = attributes.iter().find(|info| info.name == "color").expect("an attribute");
    assert_eq!((color.products, color.values, color.kinds.as_slice()), (5, 4, ["text"].as_slice()));
    scene.end().await;
}
