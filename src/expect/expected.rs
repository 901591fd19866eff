//! The expected answer of a batch line, and how the answer is compared with it.

use serde_json::Value;

use super::same::is_same;
use super::{Miss, quoted};

/// The name of this expectation.
pub const NAME: &str = "expected";

/// How an answer is compared with the expected one. Texts are trimmed, and case counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatchMode {
    /// The answer is the expected text.
    Exact,
    /// The answer contains it.
    #[default]
    Contains,
    /// Both are the same JSON value.
    Json,
}

/// The expected answer of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// Any of these texts will do.
    Texts {
        any_of: Vec<String>,
        is_exact: bool,
    },
    Value(Value),
}

impl Expected {
    /// Reads the field of a line.
    ///
    /// # Errors
    /// If it has another shape than the mode takes.
    pub fn read(value: Value, mode: MatchMode) -> Result<Self, String> {
        if mode == MatchMode::Json {
            return Ok(Self::Value(value));
        }
        let texts = match value {
            Value::String(text) => Some(vec![text]),
            Value::Array(texts) if !texts.is_empty() => {
                let texts = texts.into_iter().map(|text| match text {
                    Value::String(text) => Some(text),
                    _ => None,
                });
                texts.collect()
            }
            _ => None,
        };
        let any_of =
            texts.ok_or("`expected` must be a string or an array of strings; --match-expected json takes any value")?;
        Ok(Self::Texts {
            any_of,
            is_exact: mode == MatchMode::Exact,
        })
    }

    pub(super) fn check(&self, answer: &str) -> Result<(), Miss> {
        match self {
            Self::Texts { any_of, is_exact } => {
                let answer = answer.trim();
                let is_met = any_of.iter().map(|text| text.trim()).any(|text| {
                    if *is_exact {
                        answer == text
                    } else {
                        answer.contains(text)
                    }
                });
                if is_met {
                    return Ok(());
                }
                let expected: Vec<String> = any_of.iter().map(|text| quoted(text)).collect();
                let expected = expected.join(" or ");
                Err(Miss {
                    detail: format!("expected {expected}, found {}", quoted(answer)),
                    bare: Some(format!("expected {expected}, found another answer")),
                })
            }
            Self::Value(expected) => {
                let found: Value = super::parsed(answer)?;
                if is_same(expected, &found) {
                    return Ok(());
                }
                let expected = short(expected);
                Err(Miss {
                    detail: format!("expected {expected}, found {}", short(&found)),
                    bare: Some(format!("expected {expected}, found another value")),
                })
            }
        }
    }
}

/// A value as it is quoted, without the quotes.
fn short(value: &Value) -> String {
    quoted(&value.to_string()).trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_trimmed_and_values_compared() {
        for (mode, expected, answer, is_met) in [
            (MatchMode::Contains, json!(" Paris\n"), "It is Paris.", true),
            (
                MatchMode::Contains,
                json!(["Rome", "Paris"]),
                "It is Paris.",
                true,
            ),
            (MatchMode::Contains, json!("paris"), "It is Paris.", false),
            (MatchMode::Exact, json!("Paris"), " Paris ", true),
            (MatchMode::Exact, json!("Paris"), "Paris.", false),
            (MatchMode::Json, json!({"a": 1}), "{\"a\": 1.0}", true),
            (
                MatchMode::Json,
                json!(["Rome", "Paris"]),
                "\"Paris\"",
                false,
            ),
            (MatchMode::Json, json!(null), "null", true),
            (MatchMode::Json, json!(1), "one", false),
        ] {
            let read = Expected::read(expected.clone(), mode).unwrap();
            assert_eq!(
                read.check(answer).is_ok(),
                is_met,
                "{mode:?} {expected} {answer}"
            );
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        for wrong in [
            json!(1),
            json!([]),
            json!(["a", 1]),
            json!({}),
            json!(null),
            json!(true),
        ] {
            assert!(
                Expected::read(wrong.clone(), MatchMode::Contains).is_err(),
                "{wrong}"
            );
        }
    }
}
