//! The known name nearest to one that is not known.

/// The candidate with the smallest edit distance, if it is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near_max = (name.chars().count() / 2).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(edits, _)| *edits <= near_max)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Takes serde's "unknown field `a`, expected one of `b`, `c`" apart: the name and the names that are known.
pub(crate) fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.split_once("unknown field ")?.1;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let name = quoted.next()?;
    Some((name, quoted.collect()))
}

/// Levenshtein distance in characters; names are short, so the quadratic form will do.
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
    fn distances_by_table() {
        for (left, right, edits) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("limit", "limit", 0), ("offfset", "offset", 1), ("färbe", "farbe", 1)]
        {
            assert_eq!((distance(left, right), distance(right, left)), (edits, edits), "{left} {right}");
        }
    }

    #[test]
    fn a_name_far_from_all_is_not_guessed() {
        let names = ["text", "image", "product_id", "limit"];
        for (name, expected) in
            [("txt", Some("text")), ("productId", Some("product_id")), ("lmit", Some("limit")), ("colour", None), ("q", None)]
        {
            assert_eq!(nearest(name, names), expected, "{name}");
        }
    }

    #[test]
    fn serdes_own_words_are_understood() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its field names matter")]
        struct Two {
            one: Option<u8>,
            two: Option<u8>,
        }
        let error = serde_json::from_str::<Two>(r#"{"tow":1}"#).expect_err("an unknown field").to_string();
        assert_eq!(unknown_field(&error), Some(("tow", vec!["one", "two"])));
        assert_eq!(unknown_field("missing field `x`"), None);
    }
}
