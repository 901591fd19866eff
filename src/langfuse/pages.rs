//! Requests that are repeated while they may succeed later, and lists that are read page by page.
//!
//! A list may have a million rows, so only one page is in memory at a time, and a page that fails is asked for again
//! instead of starting over.

use std::time::Duration;

use serde_json::Value;

use crate::http::Backoff;
use crate::langfuse::api::{Api, Credentials, retried};
use crate::langfuse::api_error::ApiError;

/// How often a failed request for a page is repeated: a long list must survive a server that is busy for seconds.
pub(super) const PAGE_RETRIES: u32 = 5;

/// The parameters of a query.
pub(super) type Parameters = Vec<(&'static str, String)>;

/// The pages of a list.
#[derive(Debug)]
pub struct Pages<'a, T> {
    api: &'a Api,
    path: &'static str,
    query: Parameters,
    /// Reads a row; one that gives `None` is left out.
    read: fn(Value) -> Option<T>,
    /// Retries for each page.
    retries: u32,
    next: NextPage,
}

/// What a query says to get the next page.
#[derive(Debug)]
enum NextPage {
    /// The cursor that the last page gave; `None` for the first page.
    Cursor(Option<String>),
    Number(u64),
    /// There is no further page.
    End,
}

impl Api {
    /// The list at `path`, of which each page names the next one by a cursor.
    pub(super) fn cursor_pages<T>(
        &self,
        path: &'static str,
        query: Parameters,
        read: fn(Value) -> Option<T>,
    ) -> Pages<'_, T> {
        self.pages(path, query, read, NextPage::Cursor(None))
    }

    /// The list at `path`, whose pages have numbers.
    pub(super) fn numbered_pages(&self, path: &'static str, query: Parameters) -> Pages<'_, Value> {
        self.pages(path, query, Some, NextPage::Number(1))
    }

    fn pages<T>(
        &self,
        path: &'static str,
        query: Parameters,
        read: fn(Value) -> Option<T>,
        next: NextPage,
    ) -> Pages<'_, T> {
        Pages {
            api: self,
            path,
            query,
            read,
            retries: PAGE_RETRIES,
            next,
        }
    }

    /// Gets a document, and asks up to `retries` times again while that may help.
    ///
    /// # Errors
    /// If the server refuses the keys, or the request still fails after the retries.
    pub(super) async fn get_repeatedly(
        &self,
        retries: u32,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Value, ApiError> {
        let ask = || self.get(path, query, Credentials::Keys);
        retried(retries, waits(), ask).await
    }
}

impl<T> Pages<'_, T> {
    /// The same list, with another number of retries for each page.
    #[must_use]
    pub(super) fn with_retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    /// The rows of the next page; `None` after the last one.
    ///
    /// # Errors
    /// If the server lacks the list or refuses the keys, the request still fails after the retries, or the same page
    /// comes again.
    pub async fn next(&mut self) -> Result<Option<Vec<T>>, ApiError> {
        let place = match &self.next {
            NextPage::Cursor(cursor) => cursor.clone().map(|cursor| ("cursor", cursor)),
            NextPage::Number(number) => Some(("page", number.to_string())),
            NextPage::End => return Ok(None),
        };
        let query = self.query.iter().chain(&place);
        let query: Vec<(&str, &str)> = query.map(|(name, value)| (*name, value.as_str())).collect();
        // Boxed: callers keep this future in their own.
        let asked = Box::pin(self.api.get_repeatedly(self.retries, self.path, &query));
        let mut body = asked.await?;
        let Value::Array(rows) = body["data"].take() else {
            return Err(self.foreign("without a list"));
        };
        self.next = self.next_after(&rows, &body["meta"])?;
        Ok(Some(rows.into_iter().filter_map(self.read).collect()))
    }

    /// All rows; of a list with more than `most` pages, those of the first ones.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub(super) async fn all(mut self, most: u64) -> Result<Vec<T>, ApiError> {
        let mut all = Vec::new();
        for _ in 0..most {
            let Some(rows) = self.next().await? else {
                break;
            };
            all.extend(rows);
        }
        Ok(all)
    }

    /// What follows a page with these rows and this `meta`.
    fn next_after(&self, rows: &[Value], meta: &Value) -> Result<NextPage, ApiError> {
        match &self.next {
            NextPage::Cursor(last) => match meta["cursor"].as_str().filter(|next| !next.is_empty())
            {
                Some(next) if last.as_deref() == Some(next) => {
                    Err(self.foreign("with the same page again"))
                }
                Some(next) => Ok(NextPage::Cursor(Some(next.to_owned()))),
                None => Ok(NextPage::End),
            },
            NextPage::Number(number) => {
                let pages = meta["totalPages"].as_u64();
                let is_last = rows.is_empty() || pages.is_some_and(|pages| *number >= pages);
                Ok(if is_last {
                    NextPage::End
                } else {
                    NextPage::Number(number + 1)
                })
            }
            NextPage::End => Ok(NextPage::End),
        }
    }

    fn foreign(&self, what: &str) -> ApiError {
        let message = format!("{}{} answered {what}", self.api.base(), self.path);
        ApiError::foreign(message)
    }
}

/// The waits between the attempts of a request.
pub(super) fn waits() -> Backoff {
    Backoff::new(Duration::from_millis(250), Duration::from_secs(4))
}
