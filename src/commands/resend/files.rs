//! `langspan resend FILE…`: delivers files of OTLP/JSON lines as they are. The files stay; beside each, a ledger notes
//! what was accepted.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Ended;
use super::entries::{FileLine, State};
use super::sender::Sender;
use crate::app::jsonl::JsonFile;
use crate::app::ledgered::{LedgeredDelivery, Shipment};
use crate::app::signals::SignalListener;
use crate::cli;
use crate::console::{Console, OutputFormat, counted};
use crate::delivery::ambiguity::Ambiguity;
use crate::delivery::otlp_json::{self, OtlpLine};
use crate::delivery::outbox::EntryMeta;
use crate::delivery::sent_key::SentKey;
use crate::failure::{Failure, Kind, Verdict};
use crate::output::Printer;
use crate::settings::{self, Sources};

/// How many unreadable lines are named one by one.
const NAMED_LINES: u64 = 10;

/// # Errors
/// If something is wrong before anything was sent.
pub async fn run(
    options: &cli::ResendArgs,
    form: OutputFormat,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let files = open(&options.files, sources)?;
    let sender = Sender::open(options, sources, console)?;
    let redelivery = sender.redelivery(console);
    let deliveries: Vec<_> = files
        .iter()
        .map(|file| LedgeredDelivery::open(&file.path, redelivery))
        .collect::<Result<_, Failure>>()?;
    let mut interrupt = SignalListener::listen().map_err(anyhow::Error::from)?;
    let mut printer = Printer::new(form);
    let (mut lines, mut failures, mut verdict) = (Vec::new(), Vec::new(), Verdict::default());
    for (file, delivery) in files.iter().zip(deliveries) {
        let mut sending = Sending {
            file,
            delivery,
            console,
            unreadable: 0,
            without_spans: 0,
        };
        let ended = tokio::select! {
            ended = sending.run() => ended,
            signal = interrupt.wait() => {
                // The ledger says what was under way: the next call asks before it sends.
                let message = "resend was interrupted";
                Err(Failure::new(Kind::Interrupted(signal), message).hint("run it again"))
            }
        };
        let is_interrupted = matches!(
            &ended,
            Err(Failure {
                kind: Kind::Interrupted(_),
                ..
            })
        );
        let (line, mut failed) = sending.finish(ended.err());
        for failure in &failed {
            verdict.add(failure.kind);
        }
        failures.append(&mut failed);
        if form == OutputFormat::Text {
            printer.text(&line.to_text());
        }
        lines.push(line);
        if is_interrupted {
            break;
        }
    }
    let ended = Ended {
        entries: &[],
        files: &lines,
        failures: &failures,
        verdict,
    };
    Ok(ended.report(printer, console))
}

/// Opens all files, and checks that each may be one of spans, before anything is sent.
fn open(paths: &[PathBuf], sources: &Sources) -> Result<Vec<JsonFile>, Failure> {
    let outbox = settings::outbox_place(sources)?.dir.ok();
    let outbox = outbox.and_then(|dir| dir.canonicalize().ok());
    let mut files: Vec<JsonFile> = Vec::new();
    for path in paths {
        let name = path.display();
        if path == Path::new("-") {
            return Err(Failure::usage(
                "resend reads files, not stdin: FILE.sent notes what was sent",
            )
            .hint("save the lines to a file"));
        }
        let file = JsonFile::open(path)?;
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        if outbox.is_some() && real.parent() == outbox.as_deref() {
            return Err(Failure::usage(format!("{name} is an entry of the outbox"))
                .hint("langspan resend, without FILE, delivers the outbox"));
        }
        if files.iter().any(|known| known.path == *path) {
            return Err(Failure::usage(format!("{name} is named twice")).hint("name it once"));
        }
        check(&file)?;
        files.push(file);
    }
    Ok(files)
}

/// Refuses a file without a single line of OTLP/JSON.
fn check(file: &JsonFile) -> Result<(), Failure> {
    let mut lines = file.lines();
    let mut first = None;
    while let Some(line) = lines.next_line().map_err(|error| file.unreadable(&error))? {
        match read(&line.bytes) {
            Ok(_) => return Ok(()),
            Err(wrong) => _ = first.get_or_insert((line.number, wrong)),
        }
    }
    first.map_or(Ok(()), |(number, wrong)| {
        let name = file.path.display();
        Err(Failure::input(format!(
            "{name} holds no OTLP/JSON lines; line {number}: {wrong}"
        ))
        .hint("expected export requests, one a line, as the Collector's file exporter writes them"))
    })
}

fn read(line: &[u8]) -> Result<OtlpLine, String> {
    let text = str::from_utf8(line)
        .map_err(|error| format!("invalid UTF-8 at byte {}", error.valid_up_to()))?;
    otlp_json::read(text.trim_start_matches('\u{feff}'))
}

/// The delivery of one file.
struct Sending<'a> {
    file: &'a JsonFile,
    delivery: LedgeredDelivery<'a>,
    console: &'a Console,
    unreadable: u64,
    without_spans: u64,
}

impl Sending<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        let file = self.file;
        let earlier = earlier(&file.path);
        let mut lines = file.lines();
        while let Some(line) = lines.next_line().map_err(|error| file.unreadable(&error))? {
            let key = SentKey::of_line(&line.bytes);
            if self.delivery.is_sent(key) {
                continue;
            }
            match read(&line.bytes) {
                Ok(OtlpLine::Spans(payload)) => {
                    let shipment = Shipment {
                        key,
                        line: line.number,
                        payload,
                        earlier,
                        is_failed_call: false,
                    };
                    self.delivery.add(shipment).await?;
                }
                Ok(OtlpLine::NoSpans) => self.without_spans += 1,
                Err(wrong) => self.say_unreadable(line.number, &wrong),
            }
        }
        self.delivery.flush().await
    }

    fn say_unreadable(&mut self, number: u64, wrong: &str) {
        self.unreadable += 1;
        if self.unreadable > NAMED_LINES {
            return;
        }
        let name = self.file.path.display();
        let message = format!("{name}, line {number} was not sent: {wrong}");
        let failure = Failure::new(Kind::Delivery, self.console.clean(&message))
            .hint("correct or remove the line, and run the same command again");
        self.console.error(&failure);
        self.delivery.failures.push(failure);
    }

    /// Reports the file, and returns every failure of it; `ended` is why its delivery broke off.
    fn finish(mut self, ended: Option<Failure>) -> (FileLine, Vec<Failure>) {
        let name = self.file.path.display().to_string();
        if self.without_spans > 0 {
            let lines = counted(self.without_spans, "line");
            let note =
                format!("{name}: {lines} without spans passed over (logs, metrics or nothing)");
            self.console.note(&note);
        }
        if self.unreadable > NAMED_LINES {
            let more = counted(self.unreadable - NAMED_LINES, "further line");
            self.console.note(&format!("{name}: {more} cannot be read"));
        }
        if let Some(failure) = ended {
            self.console.error(&failure);
            self.delivery.failures.push(failure);
        }
        let counts = self.delivery.counts;
        let failures = self.delivery.failures;
        let state = match counts.unproven {
            _ if failures.is_empty() => State::Accepted,
            0 => State::Failed,
            unproven if unproven < counts.kept => State::Failed,
            _ => State::Unproven,
        };
        let line = FileLine {
            path: self.console.clean(&name),
            state,
            lines: counts.accepted,
            spans: counts.spans,
            lines_sent_before: counts.sent_before,
            lines_present: counts.present,
            lines_kept: counts.kept,
            lines_unproven: counts.unproven,
            lines_unreadable: self.unreadable,
        };
        (line, failures)
    }
}

/// Whether the spans of an entry of another outbox may have arrived: its metadata lies beside the file, as where a CI
/// service keeps both.
fn earlier(path: &Path) -> Option<Ambiguity> {
    let text = fs::read_to_string(path.with_extension("meta.json")).ok()?;
    let meta: EntryMeta = serde_json::from_str(&text).ok()?;
    if meta.under_way || meta.cause.is_none() {
        return Some(Ambiguity::at(Timestamp::now()));
    }
    meta.ambiguity()
}
