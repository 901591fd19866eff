//! An exchange and its trace as one JSON object on one line: what `--record` writes and `replay`
//! reads.

use jiff::Timestamp;
use opentelemetry::trace::TraceId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::exchange::{Exchange, ExchangeError};
use super::{PromptLink, Trace, TraceContext, ids};
use crate::json::lenient;
use crate::model::{Request, dialect};

/// The JSON form of an exchange. Only `request` is required when reading.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recording {
    pub request: Request,
    /// The name of the dialect; `None` for chat completions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    api: Option<String>,
    #[serde(default)]
    pub response: Option<Box<RawValue>>,
    #[serde(default)]
    pub error: Option<ExchangeError>,
    /// US dollars, if the provider stated them outside of the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    #[serde(default)]
    pub start_time: Option<Timestamp>,
    #[serde(default)]
    pub end_time: Option<Timestamp>,
    /// The start of the parent span. `None`, as in older recordings, if it is 1 ms before `start_time`.
    #[serde(default)]
    pub parent_start_time: Option<Timestamp>,
    #[serde(default)]
    pub completion_start_time: Option<Timestamp>,
    #[serde(default)]
    pub trace: RecordedTrace,
}

/// The attributes of the trace.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RecordedTrace {
    #[serde(default)]
    pub id: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub session: Option<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub metadata: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptLink>,
}

impl RecordedTrace {
    /// The recorded metadata as strings. Other values become their JSON text.
    pub fn metadata(&self) -> Vec<(String, String)> {
        let text = |value: &Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        self.metadata
            .iter()
            .map(|(key, value)| (key.clone(), text(value)))
            .collect()
    }
}

impl Recording {
    pub fn new(exchange: &Exchange, trace: &Trace, context: &TraceContext) -> Self {
        let dialect = exchange.request.dialect();
        Self {
            api: (dialect != dialect::CHAT).then(|| dialect.name().to_owned()),
            request: exchange.request.clone(),
            response: exchange.response.clone(),
            error: exchange.error.clone(),
            cost: exchange.cost,
            start_time: Some(exchange.start),
            end_time: Some(exchange.end),
            parent_start_time: exchange.command_start.map(|_| exchange.parent_start()),
            completion_start_time: exchange.completion_start,
            trace: RecordedTrace {
                id: Some(context.trace_id.to_string()),
                name: Some(trace.name().to_owned()),
                user: trace.user.clone(),
                session: trace.session.clone(),
                tags: trace.tags.clone(),
                metadata: trace
                    .metadata
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone().into()))
                    .collect(),
                prompt: trace.prompt.clone(),
            },
        }
    }

    /// Reads a recording, with its request in its dialect.
    ///
    /// # Errors
    /// If the text is none: one line.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut recording: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if let Some(name) = &recording.api {
            let known = dialect::named(name);
            let dialect =
                known.ok_or_else(|| format!("`api` is `{name}`, none of {}", dialect::names()))?;
            recording.request = recording.request.in_dialect(dialect);
        }
        Ok(recording)
    }

    /// The recorded exchange.
    ///
    /// # Errors
    /// One line that says what is missing or wrong.
    pub fn exchange(&self) -> Result<Exchange, String> {
        if self.response.is_none() && self.error.is_none() {
            return Err("the recording has neither `response` nor `error`".to_owned());
        }
        let (Some(start), Some(end)) = (self.start_time, self.end_time) else {
            return Err("the recording lacks `start_time` or `end_time`".to_owned());
        };
        if end < start {
            return Err("the recording's `end_time` is before its `start_time`".to_owned());
        }
        let parent_start = self.parent_start_time.unwrap_or(start);
        if parent_start > start {
            return Err("the recording's `parent_start_time` is after its `start_time`".to_owned());
        }
        if parent_start < Timestamp::UNIX_EPOCH || end > latest() {
            return Err(
                "the recording's times are outside of the range of spans: 1970 to 2554".to_owned(),
            );
        }
        if self
            .completion_start_time
            .is_some_and(|first| !(start..=end).contains(&first))
        {
            return Err(
                "the recording's `completion_start_time` is not between its `start_time` and `end_time`".to_owned(),
            );
        }
        let mut exchange = Exchange::new(self.request.clone(), start, end);
        exchange.error.clone_from(&self.error);
        exchange.cost = self.cost;
        exchange.command_start = self.parent_start_time;
        exchange.completion_start = self.completion_start_time;
        if let Some(response) = &self.response {
            let body = lenient::parse(response.get()).map_err(|error| {
                format!("the recording's `response` is not valid JSON: {error}")
            })?;
            exchange.set_parsed(response.get(), body);
        }
        Ok(exchange)
    }

    /// The recorded trace id, if one was recorded.
    ///
    /// # Errors
    /// If it is not a trace id.
    pub fn trace_id(&self) -> Result<Option<TraceId>, String> {
        self.trace
            .id
            .as_deref()
            .map(ids::parse_trace_id)
            .transpose()
    }

    /// The recording as one line of JSON.
    pub fn to_line(&self) -> String {
        // Values that were parsed from JSON always serialise. A raw body may contain line breaks.
        let value = serde_json::to_string(self).unwrap_or_default();
        if value.contains(['\n', '\r']) {
            return strip_line_ends(&value);
        }
        value
    }
}

/// The latest time that OTLP can express: nanoseconds in 64 bits.
fn latest() -> Timestamp {
    Timestamp::from_nanosecond(u64::MAX.into()).unwrap_or(Timestamp::MAX)
}

/// Removes line breaks. In JSON text they occur between tokens only, since strings escape them.
fn strip_line_ends(json: &str) -> String {
    json.chars().filter(|c| !matches!(c, '\n' | '\r')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"request":{"messages":[{"role":"user","content":"q"}],"temperature":0.30},"response":{"choices":[{"message":{"role":"assistant","content":"a"}}]},"error":null,"start_time":"2026-01-02T03:04:05.123456789Z","end_time":"2026-01-02T03:04:06Z","parent_start_time":"2026-01-02T03:04:04Z","completion_start_time":null,"trace":{"id":"0af7651916cd43dd8448eb211c80319c","name":"n","user":"u","session":null,"tags":["a"],"metadata":{"k":"v"}}}"#;

    #[test]
    fn a_recording_is_read_and_written_unchanged() {
        let recording: Recording = serde_json::from_str(LINE).unwrap();
        assert_eq!(recording.to_line(), LINE);
        assert_eq!(recording.exchange().unwrap().completion.answer(), "a");
    }

    #[test]
    fn the_parent_starts_as_recorded_or_1_ms_before_the_call() {
        let parent_start = |recorded: &str| {
            let line = LINE.replace(r#""2026-01-02T03:04:04Z""#, recorded);
            let recording: Recording = serde_json::from_str(&line).unwrap();
            let exchange = recording.exchange().unwrap();
            exchange.parent_start().to_string()
        };
        let just_before = "2026-01-02T03:04:05.122456789Z";
        assert_eq!(
            parent_start(r#""2026-01-02T03:04:04Z""#),
            "2026-01-02T03:04:04Z"
        );
        assert_eq!(parent_start("null"), just_before);
        assert_eq!(parent_start(r#""2026-01-02T03:04:05.123Z""#), just_before);
    }

    #[test]
    fn any_utc_offset_is_accepted() {
        let line = LINE.replace("2026-01-02T03:04:06Z", "2026-01-02T08:34:06+05:30");
        let recording: Recording = serde_json::from_str(&line).unwrap();
        assert_eq!(
            recording.end_time,
            Some("2026-01-02T03:04:06Z".parse().unwrap())
        );
    }

    #[test]
    fn an_incomplete_recording_says_why() {
        let edit = |change: fn(&mut Recording)| {
            let mut recording: Recording = serde_json::from_str(LINE).unwrap();
            change(&mut recording);
            recording.exchange().unwrap_err()
        };
        assert!(edit(|r| r.response = None).contains("neither"));
        assert!(edit(|r| r.end_time = None).contains("lacks"));
        assert!(edit(|r| std::mem::swap(&mut r.start_time, &mut r.end_time)).contains("before"));
        assert!(edit(|r| r.parent_start_time = r.end_time).contains("after"));
    }

    #[test]
    fn a_body_of_many_lines_is_recorded_on_one() {
        let line = LINE.replace(r#"{"choices":"#, "{\n  \"choices\": ");
        let recording: Recording = serde_json::from_str(&line).unwrap();
        assert!(!recording.to_line().contains('\n'));
    }
}
