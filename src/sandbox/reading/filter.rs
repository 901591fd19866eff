//! The conditions of a structured filter, as metrics and v2 observations take it.

use serde_json::{Map, Value};

use super::part::Part;
use crate::sandbox::time::{self, Millis};

/// What a row offers to filters and metrics, by column.
pub type Columns = Map<String, Value>;

/// One condition on one column.
#[derive(Debug)]
pub struct Condition {
    pub column: String,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Text(fn(&str, &str) -> bool, String),
    Time(Order, Millis),
    Number(Order, f64),
    /// Whether the value is one of these, and whether that is wanted.
    Option(Vec<String>, bool),
    Tags(Quantifier, Vec<String>),
    Flag(bool),
    /// Whether there is no value.
    Null(bool),
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Equal,
    Above,
    Below,
    From,
    UpTo,
}

#[derive(Debug, Clone, Copy)]
enum Quantifier {
    Any,
    All,
    None,
}

impl Condition {
    /// Reads one condition; the error is the body of a 400 answer.
    pub fn read(part: &Part) -> Result<Self, Value> {
        const KINDS: [&str; 10] = [
            "datetime",
            "string",
            "number",
            "stringOptions",
            "categoryOptions",
            "arrayOptions",
            "stringObject",
            "numberObject",
            "boolean",
            "null",
        ];
        part.object()?;
        let (operator, value) = (part.field("operator"), part.field("value"));
        let test = match part.field("type").one_of(&KINDS)? {
            "string" => Test::Text(comparison(&operator)?, value.text()?.to_owned()),
            "datetime" => Test::Time(order(&operator, &DATES)?, value.time()?),
            "number" => Test::Number(order(&operator, &NUMBERS)?, value.number()?),
            "stringOptions" => {
                let wanted = operator.one_of(&["any of", "none of"])? == "any of";
                Test::Option(owned(&value.texts()?), wanted)
            }
            "arrayOptions" => {
                let quantifier = match operator.one_of(&["any of", "none of", "all of"])? {
                    "any of" => Quantifier::Any,
                    "all of" => Quantifier::All,
                    _ => Quantifier::None,
                };
                Test::Tags(quantifier, owned(&value.texts()?))
            }
            "boolean" => Test::Flag((operator.one_of(&["=", "<>"])? == "=") == value.flag()?),
            "null" => Test::Null(operator.one_of(&["is null", "is not null"])? == "is null"),
            _ => return Err(part.field("type").unsupported()),
        };
        let column = part.field("column").text()?.to_owned();
        Ok(Self { column, test })
    }

    /// Whether a row passes. What has no value passes no condition but those that say so.
    pub fn holds(&self, row: &Columns) -> bool {
        let value = row.get(&self.column).unwrap_or(&Value::Null);
        match &self.test {
            Test::Null(wanted) => value.is_null() == *wanted,
            Test::Text(compare, wanted) => compare(value.as_str().unwrap_or_default(), wanted),
            Test::Time(order, wanted) => value
                .as_str()
                .and_then(time::parse)
                .is_some_and(|time| order.holds(&time, wanted)),
            Test::Number(order, wanted) => value
                .as_f64()
                .is_some_and(|number| order.holds(&number, wanted)),
            Test::Option(options, wanted) => {
                let text = value.as_str().unwrap_or_default();
                options.iter().any(|option| option == text) == *wanted
            }
            Test::Tags(quantifier, wanted) => quantifier.holds(value, wanted),
            Test::Flag(wanted) => value.as_bool() == Some(*wanted),
        }
    }

    /// Whether it is a condition on text, which a list of tags cannot answer.
    pub fn is_text(&self) -> bool {
        matches!(self.test, Test::Text(..))
    }
}

impl Order {
    fn holds<T: PartialOrd>(self, value: &T, wanted: &T) -> bool {
        match self {
            Self::Equal => value == wanted,
            Self::Above => value > wanted,
            Self::Below => value < wanted,
            Self::From => value >= wanted,
            Self::UpTo => value <= wanted,
        }
    }
}

impl Quantifier {
    fn holds(self, tags: &Value, wanted: &[String]) -> bool {
        let has = |wanted: &String| {
            let mut tags = tags.as_array().into_iter().flatten();
            tags.any(|tag| tag.as_str() == Some(wanted))
        };
        match self {
            Self::Any => wanted.iter().any(has),
            Self::All => wanted.iter().all(has),
            Self::None => !wanted.iter().any(has),
        }
    }
}

const DATES: [&str; 4] = [">", "<", ">=", "<="];
const NUMBERS: [&str; 5] = ["=", ">", "<", ">=", "<="];

fn order(operator: &Part, operators: &[&str]) -> Result<Order, Value> {
    Ok(match operator.one_of(operators)? {
        "=" => Order::Equal,
        ">" => Order::Above,
        "<" => Order::Below,
        ">=" => Order::From,
        _ => Order::UpTo,
    })
}

fn comparison(operator: &Part) -> Result<fn(&str, &str) -> bool, Value> {
    const OPERATORS: [&str; 5] = [
        "=",
        "contains",
        "does not contain",
        "starts with",
        "ends with",
    ];
    Ok(match operator.one_of(&OPERATORS)? {
        "=" => |text, wanted| text == wanted,
        "contains" => |text, wanted| text.contains(wanted),
        "does not contain" => |text, wanted| !text.contains(wanted),
        "starts with" => |text, wanted| text.starts_with(wanted),
        _ => |text, wanted| text.ends_with(wanted),
    })
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().copied().map(str::to_owned).collect()
}
