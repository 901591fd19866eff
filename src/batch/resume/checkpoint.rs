//! Opens the output and its ack file: fresh for a new run, or with the state of the run that is resumed.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use crate::batch::output::target::OutputTarget;
use crate::batch::output::temporary;
use crate::batch::plan::{self, Plan, Start};
use crate::batch::resume::acks::{AckFile, AckState, RunIdentity};
use crate::batch::resume::previous_output::PreviousOutput;
use crate::compression::Compression;
use crate::failure::Failure;

/// The state that earlier runs left behind, and the open ack file.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// `None` for an output that cannot be resumed.
    pub acks: Option<AckFile>,
    /// The first line of a new ack file, written once nothing can refuse the run any more.
    pub header: Option<RunIdentity>,
    pub acked: AckState,
    pub output: Option<PreviousOutput>,
}

impl Checkpoint {
    /// Opens the output of `plan` and its ack file. A resumed run without `--run` gets the name of the earlier run.
    ///
    /// # Errors
    /// When a file cannot be used, exists although it must not, or belongs to another run. `model` is the default
    /// model of the run, `sample` the share of traces that are sent.
    pub fn open(plan: &mut Plan, model: &str, sample: f64) -> Result<Self, Failure> {
        let OutputTarget::Regular(path) = plan.out.clone() else {
            return Ok(Self::default());
        };
        let has_lines = fs::metadata(&path).is_ok_and(|found| found.len() > 0);
        temporary::remove_left_behind(&path);
        match plan.start {
            Start::Resume { .. } => Self::resume(plan, (model, sample), &path, has_lines),
            Start::New if has_lines => Err(Failure::file(format!(
                "{} already exists and is not empty",
                path.display()
            ))
            .hint("--resume continues it, --overwrite replaces it")),
            Start::New | Start::Overwrite => Self::create(&path, identity(plan, model, sample)),
        }
    }

    /// Empties the ack file, then the output: in the other order a kill could leave the acks of an older run beside a
    /// new output.
    fn create(path: &Path, run: RunIdentity) -> Result<Self, Failure> {
        let acks_path = plan::acks_path(path);
        let unwritable = |error: io::Error| Failure::unwritable(path.display(), &error);
        let mut options = OpenOptions::new();
        let out = options.write(true).create(true).truncate(false).open(path);
        let out = out.map_err(unwritable)?;
        let mut acks = open_acks(&acks_path, path)?;
        acks.clear()
            .map_err(|error| Failure::unwritable(acks_path.display(), &error))?;
        out.set_len(0).map_err(unwritable)?;
        Ok(Self {
            acks: Some(acks),
            header: Some(run),
            ..Self::default()
        })
    }

    fn resume(
        plan: &mut Plan,
        (model, sample): (&str, f64),
        path: &Path,
        has_lines: bool,
    ) -> Result<Self, Failure> {
        let is_named = matches!(plan.start, Start::Resume { is_named: true, .. });
        let acks_path = plan::acks_path(path);
        let needs_acks = has_lines && !is_named;
        if needs_acks && !acks_path.exists() {
            return Err(no_name(&acks_path));
        }
        let mut acks = open_acks(&acks_path, path)?;
        let found = acks.read().map_err(|error| {
            Failure::unreadable(acks_path.display(), &error)
                .hint("--resume needs this file; --overwrite starts again")
        })?;
        let (header, acked) = match found {
            Some((earlier, acked)) => {
                if !is_named {
                    plan.rename(earlier.name.clone());
                }
                refuse_changes(&earlier, &identity(plan, model, sample), path)?;
                (None, acked)
            }
            None if needs_acks => return Err(no_name(&acks_path)),
            None => {
                let acked = AckState {
                    old_run: has_lines.then(|| plan.name.clone()),
                    ..AckState::default()
                };
                (Some(identity(plan, model, sample)), acked)
            }
        };
        let output = has_lines
            .then(|| PreviousOutput::read(path, Compression::of_name(path), &acked, sample))
            .transpose()?;
        Ok(Self {
            acks: Some(acks),
            header,
            acked,
            output,
        })
    }
}

fn identity(plan: &Plan, model: &str, sample: f64) -> RunIdentity {
    RunIdentity {
        name: plan.name.clone(),
        model: model.to_owned(),
        shard: plan.shard.map(|shard| shard.to_string()),
        session: plan.trace.session.clone(),
        prompt: plan.prompt.as_ref().map(|prompt| {
            let link = prompt.link();
            format!("{}:{}", link.name, link.version)
        }),
        experiment: plan
            .experiment
            .as_ref()
            .map(|experiment| experiment.identity.clone()),
        notes_begun: true,
        sample,
    }
}

fn no_name(acks: &Path) -> Failure {
    Failure::input(format!(
        "{} is missing or empty, so the name of the run is unknown",
        acks.display()
    ))
    .hint("give --run NAME as in the earlier run")
}

/// Opens the ack file of the output `out`.
fn open_acks(path: &Path, out: &Path) -> Result<AckFile, Failure> {
    AckFile::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            Failure::file(format!("{} is being written by another run", out.display()))
                .hint("wait until it ends, or name another file with --out")
        }
        _ => Failure::unwritable(path.display(), &error),
    })
}

/// Refuses to resume with another name, model, shard, session, prompt, experiment or dataset.
fn refuse_changes(earlier: &RunIdentity, now: &RunIdentity, path: &Path) -> Result<(), Failure> {
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let name = |run: &RunIdentity| Some(run.experiment.as_ref()?.name.clone());
    let dataset = |run: &RunIdentity| run.experiment.as_ref()?.dataset();
    let values = [
        ("run", earlier.name.clone(), now.name.clone()),
        ("model", earlier.model.clone(), now.model.clone()),
        ("shard", or_none(&earlier.shard), or_none(&now.shard)),
        ("session", or_none(&earlier.session), or_none(&now.session)),
        ("prompt", or_none(&earlier.prompt), or_none(&now.prompt)),
        ("experiment", or_none(&name(earlier)), or_none(&name(now))),
        (
            "dataset",
            or_none(&dataset(earlier)),
            or_none(&dataset(now)),
        ),
    ];
    let changed = values.into_iter().find(|(_, earlier, now)| earlier != now);
    let Some((what, earlier, now)) = changed else {
        return Ok(());
    };
    let path = path.display();
    Err(Failure::input(format!(
        "{path} was written with {what} {earlier}, not {now}"
    ))
    .hint(format!(
        "give --{what} as in the earlier run, or name another file with --out"
    )))
}
