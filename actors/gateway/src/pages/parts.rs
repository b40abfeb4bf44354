//! What several pages show alike: prices, stock, product cards, numbers.

use domain::{Availability, Money};
use maud::{Markup, html};

use crate::schema::{Card, path_segment};

/// From here on down a shopper is told how many are left.
const FEW_MAX: u64 = 5;

/// An amount as shoppers read it.
pub(crate) fn price_text(money: &Money) -> String {
    let amount = money.amount();
    let (sign, digits) = amount.strip_prefix('-').map_or(("", amount.as_str()), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, fraction)| (whole, Some(fraction)));
    let grouped = thousands(whole);
    let number = fraction.map_or_else(|| grouped.clone(), |fraction| format!("{grouped}.{fraction}"));
    match money.currency.as_str() {
        "EUR" => format!("{sign}€{number}"),
        "USD" => format!("{sign}${number}"),
        "GBP" => format!("{sign}£{number}"),
        "JPY" => format!("{sign}¥{number}"),
        code => format!("{sign}{number} {code}"),
    }
}

/// Digits in groups of three.
pub(crate) fn thousands(digits: impl ToString) -> String {
    let digits = digits.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The price, and what it was before.
pub(crate) fn price(price: Option<&Money>, sale: Option<&Money>) -> Markup {
    let reduced = sale.filter(|sale| price.is_none_or(|price| sale.amount_e4 < price.amount_e4));
    html! {
        span .price {
            @match (reduced, price) {
                (Some(now), Some(before)) => { span .sale { span .hidden { "Now " } (price_text(now)) } " " s { span .hidden { "before " } (price_text(before)) } }
                (Some(now), None) => { (price_text(now)) }
                (None, Some(now)) => { (price_text(now)) }
                (None, None) => {}
            }
        }
    }
}

/// A stock badge: a word, and a colour that repeats it.
pub(crate) fn stock(availability: Availability, quantity: Option<u64>) -> Markup {
    let (class, text) = match (availability, quantity) {
        (Availability::OutOfStock, _) | (Availability::InStock, Some(0)) => ("out", "Out of stock".to_owned()),
        (Availability::InStock, Some(few)) if few <= FEW_MAX => ("few", format!("Only {few} left")),
        (Availability::InStock, _) => ("in", "In stock".to_owned()),
        (Availability::Preorder, _) => ("later", "Pre-order".to_owned()),
        (Availability::Backorder, _) => ("later", "Ships later".to_owned()),
    };
    html! { span .stock .(class) { (text) } }
}

/// A path with query parameters.
pub(crate) fn address(path: &str, pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{}={}", path_segment(name), path_segment(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// A product in a grid.
pub(crate) fn card(card: &Card) -> Markup {
    card_with(card, None)
}

/// A product in a grid that stands for several forms of it.
pub(crate) fn card_with(card: &Card, forms: Option<usize>) -> Markup {
    html! { li .card { (inner(card, forms, "")) } }
}

/// A recommended product: which one, in which place, and why.
pub(crate) fn card_because(card: &Card, id: &str, rank: usize, reason: &str) -> Markup {
    html! { li .card data-product=(id) data-position=(rank) { (inner(card, None, reason)) } }
}

fn inner(card: &Card, forms: Option<usize>, reason: &str) -> Markup {
    html! {
        a href={ "/store/p/" (path_segment(&card.id)) } {
            (photo(card.image.as_deref(), ""))
            span .about {
                @if let Some(brand) = &card.brand { span .brand { (brand) } }
                span .title { (card.title) }
                @if let Some(forms) = forms { span .forms { (forms) " forms" } }
                @if !reason.is_empty() { span .because { (reason) } }
                span .row {
                    (price(card.price.as_ref(), card.sale_price.as_ref()))
                    (stock(card.availability, card.quantity))
                }
            }
        }
        a .like href={ "/store?like=" (path_segment(&card.id)) } aria-label={ "More like " (card.title) } title="More like this" {
            svg viewBox="0 0 24 24" aria-hidden="true" { path d="M8 4h12v12H8zM4 8v12h12" {} }
        }
    }
}

/// A picture in its frame, fetched when it comes into view; the frame shows by itself while there is none.
pub(crate) fn photo(address: Option<&str>, alt: &str) -> Markup {
    framed(address, alt, "lazy")
}

/// The picture that a page is about.
pub(crate) fn main_photo(address: Option<&str>, alt: &str) -> Markup {
    framed(address, alt, "eager")
}

fn framed(address: Option<&str>, alt: &str, loading: &str) -> Markup {
    html! {
        span .photo {
            svg viewBox="0 0 24 24" aria-hidden="true" { path d="M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01" {} }
            @if let Some(address) = address { img src=(address) alt=(alt) loading=(loading); }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_by_table() {
        for (amount, currency, shown) in [
            ("1299", "USD", "$1,299.00"),
            ("-19.9", "EUR", "-€19.90"),
            ("1280", "JPY", "¥1,280"),
            ("1234567.5", "CHF", "1,234,567.50 CHF"),
            ("0", "GBP", "£0.00"),
        ] {
            let money = Money::parse(amount, currency.parse().expect("a currency")).expect("an amount");
            assert_eq!(price_text(&money), shown);
        }
    }

    #[test]
    fn stock_is_said_in_words() {
        for (availability, quantity, word) in [
            (Availability::InStock, None, "In stock"),
            (Availability::InStock, Some(3), "Only 3 left"),
            (Availability::InStock, Some(0), "Out of stock"),
            (Availability::InStock, Some(6), "In stock"),
            (Availability::OutOfStock, Some(9), "Out of stock"),
            (Availability::Preorder, None, "Pre-order"),
        ] {
            assert!(stock(availability, quantity).into_string().contains(word), "{availability:?} {quantity:?}");
        }
    }

    #[test]
    fn only_a_lower_price_is_a_sale() {
        let eur = |amount: &str| Money::parse(amount, "EUR".parse().expect("a currency")).expect("an amount");
        assert!(price(Some(&eur("10")), Some(&eur("8"))).into_string().contains("<s>"));
        assert!(!price(Some(&eur("10")), Some(&eur("12"))).into_string().contains("12"));
    }
}
