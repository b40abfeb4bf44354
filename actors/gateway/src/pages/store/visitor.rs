//! Who looks at the demo store, as far as its cookie says, and the shelves made for them.

use axum::http::{HeaderMap, header};
use kit::Context;
use maud::{Markup, html};

use crate::pages::parts;
use crate::routes::App;
use crate::routes::recommend::{LogicName, Question, RecommendBody, Recommended, run};

const COOKIE: &str = "gotham_visitor";
const SHELF: usize = 12;

/// The visitor that the page's module has named.
pub(super) fn visitor(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|cookies| cookies.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let value = pairs.into_iter().find(|(name, _)| *name == COOKIE)?.1;
    let is_plain = (1..=64).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_plain.then(|| value.to_owned())
}

/// One list for the visitor, or none: a page is worth showing without it.
pub(super) async fn shelf(
    app: &App,
    context: &Context,
    logic: LogicName,
    placement: &str,
    visitor: Option<&str>,
    product: Option<&str>,
) -> Option<Recommended> {
    let body = RecommendBody {
        logic: Some(logic),
        placement: Some(placement.to_owned()),
        visitor_id: visitor.map(str::to_owned),
        product_ids: product.map(str::to_owned).into_iter().collect(),
        limit: Some(SHELF.min(app.config.limit_max)),
        fallback: Some(false),
        ..RecommendBody::default()
    };
    let question = Question::of(app, body).ok()?;
    let answer = run(app, context, &question).await.inspect_err(|problem| tracing::debug!(detail = %problem.detail, "a shelf stays empty"));
    answer.ok().filter(|answer| !answer.items.is_empty())
}

/// A row of cards that tell the box what was clicked, and why they are there.
pub(super) fn row(heading: &str, answer: Option<&Recommended>) -> Markup {
    html! {
        @if let Some(answer) = answer {
            section .shelf aria-label=(heading) data-token=(answer.attribution_token) {
                div .shelf-head { h2 { (heading) } }
                ul .grid .strip tabindex="0" {
                    @for item in &answer.items {
                        @if let Some(product) = &item.product {
                            (parts::card_because(product, &item.id, item.rank, item.reasons.first().map_or("", String::as_str)))
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_visitor_is_what_the_cookie_says_and_nothing_else() {
        for (cookies, expected) in [
            ("gotham_visitor=abc-1", Some("abc-1")),
            ("a=b; gotham_visitor=x9 ; c=d", Some("x9")),
            ("other=1", None),
            ("gotham_visitor=", None),
            ("gotham_visitor=<script>", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_static(cookies));
            assert_eq!(visitor(&headers).as_deref(), expected, "{cookies}");
        }
        assert_eq!(visitor(&HeaderMap::new()), None);
    }
}
