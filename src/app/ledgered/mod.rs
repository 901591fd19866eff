//! Delivers the spans of a file that stays, line by line: its ledger knows what was sent, so there is no outbox.
//!
//! Lines are sent in groups to a Langfuse, which can be asked afterwards what it has. To a collector or another backend
//! each line is a request of its own, as it was for the program that wrote it: an answer that says only how many spans
//! were rejected leaves the fewest others in doubt.

mod arrival;

use std::collections::HashSet;
use std::io;
use std::mem;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::app::delivery_report::{self, Subject};
use crate::app::hints;
use crate::app::redeliver::Redelivery;
use crate::console::counted;
use crate::delivery::ambiguity::Ambiguity;
use crate::delivery::ledger::{self, Ledger, LedgerDestination, Noted};
use crate::delivery::payload::Payload;
use crate::delivery::result::DeliveryResult;
use crate::delivery::sent_key::SentKey;
use crate::delivery::{MAX_REQUEST_BYTES, MAX_REQUEST_SPANS, Outcome};
use crate::failure::Failure;
use crate::http::url::shown;
use crate::langfuse::Wanted;
use crate::settings::Destination;

/// How many line numbers a message names.
const NAMED_LINES: usize = 5;
/// How often a long delivery says how far it is.
const PROGRESS: Duration = Duration::from_secs(30);
/// The same on a terminal.
const PROGRESS_ON_TERMINAL: Duration = Duration::from_secs(5);

/// The spans of one line.
#[derive(Debug)]
pub struct Shipment {
    pub key: SentKey,
    /// The number of the line.
    pub line: u64,
    pub payload: Payload,
    /// When an attempt that the ledger does not know of may have sent them.
    pub earlier: Option<Ambiguity>,
    /// Whether it is the trace of a failed call.
    pub is_failed_call: bool,
}

/// How many lines and spans became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgeredCounts {
    /// Lines of which every span was accepted now.
    pub accepted: u64,
    /// Spans that were accepted now.
    pub spans: u64,
    /// Those of them that are traces of failed calls.
    pub failed_calls: u64,
    /// Lines that were sent before, by the ledger.
    pub sent_before: u64,
    /// Lines that Langfuse was found to have.
    pub present: u64,
    /// Lines that were not accepted.
    pub kept: u64,
    /// Those of them that may have arrived all the same.
    pub unproven: u64,
}

/// The delivery of one file.
#[derive(Debug)]
pub struct LedgeredDelivery<'a> {
    to: Redelivery<'a>,
    /// For messages.
    name: String,
    ledger: Ledger,
    group: Vec<Shipment>,
    grouped: HashSet<SentKey>,
    spans: usize,
    bytes: usize,
    pub counts: LedgeredCounts,
    pub failures: Vec<Failure>,
    /// Whether Langfuse is asked for every line before it is sent.
    asks_first: bool,
    /// What `--best-effort` forgives is a warning.
    best_effort: bool,
    /// The accepted traces, if they are to be read back.
    accepted: Option<Vec<Wanted>>,
    /// Whether the server would answer every further request as it answered the last one.
    is_stopped: bool,
    /// When progress was said last.
    said: Instant,
}

/// What the notes of a ledger at this destination are about.
pub fn destination(destination: &Destination) -> LedgerDestination {
    let langfuse = destination.langfuse.as_ref();
    LedgerDestination {
        endpoint: shown(&destination.target.url),
        public_key: langfuse.map(|langfuse| langfuse.keys.public.clone()),
    }
}

/// Why a ledger cannot be used.
pub fn unusable(file: &Path, error: &io::Error) -> Failure {
    let path = ledger::path_beside(file);
    let name = path.display();
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            let file = file.display();
            Failure::file(format!("another process is sending {file}"))
                .hint("run the command again when that has ended")
        }
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Failure::file(format!("{name} is not a list of what was sent: {error}"))
                .hint("move it away if it is another file")
        }
        _ => Failure::unwritable(name, error),
    }
}

impl<'a> LedgeredDelivery<'a> {
    /// Opens the ledger beside `file`, whose spans go `to` a destination.
    ///
    /// # Errors
    /// If the ledger cannot be used.
    pub fn open(file: &Path, to: Redelivery<'a>) -> Result<Self, Failure> {
        let path = ledger::path_beside(file);
        let ledger = Ledger::open(&path, &destination(to.destination))
            .map_err(|error| unusable(file, &error))?;
        let name = file.display().to_string();
        if let Some(other) = ledger.others.first() {
            let project = other.public_key.as_ref();
            let project = project.map_or_else(String::new, |key| format!(" ({key})"));
            to.console.note(&to.console.clean(&format!(
                "{name} was sent to {}{project} before; now it is sent to another destination",
                other.endpoint
            )));
        }
        Ok(Self {
            to,
            name,
            ledger,
            group: Vec::new(),
            grouped: HashSet::new(),
            spans: 0,
            bytes: 0,
            counts: LedgeredCounts::default(),
            failures: Vec::new(),
            asks_first: false,
            best_effort: false,
            accepted: None,
            is_stopped: false,
            said: Instant::now(),
        })
    }

    /// Asks Langfuse for every line before it is sent, if it can be asked.
    #[must_use]
    pub fn asking_first(mut self) -> Self {
        self.asks_first = self.to.client.is_direct();
        self
    }

    /// Makes a warning of what `--best-effort` forgives.
    #[must_use]
    pub fn forgiving(mut self, best_effort: bool) -> Self {
        self.best_effort = best_effort;
        self
    }

    /// Keeps what was accepted for [`take_accepted`](Self::take_accepted).
    #[must_use]
    pub fn keeping_accepted(mut self) -> Self {
        self.accepted = Some(Vec::new());
        self
    }

    /// The traces that were accepted since the last call.
    pub fn take_accepted(&mut self) -> Vec<Wanted> {
        self.accepted.as_mut().map(mem::take).unwrap_or_default()
    }

    /// Whether everything behind a key was sent before; if so, it is counted.
    pub fn is_sent(&mut self, key: SentKey) -> bool {
        let is_sent = self.ledger.noted(key) == Noted::Sent;
        self.counts.sent_before += u64::from(is_sent);
        // A line that occurs twice shares the fate of the first.
        is_sent || self.grouped.contains(&key)
    }

    /// Takes a line that was not sent before; delivers the lines taken before when they are enough for a request.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub async fn add(&mut self, mut shipment: Shipment) -> Result<(), Failure> {
        if self.is_stopped {
            self.counts.kept += 1;
            return Ok(());
        }
        match self.ledger.noted(shipment.key) {
            Noted::Sent | Noted::Nothing => {}
            Noted::Open(ambiguity) => shipment.earlier = Some(ambiguity),
            Noted::InPart(spans, ambiguity) => {
                shipment.earlier = ambiguity;
                let Some(rest) = shipment.payload.without(spans) else {
                    self.counts.sent_before += 1;
                    return self.note(|ledger| ledger.sent(&[shipment.key]));
                };
                shipment.payload = rest;
            }
        }
        let (spans, bytes) = (shipment.payload.span_count(), shipment.payload.size());
        let is_too_much =
            self.spans + spans > MAX_REQUEST_SPANS || self.bytes + bytes > MAX_REQUEST_BYTES;
        if is_too_much || !self.to.client.is_direct() {
            self.flush().await?;
        }
        self.spans += spans;
        self.bytes += bytes;
        self.grouped.insert(shipment.key);
        self.group.push(shipment);
        Ok(())
    }

    /// Delivers the lines that were taken. If it is dropped before it ends, the ledger says that they may have arrived.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub async fn flush(&mut self) -> Result<(), Failure> {
        let group = mem::take(&mut self.group);
        self.grouped.clear();
        (self.spans, self.bytes) = (0, 0);
        if self.is_stopped {
            self.counts.kept += group.len() as u64;
            return Ok(());
        }
        let missing = self.missing(group).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let keys: Vec<SentKey> = missing.iter().map(|shipment| shipment.key).collect();
        self.note(|ledger| ledger.begin(&keys))?;
        let payload = Payload::joined(missing.iter().map(|shipment| &shipment.payload));
        let deadline = Instant::now() + self.to.budget;
        let result = Box::pin(self.to.client.deliver(&payload, deadline)).await;
        self.settle(&missing, &result)?;
        self.say_progress(missing.last().map_or(0, |shipment| shipment.line));
        Ok(())
    }

    fn say_progress(&mut self, line: u64) {
        let console = self.to.console;
        let pause = if console.shows_progress() {
            PROGRESS_ON_TERMINAL
        } else {
            PROGRESS
        };
        if self.said.elapsed() >= pause {
            self.said = Instant::now();
            let (name, spans) = (&self.name, counted(self.counts.spans, "span"));
            console.note(&format!("{name}: {spans} accepted, now at line {line}"));
        }
    }

    /// Notes and counts what became of the shipments of one request.
    fn settle(&mut self, shipments: &[Shipment], result: &DeliveryResult) -> Result<(), Failure> {
        let remaining: HashSet<String> = result
            .remaining
            .iter()
            .flat_map(Payload::span_ids)
            .collect();
        let (mut sent, mut unsent, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        for shipment in shipments {
            let accepted = &shipment.payload.span_ids() - &remaining;
            let left = shipment.payload.without(&accepted);
            let left = left.map_or(0, |left| left.span_count());
            self.counts.spans += (shipment.payload.span_count() - left) as u64;
            if left == 0 {
                sent.push(shipment.key);
                self.counts.failed_calls += u64::from(shipment.is_failed_call);
                if let Some(accepted) = &mut self.accepted {
                    accepted.extend(shipment.payload.traces());
                }
                continue;
            }
            if !accepted.is_empty() {
                self.note(|ledger| ledger.sent_in_part(shipment.key, accepted))?;
            }
            unsent.push(shipment.key);
            lines.push(shipment.line);
        }
        self.counts.accepted += sent.len() as u64;
        self.note(|ledger| {
            ledger.sent(&sent)?;
            ledger.unsent(&unsent, result.ambiguity)
        })?;
        if !unsent.is_empty() {
            self.counts.kept += unsent.len() as u64;
            self.counts.unproven += result.ambiguity.map_or(0, |_| unsent.len() as u64);
            self.is_stopped = concerns_all(&result.outcome);
            self.refused(&lines, &result.outcome);
        }
        Ok(())
    }

    /// Reports lines that were not accepted. They stay in the file.
    fn refused(&mut self, lines: &[u64], outcome: &Outcome) {
        const AGAIN: &str = "nothing can prove that the spans did not arrive: the same command with --again sends them, and a copy may then exist";
        let (name, is_plural) = self.named(lines);
        let console = self.to.console;
        let words = console.clean(&outcome.describe());
        let endpoint = shown(&self.to.client.endpoint.url);
        let subject = Subject::Lines(&name, is_plural);
        let is_unprovable = outcome.is_ambiguous() && !hints::can_be_asked(self.to.destination);
        let hint = if is_unprovable {
            Some(AGAIN.to_owned())
        } else {
            let kept = format!(
                "the spans stay in {}: run the same command again",
                self.name
            );
            let hint = hints::of_outcome(outcome, self.to.destination);
            Some(hint.map_or_else(|| kept.clone(), |hint| format!("{hint}; {kept}")))
        };
        let failure = delivery_report::of_outcome(subject, outcome, &words, Some(&endpoint));
        let failure = failure.hints([hint]);
        delivery_report::print(&failure, self.best_effort, console);
        if !delivery_report::is_forgiven(&failure, self.best_effort) {
            self.failures.push(failure);
        }
    }

    /// The lines of the file, as a message names them, and whether they are several.
    fn named(&self, lines: &[u64]) -> (String, bool) {
        if let [line] = lines {
            return (format!("{}, line {line}", self.name), false);
        }
        let mut named: Vec<String> = lines.iter().take(NAMED_LINES).map(u64::to_string).collect();
        if lines.len() > NAMED_LINES {
            named.push("…".to_owned());
        }
        let count = lines.len();
        let (name, named) = (&self.name, named.join(", "));
        (format!("{count} lines of {name} ({named})"), true)
    }

    fn note(&mut self, write: impl FnOnce(&mut Ledger) -> io::Result<()>) -> Result<(), Failure> {
        write(&mut self.ledger).map_err(|error| unusable(Path::new(&self.name), &error))
    }
}

/// Whether the next request would end the same way: the server does not answer, or gives every request this answer.
fn concerns_all(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Partial { .. })
        && !matches!(outcome.status(), Some(400 | 413 | 422))
}
