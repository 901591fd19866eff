//! The price table of the project, page by page.

use std::time::Duration;

use serde_json::Value;

use crate::http::Backoff;
use crate::langfuse::api::{Api, Credentials, retried};
use crate::langfuse::api_error::ApiError;

/// How often a failed request is repeated.
const RETRIES: u32 = 2;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The largest page, in models.
const PAGE_MODELS: &str = "100";
/// A table with more pages than this is cut off.
const MOST_PAGES: u64 = 100;

impl Api {
    /// The rows of `GET /api/public/models`: the project's own models and those of the server, with their prices.
    ///
    /// # Errors
    /// If the server refuses the keys, or a request still fails after the retries.
    pub async fn models(&self) -> Result<Vec<Value>, ApiError> {
        let mut models = Vec::new();
        for page in 1..=MOST_PAGES {
            let number = page.to_string();
            let query = [("limit", PAGE_MODELS), ("page", number.as_str())];
            let backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
            let ask = || self.get("/api/public/models", &query, Credentials::Keys);
            let mut body = retried(RETRIES, backoff, ask).await?;
            let Value::Array(rows) = body["data"].take() else {
                let message = format!("{} answered without models", self.base());
                return Err(ApiError::foreign(message));
            };
            let is_last = rows.is_empty() || body["meta"]["totalPages"].as_u64() <= Some(page);
            models.extend(rows);
            if is_last {
                break;
            }
        }
        Ok(models)
    }
}
