//! Rows become records of the log again.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Decimal128Type, Float32Type, Int32Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, ListArray, PrimitiveArray, RecordBatch, StringArray, StructArray};
use bytes::Bytes;
use domain::{Dialect, Erasure, Event, EventItem, EventKind, Money, ProductId, Served, ServedItem, Shopper};
use store::StoreError;

use super::encode::{Content, Row, dialect_name};
use super::schema::Table;

/// All rows of a batch of one table.
pub(crate) fn decode(table: Table, batch: &RecordBatch) -> Result<Vec<Row>, StoreError> {
    let columns = Columns::of_batch(table, batch);
    let contents = match table {
        Table::Events => events(&columns, batch.num_rows()),
        Table::Served => served(&columns, batch.num_rows()),
        Table::Erasures => erasures(&columns, batch.num_rows()),
        Table::Records => records(&columns, batch.num_rows()),
    }?;
    let offsets = columns.numbers::<Int64Type>("offset")?;
    let written = columns.numbers::<TimestampMillisecondType>("written_at")?;
    let row =
        |(index, content): (usize, Content)| Row { offset: offsets.value(index) as u64, written_at_ms: written.value(index), content };
    Ok(contents.into_iter().enumerate().map(row).collect())
}

/// Columns by their name; a missing one, or one of another type, is damage.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    table: Table,
    of: Of<'a>,
}

#[derive(Clone, Copy)]
enum Of<'a> {
    Batch(&'a RecordBatch),
    Structs(&'a StructArray),
}

impl<'a> Columns<'a> {
    /// The columns of a batch.
    pub(crate) fn of_batch(table: Table, batch: &'a RecordBatch) -> Self {
        Self { table, of: Of::Batch(batch) }
    }

    /// The fields of the structs in a list.
    fn of_structs(table: Table, list: &'a ListArray) -> Result<Self, StoreError> {
        let structs = list.values().as_struct_opt().ok_or_else(|| wrong(table, "a list"))?;
        Ok(Self { table, of: Of::Structs(structs) })
    }

    fn damaged(&self, name: &str) -> StoreError {
        StoreError::Damaged(format!("column {name} of {} is not what it should be", self.table.name()).into())
    }

    fn cast<T>(&self, name: &str, cast: impl Fn(&'a ArrayRef) -> Option<T>) -> Result<T, StoreError> {
        let column = match self.of {
            Of::Batch(batch) => batch.column_by_name(name),
            Of::Structs(structs) => structs.column_by_name(name),
        };
        column.and_then(cast).ok_or_else(|| self.damaged(name))
    }

    pub(crate) fn text(&self, name: &str) -> Result<&'a StringArray, StoreError> {
        self.cast(name, |array| array.as_string_opt::<i32>())
    }

    pub(crate) fn numbers<T: ArrowPrimitiveType>(&self, name: &str) -> Result<&'a PrimitiveArray<T>, StoreError> {
        self.cast(name, |array| array.as_primitive_opt::<T>())
    }

    fn flags(&self, name: &str) -> Result<&'a BooleanArray, StoreError> {
        self.cast(name, |array| array.as_boolean_opt())
    }

    fn list(&self, name: &str) -> Result<&'a ListArray, StoreError> {
        self.cast(name, |array| array.as_list_opt::<i32>())
    }

    fn strings(&self, name: &str) -> Result<Strings<'a>, StoreError> {
        let list = self.list(name)?;
        Ok(Strings { list, values: list.values().as_string_opt::<i32>().ok_or_else(|| self.damaged(name))? })
    }

    fn money(&self, amounts: &str, currencies: &str) -> Result<Amounts<'a>, StoreError> {
        Ok(Amounts { amounts: self.numbers::<Decimal128Type>(amounts)?, currencies: self.text(currencies)?, table: self.table })
    }
}

struct Strings<'a> {
    list: &'a ListArray,
    values: &'a StringArray,
}

impl Strings<'_> {
    fn at(&self, index: usize) -> impl Iterator<Item = &str> {
        range(self.list, index).map(|at| self.values.value(at))
    }
}

struct Amounts<'a> {
    amounts: &'a PrimitiveArray<Decimal128Type>,
    currencies: &'a StringArray,
    table: Table,
}

impl Amounts<'_> {
    fn at(&self, index: usize) -> Result<Option<Money>, StoreError> {
        if self.amounts.is_null(index) {
            return Ok(None);
        }
        let amount_e4 = i64::try_from(self.amounts.value(index)).map_err(|_| wrong(self.table, "an amount of money"))?;
        let currency = self.currencies.value(index).parse().map_err(|_| wrong(self.table, "a currency"))?;
        Ok(Some(Money { amount_e4, currency }))
    }
}

pub(crate) fn optional(texts: &StringArray, index: usize) -> Option<String> {
    texts.is_valid(index).then(|| texts.value(index).to_owned())
}

fn range(list: &ListArray, index: usize) -> Range<usize> {
    let offsets = list.value_offsets();
    offsets[index] as usize..offsets[index + 1] as usize
}

fn wrong(table: Table, what: &str) -> StoreError {
    StoreError::Damaged(format!("a row of {} holds {what} that is none", table.name()).into())
}

fn narrow(table: Table, number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| wrong(table, "a number of 32 bits"))
}

fn product(table: Table, text: &str) -> Result<ProductId, StoreError> {
    text.parse().map_err(|_| wrong(table, "a product id"))
}

fn events(columns: &Columns<'_>, rows: usize) -> Result<Vec<Content>, StoreError> {
    let table = columns.table;
    let [kinds, ids, visitors, users, sessions] = ["kind", "id", "visitor", "user", "session"].map(|name| columns.text(name));
    let (kinds, ids, visitors, users, sessions) = (kinds?, ids?, visitors?, users?, sessions?);
    let [orders, queries, surfaces, stores, tokens] =
        ["order_id", "query", "surface", "store", "attribution_token"].map(|name| columns.text(name));
    let (orders, queries, surfaces, stores, tokens) = (orders?, queries?, surfaces?, stores?, tokens?);
    let [experiments, dialects, raws] = ["experiment", "dialect", "raw"].map(|name| columns.text(name));
    let (experiments, dialects, raws) = (experiments?, dialects?, raws?);
    let (at, received) = (columns.numbers::<TimestampMillisecondType>("at")?, columns.numbers::<TimestampMillisecondType>("received_at")?);
    let (values, results) = (columns.money("value", "value_currency")?, columns.numbers::<Int64Type>("results")?);
    let (consents, ratings, bots) = (columns.flags("consent")?, columns.numbers::<Float32Type>("rating")?, columns.flags("is_bot")?);
    let list = columns.list("items")?;
    let items = Items::of(table, list)?;
    let mut contents = Vec::with_capacity(rows);
    for row in 0..rows {
        let dialect = dialects.value(row);
        contents.push(Content::Event(Arc::new(Event {
            id: ids.value(row).to_owned(),
            kind: EventKind::of_name(kinds.value(row)).ok_or_else(|| wrong(table, "a kind"))?,
            visitor: optional(visitors, row),
            user: optional(users, row),
            session: optional(sessions, row),
            at_ms: at.value(row),
            received_at_ms: received.value(row),
            items: range(list, row).map(|at| items.at(at)).collect::<Result<_, _>>()?,
            order: optional(orders, row),
            value: values.at(row)?,
            query: optional(queries, row),
            results: results.is_valid(row).then(|| narrow(table, results.value(row))).transpose()?,
            surface: optional(surfaces, row),
            store: optional(stores, row),
            attribution_token: optional(tokens, row),
            experiment: optional(experiments, row),
            consent: consents.is_valid(row).then(|| consents.value(row)),
            rating: ratings.is_valid(row).then(|| ratings.value(row)),
            is_bot: bots.value(row),
            dialect: [Dialect::Native, Dialect::Segment]
                .into_iter()
                .find(|known| dialect_name(*known) == dialect)
                .ok_or_else(|| wrong(table, "a dialect"))?,
            raw: raws.value(row).to_owned(),
        })));
    }
    Ok(contents)
}

/// The items of all rows.
struct Items<'a> {
    products: &'a StringArray,
    variants: &'a StringArray,
    quantities: &'a PrimitiveArray<Int64Type>,
    prices: Amounts<'a>,
    positions: &'a PrimitiveArray<Int64Type>,
}

impl<'a> Items<'a> {
    fn of(table: Table, list: &'a ListArray) -> Result<Self, StoreError> {
        let columns = Columns::of_structs(table, list)?;
        Ok(Self {
            products: columns.text("product")?,
            variants: columns.text("variant")?,
            quantities: columns.numbers("quantity")?,
            prices: columns.money("price", "currency")?,
            positions: columns.numbers("position")?,
        })
    }

    fn at(&self, at: usize) -> Result<EventItem, StoreError> {
        let table = self.prices.table;
        Ok(EventItem {
            product: product(table, self.products.value(at))?,
            variant: optional(self.variants, at),
            quantity: narrow(table, self.quantities.value(at))?,
            price: self.prices.at(at)?,
            position: self.positions.is_valid(at).then(|| narrow(table, self.positions.value(at))).transpose()?,
        })
    }
}

fn served(columns: &Columns<'_>, rows: usize) -> Result<Vec<Content>, StoreError> {
    let table = columns.table;
    let (tokens, placements, shoppers) = (columns.text("token")?, columns.text("placement")?, columns.text("shopper")?);
    let (sessions, queries, requests) = (columns.text("session")?, columns.text("query")?, columns.text("request")?);
    let (at, found) = (columns.numbers::<TimestampMillisecondType>("at")?, columns.numbers::<Int64Type>("found")?);
    let (contexts, rules) = (columns.strings("context")?, columns.strings("rules")?);
    let (list, experiments) = (columns.list("items")?, columns.list("experiments")?);
    let items = Columns::of_structs(table, list)?;
    let (products, strategies) = (items.text("product")?, items.text("strategy")?);
    let (scores, propensities) = (items.numbers::<Float32Type>("score")?, items.numbers::<Float32Type>("propensity")?);
    let arms = Columns::of_structs(table, experiments)?;
    let (names, arms) = (arms.text("name")?, arms.text("arm")?);
    let item = |at: usize| {
        let product = product(table, products.value(at))?;
        let (score, propensity) = (scores.value(at), propensities.value(at));
        Ok::<_, StoreError>(ServedItem { product, strategy: strategies.value(at).to_owned(), score, propensity })
    };
    let mut contents = Vec::with_capacity(rows);
    for row in 0..rows {
        contents.push(Content::Served(Arc::new(Served {
            token: tokens.value(row).to_owned(),
            at_ms: at.value(row),
            placement: placements.value(row).to_owned(),
            shopper: shoppers.is_valid(row).then(|| Shopper::of_key(shoppers.value(row))),
            session: optional(sessions, row),
            context: contexts.at(row).map(|text| product(table, text)).collect::<Result<_, _>>()?,
            items: range(list, row).map(item).collect::<Result<_, _>>()?,
            experiments: range(experiments, row).map(|at| (names.value(at).to_owned(), arms.value(at).to_owned())).collect(),
            rules: rules.at(row).map(str::to_owned).collect(),
            query: optional(queries, row),
            found: narrow(table, found.value(row))?,
            request: requests.value(row).to_owned(),
        })));
    }
    Ok(contents)
}

fn erasures(columns: &Columns<'_>, rows: usize) -> Result<Vec<Content>, StoreError> {
    let (at, receipts) = (columns.numbers::<TimestampMillisecondType>("at")?, columns.text("receipt")?);
    let (shoppers, carried_out) = (columns.strings("shoppers")?, columns.flags("carried_out")?);
    let content = |row| {
        let erasure = Erasure {
            shoppers: shoppers.at(row).map(Shopper::of_key).collect(),
            at_ms: at.value(row),
            receipt: receipts.value(row).to_owned(),
        };
        Content::Erasure { erasure: erasure.into(), carried_out: carried_out.value(row) }
    };
    Ok((0..rows).map(content).collect())
}

fn records(columns: &Columns<'_>, rows: usize) -> Result<Vec<Content>, StoreError> {
    let kinds = columns.numbers::<Int32Type>("kind")?;
    let bodies = columns.cast("body", |array| array.as_binary_opt::<i32>())?;
    let content = |row| {
        let kind = u16::try_from(kinds.value(row)).map_err(|_| wrong(columns.table, "a kind"))?;
        Ok(Content::Record(kind, Bytes::copy_from_slice(bodies.value(row))))
    };
    (0..rows).map(content).collect()
}
