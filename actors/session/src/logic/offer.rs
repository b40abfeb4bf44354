//! A product's price and stock at a glance, made of its forms: its variants, or the product itself.

use std::cmp::Reverse;

use domain::{Availability, Money, Offer, Product};
use protocol::session::OfferState;

/// One form's part in the whole.
#[derive(Clone, Copy)]
struct Form {
    availability: Availability,
    price: Option<Money>,
    sale_price: Option<Money>,
}

/// Sums up a product. A variant without a price costs what the product costs; where no variant is counted, the product's own
/// count stands. Prices in other currencies than the first form's cannot be compared and do not take part.
pub(crate) fn offer_state(product: &Product) -> OfferState {
    let whole = &product.offer;
    if product.variants.is_empty() {
        let Offer { price, sale_price, availability, quantity } = *whole;
        return OfferState {
            is_available: availability.is_available(),
            availability,
            price,
            sale_price,
            quantity: quantity.map(u64::from),
        };
    }
    let forms = || product.variants.iter().map(|variant| form(&variant.offer, whole));
    let availability = forms().map(|form| form.availability).min_by_key(|availability| rank(*availability)).unwrap_or(whole.availability);
    let is_available = availability.is_available();
    let cheapest = cheapest(forms().filter(|form| form.availability.is_available() == is_available));
    let counts = || product.variants.iter().filter_map(|variant| variant.offer.quantity);
    let quantity = if counts().next().is_some() { Some(counts().map(u64::from).sum()) } else { whole.quantity.map(u64::from) };
    OfferState {
        is_available,
        availability,
        price: cheapest.and_then(|form| form.price),
        sale_price: cheapest.and_then(|form| form.sale_price),
        quantity,
    }
}

fn form(offer: &Offer, whole: &Offer) -> Form {
    let (price, sale_price) = if offer.price.is_some() { (offer.price, offer.sale_price) } else { (whole.price, whole.sale_price) };
    Form { availability: offer.availability, price, sale_price }
}

/// The form with the lowest regular price; of equal ones that with the lowest reduced price, a reduced one before one that is not.
fn cheapest(forms: impl Iterator<Item = Form>) -> Option<Form> {
    let mut priced = forms.filter_map(|form| form.price.map(|price| (price, form)));
    let (price, first) = priced.next()?;
    let comparable = priced.filter(|(other, _)| other.currency == price.currency);
    let order = |(price, form): &(Money, Form)| {
        let reduced = form.sale_price.filter(|sale| sale.currency == price.currency).map(|sale| sale.amount_e4);
        (price.amount_e4, Reverse(reduced.map(Reverse)))
    };
    std::iter::once((price, first)).chain(comparable).min_by_key(order).map(|(_, form)| form)
}

/// Sooner to be had comes first.
fn rank(availability: Availability) -> u8 {
    match availability {
        Availability::InStock => 0,
        Availability::Backorder => 1,
        Availability::Preorder => 2,
        Availability::OutOfStock => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Availability::{Backorder, InStock, OutOfStock, Preorder};
    use domain::Variant;
    use proptest::prelude::*;

    fn euros(amount: i64) -> Option<Money> {
        Some(Money { amount_e4: amount * 10_000, currency: "EUR".parse().expect("a currency") })
    }

    fn offer(availability: Availability, price: Option<Money>, sale_price: Option<Money>, quantity: Option<u32>) -> Offer {
        Offer { price, sale_price, availability, quantity }
    }

    fn product(whole: Offer, variants: Vec<Offer>) -> Product {
        let mut product = Product::new("p".parse().expect("an id"), "Shoe");
        product.offer = whole;
        let variant = |(index, offer): (usize, Offer)| {
            let (options, images) = Default::default();
            Variant { id: index.to_string(), sku: None, gtin: None, title: None, options, images, offer }
        };
        product.variants = variants.into_iter().enumerate().map(variant).collect();
        product
    }

    fn state(availability: Availability, price: Option<Money>, sale_price: Option<Money>, quantity: Option<u64>) -> OfferState {
        OfferState { is_available: availability != OutOfStock, availability, price, sale_price, quantity }
    }

    #[test]
    fn offers_by_table() {
        let dollars = Some(Money { amount_e4: 1, currency: "USD".parse().expect("a currency") });
        let none = Offer::default();
        let cases = [
            (
                "without variants the product speaks",
                product(offer(Preorder, euros(5), euros(4), Some(3)), vec![]),
                state(Preorder, euros(5), euros(4), Some(3)),
            ),
            ("a product that says nothing is in stock", product(none.clone(), vec![]), state(InStock, None, None, None)),
            (
                "the lowest price of what can be had",
                product(
                    none.clone(),
                    vec![
                        offer(OutOfStock, euros(1), None, Some(0)),
                        offer(InStock, euros(9), euros(8), Some(2)),
                        offer(Preorder, euros(7), None, None),
                    ],
                ),
                state(InStock, euros(7), None, Some(2)),
            ),
            (
                "of all when nothing can be had",
                product(none.clone(), vec![offer(OutOfStock, euros(3), None, None), offer(OutOfStock, euros(2), euros(1), None)]),
                state(OutOfStock, euros(2), euros(1), None),
            ),
            (
                "the product's own availability does not count when it has variants",
                product(offer(InStock, None, None, Some(9)), vec![offer(OutOfStock, None, None, None)]),
                state(OutOfStock, None, None, Some(9)),
            ),
            (
                "backorder comes before preorder",
                product(none.clone(), vec![offer(Preorder, None, None, None), offer(Backorder, None, None, None)]),
                state(Backorder, None, None, None),
            ),
            (
                "a variant without a price costs what the product costs",
                product(
                    offer(InStock, euros(6), euros(5), None),
                    vec![offer(InStock, euros(7), None, None), offer(InStock, None, euros(1), None)],
                ),
                state(InStock, euros(6), euros(5), None),
            ),
            (
                "of equal prices the lowest reduced one",
                product(
                    none.clone(),
                    vec![
                        offer(InStock, euros(9), None, None),
                        offer(InStock, euros(9), euros(8), None),
                        offer(InStock, euros(9), euros(7), None),
                    ],
                ),
                state(InStock, euros(9), euros(7), None),
            ),
            (
                "another currency is no lower price",
                product(none.clone(), vec![offer(InStock, euros(9), None, None), offer(InStock, dollars, None, None)]),
                state(InStock, euros(9), None, None),
            ),
            (
                "counts do not overflow",
                product(none, vec![offer(InStock, None, None, Some(u32::MAX)), offer(InStock, None, None, Some(u32::MAX))]),
                state(InStock, None, None, Some(2 * u64::from(u32::MAX))),
            ),
        ];
        for (name, product, expected) in cases {
            assert_eq!(offer_state(&product), expected, "{name}");
        }
    }

    prop_compose! {
        fn any_offer()(availability in 0..4_usize, price in 0..4_i64, sale_price in 0..3_i64, quantity in 0..4_u32) -> Offer {
            let some = |amount: i64| if amount == 0 { None } else { euros(amount) };
            offer([InStock, OutOfStock, Preorder, Backorder][availability], some(price), some(sale_price), quantity.checked_sub(1))
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_product_and_does_not_depend_on_the_order_of_variants(whole in any_offer(), offers in prop::collection::vec(any_offer(), 0..5)) {
            let forward = product(whole.clone(), offers.clone());
            let backward = product(whole, offers.into_iter().rev().collect());
            prop_assert_eq!(offer_state(&forward).is_available, forward.is_available());
            prop_assert_eq!(offer_state(&forward), offer_state(&backward));
        }
    }
}
