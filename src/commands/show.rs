//! `langspan show`: reads a trace back and draws it, with its scores.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::pin::pin;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::app::signals::SignalListener;
use crate::app::trace_reference::{not_found, trace_id, unread};
use crate::app::{clients, setup};
use crate::cli;
use crate::console::OutputFormat;
use crate::console::{self, Console};
use crate::failure::{Failure, Kind, Signal, Verdict};
use crate::http::{CONNECT_TIMEOUT, Proxies};
use crate::langfuse::api::TraceQuery;
use crate::langfuse::readback::{self, Poll};
use crate::langfuse::{Api, Row};
use crate::output::scores::score_lines;
use crate::output::tree::{self, Canvas, Texts};
use crate::output::{ErrorReport, Printer, SCHEMA_VERSION};
use crate::settings::{self, Destination, Notes, Sources, destination};
use crate::sort;

/// How long `show` waits by default: a person waits here, and may have mistyped the id.
const DEFAULT_WAIT: Duration = Duration::from_secs(15);
/// After this time, a terminal shows that the trace is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Rows that stay the same for this long are all that there are.
const SETTLED: Duration = Duration::from_secs(1);
/// The time for the scores of a trace.
const SCORES_TIMEOUT: Duration = Duration::from_secs(5);
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
    let scores = match &read {
        Ok(_) => scores(&api, &trace_id, console).await,
        Err(_) => Vec::new(),
    };
    let shown = Shown {
        trace_id: &trace_id,
        scores: &scores,
        texts,
    };
    Ok(shown.tell(read, Printer::new(form), console))
}

/// The scores of a trace that can be read now. A server that has none is not worth an error.
async fn scores(api: &Api, trace_id: &str, console: &Console) -> Vec<Value> {
    match timeout(SCORES_TIMEOUT, api.scores(trace_id)).await {
        Ok(Ok(scores)) => scores,
        Ok(Err(error)) => {
            let why = console.clean(&error.message);
            console.detail(1, || format!("the scores cannot be read: {why}"));
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

/// What is shown of a trace beside its rows.
struct Shown<'a> {
    trace_id: &'a str,
    scores: &'a [Value],
    texts: Texts,
}

impl Shown<'_> {
    /// Prints the trace, or the reason why it cannot be read.
    fn tell(
        self,
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
                "trace": {"id": self.trace_id},
                "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
                "scores": self.scores,
                "error": error.map(|failure| ErrorReport::new(failure, console)),
            }));
        } else if let Ok(rows) = &read {
            let canvas = Canvas {
                width: console::columns(),
                colour: console::wants_colour(&io::stdout()),
                texts: self.texts,
            };
            printer.text(&tree::draw(self.trace_id, rows, canvas));
            let width = (self.texts != Texts::Full).then(console::columns);
            printer.text(&score_lines(self.scores, width));
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
}

fn interrupted(signal: Signal) -> Failure {
    let message = "interrupted while the trace was read";
    Failure::new(Kind::Interrupted(signal), message).hint("run it again")
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
        let ids = sort::set(rows.iter().map(|row| row.id().to_owned()));
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
        Poll::TimeUp { error: None, .. } => Err(not_found(trace_id)),
    }
}
