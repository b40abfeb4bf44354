//! Records of the log become rows.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray, TimestampMillisecondArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use bytes::Bytes;
use domain::{Currency, Dialect, Erasure, Event, EventItem, Money, ProductId, Served, ServedItem};
use protocol::journal::LogBody;
use store::StoreError;

use super::schema::{MONEY_DIGITS, MONEY_PLACES, Table, element};

/// A record on its way into a file or out of one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) offset: u64,
    pub(crate) written_at_ms: i64,
    pub(crate) content: Content,
}

/// What a row shows, and in which table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Event(Arc<Event>),
    Served(Arc<Served>),
    Erasure {
        erasure: Arc<Erasure>,
        carried_out: bool,
    },
    /// A record's kind and bytes.
    Record(u16, Bytes),
}

impl Content {
    /// The row of a record: in columns, if they give it back as it is.
    pub(crate) fn of(kind: u16, bytes: &Bytes, body: Option<LogBody>) -> Self {
        match body {
            Some(LogBody::Event(event)) if event_fits(&event) => Self::Event(event),
            Some(LogBody::Served(served)) if served_fits(&served) => Self::Served(served),
            Some(LogBody::Erasure(erasure)) => Self::Erasure { erasure, carried_out: false },
            _ => Self::Record(kind, bytes.clone()),
        }
    }

    pub(crate) fn table(&self) -> Table {
        match self {
            Self::Event(_) => Table::Events,
            Self::Served(_) => Table::Served,
            Self::Erasure { .. } => Table::Erasures,
            Self::Record(..) => Table::Records,
        }
    }

    /// When it happened.
    pub(crate) fn at_ms(&self) -> Option<i64> {
        match self {
            Self::Event(event) => Some(event.at_ms),
            Self::Served(served) => Some(served.at_ms),
            Self::Erasure { erasure, .. } => Some(erasure.at_ms),
            Self::Record(..) => None,
        }
    }

    /// About how many bytes it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Event(event) => 512 + event.raw.len() + 128 * event.items.len(),
            Self::Served(served) => 512 + served.request.len() + 96 * served.items.len(),
            Self::Erasure { erasure, .. } => 256 + 64 * erasure.shoppers.len(),
            Self::Record(_, bytes) => 64 + bytes.len(),
        }
    }
}

fn product_fits(product: &ProductId) -> bool {
    product.as_str().parse::<ProductId>().is_ok()
}

fn money_fits(money: Option<Money>) -> bool {
    money.is_none_or(|money| money.currency.as_str().parse::<Currency>() == Ok(money.currency))
}

fn event_fits(event: &Event) -> bool {
    money_fits(event.value) && event.items.iter().all(|item| product_fits(&item.product) && money_fits(item.price))
}

fn served_fits(served: &Served) -> bool {
    served.context.iter().chain(served.items.iter().map(|item| &item.product)).all(product_fits)
}

/// Rows of one table as Arrow columns; `rows` are all of that table.
pub(crate) fn encode(table: Table, rows: &[Row]) -> Result<RecordBatch, StoreError> {
    let offsets = Int64Array::from_iter_values(rows.iter().map(|row| row.offset as i64));
    let columns: Vec<ArrayRef> = vec![Arc::new(offsets), times(rows.iter().map(|row| row.written_at_ms))];
    let schema = table.schema();
    let batch = match table {
        Table::Events => events(&schema, columns, rows),
        Table::Served => served(&schema, columns, rows),
        Table::Erasures => erasures(&schema, columns, rows),
        Table::Records => records(&schema, columns, rows),
    };
    batch.map_err(|error| StoreError::io(table.name(), error))
}

fn events(schema: &SchemaRef, mut columns: Vec<ArrayRef>, rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let rows: Vec<&Event> =
        rows.iter().filter_map(|row| if let Content::Event(event) = &row.content { Some(&**event) } else { None }).collect();
    let text = |get: fn(&Event) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(|event| get(event)))) };
    let option = |get: fn(&Event) -> Option<&str>| -> ArrayRef { Arc::new(StringArray::from_iter(rows.iter().map(|event| get(event)))) };
    columns.extend([
        text(|event| event.kind.name()),
        text(|event| &event.id),
        times(rows.iter().map(|event| event.at_ms)),
        times(rows.iter().map(|event| event.received_at_ms)),
        option(|event| event.visitor.as_deref()),
        option(|event| event.user.as_deref()),
        option(|event| event.session.as_deref()),
        items(column(schema, "items")?, &rows)?,
        option(|event| event.order.as_deref()),
        amounts(rows.iter().map(|event| event.value))?,
        currencies(rows.iter().map(|event| event.value)),
        option(|event| event.query.as_deref()),
        Arc::new(Int64Array::from_iter(rows.iter().map(|event| event.results.map(i64::from)))),
        option(|event| event.surface.as_deref()),
        option(|event| event.store.as_deref()),
        option(|event| event.attribution_token.as_deref()),
        option(|event| event.experiment.as_deref()),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|event| event.consent))),
        Arc::new(Float32Array::from_iter(rows.iter().map(|event| event.rating))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|event| Some(event.is_bot)))),
        text(|event| dialect_name(event.dialect)),
        text(|event| &event.raw),
    ]);
    RecordBatch::try_new(schema.clone(), columns)
}

fn items(list: &DataType, rows: &[&Event]) -> Result<ArrayRef, ArrowError> {
    let items: Vec<&EventItem> = rows.iter().flat_map(|event| &event.items).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(items.iter().map(|item| item.product.as_str()))),
        Arc::new(StringArray::from_iter(items.iter().map(|item| item.variant.as_deref()))),
        Arc::new(Int64Array::from_iter_values(items.iter().map(|item| i64::from(item.quantity)))),
        amounts(items.iter().map(|item| item.price))?,
        currencies(items.iter().map(|item| item.price)),
        Arc::new(Int64Array::from_iter(items.iter().map(|item| item.position.map(i64::from)))),
    ];
    structs(list, rows.iter().map(|event| event.items.len()), columns)
}

fn served(schema: &SchemaRef, mut columns: Vec<ArrayRef>, rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let rows: Vec<&Served> =
        rows.iter().filter_map(|row| if let Content::Served(served) = &row.content { Some(&**served) } else { None }).collect();
    let text = |get: fn(&Served) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(|served| get(served)))) };
    let option = |get: fn(&Served) -> Option<&str>| -> ArrayRef { Arc::new(StringArray::from_iter(rows.iter().map(|served| get(served)))) };
    let items: Vec<&ServedItem> = rows.iter().flat_map(|served| &served.items).collect();
    let items: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(items.iter().map(|item| item.product.as_str()))),
        Arc::new(StringArray::from_iter_values(items.iter().map(|item| item.strategy.as_str()))),
        Arc::new(Float32Array::from_iter_values(items.iter().map(|item| item.score))),
        Arc::new(Float32Array::from_iter_values(items.iter().map(|item| item.propensity))),
    ];
    let experiments: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().flat_map(|served| &served.experiments).map(|(name, _)| name))),
        Arc::new(StringArray::from_iter_values(rows.iter().flat_map(|served| &served.experiments).map(|(_, arm)| arm))),
    ];
    columns.extend([
        text(|served| &served.token),
        times(rows.iter().map(|served| served.at_ms)),
        text(|served| &served.placement),
        option(|served| served.shopper.as_ref().map(|shopper| shopper.as_str())),
        option(|served| served.session.as_deref()),
        texts(
            column(schema, "context")?,
            rows.iter().map(|served| served.context.len()),
            rows.iter().flat_map(|served| &served.context).map(ProductId::as_str),
        )?,
        structs(column(schema, "items")?, rows.iter().map(|served| served.items.len()), items)?,
        structs(column(schema, "experiments")?, rows.iter().map(|served| served.experiments.len()), experiments)?,
        texts(
            column(schema, "rules")?,
            rows.iter().map(|served| served.rules.len()),
            rows.iter().flat_map(|served| &served.rules).map(String::as_str),
        )?,
        option(|served| served.query.as_deref()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|served| i64::from(served.found)))),
        text(|served| &served.request),
    ]);
    RecordBatch::try_new(schema.clone(), columns)
}

fn erasures(schema: &SchemaRef, mut columns: Vec<ArrayRef>, rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let rows: Vec<(&Erasure, bool)> = rows
        .iter()
        .filter_map(
            |row| if let Content::Erasure { erasure, carried_out } = &row.content { Some((&**erasure, *carried_out)) } else { None },
        )
        .collect();
    columns.extend([
        times(rows.iter().map(|(erasure, _)| erasure.at_ms)),
        texts(
            column(schema, "shoppers")?,
            rows.iter().map(|(erasure, _)| erasure.shoppers.len()),
            rows.iter().flat_map(|(erasure, _)| &erasure.shoppers).map(|shopper| shopper.as_str()),
        )?,
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(erasure, _)| &erasure.receipt))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|(_, carried_out)| Some(*carried_out)))),
    ]);
    RecordBatch::try_new(schema.clone(), columns)
}

fn records(schema: &SchemaRef, mut columns: Vec<ArrayRef>, rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let rows: Vec<(u16, &Bytes)> =
        rows.iter().filter_map(|row| if let Content::Record(kind, bytes) = &row.content { Some((*kind, bytes)) } else { None }).collect();
    columns.push(Arc::new(Int32Array::from_iter_values(rows.iter().map(|(kind, _)| i32::from(*kind)))));
    columns.push(Arc::new(BinaryArray::from_iter_values(rows.iter().map(|(_, bytes)| bytes))));
    RecordBatch::try_new(schema.clone(), columns)
}

/// The name of a dialect, as JSON has it.
pub(super) fn dialect_name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Native => "native",
        Dialect::Segment => "segment",
    }
}

fn column<'a>(schema: &'a SchemaRef, name: &str) -> Result<&'a DataType, ArrowError> {
    schema.field_with_name(name).map(|field| field.data_type())
}

fn times(times: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC"))
}

fn amounts(amounts: impl Iterator<Item = Option<Money>>) -> Result<ArrayRef, ArrowError> {
    let amounts = Decimal128Array::from_iter(amounts.map(|money| money.map(|money| i128::from(money.amount_e4))));
    Ok(Arc::new(amounts.with_precision_and_scale(MONEY_DIGITS, MONEY_PLACES)?))
}

fn currencies(amounts: impl Iterator<Item = Option<Money>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(amounts.map(|money| money.map(|money| money.currency.as_str().to_owned()))))
}

fn list(list: &DataType, lengths: impl Iterator<Item = usize>, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
    let field = element(list).ok_or_else(|| ArrowError::SchemaError("no list".into()))?;
    Ok(Arc::new(ListArray::try_new(field.clone(), OffsetBuffer::from_lengths(lengths), values, None)?))
}

fn texts<'a>(of: &DataType, lengths: impl Iterator<Item = usize>, texts: impl Iterator<Item = &'a str>) -> Result<ArrayRef, ArrowError> {
    list(of, lengths, Arc::new(StringArray::from_iter_values(texts)))
}

fn structs(of: &DataType, lengths: impl Iterator<Item = usize>, columns: Vec<ArrayRef>) -> Result<ArrayRef, ArrowError> {
    match element(of).map(|field| field.data_type()) {
        Some(DataType::Struct(fields)) => list(of, lengths, Arc::new(StructArray::try_new(fields.clone(), columns, None)?)),
        _ => Err(ArrowError::SchemaError("no list of structs".into())),
    }
}
