//! Expectations about an answer: what was expected, and whether it was met. Pure functions, no I/O.

pub mod expected;
pub mod same;
pub mod schema;

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use expected::{Expected, MatchMode};
use schema::JsonSchema;

/// Characters of an answer in a detail.
const QUOTED_CHARS: usize = 80;

/// What is expected of each answer of a run.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// With their names, which are unique.
    expectations: Vec<(String, Expectation)>,
}

/// One expectation.
#[derive(Clone, Debug)]
pub enum Expectation {
    Contains(String),
    Regex(Regex),
    NotContains(String),
    NotRegex(Regex),
    Json,
    Schema(Box<JsonSchema>),
    /// The longest latency, in milliseconds.
    Latency(u64),
    /// The highest cost, in US dollars.
    Cost(f64),
}

/// What is known of an answered call.
#[derive(Clone, Copy, Debug)]
pub struct AnsweredCall<'a> {
    pub text: &'a str,
    pub latency_ms: i64,
    /// US dollars, or why they are not known.
    pub cost: &'a Result<f64, String>,
}

/// Whether an expectation was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub name: String,
    pub met: bool,
    /// What was missing; it may quote the answer.
    pub detail: Option<String>,
    /// The same without any text of the answer.
    #[serde(skip)]
    pub bare_detail: Option<String>,
}

/// Why an expectation was not met.
struct Miss {
    detail: String,
    /// Where `detail` quotes the answer, the same without it.
    bare: Option<String>,
}

impl Miss {
    fn bare(detail: String) -> Self {
        Self { detail, bare: None }
    }
}

impl Finding {
    fn new(name: &str, checked: Result<(), Miss>) -> Self {
        let miss = checked.err();
        Self {
            name: name.to_owned(),
            met: miss.is_none(),
            bare_detail: miss
                .as_ref()
                .map(|miss| miss.bare.as_ref().unwrap_or(&miss.detail).clone()),
            detail: miss.map(|miss| miss.detail),
        }
    }
}

impl Expectation {
    fn kind(&self) -> &'static str {
        match self {
            Self::Contains(_) => "contains",
            Self::Regex(_) => "regex",
            Self::NotContains(_) => "not-contains",
            Self::NotRegex(_) => "not-regex",
            Self::Json => "json",
            Self::Schema(_) => "schema",
            Self::Latency(_) => "latency",
            Self::Cost(_) => "cost",
        }
    }

    fn check(&self, call: AnsweredCall<'_>) -> Result<(), Miss> {
        let require = |is_met: bool, detail: &dyn Fn() -> String| {
            if is_met {
                Ok(())
            } else {
                Err(Miss::bare(detail()))
            }
        };
        match self {
            Self::Contains(text) => require(call.text.contains(text), &|| {
                format!("the answer lacks {}", quoted(text))
            }),
            Self::NotContains(text) => require(!call.text.contains(text), &|| {
                format!("the answer has {}", quoted(text))
            }),
            Self::Regex(regex) => require(regex.is_match(call.text), &|| {
                format!("nothing in the answer matches {regex}")
            }),
            Self::NotRegex(regex) => match regex.find(call.text) {
                None => Ok(()),
                Some(found) => Err(Miss {
                    detail: format!("{} in the answer matches {regex}", quoted(found.as_str())),
                    bare: Some(format!("something in the answer matches {regex}")),
                }),
            },
            Self::Json => parsed(call.text).map(drop),
            Self::Schema(schema) => parsed(call.text).and_then(|value| fits(schema, &value)),
            Self::Latency(most) => {
                let is_met = u64::try_from(call.latency_ms).is_ok_and(|latency| latency <= *most);
                require(is_met, &|| {
                    format!("{} ms, more than {most} ms", call.latency_ms)
                })
            }
            Self::Cost(most) => match call.cost {
                Ok(cost) => require(cost <= most, &|| format!("${cost}, more than ${most}")),
                Err(why) => Err(Miss::bare(format!("the cost is not known: {why}"))),
            },
        }
    }
}

fn parsed(text: &str) -> Result<Value, Miss> {
    serde_json::from_str(text)
        .map_err(|error| Miss::bare(format!("the answer is not JSON: {error}")))
}

fn fits(schema: &JsonSchema, value: &Value) -> Result<(), Miss> {
    schema.validate(value).map_err(|violation| Miss {
        detail: match violation.instance.as_str() {
            "" => violation.message.clone(),
            instance => format!("at {instance}: {}", violation.message),
        },
        // The path in the answer may have names that are its own.
        bare: Some(format!("the answer does not fit {}", violation.keyword)),
    })
}

impl Expectations {
    /// The expectations, each named by its kind; with several of one kind, a number follows.
    pub fn new(expectations: Vec<Expectation>) -> Self {
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        let expectations = expectations.into_iter().map(|expectation| {
            let kind = expectation.kind();
            let count = counts.entry(kind).or_default();
            *count += 1;
            let name = match count {
                1 => kind.to_owned(),
                count => format!("{kind}-{count}"),
            };
            (name, expectation)
        });
        Self {
            expectations: expectations.collect(),
        }
    }

    /// Whether the cost of the answer must be known.
    pub fn need_cost(&self) -> bool {
        let is_cost =
            |(_, expectation): &(String, Expectation)| matches!(expectation, Expectation::Cost(_));
        self.expectations.iter().any(is_cost)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.expectations.iter().map(|(name, _)| name.as_str())
    }

    /// What became of each expectation, and of the expected answer if there is one.
    pub fn check(&self, call: AnsweredCall<'_>, expected: Option<&Expected>) -> Vec<Finding> {
        let findings = self
            .expectations
            .iter()
            .map(|(name, expectation)| Finding::new(name, expectation.check(call)));
        let expected =
            expected.map(|expected| Finding::new(expected::NAME, expected.check(call.text)));
        findings.chain(expected).collect()
    }
}

/// The expectations that were not met, in one line; `None` if all were.
pub fn missed(findings: &[Finding]) -> Option<String> {
    let missed: Vec<&Finding> = findings.iter().filter(|finding| !finding.met).collect();
    let first = missed.first()?;
    let why = |finding: &Finding| {
        let detail = finding.detail.as_deref().unwrap_or_default();
        format!("{}: {detail}", finding.name)
    };
    Some(match missed.len() {
        1 => format!("an expectation was not met: {}", why(first)),
        count => {
            let all: Vec<String> = missed.iter().map(|finding| why(finding)).collect();
            let of = findings.len();
            format!(
                "{count} of {of} expectations were not met: {}",
                all.join("; ")
            )
        }
    })
}

/// A text in quotes, cut short.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!("\"{}…\"", &text[..end]),
        None => format!("\"{text}\""),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn details(expectations: Vec<Expectation>, text: &str) -> Vec<(String, Option<String>)> {
        let call = AnsweredCall {
            text,
            latency_ms: 800,
            cost: &Err("the model has no price".to_owned()),
        };
        let findings = Expectations::new(expectations).check(call, None);
        assert!(
            findings
                .iter()
                .all(|finding| finding.met == finding.detail.is_none())
        );
        let pairs = findings
            .into_iter()
            .map(|finding| (finding.name, finding.bare_detail));
        pairs.collect()
    }

    #[test]
    fn several_of_one_kind_are_numbered() {
        let contains = |text: &str| Expectation::Contains(text.to_owned());
        let found = details(vec![contains("a"), Expectation::Json, contains("z")], "abc");
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["contains", "json", "contains-2"]);
        assert_eq!(found[0].1, None);
        assert_eq!(found[2].1.as_deref(), Some("the answer lacks \"z\""));
    }

    #[test]
    fn bare_details_quote_nothing_of_the_answer() {
        let regex = || Regex::new("s[a-z]+t").unwrap();
        let schema = JsonSchema::new(json!({"additionalProperties": {"type": "integer"}})).unwrap();
        let answer = "{\"secret\": \"private\"}";
        let found = details(
            vec![
                Expectation::NotRegex(regex()),
                Expectation::Schema(Box::new(schema)),
                Expectation::Latency(799),
                Expectation::Cost(1.0),
            ],
            answer,
        );
        for (name, bare) in &found {
            let bare = bare.as_deref().unwrap();
            assert!(
                !bare.contains("secret") && !bare.contains("private"),
                "{name}: {bare}"
            );
        }
    }

    #[test]
    fn bounds_include_themselves() {
        let call = AnsweredCall {
            text: "",
            latency_ms: 800,
            cost: &Ok(0.5),
        };
        let met = |expectation| Expectations::new(vec![expectation]).check(call, None)[0].met;
        assert!(met(Expectation::Latency(800)) && met(Expectation::Cost(0.5)));
        assert!(!met(Expectation::Latency(799)) && !met(Expectation::Cost(0.49)));
    }
}
