//! One product: pictures, price, details, its other forms, and what is like it, also with another colour.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::Product;
use maud::{Markup, html};
use protocol::catalog::ProductRevision;
use protocol::search::AttributeInfo;
use serde::Deserialize;

use super::search_form;
use super::visitor::{self, shelf, visitor};
use crate::edge::Ctx;
use crate::extract::Params;
use crate::logic::storefront::{chosen_name, path_value};
use crate::pages::layout::{Frame, page};
use crate::pages::parts::{self, address};
use crate::problem::{Answer, Problem};
use crate::routes::recommend::LogicName;
use crate::routes::search::{self, Ask};
use crate::routes::{App, shop};
use crate::schema::{Card, image_path};

const SIMILAR: usize = 12;
/// Pictures of one product that are offered.
const PICTURES_MAX: usize = 8;
/// Attributes that a likeness is offered in another value of, the first that the catalog knows.
const COLOURS: [&str; 2] = ["color", "colour"];
/// Other values of it.
const COLOURS_MAX: usize = 8;

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
    let attributes = app.shelf.attributes(&app).await?;
    let (who, this) = (visitor(&headers), Some(id.as_str()));
    let together = shelf(&app, &context, LogicName::BoughtTogether, "product_page_together", who.as_deref(), this).await;
    let viewed = shelf(&app, &context, LogicName::AlsoViewed, "product_page", who.as_deref(), this).await;
    let main = html! {
        (product(&app, &revision, params.image, &attributes))
        (visitor::row("Bought together", together.as_ref()))
        (visitor::row("People also viewed", viewed.as_ref()))
        (row("Other forms", &shop::siblings(&app, &revision), None))
        (row("Similar items", &similar, Some(&link("/store", "like", revision.product.id.as_str()))))
    };
    let title = format!("{} · Gotham store", revision.product.title);
    Ok(page(Frame { title: &title, place: "store", module: Some("store.js"), header: search_form("") }, main).into_response())
}

/// An address with one parameter.
fn link(path: &str, name: &str, value: &str) -> String {
    address(path, &[(name.to_owned(), value.to_owned())])
}

fn row(heading: &str, cards: &[Card], all: Option<&str>) -> Markup {
    html! {
        @if !cards.is_empty() {
            section .shelf aria-label=(heading) {
                div .shelf-head { h2 { (heading) } @if let Some(all) = all { a .note href=(all) { "See all" } } }
                ul .grid .strip tabindex="0" { @for card in cards { (parts::card(card)) } }
            }
        }
    }
}

fn product(app: &App, revision: &ProductRevision, shown: usize, attributes: &[AttributeInfo]) -> Markup {
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
                    nav .crumbs aria-label="Category" { @for (index, name) in path.0.iter().enumerate() { a href=(link("/store", &chosen_name("category"), &path_value(&path.0[..=index]))) { (name) } } }
                }
                @if let Some(brand) = &product.brand { p .brand { a href=(link("/store", &chosen_name("brand"), brand)) { (brand) } } }
                h1 { (product.title) }
                p .row {
                    @if let Some(offer) = offer {
                        (parts::price(offer.price.as_ref(), offer.sale_price.as_ref()))
                        (parts::stock(offer.availability, offer.quantity))
                    }
                }
                p .actions {
                    button type="button" data-event="add_to_cart" data-product=(id) data-done="In the cart" { "Add to cart" }
                    button type="button" data-event="purchase" data-product=(id) data-done="Bought" { "Buy now" }
                }
                @for paragraph in product.description.lines().filter(|line| !line.trim().is_empty()) { p .text { (paragraph) } }
                (variants(product))
                (other_colours(product, attributes))
                (details(product))
            }
        }
    }
}

fn variants(product: &Product) -> Markup {
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

fn details(product: &Product) -> Markup {
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

/// "Like this, but in red".
fn other_colours(product: &Product, attributes: &[AttributeInfo]) -> Markup {
    let info = COLOURS.iter().find_map(|name| attributes.iter().find(|info| info.name == *name));
    let own = |value: &str| {
        let own = info.and_then(|info| product.attributes.get(&info.name));
        own.is_some_and(|own| own.iter().any(|own| own.value.to_lowercase() == value.to_lowercase()))
    };
    let values: Vec<&String> = info.iter().flat_map(|info| &info.examples).filter(|value| !own(value)).take(COLOURS_MAX).collect();
    html! {
        @if let Some(info) = info.filter(|_| !values.is_empty()) {
            section .but aria-labelledby="but" {
                h2 #but { "Like this, but in" }
                ul .chips { @for value in values {
                    li { a href=(address("/store", &[("like".to_owned(), product.id.to_string()), (format!("but.{}", info.name), value.clone())])) { (value) } }
                } }
            }
        }
    }
}
