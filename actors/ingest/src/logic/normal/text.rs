//! Texts: HTML to plain text, single lines, attribute names, cutting to a bound.

use std::borrow::Cow;

/// Texts are decoded at most this often: feeds escape once too often, rarely twice, and a bound ends the guessing.
const DECODE_ROUNDS_MAX: usize = 3;
/// A `<` without its `>` within this many bytes is a character, not a tag.
const TAG_BYTES_MAX: usize = 4096;
const MARKERS: [char; 2] = ['<', '&'];

/// Plain text of an HTML (or plain) text: scripts and styles dropped, block ends and `<br>` to line breaks, other tags
/// removed, entities decoded also where they were escaped twice. Blanks are squeezed, empty lines dropped. Line breaks of
/// the source count only in a text without line-breaking tags.
pub fn html_to_text(html: &str) -> String {
    let mut text = Cow::Borrowed(html);
    for _ in 0..DECODE_ROUNDS_MAX {
        if !text.contains(MARKERS) {
            break;
        }
        let next = html_escape::decode_html_entities(&strip_tags(&text)).into_owned();
        if next == *text {
            break;
        }
        text = Cow::Owned(next);
    }
    squeeze_lines(&text)
}

/// One line of plain text: like [`html_to_text`], with line breaks as blanks.
pub fn line(text: &str) -> String {
    if text.contains(MARKERS) {
        let plain = html_to_text(text);
        return if plain.contains('\n') { squeeze(&plain) } else { plain };
    }
    squeeze(text)
}

/// Joins words by single blanks; control characters count as blanks.
pub fn squeeze(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    for word in text.split(is_blank).filter(|word| !word.is_empty()) {
        if !squeezed.is_empty() {
            squeezed.push(' ');
        }
        squeezed.push_str(word);
    }
    squeezed
}

/// `productDisplayName`, `Variant SKU`, `g:image_link`, `Image-Link` to snake_case. Letters of any script are kept.
pub fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut before: Option<char> = None;
    let mut chars = name.trim().chars().peekable();
    while let Some(char) = chars.next() {
        if !char.is_alphanumeric() {
            if !snake.is_empty() && !snake.ends_with('_') {
                snake.push('_');
            }
        } else {
            let starts_word = char.is_uppercase()
                && before.is_some_and(|before| {
                    before.is_lowercase()
                        || before.is_numeric()
                        || (before.is_uppercase() && chars.peek().is_some_and(|next| next.is_lowercase()))
                });
            if starts_word && !snake.ends_with('_') {
                snake.push('_');
            }
            snake.extend(char.to_lowercase());
        }
        before = Some(char);
    }
    snake.truncate(snake.trim_end_matches('_').len());
    snake
}

/// The longest prefix of at most `bytes_max` bytes that ends between characters.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

fn is_blank(char: char) -> bool {
    char.is_whitespace() || char.is_control() || char == '\u{feff}' || char == '\u{200b}'
}

fn squeeze_lines(text: &str) -> String {
    let mut lines = String::with_capacity(text.len());
    for line in text.split(['\n', '\r']) {
        let before = lines.len();
        for word in line.split(is_blank).filter(|word| !word.is_empty()) {
            if !lines.is_empty() {
                lines.push(if lines.len() == before { '\n' } else { ' ' });
            }
            lines.push_str(word);
        }
    }
    lines
}

fn strip_tags(html: &str) -> Cow<'_, str> {
    if !html.contains('<') {
        return Cow::Borrowed(html);
    }
    let mut text = String::with_capacity(html.len());
    let mut breaks_lines = false;
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        let Some((name, len)) = tag(&rest[at..]) else {
            text.push('<');
            rest = &rest[at + 1..];
            continue;
        };
        let is_end = rest[at + 1..].starts_with('/');
        rest = &rest[at + len..];
        match name.as_str() {
            "script" | "style" if !is_end => rest = behind_end_tag(rest, &name),
            "br" | "p" | "div" | "li" | "ul" | "ol" | "tr" | "table" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "hr" | "section"
            | "dd" | "dt" => {
                breaks_lines = true;
                text.push('\u{b}');
            }
            "td" | "th" => text.push(' '),
            _ => {}
        }
    }
    text.push_str(rest);
    if breaks_lines {
        text = text.replace(['\n', '\r'], " ");
    }
    Cow::Owned(text.replace('\u{b}', "\n"))
}

/// The lower-case name and length of the tag, comment or declaration that `text` starts with.
fn tag(text: &str) -> Option<(String, usize)> {
    if let Some(comment) = text.strip_prefix("<!--") {
        return Some((String::new(), comment.find("-->").map_or(text.len(), |end| end + 7)));
    }
    let inner = text[1..].trim_start_matches('/');
    if !inner.starts_with(|char: char| char.is_ascii_alphabetic() || char == '!' || char == '?') {
        return None;
    }
    let name: String = inner.chars().take_while(char::is_ascii_alphanumeric).map(|char| char.to_ascii_lowercase()).collect();
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate().take(TAG_BYTES_MAX) {
        match (quote, byte) {
            (None, b'>') => return Some((name, at + 1)),
            (None, b'"' | b'\'') if text.as_bytes()[at - 1] == b'=' => quote = Some(byte),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    None
}

fn behind_end_tag<'a>(text: &'a str, name: &str) -> &'a str {
    let mut rest = text;
    while let Some(at) = rest.find("</") {
        rest = &rest[at + 2..];
        if rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return rest.find('>').map_or("", |end| &rest[end + 1..]);
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn html_by_table() {
        let cases = [
            ("plain", "plain"),
            ("two\nlines  here\n\n\nend", "two\nlines here\nend"),
            ("<p>One</p><p>Two</p>", "One\nTwo"),
            ("a<br>b<BR/>c<br />d", "a\nb\nc\nd"),
            ("<ul><li>x</li>\n<li>y\n z</li></ul>", "x\ny z"),
            ("wrapped <b>bold</b>\n text", "wrapped bold\ntext"),
            ("l&#039;eau", "l'eau"),
            ("l&amp;#039;eau", "l'eau"),
            ("R&amp;D &amp;amp; more", "R&D & more"),
            ("&lt;p&gt;One&lt;/p&gt;&lt;p&gt;Two&lt;/p&gt;", "One\nTwo"),
            ("<style>p{a<b}</style>x<script>if(a<b)alert('</p>')</script>y", "xy"),
            ("size < 40 & > 30", "size < 40 & > 30"),
            ("<a href=\"x>y\">link</a>", "link"),
            ("<!-- a > b -->text", "text"),
            ("caf&eacute;&nbsp;&euro; 5", "café € 5"),
            ("<script>never closed", ""),
            ("1 <2 and 3> 2", "1 <2 and 3> 2"),
        ];
        for (html, text) in cases {
            assert_eq!(html_to_text(html), text, "{html}");
        }
    }

    #[test]
    fn lines_by_table() {
        for (text, expected) in [
            ("  Palm  Tree\tKids ", "Palm Tree Kids"),
            ("A<br>B", "A B"),
            ("", ""),
            ("Salt &amp; Pepper", "Salt & Pepper"),
            ("a\u{0}b", "a b"),
        ] {
            assert_eq!(line(text), expected, "{text:?}");
        }
    }

    #[test]
    fn names_by_table() {
        let cases = [
            ("productDisplayName", "product_display_name"),
            ("Variant SKU", "variant_sku"),
            ("Body (HTML)", "body_html"),
            ("g:image_link", "g_image_link"),
            ("Option1 Name", "option1_name"),
            ("Größe", "größe"),
            ("HSCode", "hs_code"),
            ("  padded  ", "padded"),
            ("Google Shopping / Gender", "google_shopping_gender"),
            ("--", ""),
        ];
        for (name, expected) in cases {
            assert_eq!(snake_case(name), expected, "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_text_becomes_tidy_text_no_longer_than_it_was(text in "(<[a-z/!-]{0,6}|>|&[a-z#0-9]{0,5};?|[ \\n\"'=]|\\PC){0,60}") {
            let plain = html_to_text(&text);
            prop_assert!(!plain.contains("  ") && plain.trim() == plain && !plain.contains("\n\n"));
            prop_assert!(!line(&text).contains('\n'));
            prop_assert!(plain.len() <= text.len() * 3);
        }
    }
}
