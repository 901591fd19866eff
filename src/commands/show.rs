//! `langspan show`: reads a trace back and draws it.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::pin::pin;
use std::time::Duration;

use reqwest::Url;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::app::signals::SignalListener;
use crate::app::{clients, hints, setup};
use crate::cli;
use crate::console::OutputFormat;
use crate::console::{self, Console};
use crate::failure::{Failure, Kind, Signal, Verdict};
use crate::http::url::{is_loopback, parse_http_url, shown};
use crate::http::{CONNECT_TIMEOUT, Proxies};
use crate::langfuse::api::TraceQuery;
use crate::langfuse::readback::{self, Poll};
use crate::langfuse::{Api, ApiError, Row};
use crate::output::tree::{self, Canvas, Texts};
use crate::output::{ErrorReport, Printer, SCHEMA_VERSION};
use crate::settings::{self, Destination, Notes, Sources, destination};
use crate::trace::ids;

/// How long `show` waits by default: a person waits here, and may have mistyped the id.
const DEFAULT_WAIT: Duration = Duration::from_secs(15);
/// After this time, a terminal shows that the trace is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Rows that stay the same for this long are all that there are.
const SETTLED: Duration = Duration::from_secs(1);
const INCOMPLETE: &str = "a span names a parent that is not there: the trace may be incomplete";

/// # Errors
/// If the trace cannot be read.
pub async fn run(
    options: &cli::ShowArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let form = settings::text_or_json(&options.output, sources)?;
    let wait = settings::wait(&options.wait, DEFAULT_WAIT, sources)?;
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
    let mut reading = pin!(read(&api, (&destination, &notes), &trace_id, wait));
    let mut is_noted = !console.shows_progress();
    let read = loop {
        tokio::select! {
            read = &mut reading => break read,
            signal = interrupt.wait() => break Err(interrupted(signal)),
            () = sleep(PATIENCE), if !is_noted => {
                is_noted = true;
                console.note(&format!("waiting for the trace, {} s at most …", wait.as_secs_f64()));
            }
        }
    };
    let texts = if options.full {
        Texts::Full
    } else {
        Texts::Cut
    };
    Ok(tell(&trace_id, read, texts, Printer::new(form), console))
}

/// Prints the trace, or the reason why it cannot be read.
fn tell(
    trace_id: &str,
    read: Result<Vec<Row>, Failure>,
    texts: Texts,
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
            texts,
        };
        printer.text(&tree::draw(trace_id, rows, canvas));
    }
    if read.as_deref().is_ok_and(has_orphans) {
        console.warn(INCOMPLETE);
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
            .any(|base| is_same_host(&base.below("/"), url))
    })
}

/// Names of this machine are one host.
fn is_same_host(one: &Url, other: &Url) -> bool {
    one.host_str() == other.host_str() || (is_loopback(one) && is_loopback(other))
}

/// Whether a span names a parent that is not among the rows, although it is not the first span of its program.
fn has_orphans(rows: &[Row]) -> bool {
    let ids: HashSet<&str> = rows.iter().map(Row::id).collect();
    rows.iter().any(|row| {
        let parent = row.parent();
        !row.is_root() && parent.is_some_and(|parent| !ids.contains(parent))
    })
}

/// Whether the looks for a trace have found all of it.
#[derive(Debug, Default)]
struct Completeness {
    /// The ids of the rows, and when exactly these were seen first.
    seen: Option<(Instant, BTreeSet<String>)>,
}

impl Completeness {
    /// Whether no parent is missing, or a second look, at least a second after the first, gave the same rows: a parent
    /// may never come.
    fn is_reached(&mut self, rows: &[Row]) -> bool {
        if rows.is_empty() {
            return false;
        }
        if !has_orphans(rows) {
            return true;
        }
        let ids: BTreeSet<String> = rows.iter().map(|row| row.id().to_owned()).collect();
        match &self.seen {
            Some((since, seen)) if *seen == ids => since.elapsed() >= SETTLED,
            _ => {
                self.seen = Some((Instant::now(), ids));
                false
            }
        }
    }
}

/// The rows of the trace, waited for.
async fn read(
    api: &Api,
    settings: (&Destination, &Notes),
    trace_id: &str,
    wait: Duration,
) -> Result<Vec<Row>, Failure> {
    let query = TraceQuery {
        trace_id: trace_id.to_owned(),
        window: None,
    };
    let mut completeness = Completeness::default();
    let is_enough = |rows: &[Row]| completeness.is_reached(rows);
    match readback::poll(api, &query, Instant::now() + wait, is_enough).await {
        Poll::Enough(rows) => Ok(rows),
        Poll::TimeUp { rows, .. } if !rows.is_empty() => Ok(rows),
        Poll::Failed(error)
        | Poll::TimeUp {
            error: Some(error), ..
        } => Err(unread(error, api, settings)),
        Poll::TimeUp { error: None, .. } => Err(Failure::new(
            Kind::NotReadable,
            format!("trace {trace_id} was not found"),
        )
        .retryable(true)
        .hint("check the id; a new trace takes some seconds to appear: --wait SECS")),
    }
}

fn unread(error: ApiError, api: &Api, (destination, notes): (&Destination, &Notes)) -> Failure {
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
