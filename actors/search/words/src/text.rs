//! Text into words, the same way for what is indexed and what is asked, whatever the language: lower case, accents folded,
//! cut at everything that is no letter or digit. Scripts written without blanks (Han, kana; Hangul too) become overlapping pairs
//! of characters. Numbers keep their point (`3.5`; a comma is one too) and are joined with a unit behind them (`18 V` is `18v` too).

use tantivy::tokenizer::{AsciiFoldingFilter, RawTokenizer, TextAnalyzer, TokenStream};

/// The longest word, in characters; the rest is cut off.
pub(crate) const WORD_CHARS_MAX: usize = 64;
/// The longest code (identifier), in characters.
const CODE_CHARS_MAX: usize = 128;
/// The lengths of a GTIN, whose leading zeros mean nothing.
const GTIN_DIGITS: std::ops::RangeInclusive<usize> = 8..=14;
/// What a number is measured in.
const UNITS: [&str; 46] = [
    "a", "ah", "bar", "cl", "cm", "db", "dl", "ft", "g", "gb", "ghz", "hp", "hz", "in", "inch", "k", "kg", "khz", "km", "kw", "kwh", "l",
    "lb", "lbs", "lm", "m", "mah", "mb", "mg", "mhz", "ml", "mm", "mp", "nm", "oz", "ps", "psi", "px", "qt", "rpm", "t", "tb", "v", "va",
    "w", "wh",
];

/// How a run of characters hangs together with the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Glue {
    /// Not at all: a blank or more than one mark lies between.
    Apart,
    /// A single mark, as in `t-shirt`.
    Mark,
    /// An apostrophe, as in `men's`.
    Apostrophe,
    /// The stroke of a fraction, as in `1/2`.
    Fraction,
}

/// A run of letters and digits of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run<'a> {
    pub(crate) text: &'a str,
    /// Whether the script is written without blanks.
    pub(crate) is_paired: bool,
    pub(crate) glue: Glue,
}

/// A word of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueryWord {
    pub(crate) text: String,
    /// The number of the group of runs that marks hold together; runs of one group follow one another.
    pub(crate) group: usize,
    /// Whether the word is what an apostrophe cuts off (`s` of `men's`, `l` of `l'argent`) or a pair that ends or begins in the
    /// middle of a word: good to find, not needed.
    pub(crate) is_optional: bool,
    /// Whether it is a pair of characters of a script without blanks, or one such character.
    pub(crate) is_paired: bool,
}

/// The words of a query and what their groups are when written together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueryText {
    pub(crate) words: Vec<QueryWord>,
    /// For each group its runs written together, where it has more than one: `tshirt` for `t-shirt`.
    pub(crate) joined: Vec<Option<String>>,
}

/// Lower case without accents, numbers with a point: `Ärmel` is `armel`, `ﬀ` `ff`, `Ｎ` `n`, `½` `1/2`, `3,5` `3.5`.
pub(crate) fn fold(text: &str) -> String {
    let folded = without_accents(text);
    if !folded.contains(',') {
        return folded;
    }
    let mut pointed = String::with_capacity(folded.len());
    let mut before = ' ';
    for (at, c) in folded.char_indices() {
        let is_point = c == ',' && before.is_ascii_digit() && folded[at + 1..].starts_with(|next: char| next.is_ascii_digit());
        pointed.push(if is_point { '.' } else { c });
        before = c;
    }
    pointed
}

fn without_accents(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            'ё' => plain.push('е'),
            // A decomposed й is the letter й, not an accented и.
            '\u{306}' if plain.ends_with('и') => {
                plain.pop();
                plain.push('й');
            }
            '\u{300}'..='\u{36f}' => {}
            c => match fraction(c) {
                Some(written) => plain.push_str(written),
                None => plain.push(c),
            },
        }
    }
    let mut folder = TextAnalyzer::builder(RawTokenizer::default()).filter(AsciiFoldingFilter).build();
    let mut stream = folder.token_stream(&plain);
    if stream.advance() { std::mem::take(&mut stream.token_mut().text) } else { String::new() }
}

/// The words of a query, at most `words_max`.
pub(crate) fn query_text(text: &str, words_max: usize) -> QueryText {
    let folded = fold(text);
    let mut query = QueryText::default();
    let mut group = String::new();
    for run in runs(&folded) {
        if query.words.len() >= words_max {
            break;
        }
        if run.glue == Glue::Apart {
            query.joined.push(None);
            group.clear();
        }
        let number = query.joined.len() - 1;
        match run.glue {
            Glue::Fraction => {
                group.push('/');
                if let Some(before) = query.words.last_mut() {
                    before.text = format!("{}/{}", before.text, cut(run.text));
                }
            }
            Glue::Apostrophe => {
                let is_cut_off = query.words.last().is_some_and(|before| before.text.len() == 1);
                if let Some(before) = query.words.last_mut().filter(|_| is_cut_off) {
                    before.is_optional = true;
                }
                push_words(&mut query.words, &run, number, !is_cut_off && run.text.chars().nth(2).is_none(), words_max);
            }
            Glue::Apart | Glue::Mark => push_words(&mut query.words, &run, number, false, words_max),
        }
        group.push_str(cut(run.text));
        if matches!(run.glue, Glue::Mark | Glue::Apostrophe) || query.joined[number].is_some() {
            query.joined[number] = Some(cut(&group).to_owned());
        }
    }
    query
}

fn push_words(words: &mut Vec<QueryWord>, run: &Run<'_>, group: usize, is_optional: bool, words_max: usize) {
    if !run.is_paired {
        words.push(QueryWord { text: cut(run.text).to_owned(), group, is_optional, is_paired: false });
        return;
    }
    let is_all_hiragana = run.text.chars().all(is_hiragana);
    let room = words_max - words.len();
    words.extend(pairs(run.text).take(room).map(|pair| {
        // A pair that is part particle or ending joins words rather than being one.
        let is_optional = !is_all_hiragana && pair.chars().any(is_hiragana);
        QueryWord { text: pair.to_owned(), group, is_optional, is_paired: true }
    }));
}

/// What is indexed for a text: every run, runs joined by a mark together too; for runs in pairs also the last character alone,
/// so that each character begins a word and a search for one character is a search for a beginning.
pub(crate) fn index_words(folded: &str, mut word: impl FnMut(&str)) {
    let mut group = String::new();
    let mut is_joined = false;
    let mut number: Option<String> = None;
    for run in runs(folded) {
        if run.glue == Glue::Apart {
            if is_joined {
                word(cut(&group));
            }
            (is_joined, group) = (false, String::new());
        }
        if run.is_paired {
            number = None;
            pairs(run.text).for_each(&mut word);
            if let Some((last, _)) = run.text.char_indices().last().filter(|(at, _)| *at > 0) {
                word(&run.text[last..]);
            }
            continue;
        }
        word(cut(run.text));
        match run.glue {
            Glue::Apart => {}
            Glue::Fraction => {
                is_joined = true;
                group.push('/');
            }
            Glue::Mark | Glue::Apostrophe => is_joined = true,
        }
        group.push_str(cut(run.text));
        let unit = number.take().filter(|_| run.glue != Glue::Fraction && UNITS.contains(&run.text));
        if let Some(mut measured) = unit {
            measured.push_str(run.text);
            word(&measured);
        }
        let is_number = group.len() <= 12 && group.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'/'));
        number = is_number.then(|| group.clone());
    }
    if is_joined {
        word(cut(&group));
    }
}

/// An identifier (product number, SKU, GTIN) in the one form that is compared: letters and digits alone, a GTIN without leading
/// zeros. `None` when nothing is left or it is too long for one.
pub(crate) fn code(text: &str) -> Option<String> {
    if text.chars().nth(2 * CODE_CHARS_MAX).is_some() {
        return None;
    }
    let code: String = fold(text).chars().filter(|c| c.is_alphanumeric()).take(CODE_CHARS_MAX + 1).collect();
    let digits = GTIN_DIGITS.contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit());
    let code = if digits { code.trim_start_matches('0').to_owned() } else { code };
    (!code.is_empty() && code.chars().count() <= CODE_CHARS_MAX).then_some(code)
}

/// The runs of a folded text.
pub(crate) fn runs(folded: &str) -> impl Iterator<Item = Run<'_>> {
    let mut at = 0;
    let mut before: Option<char> = None;
    std::iter::from_fn(move || {
        let gap_start = at;
        let start = at + folded[at..].find(char::is_alphanumeric)?;
        let first = folded[start..].chars().next()?;
        let script = script(first);
        at = start + run_length(&folded[start..], script);
        let is_paired = script != Script::Spaced;
        let glue = match before.filter(|_| !is_paired) {
            Some(last) => glue(last, &folded[gap_start..start], first),
            None => Glue::Apart,
        };
        before = folded[start..at].chars().next_back().filter(|_| !is_paired);
        Some(Run { text: &folded[start..at], is_paired, glue })
    })
}

/// The letters and digits at the beginning of a text that are of one script, points within numbers too.
fn run_length(text: &str, of: Script) -> usize {
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let is_point = || before.is_ascii_digit() && c == '.' && text[at + 1..].starts_with(|next: char| next.is_ascii_digit());
        if (!c.is_alphanumeric() || script(c) != of) && !is_point() {
            return at;
        }
        before = c;
    }
    text.len()
}

/// The longest word there is of a run.
pub(crate) fn cut(run: &str) -> &str {
    run.char_indices().nth(WORD_CHARS_MAX).map_or(run, |(end, _)| &run[..end])
}

/// `靴下屋` is `靴下`, `下屋`; one character alone is itself.
fn pairs(run: &str) -> impl Iterator<Item = &str> {
    let starts = run.char_indices().map(|(at, _)| at);
    let ends = run.char_indices().map(|(at, c)| at + c.len_utf8()).skip(1);
    let is_single = run.chars().nth(1).is_none();
    starts.zip(ends).map(|(start, end)| &run[start..end]).chain(is_single.then_some(run))
}

fn glue(last: char, gap: &str, first: char) -> Glue {
    let is_number = last.is_ascii_digit() && first.is_ascii_digit();
    match gap {
        "/" | "⁄" if is_number => Glue::Fraction,
        "'" | "’" | "ʼ" | "`" => Glue::Apostrophe,
        "-" | "." | "_" | "&" | "+" | "‐" | "‑" => Glue::Mark,
        _ => Glue::Apart,
    }
}

fn fraction(c: char) -> Option<&'static str> {
    Some(match c {
        '½' => " 1/2",
        '¼' => " 1/4",
        '¾' => " 3/4",
        '⅓' => " 1/3",
        '⅔' => " 2/3",
        '⅛' => " 1/8",
        '⅜' => " 3/8",
        '⅝' => " 5/8",
        '⅞' => " 7/8",
        _ => return None,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Spaced,
    Katakana,
    /// Han, hiragana and Hangul.
    Other,
}

fn script(c: char) -> Script {
    match c {
        // The lengthening mark and katakana: mostly whole words of their own.
        '\u{30a0}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}' => Script::Katakana,
        '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{309f}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}'
        | '\u{1100}'..='\u{11ff}'
        | '\u{ac00}'..='\u{d7af}' => Script::Other,
        _ => Script::Spaced,
    }
}

fn is_hiragana(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{309f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn indexed(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        index_words(&fold(text), |word| words.push(word.to_owned()));
        words
    }

    #[test]
    fn indexed_words_by_table() {
        let cases: [(&str, &[&str]); 18] = [
            ("Nike Men Town T-Shirts", &["nike", "men", "town", "t", "shirts", "tshirts"]),
            ("Men's Wi-Fi 3.5\" plug", &["men", "s", "mens", "wi", "fi", "wifi", "3.5", "plug"]),
            ("Herrenhemd aus Öko-Baumwolle, weiß", &["herrenhemd", "aus", "oko", "baumwolle", "okobaumwolle", "weiss"]),
            ("Příklepová vrtačka", &["priklepova", "vrtacka"]),
            ("Collier en argent plaqué, œil-de-tigre", &["collier", "en", "argent", "plaque", "oeil", "de", "tigre", "oeildetigre"]),
            ("Ёлочная игрушка, синий", &["елочная", "игрушка", "синий"]),
            ("синии\u{306}", &["синий"]),
            ("メンズ 靴下", &["メン", "ンズ", "ズ", "靴下", "下"]),
            ("靴", &["靴"]),
            ("Nike靴 ＡＢＣ", &["nike", "靴", "abc"]),
            ("メンズ靴下", &["メン", "ンズ", "ズ", "靴下", "下"]),
            ("18 V, 3,5 mm", &["18", "v", "18v", "3.5", "mm", "3.5mm"]),
            ("1½ in", &["1", "1", "2", "1/2", "in", "1/2in"]),
            ("e\u{301}tui", &["etui"]),
            ("İstanbul", &["istanbul"]),
            ("a - b / c", &["a", "b", "c"]),
            ("--- !!! \u{0} \u{feff}", &[]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(indexed(text), expected, "{text:?}");
        }
    }

    #[test]
    fn query_words_by_table() {
        let cases: [(&str, &[&str], &[&str]); 11] = [
            ("Red T-Shirt", &["red", "t", "shirt"], &["tshirt"]),
            ("men's", &["men", "s?"], &["mens"]),
            ("l'argent", &["l?", "argent"], &["largent"]),
            ("靴下屋 x", &["靴下", "下屋", "x"], &[]),
            ("子供の靴", &["子供", "供の?", "の靴?"], &[]),
            ("ぬいぐるみ", &["ぬい", "いぐ", "ぐる", "るみ"], &[]),
            ("BC-FU-LI3560", &["bc", "fu", "li3560"], &["bcfuli3560"]),
            ("3,5 mm", &["3.5", "mm"], &[]),
            ("a-1.5", &["a", "1.5"], &["a1.5"]),
            ("\" AND (*:", &["and"], &[]),
            ("a b c d e", &["a", "b", "c", "d"], &[]),
        ];
        for (text, words, joined) in cases {
            let query = query_text(text, 4);
            let found: Vec<_> = query.words.iter().map(|word| word.text.clone() + if word.is_optional { "?" } else { "" }).collect();
            assert_eq!(found, words, "{text:?}");
            assert_eq!(query.joined.into_iter().flatten().collect::<Vec<_>>(), joined, "{text:?}");
        }
        assert_eq!(query_text(&"x".repeat(1000), 9).words[0].text, "x".repeat(WORD_CHARS_MAX));
    }

    #[test]
    fn codes_by_table() {
        let cases = [
            ("BC-FU-LI3560", Some("bcfuli3560")),
            ("bc fu li3560", Some("bcfuli3560")),
            ("0012345678905", Some("12345678905")),
            ("007", Some("007")),
            ("00000000", None),
            ("-/-", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(code(text).as_deref(), expected, "{text:?}");
        }
        assert_eq!(code(&"9".repeat(CODE_CHARS_MAX + 1)), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_text_asked_for_as_it_is_finds_all_its_words(text in "\\PC{0,40}|[a-z0-9 .,'/-]{0,20}") {
            let indexed = indexed(&text);
            let query = query_text(&text, usize::MAX);
            for word in query.words.iter().map(|word| &word.text).chain(query.joined.iter().flatten()) {
                // A fraction inside of a group is indexed as part of the whole group.
                let is_inside = word.contains('/') && indexed.iter().any(|other| other.contains(word.as_str()));
                prop_assert!(is_inside || indexed.contains(word), "{word:?} not in {indexed:?}");
            }
            let _ = code(&text);
        }
    }
}
