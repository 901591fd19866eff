//! The body of a request on its way to the endpoint, and its copy for the trace.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::LARGEST_COPY;

/// A request body up to this length is read before it is passed on, in bytes.
const LONGEST_SHORT_BODY: u64 = 1 << 20;

/// A request body that is ready to be passed on.
#[derive(Debug)]
pub enum OutgoingBody {
    None,
    /// A short one, which was read: so the trace has it although no endpoint may take it.
    Whole(Bytes),
    /// A long one, which is passed on as it comes.
    Passing(reqwest::Body),
}

impl OutgoingBody {
    /// Reads a short body.
    ///
    /// # Errors
    /// If the client leaves before its end.
    pub async fn read(body: Incoming, copy: Option<Arc<Mutex<Copy>>>) -> Result<Self, axum::Error> {
        let length = body.size_hint().exact();
        if length == Some(0) {
            return Ok(Self::None);
        }
        if length.is_none_or(|length| length > LONGEST_SHORT_BODY) {
            let body = reqwest::Body::wrap(CopiedBody { body, copy });
            return Ok(Self::Passing(body));
        }
        let bytes = axum::body::to_bytes(Body::new(body), usize::MAX).await?;
        if let Some(copy) = copy {
            let mut copy = copy.lock().unwrap_or_else(PoisonError::into_inner);
            copy.bytes = bytes.to_vec();
        }
        Ok(Self::Whole(bytes))
    }

    /// The whole body, if it was read.
    pub fn whole(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The request with this body.
    pub fn of(self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self {
            Self::None => request,
            Self::Whole(bytes) => request.body(bytes),
            Self::Passing(body) => request.body(body),
        }
    }
}

/// The copy of a request body.
#[derive(Debug, Default)]
pub struct Copy {
    pub bytes: Vec<u8>,
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
