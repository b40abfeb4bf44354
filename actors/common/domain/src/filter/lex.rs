//! A filter's text cut into words, quoted texts and signs.

use super::error::FilterError;

/// What stands at a place.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A bare word: keyword, attribute name, value.
    Word(String),
    /// In single or double quotes, escapes resolved.
    Quoted(String),
    /// In backticks: an attribute name.
    Ticked(String),
    /// `( ) [ ] , = != < <= > >=`
    Sign(&'static str),
    /// Nothing more.
    End,
}

impl Token {
    /// How it looks, for messages.
    pub(super) fn shown(&self) -> String {
        const SHOWN_CHARS_MAX: usize = 40;
        let cut = |text: &str| text.chars().take(SHOWN_CHARS_MAX).collect::<String>();
        match self {
            Self::Word(text) => format!("`{}`", cut(text)),
            Self::Quoted(text) => format!("\"{}\"", cut(text)),
            Self::Ticked(text) => format!("the attribute `{}`", cut(text)),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Longer signs first, so that `<=` is not `<` and `=`.
const SIGNS: [&str; 11] = ["!=", "<=", ">=", "(", ")", "[", "]", ",", "=", "<", ">"];

/// A mistake at a byte offset of the text.
pub(super) fn syntax(text: &str, byte: usize, found: impl Into<String>, expected: impl Into<String>) -> FilterError {
    let character = text.get(..byte).map_or(0, |before| before.chars().count()) + 1;
    FilterError::Syntax { byte, character, found: found.into(), expected: expected.into() }
}

/// Every token with the byte where it begins; the last is [`Token::End`].
pub(super) fn lex(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push((at, Token::Sign(sign)));
            at += sign.len();
        } else if first == '"' || first == '\'' {
            let (value, length) = quoted(text, at, first)?;
            tokens.push((at, Token::Quoted(value)));
            at += length;
        } else if first == '`' {
            let (name, length) = ticked(text, at)?;
            tokens.push((at, Token::Ticked(name)));
            at += length;
        } else {
            let length = rest.find(ends_word).unwrap_or(rest.len());
            if length == 0 {
                return Err(syntax(text, at, format!("`{first}`"), "an attribute, a value or a sign"));
            }
            tokens.push((at, Token::Word(rest[..length].to_owned())));
            at += length;
        }
    }
    tokens.push((text.len(), Token::End));
    Ok(tokens)
}

/// An apostrophe within a word belongs to it: `Levi's`.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '[' | ']' | '{' | '}' | ',' | '=' | '<' | '>' | '!' | '"' | '`')
}

fn quoted(text: &str, start: usize, quote: char) -> Result<(String, usize), FilterError> {
    let mut value = String::new();
    let mut chars = text[start..].char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Ok((value, at + 1));
        }
        if c != '\\' {
            value.push(c);
            continue;
        }
        let Some((escape_at, escape)) = chars.next() else { break };
        match escape {
            '"' | '\'' | '\\' | '/' | '`' => value.push(escape),
            'n' => value.push('\n'),
            'r' => value.push('\r'),
            't' => value.push('\t'),
            'u' => {
                let digits = &text[start + escape_at + 1..];
                let (c, length) = unicode_escape(digits)
                    .ok_or_else(|| syntax(text, start + escape_at, "`\\u`", "`\\u{hex digits}` of a Unicode character"))?;
                value.push(c);
                // The escape is ASCII: as many characters as bytes.
                chars.nth(length - 1);
            }
            other => {
                return Err(syntax(text, start + at, format!("`\\{other}`"), "one of \\\" \\' \\\\ \\n \\r \\t \\u{…}"));
            }
        }
    }
    Err(syntax(text, text.len(), "the end", format!("the closing {quote} of the value that begins at byte {start}")))
}

/// `{1f600}` or four digits; the character and the length in bytes.
fn unicode_escape(text: &str) -> Option<(char, usize)> {
    let (digits, length) = match text.strip_prefix('{') {
        Some(rest) => {
            let end = rest.bytes().take(8).position(|byte| byte == b'}')?;
            (&rest[..end], end + 2)
        }
        None => (text.get(..4)?, 4),
    };
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    Some((char::from_u32(code)?, length))
}

/// A backtick within the name is doubled.
fn ticked(text: &str, start: usize) -> Result<(String, usize), FilterError> {
    let mut name = String::new();
    let mut chars = text[start..].char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != '`' {
            name.push(c);
        } else if chars.next_if(|(_, next)| *next == '`').is_some() {
            name.push('`');
        } else {
            return Ok((name, at + 1));
        }
    }
    Err(syntax(text, text.len(), "the end", format!("the closing ` of the attribute that begins at byte {start}")))
}
