//! Reading all lines before any is sent: `--strict`, and what `--dry-run` shows.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::app::model_call;
use crate::app::uploads::Uploads;
use crate::batch::input::Input;
use crate::batch::input::line::{Line, LineDefaults};
use crate::batch::plan::Plan;
use crate::console::OutputFormat;
use crate::console::{Console, counted};
use crate::failure::{Failure, Verdict};
use crate::output::Printer;
use crate::output::dry_run::DryRun;
use crate::settings::{Settings, Tracing};
use crate::trace::{TraceContext, ids, spans};

/// How many wrong lines are named.
const NAMED: usize = 5;

/// Refuses an input with lines that are no requests, or that share a `custom_id`.
///
/// # Errors
/// When there are any, or the input cannot be read.
pub fn check(
    input: &Input,
    plan: &Plan,
    settings: &Settings,
    console: &Console,
) -> Result<(), Failure> {
    let mut wrong: u64 = 0;
    // Half of a digest tells a million ids apart.
    let mut ids: HashSet<u64> = HashSet::new();
    each(input, plan, settings, |number, line| {
        let why = match line {
            Ok(line) => {
                let id = line.custom_id.as_ref();
                let is_new =
                    id.is_none_or(|id| ids.insert(u64::from_be_bytes(ids::first_bytes(id))));
                match id {
                    Some(id) if !is_new => {
                        format!("custom_id `{id}` stands in an earlier line too")
                    }
                    _ => return,
                }
            }
            Err(why) => why,
        };
        wrong += 1;
        if wrong <= NAMED as u64 {
            console.note(&format!("{}, line {number}: {why}", input.name));
        }
    })?;
    if wrong == 0 {
        return Ok(());
    }
    Err(Failure::input(format!(
        "{} has {} that cannot be used",
        input.name,
        counted(wrong, "line")
    ))
    .hint("mend them; without --strict each gives an error line"))
}

/// What would be done.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    first: DryRun<'a>,
    lines: Counts,
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    requests: u64,
    invalid: u64,
    first_invalid: Option<Invalid>,
}

/// A line that is no request.
#[derive(Debug, Serialize)]
struct Invalid {
    line: u64,
    message: String,
}

impl Counts {
    fn add_invalid(&mut self, line: u64, message: String) {
        self.invalid += 1;
        self.first_invalid.get_or_insert(Invalid { line, message });
    }

    fn to_text(&self) -> String {
        let counts = format!(
            "{}, {}\n",
            counted(self.requests, "request"),
            counted(self.invalid, "invalid line")
        );
        let Some(Invalid { line, message }) = &self.first_invalid else {
            return counts;
        };
        // The words may be those of the line, which may hold anything.
        let message = message.replace(char::is_control, " ");
        format!("{counts}invalid line {line}: {message}\n")
    }
}

/// Shows how many lines there are, and what the first of them would do.
///
/// # Errors
/// When the input cannot be read.
pub fn show(
    input: &Input,
    plan: &Plan,
    settings: &Settings,
    uploads: &Uploads,
) -> Result<Verdict, Failure> {
    let mut counts = Counts::default();
    let mut first = None;
    each(input, plan, settings, |number, line| match line {
        Ok(line) => {
            counts.requests += 1;
            first.get_or_insert((number, line));
        }
        Err(why) => counts.add_invalid(number, why),
    })?;
    let mut printer = Printer::new(settings.form);
    let Some((number, line)) = first else {
        let said = counts.to_text();
        print(
            &mut printer,
            &Shown {
                first: DryRun::nothing("batch", &settings.notes.shown),
                lines: counts,
            },
            &said,
        );
        return Ok(Verdict::default());
    };
    let trace_id = plan.trace_id(number, line.custom_id.as_deref(), 0);
    let exchange = model_call::begin(&settings.model, line.request, Timestamp::now());
    let (endpoint, dialect) = match &settings.tracing {
        Tracing::On(destination) => (
            Some(destination.target.url.to_string()),
            destination.dialect,
        ),
        _ => (None, spans::Dialect::Langfuse),
    };
    let context = TraceContext::root(trace_id);
    let planned = uploads.planned(&exchange);
    let filtered = settings.privacy.filter(&planned, &line.trace);
    let spans = spans::spans(&filtered.exchange, &filtered.trace, &context, dialect);
    let url = settings
        .model
        .endpoint
        .url(&exchange.asked_model())
        .to_string();
    let shown = Shown {
        first: DryRun::new(
            "batch",
            Some((url, &exchange.request)),
            (&spans, filtered.redactions),
            endpoint,
            &settings.notes.shown,
        ),
        lines: counts,
    };
    let (counts, first) = (shown.lines.to_text(), shown.first.to_text());
    print(
        &mut printer,
        &shown,
        &format!("{counts}line {number}:\n{first}"),
    );
    Ok(Verdict::default())
}

/// Prints what is shown, as a document or as this text.
fn print(printer: &mut Printer, shown: &Shown, text: &str) {
    match printer.form() {
        OutputFormat::Json => printer.document(shown),
        _ => printer.text(text),
    }
}

/// Reads every line of the run's share.
fn each(
    input: &Input,
    plan: &Plan,
    settings: &Settings,
    mut take: impl FnMut(u64, Result<Line, String>),
) -> Result<(), Failure> {
    let cannot = |error| {
        Failure::file(format!("{} cannot be read: {error}", input.name)).hint("check the file")
    };
    let defaults = LineDefaults {
        model: &settings.model,
        trace: &plan.trace,
    };
    let mut taken = 0;
    for line in input.lines().map_err(cannot)? {
        let line = line.map_err(cannot)?;
        if !plan.holds(line.number) {
            continue;
        }
        taken += 1;
        if plan.limit.is_some_and(|limit| taken > limit) {
            break;
        }
        take(line.number, Line::parse(&line, &defaults));
    }
    Ok(())
}
