//! Whether a request failed because the server had closed an idle connection that was used again. The request is then
//! not at fault, and neither is the server: on a fresh connection it goes through at once.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex, PoisonError};

use ::http::Extensions;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::Response;

/// The local ends of the connections that have answered a request.
static ANSWERED: LazyLock<Mutex<HashSet<SocketAddr>>> = LazyLock::new(Mutex::default);

/// Notes that the connection of a response has answered: a later request on it is sent on a used connection.
pub fn note_answer(response: &Response) {
    if let Some(info) = response.extensions().get::<HttpInfo>() {
        let mut answered = ANSWERED.lock().unwrap_or_else(PoisonError::into_inner);
        answered.insert(info.local_addr());
    }
}

/// Whether a request got no byte of an answer because a connection that had answered before was closed.
pub fn is_closed_reused(error: &reqwest::Error) -> bool {
    let mut causes = causes(error);
    let Some(failed) = causes.find_map(|cause| cause.downcast_ref::<legacy::Error>()) else {
        return false;
    };
    let Some(connected) = failed.connect_info() else {
        return false;
    };
    let mut extras = Extensions::new();
    connected.get_extras(&mut extras);
    let is_closed = causes.any(is_closed);
    let Some(info) = extras.get::<HttpInfo>() else {
        return false;
    };
    let mut answered = ANSWERED.lock().unwrap_or_else(PoisonError::into_inner);
    // The connection is gone, and its address may be given to another one.
    answered.remove(&info.local_addr()) && is_closed
}

/// Whether this is the end of a connection before the answer, and not an answer that could not be understood.
fn is_closed(cause: &(dyn Error + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return error.is_incomplete_message() || error.is_canceled();
    }
    let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(
        kind,
        Some(
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        )
    )
}

/// The causes of an error, the outermost first.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}
