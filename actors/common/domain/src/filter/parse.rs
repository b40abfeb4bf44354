//! The string form, by recursive descent:
//!
//! ```text
//! any       = all { OR all }
//! all       = unary { AND unary }
//! unary     = NOT unary | ( any ) | TRUE | FALSE | EXISTS name | NEAR( name , number , number , distance ) | name condition
//! condition = ( = | != ) value | ( < | <= | > | >= ) scalar | [ > | >= ] scalar TO [ < | <= ] scalar | [ NOT ] IN list
//!           | UNDER ( value | list ) | IS [ NOT ] NULL
//! list      = [ value { , value } ] | ( value { , value } )
//! scalar    = number | date | time | *
//! ```

use super::error::FilterError;
use super::lex::{Token, lex, syntax};
use super::scalar::{self, End, parse_number};
use super::{Bound, FILTER_DEPTH_MAX, Filter, FilterBound, RADIUS_M_MAX};

/// Words that are attribute names only in backticks.
pub(super) const RESERVED: [&str; 11] = ["and", "or", "not", "in", "to", "is", "under", "exists", "near", "true", "false"];

/// Whether a name must stand in backticks.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|word| name.eq_ignore_ascii_case(word))
}

/// Metres of each unit of distance.
const DISTANCES: [(&str, f64); 5] = [("km", 1_000.0), ("mi", 1_609.344), ("yd", 0.9144), ("ft", 0.3048), ("m", 1.0)];

/// Reads a whole text. A blank one means every product.
pub(super) fn parse(text: &str) -> Result<Filter, FilterError> {
    let mut parser = Parser { text, tokens: lex(text)?, at: 0, depth: 0 };
    if parser.tokens.len() == 1 {
        return Ok(Filter::All(Vec::new()));
    }
    let filter = parser.any()?;
    match parser.peek() {
        Token::End => Ok(filter),
        _ => Err(parser.expected("`AND`, `OR` or the end")),
    }
}

/// The steps of `Apparel > Topwear`.
pub(super) fn parse_path(text: &str) -> Vec<String> {
    text.split('>').map(|step| step.trim().to_owned()).collect()
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.ahead(0)
    }

    fn ahead(&self, count: usize) -> &Token {
        self.tokens.get(self.at + count).map_or(&Token::End, |(_, token)| token)
    }

    fn advance(&mut self) {
        self.at += 1;
    }

    fn expected(&self, expected: &str) -> FilterError {
        let byte = self.tokens.get(self.at).map_or(self.text.len(), |(byte, _)| *byte);
        syntax(self.text, byte, self.peek().shown(), expected)
    }

    fn is_keyword(&self, count: usize, keyword: &str) -> bool {
        matches!(self.ahead(count), Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn takes_keyword(&mut self, keyword: &str) -> bool {
        let is_there = self.is_keyword(0, keyword);
        self.at += usize::from(is_there);
        is_there
    }

    fn takes_sign(&mut self, sign: &str) -> bool {
        let is_there = matches!(self.peek(), Token::Sign(there) if *there == sign);
        self.at += usize::from(is_there);
        is_there
    }

    fn sign(&mut self, sign: &str) -> Result<(), FilterError> {
        if self.takes_sign(sign) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }

    fn any(&mut self) -> Result<Filter, FilterError> {
        let first = self.all()?;
        let mut items = vec![first];
        while self.takes_keyword("or") {
            items.push(self.all()?);
        }
        Ok(if items.len() == 1 { items.remove(0) } else { Filter::Any(items) })
    }

    fn all(&mut self) -> Result<Filter, FilterError> {
        let first = self.unary()?;
        let mut items = vec![first];
        while self.takes_keyword("and") {
            items.push(self.unary()?);
        }
        Ok(if items.len() == 1 { items.remove(0) } else { Filter::All(items) })
    }

    fn unary(&mut self) -> Result<Filter, FilterError> {
        self.depth += 1;
        if self.depth > FILTER_DEPTH_MAX {
            return Err(FilterError::Bound(FilterBound::Depth));
        }
        let filter = if self.takes_keyword("not") {
            Filter::Not(Box::new(self.unary()?))
        } else if self.takes_sign("(") {
            let filter = self.any()?;
            self.sign(")")?;
            filter
        } else {
            self.leaf()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn leaf(&mut self) -> Result<Filter, FilterError> {
        if self.takes_keyword("true") {
            return Ok(Filter::All(Vec::new()));
        }
        if self.takes_keyword("false") {
            return Ok(Filter::Any(Vec::new()));
        }
        if self.takes_keyword("exists") {
            let is_wrapped = self.takes_sign("(");
            let attribute = self.attribute("the name of an attribute")?;
            if is_wrapped {
                self.sign(")")?;
            }
            return Ok(Filter::Exists { attribute });
        }
        if self.is_keyword(0, "near") && *self.ahead(1) == Token::Sign("(") {
            return self.near();
        }
        let attribute = self.attribute("an attribute, `NOT`, `EXISTS`, `NEAR(` or `(`")?;
        self.condition(attribute)
    }

    fn attribute(&mut self, expected: &str) -> Result<String, FilterError> {
        let name = match self.peek() {
            Token::Ticked(name) => name.clone(),
            // Only `NEAR(` is the keyword, which the caller has seen to.
            Token::Word(word) if !is_reserved(word) || word.eq_ignore_ascii_case("near") => word.clone(),
            Token::Word(_) => return Err(self.expected(&format!("{expected} (a name that is a keyword stands in backticks)"))),
            Token::Quoted(_) => return Err(self.expected(&format!("{expected} (names stand bare or in backticks)"))),
            _ => return Err(self.expected(expected)),
        };
        if name.trim().is_empty() {
            return Err(self.expected("a name that is not blank"));
        }
        self.advance();
        Ok(name)
    }

    fn condition(&mut self, attribute: String) -> Result<Filter, FilterError> {
        const CONDITION: &str = "`=`, `!=`, `<`, `<=`, `>`, `>=`, `IN`, `NOT IN`, `UNDER`, `IS NULL` or a range `a TO b`";
        if let Token::Sign(sign) = *self.peek() {
            return match sign {
                "=" | "!=" => {
                    self.advance();
                    let found = Filter::In { attribute, values: vec![self.value()?] };
                    Ok(if sign == "=" { found } else { Filter::Not(Box::new(found)) })
                }
                "<" | "<=" => {
                    self.advance();
                    let to = self.bound(End::To, sign == "<=")?;
                    Ok(Filter::Range { attribute, from: None, to })
                }
                ">" | ">=" => {
                    self.advance();
                    let from = self.bound(End::From, sign == ">=")?;
                    let to = if self.takes_keyword("to") { self.upper()? } else { None };
                    Ok(Filter::Range { attribute, from, to })
                }
                _ => Err(self.expected(CONDITION)),
            };
        }
        if self.takes_keyword("in") {
            return Ok(Filter::In { attribute, values: self.list()? });
        }
        if self.is_keyword(0, "not") && self.is_keyword(1, "in") {
            self.at += 2;
            return Ok(Filter::Not(Box::new(Filter::In { attribute, values: self.list()? })));
        }
        if self.takes_keyword("under") {
            return self.under(attribute);
        }
        if self.takes_keyword("is") {
            let is_not = self.takes_keyword("not");
            if !self.takes_keyword("null") {
                return Err(self.expected("`NULL` or `NOT NULL`"));
            }
            let exists = Filter::Exists { attribute };
            return Ok(if is_not { exists } else { Filter::Not(Box::new(exists)) });
        }
        if !self.is_keyword(1, "to") {
            return Err(self.expected(CONDITION));
        }
        let from = self.bound(End::From, true)?;
        self.advance();
        let to = self.upper()?;
        Ok(Filter::Range { attribute, from, to })
    }

    /// What follows `TO`.
    fn upper(&mut self) -> Result<Option<Bound>, FilterError> {
        let is_exclusive = self.takes_sign("<");
        if !is_exclusive {
            self.takes_sign("<=");
        }
        self.bound(End::To, !is_exclusive)
    }

    /// One end of a range; `None` for `*`.
    fn bound(&mut self, end: End, is_inclusive: bool) -> Result<Option<Bound>, FilterError> {
        const EXPECTED: &str = "a number, a date (2024-01-31), a time (RFC 3339) or `*`";
        let bound = match self.peek() {
            Token::Word(word) if word == "*" => None,
            Token::Word(text) | Token::Quoted(text) => {
                Some(scalar::bound(text.trim(), end, is_inclusive).ok_or_else(|| self.expected(EXPECTED))?)
            }
            _ => return Err(self.expected(EXPECTED)),
        };
        self.advance();
        Ok(bound)
    }

    fn value(&mut self) -> Result<String, FilterError> {
        const JOINING: [&str; 3] = ["and", "or", "not"];
        let value = match self.peek() {
            Token::Quoted(text) if text.trim().is_empty() => return Err(self.expected("a value that is not blank (or `IS NULL`)")),
            Token::Quoted(text) => text.clone(),
            Token::Word(word) if !JOINING.contains(&word.to_ascii_lowercase().as_str()) => word.clone(),
            Token::Word(_) => return Err(self.expected("a value (one that is a keyword stands in quotes)")),
            _ => return Err(self.expected("a value")),
        };
        self.advance();
        Ok(value)
    }

    fn list(&mut self) -> Result<Vec<String>, FilterError> {
        let closing = if self.takes_sign("[") {
            "]"
        } else if self.takes_sign("(") {
            ")"
        } else {
            return Err(self.expected("`[` or `(`"));
        };
        let first = self.value()?;
        let mut values = vec![first];
        while self.takes_sign(",") {
            values.push(self.value()?);
        }
        if self.takes_sign(closing) { Ok(values) } else { Err(self.expected(&format!("`,` or `{closing}`"))) }
    }

    fn under(&mut self, attribute: String) -> Result<Filter, FilterError> {
        if matches!(self.peek(), Token::Sign("[" | "(")) {
            return Ok(Filter::Under { attribute, path: self.list()? });
        }
        let start = self.at;
        let path = parse_path(&self.value()?);
        if path.iter().any(String::is_empty) {
            self.at = start;
            return Err(self.expected("a path whose steps are not blank"));
        }
        Ok(Filter::Under { attribute, path })
    }

    fn near(&mut self) -> Result<Filter, FilterError> {
        self.at += 2;
        let attribute = self.attribute("the name of an attribute")?;
        self.sign(",")?;
        let latitude = self.degrees(90.0, "a latitude from -90 to 90")?;
        self.sign(",")?;
        let longitude = self.degrees(180.0, "a longitude from -180 to 180")?;
        self.sign(",")?;
        let radius_m = self.distance()?;
        self.sign(")")?;
        Ok(Filter::Near { attribute, latitude, longitude, radius_m })
    }

    fn degrees(&mut self, max: f64, expected: &str) -> Result<f64, FilterError> {
        let number = match self.peek() {
            Token::Word(word) => parse_number(word).filter(|degrees| degrees.abs() <= max),
            _ => None,
        };
        let number = number.ok_or_else(|| self.expected(expected))?;
        self.advance();
        Ok(number)
    }

    /// Metres without a unit; the unit may stand apart.
    fn distance(&mut self) -> Result<f64, FilterError> {
        const EXPECTED: &str = "a distance such as `5km`, `300m` or `2mi`, at most 20100km";
        let Token::Word(word) = self.peek() else { return Err(self.expected(EXPECTED)) };
        let mut text = word.to_ascii_lowercase();
        let start = self.at;
        self.advance();
        if let Token::Word(unit) = self.peek() {
            text.push_str(&unit.to_ascii_lowercase());
            self.advance();
        }
        let unit = DISTANCES.iter().find_map(|(unit, metres)| text.strip_suffix(unit).map(|number| (number, *metres)));
        let (number, metres) = unit.unwrap_or((&text, 1.0));
        let radius_m = parse_number(number).map(|number| number * metres).filter(|radius| (0.0..=RADIUS_M_MAX).contains(radius));
        radius_m.ok_or_else(|| {
            self.at = start;
            self.expected(EXPECTED)
        })
    }
}
