//! The text of a shader: a body from `wgsl/` behind the constants, types and functions of one variant.
//!
//! A line of a body that names a placeholder, such as `{q}`, stands for as many lines as the placeholder has values, so that
//! sums are registers rather than an indexed array; `{p*2+t}` is replaced by the value of the expression.

use crate::Activation;

/// Numbers that one access reads: the width of a vector in a shader.
pub(crate) const QUAD: usize = 4;
/// To which the numbers of each position are padded, so that each position begins at 16 bytes in either precision.
pub(crate) const PADDING: usize = 8;
/// Words of a dispatch's parameters.
pub(crate) const PARAMETERS: usize = 32;
/// Most invocations of a workgroup that every device has.
pub(crate) const WORKGROUP_MAX: usize = 256;
/// Workgroup storage that every device has, in bytes.
pub(crate) const SHARED_BYTES_MAX: usize = 16 << 10;

const _: () = assert!(PADDING.is_multiple_of(QUAD) && PARAMETERS * 4 <= 256);

/// How tensors and weights lie in the device's memory. Sums are in f32 with either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Precision {
    /// Single precision.
    F32,
    /// Half precision: half of the memory and of its traffic.
    F16,
}

impl Precision {
    /// Bytes of a number.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::F16 => 2,
        }
    }

    /// Its name in reports and caches.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
        }
    }
}

/// A text under construction.
pub(crate) struct Source {
    enables: String,
    text: String,
}

impl Source {
    /// Begins with the types of one precision.
    pub(crate) fn new(precision: Precision) -> Source {
        let mut source = Source { enables: String::new(), text: String::new() };
        match precision {
            Precision::F32 => {}
            Precision::F16 => source.enables.push_str("enable f16;\n"),
        }
        let scalar = precision.name();
        source.text.push_str(&format!("alias Scalar = {scalar};\nalias Quad = vec4<{scalar}>;\n"));
        source
    }

    /// Asks for an extension of the language.
    pub(crate) fn enable(mut self, extension: &str) -> Source {
        self.enables.push_str(&format!("enable {extension};\n"));
        self
    }

    /// Adds `const NAME = VALUEu;` for each.
    pub(crate) fn constants<const N: usize>(mut self, constants: [(&str, usize); N]) -> Source {
        for (name, value) in constants {
            self.text.push_str(&format!("const {name} = {value}u;\n"));
        }
        self
    }

    /// Adds `fn activate`, of four numbers.
    pub(crate) fn activation(mut self, activation: Activation) -> Source {
        self.text.push_str(include_str!("../../wgsl/activation.wgsl"));
        let result = match activation {
            Activation::None => "x",
            Activation::Relu => "max(x, vec4<f32>())",
            Activation::Relu6 => "clamp(x, vec4<f32>(0.0), vec4<f32>(6.0))",
            Activation::Gelu => "gelu(x)",
            Activation::GeluTanh => "x * sigmoid(1.5957691216 * (x + 0.044715 * x * x * x))",
            Activation::QuickGelu => "x * sigmoid(1.702 * x)",
            Activation::Silu => "x * sigmoid(x)",
            Activation::HardSwish => "x * clamp(x + 3.0, vec4<f32>(0.0), vec4<f32>(6.0)) * (1.0 / 6.0)",
            Activation::HardSigmoid => "clamp(x + 3.0, vec4<f32>(0.0), vec4<f32>(6.0)) * (1.0 / 6.0)",
            Activation::Sigmoid => "sigmoid(x)",
            Activation::Tanh => "2.0 * sigmoid(2.0 * x) - 1.0",
        };
        self.text.push_str(&format!("fn activate(x: vec4<f32>) -> vec4<f32> {{ return {result}; }}\n"));
        self
    }

    /// Adds a part as it is.
    pub(crate) fn part(mut self, text: &str) -> Source {
        self.text.push_str(text);
        self
    }

    /// Adds a body, in which each placeholder takes its values in turn.
    pub(crate) fn body(mut self, text: &str, placeholders: &[(&str, &[&str])]) -> Source {
        for line in text.lines() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            expand(line, placeholders, &mut self.text);
        }
        self
    }

    /// The whole text.
    pub(crate) fn finish(self) -> String {
        self.enables + &self.text
    }
}

fn expand(line: &str, placeholders: &[(&str, &[&str])], text: &mut String) {
    let Some(((name, values), rest)) = placeholders.split_first() else {
        text.push_str(&evaluate(line));
        text.push('\n');
        return;
    };
    if names(line, name) {
        for value in *values {
            expand(&substitute(line, name, value), rest, text);
        }
    } else {
        expand(line, rest, text);
    }
}

/// The parts of a line outside and inside of braces that hold an expression: lower-case names, digits, `*` and `+`.
fn pieces(line: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut rest = line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let expression =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "*+".contains(c));
        let inside = rest.strip_prefix('{').and_then(|after| after.split_once('}')).filter(|(text, _)| expression(text));
        if let Some((text, after)) = inside {
            rest = after;
            return Some((true, text));
        }
        let end = rest[1..].find('{').map_or(rest.len(), |at| at + 1);
        let (text, after) = rest.split_at(end);
        rest = after;
        Some((false, text))
    })
}

fn operands(expression: &str) -> impl Iterator<Item = &str> {
    expression.split(['+', '*'])
}

fn names(line: &str, name: &str) -> bool {
    pieces(line).any(|(inside, text)| inside && operands(text).any(|operand| operand == name))
}

fn substitute(line: &str, name: &str, value: &str) -> String {
    let mut result = String::with_capacity(line.len());
    for (inside, text) in pieces(line) {
        if !inside {
            result.push_str(text);
            continue;
        }
        let terms = text.split('+').map(|term| {
            let factors = term.split('*').map(|factor| if factor == name { value } else { factor });
            factors.collect::<Vec<_>>().join("*")
        });
        result.push_str(&format!("{{{}}}", terms.collect::<Vec<_>>().join("+")));
    }
    result
}

/// Replaces what is in braces by its value; a single name that is left is a value already.
fn evaluate(line: &str) -> String {
    let mut result = String::with_capacity(line.len());
    for (inside, text) in pieces(line) {
        let sum = || {
            text.split('+')
                .map(|term| term.split('*').map(|factor| factor.parse::<usize>().ok()).product::<Option<usize>>())
                .sum::<Option<usize>>()
        };
        match (inside, inside.then(sum).flatten()) {
            (true, Some(value)) => result.push_str(&value.to_string()),
            _ => result.push_str(text),
        }
    }
    result
}

/// The values `0` to `count - 1` of a placeholder.
pub(crate) fn range(count: usize) -> &'static [&'static str] {
    const NUMBERS: [&str; 33] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20", "21", "22",
        "23", "24", "25", "26", "27", "28", "29", "30", "31", "32",
    ];
    &NUMBERS[..count]
}

/// The components of a vector of four.
pub(crate) const COMPONENTS: &[&str] = &["x", "y", "z", "w"];

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str, placeholders: &[(&str, &[&str])]) -> String {
        let source = Source { enables: String::new(), text: String::new() }.body(text, placeholders);
        source.finish()
    }

    #[test]
    fn lines_stand_for_as_many_as_their_placeholders_have_values() {
        assert_eq!(body("fn f() { return; }\n// a{q}\na{q}", &[("q", range(2))]), "fn f() { return; }\na0\na1\n");
        assert_eq!(body("s{q}{c}", &[("q", range(2)), ("c", &["x", "y"])]), "s0x\ns0y\ns1x\ns1y\n");
        assert_eq!(body("a[{p*2+t}u]", &[("p", range(2)), ("t", range(2))]), "a[0u]\na[1u]\na[2u]\na[3u]\n");
        assert_eq!(body("{{q}}", &[("q", range(1))]), "{0}\n");
    }

    #[test]
    fn extensions_come_first() {
        let text = Source::new(Precision::F16).constants([("SIDE", 3)]).enable("wgpu_cooperative_matrix").finish();
        assert!(text.starts_with("enable f16;\nenable wgpu_cooperative_matrix;\nalias Scalar = f16;"));
        assert!(text.ends_with("const SIDE = 3u;\n"));
    }
}
