//! Global trade item numbers: GTIN-8, -12 (UPC), -13 (EAN), -14, by the check digit of the GS1 General Specifications, 7.9.

/// The number without blanks and hyphens if its length and check digit are right.
pub fn parse_gtin(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|char| !char.is_whitespace() && *char != '-').collect();
    let is_number = matches!(digits.len(), 8 | 12 | 13 | 14) && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && checks_out(digits.as_bytes())).then_some(digits)
}

/// From the right, digits count three times and once in turn; with the check digit the sum is a multiple of ten.
fn checks_out(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().rev().enumerate().map(|(at, digit)| u32::from(digit - b'0') * if at % 2 == 0 { 1 } else { 3 }).sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gtins_by_table() {
        let cases = [
            ("5902687180165", Some("5902687180165")),
            ("590268718016 5", Some("5902687180165")),
            ("036000291452", Some("036000291452")),
            ("96385074", Some("96385074")),
            ("10012345678902", Some("10012345678902")),
            ("5902687180166", None),
            ("0000000000000", None),
            ("590268718016", None),
            ("59026871801A5", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_gtin(text).as_deref(), expected, "{text}");
        }
    }
}
