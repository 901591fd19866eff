//! The model calls of a session, with everything that a request can be made of again.

use std::collections::{HashSet, VecDeque};

use crate::langfuse::api::{Api, Interface};
use crate::langfuse::api_error::ApiError;
use crate::langfuse::row::Row;
use crate::langfuse::session::{LEGACY_PAGE_TRACES, LEGACY_TRACES};
use crate::langfuse::trace_rows::{FIELDS_WITH_METADATA, OBSERVATIONS, TraceQuery};

/// Rows hold whole conversations, so a page has few of them.
const PAGE_ROWS: &str = "50";
/// The types of observations that are calls of a model, each asked for by itself.
const TYPES: [&str; 2] = ["GENERATION", "EMBEDDING"];

impl Api {
    /// The first `most` model calls of `session` that can be read now, or all of them, the oldest first. Empty if the
    /// session is not known.
    ///
    /// # Errors
    /// If the server refuses the keys, or a page still fails after the retries.
    pub async fn session_generations(
        &self,
        session: &str,
        most: Option<usize>,
    ) -> Result<Vec<Row>, ApiError> {
        self.ask_either(async |interface| match interface {
            Interface::V2 => self.observed_generations(session, most).await,
            Interface::Legacy => self.legacy_generations(session, most).await,
        })
        .await
    }

    async fn observed_generations(
        &self,
        session: &str,
        most: Option<usize>,
    ) -> Result<Vec<Row>, ApiError> {
        let mut found = Vec::new();
        for kind in TYPES {
            found.extend(self.observed_of_type(session, kind, most).await?);
        }
        Ok(oldest(found, most))
    }

    /// The server returns the newest first, so only the last rows of the last page are kept when `most` is given.
    async fn observed_of_type(
        &self,
        session: &str,
        kind: &str,
        most: Option<usize>,
    ) -> Result<VecDeque<Row>, ApiError> {
        let query = vec![
            ("sessionId", session.to_owned()),
            ("type", kind.to_owned()),
            ("fields", FIELDS_WITH_METADATA.to_owned()),
            ("limit", PAGE_ROWS.to_owned()),
        ];
        let mut pages = self.cursor_pages(OBSERVATIONS, query, Row::of_observation);
        let mut found = VecDeque::new();
        let mut ids = HashSet::new();
        while let Some(rows) = pages.next().await? {
            for row in rows {
                // A span that was sent twice has two rows until the server merges them.
                if !row.is_synthetic() && ids.insert(row.id().to_owned()) {
                    found.push_back(row);
                }
            }
            if let Some(most) = most {
                found.drain(..found.len().saturating_sub(most));
            }
        }
        Ok(found)
    }

    /// An older server lists the traces of a session; their observations are in the traces themselves.
    async fn legacy_generations(
        &self,
        session: &str,
        most: Option<usize>,
    ) -> Result<Vec<Row>, ApiError> {
        let query = vec![
            ("sessionId", session.to_owned()),
            ("fields", "core".to_owned()),
            ("orderBy", "timestamp.asc".to_owned()),
            ("limit", LEGACY_PAGE_TRACES.to_owned()),
        ];
        let mut pages = self.numbered_pages(LEGACY_TRACES, query);
        let mut found: Vec<Row> = Vec::new();
        while let Some(traces) = pages.next().await? {
            for trace in traces {
                let query = TraceQuery {
                    trace_id: trace["id"].as_str().unwrap_or_default().to_owned(),
                    window: None,
                    with_metadata: true,
                };
                let rows = self.rows(&query).await?;
                found.extend(rows.into_iter().filter(Row::is_model_call));
                if most.is_some_and(|most| found.len() >= most) {
                    return Ok(oldest(found, most));
                }
            }
        }
        Ok(oldest(found, most))
    }
}

/// The first ones by their starts.
fn oldest(mut rows: Vec<Row>, most: Option<usize>) -> Vec<Row> {
    let place = |row: &Row| (row.time("startTime"), row.id().to_owned());
    rows.sort_by_cached_key(place);
    rows.truncate(most.unwrap_or(usize::MAX));
    rows
}
