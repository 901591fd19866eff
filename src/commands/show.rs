//! `langspan show`: reads a trace back and draws it.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use reqwest::Url;
use serde_json::json;
use tokio::time::Instant;

use crate::app::signals::SignalListener;
use crate::app::{clients, hints, setup};
use crate::cli;
use crate::console::OutputFormat;
use crate::console::{self, Console};
use crate::failure::{Failure, Kind, Signal, Verdict};
use crate::http::url::{parse_http_url, shown};
use crate::http::{CONNECT_TIMEOUT, Proxies};
use crate::langfuse::api::TraceQuery;
use crate::langfuse::readback::{self, Poll};
use crate::langfuse::{Api, ApiError, Row};
use crate::output::tree::{self, Canvas};
use crate::output::{ErrorReport, Printer, SCHEMA_VERSION};
use crate::settings::{self, Destination, Notes, Sources, destination};
use crate::trace::ids;

/// How long `show` waits for a parent. One that another program did not send to Langfuse never appears.
const PARENT_WAIT: Duration = Duration::from_secs(15);
const INCOMPLETE: &str = "a span names a parent that is not there: the trace may be incomplete";

/// # Errors
/// If the trace cannot be read.
pub async fn run(
    options: &cli::ShowArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let form = settings::text_or_json(&options.output, sources)?;
    let wait = settings::wait(&options.wait, sources)?;
    let mut notes = Notes::default();
    let destination = destination::resolve(&options.destination, sources, None, &mut notes)?;
    setup::announce(&mut notes, console);
    let trace_id = trace_id(&options.trace, &destination)?;
    let tls = destination::tls_files(&options.destination, sources);
    let http = clients::client(&tls, Proxies::FromEnvironment, CONNECT_TIMEOUT * 2)?;
    let api = clients::api(&destination, &http, console).ok_or_else(|| {
        Failure::config("a plain OTLP backend cannot be asked for a trace")
            .hint("set LANGFUSE_BASE_URL and the keys")
    })?;
    let mut interrupt = SignalListener::listen().map_err(anyhow::Error::from)?;
    let read = tokio::select! {
        read = read(&api, &notes, &trace_id, wait, console) => read,
        signal = interrupt.wait() => Err(interrupted(signal)),
    };
    Ok(tell(&trace_id, read, Printer::new(form), console))
}

/// Prints the trace, or the reason why it cannot be read.
fn tell(
    trace_id: &str,
    read: Result<Vec<Row>, Failure>,
    mut printer: Printer,
    console: &Console,
) -> Verdict {
    if printer.form() == OutputFormat::Json {
        let error = read.as_ref().err();
        let rows = read.as_deref().unwrap_or_default();
        printer.document(&json!({
            "schema_version": SCHEMA_VERSION,
            "ok": error.is_none(),
            "command": "show",
            "trace": {"id": trace_id},
            "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
            "error": error.map(|failure| ErrorReport::new(failure, console)),
        }));
    } else if let Ok(rows) = &read {
        let canvas = Canvas {
            width: console::columns(),
            colour: console::wants_colour(&io::stdout()),
        };
        printer.text(&tree::draw(trace_id, rows, canvas));
    }
    let mut verdict = Verdict::default();
    for failure in [read.err(), printer.take_failure()].into_iter().flatten() {
        console.error(&failure);
        verdict.add(failure.kind);
    }
    verdict
}

fn interrupted(signal: Signal) -> Failure {
    let message = "interrupted while the trace was read";
    Failure::new(Kind::Interrupted(signal), message).hint("run it again")
}

/// The id itself, or that of a page's URL, which must be of the server that is asked.
fn trace_id(text: &str, destination: &Destination) -> Result<String, Failure> {
    if !text.contains("://") {
        let id = ids::parse_trace_id(text).map_err(|error| {
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
    let id = id.ok_or_else(|| {
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

/// Whether the URL is on the server of the settings, or on the name that its links use.
fn is_of(url: &Url, destination: &Destination) -> bool {
    let langfuse = destination.langfuse.as_ref();
    langfuse.is_some_and(|langfuse| {
        [&langfuse.base, &langfuse.ui]
            .iter()
            .any(|base| Some(base.host()) == url.host_str())
    })
}

/// The rows of the trace, waited for until the parent of each is there as well.
async fn read(
    api: &Api,
    notes: &Notes,
    trace_id: &str,
    wait: Duration,
    console: &Console,
) -> Result<Vec<Row>, Failure> {
    let query = TraceQuery {
        trace_id: trace_id.to_owned(),
        window: None,
    };
    let deadline = Instant::now() + wait;
    match readback::poll(api, &query, deadline, |rows| !rows.is_empty()).await {
        Poll::Enough(rows) => Ok(with_parents(api, &query, rows, deadline, console).await),
        Poll::Failed(error)
        | Poll::TimeUp {
            error: Some(error), ..
        } => Err(unread(error, api, notes)),
        Poll::TimeUp { error: None, .. } => Err(Failure::new(
            Kind::NotReadable,
            format!("trace {trace_id} was not found"),
        )
        .retryable(true)
        .hint("check the id; a new trace takes some seconds to appear: --wait SECS")),
    }
}

/// These rows, or newer ones of the same trace if the parent of one was not there yet.
async fn with_parents(
    api: &Api,
    query: &TraceQuery,
    rows: Vec<Row>,
    deadline: Instant,
    console: &Console,
) -> Vec<Row> {
    if !has_orphans(&rows) {
        return rows;
    }
    let deadline = deadline.min(Instant::now() + PARENT_WAIT);
    let is_whole = |newer: &[Row]| !newer.is_empty() && !has_orphans(newer);
    match readback::poll(api, query, deadline, is_whole).await {
        Poll::Enough(newer) => newer,
        Poll::TimeUp { rows: newer, .. } if !newer.is_empty() => {
            console.warn(INCOMPLETE);
            newer
        }
        Poll::TimeUp { .. } | Poll::Failed(_) => {
            console.warn(INCOMPLETE);
            rows
        }
    }
}

/// Whether a span names a parent that is not among the rows, although it is not the first span of its program.
fn has_orphans(rows: &[Row]) -> bool {
    let ids: HashSet<&str> = rows.iter().map(Row::id).collect();
    rows.iter().any(|row| {
        let parent = row.parent();
        !row.is_root() && parent.is_some_and(|parent| !ids.contains(parent))
    })
}

fn unread(error: ApiError, api: &Api, notes: &Notes) -> Failure {
    let hint = if error.is_refusal() {
        "check that LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are of this server's project"
            .to_owned()
    } else {
        hints::of_api_error(&error, &hints::setting(notes, api.base()))
    };
    let is_passing = error.is_passing();
    Failure::new(Kind::Delivery, error.message)
        .status(error.status)
        .retryable(is_passing)
        .hint(hint)
}
