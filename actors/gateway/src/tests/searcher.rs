//! Batman's place: small, slow and honest. Filters, facets, sorting, grouping, paging and explanations are really worked out, by
//! walking over every product.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::{Bound, FacetCounts, FacetRequest, FacetValue, Filter, Product, ProductId, SortKey, Stats};
use kit::Context;
use protocol::catalog::ProductRevision;
use protocol::search::{
    AttributeInfo, HITS_MAX, Hit, IndexStats, Missing, Part, SearchAnswer, SearchError, SearchQuery, Searcher, Searching, Suggestion,
};
use protocol::vision::{ModelInfo, VisionReader};

use super::fakes::{Readers, lock};

const TEXT_COSINE_MIN: f32 = 0.3;

/// The values of an attribute, as texts.
fn values(product: &Product, attribute: &str) -> Vec<String> {
    match attribute {
        "id" => vec![product.id.to_string()],
        "title" => vec![product.title.clone()],
        "brand" => product.brand.iter().cloned().collect(),
        "group_id" => product.group_id.iter().cloned().collect(),
        // Every level of a path is a value.
        "category" => product.categories.iter().flat_map(|path| (1..=path.0.len()).map(|end| path.0[..end].join(" > "))).collect(),
        "price" => product.offer.price.iter().map(domain::Money::amount).collect(),
        "final_price" => product.offer.sale_price.or(product.offer.price).iter().map(domain::Money::amount).collect(),
        other => product.attributes.get(other).into_iter().flatten().map(|value| value.value.clone()).collect(),
    }
}

fn number(product: &Product, attribute: &str) -> Option<f64> {
    values(product, attribute).first()?.parse().ok()
}

fn fold(text: &str) -> String {
    text.trim().to_lowercase()
}

fn takes(filter: &Filter, product: &Product) -> bool {
    match filter {
        Filter::All(items) => items.iter().all(|item| takes(item, product)),
        Filter::Any(items) => items.iter().any(|item| takes(item, product)),
        Filter::Not(inner) => !takes(inner, product),
        Filter::In { attribute, values: wanted } => {
            values(product, attribute).iter().any(|own| wanted.iter().any(|wanted| fold(wanted) == fold(own)))
        }
        Filter::Under { attribute, path } => values(product, attribute).iter().any(|own| {
            let steps: Vec<String> = own.split('>').map(fold).collect();
            steps.len() >= path.len() && path.iter().zip(&steps).all(|(wanted, own)| fold(wanted) == *own)
        }),
        Filter::Exists { attribute } => !values(product, attribute).is_empty(),
        Filter::Range { attribute, from, to } => number(product, attribute).is_some_and(|own| is_within(own, from.as_ref(), to.as_ref())),
        Filter::Near { .. } => false,
    }
}

fn is_within(own: f64, from: Option<&Bound>, to: Option<&Bound>) -> bool {
    let above = from.is_none_or(|bound| own > bound.value.as_f64() || bound.is_inclusive && own == bound.value.as_f64());
    let below = to.is_none_or(|bound| own < bound.value.as_f64() || bound.is_inclusive && own == bound.value.as_f64());
    above && below
}

/// Every attribute that a filter names.
fn named(filter: &Filter, names: &mut BTreeSet<String>) {
    match filter {
        Filter::All(items) | Filter::Any(items) => items.iter().for_each(|item| named(item, names)),
        Filter::Not(inner) => named(inner, names),
        Filter::In { attribute, .. }
        | Filter::Under { attribute, .. }
        | Filter::Exists { attribute }
        | Filter::Range { attribute, .. }
        | Filter::Near { attribute, .. } => {
            names.insert(attribute.clone());
        }
    }
}

type Products = BTreeMap<ProductId, Arc<ProductRevision>>;

impl Readers {
    fn products(&self) -> Products {
        lock(&self.0.products).clone()
    }

    fn check(&self, query: &SearchQuery) -> Result<(), SearchError> {
        let known: Vec<String> = self.attributes().into_iter().map(|info| info.name).collect();
        let mut asked: Vec<(String, String)> = Vec::new();
        let mut names = BTreeSet::new();
        query.filter.iter().for_each(|filter| named(filter, &mut names));
        asked.extend(names.into_iter().map(|name| ("/filter".to_owned(), name)));
        asked.extend(query.facets.iter().enumerate().map(|(index, facet)| (format!("/facets/{index}"), facet.attribute.clone())));
        asked.extend(query.sort.iter().enumerate().map(|(index, key)| (format!("/sort/{index}"), key.attribute.clone())));
        asked.extend(query.group_by.iter().map(|name| ("/group_by".to_owned(), name.clone())));
        let quotas = query.diversity.iter().flat_map(|diversity| &diversity.quotas);
        asked.extend(quotas.enumerate().map(|(index, (name, _))| (format!("/diversity/quotas/{index}"), name.clone())));
        match asked.into_iter().find(|(_, name)| !known.contains(name)) {
            None => Ok(()),
            Some((pointer, name)) => {
                let near = domain::filter::nearest_names(&name, known.iter().map(String::as_str), 3);
                let detail = format!("there is no attribute `{name}`; near to it: {}", near.join(", "));
                Err(SearchError::Unanswerable { pointer, code: "unknown_attribute", detail })
            }
        }
    }

    /// Words found in the title, vectors by cosine: as Batman's order in spirit. `None` when no part of the query finds it.
    fn hit(&self, query: &SearchQuery, product: &Product) -> Option<Hit> {
        let mut parts = Vec::new();
        let mut add = |name, score| parts.push(Part { name, rank: 1, score, share: score });
        if query.words.as_ref().is_some_and(|words| product.title.to_lowercase().contains(&words.to_lowercase())) {
            add("keyword", 1.0);
        }
        for asked in &query.vectors {
            let is_by = |model: &ModelInfo| model.space == asked.space && *model.fingerprint == *asked.fingerprint;
            let model = self.kept().into_iter().find(is_by).expect("a kept model");
            if let Some(own) = self.vectors_by(&model, product.id.as_str()).first() {
                add(asked.space.as_str(), own.vector.iter().zip(asked.vector.iter()).map(|(a, b)| a * b).sum::<f32>());
            }
        }
        if query.colour == Some([255, 0, 0]) && values(product, "color").iter().any(|own| fold(own) == "red") {
            add("colour", 1.0);
        }
        if query.cut_off && matches!(parts.as_slice(), [only] if only.name == "text" && only.score < TEXT_COSINE_MIN) {
            return None;
        }
        let is_browsing = query.words.is_none() && query.vectors.is_empty() && query.colour.is_none();
        (is_browsing || !parts.is_empty()).then(|| Hit {
            product: product.id.clone(),
            score: parts.iter().map(|part| part.share).sum(),
            found_by: parts.iter().map(|part| part.name).collect(),
            parts: if query.explain { parts } else { Vec::new() },
            group_size: None,
        })
    }

    fn missing(&self, query: &SearchQuery, id: &ProductId, hits: &[Hit], page: &[Hit]) -> Missing {
        let products = self.products();
        let because = |code, detail: &str| Missing { code, detail: detail.to_owned() };
        match products.get(id) {
            None => because("unknown_product", "there is no such product"),
            Some(_) if query.exclude.contains(id) => because("excluded", "it is excluded"),
            Some(_) if page.iter().any(|hit| hit.product == *id) => because("not_missing", "it is in the answer"),
            Some(revision) if query.only_available && !revision.product.is_available() => because("out_of_stock", "it cannot be had"),
            Some(revision) if query.filter.as_ref().is_some_and(|filter| !takes(filter, &revision.product)) => {
                because("filtered", "the filter does not take it")
            }
            Some(_) if hits.iter().any(|hit| hit.product == *id) => because("further_down", "it is further down"),
            Some(_) => because("not_matched", "no part of the query finds it"),
        }
    }
}

/// The counts of a facet over what the query finds without the attribute's own conditions.
fn facet(request: &FacetRequest, found: &[&Product]) -> FacetCounts {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for product in found {
        values(product, &request.attribute).into_iter().for_each(|value| *counts.entry(value).or_default() += 1);
    }
    let numbers: Vec<f64> = found.iter().filter_map(|product| number(product, &request.attribute)).collect();
    let sum: f64 = numbers.iter().sum();
    let stats = (!numbers.is_empty()).then(|| Stats {
        min: numbers.iter().copied().fold(f64::INFINITY, f64::min),
        max: numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        mean: sum / numbers.len() as f64,
        sum,
        count: numbers.len() as u64,
    });
    let range = |(from, to): &(Option<Bound>, Option<Bound>)| domain::FacetRange {
        from: from.map(|bound| bound.value.as_f64()),
        to: to.map(|bound| bound.value.as_f64()),
        count: numbers.iter().filter(|own| is_within(**own, from.as_ref(), to.as_ref())).count() as u64,
    };
    let distinct = counts.len() as u64;
    let mut counted: Vec<FacetValue> = counts.into_iter().map(|(value, count)| FacetValue { value, count }).collect();
    counted.sort_by(|left, right| right.count.cmp(&left.count).then_with(|| left.value.cmp(&right.value)));
    counted.truncate(if request.ranges.is_empty() { request.limit } else { 0 });
    FacetCounts {
        attribute: request.attribute.clone(),
        values: counted,
        ranges: request.ranges.iter().map(range).collect(),
        stats,
        distinct,
        missing: found.iter().filter(|product| values(product, &request.attribute).is_empty()).count() as u64,
    }
}

fn sort(hits: &mut [Hit], keys: &[SortKey], products: &Products) {
    hits.sort_by(|left, right| right.score.total_cmp(&left.score).then_with(|| left.product.cmp(&right.product)));
    for key in keys.iter().rev() {
        let own = |hit: &Hit| products.get(&hit.product).and_then(|revision| number(&revision.product, &key.attribute));
        hits.sort_by(|left, right| match (own(left), own(right)) {
            (Some(left), Some(right)) if key.is_descending => right.total_cmp(&left),
            (Some(left), Some(right)) => left.total_cmp(&right),
            (left, right) => right.is_some().cmp(&left.is_some()),
        });
    }
}

/// The best of each group, with the size of it; products without a group stand for themselves.
fn grouped(hits: Vec<Hit>, attribute: &str, products: &Products) -> Vec<Hit> {
    let mut best: Vec<(Option<String>, Hit)> = Vec::new();
    for hit in hits {
        let group = products.get(&hit.product).and_then(|revision| values(&revision.product, attribute).into_iter().next());
        match best.iter_mut().find(|(known, _)| known.is_some() && *known == group) {
            Some((_, first)) => first.group_size = first.group_size.map(|size| size + 1),
            None => best.push((group, Hit { group_size: Some(1), ..hit })),
        }
    }
    best.into_iter().map(|(_, hit)| hit).collect()
}

impl Searcher for Readers {
    fn search<'a>(&'a self, _: &'a Context, query: SearchQuery) -> Searching<'a> {
        Box::pin(async move {
            assert!(query.offset + query.limit <= HITS_MAX, "{} {}", query.offset, query.limit);
            lock(&self.0.queries).push(query.clone());
            self.check(&query)?;
            let products = self.products();
            let eligible = |filter: Option<&Filter>| -> Vec<&Product> {
                let revisions = products.values().map(|revision| &revision.product);
                let all = revisions.filter(|product| !query.exclude.contains(&product.id));
                let all = all.filter(|product| !query.only_available || product.is_available());
                all.filter(|product| filter.is_none_or(|filter| takes(filter, product))).collect()
            };
            let found = |filter: Option<&Filter>| -> Vec<&Product> {
                eligible(filter).into_iter().filter(|product| self.hit(&query, product).is_some()).collect()
            };
            let mut hits: Vec<Hit> = found(query.filter.as_ref()).into_iter().filter_map(|product| self.hit(&query, product)).collect();
            sort(&mut hits, &query.sort, &products);
            if let Some(attribute) = &query.group_by {
                hits = grouped(hits, attribute, &products);
            }
            let counts = |request: &FacetRequest| {
                let conjuncts = query.filter.iter().flat_map(Filter::conjuncts);
                let others = conjuncts.filter(|one| one.sole_attribute() != Some(request.attribute.as_str())).cloned().collect();
                facet(request, &found(Some(&Filter::All(others))))
            };
            let facets = query.facets.iter().map(counts).collect();
            let total = hits.len();
            let page: Vec<Hit> = hits.iter().skip(query.offset).take(query.limit).cloned().collect();
            let missing = query.explain_missing.as_ref().map(|id| self.missing(&query, id, &hits, &page));
            let corrected = query.words.as_ref().filter(|words| words.as_str() == "camra").map(|_| "camera".to_owned());
            let plans = query.vectors.iter().map(|vector| format!("{}:scan", vector.space.as_str())).collect();
            Ok(SearchAnswer { hits: page, total, total_is_exact: true, facets, corrected, missing, plans, ..SearchAnswer::default() })
        })
    }

    fn suggest(&self, prefix: &str, limit: usize) -> Vec<Suggestion> {
        let titles = self.products().into_values().map(|revision| revision.product.title.clone());
        let begins = titles.filter(|title| fold(title).starts_with(&fold(prefix)));
        begins.take(limit).map(|text| Suggestion { text, kind: "title", count: 1 }).collect()
    }

    fn attributes(&self) -> Vec<AttributeInfo> {
        let products = self.products();
        let own = products.values().flat_map(|revision| revision.product.attributes.keys().cloned());
        let fields = ["id", "title", "brand", "group_id", "category", "price", "final_price"].map(str::to_owned);
        let names: BTreeSet<String> = fields.into_iter().chain(own).collect();
        let info = |name: String| {
            let all: Vec<Vec<String>> = products.values().map(|revision| values(&revision.product, &name)).collect();
            let distinct: BTreeSet<&String> = all.iter().flatten().collect();
            let kind = match name.as_str() {
                "category" => "path",
                "price" | "final_price" => "number",
                _ => "text",
            };
            AttributeInfo {
                kinds: vec![kind],
                products: all.iter().filter(|values| !values.is_empty()).count() as u64,
                values: distinct.len() as u64,
                examples: distinct.into_iter().take(5).cloned().collect(),
                name,
            }
        };
        names.into_iter().map(info).collect()
    }

    fn stats(&self) -> IndexStats {
        IndexStats { image_products: 54, text_products: 54, keyword_products: 54, vector_bytes: 359_424, ..IndexStats::default() }
    }
}
