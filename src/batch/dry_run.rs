//! `batch --dry-run`: counts the lines and shows what the first valid one would do. Nothing is sent.

use jiff::Timestamp;
use serde::Serialize;

use crate::app::model_call;
use crate::app::setup::Setup;
use crate::app::span_maker::SpanMaker;
use crate::batch::input::line::ParsedLine;
use crate::batch::input::validate::for_each_line;
use crate::batch::input::{Input, RawLine};
use crate::batch::output::line;
use crate::batch::plan::Plan;
use crate::console::{OutputFormat, counted};
use crate::failure::{Failure, Verdict};
use crate::http::url::shown;
use crate::output::Printer;
use crate::output::columns::plain;
use crate::output::dry_run::DryRun;
use crate::settings::Settings;
use crate::trace::TraceContext;

/// The document of a dry run.
#[derive(Debug, Serialize)]
struct BatchDryRun<'a> {
    #[serde(flatten)]
    first: DryRun<'a>,
    lines: LineTotals,
}

#[derive(Debug, Default, Serialize)]
struct LineTotals {
    requests: u64,
    invalid: u64,
    first_invalid: Option<InvalidLine>,
}

#[derive(Debug, Serialize)]
struct InvalidLine {
    line: u64,
    message: String,
}

/// Shows the number of lines, and the request and spans of the first valid one.
///
/// # Errors
/// When the input cannot be read.
pub fn show(input: &Input, plan: &Plan, setup: &Setup) -> Result<Verdict, Failure> {
    let settings = &setup.settings;
    let mut totals = LineTotals::default();
    let mut first = None;
    for_each_line(input, plan, settings, |raw, line| match line {
        Ok(line) => {
            totals.requests += 1;
            first.get_or_insert_with(|| (raw.clone(), line));
        }
        Err(why) => totals.add_invalid(raw.number, why),
    })?;
    let Some(first) = first else {
        let text = totals.to_text();
        let nothing = BatchDryRun {
            first: DryRun::nothing("batch", (&settings.notes.shown, &settings.privacy)),
            lines: totals,
        };
        print(settings, &nothing, &text);
        return Ok(Verdict::default());
    };
    show_first(first, totals, plan, setup);
    Ok(Verdict::default())
}

fn show_first((raw, line): (RawLine, ParsedLine), totals: LineTotals, plan: &Plan, setup: &Setup) {
    let settings = &setup.settings;
    let (number, digest) = (raw.number, line::digest(&raw));
    let trace_id = plan.trace_id(number, line.custom_id.as_deref(), &digest, 0);
    let exchange = model_call::begin(&settings.model, line.request, Timestamp::now());
    let maker = SpanMaker::new(settings);
    let planned = setup.clients.uploads.planned(&exchange);
    let filtered = maker.filter(&planned, &line.trace);
    let spans = maker.spans(&filtered, &TraceContext::root(trace_id));
    let url = settings
        .model
        .endpoint_of(exchange.request.dialect())
        .url(exchange.request.dialect(), &exchange.requested_model());
    let destination = settings.tracing.destination();
    let dry_run = BatchDryRun {
        first: DryRun::new(
            "batch",
            Some((shown(&url), &exchange.request)),
            (&spans, filtered.redactions),
            destination.map(|destination| shown(&destination.target.url)),
            (&settings.notes.shown, &settings.privacy),
        ),
        lines: totals,
    };
    let (totals, first) = (dry_run.lines.to_text(), dry_run.first.to_text());
    print(
        settings,
        &dry_run,
        &format!("{totals}line {number}:\n{first}"),
    );
}

/// Prints the document with `-o json`, else the text.
fn print(settings: &Settings, dry_run: &BatchDryRun, text: &str) {
    let mut printer = Printer::new(settings.form);
    match printer.form() {
        OutputFormat::Json => printer.document(dry_run),
        _ => printer.text(text),
    }
}

impl LineTotals {
    fn add_invalid(&mut self, line: u64, message: String) {
        self.invalid += 1;
        self.first_invalid
            .get_or_insert(InvalidLine { line, message });
    }

    fn to_text(&self) -> String {
        let totals = format!(
            "{}, {}\n",
            counted(self.requests, "request"),
            counted(self.invalid, "invalid line")
        );
        let Some(InvalidLine { line, message }) = &self.first_invalid else {
            return totals;
        };
        // The message may quote the line.
        let message = plain(message);
        format!("{totals}invalid line {line}: {message}\n")
    }
}
