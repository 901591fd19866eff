//! The comparison for a terminal: a table, and the items that changed with the links to their traces.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use crate::compare::change::{ChangeKind, ItemChange};
use crate::compare::comparison::RunComparison;
use crate::compare::rows::{ComparedRow, rows};
use crate::compare::run::ComparedRun;
use crate::console::counted;
use crate::output::columns::{cut, pad, plain};

/// The most items of one list.
const LISTED: usize = 20;
/// The narrowest column of names, where changes are written out.
const NARROW_NAMES: usize = 14;
/// Blanks between two columns of the table, where there is room for them.
const GAP: usize = 2;
const CHANGE: &str = "change";

/// The comparison in lines of at most `width` columns; links are never cut.
pub fn to_text(comparison: &RunComparison<'_>, width: usize) -> String {
    let mut text = String::new();
    for run in [comparison.a, comparison.b] {
        let line = format!(
            "{}  {}: {}",
            run.letter,
            run.name,
            counted(run.len() as u64, "item")
        );
        push(&mut text, &line, width);
        if let Some(url) = &run.url {
            let _ = writeln!(text, "   {url}");
        }
    }
    text.push('\n');
    for line in table(&rows(comparison), width) {
        push(&mut text, &line, width);
    }
    for (kind, verb) in [
        (ChangeKind::Regressed, "regressed"),
        (ChangeKind::Fixed, "fixed"),
    ] {
        let count = comparison.count(kind);
        if count > 0 {
            let _ = writeln!(text, "\n{} {verb}", counted(count, "item"));
            for change in comparison.changed(kind).take(LISTED) {
                push_change(&mut text, comparison, change, width);
            }
            push_more(&mut text, count);
        }
    }
    push_new(&mut text, comparison, width);
    text
}

fn table(rows: &[ComparedRow], width: usize) -> Vec<String> {
    let widest = |cell: fn(&ComparedRow) -> &String| {
        let widths = rows.iter().map(|row| cell(row).width());
        widths.max().unwrap_or_default()
    };
    let (a, b) = (widest(|row| &row.a), widest(|row| &row.b));
    let left = |change: usize, gap: usize| width.saturating_sub(a + b + change + 3 * gap);
    let names = widest(|row| &row.name);
    let changes = widest(|row| &row.change).max(CHANGE.len());
    let is_wide = left(changes, GAP) >= names.min(NARROW_NAMES);
    let (gap, names) = if is_wide {
        (GAP, names.min(left(changes, GAP)))
    } else {
        let changes = widest(|row| &row.short_change).max(CHANGE.len());
        (1, names.min(left(changes, 1)))
    };
    let line = |name: &str, first: &str, second: &str, change: &str| {
        let name = pad(&cut(name, names), names);
        let gap = " ".repeat(gap);
        let line = format!("{name}{gap}{first:>a$}{gap}{second:>b$}{gap}{change}");
        line.trim_end().to_owned()
    };
    let head = line("", "A", "B", CHANGE);
    let body = rows.iter().map(|row| {
        let change = if is_wide {
            &row.change
        } else {
            &row.short_change
        };
        let name = if row.name.width() > names {
            &row.short_name
        } else {
            &row.name
        };
        line(name, &row.a, &row.b, change)
    });
    std::iter::once(head).chain(body).collect()
}

/// An item that changed: its name, how, and the links to both traces.
fn push_change(
    text: &mut String,
    comparison: &RunComparison<'_>,
    change: &ItemChange,
    width: usize,
) {
    let (a, b, pair) = (comparison.a, comparison.b, change.pair);
    let key = a.key(pair.a);
    push(
        text,
        &format!("  {key}: {}", how(comparison, change)),
        width,
    );
    for (run, index) in [(a, pair.a), (b, pair.b)] {
        if let Some(link) = trace(run, index) {
            let _ = writeln!(text, "    {} {link}", run.letter);
        }
    }
}

/// The link to the trace of an item, or else the id of the trace.
fn trace(run: &ComparedRun, index: u32) -> Option<String> {
    let url = run.trace_url(index).map(|url| plain(&url));
    url.or_else(|| Some(format!("trace {}", run.trace_id(index)?)))
}

/// How an item changed, in words.
pub fn how(comparison: &RunComparison<'_>, change: &ItemChange) -> String {
    let cause = comparison.b.cause(change.pair.b);
    let failed = cause.map(|cause| format!("failed ({cause})"));
    let listed = |places: &[u32], what: &str| {
        let names: Vec<&str> = comparison.names(places).collect();
        (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
    };
    let missed = listed(&change.missed, "missed").filter(|_| failed.is_none());
    let parts = [failed, missed, listed(&change.met, "met")];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The items that only B has.
fn push_new(text: &mut String, comparison: &RunComparison<'_>, width: usize) {
    let new = &comparison.only_in_b;
    if new.is_empty() {
        return;
    }
    let count = new.len() as u64;
    let _ = writeln!(text, "\n{} only in B", counted(count, "item"));
    for index in new.iter().take(LISTED) {
        push(text, &format!("  {}", comparison.b.key(*index)), width);
    }
    push_more(text, count);
}

fn push_more(text: &mut String, count: u64) {
    let more = count.saturating_sub(LISTED as u64);
    if more > 0 {
        let _ = writeln!(text, "  and {more} more; all: -o json");
    }
}

fn push(text: &mut String, line: &str, width: usize) {
    text.push_str(&cut(&plain(line), width));
    text.push('\n');
}
