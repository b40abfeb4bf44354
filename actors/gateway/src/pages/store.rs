//! The demo storefront: browse, search by words or by photo, look at one product and what is like it.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::{Markup, html};
use protocol::catalog::ProductRevision;
use serde::Deserialize;

use crate::edge::Ctx;
use crate::extract::Params;
use crate::logic::cursor;
use crate::pages::layout::{Frame, page};
use crate::pages::parts::{self, thousands};
use crate::problem::{Answer, Problem};
use crate::routes::search::{self, Ask, Ranked};
use crate::routes::{App, products, shop};
use crate::schema::{Card, image_path, path_segment};

/// Cards on one page: divides by 2, 3 and 4 columns.
const CARDS: usize = 24;
const SIMILAR: usize = 12;
const ALL_PRODUCTS: &str = "All products";
/// Pictures of one product that are offered.
const PICTURES_MAX: usize = 8;

/// `/` leads to the store.
pub(crate) async fn root() -> Redirect {
    Redirect::to("/store")
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreParams {
    q: String,
    category: Option<String>,
    cursor: Option<String>,
    offset: usize,
}

/// What a grid shows.
struct Grid {
    heading: String,
    note: Option<String>,
    cards: Vec<Card>,
    /// The address of the next page.
    next: Option<String>,
}

/// The grid: everything, a category, or what was searched for.
pub(crate) async fn browse(State(app): State<App>, Ctx(context): Ctx, Params(params): Params<StoreParams>) -> Answer<Html<String>> {
    let query = params.q.trim().to_owned();
    let grid = if query.is_empty() {
        listed(&app, &params).await?
    } else {
        let ask = Ask { text: Some(query.clone()), limit: Some(CARDS.min(app.config.limit_max)), offset: params.offset, ..Ask::default() };
        match search::run(&app, &context, ask).await {
            Ok(ranked) => {
                found(format!("Results for “{query}”"), ranked, |offset| format!("/store?q={}&offset={offset}", path_segment(&query)))
            }
            Err(problem) => refused(problem)?,
        }
    };
    Ok(frame(&app, &query, params.category.as_deref(), &grid).await)
}

/// The grid of what looks like a photo.
pub(crate) async fn by_photo(State(app): State<App>, Ctx(context): Ctx, request: Request) -> Answer<Html<String>> {
    let ask = search::from_form(&app, request).await?;
    let ask = Ask { limit: Some(CARDS.min(app.config.limit_max)), ..ask };
    let query = ask.text.clone().unwrap_or_default();
    let grid = match search::run(&app, &context, ask).await {
        Ok(ranked) => found("Looks like your photo".to_owned(), Ranked { next: None, ..ranked }, |_| String::new()),
        Err(problem) => refused(problem)?,
    };
    Ok(frame(&app, &query, None, &grid).await)
}

/// What a shopper can do something about is said on the page; the rest is an error.
fn refused(problem: Problem) -> Answer<Grid> {
    if problem.status.is_server_error() && problem.status != StatusCode::SERVICE_UNAVAILABLE {
        return Err(problem);
    }
    Ok(Grid { heading: "That did not work".to_owned(), note: Some(problem.detail), cards: Vec::new(), next: None })
}

async fn listed(app: &App, params: &StoreParams) -> Answer<Grid> {
    let after = products::decode_cursor(params.cursor.as_deref())?;
    let (catalog, offers) = (app.house.catalog.snapshot(), app.house.offers.clone());
    let total = catalog.len();
    let filter = shop::Filter { brand: None, category: params.category.clone() };
    let card = move |revision: &ProductRevision| {
        let offer = offers.offer(revision.product.id.as_str()).filter(|offer| offer.is_available && revision.product.is_available())?;
        Some(Card::of(revision, &offer))
    };
    let scan = tokio::task::spawn_blocking(move || {
        let (found, next) = shop::scan(&*catalog, after, CARDS, |revision| filter.takes(&revision.product) && card(revision).is_some());
        (found.iter().filter_map(|revision| card(revision)).collect::<Vec<_>>(), next)
    });
    let (cards, next) = scan.await.map_err(Problem::internal)?;
    let category = params.category.as_ref().map(|name| format!("&category={}", path_segment(name))).unwrap_or_default();
    Ok(Grid {
        heading: params.category.clone().unwrap_or_else(|| ALL_PRODUCTS.to_owned()),
        note: params.category.is_none().then(|| format!("{} products", thousands(total))).filter(|_| total > 0),
        cards,
        next: next.map(|position| format!("/store?cursor={}{category}", cursor::encode(&position))),
    })
}

fn found(heading: String, ranked: Ranked, next: impl Fn(usize) -> String) -> Grid {
    let more = if ranked.total_is_exact { "" } else { "+" };
    let note = format!(
        "{}{more} {} in {:.0} ms",
        thousands(ranked.total),
        if ranked.total == 1 { "product" } else { "products" },
        ranked.took_ms.max(1.0)
    );
    Grid { heading, note: Some(note), next: ranked.next.map(next), cards: ranked.items.into_iter().map(|item| item.product).collect() }
}

async fn frame(app: &App, query: &str, category: Option<&str>, grid: &Grid) -> Html<String> {
    let categories = app.shelf.categories(app).await;
    let is_all = query.is_empty() && category.is_none() && grid.heading == ALL_PRODUCTS;
    let main = html! {
        div #view {
            @if !categories.is_empty() {
                nav .chips aria-label="Categories" {
                    a href="/store" aria-current=[is_all.then_some("true")] { "All" }
                    @for (name, count) in &categories {
                        a href={ "/store?category=" (path_segment(name)) } aria-current=[(category == Some(name.as_str())).then_some("true")] {
                            (name) " " span .count { (thousands(count)) }
                        }
                    }
                }
            }
            section aria-labelledby="heading" {
                div .heading {
                    img #preview alt="Your photo" hidden;
                    div { h1 #heading { (grid.heading) } p .note role="status" { (grid.note.as_deref().unwrap_or_default()) } }
                }
                @if grid.cards.is_empty() { (nothing(app, grid)) }
                ul #grid .grid { @for card in &grid.cards { (parts::card(card)) } }
                p #more .more { @if let Some(next) = &grid.next { a .button href=(next) rel="next" { "Show more" } } }
            }
        }
        p #trouble .trouble role="alert" hidden {}
        div #drop .drop hidden aria-hidden="true" { p { "Drop the photo to find what looks like it" } }
    };
    page(
        Frame { title: &format!("{} · Gotham store", grid.heading), place: "store", module: Some("store.js"), header: search_form(query) },
        main,
    )
}

fn nothing(app: &App, grid: &Grid) -> Markup {
    html! {
        div .empty {
            @if app.house.catalog.snapshot().is_empty() {
                h2 { "No products yet" }
                p { "Give the box a catalog and its products appear here as they are read." }
                p { a .button href="/console" { "Upload a feed" } }
            } @else {
                @if grid.heading != "That did not work" { h2 { "Nothing found" } }
                p { "Try other words, a photo, or have a look at everything." }
                p { a .button href="/store" { "All products" } }
            }
        }
    }
}

fn search_form(query: &str) -> Markup {
    html! {
        search .search {
            form #words action="/store" method="get" {
                label .hidden for="q" { "Search products" }
                svg viewBox="0 0 24 24" aria-hidden="true" { path d="M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5 20 20" {} }
                input #q type="search" name="q" value=(query) placeholder="Search, or drop a photo" autocomplete="off" spellcheck="false" maxlength="200";
                button .hidden type="submit" { "Search" }
            }
            form #photo action="/store" method="post" enctype="multipart/form-data" {
                label .camera title="Search by photo" {
                    svg viewBox="0 0 24 24" aria-hidden="true" { path d="M4 8h3l2-3h6l2 3h3v11H4zM12 10a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z" {} }
                    span .hidden { "Search by photo" }
                    input type="file" name="image" accept="image/jpeg,image/png,image/webp,image/gif";
                }
                noscript { button { "Go" } }
            }
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DetailParams {
    image: usize,
}

/// One product.
pub(crate) async fn detail(
    State(app): State<App>,
    Ctx(context): Ctx,
    Path(id): Path<String>,
    Params(params): Params<DetailParams>,
    headers: HeaderMap,
) -> Answer<Response> {
    let Some(revision) = app.house.catalog.snapshot().get(&id) else {
        let wants_page = headers
            .get(header::ACCEPT)
            .is_none_or(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html") || accept.contains("*/*")));
        if !wants_page {
            return Err(Problem::not_found("such product"));
        }
        let main = html! { div .empty { h1 { "This product is gone" } p { a .button href="/store" { "All products" } } } };
        let gone = page(Frame { title: "Gone · Gotham store", place: "store", module: Some("store.js"), header: search_form("") }, main);
        return Ok((StatusCode::NOT_FOUND, gone).into_response());
    };
    let similar = search::run(
        &app,
        &context,
        Ask { product: Some(revision.product.id.clone()), limit: Some(SIMILAR.min(app.config.limit_max)), ..Ask::default() },
    )
    .await;
    // The product itself is worth showing without its neighbours.
    let similar: Vec<Card> = similar.map(|ranked| ranked.items.into_iter().map(|item| item.product).collect()).unwrap_or_default();
    let main = html! {
        (product(&app, &revision, params.image))
        (row("Other forms", &shop::siblings(&app, &revision)))
        (row("Similar items", &similar))
    };
    let title = format!("{} · Gotham store", revision.product.title);
    Ok(page(Frame { title: &title, place: "store", module: Some("store.js"), header: search_form("") }, main).into_response())
}

fn row(heading: &str, cards: &[Card]) -> Markup {
    html! {
        @if !cards.is_empty() {
            section .shelf aria-label=(heading) {
                h2 { (heading) }
                ul .grid .strip tabindex="0" { @for card in cards { (parts::card(card)) } }
            }
        }
    }
}

fn product(app: &App, revision: &ProductRevision, shown: usize) -> Markup {
    let product = &revision.product;
    let id = product.id.as_str();
    let offer = app.house.offers.offer(id);
    let pictures = product.images.len().min(PICTURES_MAX);
    let path = product.categories.first();
    html! {
        article .product {
            div .pictures {
                (parts::main_photo(Card::of_image(product, shown).as_deref(), &product.title))
                @if pictures > 1 {
                    nav .thumbs aria-label="Pictures" {
                        @for index in 0..pictures {
                            a href={ "?image=" (index) } aria-current=[(index == shown).then_some("true")] aria-label={ "Picture " (index + 1) } { (parts::photo(Some(&image_path(id, index)), "")) }
                        }
                    }
                }
            }
            div .facts {
                @if let Some(path) = path {
                    nav .crumbs aria-label="Category" { @for name in &path.0 { a href={ "/store?category=" (path_segment(name)) } { (name) } } }
                }
                @if let Some(brand) = &product.brand { p .brand { (brand) } }
                h1 { (product.title) }
                p .row {
                    @if let Some(offer) = offer {
                        (parts::price(offer.price.as_ref(), offer.sale_price.as_ref()))
                        (parts::stock(offer.availability, offer.quantity))
                    }
                }
                @for paragraph in product.description.lines().filter(|line| !line.trim().is_empty()) { p .text { (paragraph) } }
                (variants(product))
                (attributes(product))
            }
        }
    }
}

fn variants(product: &domain::Product) -> Markup {
    html! {
        @if product.variants.len() > 1 {
            section .variants aria-labelledby="variants" {
                h2 #variants { "Available as" }
                ul {
                    @for variant in &product.variants {
                        li .out[!variant.offer.availability.is_available()] {
                            span .name { (variant_name(variant)) }
                            (parts::price(variant.offer.price.as_ref(), variant.offer.sale_price.as_ref()))
                            (parts::stock(variant.offer.availability, variant.offer.quantity.map(u64::from)))
                        }
                    }
                }
            }
        }
    }
}

fn variant_name(variant: &domain::Variant) -> String {
    let options: Vec<&str> = variant.options.values().map(String::as_str).collect();
    if options.is_empty() { variant.title.clone().unwrap_or_else(|| variant.id.clone()) } else { options.join(" · ") }
}

fn attributes(product: &domain::Product) -> Markup {
    let identifiers = [("SKU", &product.sku), ("GTIN", &product.gtin), ("Part number", &product.mpn)];
    let has_any = !product.attributes.is_empty() || identifiers.iter().any(|(_, value)| value.is_some());
    html! {
        @if has_any {
            section .attributes aria-labelledby="details" {
                h2 #details { "Details" }
                dl {
                    @for (name, values) in &product.attributes {
                        div { dt { (name.replace('_', " ")) } dd { (values.iter().map(|value| value.value.as_str()).collect::<Vec<_>>().join(", ")) } }
                    }
                    @for (name, value) in identifiers { @if let Some(value) = value { div { dt { (name) } dd { (value) } } } }
                }
            }
        }
    }
}
