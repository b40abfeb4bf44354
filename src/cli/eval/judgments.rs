//! Graded judgments that somebody has made: a table of queries and a table of grades. The tables of WANDS (Chen et al., ECIR 2022)
//! are read as they are.

use std::collections::BTreeMap;

use super::metrics::Grades;
use super::table::Table;

/// Larger grades would let one product drown all others: the gain doubles with each grade.
const GRADE_MAX: u32 = 10;
/// Grades in words, as WANDS has them.
const WORDS: [(&str, u32); 3] = [("exact", 2), ("partial", 1), ("irrelevant", 0)];

/// A query and what is relevant to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    /// The words.
    pub(crate) text: String,
    /// Grades above 0.
    pub(crate) grades: Grades,
}

/// Queries of one kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Suite {
    /// Stable, snake_case.
    pub(crate) name: &'static str,
    /// The queries.
    pub(crate) queries: Vec<Judged>,
}

/// Why judgments cannot be used.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum JudgmentError {
    /// A column is missing.
    #[error("{table}: no column {wanted}; there are: {found}")]
    Column {
        /// Which table.
        table: &'static str,
        /// The names that would do.
        wanted: &'static str,
        /// The names that are there.
        found: String,
    },
    /// A grade that is neither a small number nor a known word.
    #[error("judgments: row {row}: `{text}` is no grade: 0 to {GRADE_MAX}, Exact, Partial or Irrelevant")]
    Grade {
        /// From 1, the header not counted.
        row: usize,
        /// What stands there.
        text: String,
    },
    /// No query has a relevant product.
    #[error("no query of the queries table has a grade above 0 in the judgments table")]
    Nothing,
}

/// Joins the tables: `query_id, query` and `query_id, product_id, grade` (or `label`). Queries without a relevant product are left
/// out, as no answer to them is better than another.
pub(crate) fn read(queries: &str, judgments: &str) -> Result<Suite, JudgmentError> {
    let (queries, judgments) = (Table::parse(queries), Table::parse(judgments));
    let column = |table: &Table, name, names: &[&str], wanted| {
        table.column(names).ok_or_else(|| JudgmentError::Column { table: name, wanted, found: table.names() })
    };
    let (id, text) =
        (column(&queries, "queries", &["query_id", "id"], "query_id")?, column(&queries, "queries", &["query", "text"], "query")?);
    let query = column(&judgments, "judgments", &["query_id"], "query_id")?;
    let product = column(&judgments, "judgments", &["product_id"], "product_id")?;
    let grade = column(&judgments, "judgments", &["grade", "label"], "grade or label")?;
    let mut grades: BTreeMap<&str, Grades> = BTreeMap::new();
    for (number, row) in judgments.rows().enumerate() {
        let value = grade_of(row.get(grade)).ok_or_else(|| JudgmentError::Grade { row: number + 1, text: row.get(grade).to_owned() })?;
        if value > 0 {
            let best = grades.entry(row.get(query)).or_default().entry(row.get(product).to_owned()).or_default();
            *best = value.max(*best);
        }
    }
    let queries: Vec<Judged> = queries
        .rows()
        .filter(|row| !row.get(text).is_empty())
        .filter_map(|row| Some(Judged { text: row.get(text).to_owned(), grades: grades.get(row.get(id))?.clone() }))
        .collect();
    if queries.is_empty() { Err(JudgmentError::Nothing) } else { Ok(Suite { name: "judged", queries }) }
}

fn grade_of(text: &str) -> Option<u32> {
    let word = text.to_lowercase();
    let known = WORDS.iter().find(|(known, _)| *known == word).map(|(_, grade)| *grade);
    known.or_else(|| text.parse().ok().filter(|grade| *grade <= GRADE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str, grades: &[(&str, u32)]) -> Judged {
        Judged { text: text.to_owned(), grades: grades.iter().map(|(id, grade)| ((*id).to_owned(), *grade)).collect() }
    }

    #[test]
    fn numbers_and_the_words_of_wands_are_grades() {
        let queries = "query_id\tquery\tquery_class\n0\tsalon chair\tMassage Chairs\n1\tsmart coffee table\tCoffee\n2\tnothing fits\t\n";
        let labels = "id\tquery_id\tproduct_id\tlabel\n0\t0\t25434\tExact\n1\t0\t12088\tIrrelevant\n2\t0\t42931\tPartial\n3\t1\t7\tExact\n\
                      4\t2\t7\tIrrelevant\n";
        let suite = read(queries, labels).expect("readable");
        let wanted = [judged("salon chair", &[("25434", 2), ("42931", 1)]), judged("smart coffee table", &[("7", 2)])];
        assert_eq!(suite.queries, wanted);
        let graded = read("query_id\tquery\nq\tred shoe\n", "query_id\tproduct_id\tgrade\nq\ta\t3\nq\ta\t1\nq\tb\t0\n").expect("readable");
        assert_eq!(graded.queries, [judged("red shoe", &[("a", 3)])]);
    }

    #[test]
    fn what_is_no_judgment_is_refused_with_its_place() {
        let queries = "query_id\tquery\nq\tred shoe\n";
        let column = read("id\twords\n", "query_id\tproduct_id\tgrade\n").expect_err("no text");
        assert_eq!(column.to_string(), "queries: no column query; there are: id, words");
        for (bad, shown) in [("good", "good"), ("-1", "-1"), ("11", "11"), ("", "")] {
            let error = read(queries, &format!("query_id\tproduct_id\tgrade\nq\ta\t1\nq\tb\t{bad}\n")).expect_err(bad);
            assert_eq!(error, JudgmentError::Grade { row: 2, text: shown.to_owned() });
        }
        assert_eq!(read(queries, "query_id\tproduct_id\tgrade\nother\ta\t1\n"), Err(JudgmentError::Nothing));
    }
}
