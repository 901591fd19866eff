//! Values of the settings file as the texts that would be typed on the command line.

use std::path::Path;

use serde_json::{Map, Number, Value};
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::key::Shape;

/// A place in the text, counted from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl Position {
    /// Of a byte of `text`.
    pub fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// What a key expects, and was not given.
#[derive(Debug)]
pub struct WrongType(pub &'static str);

/// The texts of a value of that shape; paths are made relative to `folder`.
///
/// # Errors
/// If the value is of another type.
pub fn texts(shape: Shape, value: &DeValue<'_>, folder: &Path) -> Result<Vec<String>, WrongType> {
    let wrong = || WrongType(shape.expected());
    let one = |text: Option<String>| text.map(|text| vec![text]).ok_or_else(wrong);
    match shape {
        Shape::Text | Shape::Secret => one(string(value)),
        Shape::Path | Shape::SecretFile => {
            one(string(value).map(|path| folder.join(path).to_string_lossy().into_owned()))
        }
        Shape::Switch | Shape::Alias { .. } => one(value.as_bool().map(|on| on.to_string())),
        Shape::Whole => one(value
            .as_integer()
            .and_then(whole)
            .filter(|number| *number >= 0)
            .map(|number| number.to_string())),
        Shape::Number => one(number(value).map(|number| number.to_string())),
        Shape::Texts => match value {
            DeValue::Array(array) => strings(array).ok_or_else(wrong),
            other => one(string(other)),
        },
        Shape::Pairs => joined(value, "=").ok_or_else(wrong),
        Shape::Headers => joined(value, ":").ok_or_else(wrong),
        Shape::Fields => match value {
            DeValue::Table(table) => Ok(fields(table)),
            DeValue::Array(array) => {
                let typed = strings(array).ok_or_else(wrong)?;
                Ok(typed
                    .into_iter()
                    .map(|field| beside(field, folder))
                    .collect())
            }
            _ => Err(wrong()),
        },
        Shape::SecretCommand => {
            let mut command = value.as_array().and_then(strings).ok_or_else(wrong)?;
            let program = command.first_mut().ok_or_else(wrong)?;
            // One without a slash is looked for in PATH.
            if program.contains('/') {
                *program = folder.join(&*program).to_string_lossy().into_owned();
            }
            Ok(command)
        }
    }
}

/// A string.
///
/// # Errors
/// If it is of another type.
pub fn text(value: &DeValue<'_>) -> Result<String, WrongType> {
    string(value).ok_or(WrongType("a string"))
}

/// The type of a value, in words for a message.
pub fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "this array",
        DeValue::Table(_) => "this table",
    }
}

fn string(value: &DeValue<'_>) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn strings(array: &DeArray<'_>) -> Option<Vec<String>> {
    array.iter().map(|item| string(item.get_ref())).collect()
}

fn whole(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn number(value: &DeValue<'_>) -> Option<Number> {
    match value {
        DeValue::Integer(number) => whole(number).map(Number::from),
        DeValue::Float(number) => Number::from_f64(number.as_str().parse().ok()?),
        _ => None,
    }
}

/// `NAME` and string of each entry of a table, joined; an array has them joined already.
fn joined(value: &DeValue<'_>, separator: &str) -> Option<Vec<String>> {
    match value {
        DeValue::Array(array) => strings(array),
        DeValue::Table(table) => table
            .iter()
            .map(|(name, value)| {
                let value = string(value.get_ref())?;
                Some(format!("{}{separator}{value}", name.get_ref()))
            })
            .collect(),
        _ => None,
    }
}

/// `NAME:=JSON` of each entry.
fn fields(table: &DeTable<'_>) -> Vec<String> {
    let field = |(name, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = name.get_ref();
        format!("{name}:={}", json(value.get_ref()))
    };
    table.iter().map(field).collect()
}

/// The file of a `KEY=@FILE` relative to the settings file.
fn beside(field: String, folder: &Path) -> String {
    match field.split_once("=@") {
        Some((name, file)) if !name.contains('=') && !file.starts_with('@') => {
            format!("{name}=@{}", folder.join(file).display())
        }
        _ => field,
    }
}

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(on) => Value::from(*on),
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Integer(_) | DeValue::Float(_) => number(value).map_or(Value::Null, Value::Number),
        DeValue::Array(array) => array.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let entries = table
                .iter()
                .map(|(name, value)| (name.get_ref().to_string(), json(value.get_ref())));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters() {
        let text = "a\néb";
        assert_eq!(Position::of(text, 4), Position { line: 2, column: 2 });
        assert_eq!(Position::of(text, 0), Position { line: 1, column: 1 });
    }
}
