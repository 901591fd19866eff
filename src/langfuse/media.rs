//! Langfuse's media API: content is announced, put into the store that the answer names, and reported as uploaded; and it
//! is fetched again from the URL that the answer names.

use std::time::{Duration, Instant};

use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use crate::http::url::parse_http_url;
use crate::http::{Backoff, BodyError, TransportError, read_body, read_whole_body, retry_after};
use crate::langfuse::api::{Api, Credentials, retried};
use crate::langfuse::api_error::ApiError;
use crate::trace::media::Media;

const PATH: &str = "/api/public/media";
/// How often each step is repeated.
const RETRIES: u32 = 2;
/// The time for the content itself.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(5);
/// The most bytes of content that is fetched.
const MAX_CONTENT_BYTES: usize = 100_000_000;
/// The most bytes that are read of a store's error.
const MAX_ERROR_BYTES: usize = 4096;

/// The observation that shows the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub trace_id: String,
    pub observation_id: String,
}

/// Where in the observation the content is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Input,
    Output,
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

impl Api {
    /// Uploads `media` for an observation, unless Langfuse has the content already. Returns its id.
    ///
    /// # Errors
    /// If a step is refused, or still fails after the retries.
    pub async fn upload(
        &self,
        media: Media,
        owner: &Owner,
        field: Field,
    ) -> Result<String, ApiError> {
        let announcement = json!({
            "contentType": media.content_type,
            "contentLength": media.bytes.len(),
            "sha256Hash": media.sha256(),
            "traceId": owner.trace_id,
            "observationId": owner.observation_id,
            "field": field.name(),
        });
        let answer = retried(RETRIES, Backoff::default(), || {
            self.send(Method::POST, PATH, &announcement)
        })
        .await?;
        let id = answer["mediaId"].as_str().filter(|id| is_media_id(id));
        let id = id.ok_or_else(|| {
            ApiError::foreign("the answer of the media API has no media id".to_owned())
        })?;
        if let Some(url) = answer["uploadUrl"].as_str() {
            self.put_and_report(url, media, id).await?;
        }
        Ok(id.to_owned())
    }

    /// The content that Langfuse stores under an id.
    ///
    /// # Errors
    /// If Langfuse does not have it, or its store does not hand it out.
    pub async fn fetch_media(&self, id: &str) -> Result<Media, ApiError> {
        if !is_media_id(id) {
            return Err(ApiError::foreign(format!("`{id}` is not a media id")));
        }
        let path = format!("{PATH}/{id}");
        let answer = retried(RETRIES, Backoff::default(), || {
            self.get(&path, &[], Credentials::Keys)
        })
        .await?;
        let url = answer["url"].as_str().ok_or_else(|| {
            ApiError::foreign("the answer of the media API has no URL".to_owned())
        })?;
        let bytes = retried(RETRIES, Backoff::default(), || self.content(url)).await?;
        Ok(Media::new(answer["contentType"].as_str(), bytes))
    }

    /// Gets the content of a signed URL. This is another server, so it does not get the keys.
    async fn content(&self, url: &str) -> Result<Vec<u8>, ApiError> {
        let url = parse_http_url(url)
            .map_err(|error| ApiError::foreign(format!("the media URL is invalid: {error}")))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        // Not shown: anyone who has the signed query can read.
        self.console
            .detail(1, || format!("> GET {host}{}", url.path()));
        let unreachable = |why: String| {
            ApiError::unanswered(format!("no answer from the media store {host}: {why}"))
        };
        let request = self.http.get(url).timeout(UPLOAD_TIMEOUT);
        let response = request
            .send()
            .await
            .map_err(|error| unreachable(TransportError::from(error).message))?;
        let status = response.status();
        self.console.detail(1, || format!("< {status}"));
        if !status.is_success() {
            return Err(ApiError {
                status: Some(status.as_u16()),
                wait: retry_after(response.headers()),
                ..ApiError::unanswered(format!("the media store {host} answered {status}"))
            });
        }
        let read = read_whole_body(response, MAX_CONTENT_BYTES).await;
        read.map_err(|error| match error {
            BodyError::Transport(error) => unreachable(TransportError::from(error).message),
            error @ BodyError::TooLong(_) => ApiError::foreign(format!("{host}: {error}")),
        })
    }

    /// Puts the content into its store and reports the result: without the report, Langfuse treats it as missing.
    async fn put_and_report(&self, url: &str, media: Media, id: &str) -> Result<(), ApiError> {
        let start = Instant::now();
        let hash = media.sha256();
        let content_type = media.content_type;
        // Reference-counted, so that a retry does not copy the content.
        let bytes = bytes::Bytes::from(media.bytes);
        let put = retried(RETRIES, Backoff::default(), || {
            self.put(url, &content_type, &hash, bytes.clone())
        })
        .await;
        let (status, error) = match &put {
            Ok(status) => (Some(status.as_u16()), None),
            Err(error) => (error.status, Some(error.message.as_str())),
        };
        if let Some(status) = status {
            let report = json!({
                "uploadedAt": format!("{:.3}", Timestamp::now()),
                "uploadHttpStatus": status,
                "uploadHttpError": error,
                "uploadTimeMs": u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            });
            let path = format!("{PATH}/{id}");
            let reported = retried(RETRIES, Backoff::default(), || {
                self.send(Method::PATCH, &path, &report)
            })
            .await;
            put?;
            reported.map(drop)
        } else {
            put.map(drop)
        }
    }

    /// Puts the content to a signed URL. This is another server, so it does not get the keys. Google's store refuses the
    /// headers that Amazon's and Azure's require.
    async fn put(
        &self,
        url: &str,
        content_type: &str,
        hash: &str,
        bytes: bytes::Bytes,
    ) -> Result<StatusCode, ApiError> {
        let url = parse_http_url(url)
            .map_err(|error| ApiError::foreign(format!("the upload URL is invalid: {error}")))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        // Not shown: anyone who has the signed query can upload.
        self.console.detail(1, || {
            format!("> PUT {host}{} ({} bytes)", url.path(), bytes.len())
        });
        let is_google = url.as_str().contains("storage.googleapis.com");
        let mut request = self.http.put(url).timeout(UPLOAD_TIMEOUT).body(bytes);
        request = request.header(CONTENT_TYPE, content_type);
        if !is_google {
            request = request
                .header("x-amz-checksum-sha256", hash)
                .header("x-ms-blob-type", "BlockBlob");
        }
        let unreachable = |error: reqwest::Error| {
            let message = TransportError::from(error).message;
            ApiError::unanswered(format!("no answer from the media store {host}: {message}"))
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        self.console.detail(1, || format!("< {status}"));
        if status.is_success() {
            return Ok(status);
        }
        let wait = retry_after(response.headers());
        let words = read_body(response, MAX_ERROR_BYTES)
            .await
            .unwrap_or_default();
        let words = self.console.clean(&String::from_utf8_lossy(&words));
        Err(ApiError {
            status: Some(status.as_u16()),
            wait,
            ..ApiError::unanswered(format!("the media store {host} answered {status}: {words}"))
        })
    }
}

/// An id becomes part of a path and of the reference.
fn is_media_id(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !id.is_empty() && id.bytes().all(fits)
}
