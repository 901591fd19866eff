//! Which generation of a trace is meant.

use std::collections::HashSet;

use super::input;
use crate::console::Console;
use crate::failure::Failure;
use crate::langfuse::Row;
use crate::model::content::text_of;

/// The most generations that a message names.
const MOST_NAMED: usize = 50;

/// The most characters of a question in the list.
const LONGEST_QUESTION: usize = 40;

/// The generation with the id `observation`, or the only one below that; without an id, the only one of the trace. Where
/// there are several, they are printed.
///
/// # Errors
/// If there is none, or several.
pub fn choose<'r>(
    rows: &'r [Row],
    observation: Option<&str>,
    trace_id: &str,
    console: &Console,
) -> Result<&'r Row, Failure> {
    let mut ids = HashSet::new();
    // A span that was sent twice has two rows until the server merges them.
    let calls = rows.iter().filter(|row| row.is_model_call());
    let mut calls: Vec<&Row> = calls.filter(|row| ids.insert(row.id())).collect();
    calls.sort_by_key(|row| row.time("startTime"));
    if let Some(id) = observation {
        if let Some(chosen) = calls.iter().find(|row| row.id() == id) {
            return Ok(chosen);
        }
        if rows.iter().all(|row| row.id() != id) {
            return Err(
                Failure::input(format!("trace {trace_id} has no observation {id}"))
                    .hint(format!("see langspan show {trace_id}")),
            );
        }
        calls.retain(|call| is_below(call, id, rows));
    }
    let of_what = match observation {
        Some(id) => format!("the observation {id} of trace {trace_id}"),
        None => format!("trace {trace_id}"),
    };
    match calls.as_slice() {
        [chosen] => Ok(chosen),
        [] => Err(
            Failure::input(format!("{of_what} has no generation: no model was called"))
                .hint(format!("see langspan show {trace_id}")),
        ),
        several => {
            for call in several.iter().take(MOST_NAMED) {
                console.note(&format!("  {}", console.clean(&described(call))));
            }
            let count = several.len();
            Err(
                Failure::input(format!("{of_what} has {count} generations")).hint(format!(
                    "choose one: --from '{trace_id}?observation={}'",
                    several[0].id()
                )),
            )
        }
    }
}

/// Its id, when it began, its name, and how its question begins.
fn described(call: &Row) -> String {
    let time = call.time("startTime").map(|time| time.to_string());
    let question = question(call).map(|text| {
        let text: String = text.chars().take(LONGEST_QUESTION).collect();
        format!("“{text}”")
    });
    let parts = [
        Some(call.id().to_owned()),
        time,
        call.text("name").map(str::to_owned),
        question,
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn question(call: &Row) -> Option<String> {
    let input = input::of_row(call).ok()?;
    let messages = input.content.conversation;
    let mut latest_first = messages.as_array()?.iter().rev();
    let asked = latest_first.find(|message| message["role"] == "user")?;
    text_of(&asked["content"])
}

/// Whether a row is below the observation `id`.
fn is_below(row: &Row, id: &str, rows: &[Row]) -> bool {
    let mut seen = HashSet::new();
    let mut at = row;
    while let Some(parent) = at.parent() {
        if parent == id {
            return true;
        }
        let above = rows.iter().find(|row| row.id() == parent);
        match above.filter(|above| seen.insert(above.id())) {
            Some(above) => at = above,
            None => return false,
        }
    }
    false
}
