//! The body of a response, read piece by piece.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use reqwest::Response;

use crate::model::body::is_event_stream;

/// The body of a response that is being read. Its first bytes can be looked at before.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) response: Response,
    /// The bytes that were looked at.
    start: Bytes,
}

/// The most white space before the first byte that tells what a body is.
const LONGEST_START: usize = 64 << 10;

impl Body {
    pub(super) fn new(response: Response) -> Self {
        Self {
            response,
            start: Bytes::new(),
        }
    }

    /// Whether it is a stream of events, as its first bytes show.
    pub(super) async fn is_event_stream(&mut self) -> Result<bool, reqwest::Error> {
        let content_type = self.response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let is_labelled = content_type.is_some_and(is_type_of_events);
        let mut start = Vec::new();
        let is_stream = loop {
            let chunk = self.response.chunk().await?;
            start.extend_from_slice(chunk.as_deref().unwrap_or_default());
            let is_whole = chunk.is_none() || start.len() > LONGEST_START;
            if let Some(is_stream) = is_event_stream(&start, is_labelled, is_whole) {
                break is_stream;
            }
        };
        self.start = start.into();
        Ok(is_stream)
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, reqwest::Error> {
        if self.start.is_empty() {
            return self.response.chunk().await;
        }
        Ok(Some(std::mem::take(&mut self.start)))
    }
}

/// Whether a content type is that of server-sent events, whatever its case and parameters.
fn is_type_of_events(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("text/event-stream")
}
