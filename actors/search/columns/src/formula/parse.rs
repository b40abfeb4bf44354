//! The text of a formula into a tree, by recursive descent:
//!
//! ```text
//! sum     = product { ( + | - ) product }
//! product = unary { ( * | / ) unary }
//! unary   = - unary | default
//! default = operand [ ?? unary ]
//! operand = number | ( sum ) | function ( .. ) | score | attribute
//! ```

use domain::Filter;
use domain::filter::{nearest_names, parse_number};

use super::{FORMULA_BYTES_MAX, FORMULA_DEPTH_MAX, FORMULA_NODES_MAX, FormulaError};

/// A formula as read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Number(f64),
    Score,
    Attribute(String),
    AgeDays(String),
    Distance(String, f64, f64),
    Negative(Box<Node>),
    Pair(Pair, Box<Node>, Box<Node>),
    One(One, Box<Node>),
    Clamp(Box<[Node; 3]>),
    Decay(Box<[Node; 3]>),
    Least(Vec<Node>),
    Greatest(Vec<Node>),
    If(Filter, Box<[Node; 2]>),
}

/// Operations on two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    /// The second where the first is missing.
    Default,
}

/// Functions of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum One {
    Ln,
    Log10,
    Sqrt,
    Abs,
    Exp,
}

const FUNCTIONS: [&str; 13] = ["ln", "log10", "sqrt", "abs", "exp", "pow", "min", "max", "clamp", "if", "age_days", "decay", "distance_m"];

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Ticked(String),
    Quoted(String),
    Number(f64),
    Sign(&'static str),
    End,
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Self::Word(text) | Self::Ticked(text) => format!("`{text}`"),
            Self::Quoted(text) => format!("\"{text}\""),
            Self::Number(number) => format!("`{number}`"),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Result<Node, FormulaError> {
    if text.len() > FORMULA_BYTES_MAX {
        return Err(FormulaError::Long);
    }
    let mut parser = Parser { text, tokens: lex(text)?, at: 0, depth: 0, nodes: 0 };
    let root = parser.sum()?;
    if *parser.peek() == Token::End { Ok(root) } else { Err(parser.expected("an operator or the end")) }
}

fn syntax(text: &str, byte: usize, found: impl Into<String>, expected: impl Into<String>) -> FormulaError {
    FormulaError::Syntax { character: character(text, byte), found: found.into(), expected: expected.into() }
}

fn character(text: &str, byte: usize) -> usize {
    text.get(..byte).map_or(0, |before| before.chars().count()) + 1
}

fn lex(text: &str) -> Result<Vec<(usize, Token)>, FormulaError> {
    const SIGNS: [&str; 8] = ["??", "+", "-", "*", "/", "(", ")", ","];
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (token, length) = if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            (Token::Sign(sign), sign.len())
        } else if matches!(first, '"' | '\'' | '`') {
            let end = closing(rest, first).ok_or_else(|| syntax(text, text.len(), "the end", format!("the closing {first}")))?;
            // A filter's own quotes stand in the other kind, or escaped as in any quoted text.
            let inner = rest[1..end].replace(&format!("\\{first}"), &first.to_string());
            (if first == '`' { Token::Ticked(inner) } else { Token::Quoted(inner) }, end + 1)
        } else if first.is_ascii_digit() || first == '.' {
            let length = number_length(rest);
            let number = parse_number(&rest[..length]).ok_or_else(|| syntax(text, at, format!("`{}`", &rest[..length]), "a number"))?;
            (Token::Number(number), length)
        } else if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (Token::Word(rest[..length].to_owned()), length)
        } else {
            return Err(syntax(text, at, format!("`{first}`"), "a number, an attribute, a function or an operator"));
        };
        tokens.push((at, token));
        at += length;
    }
    tokens.push((text.len(), Token::End));
    Ok(tokens)
}

/// The byte of the quote that closes the one at the beginning.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().skip(1).find_map(|(at, c)| {
        let closes = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        closes.then_some(at)
    })
}

/// Digits, a point and an exponent: `1e-3`.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut length = bytes.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let digits = bytes[length + 1 + sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        length += if digits > 0 { 1 + sign + digits } else { 0 };
    }
    length
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
    nodes: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(_, token)| token)
    }

    fn byte(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |(byte, _)| *byte)
    }

    fn expected(&self, expected: impl Into<String>) -> FormulaError {
        syntax(self.text, self.byte(), self.peek().shown(), expected)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is_there = matches!(self.peek(), Token::Sign(there) if *there == sign);
        self.at += usize::from(is_there);
        is_there
    }

    fn sign(&mut self, sign: &str) -> Result<(), FormulaError> {
        if self.takes(sign) { Ok(()) } else { Err(self.expected(format!("`{sign}`"))) }
    }

    fn count(&mut self) -> Result<(), FormulaError> {
        self.nodes += 1;
        if self.nodes > FORMULA_NODES_MAX { Err(FormulaError::Large) } else { Ok(()) }
    }

    fn pair(&mut self, operation: Pair, a: Node, b: Node) -> Result<Node, FormulaError> {
        self.count()?;
        Ok(Node::Pair(operation, Box::new(a), Box::new(b)))
    }

    fn sum(&mut self) -> Result<Node, FormulaError> {
        let mut sum = self.product()?;
        loop {
            let operation = if self.takes("+") {
                Pair::Add
            } else if self.takes("-") {
                Pair::Subtract
            } else {
                return Ok(sum);
            };
            let next = self.product()?;
            sum = self.pair(operation, sum, next)?;
        }
    }

    fn product(&mut self) -> Result<Node, FormulaError> {
        let mut product = self.unary()?;
        loop {
            let operation = if self.takes("*") {
                Pair::Multiply
            } else if self.takes("/") {
                Pair::Divide
            } else {
                return Ok(product);
            };
            let next = self.unary()?;
            product = self.pair(operation, product, next)?;
        }
    }

    fn unary(&mut self) -> Result<Node, FormulaError> {
        self.depth += 1;
        if self.depth > FORMULA_DEPTH_MAX {
            return Err(FormulaError::Deep);
        }
        self.count()?;
        let node = if self.takes("-") {
            Node::Negative(Box::new(self.unary()?))
        } else {
            let operand = self.operand()?;
            if self.takes("??") {
                let default = self.unary()?;
                self.pair(Pair::Default, operand, default)?
            } else {
                operand
            }
        };
        self.depth -= 1;
        Ok(node)
    }

    fn operand(&mut self) -> Result<Node, FormulaError> {
        let token = self.peek().clone();
        match token {
            Token::Number(number) => {
                self.at += 1;
                Ok(Node::Number(number))
            }
            Token::Sign("(") => {
                self.at += 1;
                let sum = self.sum()?;
                self.sign(")")?;
                Ok(sum)
            }
            Token::Ticked(name) => {
                self.at += 1;
                Ok(Node::Attribute(name))
            }
            Token::Word(word) => {
                let start = self.at;
                self.at += 1;
                if self.takes("(") {
                    return self.function(&word.to_lowercase(), start);
                }
                Ok(if word.eq_ignore_ascii_case("score") { Node::Score } else { Node::Attribute(word) })
            }
            _ => Err(self.expected("a number, an attribute, a function or `(`")),
        }
    }

    fn function(&mut self, name: &str, start: usize) -> Result<Node, FormulaError> {
        let node = match name {
            "ln" => Node::One(One::Ln, Box::new(self.sum()?)),
            "log10" => Node::One(One::Log10, Box::new(self.sum()?)),
            "sqrt" => Node::One(One::Sqrt, Box::new(self.sum()?)),
            "abs" => Node::One(One::Abs, Box::new(self.sum()?)),
            "exp" => Node::One(One::Exp, Box::new(self.sum()?)),
            "pow" => {
                let [base, exponent] = self.arguments()?;
                Node::Pair(Pair::Power, Box::new(base), Box::new(exponent))
            }
            "min" => Node::Least(self.some_arguments()?),
            "max" => Node::Greatest(self.some_arguments()?),
            "clamp" => Node::Clamp(Box::new(self.arguments()?)),
            "decay" => Node::Decay(Box::new(self.arguments()?)),
            "if" => {
                let filter = self.filter()?;
                self.sign(",")?;
                Node::If(filter, Box::new(self.arguments()?))
            }
            "age_days" => Node::AgeDays(self.attribute()?),
            "distance_m" => {
                let attribute = self.attribute()?;
                self.sign(",")?;
                let latitude = self.degrees(90.0)?;
                self.sign(",")?;
                Node::Distance(attribute, latitude, self.degrees(180.0)?)
            }
            other => {
                self.at = start;
                let near = nearest_names(other, FUNCTIONS, 1);
                let near = near.first().map_or_else(|| FUNCTIONS.join(", "), |name| (*name).to_owned());
                return Err(self.expected(format!("a function: {near}")));
            }
        };
        self.sign(")")?;
        Ok(node)
    }

    fn arguments<const N: usize>(&mut self) -> Result<[Node; N], FormulaError> {
        let mut arguments = [const { Node::Score }; N];
        for (index, argument) in arguments.iter_mut().enumerate() {
            if index > 0 {
                self.sign(",")?;
            }
            *argument = self.sum()?;
        }
        Ok(arguments)
    }

    fn some_arguments(&mut self) -> Result<Vec<Node>, FormulaError> {
        let mut arguments = vec![self.sum()?];
        while self.takes(",") {
            arguments.push(self.sum()?);
        }
        Ok(arguments)
    }

    fn attribute(&mut self) -> Result<String, FormulaError> {
        let name = match self.peek() {
            Token::Word(name) | Token::Ticked(name) => name.clone(),
            _ => return Err(self.expected("the name of an attribute")),
        };
        self.at += 1;
        Ok(name)
    }

    fn degrees(&mut self, max: f64) -> Result<f64, FormulaError> {
        let is_negative = self.takes("-");
        match *self.peek() {
            Token::Number(number) if number <= max => {
                self.at += 1;
                Ok(if is_negative { -number } else { number })
            }
            _ => Err(self.expected(format!("degrees, a number from -{max} to {max}"))),
        }
    }

    fn filter(&mut self) -> Result<Filter, FormulaError> {
        let Token::Quoted(text) = self.peek() else { return Err(self.expected("a filter in quotes")) };
        let character = character(self.text, self.byte());
        let filter = Filter::parse(text).map_err(|error| FormulaError::Filter { character, error })?;
        self.at += 1;
        Ok(filter)
    }
}
