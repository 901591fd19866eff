//! What to do when a Langfuse did not answer a question: one line for each cause.

use crate::langfuse::{ApiError, Base};
use crate::settings::{Notes, Origin, Shown};

/// The remedy, with the `setting` that chose the server. Refused keys are another matter.
pub fn remedy(error: &ApiError, setting: &str) -> String {
    if let Some(remedy) = error.remedy {
        return remedy.to_owned();
    }
    match error.status {
        None => format!("check {setting}: is it right, and is the server running and reachable?"),
        Some(300..400) => {
            format!("redirects are not followed: change {setting} to where the server points")
        }
        Some(408 | 429 | 500..) => "the server is busy or broken: try again later".to_owned(),
        Some(_) => format!(
            "check {setting}: is it the URL of a Langfuse, with no proxy or login page before it?"
        ),
    }
}

/// The setting that chose the Langfuse at `base`, and what it is set to.
pub fn setting(notes: &Notes, base: &Base) -> String {
    let mut shown = notes.shown.iter();
    match shown.find(|shown| shown.name == "destination") {
        Some(Shown {
            origin: origin @ (Origin::Flag(_) | Origin::Environment(_) | Origin::EnvFile { .. }),
            ..
        }) => format!("{origin} ({base})"),
        _ => format!("LANGFUSE_BASE_URL ({base})"),
    }
}
