//! The plan of a run: the batch options as plain values, checked against each other.
//!
//! clap's `BatchArgs` end here; the rest of the engine reads the plan.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use opentelemetry::trace::TraceId;

use crate::app::judge::Judge;
use crate::app::managed_prompt::RunPrompt;
use crate::app::same_file::is_same_file;
use crate::batch::experiment::run::RunExperiment;
use crate::batch::input::line::LineDefaults;
use crate::batch::output::target::OutputTarget;
use crate::cli::{self, Allowance};
use crate::console::OutputFormat;
use crate::expect::MatchMode;
use crate::failure::Failure;
use crate::settings;
use crate::settings::trace::{refuse_keys, warning_of_length};
use crate::settings::{ModelSettings, Settings, Shard, Sources};
use crate::trace::{Trace, ids};

/// What a run does.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct Plan {
    /// The run's name: trace ids derive from it, and it is the session unless one is given.
    pub name: String,
    /// Whether the name was given, or is that of the run that is continued.
    pub is_named: bool,
    pub start: Start,
    pub shard: Option<Shard>,
    /// The most lines of the input to process, those of other shards included.
    pub limit: Option<u64>,
    pub out: OutputTarget,
    /// The file of `--summary`.
    pub summary: Option<PathBuf>,
    /// The identity of every trace of the run, unless its line overrides it.
    pub trace: Trace,
    /// The most calls at once.
    pub concurrency: usize,
    /// The most requests per minute.
    pub rpm: Option<u32>,
    /// The most tokens per minute.
    pub tpm: Option<u32>,
    /// How long the run waits for an endpoint that is down.
    pub give_up: Duration,
    /// The number of failed lines and traces that stops the run.
    pub max_errors: Option<u64>,
    /// The cost that stops the run, in US dollars.
    pub max_cost: Option<f64>,
    /// How many lines may fail for exit code 0.
    pub allow_errors: Allowance,
    /// Whether the output follows the order of the input.
    pub is_ordered: bool,
    /// Whether every line is checked before the first call.
    pub is_strict: bool,
    pub is_sandbox: bool,
    /// The managed prompt of every line; read once the plan is made.
    pub prompt: Option<RunPrompt>,
    /// What is expected of every answer.
    pub judge: Judge,
    /// Where the price table is kept, if it is.
    pub price_folder: Option<PathBuf>,
    /// How an answer is compared with the expected one of its line; `None` if it is not.
    pub match_expected: Option<MatchMode>,
    /// The experiment that the run is; known once the plan is made.
    pub experiment: Option<RunExperiment>,
    /// How many lines may miss an expectation for exit code 0.
    pub allow_misses: Allowance,
}

/// What happens to an existing output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It is an error.
    New,
    Overwrite,
    Resume {
        retry_errors: bool,
        /// Whether `--run` gives the name; otherwise it is read from the ack file.
        is_named: bool,
    },
}

impl Plan {
    /// # Errors
    /// When options contradict each other or the files that they name. `input` names the lines.
    pub fn new(
        args: &cli::BatchArgs,
        input: &str,
        settings: &Settings,
        sources: &Sources,
    ) -> Result<Self, Failure> {
        refuse_named_trace(settings)?;
        let out = OutputTarget::new(args.out.as_deref())?;
        if args.resume && out.resumable().is_none() {
            return Err(Failure::usage("--resume needs an output file to continue")
                .hint("name a regular file with --out"));
        }
        refuse_format(args, &out)?;
        refuse_shared_files(args, settings, &out)?;
        let shard = args.shard.map(|shard| Shard::resolve(shard, sources));
        let name = run_name(args, input)?;
        let mut plan = Self {
            name: String::new(),
            is_named: args.run_name.is_some() || args.resume || own_name(args).is_some(),
            start: Start::of(args),
            shard: shard.transpose()?,
            limit: args.limit,
            out,
            summary: args.summary.clone(),
            trace: settings.trace.of_call(),
            concurrency: args.concurrency,
            rpm: args.rpm,
            tpm: args.tpm,
            give_up: Duration::from_secs_f64(args.give_up),
            max_errors: args.max_errors,
            max_cost: args.max_cost,
            allow_errors: args.allow_errors,
            is_ordered: args.ordered,
            is_strict: args.strict,
            is_sandbox: args.run.stand_in.sandbox,
            prompt: None,
            judge: Judge::new(&args.expect, settings.model.schema.as_ref())?,
            // The embedded sandbox has another port each time.
            price_folder: settings::cache_dir(sources)
                .filter(|_| !args.run.stand_in.sandbox)
                .map(|cache| cache.join("prices")),
            match_expected: match args.experiment.dataset {
                // The expected output of an item may be no more than a reference for people.
                Some(_) => args.match_expected,
                None => Some(args.match_expected.unwrap_or_default()),
            },
            experiment: None,
            allow_misses: args.allow_misses,
        };
        plan.rename(name);
        refuse_keys(&plan.trace)?;
        Ok(plan)
    }

    /// What fills in the fields that a line does not set.
    pub fn line_defaults<'a>(&'a self, model: &'a ModelSettings) -> LineDefaults<'a> {
        LineDefaults {
            model,
            trace: &self.trace,
            prompt: self.prompt.as_ref(),
            match_expected: self.match_expected,
            experiment: self.experiment.as_ref(),
        }
    }

    /// The warnings about a run name that is too long for a session, and about shards that do not share a name.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let session = self.trace.session.as_ref();
        let length = session
            .filter(|session| **session == self.name)
            .and_then(|session| warning_of_length("run's name", session));
        let shard = self.shard.filter(|_| !self.is_named).map(|_| {
            "without --run, each shard is a run of its own: give all of them the same --run NAME"
                .to_owned()
        });
        length.into_iter().chain(shard)
    }

    /// Sets the name of the run, and the session where none was given.
    pub fn rename(&mut self, name: String) {
        if self
            .trace
            .session
            .as_ref()
            .is_none_or(|session| *session == self.name)
        {
            self.trace.session = Some(name.clone());
        }
        self.name = name;
    }

    /// Whether the input is read more than once.
    pub fn reads_twice(&self) -> bool {
        self.is_strict || matches!(self.start, Start::Resume { .. })
    }

    /// Whether failed lines of an earlier run are sent again.
    pub fn retries_errors(&self) -> bool {
        let Start::Resume { retry_errors, .. } = self.start else {
            return false;
        };
        retry_errors
    }

    /// The session that holds only traces of this run: the one named like the run, unless other shards share it.
    pub fn own_session(&self) -> Option<&str> {
        let session = self.trace.session.as_deref();
        session.filter(|session| self.shard.is_none() && *session == self.name)
    }

    /// Whether a line belongs to this shard.
    pub fn includes(&self, line: u64) -> bool {
        self.shard.is_none_or(|shard| shard.holds(line))
    }

    /// The trace id of a line: the same each time that the run is resumed. Without a `custom_id`, the `digest` of the line
    /// keeps another file under the same name from getting the same ids. `redo` counts the retries of a failed line.
    pub fn trace_id(&self, line: u64, custom_id: Option<&str>, digest: &str, redo: u32) -> TraceId {
        let name = &self.name;
        let call = match custom_id {
            Some(id) => format!("{name}/{id}"),
            None => format!("{name}/line-{line}/{digest}"),
        };
        id_of_call(call, redo)
    }
}

/// The trace id that version 0.1 gave to a line without `custom_id` in the run `name`.
pub fn old_trace_id(name: &str, line: u64, redo: u32) -> TraceId {
    id_of_call(format!("{name}/line-{line}"), redo)
}

fn id_of_call(call: String, redo: u32) -> TraceId {
    let seed = match redo {
        0 => call,
        redo => format!("{call}/retry-{redo}"),
    };
    ids::from_seed(&seed)
}

impl Start {
    fn of(args: &cli::BatchArgs) -> Self {
        if args.resume {
            Self::Resume {
                retry_errors: args.retry_errors,
                is_named: args.run_name.is_some(),
            }
        } else if args.overwrite {
            Self::Overwrite
        } else {
            Self::New
        }
    }
}

/// The name that was given, else one of the input and the time. Its random part keeps two runs that start in the same
/// second from sharing trace ids.
fn run_name(args: &cli::BatchArgs, input: &str) -> Result<String, Failure> {
    match &args.run_name {
        Some(name) if name.trim().is_empty() => {
            Err(Failure::usage("--run is empty").hint("omit --run, or give a name"))
        }
        Some(name) => Ok(name.clone()),
        None => {
            if let Some(name) = own_name(args) {
                return Ok(name.to_owned());
            }
            let input = args.experiment.experiment.as_deref().unwrap_or(input);
            let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
            Ok(format!("{input}-{time}-{:08x}", fastrand::u32(..)))
        }
    }
}

/// The name of the experiment, if the run is to have it as well: not with `--again`, or an item would get the trace that it
/// has in the earlier run.
fn own_name(args: &cli::BatchArgs) -> Option<&str> {
    let name = args.experiment.experiment.as_deref();
    name.filter(|_| !args.experiment.again)
}

fn refuse_named_trace(settings: &Settings) -> Result<(), Failure> {
    let Some(named) = &settings.trace.named else {
        return Ok(());
    };
    Err(Failure::usage(format!(
        "{} names one trace, but each line has its own",
        named.origin
    ))
    .hint("omit it; --run NAME gives the same trace ids each time"))
}

/// Refuses an output format that does not fit: stdout holds the output lines unless `--out` names another file.
fn refuse_format(args: &cli::BatchArgs, out: &OutputTarget) -> Result<(), Failure> {
    let output = &args.run.output;
    let wants_json = output.json || output.output == Some(OutputFormat::Json);
    let is_refused = match output.output {
        Some(OutputFormat::Raw | OutputFormat::Url) => true,
        _ => wants_json && !args.run.dry_run && *out == OutputTarget::Stdout,
    };
    if !is_refused {
        return Ok(());
    }
    Err(
        Failure::usage("stdout holds the answers, in OpenAI's Batch format")
            .hint("omit -o; with --out FILE, -o json prints the summary"),
    )
}

/// The path of the ack file that belongs to an output file: `FILE.acks`.
pub fn acks_path(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".acks");
    name.into()
}

/// Refuses to write two outputs to one file, or to overwrite the input.
fn refuse_shared_files(
    args: &cli::BatchArgs,
    settings: &Settings,
    out: &OutputTarget,
) -> Result<(), Failure> {
    let out = out.resumable().map(Path::to_owned);
    let acks = out.as_deref().map(acks_path);
    let input = args.file.as_ref().filter(|path| *path != Path::new("-"));
    let files = [
        ("the input", input),
        ("--out", out.as_ref()),
        ("the ack file of --out", acks.as_ref()),
        ("--summary", args.summary.as_ref()),
        ("--record", settings.record.as_ref()),
    ];
    let files = files
        .into_iter()
        .filter_map(|(what, path)| Some((what, path?)));
    let files: Vec<(&str, &PathBuf)> = files.collect();
    for (index, (what, path)) in files.iter().enumerate() {
        let same = files[..index]
            .iter()
            .find(|(_, other)| is_same_file(path, other));
        if let Some((earlier, _)) = same {
            return Err(
                Failure::usage(format!("{what} names the same file as {earlier}"))
                    .hint("name another file"),
            );
        }
    }
    Ok(())
}
