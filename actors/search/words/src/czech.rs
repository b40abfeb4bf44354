//! The light stemmer for Czech of Dolamic and Savoy, "Indexing and stemming approaches for the Czech language", Information
//! Processing & Management 45 (2009), on words whose accents are folded away: case endings, possessives, then the consonant and
//! the fleeting vowel that change with them.

/// Case endings, longest first, each with the least length in characters that a word must have to lose it.
const CASES: [(usize, &[&str]); 5] = [
    (8, &["atech"]),
    (7, &["etem", "atum"]),
    (
        6,
        &[
            "ech", "ich", "eho", "emi", "emu", "ete", "eti", "iho", "imi", "imu", "ach", "ata", "aty", "ych", "ama", "ami", "ove", "ovi",
            "ymi",
        ],
    ),
    (5, &["em", "es", "im", "um", "at", "am", "os", "us", "ym", "mi", "ou"]),
    (4, &["a", "e", "i", "o", "u", "y"]),
];
const POSSESSIVES: [&str; 3] = ["ov", "in", "uv"];
/// The length up to which a `u` before the last letter counts as a `ů` without its ring (`stůl`, `stoly`).
const RING_CHARS_MAX: usize = 4;

/// The stem of a folded word.
pub(crate) fn stem(word: &str) -> String {
    let Some(word) = Some(word).filter(|word| word.is_ascii()) else { return word.to_owned() };
    let cased = CASES.iter().find_map(|(least, endings)| {
        let word = Some(word).filter(|word| word.len() >= *least)?;
        endings.iter().find_map(|ending| word.strip_suffix(ending))
    });
    let bare = cased.unwrap_or(word);
    let bare = POSSESSIVES.iter().filter(|_| bare.len() > 5).find_map(|ending| bare.strip_suffix(ending)).unwrap_or(bare);
    normalise(bare)
}

fn normalise(bare: &str) -> String {
    let mut stem = bare.to_owned();
    if let Some(start) = bare.strip_suffix("ct") {
        return format!("{start}ck");
    }
    if let Some(start) = bare.strip_suffix("st") {
        return format!("{start}sk");
    }
    if bare.ends_with('c') {
        stem.replace_range(bare.len() - 1.., "k");
    } else if bare.ends_with('z') {
        stem.replace_range(bare.len() - 1.., "h");
    }
    if stem.len() > 2 {
        let at = stem.len() - 2;
        match stem.as_bytes()[at] {
            b'e' => {
                stem.remove(at);
            }
            b'u' if stem.len() <= RING_CHARS_MAX => stem.replace_range(at..=at, "o"),
            _ => {}
        }
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_one_word_share_a_stem() {
        let families: [&[&str]; 9] = [
            &["vrtacka", "vrtacky", "vrtacku", "vrtacek", "vrtackami"],
            &["nabijecka", "nabijecky", "nabijecek"],
            &["pocitac", "pocitace", "pocitacu", "pocitacum", "pocitacich"],
            &["priklepova", "priklepove", "priklepovych", "priklepovymi"],
            &["stul", "stoly", "stolu"],
            &["hrnec", "hrnce", "hrncu"],
            &["kniha", "knihy", "knize"],
            &["bota", "boty", "botami"],
            &["disk", "disky", "disku", "diskum"],
        ];
        for family in families {
            let stems: Vec<_> = family.iter().map(|word| stem(word)).collect();
            assert!(stems.iter().all(|stem| *stem == stems[0]), "{family:?}: {stems:?}");
        }
        for word in ["a", "", "靴下", "ab", "v"] {
            assert_eq!(stem(word), word);
        }
    }
}
