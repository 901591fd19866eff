//! A trace drawn in a terminal: a tree with a time bar for each span, and below it its facts and texts.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

use super::branches::{Branch, branches};
use super::columns::{cut, pad, wrap};
use super::conversation;
use super::units::dollars;
use crate::langfuse::Row;

/// What a drawing is fitted to.
#[derive(Clone, Copy, Debug)]
pub struct Canvas {
    /// In columns.
    pub width: usize,
    pub colour: bool,
    pub texts: Texts,
}

/// How much is shown of the texts of a generation: its last user message and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    None,
    /// One line of each.
    Cut,
    Full,
}

/// A bar shorter than this shows nothing.
const SHORTEST_BAR: usize = 10;
/// The widest column of names.
const WIDEST_NAME: usize = 40;
/// The columns of one level of the tree.
const INDENT: usize = 3;

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
    let most = (canvas.width / 2).clamp(12, WIDEST_NAME);
    // Half of the names' columns: the other half is for the names.
    let branches = branches(rows, most / 2 / INDENT);
    let widest = branches
        .iter()
        .map(|branch| branch.prefix.width() + name(branch.row).width())
        .max();
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
        if row.text("type") == Some("GENERATION") && self.canvas.texts != Texts::None {
            self.text("user", conversation::question(row), &branch.below);
            self.text("answer", conversation::answer(row), &branch.below);
        }
    }

    /// A text of a generation with its label.
    fn text(&mut self, label: &str, text: Option<String>, below: &str) {
        let Some(text) = text else {
            return;
        };
        if self.canvas.texts == Texts::Full {
            let mut label = format!("{label}: ");
            for line in text.lines() {
                self.lines
                    .push(format!("{below}{label}{}", without_controls(line)));
                label = " ".repeat(label.len());
            }
            return;
        }
        // Enough for any width, and no more: a text may have megabytes.
        let start = text.chars().take(4 * self.canvas.width);
        let start: String = start
            .map(|c| if c.is_whitespace() { ' ' } else { c })
            .collect();
        let room = self.canvas.width.saturating_sub(below.width()).max(20);
        let line = without_controls(&format!("{label}: {}", start.trim()));
        self.lines.push(format!("{below}{}", cut(&line, room)));
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
    without_controls(name)
}

/// Tabs become spaces.
fn without_controls(text: &str) -> String {
    let text = text.chars().map(|c| if c == '\t' { ' ' } else { c });
    text.filter(|c| !c.is_control()).collect()
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
    if !row.usage().is_empty() {
        let (input, output) = (row.tokens("input"), row.tokens("output"));
        facts.push(format!("{input} → {output} tokens"));
    }
    facts.extend(
        row.number("totalCost")
            .filter(|cost| *cost > 0.0)
            .map(dollars),
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
                texts: Texts::Cut,
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
                texts: Texts::Cut,
            },
        );
        assert!(drawing.lines().all(|line| line.width() <= 40), "{drawing}");
    }
}
