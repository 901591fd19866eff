//! The reverse proxy of model endpoints: passes requests and answers on as they come, and keeps a copy for the trace.
//!
//! It holds no key, follows no redirect, has no limit and no timeout of its own. A call is in the journal before the last
//! byte of its answer is passed on. When the client leaves, what came is kept, and the endpoint's connection is closed.

use std::collections::VecDeque;
use std::io::Read as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use flate2::read::MultiGzDecoder;
use futures_util::stream;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HOST, HeaderMap,
    HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Value, json};

use crate::exec::answer;
use crate::exec::busy::Underway;
use crate::exec::call::{CallRecord, http_error};
use crate::exec::recorder::Recorder;
use crate::http::TransportError;
use crate::json::lenient;
use crate::model::Request as ModelRequest;
use crate::model::dialect::{ModelDialect, StreamError};
use crate::model::fields::BodyFields;
use crate::model::stream::StreamReader;
use crate::trace::ExchangeError;

/// What is kept of a body for the trace at most, in bytes. All of it is passed on.
const LARGEST_COPY: usize = 64 << 20;
/// A request body up to this length is read before it is passed on, in bytes.
const LONGEST_SHORT_BODY: u64 = 1 << 20;
/// Counts the attempts of one call; OpenAI's and Anthropic's SDKs send it.
const RETRY_COUNT: &str = "x-stainless-retry-count";

/// Passes requests on.
#[derive(Debug)]
pub struct ModelProxy {
    pub http: reqwest::Client,
    pub recorder: Arc<Recorder>,
}

/// A model endpoint.
#[derive(Clone, Debug)]
pub struct Upstream {
    base: Url,
}

impl Upstream {
    /// The endpoint at a URL; `None` if it is not one.
    pub fn parse(url: &str) -> Option<Self> {
        let base = crate::http::url::parse_http_url(url).ok()?;
        Some(Self { base })
    }

    fn url(&self, rest: &str, query: Option<&str>) -> Url {
        let mut url = self.base.clone();
        let path = format!("{}{rest}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        if query.is_some() {
            url.set_query(query);
        }
        url
    }
}

/// The headers that concern one connection.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Removes the headers that concern one connection.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed = headers.get_all(CONNECTION).iter();
    let listed = listed
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let listed: Vec<HeaderName> = listed.filter_map(|name| name.trim().parse().ok()).collect();
    for name in listed.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

impl ModelProxy {
    /// Passes a request on, and its answer back. A call of `api` is recorded.
    pub async fn forward(
        &self,
        upstream: &Upstream,
        rest: &str,
        api: Option<&'static dyn ModelDialect>,
        request: Request<Incoming>,
        underway: Underway,
    ) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let copy = Arc::new(Mutex::new(Copy::default()));
        let mut call = api.map(|api| {
            let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
            Call::begin(&self.recorder, api, upstream, path, &parts.headers, &copy)
        });
        strip_hop_by_hop(&mut parts.headers);
        for name in [HOST, EXPECT] {
            parts.headers.remove(name);
        }
        if api.is_some() {
            // The copy is then read as it comes.
            let identity = HeaderValue::from_static("identity");
            parts.headers.insert(ACCEPT_ENCODING, identity);
        }
        let url = upstream.url(rest, parts.uri.query());
        let request = self.http.request(parts.method, url).headers(parts.headers);
        let copy = api.is_some().then_some(copy);
        let Ok(request) = with_body(request, body, copy).await else {
            // The client left before it had said what it wants.
            return answer::status(StatusCode::BAD_REQUEST);
        };
        match request.send().await {
            Ok(response) => passed_on(response, call, underway),
            Err(error) => {
                let error = TransportError::from(error);
                let message = format!("the model endpoint gave no answer: {}", error.message);
                if let Some(call) = &mut call {
                    call.fail(message.clone(), None);
                }
                let error = json!({"message": message, "type": "langspan_exec", "code": null});
                answer::json(StatusCode::BAD_GATEWAY, &json!({"error": error}))
            }
        }
    }
}

/// The request with its body: a short one is read first, so that the trace has it although no endpoint may take it; a
/// long one is passed on as it comes.
async fn with_body(
    request: reqwest::RequestBuilder,
    body: Incoming,
    copy: Option<Arc<Mutex<Copy>>>,
) -> Result<reqwest::RequestBuilder, axum::Error> {
    let length = body.size_hint().exact();
    if length == Some(0) {
        return Ok(request);
    }
    if length.is_none_or(|length| length > LONGEST_SHORT_BODY) {
        return Ok(request.body(reqwest::Body::wrap(CopiedBody { body, copy })));
    }
    let bytes = axum::body::to_bytes(Body::new(body), usize::MAX).await?;
    if let Some(copy) = copy {
        let mut copy = copy.lock().unwrap_or_else(PoisonError::into_inner);
        copy.bytes = bytes.to_vec();
    }
    Ok(request.body(bytes))
}

/// The answer as it comes.
fn passed_on(
    response: reqwest::Response,
    mut call: Option<Call>,
    underway: Underway,
) -> Response<Body> {
    let status = response.status();
    let mut headers = response.headers().clone();
    strip_hop_by_hop(&mut headers);
    if let Some(call) = &mut call {
        call.answer_begins(status, &headers);
    }
    let passage = Passage {
        response,
        call,
        held: None,
        is_over: false,
        _underway: underway,
    };
    let body = stream::unfold(passage, |mut passage| async move {
        let chunk = passage.next().await?;
        Some((chunk, passage))
    });
    let mut answer = Response::new(Body::from_stream(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

/// An answer on its way to the client.
struct Passage {
    response: reqwest::Response,
    call: Option<Call>,
    /// A chunk that may be the last one, of a body without a rhythm of its own.
    held: Option<Bytes>,
    is_over: bool,
    _underway: Underway,
}

impl Passage {
    /// The next chunk for the client. The call is recorded before its last one.
    async fn next(&mut self) -> Option<Result<Bytes, reqwest::Error>> {
        if self.is_over {
            return None;
        }
        loop {
            let chunk = match self.response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    self.is_over = true;
                    if let Some(call) = &mut self.call {
                        call.answer_ends();
                    }
                    return self.held.take().map(Ok);
                }
                Err(error) => {
                    self.is_over = true;
                    if let Some(call) = &mut self.call {
                        call.fail("the model endpoint broke off its answer".to_owned(), None);
                    }
                    return Some(Err(error));
                }
            };
            let Some(call) = &mut self.call else {
                return Some(Ok(chunk));
            };
            call.take(&chunk);
            if call.is_streamed() {
                return Some(Ok(chunk));
            }
            if let Some(earlier) = self.held.replace(chunk) {
                return Some(Ok(earlier));
            }
        }
    }
}

/// The copy of a request body.
#[derive(Debug, Default)]
struct Copy {
    bytes: Vec<u8>,
    is_too_large: bool,
}

/// A request body that is copied while it is passed on.
struct CopiedBody {
    body: Incoming,
    copy: Option<Arc<Mutex<Copy>>>,
}

impl HttpBody for CopiedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let (Some(data), Some(copy)) = (frame.data_ref(), &self.copy)
        {
            let mut copy = copy.lock().unwrap_or_else(PoisonError::into_inner);
            if copy.bytes.len() + data.len() > LARGEST_COPY {
                copy.is_too_large = true;
                copy.bytes = Vec::new();
            } else if !copy.is_too_large {
                copy.bytes.extend_from_slice(data);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What of an answer has been read.
#[derive(Debug)]
enum Reading {
    Whole(Vec<u8>),
    Streamed(Box<StreamReader>),
}

/// A call under way. Dropped before its end, it is recorded as cancelled.
#[derive(Debug)]
struct Call {
    recorder: Arc<Recorder>,
    record: CallRecord,
    path: String,
    request: Arc<Mutex<Copy>>,
    reading: Reading,
    is_gzip: bool,
    has_answer: bool,
    is_recorded: bool,
}

impl Call {
    fn begin(
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
                request: ModelRequest::default(),
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

    fn answer_begins(&mut self, status: StatusCode, headers: &HeaderMap) {
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

    fn is_streamed(&self) -> bool {
        matches!(self.reading, Reading::Streamed(_))
    }

    /// Takes the next chunk of the answer.
    fn take(&mut self, chunk: &[u8]) {
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
    fn answer_ends(&mut self) {
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

    fn fail(&mut self, message: String, status: Option<u16>) {
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
        let fields: BodyFields = serde_json::from_slice(&copy.bytes).unwrap_or_default();
        let request = ModelRequest::default().with_fields(fields);
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

impl Drop for Call {
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
    fn paths_go_below_the_endpoint() {
        let upstream = Upstream::parse("http://models/base/v1/").unwrap();
        assert_eq!(
            upstream.url("/chat/completions", Some("a=1")).as_str(),
            "http://models/base/v1/chat/completions?a=1"
        );
    }

    #[test]
    fn headers_of_one_connection_are_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-own, close"),
            ("x-own", "1"),
            ("te", "x"),
            ("authorization", "Bearer x"),
        ] {
            headers.insert(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_static(value),
            );
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(
            headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["authorization"]
        );
    }

    #[test]
    fn azure_names_the_model_in_its_path() {
        assert_eq!(
            deployment("/azure/openai/deployments/m/chat/completions"),
            Some("m")
        );
        assert_eq!(deployment("/openai/v1/chat/completions"), None);
    }
}
