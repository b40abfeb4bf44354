//! The form in which texts are compared: without letter case, accents and superfluous blanks.

use icu_normalizer::DecomposingNormalizerBorrowed;

const DECOMPOSED: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfkd();

/// `" Ärmel  Los "` is `armel los`, `Straße` `strasse`, `Ｎ` `n`. Marks of Japanese syllables (`が`) are no accents and stay.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    if text.is_ascii() {
        push(&mut folded, text.chars().map(|c| c.to_ascii_lowercase()));
    } else {
        let plain = DECOMPOSED.normalize(text);
        push(
            &mut folded,
            plain.chars().filter(|c| !matches!(c, '\u{300}'..='\u{36f}')).flat_map(char::to_lowercase).filter(|c| *c != '\u{307}'),
        );
    }
    folded
}

fn push(folded: &mut String, chars: impl Iterator<Item = char>) {
    let mut is_apart = false;
    for c in chars {
        if c.is_whitespace() {
            is_apart = !folded.is_empty();
            continue;
        }
        if is_apart {
            folded.push(' ');
            is_apart = false;
        }
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ø' => folded.push('o'),
            'đ' | 'ð' => folded.push('d'),
            'ł' => folded.push('l'),
            'þ' => folded.push_str("th"),
            'ı' => folded.push('i'),
            c => folded.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_by_table() {
        for (text, expected) in [
            ("", ""),
            ("  ", ""),
            (" Navy \t Blue ", "navy blue"),
            ("Ärmel", "armel"),
            ("Straße ŁÓDŹ Øre", "strasse lodz ore"),
            ("Ｎike №1", "nike no1"),
            ("ЁЛКА Й", "елка и"),
            ("İstanbul", "istanbul"),
            ("příliš žluťoučký", "prilis zlutoucky"),
        ] {
            assert_eq!(fold(text), expected, "{text:?}");
        }
        assert_ne!(fold("が"), fold("か"));
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,20}") {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
        }
    }
}
