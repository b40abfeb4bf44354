//! The merchandiser's tags: how well each attribute is known, suggestions to confirm or correct, and a picture to try it out. Plain forms:
//! it works without a script.

use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use bytes::Bytes;
use maud::{Markup, html};
use protocol::tags::Verdict;

use crate::edge::Ctx;
use crate::extract::Params;
use crate::pages::layout::{Frame, page};
use crate::pages::parts::{self, address, thousands};
use crate::problem::{Answer, Problem};
use crate::routes::App;
use crate::routes::search;
use crate::routes::tags::known::{self, AttributeDoc, ReviewDoc, ReviewItemDoc, ReviewParams, VocabularyDoc};
use crate::routes::tags::{self, ObjectDoc, PictureTagsDoc, TagDoc};
use crate::schema::{image_path, path_segment};

const PATH: &str = "/console/tags";
/// Who corrects on this page, where nobody is named.
const CORRECTOR: &str = "console";
/// Values of an attribute that are offered while somebody types.
const OFFERED_MAX: usize = 200;

/// The page.
pub(crate) async fn panel(State(app): State<App>, Params(params): Params<ReviewParams>) -> Answer<Html<String>> {
    let attribute = params.attribute.clone().filter(|name| !name.is_empty());
    let review = known::reviewed(&app, ReviewParams { attribute: attribute.clone(), ..params }).await?;
    Ok(frame(&app, attribute.as_deref(), &review, None))
}

/// Tags a picture that was uploaded here.
pub(crate) async fn try_out(State(app): State<App>, Ctx(context): Ctx, request: Request) -> Answer<Html<String>> {
    let (_, image) = search::read_form(&app, request).await?;
    let answer = match image {
        Some(image) => shown(&app, &context, image).await,
        None => Err(Problem::field("/image", "missing", "choose a photo first")),
    };
    let review = known::reviewed(&app, ReviewParams::default()).await?;
    Ok(frame(&app, None, &review, Some(answer)))
}

async fn shown(app: &App, context: &kit::Context, image: Bytes) -> Answer<PictureTagsDoc> {
    tags::tagged(app, context, image, None, true).await
}

/// Takes a verdict from the review list, and shows the list again.
pub(crate) async fn judge(State(app): State<App>, request: Request) -> Answer<Response> {
    let (fields, _) = search::read_form(&app, request).await?;
    let get = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, text)| text.clone());
    let needed = |name: &str| get(name).ok_or_else(|| Problem::field(format!("/{name}"), "missing", format!("`{name}` is missing")));
    let (product, attribute) = (needed("product")?, needed("attribute")?);
    let verdict = match needed("verdict")?.as_str() {
        "confirm" => Verdict::Is(needed("suggested")?),
        "correct" => Verdict::Is(needed("value")?),
        "none" => Verdict::HasNone,
        "withdraw" => Verdict::Withdrawn,
        _ => return Err(Problem::field("/verdict", "invalid_value", "is `confirm`, `correct`, `none` or `withdraw`")),
    };
    tags::judge(&app, &product, vec![(attribute, verdict)], Some(get("by").unwrap_or_else(|| CORRECTOR.to_owned()))).await?;
    let back = get("back").map(|attribute| vec![("attribute".to_owned(), attribute)]).unwrap_or_default();
    Ok(Redirect::to(&address(PATH, &back)).into_response())
}

fn frame(app: &App, attribute: Option<&str>, review: &ReviewDoc, tried: Option<Answer<PictureTagsDoc>>) -> Html<String> {
    let vocabulary = known::known_vocabulary(app);
    let main = html! {
        div .console-page {
            nav .crumbs aria-label="Path" { a href="/console" { "Console" } }
            h1 { "Tags" }
            (tiles(&vocabulary))
            (try_form(tried.as_ref()))
            (reviewing(&vocabulary, attribute, review))
            (attribute_list(&vocabulary))
        }
    };
    page(Frame { title: "Tags · Gotham console", place: "console", module: None, header: html! { span .spacer {} } }, main)
}

fn tiles(vocabulary: &VocabularyDoc) -> Markup {
    let progress = &vocabulary.progress;
    let tile = |name: &str, value: String| html! { div .tile { dt { (name) } dd { (value) } } };
    html! {
        dl .tiles {
            (tile("With picture", thousands(progress.products)))
            (tile("Tagged", thousands(progress.tagged)))
            (tile("Learned from", thousands(vocabulary.rows)))
            (tile("Corrections", thousands(progress.corrections)))
            (tile("Unreadable pictures", thousands(progress.failed)))
        }
        p .note {
            @match &vocabulary.taught_at { Some(at) => { "Learned last at " time datetime=(at) { (at) } } None => { "Nothing has been learned yet: it needs 20 labelled products with pictures" } }
            @if !vocabulary.model_version.is_empty() { " · version " code { (vocabulary.model_version) } }
        }
    }
}

fn try_form(tried: Option<&Answer<PictureTagsDoc>>) -> Markup {
    html! {
        section .panel aria-labelledby="try-heading" {
            h2 #try-heading { "Try a picture" }
            form .form method="post" action=(PATH) enctype="multipart/form-data" {
                label .wide { span { "Photo" } input type="file" name="image" accept="image/*" required; }
                div .wide .actions { button .primary { "What does it show?" } }
            }
            @match tried {
                Some(Ok(found)) => { (picture(found)) }
                Some(Err(problem)) => { div .trouble role="alert" { p { (problem.detail) } } }
                None => {}
            }
        }
    }
}

fn picture(found: &PictureTagsDoc) -> Markup {
    let objects = found.objects.as_deref().unwrap_or_default();
    html! {
        h3 { "The picture" }
        (object(&found.main))
        @if objects.len() > 1 {
            @for (at, one) in objects.iter().enumerate() { h3 { "Object " (at + 1) } (object(one)) }
        }
    }
}

fn object(object: &ObjectDoc) -> Markup {
    let percent = |share: f32| format!("{:.0} %", share * 100.0);
    let [x, y, width, height] = object.found.crop.map(percent);
    let colours: Vec<String> = object.colour_names.iter().take(3).map(|named| format!("{} {}", named.name, percent(named.share))).collect();
    html! {
        dl .query {
            div { dt { "Where" } dd { (x) " from the left, " (y) " from the top, " (width) " x " (height) } }
            @if !colours.is_empty() { div { dt { "Colours" } dd { (colours.join(", ")) } } }
        }
        ul .parts {
            @for (tag, is_fact) in object.facts.iter().map(|tag| (tag, true)).chain(object.suggestions.iter().map(|tag| (tag, false))) {
                li {
                    span .name { (tag.attribute) }
                    (sureness(tag))
                    span .note { @if is_fact { strong { (tag.value) } } @else { (tag.value) "?" } " · " (percent(tag.confidence)) " · " (source(tag)) }
                }
            }
        }
    }
}

fn sureness(tag: &TagDoc) -> Markup {
    html! { meter min="0" max="100" value=(format!("{:.1}", tag.confidence * 100.0)) aria-label={ "How sure " (tag.value) " is" } {} }
}

fn source(tag: &TagDoc) -> &'static str {
    use protocol::tags::TagSource;
    match tag.source {
        TagSource::Human => "a person",
        TagSource::Catalog => "the catalog",
        TagSource::Learned => "learned",
        TagSource::Measured => "measured",
        TagSource::ZeroShot => "by words",
    }
}

fn reviewing(vocabulary: &VocabularyDoc, attribute: Option<&str>, review: &ReviewDoc) -> Markup {
    let next = |offset: usize| {
        let own = attribute.map(|name| ("attribute".to_owned(), name.to_owned()));
        address(PATH, &own.into_iter().chain([("offset".to_owned(), offset.to_string())]).collect::<Vec<_>>())
    };
    html! {
        section .panel aria-labelledby="review-heading" {
            h2 #review-heading { "To confirm or correct" @if let Some(name) = attribute { ": " (name) } }
            p .note { "The least certain first. What you say wins over everything, and is learned from." }
            nav .chips aria-label="Attributes" {
                a href=(PATH) aria-current=[attribute.is_none().then_some("true")] { "All" }
                @for one in &vocabulary.attributes {
                    a href={ (PATH) "?attribute=" (path_segment(&one.name)) } aria-current=[(attribute == Some(one.name.as_str())).then_some("true")] { (one.title) }
                }
            }
            @for one in &vocabulary.attributes {
                datalist #{ "values-" (one.name) } { @for value in one.values.iter().take(OFFERED_MAX) { option value=(value) {} } }
            }
            @if review.items.is_empty() { p .note { "Nothing is uncertain." } }
            @else {
                div .scroll {
                    table .ranking {
                        thead { tr { th scope="col" { span .hidden { "Picture" } } th scope="col" { "Product" } th scope="col" { "Suggestion" } th scope="col" { "Nearest with it" } th scope="col" { "What is it?" } } }
                        tbody { @for item in &review.items { (row(item, attribute)) } }
                    }
                }
                @if let Some(offset) = review.next { p .more { a .button href=(next(offset)) rel="next" { "Next" } } }
            }
        }
    }
}

fn row(item: &ReviewItemDoc, back: Option<&str>) -> Markup {
    let tag = &item.suggestion;
    html! {
        tr {
            td .small { (parts::photo(Some(&item.image), "")) }
            td {
                a href={ "/store/p/" (path_segment(&item.product_id)) } { (item.title.as_deref().unwrap_or(&item.product_id)) }
                p .note { code { (item.product_id) } }
            }
            td {
                (tag.attribute) ": " strong { (tag.value) }
                p { (sureness(tag)) }
                p .note { (format!("{:.0} %", tag.confidence * 100.0)) " · " (source(tag)) }
            }
            td .small {
                @for id in &tag.evidence { a href={ "/store/p/" (path_segment(id)) } { (parts::photo(Some(&image_path(id, 0)), id)) } }
            }
            td {
                form method="post" action={ (PATH) "/judge" } enctype="multipart/form-data" {
                    input type="hidden" name="product" value=(item.product_id);
                    input type="hidden" name="attribute" value=(tag.attribute);
                    input type="hidden" name="suggested" value=(tag.value);
                    @if let Some(back) = back { input type="hidden" name="back" value=(back); }
                    button .quiet name="verdict" value="confirm" { "It is " (tag.value) }
                    label { span .hidden { "Another value" } input type="text" name="value" list={ "values-" (tag.attribute) } placeholder="another value" maxlength="200" autocomplete="off"; }
                    button .quiet name="verdict" value="correct" { "Correct" }
                    button .quiet name="verdict" value="none" { "None of this kind" }
                }
            }
        }
    }
}

fn attribute_list(vocabulary: &VocabularyDoc) -> Markup {
    html! {
        section .panel aria-labelledby="vocabulary-heading" {
            h2 #vocabulary-heading { "Vocabulary" }
            p .note { "Accuracy, coverage and precision as measured on labelled products that had not been learned from; a tag is told as a fact from its threshold on." }
            div .scroll {
                table #attributes {
                    thead { tr { th scope="col" { "Attribute" } th scope="col" .number { "Values" } th scope="col" .number { "Labelled" } th scope="col" .number { "Accuracy" } th scope="col" .number { "Threshold" } th scope="col" .number { "Facts" } th scope="col" .number { "Right among facts" } } }
                    tbody { @for attribute in &vocabulary.attributes { (attribute_row(attribute)) } }
                }
            }
        }
    }
}

fn attribute_row(attribute: &AttributeDoc) -> Markup {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    html! {
        tr {
            th scope="row" { a href={ (PATH) "?attribute=" (path_segment(&attribute.name)) } { (attribute.title) } }
            td .number { (attribute.values.len()) @if attribute.open { "+" } }
            @match &attribute.lesson {
                Some(lesson) => {
                    td .number { (thousands(lesson.rows)) }
                    td .number { (percent(lesson.accuracy)) }
                    td .number { @if lesson.threshold > 1.0 { "never" } @else { (format!("{:.2}", lesson.threshold)) } }
                    td .number { (percent(lesson.coverage)) }
                    td .number { @if lesson.coverage > 0.0 { (percent(lesson.precision)) } @else { "–" } }
                }
                None => { td .number { "0" } td colspan="4" .note { @match attribute.measured { Some(_) => "measured from the pixels", None => "no labels to learn from" } } }
            }
        }
    }
}
