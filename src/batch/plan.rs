//! What a batch is to do, as its options say: which lines, under which name, where the answers go.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use opentelemetry::trace::TraceId;

use crate::batch::compression::Packing;
use crate::batch::input::Input;
use crate::batch::output::writer::OutputSink;
use crate::batch::resume::acks::{self, AckState, Acks, Checkpoint};
use crate::batch::resume::previous_output::PreviousOutput;
use crate::cli;
use crate::console::OutputFormat;
use crate::delivery::OutboxPolicy;
use crate::failure::Failure;
use crate::settings::trace::{refuse_keys, warning_of_length};
use crate::settings::{Settings, Shard, Sources};
use crate::trace::{Trace, ids};

/// What a run does.
#[derive(Debug)]
pub struct Plan {
    pub name: String,
    pub shard: Option<Shard>,
    pub limit: Option<u64>,
    pub out: Out,
    /// What every trace of the run is filed under, unless its line says otherwise.
    pub trace: Trace,
}

/// Where the answers go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    Stdout,
    /// A file that a run can be continued from; it may not be there yet.
    Regular(PathBuf),
    /// A device or a pipe, written straight.
    Irregular(PathBuf),
}

impl Plan {
    /// # Errors
    /// When options contradict each other or the output's place.
    pub fn new(
        options: &cli::BatchArgs,
        input: &Input,
        settings: &Settings,
        sources: &Sources,
    ) -> Result<Self, Failure> {
        if let Some(named) = &settings.trace.named {
            return Err(Failure::usage(format!(
                "{} names one trace, but each line has its own",
                named.origin
            ))
            .hint("leave it out; --run NAME makes the trace ids the same each time"));
        }
        let out = Out::of(options.out.as_deref())?;
        if options.resume && !matches!(out, Out::Regular(_)) {
            return Err(Failure::usage("--resume needs an output file to continue")
                .hint("name a regular file with --out"));
        }
        let form = options
            .run
            .output
            .output
            .filter(|form| *form != OutputFormat::Text);
        let wants_document =
            !options.run.dry_run && (options.run.output.json || form == Some(OutputFormat::Json));
        if (wants_document && out == Out::Stdout)
            || matches!(form, Some(OutputFormat::Raw | OutputFormat::Url))
        {
            return Err(Failure::usage(
                "stdout carries the answers, in the form of OpenAI's Batch",
            )
            .hint("leave -o out; with --out FILE, -o json prints the summary"));
        }
        refuse_clashes(options, settings, &out)?;
        let shard = options.shard.map(|shard| Shard::resolve(shard, sources));
        let name = match &options.run_name {
            Some(name) if name.trim().is_empty() => {
                return Err(Failure::usage("--run is empty").hint("leave it out, or give a name"));
            }
            Some(name) => name.clone(),
            None => format!(
                "{}-{}",
                input.stem,
                Timestamp::now().strftime("%Y%m%dT%H%M%SZ")
            ),
        };
        let mut plan = Self {
            trace: settings.trace.of_call(),
            shard: shard.transpose()?,
            limit: options.limit,
            name: String::new(),
            out,
        };
        plan.rename(name);
        refuse_keys(&plan.trace)?;
        Ok(plan)
    }

    /// What is said of a run whose name makes a session that is too long.
    pub fn warning(&self) -> Option<String> {
        let session = self.trace.session.as_ref();
        session
            .filter(|session| **session == self.name)
            .and_then(|session| warning_of_length("run's name", session))
    }

    /// Takes the name of the run, which is its session where none was given.
    fn rename(&mut self, name: String) {
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

    /// The session that holds nothing but the traces of this run: one that bears its name, unless other shares file
    /// their traces there too.
    pub fn own_session(&self) -> Option<&str> {
        let session = self.trace.session.as_deref();
        session.filter(|session| self.shard.is_none() && *session == self.name)
    }

    /// Whether a line is of this run's share.
    pub fn holds(&self, line: u64) -> bool {
        self.shard.is_none_or(|shard| shard.holds(line))
    }

    /// The trace of a line: the same each time that the run is continued.
    pub fn trace_id(&self, line: u64, custom_id: Option<&str>, redo: u32) -> TraceId {
        let name = &self.name;
        let call = match custom_id {
            Some(id) => format!("{name}/{id}"),
            None => format!("{name}/line-{line}"),
        };
        let seed = match redo {
            0 => call,
            redo => format!("{call}/retry-{redo}"),
        };
        ids::from_seed(&seed)
    }

    /// Opens the file that tells how far the run comes; what an earlier run left is taken over.
    ///
    /// # Errors
    /// When a file cannot be used, holds something else, or is of a run that was another.
    pub fn ledger(
        &mut self,
        options: &cli::BatchArgs,
        settings: &Settings,
    ) -> Result<Checkpoint, Failure> {
        let Out::Regular(path) = self.out.clone() else {
            return Ok(Checkpoint::default());
        };
        let holds_answers = fs::metadata(&path).is_ok_and(|found| found.len() > 0);
        if options.resume {
            return self.take_over(&path, holds_answers, options, settings);
        }
        if holds_answers && !options.overwrite {
            return Err(
                Failure::file(format!("{} holds something already", path.display()))
                    .hint("--resume continues it, --overwrite replaces it"),
            );
        }
        self.begin(&path, settings)
    }

    /// Begins an output and its notes, in the place of any older ones: the notes first, or those of another run
    /// would stand beside the new output after a kill.
    fn begin(&self, path: &Path, settings: &Settings) -> Result<Checkpoint, Failure> {
        let acks_path = Acks::path(path);
        let cannot = |error: io::Error| unwritable(path, &error);
        let mut options = OpenOptions::new();
        let out = options.write(true).create(true).truncate(false).open(path);
        let out = out.map_err(cannot)?;
        let mut acks = open_acks(&acks_path, path)?;
        acks.clear()
            .map_err(|error| unwritable(&acks_path, &error))?;
        out.set_len(0).map_err(cannot)?;
        Ok(Checkpoint {
            acks: Some(acks),
            beginning: Some(self.run(settings)),
            ..Checkpoint::default()
        })
    }

    /// Opens the output.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn sink(&self) -> Result<OutputSink, Failure> {
        let (path, packing) = match &self.out {
            Out::Stdout => return Ok(Packing::Plain.pack(Box::new(io::stdout()))),
            Out::Irregular(path) => (path, Packing::Plain),
            Out::Regular(path) => (path, Packing::of(path)),
        };
        let is_regular = matches!(self.out, Out::Regular(_));
        let file = OpenOptions::new()
            .append(true)
            .create(is_regular)
            .open(path)
            .map_err(|error| unwritable(path, &error))?;
        Ok(packing.pack(Box::new(file)))
    }

    /// What tells this run from others.
    fn run(&self, settings: &Settings) -> acks::RunIdentity {
        acks::RunIdentity {
            name: self.name.clone(),
            model: settings.model.name.value.clone(),
            shard: self.shard.map(|shard| shard.to_string()),
            session: self.trace.session.clone(),
        }
    }

    fn take_over(
        &mut self,
        path: &Path,
        holds_answers: bool,
        options: &cli::BatchArgs,
        settings: &Settings,
    ) -> Result<Checkpoint, Failure> {
        let acks_path = Acks::path(path);
        let nameless = || {
            let message = format!(
                "{} is missing or empty, so the run's name is not known",
                acks_path.display()
            );
            Failure::input(message).hint("say --run NAME as in the run that is continued")
        };
        let needs_acks = holds_answers && options.run_name.is_none();
        if needs_acks && !acks_path.exists() {
            return Err(nameless());
        }
        let mut acks = open_acks(&acks_path, path)?;
        let read = acks.read().map_err(|error| {
            Failure::file(format!("{} cannot be read: {error}", acks_path.display()))
                .hint("it is the file that a run is continued from; --overwrite begins anew")
        })?;
        let (beginning, noted) = match read {
            Some((earlier, noted)) => {
                if options.run_name.is_none() {
                    self.rename(earlier.name.clone());
                }
                refuse_changes(&earlier, &self.run(settings), path)?;
                (None, noted)
            }
            None if needs_acks => return Err(nameless()),
            None => (Some(self.run(settings)), AckState::default()),
        };
        let past = holds_answers
            .then(|| PreviousOutput::read(path, Packing::of(path), &noted))
            .transpose()?;
        Ok(Checkpoint {
            acks: Some(acks),
            beginning,
            noted,
            past,
        })
    }
}

impl Out {
    /// When spans are put into the outbox: a run that can be continued can make them again.
    pub fn keep(&self) -> OutboxPolicy {
        match self {
            Self::Regular(_) => OutboxPolicy::OnFailure,
            Self::Stdout | Self::Irregular(_) => OutboxPolicy::BeforeSend,
        }
    }

    fn of(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Ok(Self::Stdout);
        };
        match fs::metadata(path) {
            Ok(found) if found.is_file() && !is_descriptor(path) => {
                Ok(Self::Regular(path.to_owned()))
            }
            Ok(found) if found.is_dir() => {
                Err(Failure::file(format!("{} is a directory", path.display()))
                    .hint("name a file in it"))
            }
            Ok(_) => Ok(Self::Irregular(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::Regular(path.to_owned()))
            }
            Err(error) => Err(unwritable(path, &error)),
        }
    }
}

/// Whether a path stands for a file that is open already, such as `/dev/stdout`: even where that is a regular one,
/// nothing can be put beside it.
fn is_descriptor(path: &Path) -> bool {
    let streams = ["/dev/stdout", "/dev/stderr"].map(Path::new);
    streams.contains(&path) || path.starts_with("/dev/fd") || path.starts_with("/proc")
}

/// Opens the notes of the run that writes `out`.
fn open_acks(path: &Path, out: &Path) -> Result<Acks, Failure> {
    Acks::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            Failure::file(format!("another run is writing {} just now", out.display()))
                .hint("wait until it has ended, or name another file with --out")
        }
        _ => unwritable(path, &error),
    })
}

/// Refuses to continue a run that was another.
fn refuse_changes(
    earlier: &acks::RunIdentity,
    now: &acks::RunIdentity,
    path: &Path,
) -> Result<(), Failure> {
    let known = |place: &Option<String>| place.clone().unwrap_or_else(|| "none".to_owned());
    let changes = [
        ("run", earlier.name.clone(), now.name.clone()),
        ("model", earlier.model.clone(), now.model.clone()),
        ("shard", known(&earlier.shard), known(&now.shard)),
        ("session", known(&earlier.session), known(&now.session)),
    ];
    for (what, earlier, now) in changes {
        if earlier != now {
            return Err(Failure::input(format!(
                "the {what} of {} was {earlier} and is {now} now",
                path.display()
            ))
            .hint(format!(
                "say --{what} as before, or begin another output file"
            )));
        }
    }
    Ok(())
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::file(format!("{} cannot be written: {error}", path.display()))
        .hint("check the path, its permissions and the room on the disk")
}

/// Refuses to write two things into one file, or over the input.
fn refuse_clashes(options: &cli::BatchArgs, settings: &Settings, out: &Out) -> Result<(), Failure> {
    let out = match out {
        Out::Regular(path) => Some(path),
        _ => None,
    };
    let acks = out.map(|path| Acks::path(path));
    let input = Some(&options.file).filter(|path| *path != Path::new("-"));
    let files = [
        ("the input", input),
        ("--out", out),
        ("the file of acks beside --out", acks.as_ref()),
        ("--summary", options.summary.as_ref()),
        ("--record", settings.record.as_ref()),
    ];
    let files = files
        .into_iter()
        .filter_map(|(what, path)| Some((what, path?)));
    let files: Vec<(&str, &PathBuf)> = files.collect();
    for (index, (what, path)) in files.iter().enumerate() {
        let clash = files[..index]
            .iter()
            .find(|(_, other)| is_same_file(path, other));
        if let Some((earlier, _)) = clash {
            return Err(
                Failure::usage(format!("{what} names the same file as {earlier}"))
                    .hint("name another file"),
            );
        }
    }
    Ok(())
}

/// Whether two paths name one regular file, which may not be there yet.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => {
            one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino())
        }
        (Err(_), Err(_)) => match (destination(one), destination(other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => one == other,
        },
        _ => false,
    }
}

/// Where a file will be that is not there yet, however its folder or a link to it is spelt.
fn destination(path: &Path) -> io::Result<PathBuf> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")))?;
    let path = folder.join(path.file_name().unwrap_or_default());
    match (fs::metadata(&path), fs::read_link(&path)) {
        (Err(error), Ok(target)) if error.kind() == io::ErrorKind::NotFound => {
            destination(&folder.join(target))
        }
        _ => Ok(path),
    }
}
