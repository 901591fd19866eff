//! The usage of all observations of a session: one request for many traces.

use jiff::Timestamp;

use crate::langfuse::api::Api;
use crate::langfuse::pages::Pages;
use crate::langfuse::row::Row;
use crate::langfuse::trace_rows::{OBSERVATIONS, widened};

/// The largest page, in rows.
const PAGE_ROWS: &str = "1000";

impl Api {
    /// The rows of `session`, with ids, tokens and cost only, of spans that start between `from` and `to`, or up to five
    /// minutes around. A server before version 4 does not have this list.
    pub fn session_row_pages(
        &self,
        session: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Pages<'_, Row> {
        let (from, to) = widened(from, to);
        let query = vec![
            ("sessionId", session.to_owned()),
            ("fromStartTime", from),
            ("toStartTime", to),
            ("fields", "core,usage".to_owned()),
            ("limit", PAGE_ROWS.to_owned()),
        ];
        self.cursor_pages(OBSERVATIONS, query, Row::of_observation)
    }
}
