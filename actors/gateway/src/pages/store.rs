//! The demo storefront: browse, search by words, photo, parts of a photo, colour or likeness, narrow down, look at one product.

mod narrow;
mod product;
mod visitor;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, Redirect};
use bytes::Bytes;
use domain::{FacetRequest, Shopper};
use kit::Context;
use maud::{Markup, html};
use protocol::search::{AttributeInfo, HITS_MAX};
use protocol::vision::Crop;

use crate::edge::Ctx;
use crate::logic::storefront::{self, GROUP, View};
use crate::pages::layout::{Frame, page};
use crate::pages::parts::{self, address, thousands};
use crate::problem::{Answer, Problem};
use crate::routes::App;
use crate::routes::recommend::LogicName;
use crate::routes::search::{self, Ask, BoxItems, Item, LookBody, Ranked, SearchBody};

pub(crate) use product::detail;

/// Cards on one page: divides by 2, 3 and 4 columns.
const CARDS: usize = 24;
/// Cards for each box of a photo.
const BOX_CARDS: usize = 12;
/// Values of an attribute to choose from.
const VALUES: usize = 40;
const ALL_PRODUCTS: &str = "All products";

/// `/` leads to the store.
pub(crate) async fn root() -> Redirect {
    Redirect::to("/store")
}

/// What stands below the heading.
enum Shown {
    /// One ranked list, what it can be narrowed down by, and the address of its next page.
    List {
        ranked: Box<Ranked>,
        next: Option<String>,
    },
    /// One list for each box of a photo.
    Boxes(Vec<BoxItems>),
    Nothing,
}

struct Content {
    heading: String,
    note: String,
    shown: Shown,
    /// Whether a photo that only the page's module still has is what was asked with.
    is_photo: bool,
}

/// The grid: everything, what was searched for, or what is like a product.
pub(crate) async fn browse(
    State(app): State<App>,
    Ctx(context): Ctx,
    Query(pairs): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Answer<Html<String>> {
    let is_front = pairs.is_empty();
    let view = View::read(pairs);
    let attributes = app.shelf.attributes(&app).await?;
    let content = match list(&app, &context, &view, None, &attributes).await {
        Ok(content) => content,
        Err(problem) => refused(problem)?,
    };
    let shelves = if is_front { front(&app, &context, visitor::visitor(&headers).as_deref()).await } else { Markup::default() };
    Ok(frame(&app, &view, &attributes, &content, &shelves))
}

/// What stands above everything on the front page: for this visitor, and for everybody.
async fn front(app: &App, context: &Context, who: Option<&str>) -> Markup {
    let has_history = who.is_some_and(|who| app.house.sessions.shopper(&Shopper::visitor(who)).is_some());
    let own = if has_history { visitor::shelf(app, context, LogicName::ForYou, "home", who, None).await } else { None };
    let trending = visitor::shelf(app, context, LogicName::Trending, "home_trending", who, None).await;
    html! {
        (visitor::row("For you", own.as_ref()))
        (visitor::row("Trending now", trending.as_ref()))
    }
}

/// The grid of what looks like a photo, or like the boxes drawn on it.
pub(crate) async fn by_photo(State(app): State<App>, Ctx(context): Ctx, request: Request) -> Answer<Html<String>> {
    let (fields, image) = search::read_form(&app, request).await?;
    let boxes = fields.iter().find(|(name, _)| name == "boxes").map(|(_, boxes)| boxes.clone());
    let view = View::read(fields);
    let attributes = app.shelf.attributes(&app).await?;
    let content = match photo(&app, &context, &view, image, boxes, &attributes).await {
        Ok(content) => content,
        Err(problem) => refused(problem)?,
    };
    Ok(frame(&app, &view, &attributes, &content, &Markup::default()))
}

async fn photo(
    app: &App,
    context: &Context,
    view: &View,
    image: Option<Bytes>,
    boxes: Option<String>,
    attributes: &[AttributeInfo],
) -> Answer<Content> {
    let image = image.ok_or_else(|| Problem::field("/image", "missing", "choose a photo first"))?;
    let boxes: Vec<[f32; 4]> = match boxes {
        Some(json) => serde_json::from_str(&json).map_err(|error| Problem::field("/boxes", "invalid_value", error.to_string()))?,
        None => Vec::new(),
    };
    if let [] | [_] = boxes.as_slice() {
        let crop = boxes.first().map(|edges| search::crop(*edges, "/boxes/0")).transpose()?;
        return list(app, context, view, Some((image, crop)), attributes).await;
    }
    let body = LookBody { boxes, limit: Some(BOX_CARDS.min(app.config.limit_max)), ..LookBody::default() };
    let (ask, crops) = Ask::of_look(body, Some(image))?;
    let look = search::look(app, context, Ask { filter: view.filter(attributes), ..ask }, crops).await?;
    let note = format!("{} boxes in {:.0} ms", look.boxes.len(), look.took_ms.max(1.0));
    Ok(Content { heading: "Shop the look".to_owned(), note, shown: Shown::Boxes(look.boxes), is_photo: true })
}

async fn list(
    app: &App,
    context: &Context,
    view: &View,
    photo: Option<(Bytes, Option<Crop>)>,
    attributes: &[AttributeInfo],
) -> Answer<Content> {
    let is_photo = photo.is_some();
    let (image, crop) = photo.unzip();
    let body = SearchBody {
        text: Some(view.words.clone()).filter(|words| !words.is_empty()),
        product_id: view.like.clone(),
        color: view.colour.clone(),
        overrides: view.but.iter().map(|(name, values)| (name.clone(), search::OneOrMany(values.clone()))).collect(),
        group_by: attributes.iter().any(|info| info.name == GROUP).then(|| GROUP.to_owned()),
        limit: Some(CARDS.min(app.config.limit_max)),
        offset: view.offset,
        ..SearchBody::default()
    };
    let ask = Ask {
        crop: crop.flatten(),
        filter: view.filter(attributes),
        sort: view.order(attributes),
        facets: facets(attributes),
        ..Ask::of(body, image)?
    };
    let ranked = search::run_logged(app, context, ask).await?;
    let more = if ranked.total_is_exact { "" } else { "+" };
    let noun = if ranked.total == 1 { "product" } else { "products" };
    let note = format!("{}{more} {noun} in {:.0} ms", thousands(ranked.total), ranked.took_ms.max(1.0));
    let next = ranked.next.filter(|next| next + CARDS <= HITS_MAX).map(|offset| {
        let mut pairs = view.pairs();
        pairs.push(("offset".to_owned(), offset.to_string()));
        address("/store", &pairs)
    });
    let heading = heading(app, view, is_photo);
    Ok(Content { heading, note, shown: Shown::List { ranked: Box::new(ranked), next }, is_photo })
}

fn facets(attributes: &[AttributeInfo]) -> Vec<FacetRequest> {
    let group_by = attributes.iter().any(|info| info.name == GROUP).then(|| GROUP.to_owned());
    let facet =
        |name: &str, limit| FacetRequest { attribute: name.to_owned(), limit, group_by: group_by.clone(), ..FacetRequest::default() };
    let mut facets: Vec<FacetRequest> = storefront::offered(attributes).into_iter().map(|info| facet(&info.name, VALUES)).collect();
    facets.extend(storefront::price(attributes).map(|name| facet(name, 0)));
    facets
}

fn heading(app: &App, view: &View, is_photo: bool) -> String {
    if is_photo {
        return "Looks like your photo".to_owned();
    }
    if let Some(id) = &view.like {
        let title = app.house.catalog.snapshot().get(id).map_or_else(|| id.clone(), |revision| revision.product.title.clone());
        let but: Vec<&str> = view.but.values().flatten().map(String::as_str).collect();
        return if but.is_empty() { format!("More like “{title}”") } else { format!("Like “{title}”, but {}", but.join(" or ")) };
    }
    match (view.words.is_empty(), &view.colour) {
        (false, _) => format!("Results for “{}”", view.words),
        (true, Some(colour)) => format!("In the colour {colour}"),
        (true, None) if view.is_narrowed() => "Products".to_owned(),
        (true, None) => ALL_PRODUCTS.to_owned(),
    }
}

/// What a shopper can do something about is said on the page; the rest is an error.
fn refused(problem: Problem) -> Answer<Content> {
    if problem.status.is_server_error() && problem.status != StatusCode::SERVICE_UNAVAILABLE {
        return Err(problem);
    }
    Ok(Content { heading: "That did not work".to_owned(), note: problem.detail, shown: Shown::Nothing, is_photo: false })
}

fn frame(app: &App, view: &View, attributes: &[AttributeInfo], content: &Content, shelves: &Markup) -> Html<String> {
    let main = html! {
        (stage())
        div #view {
            (shelves)
            div .heading {
                div { h1 #heading { (content.heading) } p .note role="status" { (content.note) } }
            }
            @if let Shown::List { ranked, .. } = &content.shown { (words(view, ranked)) }
            (narrow::chips(view))
            @match &content.shown {
                Shown::List { ranked, next } => {
                    div .shop {
                        (narrow::panel(view, &ranked.facets, attributes, content.is_photo))
                        section .results aria-labelledby="heading" {
                            @if ranked.items.is_empty() { (nothing(app, view)) }
                            ul #grid .grid { @for item in &ranked.items { (card(item)) } }
                            (more(next.as_deref(), ranked.next, content.is_photo))
                        }
                    }
                }
                Shown::Boxes(boxes) => { @for (index, found) in boxes.iter().enumerate() { (in_box(index, found)) } }
                Shown::Nothing => { (nothing(app, view)) }
            }
        }
        p #trouble .trouble role="alert" hidden {}
        div #drop .drop hidden aria-hidden="true" { p { "Drop the photo to find what looks like it" } }
    };
    page(
        Frame {
            title: &format!("{} · Gotham store", content.heading),
            place: "store",
            module: Some("store.js"),
            header: search_form(&view.words),
        },
        main,
    )
}

/// What became of the words: read otherwise, or better asked otherwise.
fn words(view: &View, ranked: &Ranked) -> Markup {
    let to = |words: &str| address("/store", &View { words: words.to_owned(), offset: 0, ..view.clone() }.pairs());
    html! {
        @if let Some(corrected) = &ranked.corrected { p .words { "Showing results for " a href=(to(corrected)) { strong { (corrected) } } } }
        @if let Some(other) = &ranked.did_you_mean { p .words { "Did you mean " a href=(to(other)) { strong { (other) } } "?" } }
        @if ranked.degraded.contains(&"not_embedded") { p .words { "This product has not been looked at yet: come back in a moment." } }
    }
}

fn card(item: &Item) -> Markup {
    parts::card_with(&item.product, item.group_size.filter(|size| *size > 1))
}

/// The way to the next page; of a photo only the page's module can go there.
fn more(next: Option<&str>, offset: Option<usize>, is_photo: bool) -> Markup {
    html! {
        p #more .more {
            @match (next, offset) {
                (Some(_), Some(offset)) if is_photo => { button type="button" data-offset=(offset) hidden { "Show more" } }
                (Some(next), _) => { a .button href=(next) rel="next" { "Show more" } }
                _ => {}
            }
        }
    }
}

fn in_box(index: usize, found: &BoxItems) -> Markup {
    let heading = format!("box-{index}");
    html! {
        section .shelf aria-labelledby=(heading) {
            h2 #(heading) { span .badge { (index + 1) } " Looks like box " (index + 1) }
            @if found.items.is_empty() { p .note { "Nothing found." } }
            ul .grid .strip tabindex="0" { @for item in &found.items { (card(item)) } }
        }
    }
}

fn nothing(app: &App, view: &View) -> Markup {
    html! {
        div .empty {
            @if app.house.catalog.snapshot().is_empty() {
                h2 { "No products yet" }
                p { "Give the box a catalog and its products appear here as they are read." }
                p { a .button href="/console" { "Upload a feed" } }
            } @else {
                h2 { "Nothing found" }
                @if view.is_narrowed() {
                    p { "No product has all that is chosen." }
                    p { a .button href=(address("/store", &view.cleared().pairs())) { "Clear the filters" } }
                } @else {
                    p { "Try other words, a photo, or have a look at everything." }
                    p { a .button href="/store" { "All products" } }
                }
            }
        }
    }
}

/// Where a photo is shown and boxes are drawn on it; the page's module brings it to life.
fn stage() -> Markup {
    html! {
        section #stage .stage aria-labelledby="stage-heading" hidden {
            div .canvas {
                img #preview alt="Your photo";
                svg #boxes viewBox="0 0 1 1" preserveAspectRatio="none" {}
            }
            div .about-stage {
                h2 #stage-heading { "Your photo" }
                p .note { "Draw a rectangle around what you are looking for. Several rectangles find something for each." }
                ul #box-list {}
                div .actions {
                    button #add-box type="button" .quiet { "Add a box" }
                    button #clear-photo type="button" .quiet { "Remove the photo" }
                }
                p .note .keys { "A box that has the focus is moved by the arrow keys, and resized by them with Shift." }
            }
        }
    }
}

fn search_form(words: &str) -> Markup {
    html! {
        search .search {
            form #words action="/store" method="get" {
                label .hidden for="q" { "Search products" }
                svg viewBox="0 0 24 24" aria-hidden="true" { path d="M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5 20 20" {} }
                input #q type="search" name="q" value=(words) placeholder="Search, or drop a photo" autocomplete="off" spellcheck="false" maxlength="200"
                    role="combobox" aria-expanded="false" aria-controls="suggestions" aria-autocomplete="list";
                ul #suggestions .suggestions role="listbox" aria-label="Suggestions" hidden {}
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
