//! What to do when spans were not accepted: one line for each cause.

use crate::delivery::Outcome;
use crate::http::FailedPhase;
use crate::langfuse::Base;
use crate::langfuse::base::REGIONS;
use crate::settings::Destination;

/// The remedy for an outcome at a destination; none where the outcome says all, or needs none.
pub fn of_delivery(outcome: &Outcome, destination: &Destination) -> Option<String> {
    let url = &destination.target.url;
    let remedy = match outcome {
        Outcome::Rejected {
            status, message, ..
        } => of_rejection(*status, message, destination),
        Outcome::Partial { .. } => {
            "see the server's words above; -vv shows the whole answer".to_owned()
        }
        Outcome::Redirected { location, .. } if location.contains("://") => {
            format!("redirects are not followed: set the URL to {location}")
        }
        Outcome::Redirected { .. } => format!(
            "redirects are not followed: check that {url} is the server's own URL, and that no login page stands before it"
        ),
        Outcome::NotOtlp { .. } => format!(
            "something else answers at {url}: check the URL, and that no proxy or login page stands before it"
        ),
        Outcome::Unreachable(error) if error.remedy().is_some() => {
            error.remedy().unwrap_or_default().to_owned()
        }
        Outcome::Unreachable(error) if error.breakdown == FailedPhase::Connect => format!(
            "check that {} is right and reachable from here",
            url.origin().ascii_serialization()
        ),
        Outcome::Unreachable(_) => {
            "the server took the request and gave no answer: try again later".to_owned()
        }
        Outcome::Unsent(_) | Outcome::Accepted { .. } | Outcome::Confirmed => return None,
    };
    Some(remedy)
}

fn of_rejection(status: u16, message: &str, destination: &Destination) -> String {
    let langfuse = destination
        .langfuse
        .as_ref()
        .filter(|_| !destination.is_collector);
    match status {
        401 => langfuse.map_or_else(
            || "check the OTLP header variables: the endpoint wants other credentials".to_owned(),
            |langfuse| wrong_key(&langfuse.base),
        ),
        403 if message.contains("suspended") => {
            "the project's plan is used up: upgrade it, or wait for the next period".to_owned()
        }
        403 => {
            "use a project's key pair: a bearer token or an organization key may not send traces"
                .to_owned()
        }
        404 | 405 => format!(
            "check the URL: spans were sent to {}",
            destination.target.url
        ),
        413 => "the server or a proxy before it takes no request of this size: raise its limit"
            .to_owned(),
        408 | 429 | 500.. => "the server is busy or broken: try again later".to_owned(),
        _ => "see the server's words above; -vv shows the whole answer".to_owned(),
    }
}

/// Keys of Langfuse Cloud are valid in one region only.
fn wrong_key(base: &Base) -> String {
    let others: Vec<String> = REGIONS
        .iter()
        .filter(|(_, host)| *host != base.host())
        .map(|(region, host)| format!("{region} https://{host}"))
        .collect();
    if others.len() < REGIONS.len() {
        return format!(
            "check the keys, or their region: LANGFUSE_BASE_URL may have to be {}",
            others.join(", ")
        );
    }
    format!("check that LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are keys of {base}")
}
