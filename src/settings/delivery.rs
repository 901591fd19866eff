//! How traces are delivered, and where they wait.

use std::path::PathBuf;
use std::time::Duration;

use super::defaults::CommandDefaults;
use super::folders::state_dir;
use super::shown::{Notes, Shown};
use super::sources::{Origin, Sourced, Sources};
use crate::cli;
use crate::delivery::outbox;
use crate::failure::Failure;

/// How delivery is done.
#[derive(Clone, Debug)]
pub struct DeliverySettings {
    /// How long `--verify` waits until the trace can be read; none without it.
    pub verify: Option<Duration>,
    pub best_effort: bool,
    pub export_timeout: Duration,
    pub outbox: Option<OutboxPlace>,
    /// The share of calls that is traced.
    pub sample: f64,
}

/// Where the outbox lies and how much it may hold; an error when no place for it can be named.
#[derive(Clone, Debug)]
pub struct OutboxPlace {
    pub dir: Result<PathBuf, String>,
    pub max_bytes: u64,
}

/// How long `--verify` and `check` wait by default.
pub const DEFAULT_WAIT: Duration = Duration::from_mins(1);

/// The place of the outbox.
///
/// # Errors
/// If the limit is not a number.
pub fn outbox_place(sources: &Sources) -> Result<OutboxPlace, Failure> {
    let max_bytes = match sources.get("LANGSPAN_OUTBOX_MAX") {
        None => outbox::DEFAULT_MAX_BYTES,
        Some(found) => found.value.trim().parse().map_err(|_| {
            Failure::config(format!(
                "{}: `{}` is not a number of bytes",
                found.origin, found.value
            ))
            .hint("as in 2147483648")
        })?,
    };
    let dir = match sources.path("LANGSPAN_OUTBOX") {
        Some(dir) => Ok(dir),
        None => state_dir(sources)
            .map(|dir| dir.join("outbox"))
            .map_err(|_| "none of LANGSPAN_OUTBOX, XDG_STATE_HOME and HOME is set".to_owned()),
    };
    Ok(OutboxPlace { dir, max_bytes })
}

/// How long a trace is waited for until it can be read.
///
/// # Errors
/// If the settings file holds no number of seconds.
pub fn wait(
    options: &cli::WaitArgs,
    default: Duration,
    sources: &Sources,
) -> Result<Duration, Failure> {
    let found = sources.parsed("--wait", options.seconds, &[], cli::seconds)?;
    Ok(found.map_or(default, |found| Duration::from_secs_f64(found.value)))
}

pub(super) fn resolve(
    options: &cli::DeliveryArgs,
    defaults: &CommandDefaults,
    sources: &Sources,
    notes: &mut Notes,
) -> Result<DeliverySettings, Failure> {
    let sample = match (
        options.sample,
        sources.setting("sample", &["LANGFUSE_SAMPLE_RATE"]),
    ) {
        (Some(rate), _) => Some(Sourced::new(rate, Origin::Flag("--sample"))),
        (None, Some(found)) => Some(Sourced::new(
            cli::rate(found.value.trim()).map_err(|error| {
                Failure::config(format!("{}: `{}` is not a rate", found.origin, found.value))
                    .hint(error)
            })?,
            found.origin,
        )),
        (None, None) => None,
    };
    notes.shown.extend(
        sample
            .as_ref()
            .map(|found| Shown::new("sample", found.value, found.origin.clone())),
    );
    let is_on = |flag, given, names: &[&str]| -> Result<bool, Failure> {
        let found = sources.switch(flag, given, names)?;
        Ok(found.is_some_and(|found| found.value))
    };
    let seconds = |flag, given| -> Result<Option<Duration>, Failure> {
        let found = sources.parsed(flag, given, &[], cli::seconds)?;
        Ok(found.map(|found| Duration::from_secs_f64(found.value)))
    };
    let wait = wait(&options.wait, DEFAULT_WAIT, sources)?;
    Ok(DeliverySettings {
        verify: is_on("--verify", options.verify, &["LANGSPAN_VERIFY"])?.then_some(wait),
        best_effort: is_on(
            "--best-effort",
            options.best_effort,
            &["LANGSPAN_BEST_EFFORT"],
        )?,
        export_timeout: seconds("--export-timeout", options.export_timeout)?
            .unwrap_or(defaults.export_timeout),
        outbox: if is_on("--no-outbox", options.no_outbox, &[])? {
            None
        } else {
            Some(outbox_place(sources)?)
        },
        sample: sample.map_or(1.0, |found| found.value),
    })
}
