//! Public formats: sessions and baskets by lines, interactions as CSV, queries and targets as JSON lines.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::Deserialize;
use thiserror::Error;

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub enum DataError {
    /// A line that is not of the format.
    #[error("line {line}: {what}")]
    Line {
        /// From one.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Nothing to measure.
    #[error("{0}")]
    Empty(&'static str),
}

/// One interaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Whose.
    pub user: String,
    /// The item's number in the data set.
    pub item: u32,
    /// Seconds, or places in a sequence.
    pub ts: f64,
}

/// One question with its answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Whose, where that is known.
    pub user: Option<String>,
    /// What is known, oldest first.
    pub known: Vec<u32>,
    /// What may not be in the list.
    pub exclude: Vec<u32>,
    /// What should be.
    pub targets: Vec<u32>,
    /// When it is asked, in seconds, where that is known.
    pub at: Option<f64>,
}

/// Items by name, and what is fitted on.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    /// Sessions, baskets: sequences without a user.
    pub sequences: Vec<Vec<u32>>,
    /// Interactions of users.
    pub rows: Vec<Row>,
    /// What is asked.
    pub queries: Vec<Query>,
}

/// A line of a file of queries or targets.
#[derive(Deserialize)]
struct Line {
    id: String,
    items: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    user: Option<String>,
    ts: Option<f64>,
}

impl Dataset {
    /// Items.
    pub fn items(&self) -> &[String] {
        &self.names
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    fn numbers<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Vec<u32> {
        names.map(str::trim).filter(|name| !name.is_empty()).map(|name| self.number(name)).collect()
    }

    /// Takes sequences to fit on, one a line: sessions with items parted by blanks, baskets with items parted by commas.
    pub fn take_sequences(&mut self, text: &str, delimiter: char) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let sequence = self.numbers(line.split(delimiter));
            self.sequences.push(sequence);
        }
    }

    /// Takes session queries: the known items parted by blanks, a tab, the next item. `novel`: only new targets, the known excluded.
    ///
    /// # Errors
    /// A line without a tab.
    pub fn take_session_queries(&mut self, text: &str, novel: bool) -> Result<(), DataError> {
        for (index, line) in text.lines().enumerate() {
            let Some((known, target)) = line.split_once('\t') else { return Err(wrong(index, "no tab")) };
            let known = self.numbers(known.split_whitespace());
            let targets = self.numbers([target].into_iter());
            if novel && targets.iter().any(|target| known.contains(target)) {
                continue;
            }
            let exclude = if novel { known.clone() } else { Vec::new() };
            self.queries.push(Query { known, exclude, targets, ..Query::default() });
        }
        Ok(())
    }

    /// Takes interactions: CSV with the columns `user`, `item` and `ts` (others are passed over), named in the first line.
    ///
    /// # Errors
    /// A missing column, a time that is no number.
    pub fn take_rows(&mut self, text: &str) -> Result<(), DataError> {
        let mut lines = text.lines().enumerate();
        let header: Vec<&str> = lines.next().map_or(Vec::new(), |(_, line)| line.split(',').map(str::trim).collect());
        let column = |name: &str| header.iter().position(|column| *column == name).ok_or_else(|| wrong(0, &format!("no column {name}")));
        let (user, item, ts) = (column("user")?, column("item")?, column("ts")?);
        for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let cells: Vec<&str> = line.split(',').collect();
            let cell = |place: usize| cells.get(place).map(|cell| cell.trim()).ok_or_else(|| wrong(index, "too few columns"));
            let ts = cell(ts)?.parse::<f64>().ok().filter(|ts| ts.is_finite()).ok_or_else(|| wrong(index, "the time is no number"))?;
            let row = Row { user: cell(user)?.to_owned(), item: self.number(cell(item)?), ts };
            self.rows.push(row);
        }
        Ok(())
    }

    /// Takes queries and their targets, a JSON object a line: `id`, `items`, of queries also `exclude`, `user` and `ts`.
    ///
    /// # Errors
    /// A line that is no such object; targets without a query.
    pub fn take_queries(&mut self, queries: &str, targets: &str) -> Result<(), DataError> {
        let mut asked = HashMap::new();
        for (index, line) in queries.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let line: Line = serde_json::from_str(line).map_err(|error| wrong(index, &error.to_string()))?;
            let known = self.numbers(line.items.iter().map(String::as_str));
            let exclude = self.numbers(line.exclude.iter().map(String::as_str));
            asked.insert(line.id, Query { user: line.user, known, exclude, targets: Vec::new(), at: line.ts.filter(|ts| ts.is_finite()) });
        }
        for (index, line) in targets.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let line: Line = serde_json::from_str(line).map_err(|error| wrong(index, &error.to_string()))?;
            let mut query = asked.remove(&line.id).ok_or_else(|| wrong(index, "targets without a query"))?;
            query.targets = self.numbers(line.items.iter().map(String::as_str));
            self.queries.push(query);
        }
        Ok(())
    }

    /// The rows of each user by (time, [`tie`]); users as numbers where all are, else as text.
    pub(crate) fn users(&self) -> Vec<Vec<Row>> {
        let numeric = self.rows.iter().all(|row| row.user.bytes().all(|byte| byte.is_ascii_digit()));
        let by_user = |a: &str, b: &str| -> Ordering {
            if numeric { a.trim_start_matches('0').len().cmp(&b.trim_start_matches('0').len()).then_with(|| a.cmp(b)) } else { a.cmp(b) }
        };
        let mut rows: Vec<(u64, &Row)> = self.rows.iter().map(|row| (tie(&row.user, &self.names[row.item as usize]), row)).collect();
        rows.sort_by(|(tie_a, a), (tie_b, b)| by_user(&a.user, &b.user).then(a.ts.total_cmp(&b.ts)).then(tie_a.cmp(tie_b)));
        let users = rows.chunk_by(|(_, a), (_, b)| a.user == b.user);
        users.map(|rows| rows.iter().map(|(_, row)| (*row).clone()).collect()).collect()
    }
}

/// FNV-1a 64 of `user 0x1F item`: the order of rows of one user and time, free of any meaning of the names.
pub(crate) fn tie(user: &str, item: &str) -> u64 {
    let bytes = user.bytes().chain([0x1f]).chain(item.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn wrong(index: usize, what: &str) -> DataError {
    DataError::Line { line: index + 1, what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_example() {
        let mut data = Dataset::default();
        data.take_sequences("a b a\n\n", ' ');
        data.take_sequences("whole milk,rolls\nlone\n", ',');
        assert_eq!(data.sequences, [vec![0, 1, 0], vec![2, 3], vec![4]]);
        data.take_session_queries("a b\ta\na b\tc\n", true).expect("readable");
        assert_eq!(data.queries, [Query { known: vec![0, 1], exclude: vec![0, 1], targets: vec![5], ..Query::default() }]);
        data.take_rows("user,item,ts,event\n10,a,2,\n9,b,1,\n10,b,2,\n").expect("readable");
        let users: Vec<Vec<u32>> = data.users().iter().map(|rows| rows.iter().map(|row| row.item).collect()).collect();
        assert_eq!(users.len(), 2);
        assert_eq!(users[0], [1], "9 before 10");
        data.take_queries("{\"id\":\"q\",\"items\":[\"a\"],\"exclude\":[\"a\"]}", "{\"id\":\"q\",\"items\":[\"b\"]}").expect("readable");
        assert_eq!(data.queries[1].targets, [1]);
        assert!(data.take_session_queries("a b", false).is_err() && data.take_rows("user,item\n").is_err());
        assert!(data.take_queries("", "{\"id\":\"q\",\"items\":[]}").is_err());
    }

    #[test]
    fn the_tie_is_fnv_1a() {
        assert_eq!(tie("", ""), (0xcbf2_9ce4_8422_2325 ^ 0x1f_u64).wrapping_mul(0x0100_0000_01b3));
        assert_ne!(tie("1", "23"), tie("12", "3"));
    }
}
