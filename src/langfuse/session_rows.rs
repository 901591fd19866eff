//! The usage of all observations of a session, page by page: one request for many traces.

use std::time::Duration;

use jiff::Timestamp;

use crate::http::Backoff;
use crate::langfuse::api::{Api, Credentials, retried};
use crate::langfuse::api_error::ApiError;
use crate::langfuse::row::Row;
use crate::langfuse::trace_rows::widened;

const PATH: &str = "/api/public/v2/observations";
/// How often a failed request is repeated.
const RETRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// The largest page, in rows.
const PAGE_ROWS: &str = "1000";

/// The rows of a session. A server before version 4 has none.
#[derive(Debug)]
pub struct SessionRowPages<'a> {
    api: &'a Api,
    session: String,
    /// As the query writes them.
    window: (String, String),
    cursor: Option<String>,
    is_over: bool,
}

impl Api {
    /// The rows of `session`, with ids, tokens and cost only, of spans that start between `from` and `to`, or up to five
    /// minutes around.
    pub fn session_row_pages(
        &self,
        session: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> SessionRowPages<'_> {
        SessionRowPages {
            api: self,
            session: session.to_owned(),
            window: widened(from, to),
            cursor: None,
            is_over: false,
        }
    }
}

impl SessionRowPages<'_> {
    /// The rows of the next page; `None` after the last one.
    ///
    /// # Errors
    /// If the server refuses the keys, or the request still fails after the retries.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>, ApiError> {
        if self.is_over {
            return Ok(None);
        }
        let (from, to) = &self.window;
        let mut query = vec![
            ("sessionId", self.session.as_str()),
            ("fromStartTime", from.as_str()),
            ("toStartTime", to.as_str()),
            ("fields", "core,usage"),
            ("limit", PAGE_ROWS),
        ];
        query.extend(self.cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let ask = || self.api.get(PATH, &query, Credentials::Keys);
        let mut body = retried(RETRIES, backoff, ask).await?;
        let rows = Row::of_observations(&mut body["data"]);
        let next = body["meta"]["cursor"].as_str().map(str::to_owned);
        self.is_over = next.is_none() || next == self.cursor;
        self.cursor = next;
        Ok(Some(rows))
    }
}
