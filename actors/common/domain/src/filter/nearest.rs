//! The known names nearest to one that is not known.

/// Names longer than this are compared by their beginning: the distance is quadratic.
const NAME_CHARS_MAX: usize = 64;

/// The candidates within half the name's length in edits (at least one, at most four), the nearest first, at most `limit`.
pub fn nearest_names<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>, limit: usize) -> Vec<&'a str> {
    let name: String = name.to_lowercase().chars().take(NAME_CHARS_MAX).collect();
    let near_max = (name.chars().count() / 2).clamp(1, 4);
    let length = name.chars().count();
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= near_max)
        .map(|candidate| (distance(&name, &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= near_max)
        .collect();
    near.sort_unstable();
    near.truncate(limit);
    near.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Levenshtein distance in characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_table() {
        let names = ["brand", "color", "category", "availability", "size", "price", "sale_price"];
        for (name, expected) in [
            ("colour", &["color"][..]),
            ("Brnad", &["brand"]),
            ("prize", &["price", "size"]),
            ("categories", &["category"]),
            ("q", &[]),
            ("completely_else", &[]),
        ] {
            assert_eq!(nearest_names(name, names, 2), expected, "{name}");
        }
        assert!(nearest_names(&"x".repeat(100_000), names, 2).is_empty());
    }
}
