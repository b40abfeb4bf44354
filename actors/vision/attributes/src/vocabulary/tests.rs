//! Reading labels, laying files over one another, and every problem by line and field.

use super::*;

fn vocabulary(text: &str) -> Vocabulary {
    Vocabulary::parse(text, "test.toml").unwrap_or_else(|problems| panic!("{problems}"))
}

fn stated(pairs: &[(&str, &str)]) -> Vec<Stated> {
    pairs.iter().map(|(attribute, value)| Stated { attribute: (*attribute).to_owned(), value: (*value).to_owned() }).collect()
}

#[test]
fn the_compiled_in_vocabulary_has_all_attributes_and_a_steady_fingerprint() {
    let own = Vocabulary::compiled_in();
    let names: Vec<&str> = own.attributes().iter().map(|attribute| attribute.name.as_str()).collect();
    let expected = [
        "category",
        "article_type",
        "colour",
        "pattern",
        "material",
        "neckline",
        "sleeve",
        "length",
        "heel",
        "gender",
        "occasion",
        "season",
    ];
    assert_eq!(names, expected);
    assert_eq!(own.fingerprint(), Vocabulary::compiled_in().fingerprint());
    assert!(own.palette().len() >= 40, "{}", own.palette().len());
    // The pattern's measure names values of these names.
    let pattern = own.attribute("pattern").expect("there");
    for name in ["plain", "striped", "checked", "printed"] {
        assert!(pattern.values.iter().any(|value| value.name == name), "{name}");
    }
}

#[test]
fn labels_are_read_by_letters_and_digits_alone() {
    let own = Vocabulary::compiled_in();
    for (labels, expected) in [
        (vec![("baseColour", "Navy Blue")], stated(&[("colour", "navy blue")])),
        (vec![("Base_Colour", "navy-blue"), ("color", "NAVY")], stated(&[("colour", "navy blue")])),
        (vec![("articleType", "Tshirts")], stated(&[("article_type", "t-shirts")])),
        (vec![("articleType", "Gloves and  Mittens")], stated(&[("article_type", "Gloves and Mittens")])),
        (vec![("baseColour", "Wood grain"), ("baseColour", "NA"), ("gender", " "), ("year", "2011")], vec![]),
        (vec![("usage", "Sports"), ("season", "Autumn")], stated(&[("occasion", "sports"), ("season", "fall")])),
    ] {
        assert_eq!(own.read(labels.iter().copied()), expected, "{labels:?}");
    }
}

#[test]
fn titles_teach_by_whole_words() {
    let own = Vocabulary::compiled_in();
    let read = |title: &str| own.read_title(title);
    assert_eq!(
        read("Arrow Men Striped Full-Sleeve Cotton Shirt"),
        stated(&[("pattern", "striped"), ("material", "cotton"), ("sleeve", "long sleeves")])
    );
    assert_eq!(read("Metallica Printers' Woollen"), [], "no part of a word");
}

#[test]
fn a_shop_extends_attributes_and_values() {
    let base = "[[attribute]]\nname = \"colour\"\ntaught_by = [\"colour\"]\nmeasured = \"palette\"\n[[attribute.value]]\nname = \
                \"red\"\nanchors = [\"#ff0000\"]\n";
    let shop = "[[attribute]]\nname = \"colour\"\ntitle = \"Farbe\"\ntaught_by = [\"farbe\"]\n[[attribute.value]]\nname = \
                \"red\"\nlabels = [\"rot\"]\nanchors = [\"#cc0000\", \"#aa0000\"]\n[[attribute.value]]\nname = \"teal\"\n[[attribute]]\nname = \
                \"fit\"\nopen = true\ntaught_by = [\"fit\"]\n";
    let (before, after) = (vocabulary(base), vocabulary(base).extended(shop, "shop.toml").expect("sound"));
    assert_ne!(before.fingerprint(), after.fingerprint());
    let colour = after.attribute("colour").expect("there");
    assert_eq!((colour.title.as_str(), colour.taught_by.len(), colour.values.len()), ("Farbe", 2, 2));
    assert_eq!(after.palette(), [("red", [0xCC, 0, 0]), ("red", [0xAA, 0, 0])], "anchors are replaced");
    assert_eq!(after.read([("Farbe", "Rot"), ("fit", "Slim Fit")]), stated(&[("colour", "red"), ("fit", "Slim Fit")]));
}

#[test]
fn problems_name_line_and_field() {
    for (text, line, field, detail) in [
        ("[[attribute]]\nname = \"Colour\"\n", 2, "attribute.name", "lower-case"),
        ("[[attribute]]\nname = \"a\"\nsize = 3\n", 3, "", "unknown field"),
        ("[[attribute]]\nname = \"a\"\nmeasured = \"weight\"\n", 3, "", "unknown variant"),
        ("\n[[attribute]\n", 2, "", ""),
        ("[[attribute]]\nname = \"a\"\nprompts = [\"{} shirt\",\n \"a shirt\"]\n", 4, "a.prompts", "`{}` must stand"),
        ("[[attribute]]\nname = \"a\"\n[[attribute.value]]\nname = \"b\"\nanchors = [\"#12345\"]\n", 5, "a.b.anchors", "#12345"),
        ("[[attribute]]\nname = \"a\"\n[[attribute.value]]\nname = \"--\"\n", 4, "a.value.name", "letter or digit"),
        (
            "[[attribute]]\nname = \"a\"\n[[attribute.value]]\nname = \"b\"\n[[attribute.value]]\nname = \"c\"\nlabels = [\"B\"]\n",
            6,
            "a.c",
            "`b` already",
        ),
    ] {
        let Problems(problems) = Vocabulary::parse(text, "shop.toml").expect_err(text);
        let first = &problems[0];
        assert_eq!((first.source.as_str(), first.line, first.field.as_str()), ("shop.toml", line, field), "{text}: {first:?}");
        assert!(first.detail.contains(detail), "{text}: {first:?}");
    }
}

#[test]
fn files_have_bounds() {
    let many = |count: usize| (0..count).map(|at| format!("[[attribute]]\nname = \"a{at}\"\n")).collect::<String>();
    assert!(Vocabulary::parse(&many(ATTRIBUTES_MAX), "x").is_ok());
    assert!(Vocabulary::parse(&many(ATTRIBUTES_MAX + 1), "x").is_err());
    assert!(Vocabulary::parse(&"#".repeat(FILE_BYTES_MAX + 1), "x").is_err());
}
