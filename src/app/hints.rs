//! What to do when spans were not accepted, or Langfuse did not answer: one line for each cause. Hints about TLS and
//! proxies are in `http::transport`, since the model endpoint needs them as well; `check` has its own for refused keys.

use crate::delivery::Outcome;
use crate::http::url::shown;
use crate::http::{FailedPhase, proxy};
use crate::langfuse::base::REGIONS;
use crate::langfuse::{ApiError, Base};
use crate::settings::destination::Langfuse;
use crate::settings::{Destination, Notes, Origin, Shown, Tracing};

const SERVER_WORDS: &str = "see the server's message; -vv shows the whole answer";
/// For a 401: the server does not know the keys.
pub const OTHER_KEYS: &str =
    "check that LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are of this server's project";
/// For a 403: the keys are known, but not a project's.
pub const PROJECT_KEYS: &str =
    "use a project's own key pair, not a bearer token or an organization's key";
/// For an option or a body that a dialect does not support.
pub const DIALECTS: &str = "langspan help dialects shows what each dialect supports";
const BUSY: &str = "the server is busy or broken: try again later";
const UNPROVEN: &str = "nothing can prove that the spans did not arrive: langspan resend --again sends them, and a copy may then exist";

/// The hint for the outcome of a delivery under these settings.
pub fn of_delivery(outcome: &Outcome, tracing: &Tracing) -> Option<String> {
    match tracing {
        Tracing::On(destination) => of_outcome(outcome, destination),
        Tracing::Unreachable(failure) => failure.hint.clone(),
        Tracing::Off(_) => None,
    }
}

/// The hint for an outcome at a destination; `None` if the outcome says enough, or needs none.
pub fn of_outcome(outcome: &Outcome, destination: &Destination) -> Option<String> {
    let target = &destination.target.url;
    let url = shown(target);
    let hint = match outcome {
        Outcome::Rejected {
            status, message, ..
        } => of_rejection(*status, message, destination),
        Outcome::Partial { .. } => SERVER_WORDS.to_owned(),
        Outcome::Redirected { location, .. } if location.contains("://") => {
            format!("redirects are not followed: set the URL to {location}")
        }
        Outcome::Redirected { .. } => format!(
            "redirects are not followed: check that {url} is the server's own URL, without a login page before it"
        ),
        Outcome::NotOtlp { .. } => format!(
            "another service answers at {url}: check the URL, and that there is no proxy or login page before it"
        ),
        Outcome::Unreachable(error) => match (error.hint(), error.phase) {
            (Some(hint), _) => hint,
            (None, FailedPhase::Connect) => format!(
                "check that {} is right and reachable from here",
                target.origin().ascii_serialization()
            ),
            (None, FailedPhase::AfterSending) if !can_be_asked(destination) => UNPROVEN.to_owned(),
            (None, FailedPhase::AfterSending) => {
                "the server took the request and gave no answer: try again later".to_owned()
            }
        },
        Outcome::Unproven if !can_be_asked(destination) => UNPROVEN.to_owned(),
        Outcome::Unproven => "try again later".to_owned(),
        Outcome::Unasked(error) => of_unasked(error, destination),
        Outcome::Unsent(_)
        | Outcome::Interrupted
        | Outcome::Accepted { .. }
        | Outcome::Confirmed
        | Outcome::Present => return None,
    };
    Some(hint)
}

/// Whether the absence of spans proves something: not if a collector may pass them on later, or no Langfuse is there.
pub fn can_be_asked(destination: &Destination) -> bool {
    destination.langfuse.is_some() && !destination.is_collector
}

/// The hint for a Langfuse that did not say which spans it has.
fn of_unasked(error: &ApiError, destination: &Destination) -> String {
    match (error.status, &destination.langfuse) {
        (Some(status @ (401 | 403)), _) => of_rejection(status, &error.message, destination),
        (_, Some(langfuse)) => of_api_error(error, &format!("the URL {}", langfuse.base)),
        (_, None) => BUSY.to_owned(),
    }
}

fn of_rejection(status: u16, message: &str, destination: &Destination) -> String {
    let langfuse = destination
        .langfuse
        .as_ref()
        .filter(|_| !destination.is_collector);
    if let Some(hint) = proxy::hint(status, &destination.target.url) {
        return hint;
    }
    match status {
        401 => langfuse.map_or_else(
            || "check the OTLP header variables: the endpoint expects other credentials".to_owned(),
            wrong_key,
        ),
        403 if message.contains("suspended") => {
            "the project's plan is used up: upgrade it, or wait for the next period".to_owned()
        }
        403 => "use a project's key pair: a bearer token or an organization key cannot send traces"
            .to_owned(),
        404 | 405 => format!(
            "check the URL: spans were sent to {}",
            shown(&destination.target.url)
        ),
        413 => "the server, or a proxy before it, refuses requests of this size: raise its limit"
            .to_owned(),
        408 | 429 | 500.. => BUSY.to_owned(),
        _ => SERVER_WORDS.to_owned(),
    }
}

/// The hint for a key pair that Langfuse refused. Keys of Langfuse Cloud are valid in one region only.
pub fn wrong_key(langfuse: &Langfuse) -> String {
    let Langfuse {
        base, keys_origin, ..
    } = langfuse;
    let others: Vec<String> = REGIONS
        .iter()
        .filter(|(_, host)| *host != base.host())
        .map(|(region, host)| format!("{region} https://{host}"))
        .collect();
    if others.len() < REGIONS.len() {
        return format!(
            "check the keys ({keys_origin}), or their region: the URL may have to be {}",
            others.join(", ")
        );
    }
    format!("check that {keys_origin} are keys of {base}")
}

/// The hint for a request that Langfuse did not answer as expected, except refused keys. `setting` chose the server.
pub fn of_api_error(error: &ApiError, setting: &str) -> String {
    if let Some(hint) = &error.hint {
        return hint.clone();
    }
    match error.status {
        None => format!("check {setting}: is it right, and is the server running and reachable?"),
        Some(300..400) => {
            format!("redirects are not followed: change {setting} to where the server points")
        }
        Some(408 | 429 | 500..) => BUSY.to_owned(),
        Some(_) => format!(
            "check {setting}: is it the URL of a Langfuse, without a proxy or login page before it?"
        ),
    }
}

/// The setting that chose the Langfuse at `base`, and its value.
pub fn setting(notes: &Notes, base: &Base) -> String {
    let mut shown = notes.shown.iter();
    match shown.find(|shown| shown.name == "destination") {
        Some(Shown { origin, .. }) if !matches!(origin, Origin::Default | Origin::Sandbox) => {
            format!("{origin} ({base})")
        }
        _ => format!("LANGFUSE_BASE_URL ({base})"),
    }
}
