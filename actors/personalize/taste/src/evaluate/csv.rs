//! Purchases and products out of comma-separated text with a header line.

use std::collections::{BTreeSet, HashMap};

use super::tie;

/// Why text is no such table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// The header lacks a column.
    #[error("no column `{0}`")]
    Column(&'static str),
    /// A value cannot be read.
    #[error("line {line}: `{column}` is no number")]
    Number {
        /// The first line is 1.
        line: usize,
        /// Which column.
        column: &'static str,
    },
    /// Nothing but a header, or not even that.
    #[error("no lines")]
    Empty,
}

/// Texts by number, in the order of the texts.
#[derive(Clone, Debug, Default)]
struct Names {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Names {
    fn new(names: BTreeSet<String>) -> Self {
        let names: Vec<String> = names.into_iter().collect();
        let numbers = names.iter().cloned().zip(0..).collect();
        Self { names, numbers }
    }

    fn number(&self, name: &str) -> u32 {
        self.numbers.get(name).copied().unwrap_or(u32::MAX)
    }

    fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", String::as_str)
    }
}

/// One line of one basket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) user: u32,
    pub(super) basket: u32,
    pub(super) item: u32,
    pub(super) category: u32,
    pub(super) store: u32,
    pub(super) at_s: i64,
}

/// Purchases: `user,basket,item,ts,category` and perhaps `store`; times in seconds.
#[derive(Clone, Debug, Default)]
pub struct Purchases {
    rows: Vec<Row>,
    users: Names,
    baskets: Names,
    items: Names,
    categories: Names,
    stores: Names,
}

impl Purchases {
    /// Reads the table.
    pub fn parse(text: &str) -> Result<Self, CsvError> {
        let mut lines = text.lines();
        let header = fields(lines.next().ok_or(CsvError::Empty)?);
        let place = |name: &'static str| header.iter().position(|column| column == name).ok_or(CsvError::Column(name));
        let places = [place("user")?, place("basket")?, place("item")?, place("category")?];
        let (time, store) = (place("ts")?, place("store").ok());
        let mut sets: [BTreeSet<String>; 5] = Default::default();
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        for line in &lines {
            let fields = fields(line);
            for (set, place) in sets.iter_mut().zip(places.into_iter().map(Some).chain([store])) {
                let value = place.and_then(|place| fields.get(place)).map_or("", String::as_str);
                if !set.contains(value) {
                    set.insert(value.to_owned());
                }
            }
        }
        let [users, baskets, items, categories, stores] = sets.map(Names::new);
        let mut rows = Vec::with_capacity(lines.len());
        for (number, line) in lines.iter().enumerate() {
            let fields = fields(line);
            let value = |place: usize| fields.get(place).map_or("", String::as_str);
            let seconds: f64 = value(time).parse().map_err(|_| CsvError::Number { line: number + 2, column: "ts" })?;
            rows.push(Row {
                user: users.number(value(places[0])),
                basket: baskets.number(value(places[1])),
                item: items.number(value(places[2])),
                category: categories.number(value(places[3])),
                store: stores.number(store.map_or("", value)),
                at_s: seconds as i64,
            });
        }
        if rows.is_empty() { Err(CsvError::Empty) } else { Ok(Self { rows, users, baskets, items, categories, stores }) }
    }

    /// The rows of one shopper in so many, in the protocol's order.
    pub(super) fn in_order(&self, users_mod: u64) -> Vec<Row> {
        let kept: Vec<bool> = self.users.names.iter().map(|user| tie(user, "").is_multiple_of(users_mod.max(1))).collect();
        let mut rows: Vec<(u64, Row)> = self
            .rows
            .iter()
            .filter(|row| kept[row.user as usize])
            .map(|row| (tie(self.users.name(row.user), self.items.name(row.item)), *row))
            .collect();
        rows.sort_by_key(|(tie, row)| (row.at_s, row.basket, *tie));
        rows.into_iter().map(|(_, row)| row).collect()
    }

    pub(super) fn basket(&self, basket: u32) -> &str {
        self.baskets.name(basket)
    }

    pub(super) fn category(&self, category: u32) -> &str {
        self.categories.name(category)
    }

    pub(super) fn category_id(&self, category: &str) -> u32 {
        self.categories.number(category)
    }

    pub(super) fn has_stores(&self) -> bool {
        self.stores.names.len() > 1
    }

    /// Distinct items.
    pub fn items(&self) -> usize {
        self.items.names.len()
    }
}

/// What a catalog knows of one item, by numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Product {
    pub(super) kind: Option<u32>,
    pub(super) brand: Option<u32>,
    pub(super) price: Option<f32>,
    pub(super) private_label: Option<bool>,
}

/// Products: `item,brand,type,price,private_label`, any of the last four perhaps empty.
#[derive(Clone, Debug, Default)]
pub struct Products {
    products: Vec<Product>,
}

impl Products {
    /// Reads the table for the items of the purchases.
    pub fn parse(text: &str, purchases: &Purchases) -> Result<Self, CsvError> {
        let mut lines = text.lines();
        let header = fields(lines.next().ok_or(CsvError::Empty)?);
        let place = |name: &'static str| header.iter().position(|column| column == name).ok_or(CsvError::Column(name));
        let (item, brand, kind) = (place("item")?, place("brand")?, place("type")?);
        let (price, private_label) = (place("price")?, place("private_label")?);
        let mut products = vec![Product::default(); purchases.items()];
        let (mut brands, mut kinds) = (HashMap::new(), HashMap::new());
        for line in lines.filter(|line| !line.is_empty()) {
            let fields = fields(line);
            let value = |place: usize| fields.get(place).map_or("", String::as_str);
            let Some(product) = products.get_mut(purchases.items.number(value(item)) as usize) else { continue };
            *product = Product {
                kind: numbered(&mut kinds, value(kind)),
                brand: numbered(&mut brands, value(brand)),
                price: value(price).parse().ok(),
                private_label: match value(private_label) {
                    "1" => Some(true),
                    "0" => Some(false),
                    _ => None,
                },
            };
        }
        Ok(Self { products })
    }

    pub(super) fn product(&self, item: u32) -> Product {
        self.products.get(item as usize).copied().unwrap_or_default()
    }
}

fn numbered(numbers: &mut HashMap<String, u32>, name: &str) -> Option<u32> {
    let next = numbers.len() as u32;
    (!name.is_empty()).then(|| *numbers.entry(name.to_owned()).or_insert(next))
}

/// The fields of a line; a field within quotes may hold commas and doubled quotes (RFC 4180, but for line ends).
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.trim_end_matches('\r').chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => field.extend(characters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_by_table() {
        for (line, expected) in
            [("a,b", vec!["a", "b"]), ("", vec![""]), ("\"a,b\",c\r", vec!["a,b", "c"]), ("\"a \"\"b\"\"\",", vec!["a \"b\"", ""])]
        {
            assert_eq!(fields(line), expected, "{line}");
        }
    }

    #[test]
    fn tables_that_are_none_are_errors() {
        for (text, error) in [
            ("", CsvError::Empty),
            ("user,basket,item,ts\n", CsvError::Column("category")),
            ("user,basket,item,ts,category\n", CsvError::Empty),
            ("user,basket,item,ts,category\nu,b,i,later,c\n", CsvError::Number { line: 2, column: "ts" }),
        ] {
            assert_eq!(Purchases::parse(text).expect_err("an error"), error, "{text}");
        }
    }
}
