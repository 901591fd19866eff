//! `--strict`: checks every line before anything is sent.

use std::collections::HashSet;

use crate::batch::input::Input;
use crate::batch::input::line::{LineDefaults, ParsedLine};
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
    let mut invalid: u64 = 0;
    // 64 bits of a digest are enough to distinguish a million ids.
    let mut ids: HashSet<u64> = HashSet::new();
    let mut problem = |line: Result<ParsedLine, String>| match line {
        Err(why) => Some(why),
        Ok(line) => {
            let id = line.custom_id?;
            let is_new = ids.insert(u64::from_be_bytes(ids::first_bytes(&id)));
            (!is_new).then(|| format!("custom_id `{id}` is already used by an earlier line"))
        }
    };
    for_each_line(input, plan, settings, |number, line| {
        if let Some(why) = problem(line) {
            invalid += 1;
            if invalid <= MOST_LISTED {
                console.note(&format!("{}, line {number}: {why}", input.name));
            }
        }
    })?;
    if invalid == 0 {
        return Ok(());
    }
    let lines = counted(invalid, "invalid line");
    Err(Failure::input(format!("{} has {lines}", input.name))
        .hint("fix them, or drop --strict to get one error line each"))
}

/// Parses every line of the run's shard, up to `--limit`.
///
/// # Errors
/// When the input cannot be read.
pub fn for_each_line(
    input: &Input,
    plan: &Plan,
    settings: &Settings,
    mut visit: impl FnMut(u64, Result<ParsedLine, String>),
) -> Result<(), Failure> {
    let unreadable = |error| Failure::unreadable(&input.name, &error);
    let defaults = LineDefaults {
        model: &settings.model,
        trace: &plan.trace,
    };
    let mut included = 0;
    for line in input.lines().map_err(unreadable)? {
        let line = line.map_err(unreadable)?;
        if !plan.includes(line.number) {
            continue;
        }
        included += 1;
        if plan.limit.is_some_and(|limit| included > limit) {
            break;
        }
        visit(line.number, ParsedLine::parse(&line, &defaults));
    }
    Ok(())
}
