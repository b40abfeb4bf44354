//! Text into words, the same way for what is indexed and what is asked, whatever the language: lower case, accents folded,
//! cut at everything that is no letter or digit. Scripts written without blanks (Han, kana; Hangul too) become overlapping pairs
//! of characters. Absent here: stemming, stop words, synonyms.

use tantivy::tokenizer::{AsciiFoldingFilter, RawTokenizer, TextAnalyzer, Token, TokenStream, Tokenizer};

/// Changes whenever the same text gives other words than before: an index made by another is made anew.
pub const FORMAT: u32 = 1;
/// The longest word, in characters; the rest is cut off.
pub const WORD_CHARS_MAX: usize = 64;
/// The longest code (identifier), in characters.
const CODE_CHARS_MAX: usize = 128;
/// The lengths of a GTIN, whose leading zeros mean nothing.
const GTIN_DIGITS: std::ops::RangeInclusive<usize> = 8..=14;

/// One word of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// All of them must be found: the sides of a hyphen, or the pairs of a run of characters.
    pub parts: Vec<String>,
    /// Or this one: the sides of a hyphen written together.
    pub joined: Option<String>,
}

/// A run of letters and digits of one kind.
struct Run<'a> {
    text: &'a str,
    is_paired: bool,
    /// Whether a single mark (as in `t-shirt`, `men's`) joins it to the run before.
    is_glued: bool,
}

/// Lower case without accents: `Ärmel` is `armel`, `ﬀ` `ff`, `Ｎ` `n`.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let plain: String = text.to_lowercase().chars().filter(|c| !is_combining(*c)).map(fold_cyrillic).collect();
    let mut folder = TextAnalyzer::builder(RawTokenizer::default()).filter(AsciiFoldingFilter).build();
    let mut stream = folder.token_stream(&plain);
    if stream.advance() { std::mem::take(&mut stream.token_mut().text) } else { String::new() }
}

/// The words of a query, at most `words_max`.
pub fn query_words(text: &str, words_max: usize) -> Vec<Word> {
    let folded = fold(text);
    let mut words: Vec<Word> = Vec::new();
    for run in runs(&folded) {
        if run.is_glued
            && let Some(word) = words.last_mut()
        {
            let joined = word.joined.take().unwrap_or_else(|| word.parts.concat()) + cut(run.text);
            word.joined = Some(cut(&joined).to_owned());
            word.parts.push(cut(run.text).to_owned());
            continue;
        }
        if words.len() == words_max {
            break;
        }
        let parts = if run.is_paired { pairs(run.text).map(str::to_owned).collect() } else { vec![cut(run.text).to_owned()] };
        words.push(Word { parts, joined: None });
    }
    words
}

/// What is indexed for a text: every run, runs joined by a mark together too; for runs in pairs also the last character alone,
/// so that each character begins a term and a search for one character is a search for a beginning.
pub fn index_words(text: &str, mut word: impl FnMut(&str)) {
    let folded = fold(text);
    let mut joined = String::new();
    let mut is_joined = false;
    for run in runs(&folded) {
        if !run.is_glued {
            if is_joined {
                word(cut(&joined));
            }
            (joined, is_joined) = (String::new(), false);
        }
        if run.is_paired {
            pairs(run.text).for_each(&mut word);
            if let Some((last, _)) = run.text.char_indices().last().filter(|(at, _)| *at > 0) {
                word(&run.text[last..]);
            }
        } else {
            word(cut(run.text));
            is_joined = run.is_glued;
            joined.push_str(cut(run.text));
        }
    }
    if is_joined {
        word(cut(&joined));
    }
}

/// An identifier (product number, SKU, GTIN) in the one form that is compared: letters and digits alone, a GTIN without leading
/// zeros. `None` when nothing is left or it is too long for one.
pub fn code(text: &str) -> Option<String> {
    if text.chars().count() > 2 * CODE_CHARS_MAX {
        return None;
    }
    let code: String = fold(text).chars().filter(|c| c.is_alphanumeric()).take(CODE_CHARS_MAX + 1).collect();
    let digits = GTIN_DIGITS.contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit());
    let code = if digits { code.trim_start_matches('0').to_owned() } else { code };
    (!code.is_empty() && code.chars().count() <= CODE_CHARS_MAX).then_some(code)
}

fn runs(folded: &str) -> impl Iterator<Item = Run<'_>> {
    let mut at = 0;
    let mut was_plain = false;
    std::iter::from_fn(move || {
        let gap_start = at;
        let start = at + folded[at..].find(char::is_alphanumeric)?;
        let first = folded[start..].chars().next()?;
        let is_paired = is_paired(first);
        let length =
            folded[start..].find(|c: char| !c.is_alphanumeric() || self::is_paired(c) != is_paired).unwrap_or(folded.len() - start);
        at = start + length;
        let is_glued = was_plain && !is_paired && is_mark(&folded[gap_start..start]);
        was_plain = !is_paired;
        Some(Run { text: &folded[start..at], is_paired, is_glued })
    })
}

/// `靴下屋` is `靴下`, `下屋`; one character alone is itself.
fn pairs(run: &str) -> impl Iterator<Item = &str> {
    let starts = run.char_indices().map(|(at, _)| at);
    let ends = run.char_indices().map(|(at, c)| at + c.len_utf8()).skip(1);
    let is_single = run.chars().nth(1).is_none();
    starts.zip(ends).map(|(start, end)| &run[start..end]).chain(is_single.then_some(run))
}

fn cut(run: &str) -> &str {
    run.char_indices().nth(WORD_CHARS_MAX).map_or(run, |(end, _)| &run[..end])
}

fn is_mark(gap: &str) -> bool {
    matches!(gap, "-" | "'" | "’" | "." | "_" | "&" | "+" | "‐" | "‑")
}

/// The Cyrillic letters that are composed of another and a mark.
fn fold_cyrillic(c: char) -> char {
    match c {
        'ё' => 'е',
        'й' => 'и',
        c => c,
    }
}

fn is_combining(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

fn is_paired(c: char) -> bool {
    matches!(c,
        '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}'
        | '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7af}')
}

/// [`index_words`] as tantivy wants it.
#[derive(Clone, Default)]
pub struct WordTokenizer;

/// The words of one text.
pub struct WordStream {
    words: std::vec::IntoIter<String>,
    token: Token,
}

impl Tokenizer for WordTokenizer {
    type TokenStream<'a> = WordStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream {
        let mut words = Vec::new();
        index_words(text, |word| words.push(word.to_owned()));
        WordStream { words: words.into_iter(), token: Token::default() }
    }
}

impl TokenStream for WordStream {
    fn advance(&mut self) -> bool {
        let Some(word) = self.words.next() else { return false };
        self.token.text = word;
        self.token.position = self.token.position.wrapping_add(1);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn indexed(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        index_words(text, |word| words.push(word.to_owned()));
        words
    }

    #[test]
    fn indexed_words_by_table() {
        let cases: [(&str, &[&str]); 14] = [
            ("Nike Men Town T-Shirts", &["nike", "men", "town", "t", "shirts", "tshirts"]),
            ("Men's Wi-Fi 3.5\" plug", &["men", "s", "mens", "wi", "fi", "wifi", "3", "5", "35", "plug"]),
            ("Herrenhemd aus Öko-Baumwolle, weiß", &["herrenhemd", "aus", "oko", "baumwolle", "okobaumwolle", "weiss"]),
            ("Příklepová vrtačka", &["priklepova", "vrtacka"]),
            ("Collier en argent plaqué, œil-de-tigre", &["collier", "en", "argent", "plaque", "oeil", "de", "tigre", "oeildetigre"]),
            ("Ёлочная игрушка", &["елочная", "игрушка"]),
            ("メンズ 靴下", &["メン", "ンズ", "ズ", "靴下", "下"]),
            ("靴", &["靴"]),
            ("Nike靴 ＡＢＣ", &["nike", "靴", "abc"]),
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
        let word = |parts: &[&str], joined: Option<&str>| Word {
            parts: parts.iter().map(|part| (*part).to_owned()).collect(),
            joined: joined.map(str::to_owned),
        };
        assert_eq!(query_words("Red T-Shirt", 9), [word(&["red"], None), word(&["t", "shirt"], Some("tshirt"))]);
        assert_eq!(query_words("靴下屋 x", 9), [word(&["靴下", "下屋"], None), word(&["x"], None)]);
        assert_eq!(query_words("a b c", 2), [word(&["a"], None), word(&["b"], None)]);
        assert_eq!(query_words("BC-FU-LI3560", 9), [word(&["bc", "fu", "li3560"], Some("bcfuli3560"))]);
        assert_eq!(query_words("\" AND (*:", 9), [word(&["and"], None)]);
        assert_eq!(query_words(&"x".repeat(1000), 9), [word(&["x".repeat(WORD_CHARS_MAX).as_str()], None)]);
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
        fn a_text_asked_for_as_it_is_finds_all_its_words(text in "\\PC{0,40}") {
            let indexed = indexed(&text);
            for word in query_words(&text, usize::MAX) {
                prop_assert!(word.parts.iter().chain(&word.joined).all(|part| indexed.contains(part)), "{word:?} not in {indexed:?}");
            }
            let _ = code(&text);
        }
    }
}
