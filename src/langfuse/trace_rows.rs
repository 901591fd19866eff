//! The rows of one trace: v2 observations, or the trace of an older server.

use jiff::{SignedDuration, Timestamp};

use crate::langfuse::api::{Api, Credentials, Interface};
use crate::langfuse::api_error::ApiError;
use crate::langfuse::row::Row;

/// The path of v2 observations.
pub(super) const OBSERVATIONS: &str = "/api/public/v2/observations";
/// Queries look this far around the times of the spans, because servers round them to milliseconds.
const WINDOW_MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// The fields that are compared by a read-back and shown by `show`.
const FIELDS: &str = "core,basic,time,io,model,usage,prompt,metrics,trace_context";
/// Those that a request can be made of again.
pub(super) const FIELDS_WITH_METADATA: &str =
    "core,basic,time,io,model,usage,prompt,metrics,trace_context,metadata";

/// The trace to look for.
#[derive(Clone, Debug)]
pub struct TraceQuery {
    pub trace_id: String,
    /// The times of its spans, if they are known.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Whether the metadata is read too.
    pub with_metadata: bool,
}

impl Api {
    /// The rows of a trace that can be read now; empty if the trace is not known.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn rows(&self, query: &TraceQuery) -> Result<Vec<Row>, ApiError> {
        let answer = self
            .ask_either(async |interface| match interface {
                Interface::V2 => self.observations(query).await,
                Interface::Legacy => self.legacy_trace(query).await,
            })
            .await;
        let mut rows = match answer {
            Err(error) if error.is_absence => Vec::new(),
            answer => answer?,
        };
        // A server that copies traces between its tables adds a root of its own.
        rows.retain(|row| !row.is_synthetic());
        Ok(rows)
    }

    async fn observations(&self, trace: &TraceQuery) -> Result<Vec<Row>, ApiError> {
        let window = trace.window.map(|(from, to)| widened(from, to));
        let fields = if trace.with_metadata {
            FIELDS_WITH_METADATA
        } else {
            FIELDS
        };
        let mut query = vec![
            ("traceId", trace.trace_id.clone()),
            ("fields", fields.to_owned()),
            ("limit", "1000".to_owned()),
        ];
        if let Some((from, to)) = window {
            query.extend([("fromStartTime", from), ("toStartTime", to)]);
        }
        // Callers decide whether to ask again: some look until a deadline.
        self.cursor_pages(OBSERVATIONS, query, Row::of_observation)
            .with_retries(0)
            .all(u64::MAX)
            .await
    }

    async fn legacy_trace(&self, trace: &TraceQuery) -> Result<Vec<Row>, ApiError> {
        let path = format!("/api/public/traces/{}", trace.trace_id);
        let mut body = self.get(&path, &[], Credentials::Keys).await?;
        Ok(Row::of_legacy_trace(&mut body))
    }
}

/// A window as queries write it, with the margin on both sides.
pub(super) fn widened(from: Timestamp, to: Timestamp) -> (String, String) {
    // At the ends of the calendar there is no room for the margin.
    let from = from.checked_sub(WINDOW_MARGIN).unwrap_or(from);
    let to = to.checked_add(WINDOW_MARGIN).unwrap_or(to);
    (from.to_string(), to.to_string())
}
