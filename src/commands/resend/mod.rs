//! `langspan resend`: delivers the entries of the outbox, or files of spans, to the destination of the current settings.

mod entries;
mod files;
mod sender;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::app::confirm::is_confirmed;
use crate::app::signals::SignalListener;
use crate::cli;
use crate::console::{Console, OutputFormat};
use crate::delivery::Outbox;
use crate::delivery::outbox::{Entry, Found};
use crate::failure::{Failure, Kind, Verdict};
use crate::output::{ErrorReport, Printer, SCHEMA_VERSION};
use crate::settings::{self, Sources};
use entries::{EntryLine, FileLine, ResendDocument, State};
use sender::Sender;

/// # Errors
/// When a setting is missing or malformed, or the outbox cannot be read.
pub async fn run(
    options: &cli::ResendArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let form = settings::text_or_json(&options.output, sources)?;
    if !options.files.is_empty() {
        return files::run(options, form, sources, console).await;
    }
    let mut resend = Resend {
        console,
        printer: Printer::new(form),
        outbox: outbox(sources)?.map(|outbox| outbox.warning_on(console)),
        older_than: options
            .older_than
            .map(|age| SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX)),
        passed: PassedOver::default(),
        lines: Vec::new(),
        failures: Vec::new(),
        verdict: Verdict::default(),
    };
    let ids = resend.ids()?;
    if options.list {
        resend.list(&ids);
    } else if options.discard {
        resend.discard(&ids, options.yes)?;
    } else if !ids.is_empty() {
        let sender = Sender::open(options, sources, console)?;
        resend.deliver(&ids, &sender).await?;
    }
    if ids.is_empty() {
        console.note("the outbox is empty");
    }
    resend.passed.say(console);
    Ok(resend.finish())
}

/// The outbox; none when its folder does not exist.
fn outbox(sources: &Sources) -> Result<Option<Outbox>, Failure> {
    let place = settings::outbox_place(sources)?;
    let dir = place.dir.map_err(|error| {
        Failure::config(format!("there is no outbox: {error}"))
            .hint("set LANGSPAN_OUTBOX to its folder")
    })?;
    let unreadable = |error| Failure::unreadable(dir.display(), &error);
    if !dir.try_exists().map_err(unreadable)? {
        return Ok(None);
    }
    if !dir.is_dir() {
        return Err(
            Failure::file(format!("the outbox {} is not a folder", dir.display()))
                .hint("set LANGSPAN_OUTBOX to a folder"),
        );
    }
    Outbox::open(&dir, place.max_bytes)
        .map(Some)
        .map_err(|error| Failure::unreadable(dir.display(), &error))
}

/// One call of `resend`.
struct Resend<'a> {
    console: &'a Console,
    printer: Printer,
    outbox: Option<Outbox>,
    /// Take only entries that are older.
    older_than: Option<SignedDuration>,
    passed: PassedOver,
    lines: Vec<EntryLine>,
    failures: Vec<Failure>,
    verdict: Verdict,
}

/// The entries that were not worked on.
#[derive(Debug, Default)]
struct PassedOver {
    held: BTreeSet<String>,
    recent: BTreeSet<String>,
    not_files: BTreeSet<String>,
    unreadable: BTreeSet<String>,
}

impl PassedOver {
    fn say(&self, console: &Console) {
        for (ids, why) in [
            (&self.held, "another process is working on it"),
            (&self.recent, "more recent than --older-than"),
        ] {
            if !ids.is_empty() {
                console.note(&format!("passed over {}: {why}", plural(ids.len())));
            }
        }
    }
}

impl Resend<'_> {
    fn ids(&self) -> Result<Vec<String>, Failure> {
        let Some(outbox) = &self.outbox else {
            return Ok(Vec::new());
        };
        outbox
            .ids()
            .map_err(|error| Failure::unreadable(outbox.dir().display(), &error))
    }

    /// An entry that no other process holds and that has waited long enough. One at a time: each holds a file open.
    fn entry(&mut self, id: &str) -> Option<Entry> {
        let found = self.outbox.as_ref()?.find(id);
        match found {
            Ok(Found::Free(entry)) if self.is_old(&entry) => return Some(*entry),
            Ok(Found::Free(_)) => {
                self.passed.recent.insert(id.to_owned());
            }
            Ok(Found::Held) => {
                self.passed.held.insert(id.to_owned());
            }
            Ok(Found::Gone) => {}
            Ok(Found::NotAFile { path, what }) => {
                if self.passed.not_files.insert(id.to_owned()) {
                    let path = path.display();
                    let warning = format!("{path} was passed over: it is {what}, not a file");
                    self.console.warn(&warning);
                }
            }
            Err(error) => {
                if self.passed.unreadable.insert(id.to_owned()) {
                    let dir = self.outbox.as_ref()?.dir().join(id);
                    self.fail(Failure::unreadable(dir.display(), &error));
                }
            }
        }
        None
    }

    fn is_old(&self, entry: &Entry) -> bool {
        self.older_than
            .is_none_or(|age| Timestamp::now().duration_since(entry.time()) > age)
    }

    fn list(&mut self, ids: &[String]) {
        for id in ids {
            if let Some(entry) = self.entry(id) {
                self.say(EntryLine::new(&entry, State::Waiting, self.console));
            }
        }
    }

    fn discard(&mut self, ids: &[String], yes: bool) -> Result<(), Failure> {
        let mut waiting = Vec::new();
        for id in ids {
            if self.entry(id).is_some() {
                waiting.push(id);
            }
        }
        if waiting.is_empty() || (!yes && !is_sure(waiting.len(), self.console)?) {
            return Ok(());
        }
        for id in waiting {
            let Some(entry) = self.entry(id) else {
                continue;
            };
            let line = EntryLine::new(&entry, State::Discarded, self.console);
            entry.remove().map_err(|error| {
                Failure::file(format!("{} cannot be removed: {error}", line.path))
                    .hint("check its permissions")
            })?;
            self.say(line);
        }
        Ok(())
    }

    /// Notes which entries belong to processes that were killed: from then on, their absence counts. All at once, so that
    /// each of them need not be waited for on its own.
    fn note_killed(&mut self, ids: &[String]) {
        for id in ids {
            if let Some(mut entry) = self.entry(id)
                && entry.unfinished
            {
                let ambiguity = entry.ambiguity();
                // If it cannot be noted, it is when the entry is delivered.
                let _ = entry.note("its process was killed", ambiguity);
            }
        }
    }

    async fn deliver(&mut self, ids: &[String], sender: &Sender) -> Result<(), Failure> {
        let mut interrupt = SignalListener::listen().map_err(anyhow::Error::from)?;
        self.note_killed(ids);
        let redelivery = sender.redelivery(self.console);
        for id in ids {
            let Some(mut entry) = self.entry(id) else {
                continue;
            };
            if let Some(other) = redelivery.other_project(&entry) {
                self.console.note(&self.console.clean(&format!(
                    "{id} belongs to the project of {other} and stays; set its keys to deliver it"
                )));
                self.say(EntryLine::new(&entry, State::Left, self.console));
                continue;
            }
            if entry.is_journal()
                && let Err(failure) = sender.settle(&mut entry).await
            {
                self.fail(failure);
                self.say(EntryLine::new(&entry, State::Failed, self.console));
                continue;
            }
            if entry.waits_for_spans() {
                self.console
                    .note(&format!("{id} waits for the spans of its traces"));
                self.say(EntryLine::new(&entry, State::Waiting, self.console));
                continue;
            }
            let delivered = tokio::select! {
                delivered = redelivery.deliver(&mut entry) => delivered,
                signal = interrupt.wait() => {
                    // The entry is noted as under way: the next call asks before it sends.
                    self.fail(Failure::new(Kind::Interrupted(signal), "resend was interrupted").hint("run it again"));
                    break;
                }
            };
            match delivered {
                Ok(()) => self.say(EntryLine::new(&entry, State::Accepted, self.console)),
                Err(failure) => {
                    self.fail(failure);
                    let state = match entry.ambiguity() {
                        Some(_) => State::Unproven,
                        None => State::Failed,
                    };
                    self.say(EntryLine::new(&entry, state, self.console));
                }
            }
        }
        Ok(())
    }

    fn fail(&mut self, failure: Failure) {
        self.console.error(&failure);
        self.verdict.add(failure.kind);
        self.failures.push(failure);
    }

    fn say(&mut self, line: EntryLine) {
        if self.printer.form() == OutputFormat::Text {
            let names_traces = self.console.is_verbose();
            self.printer.text(&line.to_text(names_traces));
        }
        self.lines.push(line);
    }

    fn finish(self) -> Verdict {
        let ended = Ended {
            entries: &self.lines,
            files: &[],
            failures: &self.failures,
            verdict: self.verdict,
        };
        ended.report(self.printer, self.console)
    }
}

/// What a call of `resend` came to.
struct Ended<'a> {
    entries: &'a [EntryLine],
    files: &'a [FileLine],
    failures: &'a [Failure],
    verdict: Verdict,
}

impl Ended<'_> {
    /// Prints the document if one is asked for.
    fn report(&self, mut printer: Printer, console: &Console) -> Verdict {
        let mut verdict = self.verdict;
        if printer.form() == OutputFormat::Json {
            let mut failures = self.failures.iter();
            let deciding = failures.find(|failure| Some(failure.kind) == verdict.kind());
            printer.document(&ResendDocument {
                schema_version: SCHEMA_VERSION,
                ok: deciding.is_none(),
                command: "resend",
                entries: self.entries,
                files: self.files,
                error: deciding.map(|failure| ErrorReport::new(failure, console)),
            });
        }
        if let Some(failure) = printer.take_failure() {
            console.error(&failure);
            verdict.add(failure.kind);
        }
        verdict
    }
}

/// Asks whether the entries may be deleted.
fn is_sure(count: usize, console: &Console) -> Result<bool, Failure> {
    let deed = format!("Delete {} permanently", plural(count));
    is_confirmed("--discard", &deed, console)
}

fn plural(entries: usize) -> String {
    match entries {
        1 => "1 entry".to_owned(),
        entries => format!("{entries} entries"),
    }
}
