//! The read-back of a trace: waits until its spans can be read, and compares them with those that were sent.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::http::Backoff;
use crate::langfuse::api::{Api, retried};
use crate::langfuse::api_error::ApiError;
use crate::langfuse::row::Row;
use crate::langfuse::stored::{environment_of, release_of};
use crate::langfuse::trace_rows::TraceQuery;

/// The waits between two looks for a trace: well within the 30 requests a minute of Langfuse Cloud's smallest plan.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often a question is repeated before something is sent.
const RETRIES: u32 = 5;
/// The last look begins this long before the deadline, so that its answer can arrive in time: as long as the look
/// before it took, within these limits.
const SHORTEST_LOOK: Duration = Duration::from_millis(250);
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// The spans of a trace that are looked for, and the times between which they were.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub trace_id: String,
    pub span_ids: HashSet<String>,
    pub from: Timestamp,
    pub to: Timestamp,
}

/// The result of a read-back.
#[derive(Clone, Debug)]
pub enum Readback {
    /// Every span is there.
    Readable(Vec<Row>),
    /// Not every span was there in time; with the error of the last request that ended in time if it failed.
    Missing {
        found: usize,
        error: Option<ApiError>,
    },
    /// The keys do not permit reading, or the answer is too long: asking again is pointless.
    Failed(ApiError),
}

/// A field that came back different.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub span: String,
    pub field: &'static str,
    pub sent: Value,
    pub found: Value,
}

impl Wanted {
    fn query(&self) -> TraceQuery {
        TraceQuery {
            trace_id: self.trace_id.clone(),
            window: Some((self.from, self.to)),
            with_metadata: false,
        }
    }

    fn found_in(&self, rows: &[Row]) -> usize {
        let ids: HashSet<&str> = rows.iter().map(Row::id).collect();
        self.span_ids
            .iter()
            .filter(|id| ids.contains(id.as_str()))
            .count()
    }
}

impl Api {
    /// The rows of a trace that can be read now, asked for again while the server is busy.
    ///
    /// # Errors
    /// If the request still fails after the retries.
    pub async fn patient_rows(&self, query: &TraceQuery) -> Result<Vec<Row>, ApiError> {
        let backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        retried(RETRIES, backoff, || self.rows(query)).await
    }
}

/// Looks for spans until all can be read, or until `deadline`.
pub async fn wait(api: &Api, wanted: &Wanted, deadline: Instant) -> Readback {
    let is_whole = |rows: &[Row]| wanted.found_in(rows) == wanted.span_ids.len();
    match poll(api, &wanted.query(), deadline, is_whole).await {
        Poll::Enough(rows) => Readback::Readable(rows),
        Poll::Failed(error) => Readback::Failed(error),
        Poll::TimeUp { rows, error } => Readback::Missing {
            found: wanted.found_in(&rows),
            error,
        },
    }
}

/// The result of looking for a trace.
#[derive(Clone, Debug)]
pub enum Poll {
    Enough(Vec<Row>),
    /// The keys do not permit reading, or the answer is too long: asking again is pointless.
    Failed(ApiError),
    /// The rows of the last answer, and the error of the last request that ended in time if it failed.
    TimeUp {
        rows: Vec<Row>,
        error: Option<ApiError>,
    },
}

/// Looks for a trace until its rows are enough, as `is_enough` says, or until `deadline`. The last look begins just
/// before the deadline; one that the deadline cuts off says nothing.
pub async fn poll(
    api: &Api,
    query: &TraceQuery,
    deadline: Instant,
    mut is_enough: impl FnMut(&[Row]) -> bool,
) -> Poll {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let mut rows = Vec::new();
    let mut error = Some(ApiError::timeout());
    loop {
        let began = Instant::now();
        let asked = match timeout_at(deadline, api.rows(query)).await {
            Ok(Ok(read)) if is_enough(&read) => return Poll::Enough(read),
            Ok(Ok(read)) => {
                (rows, error) = (read, None);
                Duration::ZERO
            }
            Ok(Err(failed)) if failed.is_final() => return Poll::Failed(failed),
            Ok(Err(failed)) => error.insert(failed).wait.unwrap_or_default(),
            Err(_) => return Poll::TimeUp { rows, error },
        };
        let reserved = began.elapsed().clamp(SHORTEST_LOOK, LONGEST_LOOK);
        let left = deadline.saturating_duration_since(Instant::now());
        if left <= reserved || left <= asked {
            return Poll::TimeUp { rows, error };
        }
        let pause = backoff.next_wait().min(left.saturating_sub(reserved));
        tokio::time::sleep(pause.max(asked)).await;
    }
}

/// The ids of the spans that can be read now.
///
/// # Errors
/// If the request fails.
pub async fn known(api: &Api, wanted: &Wanted) -> Result<HashSet<String>, ApiError> {
    let rows = api.rows(&wanted.query()).await?;
    Ok(rows.iter().map(|row| row.id().to_owned()).collect())
}

/// The same, asked again while that may help, with the waits that the server asks for.
///
/// # Errors
/// If the server refuses the keys, or the request still fails after the retries.
pub async fn known_patiently(api: &Api, wanted: &Wanted) -> Result<HashSet<String>, ApiError> {
    let backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    retried(RETRIES, backoff, || known(api, wanted)).await
}

/// The fields of the spans that came back different. A span that was sent twice has two rows until the server merges
/// them, and either may be the right one.
pub fn differences(spans: &[SpanData], resource: &Resource, rows: &[Row]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for span in spans {
        let id = span.span_context.span_id().to_string();
        let sent = sent(span, resource);
        let candidates = rows.iter().filter(|row| row.id() == id);
        let compared = candidates.map(|row| compare(&span.name, &sent, row));
        differences.extend(compared.min_by_key(Vec::len).unwrap_or_default());
    }
    differences
}

/// The fields of a span that must come back, by their names in the row.
fn sent(span: &SpanData, resource: &Resource) -> Vec<(&'static str, Value)> {
    const FIELDS: [&str; 9] = [
        "userId",
        "sessionId",
        "tags",
        "input",
        "output",
        "model",
        "usageDetails",
        "promptName",
        "promptVersion",
    ];
    let row = Row::of_span(span);
    let mut sent: Vec<_> = FIELDS.map(|field| (field, row.field(field).clone())).into();
    sent.push(("environment", environment_of(resource).into()));
    sent.push(("release", release_of(resource).into()));
    sent
}

fn compare(span: &str, sent: &[(&'static str, Value)], row: &Row) -> Vec<Difference> {
    sent.iter()
        .filter(|(field, sent)| !is_same(field, sent, row.field(field)))
        .map(|(field, sent)| Difference {
            span: span.to_owned(),
            field,
            sent: sent.clone(),
            found: row.field(field).clone(),
        })
        .collect()
}

fn is_same(field: &str, sent: &Value, found: &Value) -> bool {
    match (field, sent) {
        // The server may fill in what was not sent: it counts tokens itself, and knows prompts by other attributes.
        ("usageDetails" | "model" | "promptName" | "promptVersion", Value::Null) => true,
        // Depending on the interface, an absent value is null, an empty text or an empty list.
        (_, Value::Null) => match found {
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            found => found.is_null(),
        },
        // Older servers sort them.
        ("tags", Value::Array(tags)) => {
            let as_set =
                |tags: &[Value]| tags.iter().map(Value::to_string).collect::<BTreeSet<_>>();
            found
                .as_array()
                .is_some_and(|found| as_set(found) == as_set(tags))
        }
        // The server adds a total.
        ("usageDetails", Value::Object(buckets)) => {
            buckets.iter().all(|(name, count)| found[name] == *count)
        }
        // Newer interfaces return the text, older ones the parsed JSON.
        ("input" | "output", Value::String(text)) => {
            found == sent
                || serde_json::from_str::<Value>(text).is_ok_and(|parsed| parsed == *found)
        }
        _ => found == sent,
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |value: &Value| value.to_string().chars().take(80).collect::<String>();
        let Self {
            span,
            field,
            sent,
            found,
        } = self;
        write!(
            f,
            "{field} of `{span}`: sent {}, found {}",
            short(sent),
            short(found)
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_values_are_recognised_in_every_interface() {
        assert!(is_same("input", &json!("[1]"), &json!("[1]")));
        assert!(is_same("input", &json!("[1]"), &json!([1])));
        assert!(is_same("userId", &Value::Null, &json!("")));
        assert!(is_same("tags", &json!(["b", "a"]), &json!(["a", "b"])));
        assert!(is_same("tags", &Value::Null, &json!([])));
        assert!(is_same(
            "usageDetails",
            &json!({"input": 1}),
            &json!({"input": 1, "total": 1})
        ));
    }

    #[test]
    fn another_value_is_a_difference() {
        assert!(!is_same("input", &json!("a"), &json!("b")));
        assert!(!is_same("userId", &json!("u"), &json!("")));
        assert!(!is_same("userId", &Value::Null, &json!("u")));
        assert!(!is_same("tags", &json!(["a"]), &json!(["a", "b"])));
        assert!(!is_same(
            "usageDetails",
            &json!({"input": 1}),
            &json!({"input": 2})
        ));
    }
}
