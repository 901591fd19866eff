//! `langspan resend`: delivers what waits in the outbox, to the destination of the present settings.

use std::io::{self, IsTerminal};
use std::path::Path;
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
use crate::output::{ErrorReport, Printer, SCHEMA_VERSION};
use crate::settings::{self, Destination, Notes, Sources, destination};

/// # Errors
/// When a setting is missing or malformed, or the outbox cannot be read.
pub async fn run(options: &cli::Resend, console: &Console) -> Result<Verdict, Failure> {
    let sources = Sources::read(options.destination.env_file.as_deref())?;
    let form = settings::text_or_json("resend", &options.output, &sources)?;
    let mut resend = Resend {
        console,
        printer: Printer::new(form),
        outbox: outbox(&sources)?,
        older_than: options
            .older_than
            .map(|age| SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX)),
        lines: Vec::new(),
        failures: Vec::new(),
        verdict: Verdict::default(),
    };
    let ids = resend.ids()?;
    if options.list {
        resend.list(&ids)?;
    } else if options.discard {
        resend.discard(&ids, options.yes)?;
    } else if !ids.is_empty() {
        let sender = Sender::open(options, &sources, console)?;
        resend.deliver(&ids, &sender).await?;
    }
    Ok(resend.finish())
}

/// The outbox; none where its folder is not there.
fn outbox(sources: &Sources) -> Result<Option<Outbox>, Failure> {
    let place = settings::outbox_place(sources)?;
    let dir = place.dir.map_err(|error| {
        Failure::config(format!("there is no outbox: {error}"))
            .hint("set LANGSPAN_OUTBOX to its folder")
    })?;
    if !dir.exists() {
        return Ok(None);
    }
    if !dir.is_dir() {
        return Err(
            Failure::file(format!("the outbox {} is no folder", dir.display()))
                .hint("set LANGSPAN_OUTBOX to a folder"),
        );
    }
    Outbox::open(&dir, place.max_bytes)
        .map(Some)
        .map_err(|error| unreadable(&dir, &error))
}

/// The means to deliver.
struct Sender {
    wire: Wire,
    destination: Destination,
    budget: Duration,
}

impl Sender {
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
        let http = means::client(
            &tls,
            Proxies::FromEnvironment,
            Duration::from_secs_f64(options.export_timeout),
        )?;
        let api = means::api(&destination, &http, console);
        Ok(Self {
            wire: Wire {
                http,
                target: destination.target.clone(),
                api,
                is_collector: destination.is_collector,
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
        let since = entry.ambiguous_since();
        let mut settled: Option<Settled> = None;
        for payload in payloads {
            let next = self.deliver_once(entry, payload, since, deadline).await?;
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

    /// Delivers a request, without what the server has since an earlier delivery that may have arrived at `since`.
    async fn deliver_once(
        &self,
        entry: &mut Entry,
        payload: Payload,
        since: Option<Timestamp>,
        deadline: Instant,
    ) -> io::Result<Settled> {
        let missing = match (since, &self.wire.api) {
            (Some(since), Some(_)) => self.wire.missing(&payload, deadline, since).await,
            _ => Some(Some(payload.clone())),
        };
        Ok(match missing {
            Some(Some(missing)) => {
                // Noted before anything leaves: a process that is killed cannot say any more what it had sent.
                entry.note("a delivery was under way", Some(Timestamp::now()))?;
                self.wire.deliver(&missing, deadline).await
            }
            Some(None) => Settled::of(Outcome::Confirmed, payload),
            None => {
                let why = "it may have arrived before, and the server did not say whether it has";
                Settled {
                    is_ambiguous: true,
                    ..Settled::of(Outcome::Unsent(why.to_owned()), payload)
                }
            }
        })
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
    outbox: Option<Outbox>,
    /// Only what has waited longer.
    older_than: Option<SignedDuration>,
    lines: Vec<Line>,
    failures: Vec<Failure>,
    verdict: Verdict,
}

impl Resend<'_> {
    fn ids(&self) -> Result<Vec<String>, Failure> {
        let Some(outbox) = &self.outbox else {
            return Ok(Vec::new());
        };
        outbox
            .ids()
            .map_err(|error| unreadable(outbox.dir(), &error))
    }

    /// An entry that nobody else works on and that has waited long enough. One at a time: each holds a file open.
    fn entry(&self, id: &str) -> Result<Option<Entry>, Failure> {
        let Some(outbox) = &self.outbox else {
            return Ok(None);
        };
        let entry = outbox
            .entry(id)
            .map_err(|error| unreadable(&outbox.dir().join(id), &error))?;
        let is_old = |entry: &Entry| {
            self.older_than
                .is_none_or(|age| Timestamp::now().duration_since(entry.time()) > age)
        };
        Ok(entry.filter(is_old))
    }

    fn list(&mut self, ids: &[String]) -> Result<(), Failure> {
        for id in ids {
            if let Some(entry) = self.entry(id)? {
                self.say(Line::new(&entry, State::Waiting));
            }
        }
        Ok(())
    }

    fn discard(&mut self, ids: &[String], yes: bool) -> Result<(), Failure> {
        let mut waiting = Vec::new();
        for id in ids {
            if self.entry(id)?.is_some() {
                waiting.push(id);
            }
        }
        if waiting.is_empty() || (!yes && !is_sure(waiting.len(), self.console)?) {
            return Ok(());
        }
        for id in waiting {
            let Some(entry) = self.entry(id)? else {
                continue;
            };
            let line = Line::new(&entry, State::Discarded);
            entry.remove().map_err(|error| {
                Failure::file(format!("{} cannot be removed: {error}", line.path))
                    .hint("check its permissions")
            })?;
            self.say(line);
        }
        Ok(())
    }

    async fn deliver(&mut self, ids: &[String], sender: &Sender) -> Result<(), Failure> {
        let mut interrupt = Interrupt::listen().map_err(anyhow::Error::from)?;
        for id in ids {
            let Some(mut entry) = self.entry(id)? else {
                continue;
            };
            let other = entry
                .meta
                .as_ref()
                .and_then(|meta| meta.public_key.as_deref());
            if let (Some(other), Some(own)) = (other, sender.public_key())
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
                attempt = sender.deliver(&mut entry) => self.settle(entry, attempt, sender)?,
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
        sender: &Sender,
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
                // When nothing was sent, absence counts from the earlier failure on.
                let earlier = entry
                    .ambiguous_since()
                    .filter(|_| matches!(outcome, Outcome::Unsent(_)));
                let ambiguous_since = is_ambiguous.then(|| earlier.unwrap_or_else(Timestamp::now));
                let cause = self.console.clean(&outcome.describe());
                entry
                    .note(&cause, ambiguous_since)
                    .map_err(|error| unwritable(&place, &error))?;
                let url = &sender.wire.target.url;
                let remedy = remedy::of_delivery(&outcome, &sender.destination);
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
                schema_version: SCHEMA_VERSION,
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
fn is_sure(count: usize, console: &Console) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "--discard would delete {count} entries, and nobody can be asked"
        ))
        .hint("say --yes as well"));
    }
    console.ask(&format!("Delete {count} entries for good? [y/N] "));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| {
        Failure::file(format!("stdin cannot be read: {error}")).hint("say --yes")
    })?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::file(format!("{} cannot be read: {error}", path.display()))
        .hint("check its permissions")
}

fn unwritable(place: &str, error: &io::Error) -> Failure {
    Failure::file(format!("{place} cannot be written: {error}")).hint("check its permissions")
}
