//! What pictures show is filtered and counted like the catalog's own attributes, and follows its changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use domain::{FacetRequest, Filter, Parts};
use kit::Scene;
use protocol::catalog::CatalogReader as _;
use protocol::search::{SearchQuery, Searcher};
use protocol::tags::{FactIndex as _, FactReader};

use super::house::{House, product};

#[derive(Default)]
struct Facts(Mutex<HashMap<String, &'static str>>);

impl Facts {
    fn set(&self, id: &str, pattern: &'static str) {
        self.0.lock().expect("no test panics").insert(id.to_owned(), pattern);
    }
}

impl FactReader for Facts {
    fn facts(&self, product: &str) -> Vec<(String, String)> {
        let pattern = self.0.lock().expect("no test panics").get(product).copied();
        pattern.map(|pattern| ("pattern".to_owned(), pattern.to_owned())).into_iter().collect()
    }
}

async fn with(house: &House, pattern: &str) -> Vec<String> {
    let filter = Filter::In { attribute: "tag.pattern".into(), values: vec![pattern.to_owned()] };
    let mut ids = house.ids(SearchQuery { filter: Some(filter), limit: 10, ..SearchQuery::default() }).await;
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn facts_are_filtered_counted_and_followed() {
    let (house, facts) = (House::new(), Arc::new(Facts::default()));
    facts.set("a", "striped");
    facts.set("b", "plain");
    house.view.use_facts(Arc::clone(&facts) as _);
    let mut scene = Scene::new();
    for id in ["a", "b", "c"] {
        house.put(product(id, "shirt"), Parts::ALL).await;
    }
    house.start(&mut scene).await;
    house.followed().await;
    assert_eq!(with(&house, "striped").await, ["a"]);
    assert!(house.view.attributes().iter().any(|attribute| attribute.name == "tag.pattern" && attribute.products == 2));
    facts.set("c", "striped");
    facts.set("nobody", "striped");
    let changed = ["c", "nobody"].map(|id| id.parse().expect("an id"));
    house.view.refresh(house.catalog.as_ref(), &changed);
    assert_eq!(with(&house, "striped").await, ["a", "c"]);
    let facets = vec![FacetRequest { attribute: "tag.pattern".into(), limit: 5, ..FacetRequest::default() }];
    let answer = house.search(SearchQuery { facets, limit: 10, ..SearchQuery::default() }).await.expect("an answer");
    let counted: Vec<_> = answer.facets[0].values.iter().map(|value| (value.value.as_str(), value.count)).collect();
    assert_eq!((answer.total, counted), (3, vec![("striped", 2), ("plain", 1)]));
    let filter = Filter::parse(r#"tag.pattern = "plain""#).expect("a filter");
    assert_eq!(house.ids(SearchQuery { filter: Some(filter), limit: 10, ..SearchQuery::default() }).await, ["b"]);
    assert!(house.catalog.snapshot().get("c").expect("a product").product.attributes.is_empty(), "the catalog is as it was");
    scene.end().await;
}
