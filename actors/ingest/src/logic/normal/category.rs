//! Category paths.

use domain::CategoryPath;

use super::text::line;

/// The deepest path that is kept; what lies deeper is dropped.
pub const DEPTH_MAX: usize = 16;

/// `Apparel > Shirts`, `Apparel/Shirts`, `Apparel|Shirts` as a path. ` > ` wins over `|`, and that over `/`, as names such as
/// `Bed/Bath > Towels` hold the weaker ones. A slash with a blank beside it separates only between two blanks.
pub fn parse_path(text: &str) -> Option<CategoryPath> {
    let text = line(text);
    let parts: Vec<&str> = if text.contains('>') {
        text.split('>').collect()
    } else if text.contains('|') {
        text.split('|').collect()
    } else if text.contains(" / ") {
        text.split(" / ").collect()
    } else {
        text.split('/').collect()
    };
    from_names(parts)
}

/// A path of names from the widest to the narrowest; empty ones and a name that repeats the one before are left out.
pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<CategoryPath> {
    let mut path: Vec<String> = Vec::new();
    for name in names.into_iter().map(line).filter(|name| !name.is_empty()).take(DEPTH_MAX) {
        if path.last() != Some(&name) {
            path.push(name);
        }
    }
    (!path.is_empty()).then_some(CategoryPath(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_by_table() {
        let cases = [
            ("Apparel & Accessories > Clothing > Swimwear", "Apparel & Accessories > Clothing > Swimwear"),
            ("Apparel &amp; Accessories &gt; Clothing", "Apparel & Accessories > Clothing"),
            ("Home/Garden", "Home > Garden"),
            ("Bed/Bath > Towels", "Bed/Bath > Towels"),
            ("A|B|C", "A > B > C"),
            ("Shoes", "Shoes"),
            ("Watches > Watches", "Watches"),
            (" > A >  > B", "A > B"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_path(text).map(|path| path.to_string()).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(parse_path(" > "), None);
        assert_eq!(parse_path(&"a>b>".repeat(100)).map(|path| path.0.len()), Some(DEPTH_MAX));
    }
}
