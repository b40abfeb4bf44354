//! Price and stock of each slot: atomics beside the snapshots, so that a change is a handful of stores, touches no index and is
//! seen by the very next query, on whatever snapshot. Each field is whole by itself; a query that runs while an offer changes may
//! see the new price with the old stock.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use domain::{Availability, Currency, Money, Offer, Product};

use crate::bits::Bitset;

/// Slots of a chunk.
const CHUNK: usize = 1_024;
const _: () = assert!(CHUNK.is_multiple_of(64), "bits of a chunk are whole words of the set");
const NO_AMOUNT: i64 = i64::MIN;
const NO_QUANTITY: u32 = u32::MAX;
const NO_CURRENCY: u32 = 0;

/// Price and stock of a product as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OfferValues {
    /// Of the most available form.
    pub availability: Availability,
    /// The lowest regular price over its available forms (all forms when none is available).
    pub price: Option<Money>,
    /// The reduced price that goes with it.
    pub sale_price: Option<Money>,
    /// Pieces over all forms; counted up to 4,294,967,294.
    pub quantity: Option<u64>,
}

/// What is known of an offer as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfferField {
    Price,
    SalePrice,
    /// The reduced price where there is one and it is lower, else the regular price.
    FinalPrice,
    Quantity,
    /// By how much the price is reduced, from 0 to 1; none where it is not.
    Discount,
}

#[derive(Debug)]
struct Chunk {
    price: [AtomicI64; CHUNK],
    sale_price: [AtomicI64; CHUNK],
    quantity: [AtomicU32; CHUNK],
    /// The availability's number in the lowest byte, the currency's letters above.
    state: [AtomicU32; CHUNK],
    /// A bit for each slot that can be had, so that the commonest filter reads bits and not offers.
    available: [AtomicU64; CHUNK / 64],
}

/// The offers of all slots; copies share them.
#[derive(Clone, Debug, Default)]
pub struct Offers {
    chunks: Vec<Arc<Chunk>>,
}

/// The names under which availabilities are filtered and shown, in the order of their numbers.
pub(crate) const AVAILABILITIES: [(&str, Availability); 4] = [
    ("in_stock", Availability::InStock),
    ("backorder", Availability::Backorder),
    ("preorder", Availability::Preorder),
    ("out_of_stock", Availability::OutOfStock),
];

// The remainder of a whole state is that of its lowest byte.
const _: () = assert!(256 % AVAILABILITIES.len() == 0);

impl OfferValues {
    /// Sums up a product's forms: its variants, or the product itself. A variant without a price costs what the product costs;
    /// where no variant is counted, the product's own count stands. Prices in other currencies than the first form's cannot be
    /// compared and do not take part.
    pub fn of(product: &Product) -> Self {
        let whole = &product.offer;
        if product.variants.is_empty() {
            let Offer { price, sale_price, availability, quantity } = *whole;
            return Self { availability, price, sale_price, quantity: quantity.map(u64::from) };
        }
        let offers = || product.variants.iter().map(|variant| &variant.offer);
        let availability = offers().map(|offer| offer.availability).min_by_key(|availability| number_of(*availability));
        let availability = availability.unwrap_or(whole.availability);
        let can_be_had = offers().filter(|offer| offer.availability.is_available() == availability.is_available());
        let prices = can_be_had.map(|offer| if offer.price.is_some() { offer } else { whole });
        let mut priced = prices.filter_map(|offer| offer.price.map(|price| (price, offer.sale_price))).peekable();
        let currency = priced.peek().map(|(price, _)| price.currency);
        let cheapest = priced.filter(|(price, _)| Some(price.currency) == currency).min_by_key(|(price, sale_price)| {
            let reduced = sale_price.filter(|sale| sale.currency == price.currency).map(|sale| sale.amount_e4);
            (price.amount_e4, Reverse(reduced.map(Reverse)))
        });
        let counts = || offers().filter_map(|offer| offer.quantity).map(u64::from);
        let quantity = if counts().next().is_some() { Some(counts().sum()) } else { whole.quantity.map(u64::from) };
        Self { availability, price: cheapest.map(|(price, _)| price), sale_price: cheapest.and_then(|(_, sale)| sale), quantity }
    }
}

fn number_of(availability: Availability) -> u32 {
    AVAILABILITIES.iter().position(|(_, other)| *other == availability).map_or(0, |place| place as u32)
}

impl Chunk {
    #[inline]
    fn number(&self, at: usize, field: OfferField) -> Option<f64> {
        let amount = |cells: &[AtomicI64; CHUNK]| Some(cells[at].load(Ordering::Relaxed)).filter(|amount| *amount != NO_AMOUNT);
        // One correctly rounded division: `19.9` here is the `19.9` of a filter's text.
        let units = |amount: i64| amount as f64 / 10_000.0;
        match field {
            OfferField::Price => amount(&self.price).map(units),
            OfferField::SalePrice => amount(&self.sale_price).map(units),
            OfferField::FinalPrice => {
                let (price, sale_price) = (amount(&self.price), amount(&self.sale_price));
                sale_price.into_iter().chain(price).min().map(units)
            }
            OfferField::Quantity => {
                let quantity = self.quantity[at].load(Ordering::Relaxed);
                (quantity != NO_QUANTITY).then(|| f64::from(quantity))
            }
            OfferField::Discount => {
                let (price, sale_price) = (amount(&self.price)?, amount(&self.sale_price)?);
                (0 <= sale_price && sale_price < price).then(|| (price - sale_price) as f64 / price as f64)
            }
        }
    }
}

impl Offers {
    /// Makes room up to a slot.
    pub(crate) fn reach(&mut self, slot: u32) {
        while self.chunks.len() <= slot as usize / CHUNK {
            self.chunks.push(Arc::new(Chunk {
                price: std::array::from_fn(|_| AtomicI64::new(NO_AMOUNT)),
                sale_price: std::array::from_fn(|_| AtomicI64::new(NO_AMOUNT)),
                quantity: std::array::from_fn(|_| AtomicU32::new(NO_QUANTITY)),
                state: std::array::from_fn(|_| AtomicU32::new(0)),
                available: std::array::from_fn(|_| AtomicU64::new(0)),
            }));
        }
    }

    fn place(&self, slot: u32) -> Option<(&Chunk, usize)> {
        Some((self.chunks.get(slot as usize / CHUNK)?, slot as usize % CHUNK))
    }

    /// Changes the offer of a slot; whether there is such a slot. A reduced price in another currency than the price is left out.
    pub fn set(&self, slot: u32, values: &OfferValues) -> bool {
        let Some((chunk, at)) = self.place(slot) else { return false };
        let currency = values.price.or(values.sale_price).map(|money| money.currency);
        let amount =
            |money: Option<Money>| money.filter(|money| Some(money.currency) == currency).map_or(NO_AMOUNT, |money| money.amount_e4);
        let letters = currency
            .map_or(NO_CURRENCY, |currency| currency.as_str().bytes().take(3).fold(0, |letters, letter| letters << 8 | u32::from(letter)));
        let quantity = values.quantity.map_or(NO_QUANTITY, |quantity| u32::try_from(quantity).unwrap_or(NO_QUANTITY).min(NO_QUANTITY - 1));
        chunk.price[at].store(amount(values.price), Ordering::Relaxed);
        chunk.sale_price[at].store(amount(values.sale_price), Ordering::Relaxed);
        chunk.quantity[at].store(quantity, Ordering::Relaxed);
        chunk.state[at].store(letters << 8 | number_of(values.availability), Ordering::Release);
        let bit = 1u64 << (at % 64);
        if values.availability.is_available() {
            chunk.available[at / 64].fetch_or(bit, Ordering::Release);
        } else {
            chunk.available[at / 64].fetch_and(!bit, Ordering::Release);
        }
        true
    }

    /// The offer of a slot.
    pub fn get(&self, slot: u32) -> Option<OfferValues> {
        let (chunk, at) = self.place(slot)?;
        let state = chunk.state[at].load(Ordering::Acquire);
        let currency = currency_of(state >> 8);
        let money = |amount_e4: i64| currency.filter(|_| amount_e4 != NO_AMOUNT).map(|currency| Money { amount_e4, currency });
        let quantity = chunk.quantity[at].load(Ordering::Relaxed);
        Some(OfferValues {
            availability: AVAILABILITIES.get((state & 0xff) as usize).map_or(Availability::OutOfStock, |(_, availability)| *availability),
            price: money(chunk.price[at].load(Ordering::Relaxed)),
            sale_price: money(chunk.sale_price[at].load(Ordering::Relaxed)),
            quantity: (quantity != NO_QUANTITY).then(|| u64::from(quantity)),
        })
    }

    /// Those of some slots that can be had now.
    pub(crate) fn available(&self, mut within: Bitset) -> Bitset {
        let words = self.chunks.iter().flat_map(|chunk| &chunk.available);
        within.iter_mut().zip(words).for_each(|(word, available)| *word &= available.load(Ordering::Acquire));
        within
    }

    /// The place in [`AVAILABILITIES`].
    pub(crate) fn availability(&self, slot: u32) -> u32 {
        self.place(slot).map_or(0, |(chunk, at)| chunk.state[at].load(Ordering::Relaxed) & 0xff)
    }

    /// The currency's letters, 0 for none.
    pub(crate) fn currency(&self, slot: u32) -> u32 {
        self.place(slot).map_or(NO_CURRENCY, |(chunk, at)| chunk.state[at].load(Ordering::Relaxed) >> 8)
    }

    /// One field as a number: money in units of its currency.
    pub(crate) fn number(&self, slot: u32, field: OfferField) -> Option<f64> {
        let (chunk, at) = self.place(slot)?;
        chunk.number(at, field)
    }

    /// The slots of a set that have the field and pass.
    pub(crate) fn kept(&self, within: &[u64], field: OfferField, passes: impl Fn(f64) -> bool) -> Bitset {
        const WORDS: usize = CHUNK / 64;
        let mut found = vec![0; within.len()];
        let chunks = within.chunks(WORDS).zip(found.chunks_mut(WORDS)).zip(&self.chunks);
        for ((words, found), chunk) in chunks {
            for (index, (word, kept)) in words.iter().zip(found).enumerate() {
                let mut rest = *word;
                while rest != 0 {
                    let bit = rest.trailing_zeros();
                    let number = chunk.number(index * 64 + bit as usize, field);
                    *kept |= u64::from(number.is_some() & passes(number.unwrap_or(f64::NAN))) << bit;
                    rest &= rest - 1;
                }
            }
        }
        found
    }

    /// Calls for every slot of a set that has the field.
    pub(crate) fn each_number(&self, within: &[u64], field: OfferField, mut see: impl FnMut(f64)) {
        self.each(within, |chunk, at| chunk.number(at, field).into_iter().for_each(&mut see));
    }

    /// How many slots of a set have each of [`AVAILABILITIES`].
    pub(crate) fn count_availabilities(&self, within: &[u64]) -> [u64; AVAILABILITIES.len()] {
        let mut counts = [0; AVAILABILITIES.len()];
        self.each(within, |chunk, at| counts[chunk.state[at].load(Ordering::Relaxed) as usize % AVAILABILITIES.len()] += 1);
        counts
    }

    #[inline]
    fn each(&self, within: &[u64], mut see: impl FnMut(&Chunk, usize)) {
        for (words, chunk) in within.chunks(CHUNK / 64).zip(&self.chunks) {
            for (index, word) in words.iter().enumerate() {
                let mut rest = *word;
                while rest != 0 {
                    see(chunk, index * 64 + rest.trailing_zeros() as usize);
                    rest &= rest - 1;
                }
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * size_of::<Chunk>() + self.chunks.capacity() * size_of::<usize>()
    }
}

/// Three letters as [`Offers::currency`] gives them.
pub(crate) fn currency_of(letters: u32) -> Option<Currency> {
    let bytes = letters.to_be_bytes();
    std::str::from_utf8(&bytes[1..]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Variant;

    fn euros(cents: i64) -> Option<Money> {
        Some(Money { amount_e4: cents * 100, currency: "EUR".parse().expect("a currency") })
    }

    #[test]
    fn what_is_set_is_seen_by_copies_too() {
        let mut offers = Offers::default();
        offers.reach(5_000);
        let copy = offers.clone();
        let values = OfferValues { availability: Availability::Preorder, price: euros(1990), sale_price: euros(990), quantity: Some(3) };
        assert!(offers.set(5_000, &values) && !offers.set(6_000_000, &values));
        assert_eq!((copy.get(5_000), copy.get(0)), (Some(values), Some(OfferValues::default())));
        let number = |field| copy.number(5_000, field);
        assert_eq!(
            [OfferField::Price, OfferField::SalePrice, OfferField::FinalPrice, OfferField::Quantity].map(number),
            [19.9, 9.9, 9.9, 3.0].map(Some)
        );
        assert!((number(OfferField::Discount).expect("a discount") - 10.0 / 19.9).abs() < 1e-12);
        assert_eq!(copy.number(0, OfferField::Discount), None);
        let many = OfferValues { quantity: Some(u64::MAX), ..values };
        offers.set(5_000, &many);
        assert_eq!(offers.get(5_000).and_then(|values| values.quantity), Some(u64::from(u32::MAX - 1)));
    }

    #[test]
    fn a_product_costs_what_its_cheapest_available_form_costs() {
        let mut product = Product::new("p".parse().expect("an id"), "Shoe");
        product.offer = Offer { price: euros(500), quantity: Some(9), ..Offer::default() };
        let variant = |id: &str, offer: Offer| {
            let (options, images) = Default::default();
            Variant { id: id.into(), sku: None, gtin: None, title: None, options, images, offer }
        };
        assert_eq!(OfferValues::of(&product).price, euros(500));
        product.variants = vec![
            variant("out", Offer { price: euros(100), availability: Availability::OutOfStock, quantity: Some(0), ..Offer::default() }),
            variant("a", Offer { price: euros(900), sale_price: euros(800), quantity: Some(2), ..Offer::default() }),
            variant("b", Offer { price: euros(700), availability: Availability::Preorder, ..Offer::default() }),
        ];
        let expected = OfferValues { availability: Availability::InStock, price: euros(700), sale_price: None, quantity: Some(2) };
        assert_eq!(OfferValues::of(&product), expected);
        product.variants.truncate(1);
        assert_eq!(OfferValues::of(&product).price, euros(100));
    }
}
