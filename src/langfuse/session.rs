//! What a Langfuse knows of a whole session: how many traces, and which spans.
//!
//! A session may hold a million traces, so nothing is gathered here, and a question that fails in passing is asked
//! again instead of beginning anew.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::api::{Api, ApiError, Credentials, widened};

/// The waits before a question is asked again, unless the server asks for a longer one.
const RETRY_WAITS_MS: [u64; 5] = [250, 500, 1000, 2000, 4000];
/// A server that asks for more is not waited for.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// The most traces that are counted at once: the database behind a Langfuse estimates distinct values above 65,536,
/// and below takes two for the same once in four billion pairs.
const COUNTED_AT_ONCE: u64 = 16_384;
/// Of 32 hex digits.
const LONGEST_PREFIX: usize = 32;
/// Rows of one page of v2 observations, the most that it gives.
const PAGE_ROWS: &str = "1000";
/// Traces of one page of the legacy list, the most that it gives.
const LEGACY_PAGE_TRACES: &str = "100";

/// A session, and the times between which its spans start.
#[derive(Clone, Copy, Debug)]
struct Session<'a> {
    id: &'a str,
    from: &'a str,
    to: &'a str,
}

impl Api {
    /// The number of distinct traces of `session` with a span that starts between `from` and `to`, or up to five
    /// minutes around.
    ///
    /// A count of many thousands may in rare cases be one too small, and where it is too large to be taken at once,
    /// only traces whose ids are lower-case hex are in it: before anything is called missing,
    /// [`session_spans`](Self::session_spans) tells exactly.
    ///
    /// # Errors
    /// When the server refuses the keys, or the question was not answered although it was repeated.
    pub async fn trace_count(
        &self,
        session: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<u64, ApiError> {
        let (from, to) = &widened(from, to);
        let session = Session {
            id: session,
            from,
            to,
        };
        let first = if self.is_legacy {
            self.legacy_count(session).await
        } else {
            self.distinct_traces(session).await
        };
        match first {
            Err(error) if error.is_unserved() && self.is_legacy => {
                self.distinct_traces(session).await
            }
            Err(error) if error.is_unserved() => self.legacy_count(session).await,
            answer => answer,
        }
    }

    /// Tells `found` the trace id and the span id of every span of `session` that the server knows and that starts
    /// between `from` and `to`, or up to five minutes around; in no certain order, and a span that was sent twice
    /// perhaps twice. One page at a time is held in memory.
    ///
    /// # Errors
    /// When the server refuses the keys, or a page was not answered although it was asked for repeatedly: what was
    /// told until then is not the whole.
    pub async fn session_spans(
        &self,
        session: &str,
        from: Timestamp,
        to: Timestamp,
        mut found: impl FnMut(&str, &str),
    ) -> Result<(), ApiError> {
        let (from, to) = &widened(from, to);
        let session = Session {
            id: session,
            from,
            to,
        };
        let first = if self.is_legacy {
            self.legacy_spans(session, &mut found).await
        } else {
            self.observed_spans(session, &mut found).await
        };
        match first {
            Err(error) if error.is_unserved() && self.is_legacy => {
                self.observed_spans(session, &mut found).await
            }
            Err(error) if error.is_unserved() => self.legacy_spans(session, &mut found).await,
            answer => answer,
        }
    }

    /// By v2 metrics: in one question, or, when there are too many to be counted at once, in parts by the first
    /// digits of the trace ids.
    async fn distinct_traces(&self, session: Session<'_>) -> Result<u64, ApiError> {
        let mut parts = vec![String::new()];
        let mut total = 0;
        while let Some(prefix) = parts.pop() {
            let count = self.distinct_traces_below(session, &prefix).await?;
            if count > COUNTED_AT_ONCE && prefix.len() < LONGEST_PREFIX {
                parts.extend((0..16).map(|digit| format!("{prefix}{digit:x}")));
            } else {
                total += count;
            }
        }
        Ok(total)
    }

    async fn distinct_traces_below(
        &self,
        session: Session<'_>,
        prefix: &str,
    ) -> Result<u64, ApiError> {
        let mut filters = vec![session.filter()];
        if !prefix.is_empty() {
            filters.push(
                json!({"column": "traceId", "operator": "starts with", "value": prefix, "type": "string"}),
            );
        }
        let query = json!({
            "view": "observations",
            "metrics": [{"measure": "traceId", "aggregation": "uniq"}],
            "filters": filters,
            "fromTimestamp": session.from,
            "toTimestamp": session.to,
        });
        self.measure("/api/public/v2/metrics", &query, "uniq_traceId")
            .await
    }

    async fn legacy_count(&self, session: Session<'_>) -> Result<u64, ApiError> {
        let query = json!({
            "view": "traces",
            "metrics": [{"measure": "count", "aggregation": "count"}],
            "filters": [session.filter()],
            "fromTimestamp": session.from,
            "toTimestamp": session.to,
        });
        self.measure("/api/public/metrics", &query, "count_count")
            .await
    }

    /// The one number that a metrics query without dimensions asks for.
    async fn measure(&self, path: &str, query: &Value, name: &str) -> Result<u64, ApiError> {
        let query = query.to_string();
        let body = self.get_repeatedly(path, &[("query", &query)]).await?;
        match &body["data"] {
            // There is nothing to count.
            Value::Array(rows) if rows.is_empty() => Ok(0),
            rows => count(&rows[0][name])
                .ok_or_else(|| ApiError::foreign(format!("{path} answered with no {name}"))),
        }
    }

    async fn observed_spans(
        &self,
        session: Session<'_>,
        found: &mut impl FnMut(&str, &str),
    ) -> Result<(), ApiError> {
        let path = "/api/public/v2/observations";
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![
                ("sessionId", session.id),
                ("fromStartTime", session.from),
                ("toStartTime", session.to),
                ("fields", "core"),
                ("limit", PAGE_ROWS),
            ];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let body = self.get_repeatedly(path, &query).await?;
            for row in rows(path, &body)? {
                tell(found, &row["traceId"], &row["id"]);
            }
            match body["meta"]["cursor"].as_str() {
                None => return Ok(()),
                Some(next) if cursor.as_deref() == Some(next) => {
                    let message = format!("{path} answered with the same page again");
                    return Err(ApiError::foreign(message));
                }
                next => cursor = next.map(str::to_owned),
            }
        }
    }

    async fn legacy_spans(
        &self,
        session: Session<'_>,
        found: &mut impl FnMut(&str, &str),
    ) -> Result<(), ApiError> {
        let path = "/api/public/traces";
        for page in 1_u64.. {
            let number = page.to_string();
            let query = [
                ("sessionId", session.id),
                ("fromTimestamp", session.from),
                ("toTimestamp", session.to),
                ("fields", "core,observations"),
                // Oldest first, so that what arrives meanwhile moves no page.
                ("orderBy", "timestamp.asc"),
                ("limit", LEGACY_PAGE_TRACES),
                ("page", &number),
            ];
            let body = self.get_repeatedly(path, &query).await?;
            let traces = rows(path, &body)?;
            for trace in traces {
                for span in trace["observations"].as_array().into_iter().flatten() {
                    tell(found, &trace["id"], span);
                }
            }
            let pages = body["meta"]["totalPages"].as_u64().unwrap_or(u64::MAX);
            if traces.is_empty() || page >= pages {
                break;
            }
        }
        Ok(())
    }

    /// Asks until there is an answer, or it is clear that there will be none.
    async fn get_repeatedly(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, ApiError> {
        let mut waits = RETRY_WAITS_MS.into_iter().map(Duration::from_millis);
        loop {
            let error = match self.get(path, query, Credentials::Keys).await {
                Err(error) if is_passing(&error) => error,
                answer => return answer,
            };
            let Some(wait) = waits.next() else {
                return Err(error);
            };
            let wait = error.wait.map_or(wait, |asked| asked.max(wait));
            if wait > LONGEST_WAIT {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }
}

impl Session<'_> {
    fn filter(&self) -> Value {
        json!({"column": "sessionId", "operator": "=", "value": self.id, "type": "string"})
    }
}

/// Whether the same question may be answered a little later.
fn is_passing(error: &ApiError) -> bool {
    matches!(error.status, None | Some(408 | 429 | 500..))
}

fn rows<'a>(path: &str, body: &'a Value) -> Result<&'a [Value], ApiError> {
    let rows = body["data"].as_array().map(Vec::as_slice);
    rows.ok_or_else(|| ApiError::foreign(format!("{path} answered with no rows")))
}

/// Tells of a span, unless the server made it up.
fn tell(found: &mut impl FnMut(&str, &str), trace: &Value, span: &Value) {
    match (trace.as_str(), span.as_str()) {
        (Some(trace), Some(span)) if !span.starts_with("t-") => found(trace, span),
        _ => {}
    }
}

/// A count, which older servers give as text.
fn count(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}
