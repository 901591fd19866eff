//! `langspan merge`: one output of the outputs of all shards.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::app::delayed_note::DelayedNote;
use crate::app::langfuse_server::LangfuseServer;
use crate::app::same_file::is_same_file;
use crate::app::score_sender::{not_accepted, one_by_one};
use crate::app::signals::SignalListener;
use crate::batch::experiment::scores::{ExperimentScores, means_of_expectations};
use crate::batch::experiment::verify;
use crate::batch::merge::Merge;
use crate::batch::merge::totals::Totals;
use crate::batch::output::target::OutputTarget;
use crate::batch::plan::acks_path;
use crate::batch::report;
use crate::batch::stats::TraceStats;
use crate::batch::summary::{RunOutcome, RunSummary};
use crate::cli;
use crate::console::{self, Console, OutputFormat, counted};
use crate::failure::{Failure, Kind, Signal, Verdict};
use crate::langfuse::{Api, Base};
use crate::output::{ErrorReport, Printer};
use crate::settings::{self, CommandDefaults, Sources};

/// How long `--verify` waits by default.
const DEFAULT_WAIT: Duration = Duration::from_mins(1);

/// The Langfuse that `--verify` asks.
struct Verifier {
    api: Api,
    /// Where its pages are.
    ui: Base,
    wait: Duration,
    /// The environment of the scores of an experiment.
    environment: String,
}

/// # Errors
/// When the outputs cannot be read or do not fit, or the result cannot be written.
pub async fn run(
    options: &cli::MergeArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let form = settings::text_or_json(&options.output, sources)?;
    let out = OutputTarget::new(Some(&options.out))?;
    refuse_format(form, &out)?;
    refuse_shared_files(options)?;
    refuse_existing(options, &out)?;
    let asks_server = options.verify || options.score_experiment;
    let verifier = asks_server.then(|| Verifier::new(options, sources, console));
    let verifier = verifier.transpose()?;
    let mut summary_file = options
        .summary
        .as_deref()
        .map(report::open_summary)
        .transpose()?;
    let mut signals = SignalListener::listen().map_err(anyhow::Error::from)?;
    let totals = tokio::select! {
        totals = merge(options, &out, console) => totals?,
        signal = signals.wait() => {
            return Err(interrupted(signal, "nothing was written: run it again"));
        }
    };
    let outcome = RunOutcome {
        duration: totals.duration,
        run: totals.run.clone(),
        traces: totals.traces,
        experiment: totals.experiment.clone(),
        ..RunOutcome::default()
    };
    let (outcome, failures) = match verifier {
        None => (outcome, Vec::new()),
        Some(verifier) => tokio::select! {
            found = verifier.ask(&totals, outcome, options) => found,
            signal = signals.wait() => {
                return Err(interrupted(signal, "the outputs are merged; the traces were not all counted and scored"));
            }
        },
    };
    let mut verdict: Verdict = failures.iter().collect();
    let deciding = verdict.deciding(&failures);
    let error = deciding.map(|failure| ErrorReport::new(failure, console));
    let summary = RunSummary::new(&totals.stats, RunOutcome { error, ..outcome });
    let summary = summary.of_command("merge");
    console.note(&summary.to_text(console::columns()));
    let unwritten = write(&summary, form, summary_file.as_mut());
    for failure in failures.iter().chain(&unwritten) {
        console.error(failure);
        verdict.add(failure.kind);
    }
    Ok(verdict)
}

/// Reads the outputs, and writes their lines if they fit.
async fn merge(
    options: &cli::MergeArgs,
    out: &OutputTarget,
    console: &Console,
) -> Result<Totals, Failure> {
    let _note = DelayedNote::new(console, "reading the outputs …");
    let merge = Merge::read(&options.parts).await?;
    if !options.partial
        && let Some(refusal) = merge.refusal()
    {
        return Err(refusal);
    }
    for problem in merge.problems() {
        console.warn(problem);
    }
    let totals = merge.write(out).await?;
    let lines = counted(totals.stats.done, "line");
    let parts = counted(merge.parts() as u64, "output");
    console.note(&format!(
        "merged {lines} of {parts} into {}",
        options.out.display()
    ));
    warn_of_missing(&totals.traces, options.verify, console);
    Ok(totals)
}

/// Names traces that the ack files do not know as accepted. `--verify` finds out.
fn warn_of_missing(traces: &TraceStats, is_verified: bool, console: &Console) {
    let places = [
        (
            traces.spooled,
            "in the outbox of its machine",
            "langspan resend there",
        ),
        (
            traces.undecided,
            "not known to have arrived",
            "resume its shard",
        ),
    ];
    for (count, place, remedy) in places {
        if count > 0 && !is_verified {
            let are = if count == 1 { "is" } else { "are" };
            let traces = counted(count, "trace");
            console.warn(&format!("{traces} {are} {place}; to deliver: {remedy}"));
        }
    }
}

/// Writes the summary as JSON: to stdout with `-o json`, and to the file of `--summary`.
fn write(summary: &RunSummary, form: OutputFormat, file: Option<&mut File>) -> Vec<Failure> {
    let mut failures = Vec::new();
    if form == OutputFormat::Json {
        let mut printer = Printer::new(form);
        printer.document(summary);
        failures.extend(printer.take_failure());
    }
    let written = file.map_or(Ok(()), |file| report::rewrite(file, summary));
    let unwritten = written.err();
    failures.extend(unwritten.map(|error| Failure::unwritable("the summary", &error)));
    failures
}

/// Refuses `-o json` when stdout holds the lines.
fn refuse_format(form: OutputFormat, out: &OutputTarget) -> Result<(), Failure> {
    if form == OutputFormat::Json && *out == OutputTarget::Stdout {
        return Err(
            Failure::usage("stdout holds the lines").hint("omit -o, or name a file with --out")
        );
    }
    Ok(())
}

/// Refuses to write a file that is read.
fn refuse_shared_files(options: &cli::MergeArgs) -> Result<(), Failure> {
    let written = [
        ("--out", Some(&options.out)),
        ("--summary", options.summary.as_ref()),
    ];
    let written = written
        .into_iter()
        .filter_map(|(what, path)| Some((what, path?)));
    let read: Vec<(&Path, PathBuf)> = options
        .parts
        .iter()
        .map(|part| (part.as_path(), acks_path(part)))
        .collect();
    for (what, path) in written {
        let is_read =
            |(part, acks): &&(&Path, PathBuf)| is_same_file(path, part) || is_same_file(path, acks);
        if let Some((part, _)) = read.iter().find(is_read) {
            let part = part.display();
            return Err(
                Failure::usage(format!("{what} names a file of the output {part}"))
                    .hint("name another file"),
            );
        }
    }
    match &options.summary {
        Some(summary) if is_same_file(summary, &options.out) => {
            Err(Failure::usage("--summary names the same file as --out").hint("name another file"))
        }
        _ => Ok(()),
    }
}

/// Refuses an output that exists, unless it may be replaced.
fn refuse_existing(options: &cli::MergeArgs, out: &OutputTarget) -> Result<(), Failure> {
    let OutputTarget::Regular(path) = out else {
        return Ok(());
    };
    let acks = acks_path(path);
    let existing = [path, &acks]
        .into_iter()
        .find(|path| fs::metadata(path).is_ok());
    match existing {
        Some(existing) if !options.overwrite => Err(Failure::file(format!(
            "{} already exists",
            existing.display()
        ))
        .hint("--overwrite replaces it")),
        _ => Ok(()),
    }
}

impl Verifier {
    /// # Errors
    /// When there is no Langfuse that can be asked.
    fn new(
        options: &cli::MergeArgs,
        sources: &Sources,
        console: &Console,
    ) -> Result<Self, Failure> {
        let wait = settings::wait(&options.wait, DEFAULT_WAIT, sources)?;
        let option = if options.verify {
            "--verify"
        } else {
            "--score-experiment"
        };
        let lacking = format!("{option}: a plain OTLP backend cannot be asked for traces");
        let server = LangfuseServer::open(&options.destination, sources, console, &lacking)?;
        let environment = sources.get("LANGFUSE_TRACING_ENVIRONMENT");
        let default = CommandDefaults::EXPERIMENT.environment;
        Ok(Self {
            environment: environment.map_or_else(
                || default.unwrap_or_default().to_owned(),
                |found| found.value,
            ),
            api: server.api,
            ui: server.ui,
            wait,
        })
    }

    /// Does what the options ask of the server, and looks up the pages of the session and the experiment.
    async fn ask(
        &self,
        totals: &Totals,
        mut outcome: RunOutcome,
        options: &cli::MergeArgs,
    ) -> (RunOutcome, Vec<Failure>) {
        let mut failures = Vec::new();
        if options.score_experiment {
            match self.score(totals).await {
                Ok(accepted) => outcome.scores.accepted = accepted,
                Err(failure) => failures.push(failure),
            }
        }
        if options.verify {
            match self.verify(totals).await {
                Ok((traces, items)) => {
                    outcome.verified = Some(traces);
                    if let Some(experiment) = &mut outcome.experiment {
                        experiment.verified = items;
                    }
                }
                Err(failure) => failures.push(failure),
            }
        }
        if let Ok(project) = self.api.project().await {
            let session = totals.session.as_ref();
            outcome.session_url = session.map(|session| self.ui.session_page(&project.id, session));
            if let Some(experiment) = &mut outcome.experiment {
                let id = experiment.id.as_ref();
                experiment.url = id.map(|id| self.ui.experiment_page(&project.id, id));
            }
        }
        (outcome, failures)
    }

    /// Counts the traces and spans of the run, and the items of its experiment.
    async fn verify(&self, totals: &Totals) -> Result<(u64, Option<u64>), Failure> {
        let expected = totals.expected.clone();
        let sent = expected.sent();
        let readable = expected.count(&self.api, self.wait).await.into_result()?;
        let experiment = totals.experiment.as_ref();
        let items = match experiment.and_then(|experiment| experiment.id.as_ref()) {
            None => None,
            Some(id) => Some(verify::count(&self.api, id, &sent, self.wait).await?),
        };
        Ok((readable.traces, items))
    }

    /// Sets the scores of the experiment as a whole; returns their number. A repeat replaces them.
    async fn score(&self, totals: &Totals) -> Result<u64, Failure> {
        let experiment = totals.experiment.as_ref();
        let Some(id) = experiment.and_then(|experiment| experiment.id.as_ref()) else {
            return Err(Failure::input("the outputs do not belong to an experiment")
                .hint("omit --score-experiment"));
        };
        let scored = ExperimentScores {
            id,
            run: &totals.run,
            environment: Some(&self.environment),
        };
        let bodies = scored.bodies(means_of_expectations(&totals.stats.expectations));
        let deadline = Instant::now() + self.wait;
        match one_by_one(&self.api, &bodies, deadline).await {
            Ok(()) => Ok(bodies.len() as u64),
            Err(refused) => {
                let place = "the outputs are merged; merge again with --overwrite to set them";
                let count = refused.bodies.len() as u64;
                Err(not_accepted(count, &refused, Some(place.to_owned())))
            }
        }
    }
}

fn interrupted(signal: Signal, hint: &str) -> Failure {
    Failure::new(Kind::Interrupted(signal), "interrupted").hint(hint)
}
