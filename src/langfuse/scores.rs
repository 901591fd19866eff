//! Scores: the bodies that create them, how they are sent, and how they are read back.

use std::fmt::Write as _;

use http::Method;
use opentelemetry::trace::{SpanId, TraceId};
use serde_json::{Map, Value, json};

use crate::langfuse::api::{Api, Credentials, Interface, retried};
use crate::langfuse::api_error::ApiError;
use crate::langfuse::pages::waits;
use crate::trace::ids;

/// How often a failed request is repeated.
const RETRIES: u32 = 3;
/// The largest page of scores.
const PAGE_SCORES: &str = "100";
/// A trace with more pages of scores is cut off.
const MOST_PAGES: u64 = 100;

/// A score that is to be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    pub name: String,
    pub value: ScoreValue,
    pub comment: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ScoreValue {
    Boolean(bool),
    Numeric(serde_json::Number),
    Categorical(String),
}

/// What the scores of a call are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoredSpan<'a> {
    pub trace_id: TraceId,
    /// `None` for the trace as a whole.
    pub span_id: Option<SpanId>,
    /// The environment of the trace; `None` if it has the default one.
    pub environment: Option<&'a str>,
}

impl ScoreValue {
    /// `true` and `false` are boolean, a JSON number is numeric, all else is a category.
    pub fn of_text(text: &str) -> Self {
        match text {
            "true" => Self::Boolean(true),
            "false" => Self::Boolean(false),
            text => serde_json::from_str(text)
                .map_or_else(|_| Self::Categorical(text.to_owned()), Self::Numeric),
        }
    }

    fn data_type(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "BOOLEAN",
            Self::Numeric(_) => "NUMERIC",
            Self::Categorical(_) => "CATEGORICAL",
        }
    }

    /// The value as a request has it.
    pub fn json(&self) -> Value {
        match self {
            Self::Boolean(is_true) => u8::from(*is_true).into(),
            Self::Numeric(number) => Value::Number(number.clone()),
            Self::Categorical(text) => text.as_str().into(),
        }
    }
}

impl Score {
    /// The body that creates the score, or replaces the one of the same name on the same trace.
    pub fn body(&self, subject: ScoredSpan<'_>) -> Value {
        let mut body = Map::new();
        let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
        set("id", score_id(subject.trace_id, &self.name).into());
        set("traceId", subject.trace_id.to_string().into());
        if let Some(span_id) = subject.span_id {
            set("observationId", span_id.to_string().into());
        }
        set("name", self.name.as_str().into());
        set("value", self.value.json());
        set("dataType", self.value.data_type().into());
        if let Some(comment) = &self.comment {
            set("comment", comment.as_str().into());
        }
        if let Some(environment) = subject.environment {
            set("environment", environment.into());
        }
        Value::Object(body)
    }
}

/// The id of a score: the first 16 bytes of the SHA-256 of `TRACE_ID/score/NAME`, so that a repeat adds no second one.
pub fn score_id(trace_id: TraceId, name: &str) -> String {
    id_of(&format!("{trace_id}/score/{name}"))
}

/// The id of a score that a run gives to its experiment.
pub fn experiment_score_id(experiment_id: &str, run: &str, name: &str) -> String {
    id_of(&format!("{experiment_id}/{run}/score/{name}"))
}

fn id_of(seed: &str) -> String {
    let bytes: [u8; 16] = ids::first_bytes(seed);
    bytes.iter().fold(String::new(), |mut id, byte| {
        // Writing to a string cannot fail.
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// What became of the events of one request.
#[derive(Debug)]
pub struct EventsAnswer {
    /// The places of the bodies that were not accepted, each with the server's words and the status.
    pub refused: Vec<(usize, String, Option<u16>)>,
}

impl Api {
    /// Sets one score.
    ///
    /// # Errors
    /// If the server refuses it, or the request still fails after the retries.
    pub async fn set_score(&self, body: &Value) -> Result<(), ApiError> {
        let ask = || self.send(Method::POST, "/api/public/scores", body);
        retried(RETRIES, waits(), ask).await.map(drop)
    }

    /// Sets up to a hundred scores at once, each an event of its own.
    ///
    /// # Errors
    /// If the server refuses the request as a whole, or it still fails after the retries.
    pub async fn set_scores(
        &self,
        bodies: &[Value],
        timestamp: &str,
    ) -> Result<EventsAnswer, ApiError> {
        let event = |(place, body): (usize, &Value)| {
            // Ids of events tell repeated ones; that of the score does.
            json!({"id": place.to_string(), "type": "score-create", "timestamp": timestamp, "body": body})
        };
        let events: Vec<Value> = bodies.iter().enumerate().map(event).collect();
        let document = json!({"batch": events});
        let ask = || self.send(Method::POST, "/api/public/ingestion", &document);
        let answer = retried(RETRIES, waits(), ask).await?;
        let errors = answer["errors"].as_array().into_iter().flatten();
        let refused = errors.filter_map(|error| {
            let place: usize = error["id"].as_str()?.parse().ok()?;
            let words = [&error["message"], &error["error"]];
            let words = words
                .into_iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(": ");
            let status = error["status"]
                .as_u64()
                .and_then(|status| u16::try_from(status).ok());
            (place < bodies.len()).then_some((place, words, status))
        });
        Ok(EventsAnswer {
            refused: refused.collect(),
        })
    }

    /// The scores of a trace that can be read now, with their subjects and comments.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn scores(&self, trace_id: &str) -> Result<Vec<Value>, ApiError> {
        let answer = self
            .ask_either(async |interface| match interface {
                Interface::V2 => self.v3_scores(trace_id).await,
                Interface::Legacy => self.legacy_scores(trace_id).await,
            })
            .await;
        match answer {
            Err(error) if error.is_absence => Ok(Vec::new()),
            answer => answer,
        }
    }

    async fn v3_scores(&self, trace_id: &str) -> Result<Vec<Value>, ApiError> {
        let query = vec![
            ("traceId", trace_id.to_owned()),
            ("fields", "core,details,subject".to_owned()),
            ("limit", PAGE_SCORES.to_owned()),
        ];
        // Callers look again until a deadline.
        self.cursor_pages("/api/public/v3/scores", query, Some)
            .with_retries(0)
            .all(MOST_PAGES)
            .await
    }

    async fn legacy_scores(&self, trace_id: &str) -> Result<Vec<Value>, ApiError> {
        let path = format!("/api/public/traces/{trace_id}");
        let mut body = self.get(&path, &[], Credentials::Keys).await?;
        let Value::Array(mut scores) = body["scores"].take() else {
            return Ok(Vec::new());
        };
        for score in &mut scores {
            // The form of newer servers.
            if score["dataType"] == "BOOLEAN" {
                score["value"] = (score["value"].as_f64() == Some(1.0)).into();
            } else if score["stringValue"].is_string() {
                score["value"] = score["stringValue"].take();
            }
        }
        Ok(scores)
    }
}

/// Whether a score that was read is the one that a body set.
pub fn is_set(read: &Value, body: &Value) -> bool {
    let value = match (&read["value"], body["dataType"].as_str()) {
        (Value::Bool(is_true), Some("BOOLEAN")) => u8::from(*is_true).into(),
        (value, _) => value.clone(),
    };
    let is_same_number = || {
        value
            .as_f64()
            .is_some_and(|read| body["value"].as_f64() == Some(read))
    };
    read["id"] == body["id"] && (value == body["value"] || is_same_number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_value_follows_its_text() {
        for (text, data_type, json) in [
            ("true", "BOOLEAN", json!(1)),
            ("false", "BOOLEAN", json!(0)),
            ("0.90", "NUMERIC", json!(0.90)),
            ("-3", "NUMERIC", json!(-3)),
            ("nan", "CATEGORICAL", json!("nan")),
            ("1 apple", "CATEGORICAL", json!("1 apple")),
        ] {
            let value = ScoreValue::of_text(text);
            assert_eq!(
                (value.data_type(), value.json()),
                (data_type, json),
                "{text}"
            );
        }
    }

    #[test]
    fn an_id_depends_on_trace_and_name_alone() {
        let trace = ids::from_seed("x");
        assert_eq!(score_id(trace, "a"), score_id(trace, "a"));
        assert_eq!(score_id(trace, "a").len(), 32);
        assert_ne!(score_id(trace, "a"), score_id(trace, "b"));
    }

    #[test]
    fn a_score_is_recognised_in_its_read_form() {
        let body = json!({"id": "i", "value": 1, "dataType": "BOOLEAN"});
        assert!(is_set(&json!({"id": "i", "value": true}), &body));
        assert!(!is_set(&json!({"id": "i", "value": false}), &body));
        let body = json!({"id": "i", "value": 2, "dataType": "NUMERIC"});
        assert!(is_set(&json!({"id": "i", "value": 2.0}), &body));
        assert!(!is_set(&json!({"id": "j", "value": 2}), &body));
    }
}
