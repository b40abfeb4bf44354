//! The known name nearest to one that is not known.

use domain::filter::nearest_names;

/// The candidate with the smallest edit distance, if it is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_names(name, candidates, 1).into_iter().next()
}

/// Takes serde's "unknown field `a`, expected one of `b`, `c`" apart: the name and the names that are known.
pub(crate) fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.split_once("unknown field ")?.1;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let name = quoted.next()?;
    Some((name, quoted.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
