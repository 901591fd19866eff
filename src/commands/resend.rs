//! `langspan resend`: delivers what waits in the outbox, to the destination of the present settings.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::time::Instant;

use super::interrupt::Interrupt;
use super::{means, remedy};
use crate::cli::{self, Form};
use crate::console::Console;
use crate::delivery::outbox::Entry;
use crate::delivery::{Outbox, Outcome, Payload, Settled, Wire};
use crate::failure::{Failure, Kind, Verdict};
use crate::http::Proxies;
use crate::output::{ErrorReport, Printer};
use crate::settings::{self, Destination, Notes, Sources, destination};

/// # Errors
/// When a setting is missing or malformed, or the outbox cannot be read.
pub async fn run(options: &cli::Resend, console: &Console) -> Result<Verdict, Failure> {
    let sources = Sources::read(options.destination.env_file.as_deref())?;
    let form = settings::form(&options.output, &sources)?;
    if matches!(form, Form::Raw | Form::Url) {
        return Err(
            Failure::usage("resend prints text or json").hint("leave -o out, or say -o json")
        );
    }
    let mut entries = entries(&sources)?;
    if let Some(age) = options.older_than {
        let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        entries.retain(|entry| Timestamp::now().duration_since(entry.time()) > age);
    }
    let mut resend = Resend {
        console,
        printer: Printer::new(form),
        lines: Vec::new(),
        failures: Vec::new(),
        verdict: Verdict::default(),
    };
    if options.list {
        resend.list(&entries);
    } else if options.discard {
        resend.discard(entries, options.yes)?;
    } else if !entries.is_empty() {
        let courier = Courier::open(options, &sources, console)?;
        resend.deliver(entries, &courier).await?;
    }
    Ok(resend.finish())
}

/// The entries that nobody works on. No folder is an empty outbox.
fn entries(sources: &Sources) -> Result<Vec<Entry>, Failure> {
    let place = settings::outbox_place(sources)?;
    let dir = place.dir.map_err(|error| {
        Failure::config(format!("there is no outbox: {error}"))
            .hint("set LANGSPAN_OUTBOX to its folder")
    })?;
    if !dir.exists() {
        return Ok(Vec::new());
    }
    Outbox::open(&dir, place.max_bytes)
        .and_then(|outbox| outbox.entries())
        .map_err(|error| {
            Failure::file(format!(
                "the outbox {} cannot be read: {error}",
                dir.display()
            ))
            .hint("check its permissions")
        })
}

/// The means to deliver.
struct Courier {
    wire: Wire,
    destination: Destination,
    budget: Duration,
}

impl Courier {
    fn open(options: &cli::Resend, sources: &Sources, console: &Console) -> Result<Self, Failure> {
        if let Some(switch) = settings::off_switch(sources) {
            return Err(Failure::config(format!("tracing is off: {switch}"))
                .hint("unset it to deliver what waits"));
        }
        let mut notes = Notes::default();
        let destination = destination::resolve(&options.destination, sources, None, &mut notes)?;
        console.hide(notes.secrets);
        for warning in &notes.warnings {
            console.warn(warning);
        }
        let tls = destination::tls_files(&options.destination, sources);
        let http = means::client(&tls, Proxies::FromEnvironment)?;
        let api = means::api(&destination, &http, console);
        Ok(Self {
            wire: Wire {
                http,
                target: destination.target.clone(),
                api,
                console: console.clone(),
            },
            destination,
            budget: Duration::from_secs_f64(options.export_timeout),
        })
    }

    fn public_key(&self) -> Option<&str> {
        self.destination
            .langfuse
            .as_ref()
            .map(|langfuse| langfuse.keys.public.as_str())
    }

    /// Delivers one entry: every request of it, in order.
    async fn deliver(&self, entry: &mut Entry) -> anyhow::Result<Settled> {
        let deadline = Instant::now() + self.budget;
        let payloads = entry.payloads()?;
        let count = |payloads: &[Payload]| payloads.iter().map(Payload::span_count).sum::<usize>();
        let whole = count(&payloads);
        let ambiguous_since = entry.ambiguous_since();
        // Noted before anything leaves: a process that is killed cannot say any more what it had sent.
        entry.note("a delivery was under way", Some(Timestamp::now()))?;
        let mut settled: Option<Settled> = None;
        for payload in payloads {
            let next = self.deliver_once(payload, ambiguous_since, deadline).await;
            settled = Some(match settled {
                Some(settled) => settled.add(next),
                None => next,
            });
        }
        let settled = settled.ok_or_else(|| anyhow::anyhow!("the entry is empty"))?;
        if (1..whole).contains(&count(&settled.remaining)) {
            entry.keep_only(&settled.remaining)?;
        }
        Ok(settled)
    }

    /// Delivers a request, unless the server has it since an earlier delivery that may have arrived at `since`.
    async fn deliver_once(
        &self,
        payload: Payload,
        since: Option<Timestamp>,
        deadline: Instant,
    ) -> Settled {
        let arrived = match (since, &self.wire.api) {
            (Some(since), Some(_)) => self.wire.arrived(&payload, deadline, since).await,
            _ => Some(false),
        };
        match arrived {
            Some(true) => Settled::of(Outcome::Confirmed, payload),
            Some(false) => self.wire.deliver(&payload, deadline).await,
            None => {
                let why = "it may have arrived before, and the server did not say whether it has";
                Settled {
                    is_ambiguous: true,
                    ..Settled::of(Outcome::Unsent(why.to_owned()), payload)
                }
            }
        }
    }
}

/// What is said of an entry.
#[derive(Debug, Serialize)]
struct Line {
    id: String,
    state: State,
    spans: Option<usize>,
    trace_ids: Vec<String>,
    endpoint: Option<String>,
    public_key: Option<String>,
    cause: Option<String>,
    time: String,
    path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Waiting,
    Accepted,
    /// It is of another project.
    Left,
    Failed,
    Discarded,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Accepted => "accepted",
            Self::Left => "left",
            Self::Failed => "failed",
            Self::Discarded => "discarded",
        }
    }
}

impl Line {
    fn new(entry: &Entry, state: State) -> Self {
        let meta = entry.meta.clone().unwrap_or_default();
        let is_known = entry.meta.is_some();
        Self {
            id: entry.id.clone(),
            state,
            spans: is_known.then_some(meta.spans),
            trace_ids: meta.trace_ids,
            endpoint: Some(meta.endpoint).filter(|endpoint| !endpoint.is_empty()),
            public_key: meta.public_key,
            cause: meta.cause.or_else(|| {
                entry
                    .unfinished
                    .then(|| "its process was killed".to_owned())
            }),
            time: entry.time().to_string(),
            path: entry.path().display().to_string(),
        }
    }

    fn to_text(&self) -> String {
        let spans = self
            .spans
            .map_or_else(|| "?".to_owned(), |spans| spans.to_string());
        let cause = self
            .cause
            .as_deref()
            .filter(|_| self.state != State::Accepted);
        let cause = cause.map_or_else(String::new, |cause| format!("  {cause}"));
        format!(
            "{}  {}  {spans} spans  {}{cause}\n",
            self.state.name(),
            self.id,
            self.trace_ids.join(",")
        )
    }
}

/// The document of `resend -o json`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    schema_version: u32,
    ok: bool,
    command: &'static str,
    entries: &'a [Line],
    error: Option<ErrorReport>,
}

/// One call of `resend`.
struct Resend<'a> {
    console: &'a Console,
    printer: Printer,
    lines: Vec<Line>,
    failures: Vec<Failure>,
    verdict: Verdict,
}

impl Resend<'_> {
    fn list(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.say(Line::new(entry, State::Waiting));
        }
    }

    fn discard(&mut self, entries: Vec<Entry>, yes: bool) -> Result<(), Failure> {
        if entries.is_empty() {
            return Ok(());
        }
        if !yes && !is_sure(entries.len())? {
            return Ok(());
        }
        for entry in entries {
            let line = Line::new(&entry, State::Discarded);
            entry.remove().map_err(|error| {
                Failure::file(format!("{} cannot be removed: {error}", line.path))
                    .hint("check its permissions")
            })?;
            self.say(line);
        }
        Ok(())
    }

    async fn deliver(&mut self, entries: Vec<Entry>, courier: &Courier) -> Result<(), Failure> {
        let mut interrupt = Interrupt::listen().map_err(anyhow::Error::from)?;
        for mut entry in entries {
            let other = entry
                .meta
                .as_ref()
                .and_then(|meta| meta.public_key.as_deref());
            if let (Some(other), Some(own)) = (other, courier.public_key())
                && other != own
            {
                self.console.note(&format!(
                    "{} is of the project of {other} and stays; set its keys to deliver it",
                    entry.id
                ));
                self.say(Line::new(&entry, State::Left));
                continue;
            }
            tokio::select! {
                attempt = courier.deliver(&mut entry) => self.settle(entry, attempt, courier)?,
                signal = interrupt.wait() => {
                    // The entry is noted as under way: the next call asks before it sends.
                    self.fail(Failure::new(Kind::Interrupted(signal), "resend was interrupted").hint("run it again"));
                    break;
                }
            }
        }
        Ok(())
    }

    fn settle(
        &mut self,
        mut entry: Entry,
        attempt: anyhow::Result<Settled>,
        courier: &Courier,
    ) -> Result<(), Failure> {
        let place = entry.path().display().to_string();
        let failure = match attempt {
            Ok(Settled { outcome, .. }) if outcome.is_accepted() => {
                let line = Line::new(&entry, State::Accepted);
                entry.remove().map_err(|error| {
                    Failure::file(format!(
                        "{place} was delivered but cannot be removed: {error}"
                    ))
                    .hint("remove it by hand, else it is delivered again")
                })?;
                self.say(line);
                return Ok(());
            }
            Ok(Settled {
                outcome,
                is_ambiguous,
                ..
            }) => {
                let ambiguous_since = is_ambiguous.then(Timestamp::now);
                let cause = self.console.clean(&outcome.describe());
                entry
                    .note(&cause, ambiguous_since)
                    .map_err(|error| unwritable(&place, &error))?;
                let url = &courier.wire.target.url;
                let remedy = remedy::of_delivery(&outcome, &courier.destination);
                let semicolon = if remedy.is_empty() { "" } else { "; " };
                Failure::new(
                    Kind::Delivery,
                    format!("{} was not accepted by {url}: {cause}", entry.id),
                )
                .hint(format!(
                    "{remedy}{semicolon}it waits in {}",
                    entry.path().display()
                ))
                .status(outcome.status())
                .retryable(outcome.is_retryable())
            }
            Err(error) => {
                Failure::new(Kind::Delivery, format!("{place} cannot be read: {error:#}"))
                    .hint("look at the file; --discard deletes what waits")
            }
        };
        self.fail(failure);
        self.say(Line::new(&entry, State::Failed));
        Ok(())
    }

    fn fail(&mut self, failure: Failure) {
        self.console.error(&failure);
        self.verdict.add(failure.kind);
        self.failures.push(failure);
    }

    fn say(&mut self, line: Line) {
        if self.printer.form() == Form::Text {
            self.printer.text(&line.to_text());
        }
        self.lines.push(line);
    }

    fn finish(mut self) -> Verdict {
        if self.lines.is_empty() {
            self.console.note("the outbox is empty");
        }
        if self.printer.form() == Form::Json {
            let deciding = self
                .failures
                .iter()
                .find(|failure| Some(failure.kind) == self.verdict.kind());
            self.printer.document(&Document {
                schema_version: 1,
                ok: deciding.is_none(),
                command: "resend",
                entries: &self.lines,
                error: deciding.map(|failure| ErrorReport::new(failure, self.console)),
            });
        }
        if let Some(failure) = self.printer.take_failure() {
            self.console.error(&failure);
            self.verdict.add(failure.kind);
        }
        self.verdict
    }
}

/// Asks whether the spans may be deleted for good.
fn is_sure(count: usize) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "--discard would delete {count} entries, and nobody can be asked"
        ))
        .hint("say --yes as well"));
    }
    // The question waits on the line of the answer, so it is no line of the console.
    let _ = write!(io::stderr(), "Delete {count} entries for good? [y/N] ");
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::file(format!("stdin cannot be read: {error}")))?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}

fn unwritable(place: &str, error: &io::Error) -> Failure {
    Failure::file(format!("{place} cannot be written: {error}")).hint("check its permissions")
}
