//! Narrowing down: what is chosen as chips that can be taken off, and what can be chosen, with counts. A plain form: the page's module
//! sends it by itself at every change, without one there is a button.

use domain::{FacetCounts, FacetValue};
use maud::{Markup, html};
use protocol::search::AttributeInfo;

use crate::logic::storefront::{self, STEP, View, chosen_name};
use crate::pages::parts::{address, thousands};

/// Groups that stand open; the others open when they are asked for.
const GROUPS_OPEN: usize = 4;
/// Levels of a path that are indented further and further.
const LEVELS_MAX: usize = 4;
const COLOUR_DEFAULT: &str = "#1f4fd8";
const SORTS: [(&str, &str); 3] = [("relevance", "Relevance"), ("price", "Price, low to high"), ("-price", "Price, high to low")];

/// Everything that narrows the list down, each a link to the list without it.
pub(super) fn chips(view: &View) -> Markup {
    let chip = |text: Markup, name: &str, without: &View| {
        html! { li { a href=(address("/store", &without.pairs())) aria-label={ "Remove " (name) } data-go { (text) span .cross aria-hidden="true" { "×" } } } }
    };
    let colour_and_likeness = view.colour.is_some() || view.like.is_some();
    html! {
        @if view.is_narrowed() || colour_and_likeness || !view.but.is_empty() {
            ul .chosen aria-label="Chosen" {
                @if let Some(colour) = &view.colour {
                    (chip(html! { (swatch(colour)) " " (colour) }, "the colour", &View { colour: None, offset: 0, ..view.clone() }))
                }
                @if view.like.is_some() {
                    (chip(html! { "Like a product" }, "the likeness", &View { like: None, but: Default::default(), offset: 0, ..view.clone() }))
                }
                @for (attribute, values) in &view.but {
                    @for value in values {
                        (chip(html! { "But " (attribute.replace('_', " ")) ": " (value) }, value, &View { but: Default::default(), offset: 0, ..view.clone() }))
                    }
                }
                @for (attribute, values) in &view.chosen {
                    @for value in values { (chip(html! { (label(attribute)) ": " (value) }, value, &view.without(attribute, value))) }
                }
                @if view.price_min.is_some() || view.price_max.is_some() {
                    (chip(
                        html! {
                            "Price: "
                            @match (view.price_min, view.price_max) {
                                (Some(min), Some(max)) => { (min) " to " (max) }
                                (Some(min), None) => { "from " (min) }
                                (None, max) => { "up to " (max.unwrap_or_default()) }
                            }
                        },
                        "the price range",
                        &View { price_min: None, price_max: None, offset: 0, ..view.clone() },
                    ))
                }
                @if view.is_narrowed() { li { a .clear href=(address("/store", &view.cleared().pairs())) data-go { "Clear all" } } }
            }
        }
    }
}

/// The form beside the list. What looks like a photo can only be narrowed down by the module that has the photo.
pub(super) fn panel(view: &View, facets: &[FacetCounts], attributes: &[AttributeInfo], is_photo: bool) -> Markup {
    let price = storefront::price(attributes);
    let is_price = |facet: &FacetCounts| Some(facet.attribute.as_str()) == price;
    let is_chosen = |facet: &FacetCounts| view.chosen.contains_key(&facet.attribute);
    let groups = facets.iter().filter(|facet| !is_price(facet) && (!facet.values.is_empty() || is_chosen(facet)));
    html! {
        aside .narrow aria-label="Sort and filter" hidden[is_photo] data-photo[is_photo] {
            details #narrow {
                summary .button { "Sort and filter" }
                form #filters action="/store" method="get" {
                    @for (name, value) in view.query_pairs() { input type="hidden" name=(name) value=(value); }
                    @if price.is_some() {
                        label .sort { span { "Sort by" }
                            select name="sort" {
                                @for (key, name) in SORTS {
                                    option value=(key) selected[view.sort.as_deref().unwrap_or("relevance") == key] { (name) }
                                }
                            }
                        }
                    }
                    @if let Some(price) = facets.iter().find(|facet| is_price(facet)) { (range(view, price)) }
                    @for (index, facet) in groups.enumerate() { (group(view, facet, index < GROUPS_OPEN)) }
                    button .apply type="submit" { "Apply" }
                }
                @if !is_photo { (colour(view)) }
            }
        }
    }
}

fn range(view: &View, facet: &FacetCounts) -> Markup {
    let amount = |amount: Option<f64>| amount.map(|amount| amount.to_string());
    let (least, most) = facet.stats.map_or((None, None), |stats| (Some(stats.min.floor()), Some(stats.max.ceil())));
    html! {
        fieldset {
            legend { "Price" }
            div .range {
                label { span .hidden { "From" } input type="text" inputmode="decimal" name="min" value=[amount(view.price_min)] placeholder=[amount(least)] size="6"; }
                span aria-hidden="true" { "–" }
                label { span .hidden { "To" } input type="text" inputmode="decimal" name="max" value=[amount(view.price_max)] placeholder=[amount(most)] size="6"; }
            }
        }
    }
}

/// One attribute: the values found, most frequent first, and those chosen that nothing found has any more. Paths stand below one
/// another as a tree.
fn group(view: &View, facet: &FacetCounts, is_open: bool) -> Markup {
    let name = chosen_name(&facet.attribute);
    let chosen = view.chosen.get(&facet.attribute).map(Vec::as_slice).unwrap_or_default();
    let gone = chosen.iter().filter(|value| !facet.values.iter().any(|found| found.value == **value));
    let gone = gone.map(|value| FacetValue { value: value.clone(), count: 0 });
    let mut values: Vec<FacetValue> = facet.values.iter().cloned().chain(gone).collect();
    let is_tree = values.iter().any(|one| one.value.contains(STEP));
    if is_tree {
        values.sort_by(|left, right| left.value.split(STEP).cmp(right.value.split(STEP)));
    }
    html! {
        details .group #{ "group-" (facet.attribute) } open[is_open || !chosen.is_empty()] {
            summary { (label(&facet.attribute)) }
            fieldset {
                legend .hidden { (label(&facet.attribute)) }
                ul .values {
                    @for FacetValue { value, count } in &values {
                        @let steps: Vec<&str> = if is_tree { value.split(STEP).collect() } else { vec![value] };
                        li .{ "level-" (steps.len().min(LEVELS_MAX)) } { label {
                            input type="checkbox" name=(name) value=(value) checked[view.is_chosen(&facet.attribute, value)];
                            span .value { (steps.last().copied().unwrap_or_default()) } span .count { (thousands(count)) }
                        } }
                    }
                }
            }
        }
    }
}

fn colour(view: &View) -> Markup {
    let others = View { colour: None, like: None, but: Default::default(), ..view.clone() };
    html! {
        form #colour .colour action="/store" method="get" {
            @for (name, value) in others.pairs() {
                input type="hidden" name=(name) value=(value);
            }
            label { span { "Colour" } input type="color" name="color" value=(view.colour.as_deref().unwrap_or(COLOUR_DEFAULT)); }
            button .quiet { "Find this colour" }
        }
    }
}

/// A spot of a colour.
pub(super) fn swatch(colour: &str) -> Markup {
    html! { svg .swatch viewBox="0 0 8 8" aria-hidden="true" { rect width="8" height="8" fill=(colour) {} } }
}

/// An attribute's name for people.
pub(super) fn label(attribute: &str) -> String {
    let name = attribute.replace('_', " ");
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
