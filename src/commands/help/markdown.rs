//! Light formatting of the help topics for a terminal: headings and code stand out, tables are aligned, prose is filled.
//!
//! It knows only the Markdown that the topics use: headings, fenced blocks, tables, lists without lists in them,
//! `**strong**` and code spans, of which none goes over the end of a line.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

/// What the last column of a table needs at least; a narrower one makes a table of blocks.
const LEAST_LAST_COLUMN: usize = 24;
const GAP: usize = 2;
const CODE_INDENT: usize = 4;
/// Longer lines are hard to read.
const WIDEST_PROSE: usize = 80;

/// Formats `text` for a terminal of `columns`; without `colour` there are no escape sequences.
pub fn render(text: &str, columns: usize, colour: bool) -> String {
    let mut page = Page {
        text: String::new(),
        columns,
        colour,
    };
    let mut lines = text.lines().peekable();
    let mut is_code = false;
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if is_code {
            page.line(&format!("{:CODE_INDENT$}{line}", ""));
        } else if line.starts_with('|') {
            let mut rows = vec![cells(line)];
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(cells(row));
            }
            if rows.len() > 1 {
                rows.remove(1);
            }
            page.table(&rows);
        } else if let Some(heading) = line.strip_prefix('#') {
            let heading = heading.trim_start_matches('#').trim_start();
            for part in wrapped(heading, columns) {
                page.line(&Styled(&part, colour).to_string());
            }
        } else if line.is_empty() {
            page.line("");
        } else {
            let mut text = line.to_owned();
            while let Some(next) = lines.next_if(|next| is_continued_by(next)) {
                text.push(' ');
                text.push_str(next.trim_start());
            }
            page.paragraph(&text);
        }
    }
    page.text
}

/// Whether a line of prose goes on with this one.
fn is_continued_by(line: &str) -> bool {
    !line.is_empty() && !line.starts_with(['|', '#']) && !line.starts_with("```") && mark(line) == 0
}

/// The width of the mark of a list item, `- ` or `1. `, with its space; 0 if there is none.
fn mark(line: &str) -> usize {
    let rest = line.strip_prefix('-').or_else(|| {
        let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
        digits
            .strip_prefix('.')
            .filter(|_| digits.len() < line.len())
    });
    let rest = rest.and_then(|rest| rest.strip_prefix(' '));
    rest.map_or(0, |rest| line.len() - rest.len())
}

/// The cells of a row.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim_matches('|');
    row.split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// The width of a text whose marks are not shown.
fn width(text: &str) -> usize {
    text.replace("**", "").replace('`', "").width()
}

struct Page {
    text: String,
    columns: usize,
    colour: bool,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// Strong text and code in bold, without their marks.
    fn styled(&self, text: &str) -> String {
        let text = text.replace("**", "`");
        let parts = text.split('`').enumerate();
        parts
            .map(|(index, part)| Styled(part, self.colour && index % 2 == 1).to_string())
            .collect()
    }

    /// A paragraph or an item of a list, whose further lines are below its text.
    fn paragraph(&mut self, text: &str) {
        let (mark, text) = text.split_at(mark(text));
        let mut start = mark.to_owned();
        let room = self.columns.min(WIDEST_PROSE).saturating_sub(mark.len());
        for part in wrapped(text, room) {
            let line = format!("{start}{}", self.styled(&part));
            self.line(&line);
            start = " ".repeat(mark.len());
        }
    }

    fn table(&mut self, rows: &[Vec<String>]) {
        let Some((last, others)) = rows[0].split_last() else {
            return;
        };
        let widths: Vec<usize> = (0..others.len())
            .map(|column| {
                rows.iter()
                    .map(|row| width(&row[column]))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let indent = widths.iter().map(|width| width + GAP).sum::<usize>();
        let widest = rows
            .iter()
            .filter_map(|row| row.last())
            .map(|cell| width(cell));
        let room = self.columns.saturating_sub(indent);
        if room
            >= LEAST_LAST_COLUMN
                .min(widest.max().unwrap_or(0))
                .max(width(last))
        {
            for row in rows {
                self.row(row, &widths, indent, room);
            }
        } else {
            for row in &rows[1..] {
                self.block(&rows[0], row);
            }
        }
    }

    /// A row whose last cell goes over several lines.
    fn row(&mut self, row: &[String], widths: &[usize], indent: usize, room: usize) {
        let mut line = String::new();
        for (cell, column) in row.iter().zip(widths) {
            line.push_str(&self.styled(cell));
            line.push_str(&" ".repeat(column + GAP - width(cell)));
        }
        let last = row.last().map(String::as_str).unwrap_or_default();
        for part in wrapped(last, room) {
            line.push_str(&self.styled(&part));
            self.line(&line);
            line = " ".repeat(indent);
        }
    }

    /// A row as a block: its first cell, and below it the others with the names of their columns.
    fn block(&mut self, names: &[String], row: &[String]) {
        const INDENT: usize = 4;
        for (index, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
            let (indent, text) = match index {
                0 => (0, cell.clone()),
                _ => (INDENT, format!("{}: {cell}", names[index])),
            };
            for part in wrapped(&text, self.columns.saturating_sub(indent)) {
                let line = format!("{}{}", " ".repeat(indent), self.styled(&part));
                self.line(&line);
            }
        }
    }
}

/// A text in bold, or as it is.
struct Styled<'a>(&'a str, bool);

impl std::fmt::Display for Styled<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let style = Style::new().bold();
        match self {
            Self(text, true) if !text.is_empty() => write!(f, "{style}{text}{style:#}"),
            Self(text, _) => f.write_str(text),
        }
    }
}

/// Lines of at most `room` columns. A span stays on one line if it can; one that does not fit any is closed at the end of
/// a line and opened again.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut is_code = false;
    for word in pieces(text, room) {
        let line = lines
            .last_mut()
            .filter(|line| line.is_empty() || width(line) + 1 + width(&word) <= room);
        match line {
            Some(line) if line.is_empty() => line.push_str(&word),
            Some(line) => *line = format!("{line} {word}"),
            None => {
                let mark = if is_code { "`" } else { "" };
                if let Some(line) = lines.last_mut() {
                    line.push_str(mark);
                }
                lines.push(format!("{mark}{word}"));
            }
        }
        is_code ^= word.matches('`').count() % 2 == 1;
    }
    lines
}

/// The words of a text, those of one span together unless they are wider than `room`.
fn pieces(text: &str, room: usize) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    // The words of a span whose end has not come yet.
    let mut open: Vec<&str> = Vec::new();
    let text = text.replace("**", "`");
    for word in text.split_whitespace() {
        let is_mark = word.matches('`').count() % 2 == 1;
        let is_open = !open.is_empty();
        open.push(word);
        if is_open == is_mark {
            let span = open.join(" ");
            if width(&span) <= room {
                pieces.push(span);
            } else {
                pieces.extend(open.iter().copied().map(str::to_owned));
            }
            open.clear();
        }
    }
    pieces.extend(open.iter().copied().map(str::to_owned));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::topics::TOPICS;

    #[test]
    fn code_and_headings_are_bold() {
        let page = render("# Title\n\nUse `-j 8` and **wait**.\n", 80, true);
        assert_eq!(
            page,
            "\u{1b}[1mTitle\u{1b}[0m\n\nUse \u{1b}[1m-j 8\u{1b}[0m and \u{1b}[1mwait\u{1b}[0m.\n"
        );
    }

    #[test]
    fn prose_is_filled_and_spans_stay_whole() {
        let text = "Some words and\n`--run NAME` and more.\n\nThe next.\n\n- An item of two\n  lines.\n10. Ten.\n";
        assert_eq!(
            render(text, 20, false),
            "Some words and\n--run NAME and more.\n\nThe next.\n\n- An item of two\n  lines.\n10. Ten.\n"
        );
        assert_eq!(
            render(text, 16, false),
            "Some words and\n--run NAME and\nmore.\n\nThe next.\n\n- An item of two\n  lines.\n10. Ten.\n"
        );
        assert_eq!(
            render("See `langspan help --all`.\n", 15, true),
            "See \u{1b}[1mlangspan\u{1b}[0m\n\u{1b}[1mhelp --all\u{1b}[0m.\n"
        );
    }

    #[test]
    fn tables_are_aligned_and_their_last_column_is_wrapped() {
        let table =
            "| code | meaning |\n|---|---|\n| `0` | one two three four five six seven eight |\n";
        assert_eq!(
            render(table, 30, false),
            "code  meaning\n0     one two three four five\n      six seven eight\n"
        );
    }

    #[test]
    fn tables_that_do_not_fit_are_blocks() {
        let table = "| variable | used by | meaning |\n|---|---|---|\n| `LANGFUSE_BASE_URL` | all | the server that gets them |\n";
        assert_eq!(
            render(table, 30, false),
            "LANGFUSE_BASE_URL\n    used by: all\n    meaning: the server that\n    gets them\n"
        );
    }

    #[test]
    fn no_span_of_a_topic_goes_over_the_end_of_a_line_and_prose_fits_the_usual_screen() {
        for topic in TOPICS {
            let mut is_code = false;
            for line in topic.text.read().lines() {
                is_code ^= line.starts_with("```");
                // A line of JSONL is one line.
                let fits = line.starts_with('{') || line.width() + CODE_INDENT <= 80;
                assert!(!is_code || fits, "{}: {line}", topic.name);
                if !is_code && !line.starts_with("```") {
                    let marks = line.replace("**", "`").matches('`').count();
                    assert_eq!(marks % 2, 0, "{}: {line}", topic.name);
                    let fits = line.starts_with('|') || line.width() <= 80;
                    assert!(fits, "{}: {line}", topic.name);
                }
            }
        }
    }
}
