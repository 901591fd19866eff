//! Parsers of option values. Their errors read on after `invalid value 'x' for '--option':`.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use regex_lite::Regex;

use crate::console::OutputFormat;
use crate::expect::MatchMode;
use crate::model::dialect::{self, ModelDialect};
use crate::trace::privacy::Capture;

/// A field of the request body.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub name: String,
    pub value: ParameterValue,
}

/// The value of a field, or the file that holds it.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterValue {
    /// A JSON text.
    Json(String),
    JsonFile(PathBuf),
    TextFile(PathBuf),
}

/// Parses the name of an output format.
///
/// # Errors
/// If there is no such format.
pub fn form(text: &str) -> Result<OutputFormat, String> {
    match text {
        "text" => Ok(OutputFormat::Text),
        "json" => Ok(OutputFormat::Json),
        "raw" => Ok(OutputFormat::Raw),
        "url" => Ok(OutputFormat::Url),
        _ => Err("expected text, json, raw or url".to_owned()),
    }
}

/// Parses the name of a dialect.
///
/// # Errors
/// If there is no such dialect.
pub fn api(text: &str) -> Result<&'static dyn ModelDialect, String> {
    dialect::named(text)
        .filter(|dialect| dialect::ALL.contains(dialect))
        .ok_or_else(|| format!("expected one of {}", dialect::names()))
}

/// Parses how much content is kept.
pub fn capture(text: &str) -> Result<Capture, String> {
    match text.split_once('=') {
        None if text == "full" => Ok(Capture::Full),
        None if text == "none" => Ok(Capture::None),
        Some(("truncate", count)) => match count.parse() {
            Ok(0) => Err("to keep no content, use none".to_owned()),
            Ok(count) => Ok(Capture::Truncate(count)),
            Err(_) => Err("expected a number of characters, as in truncate=200".to_owned()),
        },
        _ => Err("expected full, truncate=N or none".to_owned()),
    }
}

/// Parses `KEY=VALUE`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Reads `NAME=VALUE`.
///
/// # Errors
/// If there is no name.
pub fn named(text: &str) -> Result<(String, String), String> {
    pair(text).map_err(|_| "expected NAME=VALUE".to_owned())
}

/// Reads `KEY=VALUE` or `KEY:=JSON`, where `@FILE` is the content of a file and `@@` begins a text with `@`.
///
/// # Errors
/// If the text is neither.
pub fn parameter(text: &str) -> Result<Parameter, String> {
    let wrong = || "expected KEY=VALUE or KEY:=JSON".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let file = value
        .strip_prefix('@')
        .filter(|file| !file.starts_with('@'));
    if file.is_some_and(str::is_empty) {
        return Err("expected the name of a file after @; a literal @ is @@".to_owned());
    }
    let (name, value) = match (name.strip_suffix(':'), file) {
        (Some(name), Some(file)) => (name, ParameterValue::JsonFile(file.into())),
        (None, Some(file)) => (name, ParameterValue::TextFile(file.into())),
        (Some(name), None) => {
            let value: Box<serde_json::value::RawValue> =
                serde_json::from_str(value).map_err(|error| format!("invalid JSON: {error}"))?;
            (name, ParameterValue::Json(value.get().to_owned()))
        }
        (None, None) => {
            let value = value.strip_prefix('@').unwrap_or(value);
            let json = serde_json::Value::from(value).to_string();
            (name, ParameterValue::Json(json))
        }
    };
    if name.trim().is_empty() {
        return Err(wrong());
    }
    Ok(Parameter {
        name: name.trim().to_owned(),
        value,
    })
}

/// Parses a positive number of seconds, at most a year.
pub fn seconds(text: &str) -> Result<f64, String> {
    const LONGEST: f64 = 31_536_000.0;
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= LONGEST => Ok(seconds),
        _ => Err(format!(
            "expected a number of seconds, greater than 0 and at most {LONGEST}"
        )),
    }
}

/// How many lines of a batch may fail, or items of a comparison regress.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowance {
    Lines(u64),
    /// From 0 to 100.
    Percent(f64),
}

impl Allowance {
    /// Whether `count` of `all` are allowed.
    pub fn permits(self, count: u64, all: u64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a share of lines")]
        match self {
            Self::Lines(most) => count <= most,
            Self::Percent(most) => count as f64 * 100.0 <= most * all as f64,
        }
    }
}

/// The part of a batch that this run processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardArg {
    /// The index starts at 1.
    Of { index: u64, count: u64 },
    /// The job runner provides the index.
    Auto { count: u64 },
    /// The job runner provides both.
    AllAuto,
}

/// Parses `N` or `P%`.
pub fn allowance(text: &str) -> Result<Allowance, String> {
    let wrong = || "expected a number or a percentage, as in 5 or 1%".to_owned();
    match text.strip_suffix('%') {
        Some(percent) => match percent.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Allowance::Percent(percent)),
            _ => Err(wrong()),
        },
        None => text.parse().map(Allowance::Lines).map_err(|_| wrong()),
    }
}

/// Parses `K/N`, `auto/N` or `auto`.
pub fn shard(text: &str) -> Result<ShardArg, String> {
    let wrong = || "expected K/N with K from 1 to N, auto/N or auto".to_owned();
    let count = |text: &str| {
        text.parse()
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(wrong)
    };
    match text.split_once('/') {
        None if text == "auto" => Ok(ShardArg::AllAuto),
        None => Err(wrong()),
        Some(("auto", of)) => Ok(ShardArg::Auto { count: count(of)? }),
        Some((index, of)) => {
            let (index, count) = (count(index)?, count(of)?);
            if index > count {
                return Err(wrong());
            }
            Ok(ShardArg::Of { index, count })
        }
    }
}

/// Parses the number of calls at once.
pub fn concurrency(text: &str) -> Result<usize, String> {
    within(text, 1..=10_000)
}

/// Parses a number of requests per minute.
pub fn rpm(text: &str) -> Result<u32, String> {
    within(text, 1..=u32::MAX)
}

/// Parses a number of tokens per minute. With fewer, a single short call would take minutes.
pub fn tpm(text: &str) -> Result<u32, String> {
    within(text, 100..=u32::MAX)
}

/// Parses a TCP port; 0 is any free one.
pub fn port(text: &str) -> Result<u16, String> {
    within(text, 0..=u16::MAX)
}

/// Parses a number of further attempts.
pub fn attempts(text: &str) -> Result<u32, String> {
    within(text, 0..=u32::MAX)
}

/// Parses an amount of US dollars.
pub fn dollars(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(amount) if amount >= 0.0 && amount.is_finite() => Ok(amount),
        _ => Err("expected a number of US dollars, as in 0.01".to_owned()),
    }
}

/// Takes a text that is not empty.
pub fn some_text(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("expected a text".to_owned());
    }
    Ok(text.to_owned())
}

/// Parses a regular expression.
pub fn regex(text: &str) -> Result<Regex, String> {
    if text.is_empty() {
        return Err("expected a regular expression".to_owned());
    }
    Regex::new(text).map_err(|error| format!("not a valid regular expression: {error}"))
}

/// Parses how an answer is compared with an expected one.
pub fn match_mode() -> impl TypedValueParser<Value = MatchMode> {
    PossibleValuesParser::new(["exact", "contains", "json"]).map(|name| match name.as_str() {
        "exact" => MatchMode::Exact,
        "json" => MatchMode::Json,
        _ => MatchMode::Contains,
    })
}

/// Parses a number that may be 0.
pub fn count(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "expected a whole number, 0 or greater".to_owned())
}

/// Parses a number that may not be 0.
pub fn at_least_one(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a whole number, 1 or greater".to_owned()),
    }
}

/// Parses an amount of US dollars that is not 0.
pub fn some_dollars(text: &str) -> Result<f64, String> {
    let amount = text.strip_prefix('$').unwrap_or(text).parse::<f64>();
    match amount {
        Ok(amount) if amount > 0.0 && amount.is_finite() => Ok(amount),
        _ => Err("expected US dollars, greater than 0, as in 2.50".to_owned()),
    }
}

fn within<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        format!(
            "expected a number from {} to {}",
            range.start(),
            range.end()
        )
    })
}

/// Parses a number with a unit, as in `12h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number with the unit s, m, h or d, as in 12h".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86400,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * unit))
}

/// Parses a number and keeps its text.
pub fn temperature(text: &str) -> Result<serde_json::Number, String> {
    serde_json::from_str(text).map_err(|_| "expected a number".to_owned())
}

/// Parses a fraction.
///
/// # Errors
/// If it is not a number from 0 to 1.
pub fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_strings_or_json() {
        let json = |text: &str| ParameterValue::Json(text.to_owned());
        for (text, value) in [
            ("k=7", json("\"7\"")),
            ("k:=7", json("7")),
            ("k=a=b", json("\"a=b\"")),
            ("k=@@a", json("\"@a\"")),
            ("k=@a", ParameterValue::TextFile("a".into())),
            ("k:=@a", ParameterValue::JsonFile("a".into())),
        ] {
            let name = "k".to_owned();
            assert_eq!(parameter(text).unwrap(), Parameter { name, value });
        }
        for wrong in ["x", "=1", ":=1", "x:={", "x=@", "x:=@@a"] {
            assert!(parameter(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("2m").unwrap().as_secs(), 120);
        for wrong in ["", "2", "m", "-1s", "1.5h", "2ä"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seconds_are_positive() {
        assert!(seconds("0.5").is_ok());
        for wrong in ["0", "-1", "nan", "inf", "x", "1e300"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
