//! The comparison as Markdown, for the summary of a CI job.

use std::fmt::Write as _;

use crate::compare::change::ChangeKind;
use crate::compare::comparison::RunComparison;
use crate::compare::rows::rows;
use crate::compare::run::ComparedRun;
use crate::compare::table::how;
use crate::console::counted;
use crate::output::markdown::cell;

/// The most items of one list: the services refuse summaries of more than a megabyte.
const LISTED: usize = 50;

/// A table of the rows, and one of the items that changed.
pub fn to_markdown(comparison: &RunComparison<'_>) -> String {
    let (a, b) = (comparison.a, comparison.b);
    let mut text = format!(
        "### langspan compare\n\nA: {}, B: {}, {}, {} regressed, {} fixed",
        named(a),
        named(b),
        counted(comparison.pairs.len() as u64, "item"),
        comparison.count(ChangeKind::Regressed),
        comparison.count(ChangeKind::Fixed),
    );
    if !comparison.only_in_b.is_empty() {
        let _ = write!(text, ", {} only in B", comparison.only_in_b.len());
    }
    text.push_str("\n\n| | A | B | change |\n|---|---:|---:|---|\n");
    for row in rows(comparison) {
        let (name, change) = (cell(&row.name), cell(&row.change));
        let _ = writeln!(text, "| {name} | {} | {} | {change} |", row.a, row.b);
    }
    text.push('\n');
    for (kind, title) in [
        (ChangeKind::Regressed, "Regressed"),
        (ChangeKind::Fixed, "Fixed"),
    ] {
        push_changes(&mut text, comparison, kind, title);
    }
    text
}

/// What the summary says when there is nothing to compare.
pub fn refusal(message: &str) -> String {
    format!("### langspan compare\n\n{}\n\n", cell(message))
}

fn push_changes(text: &mut String, comparison: &RunComparison<'_>, kind: ChangeKind, title: &str) {
    let count = comparison.count(kind);
    if count == 0 {
        return;
    }
    let _ = writeln!(text, "| {title} | | A | B |\n|---|---|---|---|");
    for change in comparison.changed(kind).take(LISTED) {
        let pair = change.pair;
        let key = cell(comparison.a.key(pair.a));
        let how = cell(&how(comparison, change));
        let (a, b) = (trace(comparison.a, pair.a), trace(comparison.b, pair.b));
        let _ = writeln!(text, "| {key} | {how} | {a} | {b} |");
    }
    text.push('\n');
    let more = count.saturating_sub(LISTED as u64);
    if more > 0 {
        let _ = writeln!(text, "and {more} more\n");
    }
}

/// The name of a run, which leads to its page if it has one.
fn named(run: &ComparedRun) -> String {
    let name = cell(&run.name);
    match &run.url {
        Some(url) => format!("[{name}](<{url}>)"),
        None => name,
    }
}

/// The link to the trace of an item.
fn trace(run: &ComparedRun, index: u32) -> String {
    let url = run.trace_url(index);
    // Angle brackets hold any address but one with such a bracket.
    let url = url.filter(|url| !url.contains(['<', '>', '|']) && !url.contains(char::is_control));
    url.map_or_else(String::new, |url| format!("[trace](<{url}>)"))
}
