//! `--strict`: checks every line before anything is sent.

use std::collections::HashSet;

use crate::batch::input::line::ParsedLine;
use crate::batch::input::{Input, RawLine};
use crate::batch::plan::Plan;
use crate::console::{Console, counted};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::trace::ids;

/// How many invalid lines are listed.
const MOST_LISTED: u64 = 5;

/// Refuses an input with invalid lines, or with a `custom_id` that occurs twice.
///
/// # Errors
/// When there are any, or the input cannot be read.
pub fn check(
    input: &Input,
    plan: &Plan,
    settings: &Settings,
    console: &Console,
) -> Result<(), Failure> {
    let (mut invalid, mut repeated) = (0_u64, 0_u64);
    // 64 bits of a digest are enough to distinguish a million ids.
    let mut ids: HashSet<u64> = HashSet::new();
    let mut is_repeated = |id: &str| !ids.insert(ids::digest64(id));
    for_each_line(input, plan, settings, |line, parsed| {
        let (count, why) = match parsed {
            Err(why) => (&mut invalid, why),
            Ok(ParsedLine {
                custom_id: Some(id),
                ..
            }) if is_repeated(&id) => {
                let why = format!("custom_id `{id}` is already used by an earlier line");
                (&mut repeated, why)
            }
            Ok(_) => return,
        };
        *count += 1;
        if invalid + repeated <= MOST_LISTED {
            console.note(&format!("{}, line {}: {why}", input.name, line.number));
        }
    })?;
    let (lines, hint) = match (invalid, repeated) {
        (0, 0) => return Ok(()),
        (_, 0) => (counted(invalid, "invalid line"), INVALID_HINT),
        (0, _) => (repetitions(repeated), REPEATED_HINT),
        _ => {
            let invalid = counted(invalid, "invalid line");
            (
                format!("{invalid} and {}", repetitions(repeated)),
                INVALID_HINT,
            )
        }
    };
    Err(Failure::input(format!("{} has {lines}", input.name)).hint(hint))
}

const INVALID_HINT: &str = "fix them; without --strict each invalid line gets an error line";
const REPEATED_HINT: &str =
    "give each line its own custom_id; without --strict, lines with the same one share a trace";

fn repetitions(count: u64) -> String {
    format!("{} with a repeated custom_id", counted(count, "line"))
}

/// Refuses a run without the key that its lines need. Of a pipe, only the key of the chosen dialect is checked. With that
/// key only the first line is looked at: a later one for another endpoint without a key is an invalid line.
///
/// # Errors
/// If a key is missing, or the input cannot be read.
pub fn check_keys(input: &Input, plan: &Plan, settings: &Settings) -> Result<(), Failure> {
    let model = &settings.model;
    let checked = model.check_key();
    if input.size.is_none() {
        return if model.anthropic.key.is_some() {
            Ok(())
        } else {
            checked
        };
    }
    let unreadable = |error| Failure::unreadable(&input.name, &error);
    let defaults = plan.line_defaults(model);
    let mut is_asked = false;
    for line in input.lines().map_err(unreadable)? {
        // An invalid line is reported when the run reaches it.
        let Ok(line) = line else { break };
        if let Ok(parsed) = ParsedLine::read(&line, &defaults) {
            model.check_key_of(parsed.request.dialect())?;
            is_asked = true;
        }
        if checked.is_ok() {
            break;
        }
    }
    if is_asked { Ok(()) } else { checked }
}

/// Parses every line of the run's shard, up to `--limit`.
///
/// # Errors
/// When the input cannot be read.
pub fn for_each_line(
    input: &Input,
    plan: &Plan,
    settings: &Settings,
    mut visit: impl FnMut(&RawLine, Result<ParsedLine, String>),
) -> Result<(), Failure> {
    let unreadable = |error| Failure::unreadable(&input.name, &error);
    let defaults = plan.line_defaults(&settings.model);
    for (line, before) in input.lines().map_err(unreadable)?.zip(0..) {
        let line = line.map_err(unreadable)?;
        if plan.limit.is_some_and(|limit| before >= limit) {
            break;
        }
        if plan.includes(line.number) {
            visit(&line, ParsedLine::parse(&line, &defaults));
        }
    }
    Ok(())
}
