//! `langspan show`: reads a trace back and draws it, with its scores.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::app::langfuse_server::LangfuseServer;
use crate::app::trace_reader::{DEFAULT_WAIT, has_orphans, patiently};
use crate::app::trace_reference::trace_id;
use crate::cli;
use crate::console::OutputFormat;
use crate::console::{self, Console};
use crate::failure::{Failure, Verdict};
use crate::langfuse::trace_rows::TraceQuery;
use crate::langfuse::{Api, Row};
use crate::output::scores::score_lines;
use crate::output::tree::{self, Canvas, Texts};
use crate::output::{ErrorReport, Printer, SCHEMA_VERSION};
use crate::settings::{self, Sources};

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
    let lacking = "a plain OTLP backend cannot be asked for a trace";
    let server = LangfuseServer::open(&options.destination, sources, console, lacking)?;
    let trace_id = trace_id(&options.trace, &server.destination)?;
    let query = TraceQuery {
        trace_id: trace_id.clone(),
        window: None,
        with_metadata: false,
    };
    let reader = server.reader();
    let read = patiently(reader.whole(&query, wait), wait, console).await;
    let texts = if options.full {
        Texts::Full
    } else {
        Texts::Cut
    };
    let scores = match &read {
        Ok(_) => scores(&server.api, &trace_id, console).await,
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
