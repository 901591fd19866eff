//! The trace that a command names, by its id or the URL of its page, and why it cannot be read.

use reqwest::Url;

use crate::app::hints;
use crate::failure::{Failure, Kind};
use crate::http::url::{is_loopback, parse_http_url, shown};
use crate::langfuse::{Api, ApiError};
use crate::settings::{Destination, Notes};
use crate::trace::ids;

/// The id itself, or that of a page's URL, which must be of the server that is asked.
///
/// # Errors
/// If the text is neither, or the page is on another server.
pub fn trace_id(text: &str, destination: &Destination) -> Result<String, Failure> {
    if !text.contains("://") {
        let id = text.split_once('?').map_or(text, |(id, _)| id);
        let id = ids::parse_trace_id(id).map_err(|error| {
            Failure::usage(error).hint("give the id of a trace, or the URL of its page")
        })?;
        return Ok(id.to_string());
    }
    let url = parse_http_url(text)
        .map_err(|error| Failure::usage(error).hint("give the URL of a trace's page"))?;
    let id = url
        .path_segments()
        .into_iter()
        .flatten()
        .find_map(|segment| ids::parse_trace_id(segment).ok());
    // Beside the table of traces, a page shows one that only its query names.
    let peeked = || {
        let mut pairs = url.query_pairs();
        let (_, id) = pairs.find(|(name, _)| name == "peek")?;
        ids::parse_trace_id(&id).ok()
    };
    let id = id.or_else(peeked).ok_or_else(|| {
        Failure::usage(format!("{} is not the URL of a trace", shown(&url)))
            .hint("the path of a trace's page ends in its id of 32 digits")
    })?;
    if !is_of(&url, destination) {
        return Err(Failure::config(format!(
            "the trace is on {}, but the settings name another server",
            url.host_str().unwrap_or_default()
        ))
        .hint("set LANGFUSE_BASE_URL and the keys of that server"));
    }
    Ok(id.to_string())
}

/// The observation that a page's URL, or what follows a trace's id, selects: `?observation=ID`.
pub fn observation(text: &str) -> Option<String> {
    let (_, query) = text.split_once('?')?;
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, id) = pairs.find(|(name, _)| *name == "observation")?;
    (!id.is_empty()).then(|| id.to_owned())
}

/// Whether the URL is on the server of the settings, or on the name that its links use.
pub fn is_of(url: &Url, destination: &Destination) -> bool {
    let langfuse = destination.langfuse.as_ref();
    langfuse.is_some_and(|langfuse| {
        [&langfuse.base, &langfuse.ui]
            .iter()
            .any(|base| is_same_host(&base.below("/"), url))
    })
}

/// Names of this machine are one host.
fn is_same_host(one: &Url, other: &Url) -> bool {
    one.host_str() == other.host_str() || (is_loopback(one) && is_loopback(other))
}

/// The failure of a trace that does not appear.
pub fn not_found(trace_id: &str) -> Failure {
    Failure::new(Kind::NotReadable, format!("trace {trace_id} was not found"))
        .retryable(true)
        .hint("check the id; a new trace takes some seconds to appear: --wait SECS")
}

/// The failure of a server that cannot be asked, or refuses the keys.
pub fn unread(error: ApiError, api: &Api, (destination, notes): (&Destination, &Notes)) -> Failure {
    let kind = if error.is_refusal() {
        Kind::Config
    } else {
        Kind::Delivery
    };
    let hint = match (error.status, &destination.langfuse) {
        (Some(401), Some(langfuse)) => hints::wrong_key(langfuse),
        (Some(403), _) => hints::PROJECT_KEYS.to_owned(),
        _ => hints::of_api_error(&error, &hints::setting(notes, api.base())),
    };
    let is_passing = error.is_passing();
    Failure::new(kind, error.message)
        .status(error.status)
        .retryable(is_passing)
        .hint(hint)
}
