//! Whether and where traces go.

use super::delivery::DeliverySettings;
use super::destination::{self, Destination};
use super::keys::Unresolved;
use super::shown::{Notes, Shown};
use super::sources::{Origin, Sources};
use crate::cli;
use crate::failure::Failure;
use crate::trace::spans::Dialect;

/// Whether and where traces go.
#[derive(Debug)]
pub enum Tracing {
    /// A variable of the environment turned it off.
    Off(Origin),
    On(Box<Destination>),
    /// `--best-effort` without the keys for it: the spans wait in the outbox.
    Unreachable(Failure),
}

impl Tracing {
    /// Where traces go; none when they go nowhere.
    pub fn destination(&self) -> Option<&Destination> {
        match self {
            Self::On(destination) => Some(destination),
            Self::Off(_) | Self::Unreachable(_) => None,
        }
    }

    /// The attributes that the destination reads: Langfuse's, unless it is known to be another.
    pub fn dialect(&self) -> Dialect {
        self.destination()
            .map_or(Dialect::Langfuse, |destination| destination.dialect)
    }
}

/// Resolves whether and where traces go.
pub(super) fn resolve(
    options: &cli::DestinationArgs,
    sources: &Sources,
    sandbox: Option<u16>,
    delivery: &DeliverySettings,
    notes: &mut Notes,
) -> Result<Tracing, Failure> {
    if let Some(switch) = off_switch(sources) {
        notes
            .shown
            .push(Shown::new("tracing", "off", switch.clone()));
        return Ok(Tracing::Off(switch));
    }
    destination_of(options, sources, sandbox, delivery, notes)
}

/// Where traces go, whatever turns tracing off.
pub(super) fn destination_of(
    options: &cli::DestinationArgs,
    sources: &Sources,
    sandbox: Option<u16>,
    delivery: &DeliverySettings,
    notes: &mut Notes,
) -> Result<Tracing, Failure> {
    match destination::resolve(options, sources, sandbox, notes) {
        Ok(destination) if destination.langfuse.is_none() && delivery.verify.is_some() => {
            Err(Failure::config(
                "--verify needs a Langfuse: a plain OTLP backend cannot be asked for a trace",
            )
            .hint("omit --verify, or set LANGFUSE_BASE_URL and the keys"))
        }
        Ok(destination) => Ok(Tracing::On(Box::new(destination))),
        Err(Unresolved::NoKeys(failure)) if delivery.best_effort => {
            Ok(Tracing::Unreachable(failure))
        }
        Err(unresolved) => Err(unresolved.into()),
    }
}

/// The variable that turns tracing off, as the SDKs of Langfuse and OpenTelemetry know them.
pub fn off_switch(sources: &Sources) -> Option<Origin> {
    let is = |name: &str, wanted: &str| {
        sources
            .get(name)
            .filter(|found| found.value.trim().eq_ignore_ascii_case(wanted))
            .map(|found| found.origin)
    };
    is("LANGFUSE_TRACING_ENABLED", "false").or_else(|| is("OTEL_SDK_DISABLED", "true"))
}
