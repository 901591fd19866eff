//! The reverse proxy of model endpoints: passes requests and answers on as they come, and keeps a copy for the trace.
//!
//! It holds no key, follows no redirect, has no limit and no timeout of its own. A call is in the journal before the last
//! byte of its answer is passed on. When the client leaves, what came is kept, and the endpoint's connection is closed.

mod body;
mod call;
mod stream_usage;
mod upstream;

use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use futures_util::stream;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, EXPECT, HOST, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use crate::exec::answer;
use crate::exec::busy::Underway;
use crate::exec::proxy::body::{Copy, OutgoingBody};
use crate::exec::proxy::call::CallUnderWay;
use crate::exec::proxy::stream_usage::UsageFilter;
use crate::exec::recorder::Recorder;
use crate::http::TransportError;
use crate::model::dialect::{self, ModelDialect};

pub use self::upstream::{Upstream, strip_hop_by_hop};

/// What is kept of a body for the trace at most, in bytes. All of it is passed on.
const LARGEST_COPY: usize = 64 << 20;

/// Passes requests on.
#[derive(Debug)]
pub struct ModelProxy {
    pub http: reqwest::Client,
    pub recorder: Arc<Recorder>,
    /// Whether streams are asked for their token counts.
    pub stream_usage: bool,
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
            CallUnderWay::begin(&self.recorder, api, upstream, path, &parts.headers, &copy)
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
        let copy = api.is_some().then_some(copy);
        let Ok(body) = OutgoingBody::read(body, copy).await else {
            // The client left before it had sent its request.
            return answer::status(StatusCode::BAD_REQUEST);
        };
        let (sent, filter) = self.send(parts, url, body, api).await;
        match sent {
            Ok(response) => passed_on(response, call, filter, underway),
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

    /// Sends a request; returns what its answer has to pass through as well. Where an endpoint refuses to be asked for
    /// the counts of a stream, the request is sent as it was.
    async fn send(
        &self,
        mut parts: Parts,
        url: reqwest::Url,
        body: OutgoingBody,
        api: Option<&'static dyn ModelDialect>,
    ) -> (reqwest::Result<reqwest::Response>, Option<UsageFilter>) {
        let request = |headers| {
            let request = self.http.request(parts.method.clone(), url.clone());
            request.headers(headers)
        };
        let can_ask = api.is_some_and(|api| api == dialect::CHAT || api == dialect::COMPLETIONS);
        let asking = body.whole().filter(|_| self.stream_usage && can_ask);
        if let Some(asking) = asking.and_then(|body| stream_usage::asking(body)) {
            let mut headers = parts.headers.clone();
            headers.remove(CONTENT_LENGTH);
            let sent = request(headers).body(asking).send().await;
            let is_refused = |response: &reqwest::Response| {
                matches!(response.status().as_u16(), 400 | 404 | 422)
            };
            if !sent.as_ref().is_ok_and(is_refused) {
                return (sent, Some(UsageFilter::default()));
            }
        }
        let headers = std::mem::take(&mut parts.headers);
        let request = self.http.request(parts.method, url).headers(headers);
        (body.of(request).send().await, None)
    }
}

/// The answer as it comes, but for what `filter` leaves out.
fn passed_on(
    response: reqwest::Response,
    mut call: Option<CallUnderWay>,
    filter: Option<UsageFilter>,
    underway: Underway,
) -> Response<Body> {
    let status = response.status();
    let mut headers = response.headers().clone();
    strip_hop_by_hop(&mut headers);
    if filter.is_some() {
        headers.remove(CONTENT_LENGTH);
    }
    if let Some(call) = &mut call {
        call.answer_begins(status, &headers);
    }
    let passage = Passage {
        is_streamed: call.as_ref().is_some_and(CallUnderWay::is_streamed),
        response,
        call,
        filter,
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
    call: Option<CallUnderWay>,
    filter: Option<UsageFilter>,
    is_streamed: bool,
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
                    let rest = self.filter.as_mut().and_then(UsageFilter::rest);
                    return self.held.take().or(rest).map(Ok);
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
            if self.is_streamed {
                let chunk = match &mut self.filter {
                    Some(filter) => filter.push(&chunk),
                    None => chunk,
                };
                if chunk.is_empty() {
                    continue;
                }
                return Some(Ok(chunk));
            }
            if let Some(earlier) = self.held.replace(chunk) {
                return Some(Ok(earlier));
            }
        }
    }
}
