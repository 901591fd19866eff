//! What clap reports: help and version on stdout, a wrong command line as one line of cause and one of remedy.
//!
//! clap's own suggestions are not shown: many mislead (`tcsh` → `zsh`, `--messages` → `-- --messages`). A suggestion is
//! made only for what is nearly what was typed.

use std::env;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::topics;
use crate::console::{Console, OutputFormat};
use crate::failure::{Failure, Verdict};
use crate::output::Printer;

/// Whether the command line, which clap could not read, has `-q`.
fn is_quiet() -> bool {
    let mut arguments = env::args_os().take_while(|argument| argument != "--");
    arguments.any(|argument| argument == "-q" || argument == "--quiet")
}

/// Prints the help or version that was asked for, or explains why the command line is wrong.
pub fn say(error: &clap::Error) -> Verdict {
    let console = Console::new(is_quiet(), 0);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let mut printer = Printer::new(OutputFormat::Text);
            printer.text(&error.render().to_string());
            printer
                .take_failure()
                .map_or_else(Verdict::default, |failure| {
                    console.error(&failure);
                    failure.kind.into()
                })
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            console.note(error.render().to_string().trim_end());
            failure(error, None).kind.into()
        }
        _ => {
            let verb = env::args_os()
                .nth(1)
                .and_then(|verb| verb.into_string().ok());
            let verb = verb.filter(|verb| topics::COMMANDS.contains(&verb.as_str()));
            let failure = failure(error, verb.as_deref());
            console.error(&failure);
            failure.kind.into()
        }
    }
}

/// The failure that `error` is, in `langspan VERB`.
fn failure(error: &clap::Error, verb: Option<&str>) -> Failure {
    let given = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let option = given(ContextKind::InvalidArg).unwrap_or_default();
    let is_help_name = verb == Some("help") && error.kind() == ErrorKind::InvalidValue;
    let cause = match given(ContextKind::InvalidValue) {
        Some(name) if is_help_name => format!("unknown command or topic '{name}'"),
        _ => match given(ContextKind::InvalidSubcommand) {
            Some(name) => format!("unknown command '{name}'"),
            None => cause(error),
        },
    };
    let file = given(ContextKind::InvalidValue)
        .filter(|value| option.starts_with("--output") && value.contains(['.', '/']));
    let hint = suggestion(error, verb).map_or_else(
        || match (verb, file) {
            (Some("help"), _) => "see langspan help".to_owned(),
            (Some("batch"), Some(file)) => {
                format!("to write the answers to a file, use --out {file}")
            }
            (_, Some(file)) => format!("to write to a file, use > {file}"),
            (Some(verb), None) => format!("see langspan {verb} --help"),
            (None, None) => without_command(error),
        },
        |near| format!("did you mean {near}?"),
    );
    Failure::usage(cause).hint(hint)
}

/// What to do about a command line whose first word is not a command.
fn without_command(error: &clap::Error) -> String {
    let typed = |kind| strings(error, kind).next();
    let is_sentence = |name: &str| name.contains(char::is_whitespace);
    if typed(ContextKind::InvalidSubcommand).is_some_and(is_sentence) {
        "a prompt follows the command chat, as in: langspan chat \"Hello\"".to_owned()
    } else if typed(ContextKind::InvalidArg).is_some_and(|option| option.starts_with('-')) {
        "options follow the command, as in: langspan chat --sandbox \"Hello\"".to_owned()
    } else {
        "see langspan --help".to_owned()
    }
}

/// clap's first paragraph, on one line.
fn cause(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let cause = text.split("\n\n").next().unwrap_or_default();
    let cause = cause.strip_prefix("error: ").unwrap_or(cause).trim_end();
    match cause.split_once("\n  [possible values: ") {
        Some((cause, values)) => format!("{cause}: expected {}", alternatives(values)),
        None => cause.to_owned(),
    }
}

/// `a, b or c` of `a, b, c]`.
fn alternatives(values: &str) -> String {
    let values = values.trim_end_matches(']');
    match values.rsplit_once(", ") {
        Some((first, last)) => format!("{first} or {last}"),
        None => values.to_owned(),
    }
}

/// The known option, value or command that was probably meant.
fn suggestion<'a>(error: &'a clap::Error, verb: Option<&str>) -> Option<&'a str> {
    let (typed, known) = match error.kind() {
        ErrorKind::UnknownArgument => (ContextKind::InvalidArg, ContextKind::SuggestedArg),
        ErrorKind::InvalidValue => (ContextKind::InvalidValue, ContextKind::ValidValue),
        ErrorKind::InvalidSubcommand => {
            let typed = strings(error, ContextKind::InvalidSubcommand).next()?;
            return match verb {
                // The only command with commands of its own.
                Some("config") => nearest(typed, topics::OF_CONFIG.iter().copied()),
                _ => nearest(typed, topics::COMMANDS.iter().copied()),
            };
        }
        _ => return None,
    };
    nearest(strings(error, typed).next()?, strings(error, known))
}

fn strings(error: &clap::Error, kind: ContextKind) -> impl Iterator<Item = &str> {
    let strings = match error.get(kind) {
        Some(ContextValue::String(text)) => std::slice::from_ref(text),
        Some(ContextValue::Strings(texts)) => texts.as_slice(),
        _ => &[],
    };
    strings.iter().map(String::as_str)
}

/// The name of `known` that differs least from `typed`, if it differs by little.
fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const SHORTEST_BEGINNING: usize = 3;
    let distances = known.into_iter().filter_map(|name| {
        let is_beginning = typed.len() >= SHORTEST_BEGINNING && name.starts_with(typed);
        let distance = if is_beginning {
            1
        } else {
            distance(typed, name)
        };
        (distance <= (typed.chars().count() / 3).max(1)).then_some((distance, name))
    });
    distances
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters must be inserted, deleted, replaced, or swapped with their neighbour, to turn `a` into `b` (optimal
/// string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_suggested() {
        let known = ["zsh", "bash", "--verify", "environment", "exit-codes"];
        for (typed, expected) in [
            ("tcsh", None),
            ("bahs", Some("bash")),
            ("--verfiy", Some("--verify")),
            ("env", Some("environment")),
            ("exitcodes", Some("exit-codes")),
            ("--messages", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), expected, "{typed}");
        }
    }

    #[test]
    fn distances_count_edits() {
        for (a, b, expected) in [
            ("", "ab", 2),
            ("ab", "ba", 1),
            ("abc", "axc", 1),
            ("a", "a", 0),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
