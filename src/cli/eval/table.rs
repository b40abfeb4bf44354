//! Tables with a header row, fields parted by tabs or commas; a field may stand in double quotes, as spreadsheets and pandas write them.

use std::collections::BTreeMap;

/// Columns by name, and rows.
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    columns: BTreeMap<String, usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads a table of fields parted by tabs; an empty text is a table without columns.
    pub(crate) fn parse(text: &str) -> Self {
        Self::parted(text, '\t')
    }

    /// Reads a table of fields parted by commas.
    pub(crate) fn parse_csv(text: &str) -> Self {
        Self::parted(text, ',')
    }

    fn parted(text: &str, by: char) -> Self {
        let mut rows = records(text.trim_start_matches('\u{feff}'), by);
        let header = if rows.is_empty() { Vec::new() } else { rows.remove(0) };
        let columns = header.iter().enumerate().map(|(place, name)| (name.trim().to_lowercase().replace(' ', "_"), place)).collect();
        Self { columns, rows }
    }

    /// The place of the first of these columns that is there.
    pub(crate) fn column(&self, names: &[&str]) -> Option<usize> {
        names.iter().find_map(|name| self.columns.get(*name).copied())
    }

    /// Every column's name and place.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&str, usize)> {
        self.columns.iter().map(|(name, place)| (name.as_str(), *place))
    }

    /// The column's name and place, for an error that lists what is there.
    pub(crate) fn names(&self) -> String {
        self.columns.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Rows in order; a row may be shorter than the header.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|fields| Row { fields })
    }
}

/// One row.
#[derive(Clone, Copy)]
pub(crate) struct Row<'t> {
    fields: &'t [String],
}

impl<'t> Row<'t> {
    /// The trimmed field; empty where the row ends before it.
    pub(crate) fn get(self, column: usize) -> &'t str {
        self.fields.get(column).map_or("", |field| field.trim())
    }
}

/// Splits into records of fields. Quotes count at the start of a field alone; lines without any character are skipped.
fn records(text: &str, by: char) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut is_quoted, mut is_blank) = (false, true);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if is_quoted => is_quoted = false,
            _ if is_quoted => field.push(char),
            '"' if field.is_empty() => (is_quoted, is_blank) = (true, false),
            _ if char == by => {
                row.push(std::mem::take(&mut field));
                is_blank = false;
            }
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                row.push(std::mem::take(&mut field));
                let complete = std::mem::take(&mut row);
                if !is_blank {
                    rows.push(complete);
                }
                is_blank = true;
            }
            _ => {
                field.push(char);
                is_blank = false;
            }
        }
    }
    if !is_blank {
        row.push(field);
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_by_table() {
        let cases: [(&str, &[&[&str]]); 8] = [
            ("", &[]),
            ("a\tb\n1\t2\n", &[&["a", "b"], &["1", "2"]]),
            ("a\tb\r\n1\t\r\n\r\n", &[&["a", "b"], &["1", ""]]),
            ("a\n\"x\ty\n\"\"z\"\"\"\tw", &[&["a"], &["x\ty\n\"z\"", "w"]]),
            ("6\" pipe\t2", &[&["6\" pipe", "2"]]),
            ("\"\"\tb", &[&["", "b"]]),
            ("\t\n", &[&["", ""]]),
            ("\"open\tend", &[&["open\tend"]]),
        ];
        for (text, wanted) in cases {
            assert_eq!(records(text, '\t'), wanted, "{text:?}");
            assert_eq!(
                records(&text.replace('\t', ","), ','),
                wanted.iter().map(|row| row.iter().map(|field| field.replace('\t', ",")).collect::<Vec<_>>()).collect::<Vec<_>>(),
                "{text:?} with commas"
            );
        }
    }

    #[test]
    fn columns_are_found_by_any_of_their_names() {
        let table = Table::parse("\u{feff}Query ID\tcategory hierarchy\n7\t Furniture / Beds \n8\n");
        assert_eq!((table.column(&["id", "query_id"]), table.column(&["query"])), (Some(0), None));
        assert_eq!(table.names(), "category_hierarchy, query_id");
        let rows: Vec<(&str, &str)> = table.rows().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(rows, [("7", "Furniture / Beds"), ("8", "")]);
    }
}
