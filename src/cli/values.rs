//! How the values of options are read.

use std::time::Duration;

use crate::console::OutputFormat;
use crate::trace::privacy::Capture;

/// A field of the request body.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub name: String,
    /// The JSON text of the value.
    pub json: String,
}

/// Reads the name of an output form.
///
/// # Errors
/// When there is no such form.
pub fn form(text: &str) -> Result<OutputFormat, String> {
    match text {
        "text" => Ok(OutputFormat::Text),
        "json" => Ok(OutputFormat::Json),
        "raw" => Ok(OutputFormat::Raw),
        "url" => Ok(OutputFormat::Url),
        _ => Err(format!(
            "it is text, json, raw or url; to write to a file use `> {text}`"
        )),
    }
}

/// Reads how much of the content is kept.
pub fn capture(text: &str) -> Result<Capture, String> {
    match text.split_once('=') {
        None if text == "full" => Ok(Capture::Full),
        None if text == "none" => Ok(Capture::None),
        Some(("truncate", count)) => match count.parse() {
            Ok(0) => Err("for no content at all, say none".to_owned()),
            Ok(count) => Ok(Capture::Truncate(count)),
            Err(_) => Err("a number of characters is wanted, as in truncate=200".to_owned()),
        },
        _ => Err("it is full, truncate=N or none".to_owned()),
    }
}

/// Reads `KEY=VALUE`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("KEY=VALUE is wanted".to_owned()),
    }
}

/// Reads `KEY=VALUE` or `KEY:=JSON`.
pub fn parameter(text: &str) -> Result<Parameter, String> {
    let wrong = || "KEY=VALUE or KEY:=JSON is wanted".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let (name, json) = match name.strip_suffix(':') {
        Some(name) => {
            let value: Box<serde_json::value::RawValue> = serde_json::from_str(value)
                .map_err(|error| format!("the value is no JSON: {error}"))?;
            (name, value.get().to_owned())
        }
        None => (name, serde_json::Value::from(value).to_string()),
    };
    if name.trim().is_empty() {
        return Err(wrong());
    }
    Ok(Parameter {
        name: name.trim().to_owned(),
        json,
    })
}

/// Reads a positive number of seconds.
pub fn seconds(text: &str) -> Result<f64, String> {
    const LONGEST: f64 = 31_536_000.0;
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= LONGEST => Ok(seconds),
        _ => Err("a number of seconds above 0 is wanted".to_owned()),
    }
}

/// How many lines of a batch may fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowance {
    Lines(u64),
    /// Of a hundred.
    Percent(f64),
}

/// Which share of the lines of a batch is this run's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shard {
    /// The index begins at 1.
    Of { index: u64, count: u64 },
    /// The runner tells the index.
    Auto { count: u64 },
    /// The runner tells both.
    AllAuto,
}

/// Reads `N` or `P%`.
pub fn allowance(text: &str) -> Result<Allowance, String> {
    let wrong = || "a number of lines or a percentage is wanted, as in 5 or 1%".to_owned();
    match text.strip_suffix('%') {
        Some(percent) => match percent.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Allowance::Percent(percent)),
            _ => Err(wrong()),
        },
        None => text.parse().map(Allowance::Lines).map_err(|_| wrong()),
    }
}

/// Reads `K/N`, `auto/N` or `auto`.
pub fn shard(text: &str) -> Result<Shard, String> {
    let wrong = || "K/N with K from 1 to N, auto/N or auto is wanted".to_owned();
    let count = |text: &str| {
        text.parse()
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(wrong)
    };
    match text.split_once('/') {
        None if text == "auto" => Ok(Shard::AllAuto),
        None => Err(wrong()),
        Some(("auto", of)) => Ok(Shard::Auto { count: count(of)? }),
        Some((index, of)) => {
            let (index, count) = (count(index)?, count(of)?);
            if index > count {
                return Err(wrong());
            }
            Ok(Shard::Of { index, count })
        }
    }
}

/// Reads how many calls are under way at once.
pub fn concurrency(text: &str) -> Result<usize, String> {
    const MOST: usize = 10_000;
    match text.parse() {
        Ok(count) if (1..=MOST).contains(&count) => Ok(count),
        _ => Err(format!("a number from 1 to {MOST} is wanted")),
    }
}

/// Reads a number with a unit, as in `12h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a number with s, m, h or d is wanted, as in 12h".to_owned();
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

/// Reads a number, keeping it as it was written.
pub fn temperature(text: &str) -> Result<serde_json::Number, String> {
    match serde_json::from_str::<serde_json::Number>(text) {
        Ok(number) => Ok(number),
        Err(_) => Err("a number is wanted".to_owned()),
    }
}

/// Reads a share between 0 and 1.
///
/// # Errors
/// When it is none.
pub fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 0 to 1 is wanted".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_strings_or_json() {
        assert_eq!(parameter("user=7").unwrap().json, "\"7\"");
        assert_eq!(
            parameter("seed:=7").unwrap(),
            Parameter {
                name: "seed".to_owned(),
                json: "7".to_owned()
            }
        );
        assert_eq!(parameter("stop=a=b").unwrap().json, "\"a=b\"");
        for wrong in ["x", "=1", ":=1", "x:={"] {
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
