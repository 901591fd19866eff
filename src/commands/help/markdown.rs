//! Light formatting of the help topics for a terminal: headings and code stand out, tables are aligned.
//!
//! It knows only the Markdown that the topics use: headings, fenced blocks, tables, `**strong**` and code spans, of which
//! none goes over the end of a line.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

/// What the last column of a table needs at least; a narrower one makes a table of blocks.
const LEAST_LAST_COLUMN: usize = 24;
const GAP: usize = 2;

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
            page.line(&format!("    {line}"));
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
            page.line(&format!("{}", Styled(heading, colour)));
        } else {
            let line = page.styled(line);
            page.line(&line);
        }
    }
    page.text
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

/// Lines of at most `room` columns; a span that goes over the end of one is closed and opened again.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut is_code = false;
    for word in text.replace("**", "`").split_whitespace() {
        let line = lines
            .last_mut()
            .filter(|line| line.is_empty() || width(line) + 1 + width(word) <= room);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
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
