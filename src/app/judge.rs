//! What a run expects of its answers, and the scores that its traces get.

use crate::cli;
use crate::expect::expected::NAME as EXPECTED;
use crate::expect::schema::JsonSchema;
use crate::expect::{AnsweredCall, Expectation, Expectations, Expected, Finding};
use crate::failure::Failure;
use crate::langfuse::{Score, ScoreValue};
use crate::sort;
use crate::trace::{Exchange, Privacy};

/// The expectations of a run, and the scores of its options.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    expectations: Expectations,
    given: Vec<Score>,
}

impl Judge {
    /// # Errors
    /// If two scores would have one name.
    pub fn new(options: &cli::ExpectArgs, schema: Option<&JsonSchema>) -> Result<Self, Failure> {
        let mut all: Vec<Expectation> = Vec::new();
        let texts = options.expect.iter().cloned();
        all.extend(texts.map(Expectation::Contains));
        all.extend(options.expect_regex.iter().cloned().map(Expectation::Regex));
        let texts = options.expect_not.iter().cloned();
        all.extend(texts.map(Expectation::NotContains));
        let regexes = options.expect_not_regex.iter().cloned();
        all.extend(regexes.map(Expectation::NotRegex));
        all.extend(options.expect_json.then_some(Expectation::Json));
        all.extend(schema.map(|schema| Expectation::Schema(Box::new(schema.clone()))));
        all.extend(options.max_latency.map(Expectation::Latency));
        all.extend(options.max_call_cost.map(Expectation::Cost));
        let judge = Self {
            expectations: Expectations::new(all),
            given: options.scores.iter().map(given).collect::<Result<_, _>>()?,
        };
        judge.check_names()?;
        Ok(judge)
    }

    fn check_names(&self) -> Result<(), Failure> {
        let mut known = sort::set(self.expectations.names());
        known.insert(EXPECTED);
        match self.given.iter().find(|score| !known.insert(&score.name)) {
            Some(score) => Err(Failure::usage(format!(
                "two scores have the name `{}`",
                score.name
            ))
            .hint(
                "name the one of --score otherwise; an expectation is a score of its kind's name",
            )),
            None => Ok(()),
        }
    }

    /// The scores that options give to every trace.
    pub fn given(&self) -> &[Score] {
        &self.given
    }

    /// Whether the cost of each answer must be known.
    pub fn needs_cost(&self) -> bool {
        self.expectations.need_cost()
    }

    /// What became of the expectations; none of a call that failed.
    pub fn findings(
        &self,
        exchange: &Exchange,
        cost: Option<&Result<f64, String>>,
        expected: Option<&Expected>,
    ) -> Vec<Finding> {
        let expects_nothing = self.expectations.names().next().is_none() && expected.is_none();
        if expects_nothing || exchange.error.is_some() || exchange.response.is_none() {
            return Vec::new();
        }
        let unknown = Err("there is no price table".to_owned());
        let text = exchange.completion.answer();
        let call = AnsweredCall {
            text: &text,
            latency_ms: exchange.latency_ms(),
            cost: cost.unwrap_or(&unknown),
        };
        self.expectations.check(call, expected)
    }

    /// The scores of a trace. A comment holds of the answer only what the trace may hold.
    pub fn scores(&self, findings: &[Finding], privacy: &Privacy) -> Vec<Score> {
        let judged = findings.iter().map(|finding| {
            let comment = if privacy.keeps_all() {
                &finding.detail
            } else {
                &finding.bare_detail
            };
            Score {
                name: finding.name.clone(),
                value: ScoreValue::Boolean(finding.met),
                comment: comment
                    .as_deref()
                    .map(|comment| privacy.redact(comment).into_owned()),
            }
        });
        let given = self.given.iter().map(|score| Score {
            name: privacy.redact(&score.name).into_owned(),
            value: match &score.value {
                ScoreValue::Categorical(text) => {
                    ScoreValue::Categorical(privacy.redact(text).into_owned())
                }
                value => value.clone(),
            },
            comment: None,
        });
        judged.chain(given).collect()
    }
}

/// The score of an option.
///
/// # Errors
/// If it has no value.
pub fn given((name, value): &(String, String)) -> Result<Score, Failure> {
    if value.is_empty() {
        return Err(Failure::usage(format!("the score `{name}` has no value"))
            .hint("expected NAME=VALUE: a number, true, false or a word"));
    }
    Ok(Score {
        name: name.clone(),
        value: ScoreValue::of_text(value),
        comment: None,
    })
}

/// The scores as metadata of a trace, for a backend that has no scores.
pub fn as_metadata(scores: &[Score]) -> Vec<(String, String)> {
    let mut metadata = Vec::new();
    for score in scores {
        let value = match &score.value {
            ScoreValue::Boolean(is_true) => is_true.to_string(),
            ScoreValue::Numeric(number) => number.to_string(),
            ScoreValue::Categorical(text) => text.clone(),
        };
        let key = format!("score.{}", score.name);
        if let Some(comment) = &score.comment {
            metadata.push((format!("{key}.comment"), comment.clone()));
        }
        metadata.push((key, value));
    }
    metadata
}
