//! Filters into sets of slots.
//!
//! A condition on a column chooses values (by name, by number, by place) and lays their postings over one another; nothing is
//! looked at product by product. Price and stock are scanned, and only where the other conditions of an `AND` left something.
//! A product with several values or variants meets a condition when one of them does; price and availability are those of the
//! product as a whole (see [`crate::OfferValues`]), amounts compare whatever their currency.

use domain::{Bound, Filter, FilterError, Scalar};

use crate::bits::{self, Bitset};
use crate::column::{Column, STEP, Shape};
use crate::fold::fold;
use crate::measure::{conversion, distance_m, parse_measure, parse_time};
use crate::offers::{AVAILABILITIES, OfferField};
use crate::snapshot::{Field, Snapshot};

impl Snapshot {
    /// The products that meet a filter.
    pub fn evaluate(&self, filter: &Filter) -> Result<Bitset, FilterError> {
        filter.check_bounds()?;
        self.evaluate_within(filter, &self.alive())
    }

    /// Those of some products that meet a filter within its bounds.
    pub(crate) fn evaluate_within(&self, filter: &Filter, within: &[u64]) -> Result<Bitset, FilterError> {
        match filter {
            Filter::All(items) => {
                let mut found = within.to_vec();
                let (scanned, looked_up): (Vec<_>, Vec<_>) = items.iter().partition(|item| self.is_scanned(item));
                for item in looked_up.into_iter().chain(scanned) {
                    found = self.evaluate_within(item, &found)?;
                }
                Ok(found)
            }
            Filter::Any(items) => {
                let mut found = vec![0; within.len()];
                for item in items {
                    bits::or(&mut found, &self.evaluate_within(item, within)?);
                }
                Ok(found)
            }
            Filter::Not(inner) => {
                let mut found = within.to_vec();
                bits::and_not(&mut found, &self.evaluate_within(inner, within)?);
                Ok(found)
            }
            Filter::In { attribute, .. }
            | Filter::Range { attribute, .. }
            | Filter::Under { attribute, .. }
            | Filter::Exists { attribute }
            | Filter::Near { attribute, .. } => match self.field(attribute)? {
                Field::Column(column) => {
                    let mut found = vec![0; within.len()];
                    column_leaf(column, filter, attribute, &mut found)?;
                    bits::and(&mut found, within);
                    Ok(found)
                }
                Field::Id => self.id_leaf(filter, within),
                Field::Number(field) => self.number_leaf(field, filter, attribute, within),
                Field::Availability => self.availability_leaf(filter, within),
                Field::Currency => self.currency_leaf(filter, within),
            },
        }
    }

    /// Whether a filter looks at products one by one.
    pub(crate) fn is_scanned(&self, filter: &Filter) -> bool {
        match filter {
            Filter::All(items) | Filter::Any(items) => items.iter().any(|item| self.is_scanned(item)),
            Filter::Not(inner) => self.is_scanned(inner),
            leaf => leaf.sole_attribute().is_some_and(|name| !matches!(self.field(name), Ok(Field::Column(_) | Field::Id))),
        }
    }

    fn id_leaf(&self, filter: &Filter, within: &[u64]) -> Result<Bitset, FilterError> {
        match filter {
            Filter::Exists { .. } => Ok(within.to_vec()),
            Filter::In { values, .. } => {
                let mut found = vec![0; within.len()];
                for slot in values.iter().filter_map(|id| self.slot(id)).filter(|slot| bits::contains(within, *slot)) {
                    bits::insert(&mut found, slot);
                }
                Ok(found)
            }
            other => Err(wrong_kind("id", "identifier", other)),
        }
    }

    fn number_leaf(&self, field: OfferField, filter: &Filter, attribute: &str, within: &[u64]) -> Result<Bitset, FilterError> {
        match filter {
            Filter::Exists { .. } => Ok(self.offers.kept(within, field, |_| true)),
            Filter::In { values, .. } => {
                let expected = "a number";
                let bad = |value: &String| FilterError::BadValue { attribute: attribute.to_owned(), value: value.clone(), expected };
                let numbers =
                    values.iter().map(|value| parse_measure(&fold(value)).map(|measure| measure.number).ok_or_else(|| bad(value)));
                let numbers = Numbers::new(numbers.collect::<Result<_, _>>()?);
                Ok(self.offers.kept(within, field, |number| numbers.contains(number)))
            }
            Filter::Range { from, to, .. } => match Interval::of(*from, *to) {
                Some(Interval::Numbers(range)) => Ok(self.offers.kept(within, field, |number| range.contains(number))),
                Some(Interval::Any) => Ok(self.offers.kept(within, field, |_| true)),
                _ => Err(wrong_kind(attribute, "number", filter)),
            },
            other => Err(wrong_kind(attribute, "number", other)),
        }
    }

    fn availability_leaf(&self, filter: &Filter, within: &[u64]) -> Result<Bitset, FilterError> {
        match filter {
            Filter::Exists { .. } => Ok(within.to_vec()),
            Filter::In { values, .. } => {
                let mut asked = [false; AVAILABILITIES.len()];
                for value in values {
                    let name = fold(value).replace([' ', '-'], "_");
                    let place = AVAILABILITIES.iter().position(|(known, _)| *known == name).ok_or_else(|| FilterError::BadValue {
                        attribute: "availability".to_owned(),
                        value: value.clone(),
                        expected: "`in_stock`, `out_of_stock`, `preorder` or `backorder`",
                    })?;
                    asked[place] = true;
                }
                Ok(kept(within, |slot| asked.get(self.offers.availability(slot) as usize).copied().unwrap_or(false)))
            }
            other => Err(wrong_kind("availability", "text", other)),
        }
    }

    fn currency_leaf(&self, filter: &Filter, within: &[u64]) -> Result<Bitset, FilterError> {
        match filter {
            Filter::Exists { .. } => Ok(kept(within, |slot| self.offers.currency(slot) != 0)),
            Filter::In { values, .. } => {
                let mut asked = Vec::with_capacity(values.len());
                for value in values {
                    let code = value.trim().to_ascii_uppercase();
                    if code.parse::<domain::Currency>().is_err() {
                        let expected = "a currency such as `EUR`";
                        return Err(FilterError::BadValue { attribute: "currency".to_owned(), value: value.clone(), expected });
                    }
                    asked.push(code.bytes().fold(0, |letters, letter| letters << 8 | u32::from(letter)));
                }
                Ok(kept(within, |slot| asked.contains(&self.offers.currency(slot))))
            }
            other => Err(wrong_kind("currency", "text", other)),
        }
    }
}

/// The slots of a set that pass.
fn kept(within: &[u64], mut passes: impl FnMut(u32) -> bool) -> Bitset {
    let mut found = vec![0; within.len()];
    for (index, (word, kept)) in within.iter().zip(&mut found).enumerate() {
        let mut rest = *word;
        while rest != 0 {
            let bit = rest.trailing_zeros();
            *kept |= u64::from(passes(index as u32 * 64 + bit)) << bit;
            rest &= rest - 1;
        }
    }
    found
}

fn wrong_kind(attribute: &str, kind: &'static str, filter: &Filter) -> FilterError {
    let asked = match filter {
        Filter::Range { from, to, .. } => match (from.or(*to)).map(|bound| bound.value) {
            Some(Scalar::Time(_)) => "times to compare",
            _ => "numbers to compare",
        },
        Filter::Under { .. } => "paths",
        Filter::Near { .. } => "places",
        _ => "such values",
    };
    FilterError::WrongKind { attribute: attribute.to_owned(), kind, asked }
}

/// Lays the postings of the values that a condition chooses over `found`.
fn column_leaf(column: &Column, filter: &Filter, attribute: &str, found: &mut [u64]) -> Result<(), FilterError> {
    if matches!(filter, Filter::Exists { .. }) {
        column.exists.or_into(found);
        return Ok(());
    }
    if !column.unheld.is_empty() {
        let reason = format!("it has too many different values, those of {} products are not held", column.unheld.count());
        return Err(FilterError::NotFilterable { attribute: attribute.to_owned(), reason });
    }
    let dictionary = &column.dictionary;
    let facts = &dictionary.facts;
    let mut take = |code: u32| {
        if let Some(value) = dictionary.value(code) {
            value.posting.or_into(found);
        }
    };
    match filter {
        Filter::In { values, .. } => codes_in(column, values, &mut take),
        Filter::Range { from, to, .. } => {
            let interval = Interval::of(*from, *to);
            let [numbers, times, _] = facts.counts;
            let is_empty = column.exists.is_empty();
            match interval {
                Some(Interval::Numbers(range)) if numbers > 0 || is_empty => {
                    codes_of_numbers(column, |number| range.contains(number), take)
                }
                Some(Interval::Times(range)) if times > 0 || is_empty => {
                    codes_of(facts.times.as_ref(), |time| *time != i64::MIN && range.contains(*time), take);
                }
                Some(Interval::Any) if numbers + times > 0 || is_empty => {
                    codes_of_numbers(column, |_| true, &mut take);
                    codes_of(facts.times.as_ref(), |time| *time != i64::MIN, take);
                }
                _ => return Err(wrong_kind(attribute, column.kind(), filter)),
            }
        }
        Filter::Under { path, .. } if column.shape == Shape::Path => {
            let steps: Vec<String> = path.iter().map(|step| fold(step)).filter(|step| !step.is_empty()).collect();
            dictionary.find(&steps.join(&STEP.to_string())).into_iter().for_each(take);
        }
        Filter::Near { latitude, longitude, radius_m, .. } if facts.counts[2] > 0 || column.exists.is_empty() => {
            let (center, near) = ((*latitude, *longitude), NearBand::new(*latitude, *radius_m));
            codes_of(facts.places.as_ref(), |place| near.contains(place.0) && distance_m(center, *place) <= *radius_m, take);
        }
        other => return Err(wrong_kind(attribute, column.kind(), other)),
    }
    Ok(())
}

/// A value matches by its folded text; by its number, where both are numbers in units that convert; by its time, a day all its
/// times; a path by the whole of it, by any beginning, and by the last step of one.
fn codes_in(column: &Column, values: &[String], mut take: impl FnMut(u32)) {
    let dictionary = &column.dictionary;
    if column.shape == Shape::Path {
        let mut last_steps = Vec::new();
        for value in values {
            let steps: Vec<String> = value.split('>').map(fold).filter(|step| !step.is_empty()).collect();
            dictionary.find(&steps.join(&STEP.to_string())).into_iter().for_each(&mut take);
            if let [step] = steps.as_slice() {
                last_steps.push(step.clone());
            }
        }
        last_steps.sort_unstable();
        for (code, value) in dictionary.heads() {
            if value.key.rsplit(STEP).next().is_some_and(|last| last_steps.binary_search_by(|step| step.as_str().cmp(last)).is_ok()) {
                take(code);
            }
        }
        return;
    }
    let facts = &dictionary.facts;
    let (mut numbers, mut spans) = (Vec::new(), Vec::new());
    for value in values {
        let key = fold(value);
        dictionary.find(&key).into_iter().for_each(&mut take);
        if facts.counts[0] > 0
            && let Some(measure) = parse_measure(&key)
        {
            let factor = if measure.unit.is_empty() { Some(1.0) } else { conversion(&measure.unit, facts.unit_shown()) };
            numbers.extend(factor.map(|factor| measure.number * factor));
        }
        if facts.counts[1] > 0
            && let Some((time, is_day)) = parse_time(&key.to_uppercase())
        {
            spans.push((time, if is_day { domain::filter::next_day(time) } else { time + 1 }));
        }
    }
    if !numbers.is_empty() {
        let numbers = Numbers::new(numbers);
        codes_of_numbers(column, |number| numbers.contains(number), &mut take);
    }
    if !spans.is_empty() {
        spans.sort_unstable();
        let within = |time: i64| spans[..spans.partition_point(|span| span.0 <= time)].last().is_some_and(|span| time < span.1);
        codes_of(facts.times.as_ref(), |time| *time != i64::MIN && within(*time), take);
    }
}

fn codes_of<T: Clone>(facts: Option<&crate::chunked::Chunked<T>>, passes: impl Fn(&T) -> bool, take: impl FnMut(u32)) {
    let Some(facts) = facts else { return };
    facts.iter().zip(0_u32..).filter(|(fact, _)| passes(fact)).map(|(_, code)| code).for_each(take);
}

fn codes_of_numbers(column: &Column, passes: impl Fn(f64) -> bool, mut take: impl FnMut(u32)) {
    let facts = &column.dictionary.facts;
    if facts.units.is_none() {
        // Comparisons with NaN, which stands for no number, are false; only "any" has to ask.
        codes_of(facts.numbers.as_ref(), |number| !number.is_nan() && passes(*number), take);
        return;
    }
    let factors = facts.factors();
    let count = facts.numbers.as_ref().map_or(0, |numbers| numbers.len() as u32);
    (0..count).filter(|code| facts.number(*code, &factors).is_some_and(&passes)).for_each(&mut take);
}

/// Numbers to look up.
struct Numbers(Vec<f64>);

impl Numbers {
    fn new(mut numbers: Vec<f64>) -> Self {
        numbers.sort_unstable_by(f64::total_cmp);
        Self(numbers)
    }

    fn contains(&self, number: f64) -> bool {
        // Both zeros are one number.
        self.0.binary_search_by(|other| (other + 0.0).total_cmp(&(number + 0.0))).is_ok()
    }
}

/// What a range compares.
pub(crate) enum Interval {
    Numbers(NumberRange),
    Times(TimeRange),
    Any,
}

/// Both ends within.
pub(crate) struct NumberRange {
    from: f64,
    to: f64,
}

pub(crate) struct TimeRange {
    from: i64,
    to: i64,
}

impl Interval {
    /// `None` when the ends are of different kinds.
    pub(crate) fn of(from: Option<Bound>, to: Option<Bound>) -> Option<Self> {
        let is_number = |bound: Option<Bound>| bound.map(|bound| matches!(bound.value, Scalar::Number(_)));
        match (is_number(from), is_number(to)) {
            (None, None) => Some(Self::Any),
            (None | Some(true), None | Some(true)) => Some(Self::Numbers(NumberRange::of(from, to))),
            (None | Some(false), None | Some(false)) => Some(Self::Times(TimeRange::of(from, to))),
            _ => None,
        }
    }
}

impl NumberRange {
    fn of(from: Option<Bound>, to: Option<Bound>) -> Self {
        let inner = |bound: Bound, next: fn(f64) -> f64| if bound.is_inclusive { bound.value.as_f64() } else { next(bound.value.as_f64()) };
        let from = from.map_or(f64::NEG_INFINITY, |bound| inner(bound, f64::next_up));
        Self { from, to: to.map_or(f64::INFINITY, |bound| inner(bound, f64::next_down)) }
    }

    /// No branch: what is found among prices is as good as random.
    #[inline]
    pub(crate) fn contains(&self, number: f64) -> bool {
        (self.from <= number) & (number <= self.to)
    }
}

impl TimeRange {
    fn of(from: Option<Bound>, to: Option<Bound>) -> Self {
        let end = |bound: Bound, step: i64| match bound.value {
            Scalar::Time(time) => time.saturating_add(if bound.is_inclusive { 0 } else { step }),
            Scalar::Number(_) => 0,
        };
        Self { from: from.map_or(i64::MIN, |bound| end(bound, 1)), to: to.map_or(i64::MAX, |bound| end(bound, -1)) }
    }

    pub(crate) fn contains(&self, time: i64) -> bool {
        (self.from..=self.to).contains(&time)
    }
}

/// The latitudes that a circle reaches: rules most places out without trigonometry.
struct NearBand {
    south: f64,
    north: f64,
}

impl NearBand {
    fn new(latitude: f64, radius_m: f64) -> Self {
        // A degree of latitude is 111.19 km on the globe that distances are measured on; a little less is on the safe side.
        let reach = radius_m / 111_000.0;
        Self { south: latitude - reach, north: latitude + reach }
    }

    fn contains(&self, latitude: f64) -> bool {
        // False for NaN, which stands for no place.
        self.south <= latitude && latitude <= self.north
    }
}
