//! The columns of the Parquet files: what analysts can rely on. `gotham export events --schema` prints this.
//!
//! Four tables, one file name prefix each, partitioned by day (UTC) of `at`: `day=2026-11-26/events-….parquet`. Each record of the log
//! is one row of one of them; `offset` is its place in the log. Every table starts with `offset` and `written_at`. A change of the
//! columns raises [`SCHEMA`]; a file's version stands in the catalog and in the file's metadata (`gotham.schema`).

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

/// The version of the columns that is written.
pub const SCHEMA: u32 = 1;

/// Digits of an amount of money: every 64-bit number of 1/10000 units fits.
pub(super) const MONEY_DIGITS: u8 = 19;
/// Decimal places of an amount of money: those of `Money::amount_e4`.
pub(super) const MONEY_PLACES: i8 = 4;

/// What the rows of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// What shoppers did.
    Events,
    /// Ranked lists that were answered.
    Served,
    /// Shoppers who were forgotten.
    Erasures,
    /// Records that this version cannot show in columns: damaged ones, and ones with values that no sender's event passes the door
    /// with.
    Records,
}

/// One column, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// The table.
    pub table: Table,
    /// Its name; `items.product` is the field `product` of the structs in the list `items`.
    pub column: String,
    /// Its type, in Arrow's words.
    pub r#type: String,
    /// Whether it may be empty.
    pub nullable: bool,
    /// What it says.
    pub meaning: &'static str,
}

/// A column as it is declared.
struct Declared {
    name: &'static str,
    data_type: DataType,
    nullable: bool,
    meaning: &'static str,
    /// The fields of the structs that a list holds.
    inner: Vec<Declared>,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 4] = [Self::Events, Self::Served, Self::Erasures, Self::Records];

    /// The first word of its files' names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Served => "served",
            Self::Erasures => "erasures",
            Self::Records => "records",
        }
    }

    /// Its columns, in order.
    pub(crate) fn schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<[SchemaRef; 4]> =
            LazyLock::new(|| Table::ALL.map(|table| Arc::new(Schema::new(fields(&declared(table))))));
        SCHEMAS[self as usize].clone()
    }
}

/// All columns of all tables, with their meaning.
pub fn columns() -> Vec<Column> {
    fn add(table: Table, prefix: &str, declared: &[Declared], columns: &mut Vec<Column>) {
        for Declared { name, data_type, nullable, meaning, inner } in declared {
            let column = format!("{prefix}{name}");
            let r#type = if inner.is_empty() { data_type.to_string() } else { "List(Struct)".into() };
            columns.push(Column { table, column: column.clone(), r#type, nullable: *nullable, meaning });
            add(table, &format!("{column}."), inner, columns);
        }
    }
    let mut columns = Vec::new();
    Table::ALL.into_iter().for_each(|table| add(table, "", &declared(table), &mut columns));
    columns
}

/// The type of a list's elements.
pub(super) fn element(data_type: &DataType) -> Option<&Arc<Field>> {
    match data_type {
        DataType::List(field) => Some(field),
        _ => None,
    }
}

fn fields(declared: &[Declared]) -> Fields {
    declared.iter().map(|Declared { name, data_type, nullable, .. }| Field::new(*name, data_type.clone(), *nullable)).collect()
}

fn must(name: &'static str, data_type: DataType, meaning: &'static str) -> Declared {
    Declared { name, data_type, nullable: false, meaning, inner: Vec::new() }
}

fn may(name: &'static str, data_type: DataType, meaning: &'static str) -> Declared {
    Declared { nullable: true, ..must(name, data_type, meaning) }
}

fn structs(name: &'static str, meaning: &'static str, inner: Vec<Declared>) -> Declared {
    let element = Field::new("item", DataType::Struct(fields(&inner)), false);
    Declared { inner, ..must(name, DataType::List(Arc::new(element)), meaning) }
}

fn texts(name: &'static str, meaning: &'static str) -> Declared {
    must(name, DataType::List(Arc::new(Field::new("item", DataType::Utf8, false))), meaning)
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

fn money() -> DataType {
    DataType::Decimal128(MONEY_DIGITS, MONEY_PLACES)
}

fn declared(table: Table) -> Vec<Declared> {
    let own = match table {
        Table::Events => event_columns(),
        Table::Served => served_columns(),
        Table::Erasures => vec![
            must("at", time(), "when it was asked for"),
            texts("shoppers", "who: `u:`, `v:` or `s:` and an id; pseudonyms once it is carried out"),
            must("receipt", DataType::Utf8, "what the shopper can refer to"),
            must("carried_out", DataType::Boolean, "whether the files name the shoppers no more"),
        ],
        Table::Records => {
            vec![must("kind", DataType::Int32, "the kind of the record, as stored"), must("body", DataType::Binary, "its bytes")]
        }
    };
    let offset = must("offset", DataType::Int64, "the place in the log, from 0, without gaps over all tables");
    [offset, must("written_at", time(), "when the log was given it")].into_iter().chain(own).collect()
}

fn event_columns() -> Vec<Declared> {
    use DataType::{Boolean, Float32, Int64, Utf8};
    vec![
        must("kind", Utf8, "what happened: `view`, `purchase`, ..."),
        must("id", Utf8, "the sender's id; each stands once"),
        must("at", time(), "when it happened"),
        must("received_at", time(), "when it was received"),
        may("visitor", Utf8, "the anonymous id"),
        may("user", Utf8, "the account"),
        may("session", Utf8, "the visit"),
        structs(
            "items",
            "the products it is about",
            vec![
                must("product", Utf8, "the product's id"),
                may("variant", Utf8, "the variant's id"),
                must("quantity", Int64, "pieces"),
                may("price", money(), "of one piece"),
                may("currency", Utf8, "of the price, ISO 4217"),
                may("position", Int64, "the place in the list that was shown, from 1"),
            ],
        ),
        may("order_id", Utf8, "the order"),
        may("value", money(), "the order's value"),
        may("value_currency", Utf8, "of the value, ISO 4217"),
        may("query", Utf8, "what was searched for"),
        may("results", Int64, "how many results a search found"),
        may("surface", Utf8, "the page or place"),
        may("store", Utf8, "the branch or web shop"),
        may("attribution_token", Utf8, "the token of the served list that led to it"),
        may("experiment", Utf8, "the sender's experiment label"),
        may("consent", Boolean, "consent to personalisation; empty where nobody asked"),
        may("rating", Float32, "of a rating"),
        must("is_bot", Boolean, "a robot's"),
        must("dialect", Utf8, "whose words it was told in"),
        must("raw", Utf8, "the event as it was sent, JSON; `{}` once its shopper is forgotten"),
    ]
}

fn served_columns() -> Vec<Declared> {
    use DataType::{Float32, Int64, Utf8};
    vec![
        must("token", Utf8, "the attribution token of the answer"),
        must("at", time(), "when it was answered"),
        must("placement", Utf8, "where it was to be shown"),
        may("shopper", Utf8, "for whom: `u:`, `v:` or `s:` and an id"),
        may("session", Utf8, "in which visit"),
        texts("context", "the products that the question named"),
        structs(
            "items",
            "the list, best first",
            vec![
                must("product", Utf8, "the product's id"),
                must("strategy", Utf8, "what proposed it"),
                must("score", Float32, "its score"),
                must("propensity", Float32, "the probability that it stood here"),
            ],
        ),
        structs("experiments", "experiments in force", vec![must("name", Utf8, "the experiment"), must("arm", Utf8, "its arm")]),
        texts("rules", "rules that changed the list"),
        may("query", Utf8, "what was searched for"),
        must("found", Int64, "products found before the list was cut"),
        must("request", Utf8, "the request, JSON; `{}` once its shopper is forgotten"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_declared_once_and_explained() {
        let columns = columns();
        let names: std::collections::BTreeSet<_> = columns.iter().map(|column| (column.table, column.column.clone())).collect();
        assert_eq!(names.len(), columns.len());
        assert!(columns.iter().all(|column| !column.meaning.is_empty()));
        assert!(columns.iter().any(|column| column.column == "items.price" && column.r#type.starts_with("Decimal128(19, 4")));
        for table in Table::ALL {
            assert_eq!(table.schema().field(0).name(), "offset");
        }
    }
}
