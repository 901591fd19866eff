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

/// The rows of a list, of which each page names the next one by a cursor.
#[derive(Debug)]
pub struct CursorPages<'a, T> {
    api: &'a Api,
    path: &'static str,
    query: Vec<(&'static str, String)>,
    /// Reads a row; one that gives `None` is left out.
    read: fn(Value) -> Option<T>,
    retries: u32,
    cursor: Option<String>,
    is_over: bool,
}

/// The rows of a list with numbered pages.
#[derive(Debug)]
pub(super) struct NumberedPages<'a> {
    api: &'a Api,
    path: &'static str,
    query: Vec<(&'static str, String)>,
    retries: u32,
    page: u64,
    is_over: bool,
}

impl Api {
    /// The list at `path`, whose pages are linked by cursors.
    pub(super) fn cursor_pages<T>(
        &self,
        path: &'static str,
        query: Vec<(&'static str, String)>,
        read: fn(Value) -> Option<T>,
    ) -> CursorPages<'_, T> {
        CursorPages {
            api: self,
            path,
            query,
            read,
            retries: PAGE_RETRIES,
            cursor: None,
            is_over: false,
        }
    }

    /// The list at `path`, whose pages have numbers.
    pub(super) fn numbered_pages(
        &self,
        path: &'static str,
        query: Vec<(&'static str, String)>,
    ) -> NumberedPages<'_> {
        NumberedPages {
            api: self,
            path,
            query,
            retries: PAGE_RETRIES,
            page: 0,
            is_over: false,
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
        retried(retries, waits(), || {
            self.get(path, query, Credentials::Keys)
        })
        .await
    }

    /// The rows of a page, and its `meta`.
    async fn page(
        &self,
        retries: u32,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(Vec<Value>, Value), ApiError> {
        // Boxed: callers keep this future in their own.
        let mut body = Box::pin(self.get_repeatedly(retries, path, query)).await?;
        let Value::Array(rows) = body["data"].take() else {
            let message = format!("{}{path} answered without a list", self.base());
            return Err(ApiError::foreign(message));
        };
        Ok((rows, body["meta"].take()))
    }
}

impl<T> CursorPages<'_, T> {
    /// The same list, with another number of retries for each page.
    #[must_use]
    pub fn with_retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    /// The rows of the next page; `None` after the last one.
    ///
    /// # Errors
    /// If the server lacks the list or refuses the keys, the request still fails after the retries, or the same page
    /// comes again.
    pub async fn next(&mut self) -> Result<Option<Vec<T>>, ApiError> {
        if self.is_over {
            return Ok(None);
        }
        let mut query = borrowed(&self.query);
        query.extend(self.cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let (rows, meta) = self.api.page(self.retries, self.path, &query).await?;
        let next = meta["cursor"].as_str().filter(|next| !next.is_empty());
        if next.is_some() && next == self.cursor.as_deref() {
            let message = format!(
                "{}{} answered with the same page again",
                self.api.base(),
                self.path
            );
            return Err(ApiError::foreign(message));
        }
        self.is_over = next.is_none();
        self.cursor = next.map(str::to_owned);
        Ok(Some(rows.into_iter().filter_map(self.read).collect()))
    }

    /// All rows; of a list with more than `most` pages, those of the first ones.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub async fn all(mut self, most: u64) -> Result<Vec<T>, ApiError> {
        let mut all = Vec::new();
        for _ in 0..most {
            let Some(rows) = self.next().await? else {
                break;
            };
            all.extend(rows);
        }
        Ok(all)
    }
}

impl NumberedPages<'_> {
    /// The same list, with another number of retries for each page.
    #[must_use]
    pub fn with_retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    /// The rows of the next page; `None` after the last one.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn next(&mut self) -> Result<Option<Vec<Value>>, ApiError> {
        if self.is_over {
            return Ok(None);
        }
        self.page += 1;
        let number = self.page.to_string();
        let mut query = borrowed(&self.query);
        query.push(("page", &number));
        let (rows, meta) = self.api.page(self.retries, self.path, &query).await?;
        let pages = meta["totalPages"].as_u64();
        self.is_over = rows.is_empty() || pages.is_some_and(|pages| self.page >= pages);
        Ok(Some(rows))
    }

    /// All rows; of a list with more than `most` pages, those of the first ones.
    ///
    /// # Errors
    /// If a request fails.
    pub async fn all(mut self, most: u64) -> Result<Vec<Value>, ApiError> {
        let mut all = Vec::new();
        for _ in 0..most {
            let Some(rows) = self.next().await? else {
                break;
            };
            all.extend(rows);
        }
        Ok(all)
    }
}

/// The waits between the attempts of a request.
pub(super) fn waits() -> Backoff {
    Backoff::new(Duration::from_millis(250), Duration::from_secs(4))
}

fn borrowed<'a>(query: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    query
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}
