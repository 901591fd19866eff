//! The price table of the project.

use serde_json::Value;

use crate::langfuse::api::Api;
use crate::langfuse::api_error::ApiError;

/// How often a failed request is repeated.
const RETRIES: u32 = 2;
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
        let query = vec![("limit", PAGE_MODELS.to_owned())];
        self.numbered_pages("/api/public/models", query)
            .with_retries(RETRIES)
            .all(MOST_PAGES)
            .await
    }
}
