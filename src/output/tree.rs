//! A trace drawn in a terminal: a tree with a time bar for each span, and the facts of each below it.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::langfuse::Row;

/// What a drawing is fitted to.
#[derive(Clone, Copy, Debug)]
pub struct Canvas {
    /// In columns.
    pub width: usize,
    pub colour: bool,
}

/// A bar shorter than this shows nothing.
const SHORTEST_BAR: usize = 10;
/// The widest column of names.
const WIDEST_NAME: usize = 40;

/// Draws the rows of one trace.
pub fn draw(trace_id: &str, rows: &[Row], canvas: Canvas) -> String {
    let mut drawing = Drawing {
        canvas,
        extent: Extent::of(rows),
        lines: vec![format!("trace {trace_id}")],
    };
    drawing.lines.extend(
        identity(rows)
            .into_iter()
            .flat_map(|line| wrap(&line, canvas.width)),
    );
    let branches = branches(rows);
    let widest = branches
        .iter()
        .map(|branch| branch.prefix.width() + name(branch.row).width())
        .max();
    let most = (canvas.width / 2).clamp(12, WIDEST_NAME);
    let names = widest.unwrap_or(0).min(most);
    for branch in &branches {
        drawing.branch(branch, names);
    }
    drawing.lines.push(String::new());
    drawing.lines.join("\n")
}

/// The time from the first start to the last end.
#[derive(Clone, Copy)]
struct Extent {
    start: Timestamp,
    seconds: f64,
}

impl Extent {
    fn of(rows: &[Row]) -> Self {
        let start = rows
            .iter()
            .filter_map(|row| row.time("startTime"))
            .min()
            .unwrap_or_default();
        let end = rows
            .iter()
            .filter_map(|row| row.time("endTime").or_else(|| row.time("startTime")))
            .max();
        let seconds = end.unwrap_or(start).duration_since(start).as_secs_f64();
        Self { start, seconds }
    }

    /// Where a moment lies in `columns`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a terminal's columns"
    )]
    fn column(self, moment: Timestamp, columns: usize) -> usize {
        if self.seconds <= 0.0 {
            return 0;
        }
        let share = moment.duration_since(self.start).as_secs_f64() / self.seconds;
        ((share.clamp(0.0, 1.0) * columns as f64) as usize).min(columns.saturating_sub(1))
    }
}

/// A row in its place.
struct Branch<'a> {
    row: &'a Row,
    /// What is drawn before the name.
    prefix: String,
    /// What is drawn before the facts below it.
    below: String,
}

/// The rows in the order of a tree, each under its parent, siblings by start.
fn branches(rows: &[Row]) -> Vec<Branch<'_>> {
    let is_root = |row: &Row| {
        row.parent()
            .is_none_or(|parent| rows.iter().all(|other| other.id() != parent))
    };
    let mut unique: Vec<&Row> = Vec::new();
    for row in rows {
        if unique.iter().all(|known| known.id() != row.id()) {
            unique.push(row);
        }
    }
    unique.sort_by_key(|row| row.time("startTime"));
    let mut branches = Vec::new();
    for root in unique.iter().copied().filter(|row| is_root(row)) {
        grow(root, &unique, String::new(), "", &mut branches);
    }
    branches
}

fn grow<'a>(
    row: &'a Row,
    rows: &[&'a Row],
    prefix: String,
    below: &str,
    branches: &mut Vec<Branch<'a>>,
) {
    let children: Vec<&Row> = rows
        .iter()
        .copied()
        .filter(|child| child.parent() == Some(row.id()))
        .collect();
    let trunk = if children.is_empty() { "   " } else { "│  " };
    branches.push(Branch {
        row,
        prefix,
        below: format!("{below}{trunk}"),
    });
    for (index, child) in children.iter().enumerate() {
        // A trace is data of others: a row that is its own ancestor must not draw for ever.
        if branches.iter().any(|branch| branch.row.id() == child.id()) {
            continue;
        }
        let (knee, below_knee) = if index + 1 == children.len() {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        grow(
            child,
            rows,
            format!("{below}{knee}"),
            &format!("{below}{below_knee}"),
            branches,
        );
    }
}

struct Drawing {
    canvas: Canvas,
    extent: Extent,
    lines: Vec<String>,
}

impl Drawing {
    fn branch(&mut self, branch: &Branch<'_>, names: usize) {
        let row = branch.row;
        let is_error = row.text("level") == Some("ERROR");
        let label = cut(&format!("{}{}", branch.prefix, name(row)), names);
        let time = duration(row).map_or_else(String::new, milliseconds);
        let head = format!("{} {time:>9}", pad(&label, names));
        let room = self.canvas.width.saturating_sub(head.width() + 2);
        let bar = if room < SHORTEST_BAR {
            String::new()
        } else {
            format!("  {}", self.bar(row, room.min(60)))
        };
        let line = format!("{head}{bar}");
        self.lines.push(self.paint(line.trim_end(), is_error));
        for fact in facts(row) {
            let room = self
                .canvas
                .width
                .saturating_sub(branch.below.width())
                .max(20);
            for line in wrap(&fact, room) {
                let line = format!("{}{line}", branch.below);
                self.lines
                    .push(self.paint(&line, is_error && fact.starts_with("ERROR")));
            }
        }
    }

    /// A bar from start to end, with a mark where the first token came.
    fn bar(&self, row: &Row, columns: usize) -> String {
        let Some(start) = row.time("startTime") else {
            return String::new();
        };
        let from = self.extent.column(start, columns);
        let to = row
            .time("endTime")
            .map_or(from, |end| self.extent.column(end, columns));
        let first = row
            .time("completionStartTime")
            .map(|first| self.extent.column(first, columns));
        (0..=to)
            .map(|column| match column {
                column if column < from => ' ',
                column if first == Some(column) => '┃',
                _ => '█',
            })
            .collect()
    }

    fn paint(&self, line: &str, is_error: bool) -> String {
        if self.canvas.colour && is_error {
            let style = Style::new().fg_color(Some(AnsiColor::Red.into()));
            return format!("{style}{line}{style:#}");
        }
        line.to_owned()
    }
}

fn name(row: &Row) -> String {
    let name = row
        .text("name")
        .or_else(|| row.text("type"))
        .unwrap_or("(no name)");
    name.chars().filter(|c| !c.is_control()).collect()
}

/// The identity of the trace, from the first row that has each value.
fn identity(rows: &[Row]) -> Vec<String> {
    let first = |field: &str| rows.iter().find_map(|row| row.text(field));
    let tags = rows
        .iter()
        .find_map(|row| row.field("tags").as_array().filter(|tags| !tags.is_empty()));
    let tags = tags.map(|tags| {
        tags.iter()
            .filter_map(|tag| tag.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    });
    let facts = [
        ("user", first("userId").map(str::to_owned)),
        ("session", first("sessionId").map(str::to_owned)),
        ("tags", tags),
        ("environment", first("environment").map(str::to_owned)),
        ("release", first("release").map(str::to_owned)),
    ];
    let facts: Vec<String> = facts
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} {}", value?)))
        .collect();
    let line = facts.join(" · ");
    if line.is_empty() {
        Vec::new()
    } else {
        vec![line, String::new()]
    }
}

/// The lines below a span: its cost and its error.
fn facts(row: &Row) -> Vec<String> {
    let mut facts = Vec::new();
    facts.extend(row.text("model").map(str::to_owned));
    let usage = row.usage();
    let count = |name: &str| {
        usage
            .iter()
            .filter(|(key, _)| key.starts_with(name))
            .filter_map(|(_, count)| count.as_u64())
            .sum::<u64>()
    };
    if !usage.is_empty() {
        facts.push(format!("{} → {} tokens", count("input"), count("output")));
    }
    facts.extend(
        row.number("totalCost")
            .filter(|cost| *cost > 0.0)
            .map(|cost| format!("${cost}")),
    );
    if let (Some(start), Some(first)) = (row.time("startTime"), row.time("completionStartTime")) {
        facts.push(format!(
            "first token {}",
            milliseconds(first.duration_since(start).as_secs_f64())
        ));
    }
    let mut lines = if facts.is_empty() {
        Vec::new()
    } else {
        vec![facts.join(" · ")]
    };
    if let Some(level) = row.text("level").filter(|level| *level != "DEFAULT") {
        lines.push(
            format!("{level} {}", row.text("statusMessage").unwrap_or_default())
                .trim_end()
                .to_owned(),
        );
    }
    lines
}

/// In seconds.
fn duration(row: &Row) -> Option<f64> {
    let (start, end) = (row.time("startTime")?, row.time("endTime")?);
    Some(end.duration_since(start).as_secs_f64())
}

fn milliseconds(seconds: f64) -> String {
    if seconds >= 10.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0} ms", seconds * 1000.0)
    }
}

fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let (kept, _) = split(text, columns.saturating_sub(1));
    format!("{kept}…")
}

/// The beginning of a text that fits into `columns`, and the rest; at least one character.
fn split(text: &str, columns: usize) -> (&str, &str) {
    let mut width = 0;
    for (index, c) in text.char_indices() {
        width += c.width().unwrap_or(0);
        if width > columns && index > 0 {
            return text.split_at(index);
        }
    }
    (text, "")
}

/// A text in exactly `columns`.
fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}

/// Breaks a line at spaces so that it fits, and a longer word wherever it must.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word = word;
        while let Some(line) = lines.last_mut() {
            let space = usize::from(!line.is_empty());
            if line.width() + space + word.width() <= columns {
                line.extend([&" "[..space], word]);
                break;
            }
            if line.is_empty() {
                let (first, rest) = split(word, columns);
                line.push_str(first);
                word = rest;
                if word.is_empty() {
                    break;
                }
            }
            lines.push(String::new());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows() -> Vec<Row> {
        let mut data = json!([
            {"id": "b", "parentObservationId": "a", "name": "chat gpt-4o-mini", "type": "GENERATION",
             "startTime": "2026-01-01T00:00:00.200Z", "endTime": "2026-01-01T00:00:01Z", "completionStartTime": "2026-01-01T00:00:00.500Z",
             "model": "gpt-4o-mini", "usageDetails": {"input": 20, "input_cached_tokens": 3, "output": 30, "total": 53}, "totalCost": 0.0021,
             "level": "ERROR", "statusMessage": "the answer broke off", "userId": "u1", "tags": ["a", "b"]},
            {"id": "a", "parentObservationId": null, "name": "chat-completion", "type": "SPAN",
             "startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:01Z", "level": "DEFAULT", "userId": "u1", "tags": ["a", "b"]}
        ]);
        Row::of_observations(&mut data)
    }

    #[test]
    fn a_trace_is_drawn_as_a_tree_with_bars() {
        let drawing = draw(
            "0af7",
            &rows(),
            Canvas {
                width: 60,
                colour: false,
            },
        );
        let expected = [
            "trace 0af7",
            "user u1 · tags a, b",
            "",
            "chat-completion       1000 ms  █████████████████████████████",
            "└─ chat gpt-4o-mini    800 ms       █████████┃██████████████",
        ];
        for (line, expected) in drawing
            .lines()
            .filter(|line| !line.starts_with('│'))
            .zip(expected)
        {
            assert_eq!(line, expected, "{drawing}");
        }
        assert!(
            drawing.contains("gpt-4o-mini · 23 → 30 tokens · $0.0021 · first token\n      300 ms"),
            "{drawing}"
        );
        assert!(drawing.contains("ERROR the answer broke off"), "{drawing}");
    }

    #[test]
    fn it_fits_a_narrow_terminal() {
        let drawing = draw(
            "0af7",
            &rows(),
            Canvas {
                width: 40,
                colour: false,
            },
        );
        assert!(drawing.lines().all(|line| line.width() <= 40), "{drawing}");
    }

    #[test]
    fn rows_that_are_their_own_ancestors_end() {
        let mut data = json!([{"id": "a", "parentObservationId": "b"}, {"id": "b", "parentObservationId": "a"}]);
        let rows = Row::of_observations(&mut data);
        draw(
            "x",
            &rows,
            Canvas {
                width: 60,
                colour: false,
            },
        );
    }
}
