//! A model call while it passes the proxy: what is read of it for the trace.

use std::collections::VecDeque;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::MultiGzDecoder;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, USER_AGENT};
use jiff::Timestamp;
use serde_json::Value;

use super::LARGEST_COPY;
use crate::exec::call::{CallRecord, http_error};
use crate::exec::proxy::body::Copy;
use crate::exec::proxy::upstream::Upstream;
use crate::exec::recorder::Recorder;
use crate::json::{self, lenient};
use crate::model::Request;
use crate::model::dialect::{ModelDialect, StreamError};
use crate::model::fields::BodyFields;
use crate::model::stream::StreamReader;
use crate::trace::ExchangeError;

/// Counts the attempts of one call; OpenAI's and Anthropic's SDKs send it.
const RETRY_COUNT: &str = "x-stainless-retry-count";

/// What of an answer has been read.
#[derive(Debug)]
enum Reading {
    Whole(Vec<u8>),
    Streamed(Box<StreamReader>),
}

/// A call under way. Dropped before its end, it is recorded as cancelled.
#[derive(Debug)]
pub struct CallUnderWay {
    recorder: Arc<Recorder>,
    record: CallRecord,
    path: String,
    request: Arc<Mutex<Copy>>,
    reading: Reading,
    is_gzip: bool,
    has_answer: bool,
    is_recorded: bool,
}

impl CallUnderWay {
    /// The client has sent the head of its request.
    pub fn begin(
        recorder: &Arc<Recorder>,
        api: &'static dyn ModelDialect,
        upstream: &Upstream,
        path: &str,
        headers: &HeaderMap,
        request: &Arc<Mutex<Copy>>,
    ) -> Self {
        let text = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        let now = Timestamp::now();
        Self {
            record: CallRecord {
                number: recorder.number_call(),
                api,
                endpoint: crate::http::url::shown(&upstream.base),
                start_time: now,
                first_byte_time: now,
                completion_start_time: None,
                end_time: now,
                status: None,
                error: None,
                is_cancelled: false,
                traceparent: text("traceparent"),
                retry: text(RETRY_COUNT).and_then(|count| count.parse().ok()),
                user_agent: text(USER_AGENT.as_str()),
                request_print: 0,
                text_prints: Vec::new(),
                request: Request::default(),
                response: None,
            },
            recorder: Arc::clone(recorder),
            path: path.to_owned(),
            request: Arc::clone(request),
            reading: Reading::Whole(Vec::new()),
            is_gzip: false,
            has_answer: false,
            is_recorded: false,
        }
    }

    /// The endpoint begins to answer.
    pub fn answer_begins(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.record.first_byte_time = Timestamp::now();
        self.record.status = Some(status.as_u16());
        self.has_answer = true;
        let has = |name: HeaderName, word: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.is_some_and(|value| value.to_ascii_lowercase().contains(word))
        };
        self.is_gzip = has(CONTENT_ENCODING, "gzip");
        if status.is_success() && has(CONTENT_TYPE, "text/event-stream") && !self.is_gzip {
            self.reading = Reading::Streamed(Box::new(StreamReader::new(self.record.api)));
        }
    }

    /// Whether the answer comes as events.
    pub fn is_streamed(&self) -> bool {
        matches!(self.reading, Reading::Streamed(_))
    }

    /// Takes the next chunk of the answer.
    pub fn take(&mut self, chunk: &[u8]) {
        if self.is_recorded {
            return;
        }
        match &mut self.reading {
            Reading::Whole(bytes) => {
                let room = LARGEST_COPY.saturating_sub(bytes.len());
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Reading::Streamed(reader) => {
                self.record
                    .completion_start_time
                    .get_or_insert_with(Timestamp::now);
                let read = reader.push(chunk, |_| ());
                let is_done = reader.is_done();
                match read {
                    Err(error) => {
                        let status = self.record.status;
                        let error = match &error {
                            StreamError::Reported(error) => error.message(),
                            StreamError::InvalidChunk => "a chunk of the stream is not JSON",
                        };
                        let message = format!("the model endpoint reported an error: {error}");
                        self.fail(message, status);
                    }
                    Ok(()) if is_done => self.finish(),
                    Ok(()) => {}
                }
            }
        }
    }

    /// The endpoint has sent everything.
    pub fn answer_ends(&mut self) {
        if let Reading::Streamed(reader) = &self.reading
            && !reader.is_whole()
            && !self.is_recorded
        {
            self.fail(
                "the stream ended before the answer did".to_owned(),
                self.record.status,
            );
        }
        self.finish();
    }

    /// The call has failed with a message, and a status where the endpoint gave one.
    pub fn fail(&mut self, message: String, status: Option<u16>) {
        if self.is_recorded {
            return;
        }
        if !self.has_answer {
            self.record.first_byte_time = Timestamp::now();
        }
        self.record.error = Some(ExchangeError {
            kind: "model".to_owned(),
            message,
            status,
        });
        self.finish();
    }

    /// Records the call, once.
    fn finish(&mut self) {
        if std::mem::replace(&mut self.is_recorded, true) {
            return;
        }
        self.record.end_time = Timestamp::now();
        self.read_request();
        self.read_answer();
        if let Err(error) = self.recorder.keep_call(self.record.clone()) {
            self.recorder
                .warn_later(format!("a model call is LOST: {error}"));
        }
    }

    fn read_request(&mut self) {
        let copy =
            std::mem::take(&mut *self.request.lock().unwrap_or_else(PoisonError::into_inner));
        let parts = [self.path.as_bytes(), &copy.bytes];
        self.record.request_print = self.recorder.prints.of_bytes(&parts);
        let fields: BodyFields = json::from_slice(&copy.bytes).unwrap_or_default();
        let request = Request::default().with_fields(fields);
        let mut request = request.in_dialect(self.record.api);
        if request.model().is_none()
            && let Some(deployment) = deployment(&self.path)
        {
            request.set("model", deployment);
        }
        self.record.request = request;
    }

    fn read_answer(&mut self) {
        let api = self.record.api;
        let reading = std::mem::replace(&mut self.reading, Reading::Whole(Vec::new()));
        let body = match reading {
            Reading::Streamed(reader) if !reader.has_content() => return,
            Reading::Streamed(reader) => reader.into_body(),
            Reading::Whole(bytes) => {
                let bytes = if self.is_gzip { gunzip(&bytes) } else { bytes };
                match self.record.status {
                    Some(status) if !(200..300).contains(&status) => {
                        self.record
                            .error
                            .get_or_insert_with(|| http_error(status, &bytes));
                        return;
                    }
                    _ if bytes.starts_with(b"data:") || bytes.starts_with(b"event:") => {
                        read_events(api, &bytes)
                    }
                    _ => match lenient::parse(&String::from_utf8_lossy(&bytes)) {
                        // Vectors are not kept.
                        Ok(Value::Object(body)) if api.prints_body() => {
                            api.without_content(body).into()
                        }
                        Ok(body) => body,
                        Err(_) => return,
                    },
                }
            }
        };
        if body.is_null() {
            return;
        }
        self.record.response = serde_json::value::to_raw_value(&body).ok();
    }
}

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        if self.recorder.is_closing() {
            let message = "exec ended while the call was under way".to_owned();
            self.fail(message, self.record.status);
        }
        if !self.is_recorded {
            self.record.is_cancelled = true;
            if !self.has_answer {
                self.record.first_byte_time = Timestamp::now();
            }
            self.finish();
        }
    }
}

/// A stream that was compressed, or not declared as one.
fn read_events(api: &dyn ModelDialect, bytes: &[u8]) -> Value {
    let mut reader = StreamReader::new(api);
    // What came before an error is the answer.
    let _ = reader.push(bytes, |_| ());
    if reader.has_content() {
        reader.into_body()
    } else {
        Value::Null
    }
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    // What can be read of a body that breaks off is read.
    let _ = MultiGzDecoder::new(bytes)
        .take(LARGEST_COPY as u64)
        .read_to_end(&mut plain);
    plain
}

/// The deployment that a path of Azure names.
fn deployment(path: &str) -> Option<&str> {
    let mut parts: VecDeque<&str> = path.split('/').collect();
    while let Some(part) = parts.pop_front() {
        if part == "deployments" {
            return parts.pop_front();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azure_names_the_model_in_its_path() {
        assert_eq!(
            deployment("/azure/openai/deployments/m/chat/completions"),
            Some("m")
        );
        assert_eq!(deployment("/openai/v1/chat/completions"), None);
    }
}
