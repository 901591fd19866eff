//! The messages about deliveries that were not accepted, and what `--best-effort` makes of them: the same for one call,
//! a batch and `resend`.

use crate::app::hints;
use crate::console::{Console, counted};
use crate::delivery::{Delivery, Outcome, Stored};
use crate::failure::{Failure, Kind};
use crate::http::url::shown;
use crate::output::DeliveryState;
use crate::settings::Tracing;

/// The traces that a message is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// The trace of one call.
    Trace,
    /// This many traces of a batch.
    Traces(u64),
    /// An entry of the outbox.
    Entry(&'a str),
    /// A part of a file: its name, and whether it is more than one line.
    Lines(&'a str, bool),
}

impl Subject<'_> {
    fn name(self) -> String {
        match self {
            Self::Trace => "the trace".to_owned(),
            Self::Traces(count) => counted(count, "trace"),
            Self::Entry(id) => id.to_owned(),
            Self::Lines(name, _) => name.to_owned(),
        }
    }

    fn was(self) -> &'static str {
        match self {
            Self::Traces(count) if count != 1 => "were",
            Self::Lines(_, true) => "were",
            _ => "was",
        }
    }
}

/// The failure of a delivery whose spans were not accepted. `rerun` is the command that would deliver lost spans again,
/// where there is one.
pub fn failure(
    subject: Subject<'_>,
    delivery: &Delivery,
    tracing: &Tracing,
    rerun: Option<String>,
) -> Failure {
    let endpoint = tracing.destination().map(|to| shown(&to.target.url));
    let words = delivery.outcome.describe();
    let (kept, command) = match &delivery.stored {
        Stored::NotNeeded => (None, None),
        Stored::Kept { path, .. } => {
            let place = match subject {
                Subject::Traces(_) => path.parent().unwrap_or(path),
                _ => path,
            };
            let place = place.display();
            let can_be_proven = !delivery.outcome.is_ambiguous()
                || tracing.destination().is_none_or(hints::can_be_asked);
            let command = if can_be_proven {
                "; to deliver them: langspan resend"
            } else {
                ""
            };
            let kept = format!("the spans are kept in {place}{command}");
            (Some(kept), None)
        }
        Stored::Lost(why) if rerun.is_some() => (Some(format!("{why}; later")), rerun),
        Stored::Lost(why) => (Some(format!("the spans are LOST: {why}")), None),
    };
    of_outcome(subject, &delivery.outcome, &words, endpoint.as_deref())
        .hints([hints::of_delivery(&delivery.outcome, tracing), kept])
        .command(command)
}

/// The failure that an outcome is, without hints; `words` describe it.
pub fn of_outcome(
    subject: Subject<'_>,
    outcome: &Outcome,
    words: &str,
    endpoint: Option<&str>,
) -> Failure {
    let (name, was) = (subject.name(), subject.was());
    let message = match (outcome, endpoint) {
        (Outcome::Interrupted | Outcome::Unproven, _) => {
            format!("it is not known whether {name} {was} accepted: {words}")
        }
        (Outcome::Unsent(_) | Outcome::Unasked(_), _) => format!("{name} {was} not sent: {words}"),
        (_, Some(endpoint)) => format!("{name} {was} not accepted by {endpoint}: {words}"),
        (_, None) => format!("{name} {was} not accepted: {words}"),
    };
    Failure::new(Kind::Delivery, message)
        .status(outcome.status())
        .retryable(outcome.is_retryable())
}

/// Whether `--best-effort` makes a warning of a failure.
pub fn is_forgiven(failure: &Failure, best_effort: bool) -> bool {
    best_effort && matches!(failure.kind, Kind::Delivery | Kind::NotReadable)
}

/// Prints a failure: as a warning if `--best-effort` forgives it, else as an error.
pub fn print(failure: &Failure, best_effort: bool, console: &Console) {
    if is_forgiven(failure, best_effort) {
        console.forgiven(failure);
    } else {
        console.error(failure);
    }
}

/// The state of a trace after its delivery.
pub fn state(delivery: &Delivery) -> DeliveryState {
    match &delivery.stored {
        _ if matches!(delivery.outcome, Outcome::Present) => DeliveryState::Present,
        _ if delivery.outcome.is_accepted() => DeliveryState::Accepted,
        Stored::Kept { .. } => DeliveryState::Spooled,
        Stored::NotNeeded | Stored::Lost(_) => DeliveryState::Failed,
    }
}
