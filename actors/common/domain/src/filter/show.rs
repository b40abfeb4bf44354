//! The canonical string form: what it prints reads back as the same filter (lists of one member as that member).

use std::fmt::{self, Write as _};

use super::parse::is_reserved;
use super::scalar::show_time;
use super::{Bound, Filter, Scalar};

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match bare(self) {
            Self::All(items) => joined(f, items, " AND ", "TRUE"),
            Self::Any(items) => joined(f, items, " OR ", "FALSE"),
            Self::Not(inner) => {
                f.write_str("NOT ")?;
                wrapped(f, inner)
            }
            Self::In { attribute, values } => {
                name(f, attribute)?;
                match values.as_slice() {
                    [value] => {
                        f.write_str(" = ")?;
                        quoted(f, value)
                    }
                    values => {
                        f.write_str(" IN ")?;
                        list(f, values)
                    }
                }
            }
            Self::Range { attribute, from, to } => {
                name(f, attribute)?;
                range(f, from.as_ref(), to.as_ref())
            }
            Self::Under { attribute, path } => {
                name(f, attribute)?;
                f.write_str(" UNDER ")?;
                let is_plain = |step: &String| !step.contains('>') && step.trim() == step && !step.is_empty();
                if path.iter().all(is_plain) && !path.is_empty() { quoted(f, &path.join(" > ")) } else { list(f, path) }
            }
            Self::Exists { attribute } => {
                f.write_str("EXISTS ")?;
                name(f, attribute)
            }
            Self::Near { attribute, latitude, longitude, radius_m } => {
                f.write_str("NEAR(")?;
                name(f, attribute)?;
                write!(f, ", {latitude}, {longitude}, {radius_m}m)")
            }
        }
    }
}

/// The filter without lists of one member around it.
fn bare(filter: &Filter) -> &Filter {
    let mut filter = filter;
    while let Filter::All(items) | Filter::Any(items) = filter
        && let [only] = items.as_slice()
    {
        filter = only;
    }
    filter
}

fn joined(f: &mut fmt::Formatter<'_>, items: &[Filter], joint: &str, none: &str) -> fmt::Result {
    if items.is_empty() {
        return f.write_str(none);
    }
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(joint)?;
        }
        wrapped(f, item)?;
    }
    Ok(())
}

fn wrapped(f: &mut fmt::Formatter<'_>, filter: &Filter) -> fmt::Result {
    match bare(filter) {
        Filter::All(items) | Filter::Any(items) if !items.is_empty() => write!(f, "({filter})"),
        bare => write!(f, "{bare}"),
    }
}

fn name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | ':'));
    if is_plain && !is_reserved(name) { f.write_str(name) } else { write!(f, "`{}`", name.replace('`', "``")) }
}

fn quoted(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

fn list(f: &mut fmt::Formatter<'_>, values: &[String]) -> fmt::Result {
    f.write_char('[')?;
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        quoted(f, value)?;
    }
    f.write_char(']')
}

fn range(f: &mut fmt::Formatter<'_>, from: Option<&Bound>, to: Option<&Bound>) -> fmt::Result {
    match (from, to) {
        (None, None) => f.write_str(" * TO *"),
        (Some(from), None) => {
            f.write_str(if from.is_inclusive { " >= " } else { " > " })?;
            scalar(f, from.value)
        }
        (None, Some(to)) => {
            f.write_str(if to.is_inclusive { " <= " } else { " < " })?;
            scalar(f, to.value)
        }
        (Some(from), Some(to)) => {
            f.write_str(if from.is_inclusive { " " } else { " > " })?;
            scalar(f, from.value)?;
            f.write_str(if to.is_inclusive { " TO " } else { " TO < " })?;
            scalar(f, to.value)
        }
    }
}

fn scalar(f: &mut fmt::Formatter<'_>, scalar: Scalar) -> fmt::Result {
    match scalar {
        Scalar::Number(number) => write!(f, "{number}"),
        Scalar::Time(milliseconds) => f.write_str(&show_time(milliseconds)),
    }
}
