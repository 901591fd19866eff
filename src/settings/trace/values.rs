//! Which values of a trace are refused, and which only give a warning.

use crate::failure::Failure;
use crate::langfuse::keys::{PUBLIC_PREFIX, SECRET_PREFIX};
use crate::langfuse::stored_environment;
use crate::settings::shown::Notes;
use crate::settings::sources::Sourced;
use crate::trace;

/// The longest value that the Langfuse SDKs let pass, in characters.
const LONGEST: usize = 200;
/// The longest name of an environment that the server does not cut.
const LONGEST_ENVIRONMENT: usize = 40;

/// Refuses a key among the values of a trace: everyone who sees the trace would see it.
///
/// # Errors
/// If a value looks like one.
pub fn refuse_keys(trace: &trace::Trace) -> Result<(), Failure> {
    values(trace).try_for_each(|(what, value)| refuse_key(what, value))
}

/// The warning about a value that is longer than Langfuse's SDKs allow.
pub fn warning_of_length(what: &str, value: &str) -> Option<String> {
    (value.chars().count() > LONGEST).then(|| {
        format!("the {what} is longer than {LONGEST} characters; Langfuse's own SDKs would drop it")
    })
}

/// The values of a trace, each with its name for people.
pub(super) fn values(trace: &trace::Trace) -> impl Iterator<Item = (&'static str, &str)> {
    let single = [
        ("user", trace.user.as_deref()),
        ("session", trace.session.as_deref()),
        ("name", trace.name.as_deref()),
        ("version", trace.version.as_deref()),
    ];
    let single = single
        .into_iter()
        .filter_map(|(what, value)| Some((what, value?)));
    let tags = trace.tags.iter().map(|tag| ("tag", tag.as_str()));
    let metadata = trace
        .metadata
        .iter()
        .map(|(_, value)| ("metadata value", value.as_str()));
    single.chain(tags).chain(metadata)
}

pub(super) fn refuse_key(what: &str, value: &str) -> Result<(), Failure> {
    if holds_key(value) {
        return Err(Failure::usage(format!(
            "the {what} looks like a Langfuse key and would be shown in the trace"
        ))
        .hint("keys belong in LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY"));
    }
    Ok(())
}

/// `sk-lf-…`, or a pair `pk-lf-…:`.
fn holds_key(value: &str) -> bool {
    value.contains(SECRET_PREFIX)
        || value
            .find(PUBLIC_PREFIX)
            .is_some_and(|start| value[start..].contains(':'))
}

/// Refuses an environment that the server would turn into `default` or cut, so that a filter finds what was sent.
pub(super) fn check_environment(
    environment: &Sourced<String>,
    notes: &mut Notes,
) -> Result<(), Failure> {
    let value = &environment.value;
    let wrong = |what: &str| {
        Err(Failure::usage(format!(
            "{}: the environment `{value}` {what}",
            environment.origin
        ))
        .hint("use lower-case letters, digits, - and _, at most 40"))
    };
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if !value.chars().all(fits) {
        return wrong("would become `default` in Langfuse");
    }
    if value.chars().count() > LONGEST_ENVIRONMENT {
        return wrong("is longer than 40 characters");
    }
    match stored_environment(value) {
        None => return wrong("would become `default` in Langfuse"),
        Some(stored) if stored != value => {
            notes.warnings.push(format!(
                "Langfuse will show the environment `{value}` as `{stored}`"
            ));
        }
        Some(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::sources::Origin;

    fn environment(value: &str) -> Result<Vec<String>, Failure> {
        let mut notes = Notes::default();
        check_environment(&Sourced::new(value.to_owned(), Origin::Default), &mut notes)?;
        Ok(notes.warnings)
    }

    #[test]
    fn environments_that_the_server_changes_are_noticed() {
        for right in ["production", "ci-1", "a_b", &"x".repeat(40)] {
            assert!(environment(right).unwrap().is_empty(), "{right}");
        }
        for wrong in [
            "Prod EU",
            "ci/github",
            "Prod",
            "langfuse",
            "langfuse-",
            &"x".repeat(41),
        ] {
            assert!(environment(wrong).is_err(), "{wrong}");
        }
        assert_eq!(environment("langfuse-x").unwrap().len(), 1);
    }

    #[test]
    fn keys_are_recognised_in_values() {
        for key in ["sk-lf-1", "x sk-lf-1", "pk-lf-1:sk", "pk-lf-1:"] {
            assert!(holds_key(key), "{key}");
        }
        for value in ["pk-lf-1", "a:b", "sk-1"] {
            assert!(!holds_key(value), "{value}");
        }
    }
}
