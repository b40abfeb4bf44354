//! Availability and quantities in the spellings of feeds and shop systems.

use domain::{Availability, Offer};

/// Spellings, lower case, letters and digits alone. A schema.org URL counts by its last part.
const SPELLINGS: [(&str, Availability); 33] = [
    ("instock", Availability::InStock),
    ("in", Availability::InStock),
    ("available", Availability::InStock),
    ("yes", Availability::InStock),
    ("true", Availability::InStock),
    ("1", Availability::InStock),
    ("limitedavailability", Availability::InStock),
    ("limitedstock", Availability::InStock),
    ("lowstock", Availability::InStock),
    ("onlineonly", Availability::InStock),
    ("instoreonly", Availability::InStock),
    ("outofstock", Availability::OutOfStock),
    ("notinstock", Availability::OutOfStock),
    ("out", Availability::OutOfStock),
    ("soldout", Availability::OutOfStock),
    ("unavailable", Availability::OutOfStock),
    ("notavailable", Availability::OutOfStock),
    ("discontinued", Availability::OutOfStock),
    ("no", Availability::OutOfStock),
    ("false", Availability::OutOfStock),
    ("0", Availability::OutOfStock),
    ("preorder", Availability::Preorder),
    ("presale", Availability::Preorder),
    ("comingsoon", Availability::Preorder),
    ("backorder", Availability::Backorder),
    ("backordered", Availability::Backorder),
    ("onbackorder", Availability::Backorder),
    ("onorder", Availability::Backorder),
    ("madetoorder", Availability::Backorder),
    ("availablefororder", Availability::Backorder),
    ("specialorder", Availability::Backorder),
    ("ships", Availability::InStock),
    ("reserved", Availability::OutOfStock),
];

/// An availability by name: `in stock`, `in_stock`, `In-Stock`, `https://schema.org/InStock`.
pub fn parse_availability(text: &str) -> Option<Availability> {
    let last = text.trim().trim_end_matches('/').rsplit(['/', '#']).next().unwrap_or_default();
    let letters: String = last.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    SPELLINGS.iter().find(|(spelling, _)| *spelling == letters).map(|(_, availability)| *availability)
}

/// A count of pieces: `12`, `12.0`, `12,00`; below zero is none left.
pub fn parse_quantity(text: &str) -> Option<u32> {
    let text = text.trim();
    let whole = text.split_once(['.', ',']).map_or(Some(text), |(whole, zeros)| zeros.bytes().all(|b| b == b'0').then_some(whole))?;
    whole.parse::<i64>().ok().map(|count| u32::try_from(count.max(0)).unwrap_or(u32::MAX))
}

/// Stock of a Shopify variant. Without an inventory tracker the shop does not count pieces and always sells; with one, an
/// empty stock is sold on only under the policy `continue`. Newer exports track but carry no quantity.
pub fn shopify_stock(tracker: &str, quantity: &str, policy: &str) -> Offer {
    let counted = if tracker.trim().is_empty() { None } else { parse_quantity(quantity) };
    let availability = match counted {
        Some(0) if policy.trim().eq_ignore_ascii_case("continue") => Availability::Backorder,
        Some(0) => Availability::OutOfStock,
        _ => Availability::InStock,
    };
    Offer { availability, quantity: counted, ..Offer::default() }
}

/// Stock of a Vendure variant: counted unless `trackInventory` says no.
pub fn vendure_stock(stock_on_hand: &str, track_inventory: &str) -> Offer {
    let is_counted = !matches!(parse_availability(track_inventory), Some(Availability::OutOfStock));
    let quantity = if is_counted { parse_quantity(stock_on_hand) } else { None };
    let availability = if quantity == Some(0) { Availability::OutOfStock } else { Availability::InStock };
    Offer { availability, quantity, ..Offer::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Availability::{Backorder, InStock, OutOfStock, Preorder};

    #[test]
    fn spellings_by_table() {
        let cases = [
            ("in stock", Some(InStock)),
            ("in_stock", Some(InStock)),
            (" In-Stock ", Some(InStock)),
            ("IN_STOCK", Some(InStock)),
            ("https://schema.org/InStock", Some(InStock)),
            ("http://schema.org/OutOfStock/", Some(OutOfStock)),
            ("out of stock", Some(OutOfStock)),
            ("Sold Out", Some(OutOfStock)),
            ("preorder", Some(Preorder)),
            ("pre-order", Some(Preorder)),
            ("BACKORDER", Some(Backorder)),
            ("back order", Some(Backorder)),
            ("perhaps", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_availability(text), expected, "{text}");
        }
    }

    #[test]
    fn quantities_by_table() {
        for (text, expected) in [
            ("12", Some(12)),
            ("34.0", Some(34)),
            (" 7,00 ", Some(7)),
            ("-3", Some(0)),
            ("1.5", None),
            ("", None),
            ("many", None),
            ("99999999999", Some(u32::MAX)),
        ] {
            assert_eq!(parse_quantity(text), expected, "{text}");
        }
    }

    #[test]
    fn shop_stock_by_table() {
        let cases = [
            (("shopify", "3", "deny"), (InStock, Some(3))),
            (("shopify", "0", "deny"), (OutOfStock, Some(0))),
            (("shopify", "-2", "deny"), (OutOfStock, Some(0))),
            (("shopify", "0", "continue"), (Backorder, Some(0))),
            (("shopify", "", "deny"), (InStock, None)),
            (("", "0", "deny"), (InStock, None)),
        ];
        for ((tracker, quantity, policy), expected) in cases {
            let offer = shopify_stock(tracker, quantity, policy);
            assert_eq!((offer.availability, offer.quantity), expected, "{tracker} {quantity} {policy}");
        }
        for ((stock, track), expected) in [
            (("100", ""), (InStock, Some(100))),
            (("0", "true"), (OutOfStock, Some(0))),
            (("0", "false"), (InStock, None)),
            (("", ""), (InStock, None)),
        ] {
            let offer = vendure_stock(stock, track);
            assert_eq!((offer.availability, offer.quantity), expected, "{stock} {track}");
        }
    }
}
