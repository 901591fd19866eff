//! Where the trace of a run is: its page, and how stderr names it.

use std::time::Duration;

use crate::app::project_lookup::ProjectLookup;
use crate::console::{Console, OutputFormat};
use crate::output::{DeliveryState, TraceReport};
use crate::settings::Tracing;

/// The look-up of the project may take this much longer than the export.
pub const LOOKUP_GRACE: Duration = Duration::from_secs(1);

/// The page of a trace. If the project is not known, a delivered trace gets the page that looks it up.
pub async fn page(
    trace: &TraceReport,
    tracing: &Tracing,
    lookup: &mut ProjectLookup,
    console: &Console,
) -> Option<String> {
    let ui = &tracing.destination()?.langfuse.as_ref()?.ui;
    match lookup.project(LOOKUP_GRACE).await {
        Ok(project) => Some(ui.trace_page(Some(&project.id), &trace.id)),
        Err(error) if trace.delivery.is_delivered() => {
            console.warn(&format!(
                "the project is not known, the link may ask you to log in: {}",
                error.message
            ));
            Some(ui.trace_page(None, &trace.id))
        }
        Err(_) => None,
    }
}

/// Prints where a delivered trace is. With `-o url`, stdout carries the link.
pub fn print(
    trace: &TraceReport,
    form: OutputFormat,
    tracing: &Tracing,
    is_sandbox: bool,
    console: &Console,
) {
    if trace.delivery == DeliveryState::Present {
        console.note(
            "Langfuse has this trace already; nothing was sent (--again sends it all the same)",
        );
    }
    match (&trace.url, form) {
        (Some(_), OutputFormat::Url) => {}
        (Some(url), _) => console.note(&format!("trace: {url}")),
        (None, OutputFormat::Url) => {
            console.warn("there is no URL: a plain OTLP backend has no page for the trace");
        }
        (None, _) => console.note(&format!("trace: {}", trace.id)),
    }
    if is_sandbox {
        console.note("open it: langspan sandbox");
    }
    let destination = tracing.destination();
    if destination.is_some_and(|destination| destination.is_collector) {
        console.note(
            "accepted by the collector; Langfuse has the trace once the collector has passed it on",
        );
    }
}
