//! `langspan compare`: two runs of the same items, side by side.

mod runs;

use std::fs::File;
use std::io::BufWriter;

use crate::app::delayed_note::DelayedNote;
use crate::app::same_file::is_same_file;
use crate::app::signals::SignalListener;
use crate::app::step_summary;
use crate::cli;
use crate::compare::change::ChangeKind;
use crate::compare::comparison::RunComparison;
use crate::compare::report::ComparisonReport;
use crate::compare::{markdown, table, test_cases};
use crate::console::{self, Console, OutputFormat, counted};
use crate::failure::{Failure, Kind, Verdict};
use crate::output::{ErrorReport, Printer};
use crate::settings::{self, Sources};
use runs::{STDIN, path_of};

/// # Errors
/// When a run cannot be read, or the runs cannot be compared.
pub async fn run(
    options: &cli::CompareArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let form = settings::text_or_json(&options.output, sources)?;
    if options.a == STDIN && options.b == STDIN {
        return Err(Failure::usage("stdin holds one run only").hint("name a file for the other"));
    }
    let junit = open_junit(options)?;
    let mut signals = SignalListener::listen().map_err(anyhow::Error::from)?;
    let note = DelayedNote::new(console, "reading the runs …");
    let read = tokio::select! {
        read = runs::read(options, sources, console) => read,
        signal = signals.wait() => {
            let failure = Failure::new(Kind::Interrupted(signal), "interrupted while the runs were read");
            return Err(failure.hint("run it again"));
        }
    };
    drop(note);
    let reporter = Reporter {
        junit,
        sources,
        console,
    };
    let [a, b] = read.map_err(|failure| reporter.refuse(failure))?;
    let comparison = RunComparison::new(&a, &b).map_err(|failure| reporter.refuse(failure))?;
    Ok(reporter.tell(&comparison, options, form))
}

/// Opens the file of `--junit` before anything is read.
fn open_junit(options: &cli::CompareArgs) -> Result<Option<File>, Failure> {
    let Some(junit) = &options.junit else {
        return Ok(None);
    };
    for path in [&options.a, &options.b]
        .into_iter()
        .filter_map(|name| path_of(name))
    {
        if is_same_file(junit, path) {
            let message = format!("--junit names the run {}", path.display());
            return Err(Failure::usage(message).hint("name another file"));
        }
    }
    let file = File::create(junit).map_err(|error| {
        Failure::unwritable(junit.display(), &error).hint("check the path of --junit")
    })?;
    Ok(Some(file))
}

/// Tells people, programs and CI services.
struct Reporter<'a> {
    junit: Option<File>,
    sources: &'a Sources,
    console: &'a Console,
}

impl Reporter<'_> {
    /// Says what was found, and whether it is good enough.
    fn tell(
        &self,
        comparison: &RunComparison<'_>,
        options: &cli::CompareArgs,
        form: OutputFormat,
    ) -> Verdict {
        let console = self.console;
        warn(comparison, console);
        let regression = regression(comparison, options);
        let mut printer = Printer::new(form);
        if form == OutputFormat::Json {
            let error = regression.as_ref();
            let error = error.map(|failure| ErrorReport::new(failure, console));
            printer.document(&ComparisonReport::new(comparison, error));
        } else {
            printer.text(&table::to_text(comparison, console::columns()));
        }
        if regression.is_none() {
            console.note(&success(comparison));
        }
        let junit = self.junit.as_ref().map_or(Ok(()), |file| {
            test_cases::write(comparison, BufWriter::new(file))
        });
        let junit = junit.map_err(|error| Failure::unwritable("the JUnit report", &error));
        let summary = step_summary::append(&markdown::to_markdown(comparison), self.sources);
        let failures = [
            regression,
            printer.take_failure(),
            junit.err(),
            summary.err(),
        ];
        let mut verdict = Verdict::default();
        for failure in failures.into_iter().flatten() {
            console.error(&failure);
            verdict.add(failure.kind);
        }
        verdict
    }

    /// Tells CI services that there is nothing to compare.
    fn refuse(&self, failure: Failure) -> Failure {
        let console = self.console;
        let clean = Failure::new(failure.kind, console.clean(&failure.message))
            .hints([console.remedy(&failure)]);
        let junit = self.junit.as_ref().map_or(Ok(()), |file| {
            test_cases::write_refusal(&clean, BufWriter::new(file))
        });
        let junit = junit.map_err(|error| Failure::unwritable("the JUnit report", &error));
        let summary = step_summary::append(&markdown::refusal(&clean.message), self.sources);
        for failure in [junit.err(), summary.err()].into_iter().flatten() {
            console.error(&failure);
        }
        failure
    }
}

/// The message for a run B that is not worse than A allows.
fn success(comparison: &RunComparison<'_>) -> String {
    let compared = counted(comparison.pairs.len() as u64, "item");
    match comparison.count(ChangeKind::Regressed) {
        0 => format!("none of {compared} regressed"),
        regressed => format!("{regressed} of {compared} regressed, which is allowed"),
    }
}

/// The failure of a B that is worse than allowed.
fn regression(comparison: &RunComparison<'_>, options: &cli::CompareArgs) -> Option<Failure> {
    let regressed = comparison.count(ChangeKind::Regressed);
    let compared = comparison.pairs.len() as u64;
    if options.allow_regressions.permits(regressed, compared) {
        return None;
    }
    let message = format!("{regressed} of {} regressed", counted(compared, "item"));
    let failure = Failure::new(Kind::Expectation, message);
    Some(failure.hint("--allow-regressions N permits up to N"))
}

/// What makes the comparison less certain than it looks.
fn warn(comparison: &RunComparison<'_>, console: &Console) {
    let dropped = comparison.dropped();
    if !dropped.is_empty() {
        let names = dropped.join(", ");
        console.warn(&format!("B was not judged by {names}, as A was"));
    }
    if comparison.differing_inputs > 0 {
        let items = counted(comparison.differing_inputs, "item");
        let were = if comparison.differing_inputs == 1 {
            "was"
        } else {
            "were"
        };
        console.warn(&format!(
            "{items} {were} joined by line number, but the input lines differ; a custom_id joins them for certain"
        ));
    }
}
